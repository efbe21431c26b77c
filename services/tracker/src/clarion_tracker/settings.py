"""Settings of the tracker daemon."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from clarion_kit.settings import Common, is_loopback


class Settings(Common):
    """Needs a database; pixels, unsubscribing and callbacks are served where `http_listen` is set."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_tracker.")
    kek_file: Path = Field(description="File with the key-encryption keys: what carriers send rests sealed.")
    link_key_file: Path | None = Field(
        None,
        description="File with the key that links and return paths are signed with (base64); unset: opens do not count, "
        "no link leads anywhere and nobody can unsubscribe.",
    )
    bounce_listen: str | None = Field(
        None, description="host:port of the SMTP listener for bounce mail; unset: none. Needs the link key."
    )
    bounce_hostname: str = Field(
        "localhost",
        pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$",
        description="The name it greets with.",
    )
    open_queue: int = Field(
        10_000, ge=1, le=1_000_000, description="Most opens and clicks kept until they are written."
    )
    activity_days: int = Field(
        35, ge=2, le=400, description="Days that opens, clicks and app events are kept one by one."
    )
    console: bool = Field(
        False,
        description="Serve the operators' page at /console. Needs CLARION_HTTP_LISTEN, the link key and the gateway.",
    )
    trace_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s\"'<>]+$",
        description="Where a trace is shown, with {trace_id} in it, e.g. https://jaeger.example/trace/{trace_id}.",
    )
    stats_hours_days: int = Field(35, ge=8, le=400, description="Days that counts by hour are kept.")
    stats_days: int = Field(400, ge=31, le=3660, description="Days that counts by day are kept.")
    inbound_days: int = Field(7, ge=1, le=90, description="Days an applied receipt's row is kept.")

    webhook_private_hosts: bool = Field(
        False, description="Webhooks may be plain http and lead to hosts that are not public: for practice only."
    )

    @field_validator("http_listen")
    @classmethod
    def _http_tls_or_loopback(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and others.data.get("tls_dir", "faulty") is None and not is_loopback(value):
            raise ValueError("must be a loopback address where CLARION_TLS_DIR is unset")
        return value

    @field_validator("console")
    @classmethod
    def _sessions_can_be_sealed(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("http_listen", "faulty") is None:
            raise ValueError("needs CLARION_HTTP_LISTEN")
        if value and others.data.get("link_key_file", "faulty") is None:
            raise ValueError("needs CLARION_LINK_KEY_FILE, from which the key of its sessions is derived")
        return value

    @field_validator("trace_url")
    @classmethod
    def _names_the_trace(cls, value: str | None) -> str | None:
        if value is not None and "{trace_id}" not in value:
            raise ValueError("must have {trace_id} in it")
        return value

    @field_validator("bounce_listen")
    @classmethod
    def _return_paths_can_be_checked(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and others.data.get("link_key_file", "faulty") is None:
            raise ValueError("needs CLARION_LINK_KEY_FILE, with which return paths are signed")
        return value

    @field_validator("webhook_private_hosts")
    @classmethod
    def _public_in_production(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("profile") == "production":
            raise ValueError("not with CLARION_PROFILE=production")
        return value
