"""SMTP submission (RFC 6409) for the channel email."""

from clarion_channels.providers.smtp.factory import Factory
from clarion_channels.providers.smtp.frames import FrameSource, FrameUnavailable

__all__ = ["Factory", "FrameSource", "FrameUnavailable"]
