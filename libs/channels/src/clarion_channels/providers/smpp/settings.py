"""The credential document of an SMPP lane."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


def _fits_password_field(value: SecretStr) -> SecretStr:
    password = value.get_secret_value()
    if len(password) > 8 or not password.isascii() or "\0" in password:
        raise ValueError("SMPP passwords have at most 8 ASCII characters")
    return value


_Positive = Annotated[timedelta, Field(gt=timedelta())]
_Ascii = r"^[ -~]*$"


class SmppSettings(BaseModel):
    """One account of an SMSC, bound as a transceiver `binds` times."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=2775, ge=1, le=65535)
    system_id: str = Field(min_length=1, max_length=15, pattern=_Ascii)
    password: Annotated[SecretStr, AfterValidator(_fits_password_field)] = SecretStr("")
    system_type: str = Field(default="", max_length=12, pattern=_Ascii)
    tls: bool = False
    ca_file: Path | None = Field(default=None, description="PEM file of trusted authorities; unset: the system's.")
    binds: int = Field(default=2, ge=1, le=32, description="Sessions at once, as the contract allows.")
    window: int = Field(default=50, ge=1, le=1000, description="Unanswered submit_sm per session.")
    source: str = Field(
        min_length=1,
        max_length=20,
        pattern=_Ascii,
        description="Sender: an international number with +, a short code, or at most 11 letters and digits.",
    )
    source_ton: int | None = Field(default=None, ge=0, le=7, description="Unset: by the form of `source`.")
    source_npi: int | None = Field(default=None, ge=0, le=18, description="Unset: by the form of `source`.")
    default_alphabet_coding: int = Field(default=0, ge=0, le=255, description="data_coding sent with GSM-7 text.")
    reference_bits: Literal[8, 16] = Field(default=8, description="Width of the reference of concatenated segments.")
    concatenation: Literal["udh", "sar"] = Field(
        default="udh",
        description="How segments are numbered: a user data header, or SAR TLVs, as the carrier takes them.",
    )
    opted_out_statuses: frozenset[Annotated[int, Field(ge=0x01, le=0xFFFF)]] = Field(
        default=frozenset(),
        max_length=20,
        description="command_status values with which this carrier says that the recipient opted out; none is standard.",
    )
    max_segments: int = Field(default=10, ge=1, le=255)
    transliterate: bool = Field(
        default=True, description="Replace typographic characters where that brings a text into GSM-7."
    )
    max_validity: _Positive = Field(default=timedelta(hours=48), description="The longest validity_period to ask for.")
    timeout: _Positive = Field(default=timedelta(seconds=30), description="For one message with all its segments.")
    bind_wait: timedelta = Field(
        default=timedelta(seconds=2), ge=timedelta(), description="How long a message waits while nothing is bound."
    )
    enquire_link_interval: _Positive = timedelta(seconds=30)
    reconnect_base: _Positive = Field(default=timedelta(seconds=1), description="First backoff; doubles, full jitter.")
    reconnect_cap: _Positive = timedelta(seconds=60)
