"""Composition: the engine with the providers of phones (SMPP), whose receipts come on our own connections."""

from clarion_channels.dispatcher import build_dispatcher
from clarion_dispatcher_sms.adapters.inbound import InboundTable
from clarion_dispatcher_sms.settings import Settings
from clarion_kit.daemon import Daemon
from clarion_kit.vocabulary import Channel


async def build(d: Daemon, s: Settings) -> None:
    await build_dispatcher(d, s, Channel.SMS, receipts=InboundTable)
