"""The entry point "sendgrid"."""

from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, Channel
from clarion_channels.errortable import load
from clarion_channels.mail.frames_source import FrameSource, NoFrames
from clarion_channels.port import Receipts
from clarion_channels.providers.sendgrid.provider import SendGridProvider
from clarion_channels.providers.sendgrid.settings import SendGridSettings


class Factory:
    """Opens SendGrid lanes. A composition root that sends templated mail calls `with_frames` first."""

    channel: Channel.ValueType = CHANNEL_EMAIL

    def __init__(self, frames: FrameSource | None = None) -> None:
        self._frames = frames or NoFrames()

    def with_frames(self, frames: FrameSource) -> "Factory":
        """A factory whose providers take their frames from `frames`."""
        return Factory(frames)

    async def connect(self, settings: bytes, receipts: Receipts) -> SendGridProvider:
        """Validate the credential document; connections are made when the first mail comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file that cannot be read.
        """
        del receipts  # SendGrid reports to an HTTP endpoint
        return SendGridProvider(SendGridSettings.model_validate_json(settings), self._frames, load("sendgrid"))
