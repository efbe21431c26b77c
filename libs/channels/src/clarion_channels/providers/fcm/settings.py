"""The credential document of an FCM lane."""

from pathlib import Path
from typing import Self

from google.auth.exceptions import GoogleAuthError
from google.oauth2.service_account import Credentials
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class ServiceAccount(BaseModel):
    """The parts used of the key file that Google's console gives for a service account."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    project_id: str = Field(pattern=r"^[a-z0-9:.-]{1,100}$")
    client_email: str = Field(min_length=3, max_length=320)
    private_key: SecretStr
    private_key_id: str = ""
    token_uri: str = Field(default="https://oauth2.googleapis.com/token", pattern=r"^https://")


class FcmSettings(BaseModel):
    """One Firebase project."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    service_account: ServiceAccount
    base_url: str = Field(default="https://fcm.googleapis.com", pattern=r"^https://[^/?#]+$")
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's, for FCM and the token server."""
    connections: int = Field(default=4, ge=1, le=64)
    streams: int = Field(default=100, ge=1, le=1000)
    """Requests open on one connection; FCM announces 100 and closes connections that exceed it."""
    timeout_seconds: float = Field(default=10, ge=0.1, le=120)
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=60)

    @model_validator(mode="after")
    def _key_is_usable(self) -> Self:
        self.credentials()
        return self

    @property
    def send_url(self) -> str:
        return f"{self.base_url}/v1/projects/{self.service_account.project_id}/messages:send"

    def credentials(self) -> Credentials:
        """Credentials of google-auth for this account; raises `ValueError` for a key that cannot sign."""
        account = self.service_account
        info = account.model_dump() | {"private_key": account.private_key.get_secret_value(), "type": "service_account"}
        try:
            credentials: Credentials = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                info, scopes=[SCOPE]
            )
        except (GoogleAuthError, ValueError) as error:
            raise ValueError("the private key is not an RSA key in PEM") from error
        return credentials
