"""Settings of the monitor daemon."""

from datetime import timedelta

from pydantic import Field, SecretStr

from clarion_kit.settings import Common
from clarion_monitor.domain import Limits


class Settings(Common):
    """Needs everything it looks at."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_monitor.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    look_seconds: float = Field(5.0, ge=0.1, le=300, description="Pause between two looks at the bus and the backlog.")
    audit_seconds: float = Field(30.0, ge=0.1, le=3600, description="Pause between two audits.")
    audit_window_seconds: float = Field(600.0, ge=10, le=86_400, description="How far back an audit looks.")
    warn_queue_seconds: float = Field(60.0, gt=0, description="Warn where a message on the bus is older.")
    warn_backlog_seconds: float = Field(300.0, gt=0, description="Warn where a row waits longer to be moved by us.")
    warn_dead_letters: int = Field(0, ge=0, description="Warn where a channel has more dead letters, not redriven.")

    @property
    def limits(self) -> Limits:
        return Limits(
            queue_age=timedelta(seconds=self.warn_queue_seconds),
            backlog_age=timedelta(seconds=self.warn_backlog_seconds),
            dead_letters=self.warn_dead_letters,
        )
