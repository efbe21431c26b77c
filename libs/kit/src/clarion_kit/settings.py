"""Settings: environment only, prefix `CLARION_`, every fault named at start.

`Common` is the base of every daemon's settings; Helm, compose and the local stack are checked against it.
"""

import ipaddress
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from clarion_kit import crash

EXIT_BAD_SETTINGS = 2


class Common(BaseSettings):
    """What every daemon shares. A daemon that lacks one it needs narrows the type in its own class."""

    model_config = SettingsConfigDict(env_prefix="CLARION_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, description="postgresql:// URL with this daemon's own role.")
    database_pool: int = Field(6, ge=1, le=64, description="Most connections of this process to Postgres.")
    nats_url: SecretStr | None = Field(None, description="nats:// or tls:// URLs, comma separated.")
    nats_credentials_file: Path | None = Field(
        None, description="File with `user:password` for NATS, where the URL names no user."
    )
    valkey_url: SecretStr | None = Field(None, description="redis:// or rediss:// URL.")
    insecure: bool = Field(False, description="Serve without TLS; only allowed on loopback.")
    grpc_listen: str = Field("127.0.0.1:0", description="host:port of the gRPC server.")
    tls_dir: Path | None = Field(
        None, validate_default=True, description="Folder with ca.crt, tls.crt, tls.key: this daemon's identity."
    )
    kek_file: Path | None = Field(
        None, description="Key-encryption keys: a JSON file, `env:VARIABLE`, or `<service>:<key>`."
    )
    http_listen: str | None = Field(None, description="host:port of the HTTP server, for daemons that have one.")
    metrics_listen: str | None = Field(None, description="host:port of the Prometheus endpoint; unset: none.")
    otlp_endpoint: str | None = Field(None, description="OTLP/gRPC collector, e.g. http://jaeger:4317.")
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of calls without a trace context that are sampled.")
    peer_template: str = Field("dns:///clarion-{daemon}:7443", description="Address of a daemon.")
    peers: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="Addresses that differ from the template, as JSON."
    )
    subject_prefix: str = Field("clarion", pattern=r"^[a-z0-9-]{1,32}$", description="First token of every subject.")
    stream_replicas: int = Field(1, ge=1, le=5, description="Replicas of each JetStream stream; 3 in production.")
    profile: Literal["development", "production"] = Field(
        "development", description="production refuses what is fit for practice only: no standby, crash points, no TLS."
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")
    stop_grace_seconds: float = Field(45.0, gt=0, le=600, description="Longest time from SIGTERM to exit.")

    @field_validator("grpc_listen", "http_listen", "metrics_listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None:
            split_listen(value)
        return value

    @field_validator("peers", mode="before")
    @classmethod
    def _json(cls, value: object) -> object:
        # Decoded here, because a fault in the source's own decoding would hide every other one.
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("tls_dir")
    @classmethod
    def _tls_or_loopback(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        if value is not None:
            missing = [name for name in ("ca.crt", "tls.crt", "tls.key") if not (value / name).is_file()]
            if missing:
                raise ValueError(f"the folder lacks {', '.join(missing)}")
        elif not others.data.get("insecure", True):
            raise ValueError("required (or CLARION_INSECURE=1 on loopback)")
        elif not is_loopback(others.data.get("grpc_listen", "localhost:0")):
            raise ValueError("required where CLARION_GRPC_LISTEN is no loopback address")
        return value

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.production and self.insecure:
            raise ValueError("CLARION_INSECURE: not with CLARION_PROFILE=production")
        if self.production and os.environ.get(crash.VARIABLE):
            raise ValueError(f"{crash.VARIABLE}: not with CLARION_PROFILE=production")
        if self.production and self.nats_url is not None and self.stream_replicas < 3:
            raise ValueError("CLARION_STREAM_REPLICAS: at least 3 with CLARION_PROFILE=production")
        return self

    @property
    def production(self) -> bool:
        return self.profile == "production"

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
T = TypeVar("T")


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


def from_file(variable: str, read: Callable[[Path], T], path: Path) -> T:
    """What `read` makes of a file that a setting names. Raises FaultySettings where it raises ValueError."""
    try:
        return read(path)
    except ValueError as fault:
        raise FaultySettings([f"{variable}: {fault}"]) from None


def exit_with_faults(daemon: str, faulty: FaultySettings) -> NoReturn:
    """Name every fault on stderr and exit with status 2."""
    for fault in faulty.faults:
        sys.stderr.write(f"{daemon}: {fault}\n")
    sys.exit(EXIT_BAD_SETTINGS)


def _fault(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    variable = f"CLARION_{name.upper()}: " if name else ""
    return f"{variable}{message.removeprefix('Value error, ')}"
