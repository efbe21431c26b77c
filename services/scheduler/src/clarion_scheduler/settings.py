"""Settings of the scheduler."""

from pathlib import Path

from pydantic import Field, SecretStr

from clarion_kit.settings import Common


class Settings(Common):
    """Every replica runs every job; rows are claimed, so more replicas mean more throughput."""

    database_url: SecretStr = Field(description="postgresql:// URL with the scheduler's role.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    kek_file: Path = Field(description="File with the key-encryption keys.")
    poll_seconds: float = Field(0.2, gt=0, le=5, description="Pause between looks for due work.")
    reconcile_seconds: float = Field(5.0, gt=0, le=60, description="Pause between looks for what the bus lost.")
    lost_after_seconds: float = Field(
        15.0,
        ge=1,
        le=300,
        description="Age at which an enqueued row that no message can hold any more is enqueued again.",
    )
    keep_bodies_days: float = Field(7, ge=1, le=3650, description="Sealed contents and addresses are kept for so long.")
    keep_history_days: float = Field(
        90, ge=7, le=3650, description="Notifications, deliveries, attempts, events are kept for so long."
    )
