"""Accepted notifications, the planner's ports as fakes, and what came of planning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from clarion.notification.v1.notification_service_pb2 import ChannelMode, ChannelPolicy, Notification, TemplateRef
from clarion.types.v1.content_pb2 import Content as ProtoContent
from clarion.types.v1.content_pb2 import MailContent, PushContent, SmsContent
from clarion_kit.errors import unavailable
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger import admin
from clarion_ledger.accept import Accepted, AcceptItem, accept
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan, load
from clarion_planner.content import Links
from clarion_planner.domain import AddressRef, ChannelFacts, Content, Recipient
from clarion_planner.planning import Planning
from clarion_planner.ports import CapAnswer, CapQuery, RenderedTemplate, RenderQuery, ResolveQuery, SmsCharge
from clarion_testkit.plugin import App

KINDS = {
    Channel.IOS: "apns",
    Channel.ANDROID: "fcm",
    Channel.WEB: "webpush",
    Channel.SMS: "smpp",
    Channel.EMAIL: "smtp",
}
LITERAL = ProtoContent(
    push=PushContent(title="Order 7"),
    sms=SmsContent(text="Order 7"),
    mail=MailContent(subject="Order 7", text="is on its way"),
)


class FakePreferences:
    """Everybody has one address on each of `reachable`, unless `answer` says otherwise."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[ResolveQuery] = []
        self.reachable = set(Channel)
        self.locale = "ko-KR"
        self.answer: Callable[[ResolveQuery], Recipient] = self._usual

    async def resolve(self, queries: Sequence[ResolveQuery]) -> list[Recipient]:
        if self.away:
            raise unavailable("preference")
        self.asked += queries
        return [self.answer(query) for query in queries]

    def _usual(self, query: ResolveQuery) -> Recipient:
        channels = {
            channel: ChannelFacts(None, (address(query.recipient_ref, channel),))
            for channel in query.channels
            if channel in self.reachable
        }
        return Recipient(query.recipient_ref, True, self.locale, "KR", channels)


class FakeTemplates:
    """Renders anything; `answer` may fail or raise."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[RenderQuery] = []
        self.answer: Callable[[RenderQuery], RenderedTemplate] = self._usual

    async def render(self, queries: Sequence[RenderQuery]) -> list[RenderedTemplate]:
        if self.away:
            raise unavailable("template")
        self.asked += queries
        return [self.answer(query) for query in queries]

    def _usual(self, query: RenderQuery) -> RenderedTemplate:
        return RenderedTemplate(4, {channel: Content(b"\x0a\x00") for channel in query.channels})


class FakeCaps:
    """Allows everything unless told otherwise."""

    def __init__(self) -> None:
        self.asked: list[CapQuery] = []
        self.peeked: list[CapQuery] = []
        self.answer = CapAnswer(True)

    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        self.asked += queries
        return [self.answer for _ in queries]

    async def peek(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        self.peeked += queries
        return [self.answer for _ in queries]


class FakeBudgets:
    """Allows everything unless told otherwise."""

    def __init__(self) -> None:
        self.charged: list[SmsCharge] = []
        self.answer = CapAnswer(True)

    async def charge(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        self.charged += charges
        return [self.answer for _ in charges]

    async def look(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        return [self.answer for _ in charges]


def address(ref: bytes, channel: Channel, number: int = 0, hint: str = "") -> AddressRef:
    id_ = UUID(int=(int.from_bytes(ref) ^ (channel << 8 | number))).bytes
    return AddressRef(id_, b"sealed address", hint)


@dataclass(slots=True)
class Plant:
    """Planning with fakes of its ports on a real ledger."""

    pool: Pool
    app: App
    config: ConfigCache
    lanes: dict[Channel, int]
    links: Links | None = None
    preferences: FakePreferences = field(default_factory=FakePreferences)
    templates: FakeTemplates = field(default_factory=FakeTemplates)
    caps: FakeCaps = field(default_factory=FakeCaps)
    budgets: FakeBudgets = field(default_factory=FakeBudgets)

    @property
    def rules(self) -> Planning:
        keys = KeyRing(self.pool, self.app.keys._wrapper)
        return Planning(
            self.pool, keys, self.config, self.preferences, self.templates, self.caps, self.budgets, self.links
        )

    async def accept(
        self,
        *notifications: Notification,
        category: str = "transactional",
        traceparent: str = "",
        payload: bytes | None = None,
        ttl: timedelta = timedelta(hours=1),
    ) -> list[UUID]:
        """Accept as the edge does; gives the ids. `payload` replaces what was asked for."""
        sealer = await self.app.keys.sealer(self.app.app_id)
        items = []
        for notification in notifications:
            event_id = uuid4().hex
            sealed = sealer.seal("notification", event_id.encode(), "payload", notification.SerializeToString())
            items.append(
                AcceptItem(
                    app_id=self.app.app_id,
                    event_id=event_id,
                    payload_hash=bytes(32),
                    category_id=self.app.categories[category],
                    priority=Priority.NORMAL,
                    recipient_count=len(notification.recipient_ids),
                    deliver_at=None,
                    expire_at=None,
                    time_to_live=ttl,
                    payload=sealed if payload is None else payload,
                    traceparent=traceparent,
                    enqueue=True,
                )
            )
        return [r.notification_id for r in await accept(self.pool, items) if isinstance(r, Accepted)]

    async def sources(self, *notifications: Notification, category: str = "transactional") -> list[ToPlan]:
        return await load(self.pool, await self.accept(*notifications, category=category))

    async def planned(self, notification: Notification, category: str = "transactional") -> list[PlannedDelivery]:
        """The deliveries of one notification, by channel."""
        [plan] = await self.rules.plans(await self.sources(notification, category=category))
        return by_channel(plan)

    async def opened(self, delivery: PlannedDelivery) -> bytes:
        """A delivery's content."""
        sealer = await self.app.keys.sealer(self.app.app_id)
        return sealer.open("delivery", delivery.delivery_id.bytes, "content", delivery.content)


async def plant(pool: Pool, app: App, channels: Sequence[Channel] = tuple(Channel)) -> Plant:
    """An app with a provider account for each of these channels."""
    sealer = await app.keys.sealer(app.app_id)
    lanes = {
        channel: await admin.put_lane(
            pool, sealer, app.app_id, channel.slug, KINDS[channel], channel, b"{}", enabled=True
        )
        for channel in channels
    }
    config = ConfigCache(pool, with_lanes=True)
    await config.refresh()
    return Plant(pool, app, config, lanes)


def literal(
    *channels: Channel, recipients: Sequence[str] = ("ann",), first_only: bool = False, content: ProtoContent = LITERAL
) -> Notification:
    """A notification that brings its content; without channels it goes wherever it may."""
    return Notification(recipient_ids=recipients, content=content, channel_policy=_policy(channels, first_only))


def templated(*channels: Channel, recipients: Sequence[str] = ("ann",)) -> Notification:
    return Notification(
        recipient_ids=recipients,
        template=TemplateRef(name="welcome", version=4),
        channel_policy=_policy(channels, False),
    )


def by_channel(plan: Plan) -> list[PlannedDelivery]:
    return sorted(plan.deliveries, key=lambda delivery: delivery.channel)


def reference(app: App, recipient_id: str) -> UUID:
    return UUID(bytes=recipient_reference(app.app_id, recipient_id))


def _policy(channels: Sequence[Channel], first_only: bool) -> ChannelPolicy:
    mode = ChannelMode.CHANNEL_MODE_FIRST_AVAILABLE if first_only else ChannelMode.CHANNEL_MODE_ALL
    return ChannelPolicy(mode=mode, channels=[int(channel) for channel in channels])  # type: ignore[misc]
