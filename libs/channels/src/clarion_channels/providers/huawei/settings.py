"""The credential document of a Huawei lane."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_DIGITS = r"^[0-9]{1,32}$"


class HuaweiSettings(BaseModel):
    """One app of AppGallery Connect with its OAuth 2.0 client."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_id: str = Field(pattern=_DIGITS)
    """OAuth 2.0 client id, which is the app id."""
    client_secret: SecretStr = Field(min_length=1, max_length=512)
    project_id: str = Field(default="", pattern=r"^[0-9]{0,32}$")
    """Set: requests go to /v2/<project id>. Unset: to /v1/<client id>."""
    base_url: str = Field(default="https://push-api.cloud.huawei.com", pattern=r"^https://[^/?#]+$")
    token_url: str = Field(default="https://oauth-login.cloud.huawei.com/oauth2/v3/token", pattern=r"^https://[^?#]+$")
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's, for Push Kit and the token server."""
    category: str = Field(default="", max_length=64, pattern=r"^[A-Z_]*$")
    """Huawei's message class (IM, EXPRESS, MARKETING, …), which decides on caps in China; "" = as the app is rated."""
    high_urgency: bool = False
    """The app has Huawei's permission for urgency HIGH: URGENT messages ask for it. Without it they would be refused."""
    receipt_id: str = Field(default="", max_length=64, pattern=r"^[!-~]*$")
    """Receipt configuration of AppGallery Connect; "" = the app's default one."""
    fallback_title: str = Field(default="", max_length=100)
    """Title of notifications whose content has only one text: Huawei takes none without title and body."""
    badge_class: str = Field(default="", max_length=256, pattern=r"^[A-Za-z0-9_.$]*$")
    """The app's entry activity, which Huawei wants beside a number on its icon; "": no `notification_count`."""
    delivery_id_in_data: bool = False
    """Give the app `clarion_delivery_id`; then no two messages are alike and each is a request of its own."""
    callback_user: str = Field(default="", max_length=128, pattern=r"^[ -~]*$")
    callback_key: SecretStr = SecretStr("")
    """What receipts are signed with, as in the receipt configuration; both unset: they are not signed."""
    connections: int = Field(default=4, ge=1, le=64)
    streams: int = Field(default=100, ge=1, le=1000)
    """Requests open on one connection."""
    timeout_seconds: float = Field(default=10, ge=0.1, le=60)
    connect_timeout_seconds: float = Field(default=5, ge=0.1, le=60)

    @property
    def send_url(self) -> str:
        path = f"/v2/{self.project_id}" if self.project_id else f"/v1/{self.client_id}"
        return f"{self.base_url}{path}/messages:send"
