"""What a delivery holds beside what was asked for: files and links of mails; and what no provider would take."""

from uuid import UUID

import pytest
import pytest_asyncio

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.notification.v1.state_pb2 import GateTrail
from clarion.types.v1.content_pb2 import Content, IosOptions, MailAttachment, MailContent, PushContent, SmsContent
from clarion_kit.links import (
    ClickLink,
    UnsubscribeLink,
    sign_click,
    verify_click,
    verify_event,
    verify_open,
    verify_unsubscribe,
)
from clarion_kit.vocabulary import Channel, Gate, Reason
from clarion_ledger.config import CategoryRule
from clarion_ledger.planning import PlannedDelivery
from clarion_planner.content import Links, Own, excess, finished_mail, finished_push
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, literal, plant

KEY = bytes(range(32))
LINKS = Links("https://t.example.com", KEY)
DELIVERY, RECIPIENT = UUID(int=5), UUID(int=9)
NEWS = CategoryRule(category_id=3, app_id=7, name="news")
MAIL = Rendered(mail=RenderedMail(subject="s", literal=MailContent(text="t"))).SerializeToString()
BILL = MailAttachment(filename="bill.pdf", content_type="application/pdf", content=b"%PDF")


def own(channel: Channel = Channel.EMAIL, category: CategoryRule = NEWS, *, track_links: bool = False) -> Own:
    return Own(category, DELIVERY, channel, 4, "KR", track_links)


def finished(
    links: Links | None = LINKS, category: CategoryRule = NEWS, attachments: tuple[MailAttachment, ...] = ()
) -> RenderedMail:
    content = finished_mail(MAIL, attachments, links, own(category=category), RECIPIENT)
    return Rendered.FromString(content).mail


def test_mail_names_its_own_pixel_and_its_own_way_out() -> None:
    mail = finished()

    opened = verify_open(KEY, mail.open_pixel_url.removeprefix("https://t.example.com/o/").removesuffix(".gif"))
    assert opened is not None
    assert (opened.delivery_id, opened.template_version, opened.country) == (DELIVERY, 4, "KR")
    unwanted = verify_unsubscribe(KEY, mail.unsubscribe_url.removeprefix("https://t.example.com/u/"))
    assert unwanted == UnsubscribeLink(7, RECIPIENT, 3, Channel.EMAIL)


def test_nobody_unsubscribes_from_what_is_critical() -> None:
    mail = finished(category=CategoryRule(category_id=3, app_id=7, name="codes", critical=True))
    assert mail.open_pixel_url
    assert not mail.unsubscribe_url


def test_files_go_along_with_and_without_links() -> None:
    for links in (LINKS, None):
        assert list(finished(links, attachments=(BILL,)).attachments) == [BILL]


def test_mail_that_gets_nothing_is_what_it_was() -> None:
    assert finished_mail(MAIL, (), None, own(), RECIPIENT) is MAIL


def test_mail_of_a_template_that_tracks_links_can_sign_its_own_and_no_others() -> None:
    assert not finished().HasField("links")

    mail = Rendered.FromString(finished_mail(MAIL, (), LINKS, own(track_links=True), RECIPIENT)).mail

    token = sign_click(mail.links.key, mail.links.delivery, 2, "https://a.example/")
    assert verify_click(KEY, token) == ClickLink(own().link, 2, "https://a.example/")
    assert KEY not in mail.SerializeToString()


def test_every_push_gets_the_token_of_its_events() -> None:
    push = Rendered(push=PushContent(title="t", data={"k": "v"}))

    content = Rendered.FromString(finished_push(push.SerializeToString(), "fcm", LINKS, own(Channel.ANDROID)))

    assert content.push == push.push
    assert verify_event(KEY, content.event_token) == own(Channel.ANDROID).link
    assert not content.HasField("links")


@pytest.mark.parametrize(("channel", "signed"), [(Channel.WEB, True), (Channel.IOS, False), (Channel.ANDROID, False)])
def test_links_of_web_pushes_alone_tell_of_clicks(channel: Channel, signed: bool) -> None:
    push = Rendered(push=PushContent(title="t", link="https://a.example/")).SerializeToString()

    content = Rendered.FromString(finished_push(push, "webpush", LINKS, own(channel, track_links=True)))

    assert content.HasField("links") is signed
    assert content.push.link == "https://a.example/"


@pytest.mark.parametrize(
    ("kind", "channel"), [("apns", Channel.IOS), ("fcm", Channel.ANDROID), ("webpush", Channel.WEB)]
)
def test_push_without_room_goes_without_what_is_ours(kind: str, channel: Channel) -> None:
    room = next(
        n
        for n in range(4_096, 0, -1)
        if not excess(kind, channel, Rendered(push=PushContent(body="x" * n)).SerializeToString(), DELIVERY)
    )
    full = Rendered(push=PushContent(body="x" * room)).SerializeToString()
    roomy = Rendered(push=PushContent(body="x" * (room - 100))).SerializeToString()

    assert finished_push(full, kind, LINKS, own(channel)) == full
    assert Rendered.FromString(finished_push(roomy, kind, LINKS, own(channel))).event_token


def test_push_without_links_is_what_it_was() -> None:
    push = Rendered(push=PushContent(title="t")).SerializeToString()
    assert finished_push(push, "apns", None, own(Channel.IOS)) is push


@pytest.mark.parametrize(
    ("kind", "channel", "content", "too_much"),
    [
        ("apns", Channel.IOS, Rendered(push=PushContent(body="x" * 4_100)), "bytes, apns takes 4096"),
        ("apns", Channel.IOS, Rendered(push=PushContent(body="x" * 3_000)), ""),
        (
            "apns",
            Channel.IOS,
            Rendered(push=PushContent(body="x" * 4_100, ios=IosOptions(push_type="voip"))),
            "",
        ),
        ("fcm", Channel.ANDROID, Rendered(push=PushContent(body="x" * 4_100)), "bytes, fcm takes 4096"),
        ("huawei", Channel.ANDROID, Rendered(push=PushContent(body="x" * 4_100)), "bytes, huawei takes 4096"),
        ("webpush", Channel.WEB, Rendered(push=PushContent(body="x" * 4_000)), "bytes, webpush takes 3993"),
        ("somebodys", Channel.IOS, Rendered(push=PushContent(body="x" * 9_000)), ""),
        ("apns", Channel.IOS, Rendered(push=PushContent(body="x" * 600, data={"aps": "1"})), ""),
        ("smpp", Channel.SMS, Rendered(sms=SmsContent(text="x" * 1_600)), ""),
        ("smpp", Channel.SMS, Rendered(sms=SmsContent(text="한" * 18_000)), "more than 255 segments"),
    ],
)
def test_excess_is_told_where_it_is_certain(kind: str, channel: Channel, content: Rendered, too_much: str) -> None:
    found = excess(kind, channel, content.SerializeToString(), DELIVERY)
    assert found.endswith(too_much) if too_much else not found


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    return await plant(database.pool, app)


def gate_of(delivery: PlannedDelivery) -> tuple[int, str]:
    [record] = GateTrail.FromString(delivery.gates).records
    return record.gate, record.rule


async def test_push_that_no_provider_takes_ends_before_it_is_handed_over(p: Plant) -> None:
    content = Content(push=PushContent(title="t", data={f"k{n}": "x" * 1_400 for n in range(3)}))

    deliveries = await p.planned(literal(Channel.IOS, Channel.WEB, content=content))

    assert [delivery.reason for delivery in deliveries] == [Reason.TOO_LARGE] * 2
    gate, rule = gate_of(deliveries[0])
    assert (gate, rule.endswith("bytes, apns takes 4096")) == (Gate.RENDER, True)
    assert p.caps.asked == []


async def test_next_channel_serves_where_the_first_cannot_hold_the_content(p: Plant) -> None:
    content = Content(push=PushContent(title="t", data={"k": "x" * 3_072, "l": "x" * 3_072}), sms=SmsContent(text="t"))

    deliveries = await p.planned(literal(Channel.IOS, Channel.SMS, first_only=True, content=content))

    assert [(delivery.channel, delivery.reason) for delivery in deliveries] == [
        (Channel.IOS, Reason.TOO_LARGE),
        (Channel.SMS, None),
    ]


async def test_files_rest_with_mails_alone(p: Plant) -> None:
    notification = Notification()
    notification.CopyFrom(literal(Channel.IOS, Channel.EMAIL))
    notification.attachments.append(BILL)

    push, mail = [Rendered.FromString(await p.opened(each)) for each in await p.planned(notification)]

    assert list(mail.mail.attachments) == [BILL]
    assert b"%PDF" not in push.SerializeToString()
