"""The entry point "smpp"."""

import asyncio
import ssl

from clarion.types.v1.channel_pb2 import Channel
from clarion_channels.errortable import load
from clarion_channels.port import Provider, ProviderUnavailable, Receipts
from clarion_channels.providers.smpp.provider import SmppProvider
from clarion_channels.providers.smpp.settings import SmppSettings


class Factory:
    """Opens SMPP lanes."""

    channel = Channel.CHANNEL_SMS

    async def connect(self, settings: bytes, receipts: Receipts) -> Provider:
        """A lane of this account, binding in the background; an SMSC away or refusing shows in the results.

        Raises `pydantic.ValidationError`, and `ProviderUnavailable` when the CA file cannot be used.
        """
        parsed = SmppSettings.model_validate_json(settings)
        tls = None
        if parsed.tls:
            try:
                tls = await asyncio.to_thread(ssl.create_default_context, cafile=parsed.ca_file)
            except OSError as error:
                raise ProviderUnavailable(f"smpp {parsed.host}: ca_file: {type(error).__name__}") from error
        provider = SmppProvider(parsed, tls, receipts, load("smpp"))
        provider.start()
        return provider
