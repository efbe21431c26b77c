"""Settings of the scheduler."""

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """Every replica runs every job; rows are claimed, so more replicas mean more throughput."""

    database_url: SecretStr = Field(description="postgresql:// URL with the scheduler's role.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    poll_seconds: float = Field(0.2, gt=0, le=5, description="Pause between looks for due work.")
    reconcile_seconds: float = Field(5.0, gt=0, le=60, description="Pause between looks for what the bus lost.")
