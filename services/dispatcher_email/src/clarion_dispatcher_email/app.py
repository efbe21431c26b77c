"""Composition: the engine with the providers of mailboxes, which need the frames of the ledger."""

from collections.abc import Mapping

from clarion_channels.dispatcher import build_dispatcher
from clarion_channels.port import ProviderFactory
from clarion_channels.providers.sendgrid.factory import Factory as SendGrid
from clarion_channels.providers.ses.factory import Factory as Ses
from clarion_channels.providers.smtp.factory import Factory as Smtp
from clarion_dispatcher_email.adapters.frames import LedgerFrames
from clarion_dispatcher_email.settings import Settings
from clarion_kit.daemon import Daemon
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool


async def build(d: Daemon, s: Settings) -> None:
    await build_dispatcher(d, s, Channel.EMAIL, factories=_factories)


def _factories(pool: Pool) -> Mapping[str, ProviderFactory]:
    frames = LedgerFrames(pool)
    return {
        "smtp": Smtp().with_frames(frames),
        "ses": Ses().with_frames(frames),
        "sendgrid": SendGrid().with_frames(frames),
    }
