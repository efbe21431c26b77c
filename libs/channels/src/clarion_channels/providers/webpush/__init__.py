"""Web Push: RFC 8030 (protocol), RFC 8291 (encryption), RFC 8292 (VAPID)."""

from clarion_channels.providers.webpush.provider import Factory, WebPushProvider

__all__ = ["Factory", "WebPushProvider"]
