"""Settings of the preference daemon."""

from pathlib import Path

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """Needs a database and the keys that addresses are sealed with."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_preference.")
    kek_file: Path = Field(description="File with the key-encryption keys (JSON: id → base64 key).")
