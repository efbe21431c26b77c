"""Settings of the planner."""

from pathlib import Path

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """Without `link_key_file` and `link_base_url` mails carry no open pixel."""

    database_url: SecretStr = Field(description="postgresql:// URL with the planner's role.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    kek_file: Path = Field(description="File with the key-encryption keys.")
    link_key_file: Path | None = Field(None, description="File with the key of signed links: 32 bytes, base64.")
    link_base_url: str | None = Field(None, description="Public URL of the tracker, e.g. https://t.example.com.")
    width: int = Field(2, ge=1, le=16, description="Pull loops per priority.")
    sms_burst_numbers: int = Field(
        200,
        ge=0,
        le=10_000,
        description="Numbers of one range that an app may text in 10 minutes without it being a burst; 0: no limit.",
    )
    sms_burst_percent: int = Field(
        10, ge=0, le=100, description="Least share of all the app's numbers that is a burst, in percent."
    )
