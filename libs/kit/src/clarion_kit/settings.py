"""Settings: environment only, prefix `CLARION_`, every fault named at start.

`Common` is the base of every daemon's settings; Helm, compose and the local stack are checked against it.
"""

import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

EXIT_BAD_SETTINGS = 2


class Common(BaseSettings):
    """What every daemon shares. A daemon that lacks one it needs narrows the type in its own class."""

    model_config = SettingsConfigDict(env_prefix="CLARION_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, description="postgresql:// URL with this daemon's own role.")
    database_pool: int = Field(6, ge=1, le=64, description="Most connections of this process to Postgres.")
    nats_url: SecretStr | None = Field(None, description="nats:// or tls:// URLs, comma separated.")
    valkey_url: SecretStr | None = Field(None, description="redis:// or rediss:// URL.")
    tls_dir: Path | None = Field(None, description="Folder with ca.crt, tls.crt, tls.key: this daemon's identity.")
    insecure: bool = Field(False, description="Serve without TLS; only allowed on loopback.")
    kek_file: Path | None = Field(None, description="File with the key-encryption keys (JSON: id → base64 key).")
    grpc_listen: str = Field("127.0.0.1:0", description="host:port of the gRPC server.")
    http_listen: str | None = Field(None, description="host:port of the HTTP server, for daemons that have one.")
    metrics_listen: str | None = Field(None, description="host:port of the Prometheus endpoint; unset: none.")
    otlp_endpoint: str | None = Field(None, description="OTLP/gRPC collector, e.g. http://jaeger:4317.")
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of calls without a trace context that are sampled.")
    peer_template: str = Field("dns:///clarion-{daemon}:7443", description="Address of a daemon.")
    peers: dict[str, str] = Field(default_factory=dict, description="Addresses that differ from the template, as JSON.")
    subject_prefix: str = Field("clarion", pattern=r"^[a-z0-9-]{1,32}$", description="First token of every subject.")
    stream_replicas: int = Field(1, ge=1, le=5, description="Replicas of each JetStream stream; 3 in production.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")
    stop_grace_seconds: float = Field(20.0, gt=0, le=600, description="Longest time from SIGTERM to exit.")

    @field_validator("grpc_listen", "http_listen", "metrics_listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None:
            split_listen(value)
        return value

    @model_validator(mode="after")
    def _tls_or_loopback(self) -> "Common":
        if self.tls_dir is None and not self.insecure:
            raise ValueError("tls_dir is required (or CLARION_INSECURE=1 on loopback)")
        if self.tls_dir is None and not is_loopback(self.grpc_listen):
            raise ValueError("grpc_listen must be a loopback address when insecure")
        if self.tls_dir is not None:
            missing = [name for name in ("ca.crt", "tls.crt", "tls.key") if not (self.tls_dir / name).is_file()]
            if missing:
                raise ValueError(f"tls_dir lacks {', '.join(missing)}")
        return self

    def peer(self, daemon: str) -> str:
        """gRPC target of a daemon, by its Python name ("rate_limiter")."""
        return self.peers.get(daemon) or self.peer_template.format(daemon=daemon.replace("_", "-"))


def split_listen(value: str) -> tuple[str, int]:
    """host:port (IPv6 hosts in brackets). Raises ValueError."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not host:port")
    return host.strip("[]"), int(port)


def is_loopback(listen: str) -> bool:
    host, _ = split_listen(listen)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class FaultySettings(Exception):
    """One line per fault, naming the variable."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def load(settings: type[SettingsT], env: Mapping[str, str] | None = None) -> SettingsT:
    """Settings from `env` (default: the process environment). Raises FaultySettings with every fault."""
    before = dict(os.environ) if env is not None else None
    try:
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        return settings()
    except ValidationError as invalid:
        raise FaultySettings([_fault(error["loc"], error["msg"]) for error in invalid.errors()]) from None
    finally:
        if before is not None:
            os.environ.clear()
            os.environ.update(before)


def exit_with_faults(daemon: str, faulty: FaultySettings) -> NoReturn:
    """Name every fault on stderr and exit with status 2."""
    for fault in faulty.faults:
        sys.stderr.write(f"{daemon}: {fault}\n")
    sys.exit(EXIT_BAD_SETTINGS)


def _fault(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    variable = f"CLARION_{name.upper()}: " if name else ""
    return f"{variable}{message.removeprefix('Value error, ')}"
