"""Settings of the rate limiter."""

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """Needs Valkey; nothing else."""

    valkey_url: SecretStr = Field(description="redis:// or rediss:// URL.")
    valkey_connections: int = Field(8, ge=1, le=256, description="Most connections of this process to Valkey.")
