"""Composition: the engine with the providers of Android devices (FCM)."""

from clarion_channels.dispatcher import build_dispatcher
from clarion_dispatcher_android.settings import Settings
from clarion_kit.daemon import Daemon
from clarion_kit.vocabulary import Channel


async def build(d: Daemon, s: Settings) -> None:
    await build_dispatcher(d, s, Channel.ANDROID)
