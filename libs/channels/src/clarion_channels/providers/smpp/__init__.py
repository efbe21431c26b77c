"""SMPP 3.4 for the channel sms."""

from clarion_channels.providers.smpp.factory import Factory

__all__ = ["Factory"]
