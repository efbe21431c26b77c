"""Settings come from the environment alone, and every fault is named at once."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from clarion_kit.settings import Common, FaultySettings, is_loopback, load, split_listen

INSECURE = {"CLARION_INSECURE": "1"}


class WithDatabase(Common):
    database_url: SecretStr = Field(description="required here")


def faults(settings: type[Common], env: dict[str, str]) -> list[str]:
    with pytest.raises(FaultySettings) as faulty:
        load(settings, env)
    return faulty.value.faults


def test_environment_fills_the_settings() -> None:
    settings = load(
        Common,
        {**INSECURE, "CLARION_GRPC_LISTEN": "[::1]:7443", "CLARION_PEERS": '{"planner": "dns:///p:1"}', "OTHER": "x"},
    )

    assert settings.grpc_listen == "[::1]:7443"
    assert settings.peer("planner") == "dns:///p:1"
    assert settings.peer("rate_limiter") == "dns:///clarion-rate-limiter:7443"


def test_every_fault_is_named_at_once() -> None:
    named = faults(
        WithDatabase,
        {
            "CLARION_DATABASE_POOL": "0",
            "CLARION_GRPC_LISTEN": "7443",
            "CLARION_TRACE_RATIO": "2",
            "CLARION_PEERS": "not json",
            "CLARION_LOG_LEVEL": "LOUD",
        },
    )

    assert sorted(fault.partition(":")[0] for fault in named) == [
        "CLARION_DATABASE_POOL",
        "CLARION_DATABASE_URL",
        "CLARION_GRPC_LISTEN",
        "CLARION_LOG_LEVEL",
        "CLARION_PEERS",
        "CLARION_TLS_DIR",
        "CLARION_TRACE_RATIO",
    ]


def test_tls_is_required_unless_insecure_is_asked_for() -> None:
    assert faults(Common, {}) == ["CLARION_TLS_DIR: required (or CLARION_INSECURE=1 on loopback)"]


@pytest.mark.parametrize("listen", ["0.0.0.0:7443", "[::]:7443", "example.org:7443", "192.0.2.1:7443"])
def test_insecure_daemon_serves_loopback_only(listen: str) -> None:
    [fault] = faults(Common, {**INSECURE, "CLARION_GRPC_LISTEN": listen})

    assert fault.startswith("CLARION_TLS_DIR: ")


def test_folder_without_its_files_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()

    assert faults(Common, {"CLARION_TLS_DIR": str(tmp_path)}) == ["CLARION_TLS_DIR: the folder lacks tls.crt, tls.key"]


def test_daemon_with_its_certificate_may_serve_anywhere(tmp_path: Path) -> None:
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / name).touch()

    assert load(Common, {"CLARION_TLS_DIR": str(tmp_path), "CLARION_GRPC_LISTEN": "0.0.0.0:7443"}).tls_dir == tmp_path


def test_secrets_hide_in_settings_and_in_faults() -> None:
    secret = "postgresql://u:hunter2@db/x"

    settings = load(WithDatabase, {**INSECURE, "CLARION_DATABASE_URL": secret})
    named = faults(WithDatabase, {"CLARION_DATABASE_URL": secret})

    assert "hunter2" not in f"{settings!r} {settings} {named}"
    assert settings.database_url.get_secret_value() == secret


def test_loading_from_a_mapping_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARION_LOG_LEVEL", "LOUD")

    assert load(Common, INSECURE).log_level == "INFO"
    with pytest.raises(FaultySettings):
        load(Common)


@pytest.mark.parametrize(
    ("value", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:65535", ("::1", 65535)), ("localhost:80", ("localhost", 80))],
)
def test_listen_address_is_split(value: str, parts: tuple[str, int]) -> None:
    assert split_listen(value) == parts
    assert is_loopback(value)


@pytest.mark.parametrize("value", ["", ":80", "host", "host:", "host:x", "host:65536", "host:-1"])
def test_faulty_listen_address_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        split_listen(value)
