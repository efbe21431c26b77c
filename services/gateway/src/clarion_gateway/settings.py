"""Settings of the gateway."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from clarion_gateway.networks import Network
from clarion_kit.settings import Common


class Settings(Common):
    """The public port is `grpc_listen`; forwarded calls and internal ones use this daemon's own identity."""

    database_url: SecretStr = Field(description="postgresql:// URL with the gateway's role.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    kek_file: Path = Field(description="File with the key-encryption keys.")
    token_keys_file: Path = Field(description="File with the Ed25519 keys of tokens.")
    pepper_file: Path = Field(description="File with the pepper of secret hashes: 32 bytes, base64.")
    token_minutes: int = Field(15, ge=1, le=15, description="Life of a token.")
    accept_batch: int = Field(200, ge=1, le=5_000, description="Most notifications of one grouped commit.")
    accept_queue: int = Field(
        20_000, ge=1_000, description="Most notifications waiting for a commit; above: OVERLOADED."
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Networks of proxies whose X-Forwarded-For is believed, comma separated; empty: of none."
    )

    webhook_private_hosts: bool = Field(
        False, description="Webhooks may be plain http and lead to hosts that are not public: for practice only."
    )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("webhook_private_hosts")
    @classmethod
    def _public_in_production(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("profile") == "production":
            raise ValueError("not with CLARION_PROFILE=production")
        return value
