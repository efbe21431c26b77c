"""SendGrid, Web API v3."""

from clarion_channels.providers.sendgrid.factory import Factory
from clarion_channels.providers.sendgrid.provider import SendGridProvider

__all__ = ["Factory", "SendGridProvider"]
