"""The credential document of a Twilio lane."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

_HEX = "[0-9a-fA-F]{32}"


class ApiKey(BaseModel):
    """A standard or restricted API key of the account."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    sid: str = Field(pattern=rf"^SK{_HEX}$")
    secret: SecretStr = Field(min_length=1, max_length=256)


class TwilioSettings(BaseModel):
    """One sender of one account."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    account_sid: str = Field(pattern=rf"^AC{_HEX}$")
    auth_token: SecretStr | None = Field(default=None, min_length=1, max_length=256)
    """Signs callbacks; authenticates requests where there is no API key."""
    api_key: ApiKey | None = None
    sender: str = Field(default="", pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{1,11})?$")
    """`From`: a number with +, a short code, or at most 11 letters and digits. This or a messaging service."""
    messaging_service_sid: str = Field(default="", pattern=rf"^(MG{_HEX})?$")
    """A sender pool; Twilio chooses the number."""
    status_callback: str = Field(default="", max_length=2048, pattern=r"^(https://[^\s?#]+)?$")
    """Public URL for status callbacks: `https://<tracker>/v1/callbacks/twilio/<lane id>`. Unset: no receipts."""
    base_url: str = Field(default="https://api.twilio.com", pattern=r"^https://[^/?#]+$")
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's."""
    max_segments: int = Field(default=10, ge=1, le=255)
    transliterate: bool = True
    """Replace typographic characters where that brings a text into GSM-7."""
    connections: int = Field(default=2, ge=1, le=64)
    streams: int = Field(default=50, ge=1, le=1000)
    """Requests open on one connection; Twilio limits how many an account has open (error 20429)."""
    timeout_seconds: float = Field(default=15, ge=0.1, le=60)
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=60)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.auth_token is None and self.api_key is None:
            raise ValueError("auth_token or api_key is required")
        if bool(self.sender) == bool(self.messaging_service_sid):
            raise ValueError("exactly one of sender and messaging_service_sid is required")
        if self.status_callback and self.auth_token is None:
            raise ValueError("status_callback needs auth_token, with which callbacks are signed")
        return self

    @property
    def send_url(self) -> str:
        return f"{self.base_url}/2010-04-01/Accounts/{self.account_sid}/Messages.json"

    def basic_credentials(self) -> tuple[str, str]:
        """User and password of the requests."""
        if self.api_key is not None:
            return self.api_key.sid, self.api_key.secret.get_secret_value()
        return self.account_sid, self.auth_token.get_secret_value() if self.auth_token is not None else ""
