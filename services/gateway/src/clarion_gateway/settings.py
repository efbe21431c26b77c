"""Settings of the gateway."""

from pathlib import Path

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """The public port is `grpc_listen`; forwarded calls and internal ones use this daemon's own identity."""

    database_url: SecretStr = Field(description="postgresql:// URL with the gateway's role.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    kek_file: Path = Field(description="File with the key-encryption keys.")
    token_keys_file: Path = Field(description="File with the Ed25519 keys of tokens.")
    pepper_file: Path = Field(description="File with the pepper of secret hashes: 32 bytes, base64.")
    token_minutes: int = Field(15, ge=1, le=15, description="Life of a token.")
    accept_batch: int = Field(1_000, ge=1, le=5_000, description="Most notifications of one grouped commit.")
    accept_queue: int = Field(
        20_000, ge=1_000, description="Most notifications waiting for a commit; above: OVERLOADED."
    )
