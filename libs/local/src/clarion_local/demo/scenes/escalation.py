"""Escalation: an SMS because nobody opened the push notification, and one that was not needed because somebody opened the mail."""

import asyncio
from datetime import timedelta

from clarion.notification.v1.notification_service_pb2 import GetResponse
from clarion_client import Channel, ChannelMode, Content, EscalateUntil, Mail, Notification, Push
from clarion_kit.vocabulary import DeliveryState
from clarion_local.demo.practice_room import PracticeRoom
from clarion_local.demo.scenes import cast
from clarion_local.demo.scenes.scene import Late, Stage, Told, ends, until
from clarion_local.demo.shop import TRANSACTIONAL

NAME, NOT_NEEDED = "escalation", "escalation_not_needed"
_SOON, _PATIENT = timedelta(seconds=2), timedelta(seconds=8)
_CONTENT = Content(
    push=Push(title="Your parcel waits", body="Please say where to leave it."),
    sms="Your parcel waits: please say where to leave it.",
    mail=Mail(
        subject="Your parcel waits",
        text="Please say where to leave it.",
        html="<html><body><p>Please say where to leave it.</p></body></html>",
    ),
)


async def play(stage: Stage) -> Told:
    """Push, then SMS because nobody opened it. Raises ClarionError, Late."""
    person = await stage.person("busy", [cast.device("busy"), cast.phone(1)])
    sent = await stage.send("escalation", _escalating(person, Channel.IOS, _SOON))
    found = _by_channel(await stage.ended(sent))
    return Told(
        NAME,
        f"a push that nobody opened within {_SOON.total_seconds():g} s: push {found.get('ios')}, then SMS {found.get('sms')}",
        1,
        {**found},
        "" if found == {"ios": "sent", "sms": "sent"} else f"both should have gone: {found}",
    )


async def play_not_needed(stage: Stage) -> Told:
    """A mail that is opened, so that its SMS is not needed. Raises ClarionError, Late, OSError."""
    address = cast.mailbox("attentive")
    person = await stage.person("attentive", [address, cast.phone(2)])
    before = await asyncio.to_thread(stage.room.entries)
    sent = await stage.send("escalation:opened", _escalating(person, Channel.EMAIL, _PATIENT))
    await _open(stage.room, before, address.email.address)
    found = _by_channel(await stage.ended(sent))
    return Told(
        NOT_NEEDED,
        f"a mail that was opened within {_PATIENT.total_seconds():g} s: mail {found.get('email')}, SMS {found.get('sms')}",
        1,
        {**found},
        "" if found == {"email": "sent", "sms": "cancelled: not_needed"} else f"the mail was enough: {found}",
    )


def _escalating(person: str, first: Channel, after: timedelta) -> Notification:
    return Notification(
        recipients=[person],
        category=TRANSACTIONAL,
        content=_CONTENT,
        channels=[first, Channel.SMS],
        channel_mode=ChannelMode.ESCALATE,
        escalate_after=after,
        escalate_until=EscalateUntil.OPENED,
    )


async def _open(room: PracticeRoom, after: int, mailbox: str) -> None:
    """Read the mail as soon as the sandbox has it."""

    async def arrived() -> int | None:
        return await asyncio.to_thread(room.mail_to, mailbox, after)

    pixel = await asyncio.to_thread(room.open_pixel, await until(arrived))
    if pixel is None:
        raise Late("the mail has no open pixel")
    await asyncio.to_thread(room.look_at, pixel)


def _by_channel(whole: GetResponse) -> dict[str, str]:
    return {
        Channel(delivery.channel).name.lower(): ends(delivery)
        for delivery in whole.deliveries
        if DeliveryState(delivery.state).terminal
    }
