"""Composition: the engine with the providers of mailboxes, which need the frames of the ledger and signed return paths."""

from collections.abc import Mapping
from functools import partial

from clarion_channels.dispatcher import build_dispatcher
from clarion_channels.port import ProviderFactory
from clarion_channels.providers.sendgrid.factory import Factory as SendGrid
from clarion_channels.providers.ses.factory import Factory as Ses
from clarion_channels.providers.smtp.factory import Factory as Smtp
from clarion_dispatcher_email.adapters.frames import LedgerFrames
from clarion_dispatcher_email.settings import Settings
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret
from clarion_kit.settings import from_file
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool


async def build(d: Daemon, s: Settings) -> None:
    """Raises FaultySettings."""
    link_key = None
    if s.link_key_file is not None:
        link_key = from_file("CLARION_LINK_KEY_FILE", load_secret, s.link_key_file)
    await build_dispatcher(d, s, Channel.EMAIL, factories=partial(mail_factories, link_key))


def mail_factories(link_key: bytes | None, pool: Pool) -> Mapping[str, ProviderFactory]:
    """By kind; without a key accounts that want return paths cannot be used."""
    frames = LedgerFrames(pool)
    return {
        "smtp": Smtp().with_frames(frames).with_link_key(link_key),
        "ses": Ses().with_frames(frames),
        "sendgrid": SendGrid().with_frames(frames),
    }
