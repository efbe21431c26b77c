"""Composition: the engine with the providers of browsers (Web Push)."""

from clarion_channels.dispatcher import build_dispatcher
from clarion_dispatcher_web.settings import Settings
from clarion_kit.daemon import Daemon
from clarion_kit.vocabulary import Channel


async def build(d: Daemon, s: Settings) -> None:
    await build_dispatcher(d, s, Channel.WEB)
