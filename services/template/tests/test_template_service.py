import asyncio
import quopri
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.errors.v1.error_reason_pb2 import ErrorReason as Reason
from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered, RenderedMail
from clarion.internal.template.v1 import template_service_pb2 as internal
from clarion.template.v1 import template_service_pb2 as pb
from clarion.types.v1.channel_pb2 import Channel
from clarion.types.v1.content_pb2 import Content, MailContent, PushContent
from clarion_channels.mail.quoted_printable import encode
from clarion_kit.errors import DomainError, ErrorReason, Unavailable
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_kit.telemetry.metrics import Metrics
from clarion_ledger import audit_log, db, durable
from clarion_template.adapters.guard import GuardedChild
from clarion_template.adapters.postgres import PostgresStore
from clarion_template.catalog import Catalog
from clarion_template.compiled import CompiledVersion, Kind, MailBody, one_line
from clarion_template.domain import Current, NewVersion, Summary, Use, VersionKey, pick_locale
from clarion_template.render_rpc import RenderRpc
from clarion_testkit.plugin import Database

from .template_samples import ANDROID, CONTEXT, EMAIL, IOS, SMS, Memory, Service, item, template


def body_of(frame: MailFrame, mail: RenderedMail) -> bytes:
    return b"".join(
        encode(mail.slots[part.slot]) if part.WhichOneof("part") == "slot" else part.literal for part in frame.segments
    )


async def test_an_item_is_rendered_for_each_channel(service: Service) -> None:
    await service.put(template())

    (rendered,) = await service.render(item(channels=(IOS, ANDROID, SMS)))

    push, android, sms = rendered.channels
    assert (rendered.version, rendered.locale) == (1, "en")
    assert push.content.push == PushContent(title="Hi Bob", body="3 new", data={"order": "3", "k": "v"})
    assert android.content.push == push.content.push
    assert sms.content.sms.text == "Hi Bob, 3"


async def test_a_mail_is_its_slots_and_a_stored_frame(service: Service, memory: Memory) -> None:
    await service.put(template())

    (rendered,) = await service.render(item(channels=(EMAIL,)))

    mail = rendered.channels[0].content.mail
    frame = MailFrame.FromString(memory.stored[VersionKey(7, "welcome", 1)].frames[mail.frame_sha256])
    assert mail.subject == "Hello Bob"
    assert b"<h1>Hi Bob</h1><p>&lt;x&gt;</p><p>y</p></body></html>" in quopri.decodestring(body_of(frame, mail))
    pixel = [part.WhichOneof("part") for part in frame.segments].index("open_pixel")
    assert frame.segments[pixel + 1].literal.lstrip(b"=\r\n").startswith(b"</body>")


LINKED = (
    '<a href="https://shop.example/o/{{ n }}">order</a>{% for i in items %}<a href="https://shop.example/{{ i }}">x</a>{% endfor %}'
    '<a {% if n %}title="n"{% endif %} data-clarion-notrack href="https://shop.example/terms">terms</a></body>'
)


def linked(*, track_links: bool = False, track_opens: bool | None = None) -> pb.Template:
    content = Content(mail=MailContent(subject="s", text="t", html=LINKED))
    made = pb.Template(name="linked", bodies=[pb.LocalizedBody(locale="en", content=content)])
    made.track_links = track_links
    if track_opens is not None:
        made.track_opens = track_opens
    made.sample_data.update({"n": 3, "items": ["a"]})
    return made


async def test_template_that_tracks_links_sets_them_apart_in_its_frame(service: Service, memory: Memory) -> None:
    await service.put(linked(track_links=True))

    (rendered,) = await service.render(item("linked", channels=(EMAIL,)))

    mail = rendered.channels[0].content.mail
    frame = MailFrame.FromString(memory.stored[VersionKey(7, "linked", 1)].frames[mail.frame_sha256])
    kinds = [part.WhichOneof("part") for part in frame.segments]
    assert [kind for kind in kinds if kind != "literal"] == ["link", "linked_slot", "slot", "open_pixel"]
    link = next(part.link for part in frame.segments if part.WhichOneof("part") == "link")
    assert [(piece.literal, piece.slot) for piece in link.pieces] == [("https://shop.example/o/", 0), ("", 0)]
    assert mail.slots[0] == "3"
    assert rendered.track_links


@pytest.mark.parametrize(
    ("flags", "marks"),
    [
        ({}, ["slot", "slot", "slot", "open_pixel"]),
        ({"track_links": False, "track_opens": True}, ["slot", "slot", "slot", "open_pixel"]),
        ({"track_opens": False}, ["slot", "slot", "slot"]),
        ({"track_links": True, "track_opens": False}, ["link", "linked_slot", "slot"]),
    ],
)
async def test_nothing_is_tracked_that_the_template_does_not_want(
    service: Service, memory: Memory, flags: dict[str, bool], marks: list[str]
) -> None:
    await service.put(linked(**flags))

    (rendered,) = await service.render(item("linked", channels=(EMAIL,)))

    frames = memory.stored[VersionKey(7, "linked", 1)].frames
    frame = MailFrame.FromString(frames[rendered.channels[0].content.mail.frame_sha256])
    kinds = [part.WhichOneof("part") for part in frame.segments]
    assert [kind for kind in kinds if kind != "literal"] == marks
    assert rendered.track_links is flags.get("track_links", False)


async def test_what_is_tracked_makes_a_version_of_its_own(service: Service) -> None:
    versions = [(await service.put(made)).version for made in (linked(), linked(track_links=True), linked())]

    assert versions == [1, 2, 1]


@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        ("de-CH", "de-CH"),
        ("de_ch", "de-CH"),
        ("de-CH-x-y", "de-CH"),
        ("de", "en"),
        ("en-GB", "en"),
        ("", "en"),
        ("fr", "en"),
    ],
)
async def test_a_locale_falls_back_to_its_parents_then_the_default(service: Service, wanted: str, used: str) -> None:
    await service.put(template())

    (rendered,) = await service.render(item(locale=wanted))

    assert rendered.locale == used


def test_without_a_default_body_there_is_no_locale() -> None:
    assert pick_locale("fr", "en", {"de"}) is None


async def test_one_bad_item_fails_alone(service: Service) -> None:
    await service.put(template())
    missing = item()
    del missing.data.fields["n"]

    answers = await service.render(item(), missing, item("nothing"), large_value(), large_data())

    assert [(answer.channels[0].error, answer.channels[0].detail) for answer in answers] == [
        (Reason.ERROR_REASON_UNSPECIFIED, ""),
        (Reason.ERROR_REASON_MISSING_VARIABLE, "n"),
        (Reason.ERROR_REASON_TEMPLATE_NOT_FOUND, "no such template"),
        (Reason.ERROR_REASON_TOO_LARGE, "a value is larger than 16384 bytes"),
        (Reason.ERROR_REASON_TOO_LARGE, "the data is larger than 65536 bytes"),
    ]


def large_value() -> internal.RenderRequest.Item:
    made = item()
    made.data.update({"extra": "x" * 16_385})
    return made


def large_data() -> internal.RenderRequest.Item:
    made = item()
    made.data.update({f"extra{number}": "x" * 16_000 for number in range(5)})
    return made


async def test_null_counts_as_not_given(service: Service) -> None:
    await service.put(template())

    (rendered,) = await service.render(item(n=None))

    assert rendered.channels[0].error == Reason.ERROR_REASON_MISSING_VARIABLE


async def test_a_channel_without_content_has_no_error(service: Service) -> None:
    await service.put(template())

    (rendered,) = await service.render(item(locale="de-CH", channels=(SMS,)))

    assert not rendered.channels[0].HasField("content")
    assert rendered.channels[0].error == Reason.ERROR_REASON_UNSPECIFIED


async def test_a_subject_never_breaks_its_line(service: Service) -> None:
    await service.put(template())
    wanted = item(channels=(EMAIL,))
    wanted.data.update({"name": "Bob\r\nBcc: eve@example.com"})

    (rendered,) = await service.render(wanted)

    assert rendered.channels[0].content.mail.subject == "Hello Bob Bcc: eve@example.com"


async def test_the_same_content_keeps_its_version(service: Service) -> None:
    first = await service.put(template())
    second = await service.put(template(name="Eve"))
    again = await service.put(template())

    assert (first.version, second.version, again.version) == (1, 2, 1)
    assert list(first.variables) == ["items", "n", "name"]


async def test_a_publication_here_shows_at_once_and_elsewhere_within_a_second(
    service: Service, memory: Memory, guard: GuardedChild
) -> None:
    other = Service(memory, guard)
    await service.put(template())
    await other.render(item())
    await service.put(template(name="Eve"))

    assert [(await replica.render(item()))[0].version for replica in (service, other)] == [2, 1]
    other.clock.seconds += 1.1
    assert (await other.render(item()))[0].version == 2


async def test_known_templates_render_while_the_store_is_away(service: Service, memory: Memory) -> None:
    await service.put(template())
    await service.render(item())
    memory.away = True
    service.clock.seconds += 60

    (rendered,) = await service.render(item())

    assert rendered.version == 1
    with pytest.raises(Unavailable):
        await service.render(item("other"))


async def test_a_batch_looks_published_versions_up_once(service: Service, memory: Memory) -> None:
    await service.put(template())
    before = memory.asked

    await service.render(*[item() for _ in range(100)])
    await service.render(*[item() for _ in range(100)])

    assert memory.asked == before + 1


async def test_the_budget_of_compiled_versions_is_kept(memory: Memory, guard: GuardedChild) -> None:
    service = Service(memory, guard)
    service.catalog = Catalog(memory, service.clock, 1)
    service.internal = RenderRpc(service.catalog, Metrics())
    await service.put(template())
    await service.put(template("other"))

    answers = await service.render(item(), item("other"), item())

    assert [answer.channels[0].content.push.title for answer in answers] == ["Hi Bob"] * 3


async def test_describe_tells_required_variables_and_channels(service: Service) -> None:
    await service.put(template())

    response = await service.internal.Describe(
        internal.DescribeRequest(app_id=7, names=["welcome", "nothing", "Not A Name"]), CONTEXT
    )

    assert response.templates[0] == internal.Description(
        published_version=1,
        latest_version=1,
        required_variables=["items", "n", "name"],
        channels=[IOS, ANDROID, Channel.CHANNEL_WEB, SMS, EMAIL],
    )
    assert response.templates[1] == response.templates[2] == internal.Description()


async def test_a_fault_in_a_source_names_locale_channel_and_line(service: Service) -> None:
    broken = template()
    broken.bodies[1].content.push.body = "\n\n{{ name|nope }}"

    with pytest.raises(DomainError) as refused:
        await service.put(broken)

    assert refused.value.reason is ErrorReason.TEMPLATE_INVALID
    assert refused.value.metadata == {"locale": "de-CH", "channel": "push", "field": "body", "line": "3"}


async def test_samples_must_satisfy_every_body(service: Service) -> None:
    lacking = template()
    lacking.bodies[1].content.push.body = "{{ city }} {{ user.zip|default('') }} {{ street }}"

    with pytest.raises(DomainError) as refused:
        await service.put(lacking)

    assert refused.value.reason is ErrorReason.MISSING_VARIABLE
    assert refused.value.metadata == {"template": "welcome", "variables": "city,street,user"}


async def test_a_source_that_only_large_data_makes_slow_is_refused(service: Service) -> None:
    slow = template()
    slow.bodies[0].content.sms.text = "{{ name|list|sort|unique|list|length }}" * 400

    with pytest.raises(DomainError) as refused:
        await service.put(slow)

    assert refused.value.reason is ErrorReason.TEMPLATE_INVALID
    assert refused.value.metadata["channel"] == "sms"


async def test_a_bomb_is_refused_at_the_door(service: Service) -> None:
    bomb = template()
    bomb.bodies[0].content.sms.text = '{{ "%0900000000d"|format(1) }}'

    with pytest.raises(DomainError) as refused:
        await service.put(bomb)

    assert refused.value.reason is ErrorReason.TEMPLATE_INVALID


async def test_every_faulty_field_is_named(service: Service) -> None:
    faulty = pb.Template(name="No Name", bodies=[pb.LocalizedBody(locale="???", content=Content(mail=MailContent()))])

    with pytest.raises(DomainError) as refused:
        await service.put(faulty)

    assert {fault.field for fault in refused.value.fields} == {
        "template.name",
        "template.default_locale",
        "template.bodies[0].locale",
        "template.bodies[0].content.mail.text",
        "template.bodies[0].content.mail.subject",
    }


async def test_words_of_one_platform_and_of_buttons_are_rendered_too(service: Service) -> None:
    made = template()
    push = made.bodies[0].content.push
    push.ios.override.title = "{{ name }} on iPhone"
    push.android.override.link = "shop://orders/{{ n }}"
    push.actions.add(id="open", title="Open {{ n }}", link="https://example.com/{{ n }}")
    push.ios.aps.update({"target-content-id": "window"})
    await service.put(made)

    [rendered] = await service.render(item(name="Zoë", n=7))
    with calling_as(Caller("gateway", 7)):
        preview = await service.public.PreviewTemplate(pb.PreviewTemplateRequest(name="welcome"), CONTEXT)

    shown = rendered.channels[0].content.push
    assert (shown.title, shown.ios.override.title) == ("Hi Zoë", "Zoë on iPhone")
    assert shown.android.override.link == "shop://orders/7"
    [action] = shown.actions
    assert (action.id, action.title, action.link) == ("open", "Open 7", "https://example.com/7")
    assert shown.ios.aps["target-content-id"] == "window"
    assert preview.content.push.actions[0].title == "Open 2"


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("push.actions[0].id", lambda content: content.push.actions.add(title="t")),
        ("push.ios.push_type", lambda content: setattr(content.push.ios, "push_type", "pigeon")),
        ("push.ios.aps.alert", lambda content: content.push.ios.aps.update({"alert": "x"})),
        ("push.web.renotify", lambda content: setattr(content.push.web, "renotify", True)),
        ("push.data", lambda content: content.push.data.update({"google.x": "y"})),
    ],
)
async def test_structure_of_a_body_is_checked_before_it_is_stored(
    service: Service, field: str, spoil: Callable[[Content], object]
) -> None:
    made = template()
    spoil(made.bodies[0].content)

    with pytest.raises(DomainError) as refused:
        await service.put(made)

    assert [fault.field for fault in refused.value.fields] == [f"template.bodies[0].content.{field}"]


async def test_a_preview_uses_the_samples_or_the_data_given(service: Service) -> None:
    await service.put(template())
    request = pb.PreviewTemplateRequest(name="welcome", locale="en-GB")
    with calling_as(Caller("gateway", 7)):
        sampled = await service.public.PreviewTemplate(request, CONTEXT)
        request.data.update({"name": "<Zoë>", "n": 9, "items": []})
        given_data = await service.public.PreviewTemplate(request, CONTEXT)

    assert sampled.locale == "en"
    assert sampled.content.sms.text == "Hi Ann, 2"
    assert given_data.content.push.data == {"order": "9", "k": "v"}
    assert given_data.content.mail.html == "<html><body><h1>Hi &lt;Zoë&gt;</h1></body></html>"


async def test_foreign_templates_do_not_exist(service: Service) -> None:
    await service.put(template())

    with calling_as(Caller("gateway", 8)), pytest.raises(DomainError) as refused:
        await service.public.GetTemplate(pb.GetTemplateRequest(name="welcome", version=1), CONTEXT)

    assert refused.value.reason is ErrorReason.TEMPLATE_NOT_FOUND


PIECES = st.sampled_from(
    ["Hi ", "\n", "{{ name }}", "{{ n }}", "{% if n %} x{{ name }}{% endif -%} ", "</body>", "é", "{{- n -}}"]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=10).map("".join)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_frame_and_slots_compose_to_the_whole_rendered_body(subject: str, text: str, html: str) -> None:
    content = Content(mail=MailContent(subject=subject, text=text, html=html))
    version = CompiledVersion(
        VersionKey(7, "x", 1), pb.Template(name="x", bodies=[pb.LocalizedBody(locale="en", content=content)])
    )
    body = version.body("en", Kind.MAIL)
    assert isinstance(body, MailBody)
    data = {"name": "Zoë <x>", "n": 3}

    rendered = Rendered()
    body.render(data, rendered)
    mail = rendered.mail

    environment = version._environment
    composed = quopri.decodestring(body_of(body.frame, mail))
    for source, name in ((text, "x.txt"), (html, "x.html")):
        assert environment.render_str(source, name, **data).replace("\n", "\r\n").encode() in composed
    assert mail.subject == one_line(environment.render_str(subject, "x.txt", **data))


async def test_postgres_numbers_versions_and_keeps_equal_content(database: Database) -> None:
    store = PostgresStore(database.pool)
    new = [
        NewVersion(7, "welcome", b"doc%d" % n, bytes([n]) * 32, ("a",), ("en",), {bytes([n]) * 32: b"frame"})
        for n in range(4)
    ]

    versions = await asyncio.gather(*[store.put(one, publish=True) for one in new])
    again = await store.put(new[2], publish=True)

    assert sorted(versions) == [1, 2, 3, 4]
    assert again == versions[2]
    assert await store.published([(7, "welcome"), (8, "welcome")]) == [Current(again, 4), Current()]
    assert await store.summaries(7) == [Summary("welcome", again, 4, ("en",))]
    stored = await store.get(VersionKey(7, "welcome", again))
    assert stored is not None
    assert stored.document == new[2].document
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.frame") == 4


async def test_postgres_publishes_only_what_is_stored(database: Database) -> None:
    store = PostgresStore(database.pool)
    await store.put(NewVersion(7, "welcome", b"doc", b"1" * 32, (), ("en",), {}), publish=False)

    assert await store.published([(7, "welcome")]) == [Current(0, 1)]
    assert not await store.publish(VersionKey(7, "welcome", 2), "key")
    assert not await store.publish(VersionKey(8, "welcome", 1), "key")
    assert await store.publish(VersionKey(7, "welcome", 1), "key")
    assert await store.published([(7, "welcome")]) == [Current(1, 1)]


async def test_row_level_security_hides_other_apps_from_the_role(database: Database) -> None:
    store = PostgresStore(database.pool)
    await store.put(NewVersion(7, "welcome", b"doc", b"1" * 32, (), ("en",), {}), publish=True)

    async with db.connection(database.pool) as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE clarion_template")
        seen = []
        for app in ("7", "8", "all", ""):
            await connection.execute("SELECT set_config('clarion.app', $1, true)", app)
            seen.append(await connection.fetchval("SELECT count(*) FROM template.template"))

    assert seen == [1, 0, 1, 0]


async def test_the_role_may_do_what_the_service_does(database: Database) -> None:
    async def as_role(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await connection.execute("SET ROLE clarion_template")

    async with asyncpg.create_pool(database.url, min_size=0, max_size=2, init=as_role, reset=_keep) as pool:
        store = PostgresStore(pool)
        new = NewVersion(7, "welcome", b"doc", b"1" * 32, (), ("en",), {b"1" * 32: b"frame"})

        assert await store.put(new, publish=True) == 1
        assert await store.put(new, publish=True) == 1
        assert await store.get(VersionKey(7, "welcome", 1)) is not None
        assert await store.archive(7, "welcome", restore=False)
        assert await store.put_partial(7, pb.Partial(name="footer", source="x"), "ck_1") == 1
        assert len(await store.versions(7, "welcome", before=0, most=5)) == 1
        assert await store.used_by(7, "welcome", most=5) == []
        await durable.Ready(pool, "template.template")()


async def test_postgres_remembers_who_stored_and_published_a_version(database: Database) -> None:
    store = PostgresStore(database.pool)
    for number, publish in ((1, True), (2, False), (3, True)):
        new = NewVersion(
            7, "a", b"d%d" % number, bytes([number]) * 32, (), ("en",), {}, b"s%d" % number, f"ck_{number}"
        )
        await store.put(new, publish=publish)
    await store.publish(VersionKey(7, "a", 1), "ck_9")
    await store.publish(VersionKey(7, "a", 1), "ck_again")

    listed = await store.versions(7, "a", before=0, most=10)

    assert [(one.version, one.created_by, one.published, one.published_by) for one in listed] == [
        (3, "ck_3", False, "ck_3"),
        (2, "ck_2", False, ""),
        (1, "ck_1", True, "ck_9"),
    ]
    assert [one.published_at is not None for one in listed] == [True, False, True]
    assert [one.version for one in await store.versions(7, "a", before=3, most=1)] == [2]
    assert await store.versions(8, "a", before=0, most=10) == []
    stored = await store.get(VersionKey(7, "a", 3))
    assert stored is not None
    assert (stored.document, stored.source, stored.created_by) == (b"d3", b"s3", "ck_3")


async def test_postgres_archives_and_restores(database: Database) -> None:
    store = PostgresStore(database.pool)
    await store.put(NewVersion(7, "a", b"d", b"1" * 32, (), ("en",), {}), publish=True)

    assert not await store.archive(8, "a", restore=False)
    assert await store.archive(7, "a", restore=False)
    assert await store.published([(7, "a")]) == [Current(1, 1, archived=True)]
    assert await store.summaries(7) == []
    assert [one.archived_at is not None for one in await store.summaries(7, archived=True)] == [True]
    assert await store.archive(7, "a", restore=True)
    assert await store.published([(7, "a")]) == [Current(1, 1)]


_SCHEDULE = """
INSERT INTO ledger.recurring (start_at, next_at, app_id, category_id, broadcasts, paused, name, cron, time_zone, body, template)
VALUES (now(), CASE WHEN $4 THEN now() END, $1, 1, false, $3, $2, '0 9 * * *', 'UTC', '', $5)
"""
_BROADCAST = """
INSERT INTO ledger.broadcast (deliver_at, expire_at, next_at, broadcast_id, app_id, category_id, pace, priority, state, event_id,
                              payload_hash, payload, template)
VALUES (now(), now(), now(), $2::uuid, $1, 1, 0, 1, $3, ($2::uuid)::text, '', '', 'a')
"""


async def test_postgres_tells_who_uses_a_template_and_goes_on(database: Database) -> None:
    store = PostgresStore(database.pool)
    for app_id, name, paused, goes_on, sends in (
        (7, "weekly", False, True, "a"),
        (7, "daily", True, True, "a"),
        (7, "ended", False, False, "a"),
        (7, "another", False, True, "b"),
        (7, "literal", False, True, None),
        (8, "foreign", False, True, "a"),
    ):
        await database.pool.execute(_SCHEDULE, app_id, name, paused, goes_on, sends)
    broadcasts = [uuid4() for _ in range(4)]
    for id_, state in zip(broadcasts, (1, 2, 3, 5), strict=True):
        await database.pool.execute(_BROADCAST, 7, id_, state)

    found = await store.used_by(7, "a", most=10)

    assert found[:2] == [Use("daily", None, paused=True), Use("weekly", None, paused=False)]
    assert {(use.broadcast_id, use.paused) for use in found[2:]} == {(broadcasts[0], False), (broadcasts[1], True)}
    assert await store.used_by(7, "a", most=3) == found[:3]


async def test_what_is_published_and_archived_is_in_the_audit_log(database: Database) -> None:
    store = PostgresStore(database.pool)
    with calling_as(Caller("gateway", 7, "ck_9", frozenset({"template:write"}))):
        await store.put(NewVersion(7, "a", b"d", b"1" * 32, (), ("en",), {}), publish=True)
        await store.put(NewVersion(7, "a", b"d", b"1" * 32, (), ("en",), {}), publish=True)
        await store.put(NewVersion(7, "a", b"e", b"2" * 32, (), ("en",), {}), publish=False)
        await store.publish(VersionKey(7, "a", 2), "ck_9")
        await store.archive(7, "a", restore=False)
        await store.archive(8, "a", restore=False)
        await store.put_partial(7, pb.Partial(name="footer", source="one"), "ck_9")

    found, _ = await audit_log.page(database.pool, app_id=7, size=10)

    assert [(entry.act, entry.target, entry.after) for entry in found] == [
        ("PublishTemplate", "template a", '{"published": 1}'),
        ("PublishTemplate", "template a", '{"published": 2}'),
        ("ArchiveTemplate", "template a", '{"archived": true}'),
        ("PutPartial", "partial footer", '{"version": 1}'),
    ]
    assert {(entry.actor_app, entry.actor_key) for entry in found} == {(7, "ck_9")}


async def test_postgres_numbers_partials_and_keeps_equal_ones(database: Database) -> None:
    store = PostgresStore(database.pool)
    one, two = pb.Partial(name="footer", source="one"), pb.Partial(name="footer", source="two")

    numbers = [await store.put_partial(7, partial, "ck_1") for partial in (one, one, two, one)]
    found = await store.partials(7, [("footer", 0), ("footer", 2), ("footer", 9), ("none", 0)])

    assert numbers == [1, 1, 2, 3]
    assert {key: (partial.version, partial.source, partial.created_by) for key, partial in found.items()} == {
        ("footer", 0): (3, "one", "ck_1"),
        ("footer", 2): (2, "two", "ck_1"),
    }
    assert await store.partials(8, [("footer", 0)]) == {}
    assert (await store.partial_names(7), await store.partial_names(8)) == ([("footer", 3)], [])


async def test_equal_partials_stored_at_once_get_one_version(database: Database) -> None:
    store = PostgresStore(database.pool)

    numbers = await asyncio.gather(
        *[store.put_partial(7, pb.Partial(name="footer", source="one"), "") for _ in range(5)]
    )

    assert numbers == [1] * 5


async def _keep(connection: object) -> None:
    """A reset would give the role up."""
