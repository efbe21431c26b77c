"""The credential document of an APNs lane."""

import ssl
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from clarion_channels.providers.es256 import load_p256_pem


class _Strict(BaseModel):
    # Input is left out of validation errors because it may be a key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TokenAuth(_Strict):
    """Authentication by provider token: one key serves every app of a team."""

    kind: Literal["token"]
    key_p8: SecretStr
    """The `.p8` file's text (PEM, P-256)."""
    key_id: str = Field(pattern=r"^[A-Z0-9]{10}$")
    team_id: str = Field(pattern=r"^[A-Z0-9]{10}$")

    @field_validator("key_p8")
    @classmethod
    def _is_p256(cls, value: SecretStr) -> SecretStr:
        load_p256_pem(value.get_secret_value().encode())
        return value


class CertificateAuth(_Strict):
    """Authentication by TLS client certificate."""

    kind: Literal["certificate"]
    certificate_pem: str
    """The certificate and its chain, PEM."""
    private_key_pem: SecretStr


class ApnsSettings(_Strict):
    """One team's (or certificate's) access to APNs."""

    auth: Annotated[TokenAuth | CertificateAuth, Field(discriminator="kind")]
    bundle_id: str = Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
    """Topic of devices that name no bundle id of their own."""
    production_host: str = "api.push.apple.com"
    production_port: int = Field(default=443, ge=1, le=65535)
    development_host: str = "api.development.push.apple.com"
    development_port: int = Field(default=443, ge=1, le=65535)
    ca_file: Path | None = None
    """Trust these certificates (PEM) instead of the system's."""
    max_connections: int = Field(default=4, ge=1, le=64)
    """Connections per environment."""
    max_streams: int = Field(default=250, ge=1, le=1000)
    """Requests open on one connection, where the peer allows as many."""
    timeout_seconds: float = Field(default=20, ge=0.1, le=120)
    """Bound of one call of `send`; at most half of it is spent on waiting for a free stream."""
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=60)
    ping_seconds: float = Field(default=3600, ge=1)
    """A connection without traffic for this long is checked with a PING (Apple asks for no more than hourly)."""

    def tls_context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, ALPN h2, with the client certificate if there is one; raises `OSError` (`ssl.SSLError`)."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if isinstance(self.auth, CertificateAuth):
            # The ssl module reads certificates from files only; this one is private (0600) and gone after the call.
            with NamedTemporaryFile(suffix=".pem") as file:
                file.write(f"{self.auth.certificate_pem}\n{self.auth.private_key_pem.get_secret_value()}\n".encode())
                file.flush()
                context.load_cert_chain(file.name)
        return context
