"""The credential document of a Web Push lane."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from clarion_channels.providers.webpush.endpoint import KNOWN_SERVICES
from clarion_channels.providers.webpush.vapid import load_vapid_key


class WebPushSettings(BaseModel):
    """The VAPID key that pages subscribe with now, and those that they subscribed with before: a subscription is bound to its
    key for life, so a key that is replaced moves to the former ones until its subscriptions are gone."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    vapid_private_key: SecretStr
    """P-256, PEM or the base64url scalar."""
    former_vapid_private_keys: tuple[SecretStr, ...] = Field(default=(), max_length=4)
    """Newest first, in the same form."""
    vapid_subject: str = Field(max_length=256, pattern=r"^(mailto:[^\s<>]+@[^\s<>]+|https://[^\s<>]+)$")
    """Whom a push service may write to: mailto: or https:. Apple refuses spaces and angle brackets."""
    allowed_hosts: tuple[str, ...] = KNOWN_SERVICES
    """`host`, `host:port` or `*.domain`; without a port only 443."""
    allow_private_addresses: bool = False
    """Let allowed hosts resolve to addresses that are not public. Only for a push service of one's own."""
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's."""
    max_origins: int = Field(default=16, ge=1, le=256)
    """Push services with open connections at the same time."""
    connections: int = Field(default=2, ge=1, le=16)
    """Connections per push service."""
    streams: int = Field(default=100, ge=1, le=1000)
    """Requests open on one connection."""
    timeout_seconds: float = Field(default=10, ge=0.1, le=120)
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=60)
    resolve_again_seconds: float = Field(default=600, ge=1)
    """A push service's address is looked up anew after this time."""

    @field_validator("vapid_private_key")
    @classmethod
    def _is_p256(cls, value: SecretStr) -> SecretStr:
        load_vapid_key(value.get_secret_value())
        return value

    @field_validator("former_vapid_private_keys")
    @classmethod
    def _are_p256(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return tuple(cls._is_p256(key) for key in value)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            host, _, port = entry.partition(":")
            if not host.removeprefix("*.") or "*" in host.removeprefix("*.") or (port and not port.isdigit()):
                raise ValueError(f"not host, host:port or *.domain: {entry}")
        return value
