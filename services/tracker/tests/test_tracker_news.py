"""What providers report, from the call as they sign it to the delivery and its address, over fakes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.errortable import load
from clarion_channels.providers.huawei.answer import message_id
from clarion_channels.receipt import News, ProviderReceipt, Source
from clarion_kit.vocabulary import Receipt
from clarion_tracker.adapters import bounce_mail, huawei, sendgrid, ses, twilio
from clarion_tracker.bounces import STORED_AS
from clarion_tracker.inbound import (
    LEAST_TRIES,
    InboundRow,
    Reading,
    Result,
    keys,
)
from clarion_tracker.ports import Read, Request
from clarion_tracker.receipts import ReceiptJob

from .tracker_calls import Bytes, Sns, huawei_call, sendgrid_call, ses_event, twilio_call
from .tracker_samples import (
    APP,
    WORDS,
    FakeAddresses,
    FakeDeliveries,
    FakeInbound,
    FakeSegments,
    address_of,
    tracked,
)

LANE = 7
DELIVERY = UUID(int=1)
OTHER = UUID(int=2)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
READERS: Mapping[str, Read] = {
    "twilio.callback": twilio.Reader(WORDS, load("twilio")),
    "huawei.receipts": huawei.read,
    "sendgrid.events": sendgrid.read,
    "ses.sns": ses.read,
    STORED_AS: bounce_mail.read,
}


class World:
    """The job over fakes, with two deliveries of the app."""

    def __init__(self, app_id: int = APP) -> None:
        self.deliveries = FakeDeliveries(app_id)
        self.deliveries.add(DELIVERY, f"{LANE}:sm1")
        self.deliveries.add(OTHER)
        self.addresses = FakeAddresses()

    async def arrive(self, kind: str, body: bytes | Request, *, age: timedelta = timedelta(0)) -> Result | None:
        if isinstance(body, Request):
            assert isinstance(body.body, Bytes)
            body = body.body.content
        inbound = FakeInbound(InboundRow(1, APP, LANE, kind, body, NOW, 9, age))
        counter, _ = tracked()
        job = ReceiptJob(inbound, self.deliveries, FakeSegments(), self.addresses, READERS, counter)
        await job.apply_batch()
        [settled] = inbound.settled
        return settled.result

    @property
    def told(self) -> list[tuple[UUID | str, News]]:
        return [(one.address, one.news) for one in self.addresses.told]


def event(kind: str, delivery_id: UUID = DELIVERY, **fields: object) -> dict[str, object]:
    return {"event": kind, "sg_event_id": f"{kind} 1", "clarion_delivery_id": str(delivery_id), **fields}


@pytest.mark.parametrize(
    ("given_event", "receipt", "news"),
    [
        (event("delivered"), Receipt.DELIVERED, News.ARRIVED),
        (event("bounce", type="bounce"), Receipt.UNDELIVERED, News.HARD_BOUNCE),
        (event("bounce", type="blocked"), Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        (event("dropped", reason="Bounced Address"), Receipt.UNDELIVERED, News.HARD_BOUNCE),
        (event("dropped", reason="Spam Reporting Address"), Receipt.UNDELIVERED, News.COMPLAINT),
        (event("spamreport"), Receipt.DELIVERED, News.COMPLAINT),
        (event("group_unsubscribe"), Receipt.DELIVERED, News.UNSUBSCRIBED),
        (event("open"), Receipt.SEEN, None),
        (event("click"), Receipt.CLICKED, None),
        (event("open", sg_machine_open=True), None, None),
        (event("processed"), None, None),
        (event("deferred"), None, None),
    ],
)
async def test_event_of_sendgrid_reaches_delivery_and_address(
    given_event: dict[str, object], receipt: Receipt | None, news: News | None
) -> None:
    world = World()

    result = await world.arrive("sendgrid.events", sendgrid_call([given_event]))

    assert world.deliveries.receipt.get(DELIVERY) == receipt
    assert world.told == ([] if news is None else [(address_of(DELIVERY), news)])
    assert result is (Result.INTERMEDIATE if receipt is None else Result.APPLIED)


async def test_events_of_a_batch_stand_each_for_itself() -> None:
    world = World()
    events: list[Mapping[str, object]] = [
        event("delivered"),
        {"event": "bounce"},
        event("bounce", OTHER, type="bounce"),
        {"x": 1},
    ]

    assert await world.arrive("sendgrid.events", sendgrid_call(events)) is Result.APPLIED
    assert world.deliveries.receipt == {DELIVERY: Receipt.DELIVERED, OTHER: Receipt.UNDELIVERED}


async def test_batch_waits_for_the_delivery_it_does_not_know_yet_and_applies_the_rest() -> None:
    world = World()
    late = UUID(int=3)
    call = sendgrid_call([event("delivered"), event("delivered", late)])

    assert await world.arrive("sendgrid.events", call) is None
    world.deliveries.add(late)

    assert await world.arrive("sendgrid.events", call) is Result.APPLIED
    assert world.deliveries.receipt == {DELIVERY: Receipt.DELIVERED, late: Receipt.DELIVERED}


async def test_nobody_reports_on_the_deliveries_of_another_app() -> None:
    """An app's own account may name any delivery id, and its events are genuine."""
    world = World(app_id=APP + 1)

    result = await world.arrive("sendgrid.events", sendgrid_call([event("spamreport")]), age=timedelta(hours=1))

    assert (result, world.deliveries.receipt, world.told) == (Result.UNKNOWN, {}, [])


@pytest.mark.parametrize(
    ("message", "receipt", "news"),
    [
        (ses_event("Delivery", DELIVERY, recipients=["anna@example.com"]), Receipt.DELIVERED, News.ARRIVED),
        (ses_event("Bounce", DELIVERY, bounceType="Permanent"), Receipt.UNDELIVERED, News.HARD_BOUNCE),
        (ses_event("Bounce", DELIVERY, bounceType="Transient"), Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        (ses_event("Bounce", DELIVERY, bounceType="Undetermined"), Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        (ses_event("Complaint", DELIVERY, complaintFeedbackType="abuse"), Receipt.DELIVERED, News.COMPLAINT),
        (ses_event("Complaint", DELIVERY, complaintFeedbackType="not-spam"), None, None),
        (ses_event("Send", DELIVERY), None, None),
    ],
)
async def test_event_of_ses_reaches_delivery_and_address(
    message: dict[str, object], receipt: Receipt | None, news: News | None
) -> None:
    world = World()

    await world.arrive("ses.sns", Sns().call(message))

    assert world.deliveries.receipt.get(DELIVERY) == receipt
    assert world.told == ([] if news is None else [(address_of(DELIVERY), news)])


@pytest.mark.parametrize(
    ("status", "code", "receipt", "news"),
    [
        ("delivered", "", Receipt.DELIVERED, News.ARRIVED),
        ("read", "", Receipt.SEEN, News.ARRIVED),
        ("undelivered", "30005", Receipt.UNDELIVERED, News.DEAD),
        ("failed", "21610", Receipt.UNDELIVERED, News.STOPPED),
        ("undelivered", "30003", Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        ("undelivered", "30008", Receipt.UNDELIVERED, None),
        ("sent", "", None, None),
        ("queued", "", None, None),
    ],
)
async def test_status_of_twilio_reaches_delivery_and_address(
    status: str, code: str, receipt: Receipt | None, news: News | None
) -> None:
    world = World()
    fields = {"MessageSid": "SM1", "MessageStatus": status, "To": "+821012345678"}

    await world.arrive("twilio.callback", twilio_call(fields | ({"ErrorCode": code} if code else {})))

    assert world.deliveries.receipt.get(DELIVERY) == receipt
    assert world.told == ([] if news is None else [(address_of(DELIVERY), news)])


@pytest.mark.parametrize(
    ("fields", "result", "news"),
    [
        ({"Body": "Stop"}, Result.STOPPED, News.STOPPED),
        ({"Body": "arrêt"}, Result.STOPPED, News.STOPPED),
        ({"Body": "our own word", "OptOutType": "STOP"}, Result.STOPPED, News.STOPPED),
        ({"Body": "UNSTOP"}, Result.STARTED, News.STARTED),
        ({"Body": "help", "OptOutType": "HELP"}, Result.HELP, None),
        ({"Body": "When do you open?"}, Result.MESSAGE, None),
    ],
)
async def test_what_people_write_to_twilio_is_read(fields: dict[str, str], result: Result, news: News | None) -> None:
    world = World()
    inbound = {"MessageSid": "SM9", "SmsStatus": "received", "From": "+821012345678", "To": "+15005550006"}

    assert await world.arrive("twilio.callback", twilio_call(inbound | fields)) is result
    assert world.told == ([] if news is None else [("+821012345678", news)])


@pytest.mark.parametrize(
    ("status", "receipt", "news"),
    [
        (0, Receipt.DELIVERED, None),
        (2, Receipt.UNDELIVERED, News.DEAD),
        (5, Receipt.UNDELIVERED, News.DEAD),
        (6, Receipt.UNDELIVERED, None),
    ],
)
async def test_receipt_of_huawei_reaches_delivery_and_address(status: int, receipt: Receipt, news: News | None) -> None:
    world = World()
    world.deliveries.add(OTHER, f"{LANE}:{message_id('r1', 'token')}")
    entry = {"token": "token", "requestId": "r1", "status": status, "timestamp": 1_772_366_400_000}

    assert await world.arrive("huawei.receipts", huawei_call([entry])) is Result.APPLIED
    assert world.deliveries.receipt == {OTHER: receipt}
    assert world.told == ([] if news is None else [(address_of(OTHER), news)])


def bounce(action: str = "failed", status: str = "5.1.1", about: UUID = OTHER) -> bytes:
    report = EmailMessage()
    report["From"], report["To"], report["Subject"] = "mailer-daemon@mx.example", "b@r.example", "Undelivered"
    report.set_content("Sorry.")
    report.make_mixed()
    text = report.as_string().replace("multipart/mixed;", "multipart/report; report-type=delivery-status;")
    boundary = text.split('boundary="')[1].split('"')[0]
    status_part = (
        f"--{boundary}\nContent-Type: message/delivery-status\n\n"
        f"Original-Envelope-Id: {about}\nReporting-MTA: dns; mx.example\n\n"
        f"Final-Recipient: rfc822; anna@example.com\nAction: {action}\nStatus: {status}\n\n--{boundary}--"
    )
    return text.replace(f"--{boundary}--", status_part).encode()


@pytest.mark.parametrize(
    ("action", "status", "receipt", "news"),
    [
        ("failed", "5.1.1", Receipt.UNDELIVERED, News.HARD_BOUNCE),
        ("failed", "5.2.2", Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        ("failed", "5.7.26", Receipt.UNDELIVERED, None),
        ("delivered", "2.0.0", Receipt.DELIVERED, News.ARRIVED),
        ("delayed", "4.4.1", None, None),
    ],
)
async def test_bounce_mail_is_about_the_delivery_of_its_return_path(
    action: str, status: str, receipt: Receipt | None, news: News | None
) -> None:
    world = World()

    await world.arrive(STORED_AS, DELIVERY.bytes + bounce(action, status))

    assert world.deliveries.receipt.get(DELIVERY) == receipt
    assert world.told == ([] if news is None else [(address_of(DELIVERY), news)])
    assert all(one.source is Source.BOUNCE_MAIL for one in world.addresses.told)


@pytest.mark.parametrize("mail", [b"", b"Subject: I am away\r\n\r\nBack on Monday.", b"\xff" * 1000])
async def test_mail_that_is_no_notification_ends(mail: bytes) -> None:
    assert await World().arrive(STORED_AS, DELIVERY.bytes + mail) is Result.MESSAGE


@pytest.mark.parametrize("kind", list(READERS))
@given(body=st.binary(max_size=64) | st.sampled_from([b"{}", b"[]", b"[[]]", b'{"statuses":[{}]}', b"[" * 5000]))
async def test_no_reader_raises_for_what_it_reads(kind: str, body: bytes) -> None:
    assert await World().arrive(kind, body) in {Result.MALFORMED, Result.MESSAGE, Result.INTERMEDIATE}


RANKED = [
    ("processed", 0),
    ("deferred", 0),
    ("bounce", 1),
    ("delivered", 2),
    ("open", 3),
    ("click", 4),
    ("spamreport", 2),
]


@given(st.lists(st.sampled_from(RANKED), max_size=8))
async def test_highest_event_stays_whatever_the_order_and_however_often(events: list[tuple[str, int]]) -> None:
    world = World()

    for kind, _ in events:
        await world.arrive("sendgrid.events", sendgrid_call([event(kind)]))

    assert world.deliveries.receipt.get(DELIVERY, 0) == max((rank for _, rank in events), default=0)


async def test_news_never_happened_after_they_came_in() -> None:
    world = World()
    future = int((NOW + timedelta(days=400)).timestamp())
    past = int((NOW - timedelta(hours=2)).timestamp())

    for moment in (future, past):
        await world.arrive("sendgrid.events", sendgrid_call([event("bounce", timestamp=moment)]))

    assert [one.at for one in world.addresses.told] == [NOW, NOW - timedelta(hours=2)]


async def test_report_waits_while_its_address_cannot_be_told() -> None:
    world = World()
    world.addresses.away = True
    call = sendgrid_call([event("spamreport")])
    assert await world.arrive("sendgrid.events", call, age=timedelta(days=1)) is None

    world.addresses.away = False

    assert await world.arrive("sendgrid.events", call, age=timedelta(days=1)) is Result.UNCHANGED
    assert world.told == [(address_of(DELIVERY), News.COMPLAINT)]


@pytest.mark.parametrize("id_", ["a\0b", "\ud800", "a\nb"])
def test_id_that_the_database_cannot_store_is_not_looked_for(id_: str) -> None:
    assert keys(LANE, ProviderReceipt((id_, "a1"))) == [f"{LANE}:a1"]


@pytest.mark.parametrize(("tries", "result"), [(1, None), (LEAST_TRIES, Result.MALFORMED)])
async def test_defect_of_a_reader_holds_up_no_other_row(tries: int, result: Result | None) -> None:
    def broken(body: bytes) -> Reading:
        raise RuntimeError("defect")

    rows = [
        InboundRow(1, APP, LANE, "broken", b"", NOW, tries, timedelta(0)),
        InboundRow(2, APP, LANE, STORED_AS, DELIVERY.bytes, NOW, 1, timedelta(0)),
    ]
    inbound, readers = FakeInbound(*rows), {"broken": broken, STORED_AS: bounce_mail.read}
    counter, _ = tracked()

    await ReceiptJob(inbound, FakeDeliveries(), FakeSegments(), FakeAddresses(), readers, counter).apply_batch()

    assert [one.result for one in inbound.settled] == [result, Result.MESSAGE]
