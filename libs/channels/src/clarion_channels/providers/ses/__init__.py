"""Amazon Simple Email Service, API v2."""

from clarion_channels.providers.ses.factory import Factory
from clarion_channels.providers.ses.provider import SesProvider

__all__ = ["Factory", "SesProvider"]
