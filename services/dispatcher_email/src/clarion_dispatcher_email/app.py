"""Composition: the engine with the providers of mailboxes (SMTP), which need the frames of the ledger."""

from clarion_channels.dispatcher import build_dispatcher
from clarion_channels.providers.smtp.factory import Factory as Smtp
from clarion_dispatcher_email.adapters.frames import LedgerFrames
from clarion_dispatcher_email.settings import Settings
from clarion_kit.daemon import Daemon
from clarion_kit.vocabulary import Channel


async def build(d: Daemon, s: Settings) -> None:
    await build_dispatcher(d, s, Channel.EMAIL, factories=lambda pool: {"smtp": Smtp().with_frames(LedgerFrames(pool))})
