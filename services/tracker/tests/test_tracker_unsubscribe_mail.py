"""Unsubscribing by mail over a real SMTP session: the subject's signature decides, and a 250 means that it is kept."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import aiosmtplib
import pytest

from clarion_channels.mail.unsubscribe import ways_out
from clarion_kit.links import OpenLink, ReturnPath, UnsubscribeLink, sign_open, sign_return_path, unsubscribe_url
from clarion_kit.vocabulary import Channel
from clarion_tracker.adapters.smtp_listener import SmtpListener
from clarion_tracker.bounces import BounceDoor
from clarion_tracker.ports import Account
from clarion_tracker.unsubscribe_mail import UnsubscribeMail

from .tracker_samples import Away, FakeAccounts, FakeArrivals, count, tracked

KEY = bytes(range(32))
RECIPIENT = UUID(int=9)
LINK = UnsubscribeLink(3, RECIPIENT, 5, Channel.EMAIL)
APPLIED = [(3, RECIPIENT, "news", Channel.EMAIL)]


def mailto(key: bytes = KEY, link: UnsubscribeLink = LINK) -> tuple[str, str]:
    """Address and subject of the link in a mail."""
    _, by_mail = ways_out(unsubscribe_url("https://t.example.com", key, link), "in.example.com")
    parts = urlsplit(by_mail)
    [subject] = parse_qs(parts.query)["subject"]
    return parts.path, subject


ADDRESS, SUBJECT = mailto()


class World:
    """A listener; categories and wishes in memory."""

    def __init__(self) -> None:
        counter, self.metrics = tracked()
        self.arrivals = FakeArrivals()
        self.wishes: list[tuple[int, UUID, str, Channel]] = []
        self.away = False
        self.port = 0
        accounts = FakeAccounts(("smtp", Account(3, 7, 1, b"{}")))
        self.door = BounceDoor(KEY, accounts, self.arrivals, counter, UnsubscribeMail(KEY, self, self, counter))

    def category(self, app_id: int, category_id: int) -> str | None:
        return "news" if (app_id, category_id) == (LINK.app_id, LINK.category_id) else None

    async def unsubscribe(self, app_id: int, recipient_ref: UUID, category: str, channel: Channel) -> None:
        if self.away:
            raise Away
        self.wishes.append((app_id, recipient_ref, category, channel))

    async def send(self, *recipients: str, subject: str = SUBJECT) -> None:
        mail = f"From: anna@example.org\r\nSubject: {subject}\r\n\r\nplease\r\n"
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.port, local_hostname="a.example", timeout=5, start_tls=False
        )
        async with client:
            await client.sendmail("anna@example.org", list(recipients), mail)

    async def refused(self, *recipients: str, subject: str = SUBJECT) -> int:
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await self.send(*recipients, subject=subject)
        return refused.value.code


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with SmtpListener("127.0.0.1", 0, "mx.example.com", None).serve(made.door) as port:
        made.port = port
        yield made


@pytest.mark.parametrize("recipient", [ADDRESS, ADDRESS.upper(), "Unsubscribe@elsewhere.example"])
@pytest.mark.parametrize("subject", [SUBJECT, f"Re: {SUBJECT}", f"unsubscribe\r\n {SUBJECT}"])
async def test_mail_with_the_links_subject_switches_the_category_off(
    world: World, recipient: str, subject: str
) -> None:
    await world.send(recipient, subject=subject)

    assert world.wishes == APPLIED
    assert world.arrivals.stored == []
    assert count(world.metrics, "unsubscribe", "applied") == 1


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "unsubscribe",
        SUBJECT[:-1],
        SUBJECT + "A",
        mailto(key=bytes(32))[1],
        mailto(link=UnsubscribeLink(3, RECIPIENT, 6, Channel.EMAIL))[1],
        sign_open(KEY, OpenLink(3, RECIPIENT, 5, 0, "", Channel.EMAIL)),
    ],
)
async def test_subject_that_is_not_of_our_making_changes_nothing(world: World, subject: str) -> None:
    assert await world.refused(ADDRESS, subject=subject) == 554
    assert world.wishes == []


async def test_wish_that_cannot_be_kept_is_to_be_sent_again(world: World) -> None:
    world.away = True
    assert await world.refused(ADDRESS) == 451
    world.away = False
    await world.send(ADDRESS)

    assert world.wishes == APPLIED


async def test_bounces_are_taken_beside(world: World) -> None:
    bounce = f"{sign_return_path(KEY, ReturnPath(7, UUID(int=5)))}@in.example.com"

    await world.send(bounce, ADDRESS)

    assert world.wishes == APPLIED
    assert len(world.arrivals.stored) == 1
