"""Settings of the tracker daemon."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from clarion_kit.settings import Common, is_loopback


class Settings(Common):
    """Needs a database; pixels are served where `http_listen` is set."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_tracker.")
    kek_file: Path = Field(description="File with the key-encryption keys: what carriers send rests sealed.")
    link_key_file: Path | None = Field(
        None, description="File with the key that tracking links are signed with (base64); unset: opens do not count."
    )
    open_queue: int = Field(10_000, ge=1, le=1_000_000, description="Most opens kept until they are written.")
    inbound_days: int = Field(7, ge=1, le=90, description="Days an applied receipt's row is kept.")

    @field_validator("http_listen")
    @classmethod
    def _http_tls_or_loopback(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and others.data.get("tls_dir", "faulty") is None and not is_loopback(value):
            raise ValueError("must be a loopback address where CLARION_TLS_DIR is unset")
        return value
