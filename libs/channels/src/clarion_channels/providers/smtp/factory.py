"""The entry point "smtp"."""

import asyncio
import ssl

from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, Channel
from clarion_channels.errortable import load
from clarion_channels.mail.frames_source import FrameSource, NoFrames
from clarion_channels.mail.return_path import ReturnAddress, return_addresses
from clarion_channels.port import Provider, ProviderUnavailable, Receipts
from clarion_channels.providers.smtp.provider import SmtpProvider
from clarion_channels.providers.smtp.settings import SmtpSettings


class Factory:
    """Opens SMTP lanes. A composition root that sends gives it frames and the key of return paths first."""

    channel: Channel.ValueType = CHANNEL_EMAIL

    def __init__(
        self, frames: FrameSource | None = None, link_key: bytes | None = None, lane_id: int | None = None
    ) -> None:
        self._frames = frames or NoFrames()
        self._link_key = link_key
        self._lane_id = lane_id

    def with_frames(self, frames: FrameSource) -> "Factory":
        """A factory whose providers take their frames from `frames`."""
        return Factory(frames, self._link_key, self._lane_id)

    def with_link_key(self, link_key: bytes | None) -> "Factory":
        """A factory whose providers sign return paths, as the tracker that takes the bounces checks them."""
        return Factory(self._frames, link_key, self._lane_id)

    def for_lane(self, lane_id: int) -> "Factory":
        """A factory of the one provider of this lane, which its return paths name."""
        return Factory(self._frames, self._link_key, lane_id)

    async def connect(self, settings: bytes, receipts: Receipts) -> Provider:
        """A lane of this account; connections are opened as mails come. SMTP brings no receipts.

        Raises `pydantic.ValidationError`, and `ProviderUnavailable` when the CA file cannot be used, or the account wants
        return paths and a lane has no key for them.
        """
        del receipts  # bounces come as mail, to the tracker
        parsed = SmtpSettings.model_validate_json(settings)
        try:
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=parsed.ca_file)
        except OSError as error:
            raise ProviderUnavailable(f"smtp {parsed.host}: ca_file: {type(error).__name__}") from error
        return SmtpProvider(parsed, tls, self._frames, load("smtp"), self._return_address(parsed))

    def _return_address(self, settings: SmtpSettings) -> ReturnAddress | None:
        """None too for an account that is only checked: it is no lane yet, and sends nothing."""
        if settings.return_path_domain is None or self._lane_id is None:
            return None
        if self._link_key is None:
            raise ProviderUnavailable("return_path_domain needs the key that return paths are signed with")
        return return_addresses(self._link_key, self._lane_id, settings.return_path_domain)
