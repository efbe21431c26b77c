"""Apple Push Notification service: HTTP/2 through a hardened subclass of aioapns."""

from clarion_channels.providers.apns.provider import ApnsProvider, Factory

__all__ = ["ApnsProvider", "Factory"]
