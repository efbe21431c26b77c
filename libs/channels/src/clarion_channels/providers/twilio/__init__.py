"""SMS over a Twilio-style REST API."""

from clarion_channels.providers.twilio.provider import Factory, TwilioProvider

__all__ = ["Factory", "TwilioProvider"]
