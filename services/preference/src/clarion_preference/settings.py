"""Settings of the preference daemon."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from clarion_kit.settings import Common


class Settings(Common):
    """Needs a database and the keys that addresses are sealed with. Without `link_key_file` and `link_base_url` there are no
    preference pages."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_preference.")
    kek_file: Path = Field(description="File with the key-encryption keys (JSON: id → base64 key).")
    link_key_file: Path | None = Field(None, description="File with the key of signed links: 32 bytes, base64.")
    link_base_url: str | None = Field(None, description="Public URL of the tracker, e.g. https://t.example.com.")
    push_private_hosts: bool = Field(
        False, description="Browsers' push endpoints may be on hosts that are not public: for practice only."
    )

    @field_validator("push_private_hosts")
    @classmethod
    def _public_in_production(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("profile") == "production":
            raise ValueError("not with CLARION_PROFILE=production")
        return value
