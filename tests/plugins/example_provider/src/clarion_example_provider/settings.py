"""The credential document of an account."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


def _fits_a_header(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isascii() or not value.get_secret_value().isprintable():
        raise ValueError("holds characters that no key has")
    return value


class Settings(BaseModel):
    """One account with the carrier."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str = Field(pattern=r"^https://[^/?#]+$")
    api_key: Annotated[SecretStr, AfterValidator(_fits_a_header)] = Field(min_length=1, max_length=256)
    sender: str = Field(min_length=1, max_length=11)
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's."""
    timeout_seconds: float = Field(default=10, ge=0.1, le=60)
