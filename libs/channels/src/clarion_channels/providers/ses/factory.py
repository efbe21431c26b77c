"""The entry point "ses"."""

from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, Channel
from clarion_channels.errortable import load
from clarion_channels.mail.frames_source import FrameSource, NoFrames
from clarion_channels.port import Receipts
from clarion_channels.providers.ses.provider import SesProvider
from clarion_channels.providers.ses.settings import SesSettings


class Factory:
    """Opens SES lanes. A composition root that sends templated mail calls `with_frames` first."""

    channel: Channel.ValueType = CHANNEL_EMAIL

    def __init__(self, frames: FrameSource | None = None) -> None:
        self._frames = frames or NoFrames()

    def with_frames(self, frames: FrameSource) -> "Factory":
        """A factory whose providers take their frames from `frames`."""
        return Factory(frames)

    async def connect(self, settings: bytes, receipts: Receipts) -> SesProvider:
        """Validate the credential document; connections are made when the first mail comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file that cannot be read.
        """
        del receipts  # SES reports to an HTTP endpoint
        return SesProvider(SesSettings.model_validate_json(settings), self._frames, load("ses"))
