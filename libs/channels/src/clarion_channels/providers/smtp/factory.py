"""The entry point "smtp"."""

import asyncio
import ssl

from clarion.types.v1.channel_pb2 import Channel
from clarion_channels.errortable import load
from clarion_channels.mail.frames_source import FrameSource, NoFrames
from clarion_channels.port import Provider, ProviderUnavailable, Receipts
from clarion_channels.providers.smtp.provider import SmtpProvider
from clarion_channels.providers.smtp.settings import SmtpSettings


class Factory:
    """Opens SMTP lanes. A composition root that sends templated mail calls `with_frames` first."""

    channel = Channel.CHANNEL_EMAIL

    def __init__(self, frames: FrameSource | None = None) -> None:
        self._frames = frames or NoFrames()

    def with_frames(self, frames: FrameSource) -> "Factory":
        """A factory whose providers take their frames from `frames`."""
        return Factory(frames)

    async def connect(self, settings: bytes, receipts: Receipts) -> Provider:
        """A lane of this account; connections are opened as mails come. SMTP brings no receipts.

        Raises `pydantic.ValidationError`, and `ProviderUnavailable` when the CA file cannot be used.
        """
        parsed = SmtpSettings.model_validate_json(settings)
        try:
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=parsed.ca_file)
        except OSError as error:
            raise ProviderUnavailable(f"smtp {parsed.host}: ca_file: {type(error).__name__}") from error
        return SmtpProvider(parsed, tls, self._frames, load("smtp"))
