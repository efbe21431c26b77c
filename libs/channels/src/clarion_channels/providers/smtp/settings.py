"""The credential document of an SMTP lane."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from clarion_channels.mail.headers import check_address


def _address(value: str) -> str:
    return check_address("address", value)


def _line(value: str) -> str:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError("holds a line break or another control character")
    return value


_Domain = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]

_ReturnDomain = Annotated[_Domain, Field(max_length=191)]
"""Leaves room for the signed local part within the 254 characters of an address."""


class SmtpSettings(BaseModel):
    """One submission account (RFC 6409). TLS is not optional: STARTTLS on 587 or implicit TLS on 465."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(min_length=1, max_length=255, description="Server name; its certificate must carry it.")
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls"] = "starttls"
    username: str = Field(default="", description="Empty: no AUTH.")
    password: SecretStr = SecretStr("")
    from_address: Annotated[str, AfterValidator(_address)] = Field(description="The From address; ASCII.")
    from_name: Annotated[str, AfterValidator(_line)] = Field(default="", max_length=128)
    return_path_domain: _ReturnDomain | None = Field(
        default=None,
        description="Bounces go to signed addresses of this domain, whose mail the tracker takes; unset: to from_address.",
    )
    inbound_domain: _Domain | None = Field(
        default=None, description="Mail to this domain reaches the tracker: people may unsubscribe by mail too."
    )
    local_hostname: _Domain = Field(default="localhost", description="The name given in EHLO.")
    ca_file: Path | None = Field(default=None, description="PEM file of trusted authorities; unset: the system's.")
    pool_size: int = Field(default=20, ge=1, le=100, description="Kept connections; each carries one mail at a time.")
    max_mails_per_connection: int = Field(default=500, ge=1)
    max_idle: timedelta = Field(default=timedelta(seconds=60), gt=timedelta())
    timeout: timedelta = Field(
        default=timedelta(seconds=30), gt=timedelta(), description="For one mail, a new connection included."
    )
