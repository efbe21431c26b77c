"""Planning with fakes of the other daemons: what is asked of whom, and what becomes of it."""

from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from clarion.category.v1.category_service_pb2 import Category
from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.notification.v1 import state_pb2
from clarion.notification.v1.notification_service_pb2 import ChannelMode, EscalateUntil
from clarion.notification.v1.state_pb2 import GateTrail
from clarion.types.v1.content_pb2 import Content as ProtoContent
from clarion.types.v1.content_pb2 import PushContent
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.links import verify_event, verify_open
from clarion_kit.number_hint import NO_COUNTRY, make_hint
from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger import admin, planning
from clarion_ledger.planning import PlannedDelivery
from clarion_ledger.rests import UNTIL_APP_RECEIPT
from clarion_planner.content import Links
from clarion_planner.domain import ChannelFacts, Content, Recipient
from clarion_planner.planning import POISON_TRIES
from clarion_planner.ports import CapAnswer, RenderedTemplate, RenderQuery, ResolveQuery
from clarion_testkit.plugin import App, Database

from .planner_samples import LITERAL, Plant, address, literal, plant, reference, templated

IOS, SMS, MAIL = Channel.IOS, Channel.SMS, Channel.EMAIL


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    return await plant(database.pool, app)


def reasons(deliveries: list[PlannedDelivery]) -> dict[Channel, Reason | None]:
    return {delivery.channel: delivery.reason for delivery in deliveries}


async def put_category(p: Plant, category: Category) -> None:
    p.app.categories[category.name] = await admin.put_category(p.pool, p.app.app_id, category)
    await p.config.refresh()


async def test_literal_content_goes_to_every_channel_it_has_something_for(p: Plant) -> None:
    deliveries = await p.planned(literal())

    assert reasons(deliveries) == dict.fromkeys(Channel)
    contents = {d.channel: Rendered.FromString(await p.opened(d)) for d in deliveries}
    assert {contents[channel].push.title for channel in (IOS, Channel.ANDROID, Channel.WEB)} == {"Order 7"}
    assert contents[SMS].sms == LITERAL.sms
    assert (contents[MAIL].mail.subject, contents[MAIL].mail.literal) == ("Order 7", LITERAL.mail)
    assert {d.lane_id for d in deliveries} == set(p.lanes.values())
    assert {(d.recipient_ref, d.country, d.address) for d in deliveries} == {
        (reference(p.app, "ann"), "KR", b"sealed address")
    }
    assert p.templates.asked == []


async def test_literal_content_without_channels_means_only_what_it_has(p: Plant) -> None:
    only_push = literal(content=ProtoContent(push=PushContent(title="t")))

    assert set(reasons(await p.planned(only_push))) == {IOS, Channel.ANDROID, Channel.WEB}


async def test_channel_asked_for_by_name_without_content_is_answered(p: Plant) -> None:
    only_push = literal(IOS, SMS, content=ProtoContent(push=PushContent(title="t")))

    assert reasons(await p.planned(only_push)) == {IOS: None, SMS: Reason.NO_CONTENT}


async def test_template_is_rendered_once_for_recipients_of_one_locale(p: Plant) -> None:
    notification = templated(IOS, MAIL, recipients=["ann", "bob", "eve"])
    usual = p.preferences.answer

    def eve_reads_french(query: ResolveQuery) -> Recipient:
        p.preferences.locale = "fr" if query.recipient_ref == reference(p.app, "eve").bytes else "ko-KR"
        return usual(query)

    p.preferences.answer = eve_reads_french

    deliveries = await p.planned(notification)

    assert sorted(query.locale for query in p.templates.asked) == ["fr", "ko-KR"]
    assert [query.channels for query in p.templates.asked] == [(IOS, MAIL)] * 2
    assert len(deliveries) == 6
    assert {delivery.template_version for delivery in deliveries} == {4}


async def test_template_is_rendered_only_for_channels_with_an_address(p: Plant) -> None:
    p.preferences.reachable = {SMS}

    await p.planned(templated())

    assert [query.channels for query in p.templates.asked] == [(SMS,)]


async def test_template_that_fails_on_one_channel_is_suppressed_there(p: Plant) -> None:
    def render(query: RenderQuery) -> RenderedTemplate:
        return RenderedTemplate(
            4, {IOS: Content(failure="MISSING_VARIABLE: name"), SMS: Content(b"\x12\x00"), MAIL: None}
        )

    p.templates.answer = render

    deliveries = await p.planned(templated(IOS, SMS, MAIL))

    assert reasons(deliveries) == {IOS: Reason.RENDER_FAILED, SMS: None, MAIL: Reason.NO_CONTENT}
    gates = GateTrail.FromString(deliveries[0].gates)
    assert gates.records[0].rule == "MISSING_VARIABLE: name"


async def test_unknown_recipient_is_suppressed_and_nothing_is_rendered(p: Plant) -> None:
    p.preferences.answer = lambda query: Recipient(query.recipient_ref, found=False)

    deliveries = await p.planned(templated(IOS, SMS))

    assert reasons(deliveries) == {IOS: Reason.RECIPIENT_UNKNOWN, SMS: Reason.RECIPIENT_UNKNOWN}
    assert p.templates.asked == []


async def test_every_address_of_a_channel_gets_a_delivery_of_its_own(p: Plant) -> None:
    def two_phones(query: ResolveQuery) -> Recipient:
        ref = query.recipient_ref
        facts = ChannelFacts(None, (address(ref, IOS, 1), address(ref, IOS, 2)))
        return Recipient(ref, True, channels={IOS: facts})

    p.preferences.answer = two_phones

    deliveries = await p.planned(literal(IOS))

    assert len({delivery.delivery_id for delivery in deliveries}) == 2
    assert len({delivery.address_id for delivery in deliveries}) == 2


async def test_first_available_sends_on_one_channel_and_says_so_of_the_others(p: Plant) -> None:
    p.preferences.reachable = {SMS, MAIL}

    deliveries = await p.planned(literal(IOS, MAIL, SMS, first_only=True))

    assert reasons(deliveries) == {IOS: Reason.NO_ADDRESS, MAIL: None, SMS: Reason.CHANNEL_NOT_CHOSEN}


async def test_first_available_passes_over_a_channel_without_a_route(p: Plant) -> None:
    await p.pool.execute("UPDATE ledger.lane SET enabled = false WHERE lane_id = $1", p.lanes[MAIL])
    await p.config.refresh()
    p.preferences.reachable = {SMS, MAIL}

    deliveries = await p.planned(literal(MAIL, SMS, first_only=True))

    assert reasons(deliveries) == {MAIL: Reason.NO_ROUTE, SMS: None}


@pytest.mark.parametrize(
    ("number", "home", "reason"),
    [
        ("KR", "US", None),
        ("US", "KR", Reason.COUNTRY_NOT_ALLOWED),
        (NO_COUNTRY, "KR", Reason.COUNTRY_NOT_ALLOWED),
        # A number that was registered before hints tells nothing: the recipient's own country decides.
        ("", "KR", None),
        ("", "US", Reason.COUNTRY_NOT_ALLOWED),
        ("", "", Reason.COUNTRY_NOT_ALLOWED),
    ],
)
async def test_sms_goes_to_numbers_of_the_countries_of_its_app(
    p: Plant, number: str, home: str, reason: Reason | None
) -> None:
    name = await p.pool.fetchval("SELECT name FROM ledger.app WHERE app_id = $1", p.app.app_id)
    await admin.update_app(p.pool, name, sms_countries=["KR", "DE"])
    await p.config.refresh()
    sealer = await p.app.keys.sealer(p.app.app_id)
    hint = make_hint(sealer, number, "+821012345678") if number else ""

    def resolve(query: ResolveQuery) -> Recipient:
        ref = query.recipient_ref
        phone, mail = address(ref, SMS, hint=hint), address(ref, MAIL)
        return Recipient(
            ref, True, country=home, channels={SMS: ChannelFacts(None, (phone,)), MAIL: ChannelFacts(None, (mail,))}
        )

    p.preferences.answer = resolve

    deliveries = await p.planned(literal(SMS, MAIL))

    assert reasons(deliveries) == {SMS: reason, MAIL: None}
    if reason is not None:
        [record] = GateTrail.FromString(deliveries[0].gates).records
        assert record.rule == f"SMS to {number or home or 'an unknown country'}"


async def test_planning_again_gives_the_same_delivery_ids(p: Plant) -> None:
    [source] = await p.sources(literal())

    first, second = [await p.rules.plans([source]) for _ in range(2)]

    assert [d.delivery_id for d in first[0].deliveries] == [d.delivery_id for d in second[0].deliveries]


async def test_caps_are_asked_for_candidates_with_a_route_alone(p: Plant) -> None:
    await put_category(p, _capped("offers", Channel.SMS))
    await p.pool.execute("UPDATE ledger.lane SET enabled = false WHERE lane_id = $1", p.lanes[MAIL])
    await p.config.refresh()
    p.preferences.reachable = {SMS, MAIL}

    deliveries = await p.planned(literal(IOS, SMS, MAIL), category="offers")

    assert reasons(deliveries) == {IOS: Reason.NO_ADDRESS, SMS: None, MAIL: Reason.NO_ROUTE}
    [query] = p.caps.asked
    assert (query.channel, query.category, len(query.caps)) == (SMS, "offers", 1)
    assert query.delivery_id in {delivery.delivery_id for delivery in deliveries if delivery.channel is SMS}


async def test_caps_of_other_channels_are_not_asked(p: Plant) -> None:
    await put_category(p, _capped("offers", Channel.SMS))

    await p.planned(literal(IOS), category="offers")

    assert p.caps.asked == []


@pytest.mark.parametrize(
    ("answer", "reason", "verdict"),
    [
        (CapAnswer(False, rule="3 per day"), Reason.CAPPED, state_pb2.VERDICT_SUPPRESS),
        (CapAnswer(True, unchecked=True), None, state_pb2.VERDICT_PASS_UNCHECKED),
    ],
)
async def test_what_the_caps_said_is_in_the_gate_record(
    p: Plant, answer: CapAnswer, reason: Reason | None, verdict: "state_pb2.Verdict.ValueType"
) -> None:
    p.caps.answer = answer

    [delivery] = await p.planned(literal(SMS), category="marketing")

    assert delivery.reason == reason
    gates = GateTrail.FromString(delivery.gates)
    assert (gates.passed_up_to, gates.records[0].gate) == (state_pb2.GATE_ROUTE, state_pb2.GATE_CAPS)
    assert (gates.records[0].verdict, gates.records[0].rule) == (verdict, answer.rule)


async def test_delivery_that_passed_every_gate_keeps_no_record(p: Plant) -> None:
    [delivery] = await p.planned(literal(SMS), category="marketing")

    assert delivery.gates == b""


@pytest.mark.parametrize(("channels", "answered"), [((IOS, SMS), [IOS, SMS]), ((), [IOS])])
async def test_disabled_app_sends_nothing_and_asks_nobody(
    p: Plant, channels: tuple[Channel, ...], answered: list[Channel]
) -> None:
    await p.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", p.app.app_id)
    await p.config.refresh()

    deliveries = await p.planned(literal(*channels))

    assert reasons(deliveries) == dict.fromkeys(answered, Reason.APP_DISABLED)
    assert GateTrail.FromString(deliveries[0].gates).records[0].gate == state_pb2.GATE_APP
    assert (p.preferences.asked, p.templates.asked, p.caps.asked) == ([], [], [])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), {SMS: None}),
        ((IOS, SMS), {IOS: Reason.CATEGORY_DISABLED, SMS: None}),
        ((IOS,), {IOS: Reason.CATEGORY_DISABLED}),
    ],
)
async def test_category_limits_the_channels(
    p: Plant, wanted: tuple[Channel, ...], expected: dict[Channel, Reason | None]
) -> None:
    await put_category(p, Category(name="codes", channels=[int(SMS)]))  # type: ignore[list-item]  # our numbers are the contract's

    deliveries = await p.planned(literal(*wanted), category="codes")

    assert reasons(deliveries) == expected
    assert {channel for query in p.preferences.asked for channel in query.channels} <= {SMS}


async def test_category_that_lets_nothing_through_is_one_answer(p: Plant) -> None:
    await put_category(p, Category(name="codes", channels=[int(SMS)]))  # type: ignore[list-item]  # our numbers are the contract's

    deliveries = await p.planned(literal(content=ProtoContent(push=PushContent(title="t"))), category="codes")

    assert reasons(deliveries) == {IOS: Reason.CATEGORY_DISABLED}


async def test_attempts_and_guarantee_come_from_the_category(p: Plant) -> None:
    [source] = await p.sources(literal(SMS), category="security")

    [plan] = await p.rules.plans([source])

    assert (plan.max_attempts, plan.at_most_once) == (5, True)


async def test_open_pixel_is_in_mails_alone_and_signed_for_its_delivery(p: Plant) -> None:
    p.links = Links("https://t.example.com", b"k" * 32)

    push, mail = await p.planned(literal(IOS, MAIL))

    assert not Rendered.FromString(await p.opened(push)).HasField("mail")
    url = Rendered.FromString(await p.opened(mail)).mail.open_pixel_url
    link = verify_open(b"k" * 32, url.removeprefix("https://t.example.com/o/").removesuffix(".gif"))
    assert link is not None
    assert (link.delivery_id, link.app_id, link.country, link.channel) == (mail.delivery_id, p.app.app_id, "KR", MAIL)


async def test_push_can_tell_its_events_for_its_own_delivery(p: Plant) -> None:
    p.links = Links("https://t.example.com", b"k" * 32)

    [push] = await p.planned(literal(IOS))

    told = verify_event(b"k" * 32, Rendered.FromString(await p.opened(push)).event_token)
    assert told is not None
    assert (told.delivery_id, told.app_id, told.channel) == (push.delivery_id, p.app.app_id, IOS)


@pytest.mark.parametrize("tracked", [True, False])
async def test_template_says_whether_its_links_tell_of_clicks(p: Plant, tracked: bool) -> None:
    p.links = Links("https://t.example.com", b"k" * 32)
    content = Content(Rendered(mail=RenderedMail(subject="s")).SerializeToString())
    p.templates.answer = lambda query: RenderedTemplate(4, dict.fromkeys(query.channels, content), tracked)

    [mail] = await p.planned(templated(MAIL))

    assert Rendered.FromString(await p.opened(mail)).mail.HasField("links") is tracked


@pytest.mark.parametrize(
    ("until", "said_by_app", "stored"),
    [
        (EscalateUntil.ESCALATE_UNTIL_DELIVERED, False, 1),
        (EscalateUntil.ESCALATE_UNTIL_DELIVERED, True, UNTIL_APP_RECEIPT),
        (EscalateUntil.ESCALATE_UNTIL_OPENED, True, 2),
    ],
)
async def test_escalation_waits_for_what_the_app_says_where_it_does(
    p: Plant, until: EscalateUntil.ValueType, said_by_app: bool, stored: int
) -> None:
    await put_category(p, Category(name="alarms", app_receipts=said_by_app))
    notification = literal(IOS, SMS)
    notification.channel_policy.mode = ChannelMode.CHANNEL_MODE_ESCALATE
    notification.channel_policy.until = until

    deliveries = await p.planned(notification, category="alarms")

    assert [delivery.escalation.until for delivery in deliveries if delivery.escalation is not None] == [stored] * 2


async def test_account_put_a_moment_ago_serves(p: Plant) -> None:
    before = p.config.snapshot
    await p.pool.execute("UPDATE ledger.lane SET enabled = false WHERE lane_id = $1", p.lanes[SMS])
    await p.config.refresh()
    without = p.config.snapshot
    await p.pool.execute("UPDATE ledger.lane SET enabled = true WHERE lane_id = $1", p.lanes[SMS])
    p.config.snapshot = without

    [delivery] = await p.planned(literal(SMS))

    assert before.lanes != without.lanes
    assert (delivery.reason, delivery.lane_id) == (None, p.lanes[SMS])


async def test_payload_that_cannot_be_read_ends_suppressed_and_the_others_are_planned(p: Plant) -> None:
    ids = await p.accept(literal(IOS)) + await p.accept(literal(IOS), payload=b"rubbish")

    plans = {plan.source.notification_id: plan for plan in await p.rules.plans(await planning.load(p.pool, ids))}

    assert [delivery.reason for delivery in plans[ids[0]].deliveries] == [None]
    [unread] = plans[ids[1]].deliveries
    assert (unread.reason, unread.recipient_ref) == (Reason.RENDER_FAILED, UUID(int=0))
    assert GateTrail.FromString(unread.gates).records[0].rule == "unreadable: Unsealable"


async def test_one_poisonous_notification_of_twenty_is_found_and_counted(p: Plant) -> None:
    usual = p.preferences.answer
    bad = reference(p.app, "bad").bytes

    def answer(query: ResolveQuery) -> Recipient:
        if query.recipient_ref == bad:
            raise ValueError("a defect")
        return usual(query)

    p.preferences.answer = answer
    sources = await p.sources(*(literal(IOS, recipients=["bad" if n == 13 else f"r{n}"]) for n in range(20)))

    plans = await p.rules.plans(sources)

    assert len(plans) == 19
    [poison] = {source.notification_id for source in sources} - {plan.source.notification_id for plan in plans}
    for tries in range(2, POISON_TRIES):
        [source] = await planning.load(p.pool, [poison])
        assert source.tries == tries - 1
        assert await p.rules.plans([source]) == []
    [source] = await planning.load(p.pool, [poison])
    [plan] = await p.rules.plans([source])
    assert [delivery.reason for delivery in plan.deliveries] == [Reason.RENDER_FAILED]
    assert GateTrail.FromString(plan.deliveries[0].gates).records[0].rule == "planning failed: ValueError"


@pytest.mark.parametrize("away", ["preferences", "templates"])
async def test_dependency_that_is_away_is_no_poison(p: Plant, away: str) -> None:
    getattr(p, away).away = True
    sources = await p.sources(templated(IOS), templated(IOS))

    with pytest.raises(DomainError) as raised:
        await p.rules.plans(sources)

    assert raised.value.reason is ErrorReason.DEPENDENCY_UNAVAILABLE
    assert [source.tries for source in await planning.load(p.pool, [s.notification_id for s in sources])] == [0, 0]


def _capped(name: str, channel: Channel) -> Category:
    category = Category(name=name)
    cap = category.caps.add(limit=3, channel=int(channel))
    cap.window.FromTimedelta(timedelta(days=1))
    return category
