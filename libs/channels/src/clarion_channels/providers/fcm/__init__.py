"""Firebase Cloud Messaging, HTTP v1."""

from clarion_channels.providers.fcm.provider import Factory, FcmProvider

__all__ = ["Factory", "FcmProvider"]
