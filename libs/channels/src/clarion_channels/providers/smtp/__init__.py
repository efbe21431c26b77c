"""SMTP submission (RFC 6409) for the channel email."""

from clarion_channels.mail.frames_source import FrameSource, FrameUnavailable
from clarion_channels.providers.smtp.factory import Factory

__all__ = ["Factory", "FrameSource", "FrameUnavailable"]
