"""The app that the load is sent by: its people, categories, template, and accounts with the sandbox's providers."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from random import Random

from clarion.category.v1.category_service_pb2 import Category, Guarantee
from clarion_client import (
    AsyncClient,
    Channel,
    Content,
    JsonValue,
    Mail,
    Notification,
    Priority,
    Push,
    Recipient,
    addresses,
)
from clarion_local.practice import Account, Practice
from clarion_sandbox import browser, content

APP = "adversity"
SCOPES = ("send:*", "recipient:write", "template:write", "status:read", "deadletter:redrive")
TEMPLATE = "parcel"
AT_LEAST_ONCE, AT_MOST_ONCE = "parcels", "codes"
PEOPLE = 300
MIX: Mapping[Channel, int] = {Channel.IOS: 4, Channel.ANDROID: 5, Channel.WEB: 1, Channel.SMS: 1, Channel.EMAIL: 5}
"""Of 16 deliveries (decisions: what the figures mean)."""
PROVIDERS: Mapping[str, Channel] = {
    "apns": Channel.IOS,
    "fcm": Channel.ANDROID,
    "webpush": Channel.WEB,
    "smpp": Channel.SMS,
    "smtp": Channel.EMAIL,
}
CODE_SHARE = 0.1
"""Of all notifications are at most once."""
_PATIENCE_ATTEMPTS = 50
_TIME_TO_LIVE = timedelta(hours=2)
_FILLER = "On its way to you. " * 20
_PROVIDER_TIMEOUTS: Mapping[str, Mapping[str, JsonValue]] = {
    "apns": {"timeout_seconds": 5},
    "fcm": {"timeout_seconds": 5},
    "webpush": {"timeout_seconds": 5},
    "smpp": {"timeout": 5, "reconnect_cap": 2},
    "smtp": {"timeout": 5},
}


def accounts(practice: Practice) -> list[Account]:
    """One account of the sandbox for each channel, with timeouts that leave room in a short lease."""
    return [
        Account(one.name, one.kind, one.channel, {**one.settings, **_PROVIDER_TIMEOUTS[one.kind]})
        for one in practice.accounts(APP)
        if one.kind in PROVIDERS
    ]


def people(practice: Practice, count: int = PEOPLE) -> Iterator[Recipient]:
    """Recipients whose addresses all work, each reachable on every channel."""
    for number in range(count):
        yield person(practice, f"p{number}", number)


def person(practice: Practice, recipient_id: str, number: int, *, token_prefix: str = "") -> Recipient:
    """One recipient; `token_prefix` makes its devices fail as the sandbox's magic addresses say."""
    token = token_prefix + hashlib.sha256(recipient_id.encode()).hexdigest()[len(token_prefix) :]
    web = browser.subscription(practice.vapid_public_key, recipient_id)
    keys = {"p256dh": web.p256dh, "auth": web.auth}
    return Recipient(
        recipient_id=recipient_id,
        addresses=[
            addresses.ios(token),
            addresses.android(f"{token}:{'x' * 90}"),
            addresses.web({"endpoint": f"{practice.url}{web.endpoint_path}", "keys": keys}),
            addresses.phone(f"+8210{20_000_000 + number:08d}"),
            addresses.mail(f"{recipient_id}@example.com"),
        ],
    )


async def furnish(client: AsyncClient) -> None:
    """Categories and the template. Raises ClarionError."""
    for name, guarantee in (
        (AT_LEAST_ONCE, Guarantee.GUARANTEE_AT_LEAST_ONCE),
        (AT_MOST_ONCE, Guarantee.GUARANTEE_AT_MOST_ONCE),
    ):
        category = Category(name=name, guarantee=guarantee, max_attempts=_PATIENCE_ATTEMPTS)
        category.time_to_live.FromTimedelta(_TIME_TO_LIVE)
        await client.categories.put(category)
    await client.templates.put(
        TEMPLATE, {"en": _words("{{ parcel }}").to_proto()}, sample_data={"parcel": "p-1"}, default_locale="en"
    )


def notification(event_id: str, recipient_id: str, channel: Channel, category: str, priority: Priority) -> Notification:
    """One notification for one channel; its event id is part of what its reader sees."""
    return Notification(
        event_id=event_id,
        recipients=[recipient_id],
        category=category,
        template=TEMPLATE,
        data={"parcel": event_id},
        channels=[channel],
        priority=priority,
    )


def drawn(random: Random, event_id: str) -> Notification:
    """A notification by the mix of the target day."""
    channel = random.choices(list(MIX), list(MIX.values()))[0]
    return notification(
        event_id,
        f"p{random.randrange(PEOPLE)}",
        channel,
        AT_MOST_ONCE if random.random() < CODE_SHARE else AT_LEAST_ONCE,
        random.choices((Priority.URGENT, Priority.NORMAL, Priority.BULK), (1, 6, 3))[0],
    )


def digest(event_id: str, channel: Channel) -> str | None:
    """What the sandbox calls the content of an event; None for mail, which names its delivery instead."""
    words = _words(event_id)
    match channel:
        case Channel.EMAIL:
            return None
        case Channel.SMS:
            return content.of_text(words.sms or "")
        case Channel.WEB:
            # The sandbox takes a browser's title for what is seen; the body lies among its options.
            return content.of_visible(words.push.title, None, None) if words.push else None
        case _:
            return content.of_visible(words.push.title, words.push.body, None) if words.push else None


def _words(parcel: str) -> Content:
    return Content(
        push=Push(title=f"Parcel {parcel}", body=_FILLER),
        sms=f"Parcel {parcel} is on its way.",
        mail=Mail(
            subject=f"Parcel {parcel}", text=f"Parcel {parcel}. {_FILLER}", html=f"<p>{parcel}</p><p>{_FILLER * 8}</p>"
        ),
    )
