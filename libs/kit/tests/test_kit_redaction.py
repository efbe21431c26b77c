"""What is secret by its type stays out of log lines and spans, however it is let slip."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hpack import Encoder
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from pydantic import SecretStr

from clarion_kit.keyfiles import TokenKeys, load_token_keys, new_token_key_file
from clarion_kit.sealing import AppSealer, HeldKeys
from clarion_kit.settings import Common, load
from clarion_kit.telemetry import logs
from clarion_kit.telemetry.tracing import Tracing

CANARY = b"canary-of-32-bytes-0123456789abc"
TOLD = CANARY.decode()
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def token_keys(folder: Path) -> TokenKeys:
    path = folder / "tokens"
    new_token_key_file(path)
    return load_token_keys(path)


def settings() -> Common:
    urls = dict.fromkeys(("DATABASE_URL", "NATS_URL", "VALKEY_URL"), f"scheme://user:{TOLD}@host")
    return load(Common, {"CLARION_INSECURE": "1", **{f"CLARION_{name}": url for name, url in urls.items()}})


def secrets(folder: Path) -> list[object]:
    """One of each type that holds something secret."""
    return [
        SecretStr(TOLD),
        settings(),
        AppSealer(7, {0: CANARY, 1: CANARY}),
        HeldKeys("k1", {"k1": CANARY}),
        token_keys(folder),
        Ed25519PrivateKey.from_private_bytes(CANARY),
    ]


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.to_stream("planner", "DEBUG", stream)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def forms(secret: object) -> list[str]:
    return [str(secret), repr(secret), f"{secret}", repr([secret]), repr({"key": secret})]


@pytest.mark.parametrize("place", range(6))
def test_secret_types_hide_themselves_in_every_form(tmp_path: Path, place: int) -> None:
    secret = secrets(tmp_path)[place]
    raw = CANARY.hex()

    for form in forms(secret):
        assert TOLD not in form
        assert raw not in form
        assert repr(CANARY)[2:-1] not in form


def test_log_lines_hide_them_as_arguments_extras_and_errors(tmp_path: Path, output: io.StringIO) -> None:
    held = secrets(tmp_path)
    log = logging.getLogger("work")
    for secret in held:
        log.warning("connected with %s", secret, extra={"one": secret, "many": [secret], "named": {"key": secret}})
        try:
            raise ValueError(secret)
        except ValueError:
            log.exception("failed")

    assert len([json.loads(line) for line in output.getvalue().splitlines()]) == 2 * len(held)
    assert TOLD not in output.getvalue()
    assert CANARY.hex() not in output.getvalue()


def test_what_libraries_tell_below_info_is_left_out(output: io.StringIO) -> None:
    """HTTP/2's header compression tells every header it encodes."""
    Encoder().encode([(b"authorization", f"bearer {TOLD}".encode())])
    logging.getLogger("clarion_planner.planning").debug("planned %d", 7)
    logging.getLogger("library").debug("carries %s", TOLD)
    logging.getLogger("library").info("ready")

    assert [json.loads(line)["message"] for line in output.getvalue().splitlines()] == ["planned 7", "ready"]


async def test_spans_tell_the_type_of_an_error_and_not_its_text() -> None:
    exporter = InMemorySpanExporter()
    async with Tracing("test", 1.0, exporter) as tracing:
        with pytest.raises(ValueError, match="canary"), tracing.span("work", SpanKind.INTERNAL, SAMPLED):
            raise ValueError(f"no such address: {TOLD}")

    [span] = exporter.get_finished_spans()
    assert span.status.description == "ValueError"
    assert TOLD not in span.to_json()


def test_faults_of_settings_name_the_variable_and_not_its_value() -> None:
    with pytest.raises(Exception, match="CLARION_TRACE_RATIO") as faulty:
        load(Common, {"CLARION_INSECURE": "1", "CLARION_DATABASE_URL": TOLD, "CLARION_TRACE_RATIO": "7"})

    assert TOLD not in str(faulty.value)
    assert os.environ.get("CLARION_DATABASE_URL") != TOLD
