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
        description="File with the key that links and return paths are signed with (base64); unset: opens do not count "
        "and nobody can unsubscribe.",
    )
    bounce_listen: str | None = Field(
        None, description="host:port of the SMTP listener for bounce mail; unset: none. Needs the link key."
    )
    bounce_hostname: str = Field(
        "localhost",
        pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$",
        description="The name it greets with.",
    )
    open_queue: int = Field(10_000, ge=1, le=1_000_000, description="Most opens kept until they are written.")
    inbound_days: int = Field(7, ge=1, le=90, description="Days an applied receipt's row is kept.")

    @field_validator("http_listen")
    @classmethod
    def _http_tls_or_loopback(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and others.data.get("tls_dir", "faulty") is None and not is_loopback(value):
            raise ValueError("must be a loopback address where CLARION_TLS_DIR is unset")
        return value

    @field_validator("bounce_listen")
    @classmethod
    def _return_paths_can_be_checked(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and others.data.get("link_key_file", "faulty") is None:
            raise ValueError("needs CLARION_LINK_KEY_FILE, with which return paths are signed")
        return value
