"""The credential document of a SendGrid lane."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from clarion_channels.mail.headers import check_address


def _address(value: str) -> str:
    return check_address("address", value)


def _line(value: str) -> str:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError("holds a line break or another control character")
    return value


def _header_safe(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isascii() or not value.get_secret_value().isprintable():
        raise ValueError("holds characters that no API key has")
    return value


_Domain = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]


class SendGridSettings(BaseModel):
    """One account or subuser. Receipts come only with its Event Webhook set up."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: Annotated[SecretStr, AfterValidator(_header_safe)] = Field(min_length=1, max_length=256)
    from_address: Annotated[str, AfterValidator(_address)] = Field(description="A verified sender; ASCII.")
    from_name: Annotated[str, AfterValidator(_line)] = Field(default="", max_length=128)
    inbound_domain: _Domain | None = Field(
        default=None, description="Mail to this domain reaches the tracker: people may unsubscribe by mail too."
    )
    categories: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = Field(default=(), max_length=10)
    sandbox_mode: bool = Field(default=False, description="SendGrid checks the mails and sends none.")
    webhook_public_key: str = Field(
        default="", max_length=1024, description="The Event Webhook's key (base64 SPKI); empty: no receipts."
    )
    base_url: str = Field(default="https://api.sendgrid.com", pattern=r"^https://[^/?#]+$")
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's."""
    max_personalizations: int = Field(default=1000, ge=1, le=1000, description="Mails in one request.")
    connections: int = Field(default=4, ge=1, le=64)
    streams: int = Field(default=50, ge=1, le=1000)
    """Requests open on one connection."""
    timeout_seconds: float = Field(default=20, ge=0.1, le=55)
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=55)

    @property
    def send_url(self) -> str:
        return f"{self.base_url}/v3/mail/send"
