"""What the sandbox is told at start: environment variables with the prefix ``CLARION_SANDBOX_``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """Settings of one sandbox process; construction raises ``pydantic.ValidationError`` naming every fault."""

    model_config = SettingsConfigDict(env_prefix="CLARION_SANDBOX_", frozen=True, extra="ignore", populate_by_name=True)

    dir: Path
    """State directory, made if missing: credentials, ledger.ndjson, sandbox.json."""
    tls_cert: FilePath
    """PEM certificate chain of the HTTPS and SMTP listeners."""
    tls_key: FilePath
    """PEM private key that belongs to ``tls_cert``."""
    listen_host: str = "127.0.0.1"
    """Address every listener binds."""
    advertise_host: str | None = None
    """Host written into sandbox.json; ``listen_host`` if unset."""
    https_port: Port = 0
    """0 = a free port, here and below."""
    http2_port: Port = 0
    """HTTPS with faults of HTTP/2 (``http2`` of the fault script)."""
    smpp_port: Port = 0
    smtp_port: Port = 0
    """Submission with STARTTLS."""
    smtps_port: Port = 0
    """Submission with implicit TLS."""
    https_max_streams: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """SETTINGS_MAX_CONCURRENT_STREAMS of an HTTP/2 connection; APNs allows about 1000, Google 100."""
    apns_topics: Annotated[tuple[str, ...], NoDecode, Field(min_length=1)] = ("com.example.clarion",)
    """Bundle ids the APNs key may push to; comma-separated."""
    fcm_project: str = "clarion-sandbox"
    """The one Firebase project that exists."""
    access_token_seconds: Annotated[int, Field(ge=1, le=3600)] = 3600
    """Life of the access tokens of the token server."""
    smpp_receipt_delay_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 100
    """From submit_sm_resp to the delivery receipt."""
    smpp_max_binds: Annotated[int, Field(ge=1, le=1000)] = 16
    """Sessions one system_id may have bound at a time."""
    callback_urls: dict[str, str] = {}
    """Where providers whose requests name no callback send their reports: a JSON object, URL by provider."""
    callback_ca: FilePath | None = None
    """PEM certificates to trust, beside the system's, when posting to https callbacks."""
    callback_delay_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 100
    """From the answer to the report that is posted."""
    ses_region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$")] = "eu-west-1"
    """The region SES requests must be signed for."""
    ses_configuration_set: str = "clarion"
    """The one configuration set that exists; only mails that name it have events."""
    sns_signature_version: Literal["1", "2"] = "1"
    """1 = SHA-1, which topics have unless changed; 2 = SHA-256."""
    die_with_parent: bool = Field(default=False, validation_alias="CLARION_DIE_WITH_PARENT")
    """End when the parent process ends (Linux)."""

    @field_validator("apns_topics", mode="before")
    @classmethod
    def _split_topics(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def ses_topic_arn(self) -> str:
        """The topic that SES's events are published to."""
        return f"arn:aws:sns:{self.ses_region}:123456789012:clarion-sandbox"

    @property
    def public_host(self) -> str:
        """The host clients are told to connect to."""
        return self.advertise_host or self.listen_host
