"""A console on facts in memory, and facts worth looking at."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from clarion_kit.vocabulary import (
    Channel,
    DeliveryState,
    EventKind,
    Gate,
    NotificationState,
    Priority,
    Reason,
    Receipt,
    StopReason,
    Verdict,
)
from clarion_tracker.console.door import Console
from clarion_tracker.console.facts import (
    ChannelFunnel,
    DeliveryFacts,
    Event,
    Found,
    GateNote,
    NotificationFacts,
    Overview,
    Provider,
    Queue,
    Span,
    Stop,
)
from clarion_tracker.console.session import Session, Sessions
from clarion_tracker.console.throttle import Throttle
from clarion_tracker.console.views import Views
from clarion_tracker.ports import Reply, Request

from .tracker_calls import Bytes
from .tracker_samples import Away, FixedClock, tracked

KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ACCEPTED = NOW - timedelta(hours=3)
APP_KEY, SECRET, TOKEN = "admin-key", "right", "header.claims.signature"
FORM = "application/x-www-form-urlencoded"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACE_URL = "https://jaeger.example/trace/{trace_id}"
NOTIFICATION = UUID("019cab00-0000-7000-8000-000000000001")
OURS = {"sec-fetch-site": "same-origin"}


def after(seconds: float) -> datetime:
    """A moment after the acceptance."""
    return ACCEPTED + timedelta(seconds=seconds)


def found(notification_id: UUID = NOTIFICATION, app: str = "shop", event_id: str = "order-1001-shipped") -> Found:
    return Found(
        notification_id, app, event_id, "transactional", Priority.NORMAL, NotificationState.DONE, ACCEPTED, recipients=1
    )


def delivery(channel: Channel, state: DeliveryState, *events: Event, **others: object) -> DeliveryFacts:
    ends = [event.at for event in events if event.state is not None and event.state.terminal]
    facts = DeliveryFacts(
        delivery_id=UUID(int=NOTIFICATION.int + channel),
        recipient_ref=UUID(int=7),
        channel=channel,
        state=state,
        reason=None,
        receipt=None,
        account=f"practice-{channel.slug}",
        attempts=1,
        ambiguous=False,
        planned_at=after(0.012),
        terminal_at=ends[0] if ends else None,
        receipt_at=None,
        passed_up_to=Gate.CAPS,
        events=events,
    )
    return replace(facts, **others)  # type: ignore[arg-type]  # names are those of the fields


def ended(seconds: float, state: DeliveryState = DeliveryState.SENT, **others: object) -> Event:
    return replace(Event(after(seconds), EventKind.TERMINAL, state, attempt=1), **others)  # type: ignore[arg-type]


def receipt(seconds: float, receipt: Receipt = Receipt.DELIVERED) -> Event:
    return Event(after(seconds), EventKind.RECEIPT, DeliveryState.SENT, receipt=receipt, attempt=1)


def one_of_each() -> NotificationFacts:
    """Every way that a delivery goes."""
    retried = delivery(
        Channel.ANDROID,
        DeliveryState.SENT,
        Event(
            after(0.14),
            EventKind.RETRY,
            DeliveryState.RETRY_WAIT,
            account="practice-android",
            code="UNAVAILABLE",
            attempt=1,
        ),
        Event(
            after(2.4),
            EventKind.RETRY,
            DeliveryState.RETRY_WAIT,
            account="practice-android",
            code="INTERNAL",
            attempt=2,
        ),
        ended(9.1, attempt=3),
        receipt(9.9),
        attempts=3,
        receipt=Receipt.DELIVERED,
    )
    deliveries = [
        delivery(Channel.IOS, DeliveryState.SENT, ended(0.09), provider_message_id="7C5E-11"),
        retried,
        delivery(
            Channel.WEB,
            DeliveryState.FAILED,
            ended(0.2, DeliveryState.FAILED, reason=Reason.ADDRESS_DEAD, code="410"),
            reason=Reason.ADDRESS_DEAD,
        ),
        delivery(
            Channel.SMS,
            DeliveryState.HELD,
            Event(
                after(0.11), EventKind.HELD, DeliveryState.HELD, account="practice-sms", code="lane stopped: breaker"
            ),
        ),
        delivery(
            Channel.EMAIL,
            DeliveryState.SENT,
            ended(0.31),
            receipt(1.4),
            receipt(480, Receipt.SEEN),
            receipt(7_620, Receipt.CLICKED),
            receipt=Receipt.CLICKED,
        ),
        delivery(
            Channel.EMAIL,
            DeliveryState.SUPPRESSED,
            ended(0.012, DeliveryState.SUPPRESSED, reason=Reason.CAPPED),
            reason=Reason.CAPPED,
            account="",
            attempts=0,
            passed_up_to=Gate.ROUTE,
            gates=[GateNote(Gate.CAPS, Verdict.SUPPRESS, Reason.CAPPED, "category marketing: 10 in 1 day")],
        ),
    ]
    return NotificationFacts(
        found=replace(found(), state=NotificationState.PLANNED, recipients=2),
        expire_at=after(86_400),
        deliver_at=None,
        trace_id=TRACE,
        events=[Event(ACCEPTED, EventKind.ACCEPTED), Event(after(0.012), EventKind.PLANNED)],
        deliveries=deliveries,
        deliveries_in_all=len(deliveries),
    )


def busy() -> Overview:
    """A mesh with something of everything."""
    return Overview(
        at=NOW,
        span=Span.HOUR,
        since=Span.HOUR.begin(NOW),
        funnels=[
            ChannelFunnel(Channel.IOS, 148_211, sent=139_002, suppressed=6_120, cancelled=11, lost=402, seen=0),
            ChannelFunnel(Channel.ANDROID, 181_940, sent=171_377, suppressed=7_001, lost=1_204, delivered=160_112),
            ChannelFunnel(Channel.WEB, 21_004, sent=19_870, suppressed=980, lost=88),
            ChannelFunnel(Channel.SMS, 41_870, sent=30_011, suppressed=1_050, lost=12, delivered=28_404),
            ChannelFunnel(
                Channel.EMAIL,
                208_377,
                sent=201_650,
                suppressed=5_820,
                lost=313,
                delivered=199_004,
                seen=61_204,
                clicked=9_118,
            ),
        ],
        queues=[
            Queue("schedule", "scheduled", 12_904, -1_830.0),
            Queue("plan", "ready", 41, 0.21),
            Queue("dispatch android", "leased", 212, 0.4),
            Queue("dispatch sms", "held", 10_797, 1_284.0),
            Queue("dispatch email", "retry wait", 37, 62.0),
        ],
        providers=[
            Provider(
                "shop",
                "carrier-b",
                "smpp",
                Channel.SMS,
                True,
                Stop(StopReason.BREAKER, NOW - timedelta(minutes=21), NOW + timedelta(seconds=30)),
                held=10_797,
                quality={"BR": 35, "KR": 80},
            ),
            Provider("shop", "apns", "apns", Channel.IOS, True, in_flight=64, taken=2_310, refused=7),
            Provider("shop", "fcm", "fcm", Channel.ANDROID, True, in_flight=212, taken=3_011, refused=41),
            Provider("bank", "relay", "smtp", Channel.EMAIL, True, in_flight=8, taken=611),
            Provider("bank", "relay-old", "smtp", Channel.EMAIL, False),
        ],
    )


class ConsoleWorld:
    """One admin, two notifications; remembers what it was asked."""

    def __init__(self, *, secure: bool = True, facts: NotificationFacts | None = None) -> None:
        counter, self.metrics = tracked()
        self.clock = FixedClock(NOW)
        self.sessions = Sessions(KEY, secure=secure)
        self.facts = facts or one_of_each()
        self.away = False
        self.revoked = False
        self.logins: list[tuple[str, str]] = []
        self.searched: list[tuple[str, str]] = []
        self.finds: list[Found] = []
        self.spans: list[Span] = []
        self.console = Console(self.sessions, self, self, Views(TRACE_URL), Throttle(self.clock), counter, self.clock)

    async def log_in(self, app_key: str, app_secret: str) -> Session | None:
        self._asked()
        self.logins.append((app_key, app_secret))
        return Session(TOKEN, NOW + timedelta(minutes=15)) if (app_key, app_secret) == (APP_KEY, SECRET) else None

    async def vouches(self, session: Session) -> bool:
        self._asked()
        return session.token == TOKEN and not self.revoked

    async def overview(self, span: Span) -> Overview:
        self.spans.append(span)
        return replace(busy(), span=span, since=span.begin(NOW))

    async def search(self, text: str, app: str) -> Sequence[Found]:
        self.searched.append((text, app))
        return self.finds

    async def notification(self, notification_id: UUID) -> NotificationFacts | None:
        return self.facts if notification_id == self.facts.found.notification_id else None

    async def apps(self) -> Sequence[str]:
        return ["bank", "shop"]

    def _asked(self) -> None:
        if self.away:
            raise Away

    @property
    def cookie(self) -> str:
        """As the browser of somebody who is logged in sends it."""
        return self.sessions.cookie(Session(TOKEN, NOW + timedelta(minutes=15)), NOW).partition(";")[0]

    async def get(self, path: str, *, query: str = "", cookie: str | None = None, method: str = "GET") -> Reply:
        headers = {"cookie": self.cookie if cookie is None else cookie}
        return await self.console.answer(Request(method, path, query=query, headers=headers))

    async def post(self, path: str, form: dict[str, str] | None = None, headers: dict[str, str] = OURS) -> Reply:
        body = urlencode(form or {}).encode()
        return await self.console.answer(
            Request("POST", path, headers={"content-type": FORM, **headers}, body=Bytes(body))
        )
