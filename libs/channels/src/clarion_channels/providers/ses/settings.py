"""The credential document of an SES lane."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from clarion_channels.mail.headers import check_address
from clarion_channels.mail.receipt import DELIVERY_ID
from clarion_channels.providers.ses.sigv4 import AwsKey


def _address(value: str) -> str:
    return check_address("address", value)


def _line(value: str) -> str:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError("holds a line break or another control character")
    return value


def _not_ours(value: dict[str, str]) -> dict[str, str]:
    if DELIVERY_ID in value:
        raise ValueError(f"{DELIVERY_ID} is set for each mail")
    return value


_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")]
_Domain = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]


class SesSettings(BaseModel):
    """One account and region. Receipts come only with a configuration set that publishes its events to SNS."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$")
    access_key_id: str = Field(pattern=r"^[A-Z0-9]{16,128}$")
    secret_access_key: SecretStr = Field(min_length=1)
    session_token: SecretStr = SecretStr("")
    from_address: Annotated[str, AfterValidator(_address)] = Field(description="A verified identity; ASCII.")
    from_name: Annotated[str, AfterValidator(_line)] = Field(default="", max_length=128)
    inbound_domain: _Domain | None = Field(
        default=None, description="Mail to this domain reaches the tracker: people may unsubscribe by mail too."
    )
    configuration_set: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    tags: Annotated[dict[_Word, _Word], AfterValidator(_not_ours)] = Field(
        default={}, max_length=20, description="EmailTags of every mail; they come back in its events."
    )
    topic_arns: tuple[
        Annotated[str, Field(pattern=r"^arn:aws(-cn)?:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$")], ...
    ] = Field(default=(), max_length=10, description="SNS topics whose notifications count.")
    base_url: str = Field(
        default="", pattern=r"^(https://[^/?#A-Z]+)?$", description="Empty: https://email.<region>.amazonaws.com."
    )
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's."""
    connections: int = Field(default=4, ge=1, le=64)
    streams: int = Field(default=50, ge=1, le=1000)
    """Requests open on one connection."""
    timeout_seconds: float = Field(default=15, ge=0.1, le=55)
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=55)

    @property
    def send_url(self) -> str:
        base = self.base_url or f"https://email.{self.region}.amazonaws.com"
        return f"{base}/v2/email/outbound-emails"

    def key(self) -> AwsKey:
        return AwsKey(
            self.access_key_id, self.secret_access_key.get_secret_value(), self.session_token.get_secret_value()
        )
