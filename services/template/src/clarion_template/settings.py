"""Settings of the template service."""

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """Needs Postgres; nothing else."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_template.")
    template_cache_mib: int = Field(24, ge=1, le=4096, description="Sources of compiled versions kept in memory.")
