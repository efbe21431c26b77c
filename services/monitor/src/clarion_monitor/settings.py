"""Settings of the monitor daemon."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from clarion_kit.settings import Common, is_loopback, split_listen
from clarion_monitor.adapters.mail import MailTls
from clarion_monitor.domain import Limits


class Settings(Common):
    """Needs everything it looks at; tells whom the settings name."""

    database_url: SecretStr = Field(description="postgresql:// URL with the role clarion_monitor.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    look_seconds: float = Field(5.0, ge=0.1, le=300, description="Pause between two looks at the bus and the backlog.")
    audit_seconds: float = Field(10.0, ge=0.1, le=3600, description="Pause between two steps of the audit.")
    warn_queue_seconds: float = Field(30.0, gt=0, description="Alert where a message on the bus is older.")
    warn_backlog_seconds: float = Field(300.0, gt=0, description="Alert where a row waits longer to be moved by us.")
    warn_standstill_seconds: float = Field(
        30.0, gt=0, description="Alert where none of the rows that wait for us moves for so long."
    )
    warn_outbox_seconds: float = Field(30.0, gt=0, description="Alert where a row waits longer while the bus is away.")
    warn_dead_letters: int = Field(
        0, ge=0, description="Alert where one cause makes more within the window; log where a channel has more."
    )
    warn_failures: int = Field(20, ge=1, description="Alert where one cause makes so many failures within the window.")
    warn_error_share: float = Field(0.5, gt=0, le=1, description="Alert where an account fails so much of 10 or more.")
    warn_dead_addresses: int = Field(
        30, ge=1, description="Alert where an account calls so many addresses dead, if they are the share below."
    )
    warn_dead_share: float = Field(0.2, gt=0, le=1, description="Share of an account's answers that is too much.")
    failure_window_seconds: float = Field(300.0, ge=1, le=3600, description="The window of the five above.")
    warn_lane_quality: int = Field(
        50, ge=0, le=100, description="Alert where an SMS account keeps less percent of its weight in a country."
    )
    recover_seconds: float = Field(60.0, ge=0, le=3600, description="A cause unseen for so long is over.")
    remind_seconds: float = Field(3600.0, ge=3600, description="Pause between two messages that something goes on.")
    runbook_url: str = Field("", pattern=r"^(https?://[^\s#]+)?$", description="Page with an anchor for each alert.")
    alert_webhook_url: SecretStr | None = Field(None, description="https:// URL that takes alerts; unset: none.")
    alert_webhook_secret: SecretStr | None = Field(None, description="Signs what is posted (HMAC-SHA256).")
    alert_mail_server: str | None = Field(None, description="host:port that takes mail; unset: no mail.")
    alert_mail_tls: MailTls = Field(MailTls.STARTTLS, description="starttls, implicit, or none (only on loopback).")
    alert_mail_user: str = Field("", description="User at the mail server.")
    alert_mail_password: SecretStr | None = Field(None, description="Password of that user.")
    alert_mail_ca_file: Path | None = Field(None, description="Authorities (PEM) to trust instead of the system's.")
    alert_mail_from: str = Field(
        "", validate_default=True, description="Sender's address; required with a mail server."
    )
    alert_mail_to: str = Field(
        "", validate_default=True, description="Recipients' addresses, comma separated; required with a mail server."
    )

    @field_validator("alert_webhook_url")
    @classmethod
    def _https_or_loopback(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            scheme, _, rest = value.get_secret_value().partition("://")
            host = rest.partition("/")[0]
            if scheme != "https" and not (scheme == "http" and _on_loopback(host)):
                raise ValueError("must be https (http only on loopback)")
        return value

    @field_validator("alert_mail_server")
    @classmethod
    def _mail_server(cls, value: str | None) -> str | None:
        if value is not None:
            split_listen(value)
        return value

    @field_validator("alert_mail_tls")
    @classmethod
    def _protected_or_loopback(cls, value: MailTls, others: ValidationInfo) -> MailTls:
        server = others.data.get("alert_mail_server")
        if value is MailTls.NONE and server is not None and not is_loopback(server):
            raise ValueError("none is only for loopback")
        return value

    @field_validator("alert_mail_from", "alert_mail_to")
    @classmethod
    def _addresses(cls, value: str, others: ValidationInfo) -> str:
        addresses = mail_addresses(value)
        if any("@" not in address or not address.isprintable() or " " in address for address in addresses):
            raise ValueError("no mail address")
        if others.data.get("alert_mail_server") is not None and not addresses:
            raise ValueError("required with CLARION_ALERT_MAIL_SERVER")
        return value

    @property
    def limits(self) -> Limits:
        return Limits(
            queue_age=timedelta(seconds=self.warn_queue_seconds),
            backlog_age=timedelta(seconds=self.warn_backlog_seconds),
            dead_letters=self.warn_dead_letters,
            outbox_age=timedelta(seconds=self.warn_outbox_seconds),
            standstill=timedelta(seconds=self.warn_standstill_seconds),
            failures=self.warn_failures,
            error_share=self.warn_error_share,
            dead_addresses=self.warn_dead_addresses,
            dead_share=self.warn_dead_share,
            lane_quality=self.warn_lane_quality,
        )


def mail_addresses(text: str) -> list[str]:
    """Addresses of a comma-separated list."""
    return [address.strip() for address in text.split(",") if address.strip()]


def _on_loopback(host: str) -> bool:
    try:
        return is_loopback(host)
    except ValueError:
        return False
