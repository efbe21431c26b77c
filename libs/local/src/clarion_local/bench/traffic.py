"""What is sent and to whom: the target day's mix, one recipient and one delivery each, templated, own event ids."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from clarion.category.v1.category_service_pb2 import Category, Guarantee
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.types.v1.channel_pb2 import Channel as ProtoChannel
from clarion.types.v1.channel_pb2 import Priority as ProtoPriority
from clarion_client import AsyncClient, Channel, Content, JsonValue, Mail, Priority, Push, Recipient, addresses
from clarion_local.practice import Practice
from clarion_sandbox import browser

APP = "bench"
CATEGORY = "orders"
TEMPLATE = "order"
SCOPES = ("send:*", "recipient:write", "template:write", "status:read")
MIX: Mapping[Channel, int] = {Channel.IOS: 4, Channel.ANDROID: 5, Channel.WEB: 1, Channel.SMS: 1, Channel.EMAIL: 5}
"""Of 16 deliveries."""
PROVIDERS: Mapping[Channel, str] = {
    Channel.IOS: "apns",
    Channel.ANDROID: "fcm",
    Channel.WEB: "webpush",
    Channel.SMS: "smpp",
    Channel.EMAIL: "smtp",
}
"""Who serves a channel here, as the sandbox names them."""
DELAYS_MS: Mapping[str, int] = {"apns": 30, "fcm": 80, "webpush": 60, "smpp": 40, "smtp": 20}
"""Answers of real providers take about so long (SMTP: each reply)."""
PUSH_BYTES, MAIL_BYTES = 400, 8_192
_SENTENCE = "Your order has left our warehouse and will be with you on the day that you chose. "
_SAMPLE: Mapping[str, JsonValue] = {"order": "A-10000", "name": "Ann"}


def pattern() -> tuple[Channel, ...]:
    """The channels of 16 notifications in a row, each channel spread as evenly as it can be."""
    places = [((number + 0.5) / share, channel) for channel, share in MIX.items() for number in range(share)]
    return tuple(channel for _, channel in sorted(places))


def content() -> Content:
    """The template: push ≥ 400 bytes, mail ≥ 8 KiB in two parts, an SMS of one segment."""
    text = _SENTENCE * (MAIL_BYTES // 3 // len(_SENTENCE) + 1)
    rows = f"<tr><td>{_SENTENCE}</td></tr>" * (MAIL_BYTES * 2 // 3 // (len(_SENTENCE) + 18) + 1)
    return Content(
        push=Push(title="Order {{ order }}", body="{{ name }}: " + _SENTENCE * (PUSH_BYTES // len(_SENTENCE) + 1)),
        sms="{{ name }}, your order {{ order }} has left our warehouse and will be with you on the day that you chose.",
        mail=Mail(
            subject="Order {{ order }}",
            text="Dear {{ name }},\n" + text,
            html="<html><body><p>Dear {{ name }}</p><table>" + rows + "</table></body></html>",
        ),
    )


def recipient_id(number: int) -> str:
    return f"r{number}"


def recipients(practice: Practice, count: int) -> Iterator[Recipient]:
    """People who can be reached on every channel, all of whose addresses work."""
    for number in range(count):
        name = recipient_id(number)
        token = hashlib.sha256(name.encode()).hexdigest()
        web = browser.subscription(practice.vapid_public_key, name)
        subscription = {
            "endpoint": f"{practice.url}{web.endpoint_path}",
            "keys": {"p256dh": web.p256dh, "auth": web.auth},
        }
        yield Recipient(
            recipient_id=name,
            addresses=[
                addresses.ios(token),
                addresses.android(f"{token}:{'x' * 90}"),
                addresses.web(subscription),
                addresses.phone(f"+8210{20_000_000 + number:08d}"),
                addresses.mail(f"{name}@example.com"),
            ],
        )


def devices(first: int, count: int) -> Iterator[Recipient]:
    """People with an iOS device and nothing else, for broadcasts."""
    for number in range(first, first + count):
        token = hashlib.sha256(recipient_id(number).encode()).hexdigest()
        yield Recipient(recipient_id=recipient_id(number), addresses=[addresses.ios(token)])


async def furnish(client: AsyncClient) -> None:
    """The category's defaults and the template. Raises ClarionError."""
    await client.categories.put(Category(name=CATEGORY, guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE))
    await client.templates.put(TEMPLATE, {"en": content()}, sample_data=_SAMPLE, default_locale="en")


def event_id(run: str, number: int) -> str:
    return f"{run}:{number}"


def number_of(run: str, event: str) -> int | None:
    """The number in an event id of a run, None for one of another."""
    name, _, number = event.rpartition(":")
    return int(number) if name == run and number.isdigit() else None


class Maker:
    """Makes the notifications of a run; the same number makes the same notification."""

    def __init__(
        self,
        run: str,
        people: int,
        channels: Sequence[Channel],
        priority: Priority = Priority.NORMAL,
        deliver_at: tuple[float, float] | None = None,
    ) -> None:
        """`deliver_at`: Unix seconds of the first one and seconds between two; None sends at once."""
        self._run, self._people, self._channels = run, people, channels
        self._priority, self._deliver_at = priority, deliver_at

    def notification(self, number: int) -> pb.Notification:
        # By turns, so that everybody gets something on every channel and no batch is of one person.
        turn, place = divmod(number, len(self._channels))
        person = (turn + place * max(1, self._people // len(self._channels))) % self._people
        made = pb.Notification(
            event_id=event_id(self._run, number),
            recipient_ids=[recipient_id(person)],
            category=CATEGORY,
            priority=ProtoPriority.ValueType(self._priority),
        )
        made.channel_policy.channels.append(ProtoChannel.ValueType(self._channels[place]))
        made.template.name = TEMPLATE
        made.template.data.update({"order": f"A-{number}", "name": f"Person {person}"})
        if self._deliver_at is not None:
            made.deliver_at.FromDatetime(datetime.fromtimestamp(self.due(number), UTC))
        return made

    def due(self, number: int) -> float:
        """Unix seconds at which a scheduled one is due. Raises ValueError for those that go at once."""
        if self._deliver_at is None:
            raise ValueError("these go at once")
        first, step = self._deliver_at
        return first + number * step

    def single(self, number: int) -> bytes:
        """A SendRequest."""
        return pb.SendRequest(notification=self.notification(number)).SerializeToString()

    def batch(self, first: int, count: int) -> bytes:
        """A SendBatchRequest of consecutive numbers."""
        items = [self.notification(number) for number in range(first, first + count)]
        return pb.SendBatchRequest(notifications=items).SerializeToString()
