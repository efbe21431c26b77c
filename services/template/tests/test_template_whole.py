"""What is made of a template when it is stored: typed variables, partials, layouts, common texts, warnings, its life."""

from collections.abc import Callable
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value

from clarion.errors.v1.error_reason_pb2 import ErrorReason as Reason
from clarion.internal.template.v1 import template_service_pb2 as internal
from clarion.template.v1 import template_service_pb2 as pb
from clarion.template.v1.template_service_pb2 import LintCode
from clarion.template.v1.variable_pb2 import Variable, VariableType
from clarion.types.v1.content_pb2 import Content, MailContent, PushContent, SmsContent
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_template.domain import Use, VersionKey

from .template_samples import CONTEXT, EMAIL, IOS, SMS, Memory, Service, item, template

STRING, NUMBER, LIST, OBJECT, URL, DATETIME = (
    VariableType.VARIABLE_TYPE_STRING,
    VariableType.VARIABLE_TYPE_NUMBER,
    VariableType.VARIABLE_TYPE_LIST,
    VariableType.VARIABLE_TYPE_OBJECT,
    VariableType.VARIABLE_TYPE_URL,
    VariableType.VARIABLE_TYPE_DATETIME,
)


def text(value: str) -> Value:
    return Value(string_value=value)


def number(value: float) -> Value:
    return Value(number_value=value)


def typed() -> pb.Template:
    return pb.Template(
        name="typed",
        bodies=[
            pb.LocalizedBody(
                locale="en", content=Content(sms=SmsContent(text="{{ name }} {{ price|currency('EUR') }}"))
            )
        ],
        variables=[
            Variable(name="name", type=STRING, default_value=text("friend"), max_length=20),
            Variable(name="price", type=NUMBER, sample=number(9.5)),
        ],
    )


def made(sms: str = "x", **fields: object) -> pb.Template:
    return pb.Template(
        name="made",
        bodies=[pb.LocalizedBody(locale="en", content=Content(sms=SmsContent(text=sms)))],
        **fields,  # type: ignore[arg-type]
    )


async def refusal(service: Service, wrong: pb.Template) -> DomainError:
    with pytest.raises(DomainError) as refused:
        await service.put(wrong)
    return refused.value


async def stored(service: Service, name: str, version: int = 0) -> pb.Template:
    with calling_as(Caller("gateway", 7)):
        return (await service.public.GetTemplate(pb.GetTemplateRequest(name=name, version=version), CONTEXT)).template


async def sent(service: Service, called: str, /, **data: str | int) -> internal.ChannelContent:
    wanted = internal.RenderRequest.Item(app_id=7, template=called, locale="en", channels=[SMS])
    wanted.data.update(data)
    (rendered,) = await service.render(wanted)
    return rendered.channels[0]


# ---------------------------------------------------------------- typed variables


async def test_samples_and_defaults_of_declarations_stand_for_missing_values(service: Service) -> None:
    await service.put(typed())

    assert (await sent(service, "typed", price=3)).content.sms.text == "friend €3.00"
    assert (await sent(service, "typed", price=3, name="Ann")).content.sms.text == "Ann €3.00"


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        ({"price": "free"}, Reason.ERROR_REASON_INVALID_FIELD, "price must be a number"),
        ({"price": 1, "name": 5}, Reason.ERROR_REASON_INVALID_FIELD, "name must be a text"),
        ({"price": 1, "name": "x" * 21}, Reason.ERROR_REASON_INVALID_FIELD, "name is longer than 20 characters"),
        ({}, Reason.ERROR_REASON_MISSING_VARIABLE, "price"),
    ],
)
async def test_a_value_of_the_wrong_type_is_no_content(
    service: Service, data: dict[str, str | int], reason: Reason.ValueType, detail: str
) -> None:
    await service.put(typed())

    refused = await sent(service, "typed", **data)

    assert (refused.error, refused.detail) == (reason, detail)


async def test_describe_tells_what_is_declared(service: Service) -> None:
    declared = typed()
    declared.variables[1].required = True
    await service.put(declared)

    response = await service.internal.Describe(internal.DescribeRequest(app_id=7, names=["typed"]), CONTEXT)

    assert list(response.templates[0].variables) == list(declared.variables)
    assert list(response.templates[0].required_variables) == ["price"]


@pytest.mark.parametrize(
    ("variables", "field"),
    [
        ([Variable(name="1x", type=STRING)], "variables[0].name"),
        ([Variable(name="loop", type=STRING)], "variables[0].name"),
        ([Variable(name="x")], "variables[0].type"),
        ([Variable(name="x", type=STRING), Variable(name="x", type=STRING)], "variables"),
        ([Variable(name="x", type=STRING, required=True, default_value=text("a"))], "variables[0].default_value"),
        ([Variable(name="x", type=NUMBER, sample=text("a"))], "variables[0].sample"),
        ([Variable(name="x", type=NUMBER, max_length=3)], "variables[0].max_length"),
        ([Variable(name="x", type=STRING, fields=[Variable(name="y", type=STRING)])], "variables[0].fields"),
        ([Variable(name="x", type=STRING, items=Variable(type=STRING))], "variables[0].items"),
        ([Variable(name="x", type=LIST, items=Variable(name="y", type=STRING))], "variables[0].items.name"),
        ([Variable(name="x", type=URL, sample=text("http://a.example"))], "variables[0].sample"),
        ([Variable(name="x", type=DATETIME, sample=text("soon"))], "variables[0].sample"),
        ([Variable(name=f"x{index}", type=STRING) for index in range(257)], "variables"),
    ],
)
async def test_a_wrong_declaration_is_named(service: Service, variables: list[Variable], field: str) -> None:
    refused = await refusal(service, made(variables=variables))

    assert [fault.field for fault in refused.fields] == [f"template.{field}"]


async def test_declarations_nest_four_deep(service: Service) -> None:
    deep = Variable(name="a", type=OBJECT)
    inner = deep
    for _ in range(6):
        inner = inner.fields.add(name="a", type=OBJECT)

    refused = await refusal(service, made(variables=[deep]))

    assert "more than 4 levels deep" in str(refused)


async def test_samples_must_be_what_is_declared(service: Service) -> None:
    wrong = typed()
    wrong.sample_data.update({"price": "x"})

    refused = await refusal(service, wrong)

    assert [fault.field for fault in refused.fields] == ["template.sample_data.price"]


async def test_a_preview_for_a_zone_that_is_none_is_refused(service: Service) -> None:
    await service.put(template())
    request = pb.PreviewTemplateRequest(name="welcome", time_zone="Mars/Olympus")

    with calling_as(Caller("gateway", 7)), pytest.raises(DomainError) as refused:
        await service.public.PreviewTemplate(request, CONTEXT)

    assert [fault.field for fault in refused.value.fields] == ["time_zone"]


async def test_a_preview_refuses_values_of_the_wrong_type(service: Service) -> None:
    await service.put(typed())
    request = pb.PreviewTemplateRequest(name="typed")
    request.data.update({"price": "x"})

    with calling_as(Caller("gateway", 7)), pytest.raises(DomainError) as refused:
        await service.public.PreviewTemplate(request, CONTEXT)

    assert [fault.field for fault in refused.value.fields] == ["data.price"]


# ---------------------------------------------------------------- partials, layouts, common texts


async def test_a_templates_partials_and_the_apps_are_put_in(service: Service) -> None:
    with calling_as(Caller("gateway", 7)):
        for source in ("one", "two {{ name }}"):
            partial = pb.Partial(name="footer", source=source)
            await service.public.PutPartial(pb.PutPartialRequest(partial=partial), CONTEXT)
    written = made("{% include 'head' %} {% include 'footer@1' %} {% include 'footer' %}")
    written.partials.add(name="head", source="Hi")
    written.sample_data.update({"name": "Ann"})
    await service.put(written)

    assert (await sent(service, "made", name="Bob")).content.sms.text == "Hi one two Bob"
    kept = await stored(service, "made")
    assert kept.bodies[0].content.sms.text == written.bodies[0].content.sms.text
    assert [(used.name, used.version) for used in kept.used_partials] == [("footer", 1), ("footer", 2)]


async def test_a_new_partial_is_taken_up_when_the_template_is_stored_again(service: Service) -> None:
    async def put_partial(source: str) -> None:
        with calling_as(Caller("gateway", 7)):
            partial = pb.Partial(name="footer", source=source)
            await service.public.PutPartial(pb.PutPartialRequest(partial=partial), CONTEXT)

    await put_partial("old")
    first = await service.put(made("{% include 'footer' %}"))
    same = await service.put(made("{% include 'footer' %}"))
    await put_partial("new")
    before = (await sent(service, "made")).content.sms.text
    second = await service.put(made("{% include 'footer' %}"))

    assert (first.version, same.version, second.version) == (1, 1, 2)
    assert (before, (await sent(service, "made")).content.sms.text) == ("old", "new")


@pytest.mark.parametrize(
    ("locale", "shown"), [("de-CH", "Grüezi"), ("de-AT", "Hallo"), ("fr", "Hello"), ("en", "Hello")]
)
async def test_a_partial_speaks_the_locale_of_the_body(service: Service, locale: str, shown: str) -> None:
    written = made("{% include 'hi' %}")
    if locale != "en":
        written.bodies.add(locale=locale).content.sms.text = "{% include 'hi' %}"
    hi = written.partials.add(name="hi", source="Hello")
    hi.localized.add(locale="de", source="Hallo")
    hi.localized.add(locale="de-ch", source="Grüezi")
    await service.put(written)

    wanted = internal.RenderRequest.Item(app_id=7, template="made", locale=locale, channels=[SMS])
    assert (await service.render(wanted))[0].channels[0].content.sms.text == shown


@pytest.mark.parametrize(
    ("partials", "message"),
    [
        ({"a": "{% include 'b' %}", "b": "{% include 'a' %}"}, "includes itself: a → b → a"),
        ({"a": "{% include 'missing' %}"}, "there is no partial 'missing'"),
        ({"a": "{% if x %}"}, "in the partial 'a': endif is missing"),
        ({"a": "{{ ''.__class__() }}"}, "is not allowed"),
    ],
)
async def test_partials_that_do_not_work_are_refused_with_their_place(
    service: Service, partials: dict[str, str], message: str
) -> None:
    written = made("{% include 'a' %}")
    for name, source in partials.items():
        written.partials.add(name=name, source=source)

    refused = await refusal(service, written)

    assert refused.reason is ErrorReason.TEMPLATE_INVALID
    assert message in str(refused)
    assert refused.metadata["field"] == "text"


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda one: one.partials.add(name="content", source="x"), "partials[0].name"),
        (lambda one: one.partials.add(name="a"), "partials[0].source"),
        (
            lambda one: one.partials.add(name="a").localized.add(locale="??", source="x"),
            "partials[0].localized[0].locale",
        ),
        (lambda one: one.partials.extend([pb.Partial(name="a", source="x")] * 2), "partials"),
        (lambda one: setattr(one, "layout", "A b"), "layout"),
        (lambda one: one.bodies[0].common.SetInParent(), "bodies[0].common.text"),
    ],
)
async def test_a_wrong_field_is_named(service: Service, spoil: Callable[[pb.Template], object], field: str) -> None:
    wrong = made()
    spoil(wrong)

    refused = await refusal(service, wrong)

    assert [fault.field for fault in refused.fields] == [f"template.{field}"]


LAYOUT = (
    "<mjml><mj-body><mj-section><mj-column><mj-raw>{% include 'content' %}</mj-raw>"
    "<mj-text>Shop, Seoul</mj-text></mj-column></mj-section></mj-body></mjml>"
)


async def test_a_mail_is_put_into_an_mjml_layout_and_gets_a_text(service: Service, memory: Memory) -> None:
    with calling_as(Caller("gateway", 7)):
        partial = pb.Partial(name="frame", source=LAYOUT)
        await service.public.PutPartial(pb.PutPartialRequest(partial=partial), CONTEXT)
    html = "<h1>Hi</h1>{% for i in items %}<p>{{ i }}</p>{% endfor %}<a href='https://shop.example/{{ n }}'>See</a>"
    written = pb.Template(
        name="made",
        layout="frame",
        bodies=[pb.LocalizedBody(locale="en", content=Content(mail=MailContent(subject="Hi", html=html)))],
    )
    written.sample_data.update({"n": 1, "items": ["a"]})

    put = await service.put(written)
    (rendered,) = await service.render(item("made", channels=(EMAIL,)))
    with calling_as(Caller("gateway", 7)):
        preview = await service.public.PreviewTemplate(pb.PreviewTemplateRequest(name="made"), CONTEXT)

    assert rendered.channels[0].HasField("content")
    assert preview.content.mail.html.startswith("<!doctype html>")
    assert preview.content.mail.text == "Hi\n\na\n\nSee (https://shop.example/1)\n\nShop, Seoul\n"
    assert [warning.code for warning in put.warnings] == [LintCode.LINT_CODE_GENERATED_TEXT]
    assert (await stored(service, "made")).bodies[0].content.mail.html == html


async def test_mjml_that_ends_its_compiler_is_refused_and_the_next_is_served(service: Service) -> None:
    bomb = "<mjml><mj-body>" + "<mj-section>" * 20_000
    written = pb.Template(
        name="made",
        bodies=[pb.LocalizedBody(locale="en", content=Content(mail=MailContent(subject="Hi", html=bomb)))],
    )

    refused = await refusal(service, written)

    assert (refused.reason, refused.metadata["field"]) == (ErrorReason.TEMPLATE_INVALID, "html")
    assert (await service.put(made())).version == 1


async def test_channels_inherit_the_common_text(service: Service) -> None:
    written = pb.Template(
        name="made",
        bodies=[
            pb.LocalizedBody(
                locale="en",
                content=Content(push=PushContent(title="Own {{ n }}")),
                common=pb.CommonText(title="Title", text="Text {{ n }}", link="https://shop.example/{{ n }}"),
            )
        ],
    )
    written.sample_data.update({"n": 1})
    await service.put(written)

    (rendered,) = await service.render(item("made", channels=(IOS, SMS, EMAIL)))

    push, sms, mail = (content.content for content in rendered.channels)
    assert push.push == PushContent(title="Own 3", body="Text 3", link="https://shop.example/3")
    assert sms.sms.text == "Text 3 https://shop.example/3"
    assert mail.mail.subject == "Title"
    assert list(mail.mail.slots) == ["3", "3"]


async def test_a_common_text_is_for_the_channels_it_names(service: Service) -> None:
    written = made()
    written.bodies[0].ClearField("content")
    written.bodies[0].common.CopyFrom(pb.CommonText(text="Hi", channels=[SMS]))
    await service.put(written)

    (rendered,) = await service.render(item("made", channels=(IOS, SMS)))

    assert [content.HasField("content") for content in rendered.channels] == [False, True]


async def test_times_are_told_in_the_recipients_zone(service: Service) -> None:
    written = made("{{ at|datetime('short') }}")
    written.sample_data.update({"at": "2026-01-01T00:00:00Z"})
    await service.put(written)
    items = []
    for zone in ("", "Asia/Seoul"):
        wanted = internal.RenderRequest.Item(app_id=7, template="made", locale="en", channels=[SMS], time_zone=zone)
        wanted.data.update({"at": "2026-01-01T00:00:00Z"})
        items.append(wanted)

    texts = [rendered.channels[0].content.sms.text for rendered in await service.render(*items)]

    assert [one.replace("\u202f", " ") for one in texts] == ["1/1/26, 12:00 AM", "1/1/26, 9:00 AM"]


# ---------------------------------------------------------------- warnings


async def codes(service: Service, one: pb.Template) -> set[str]:
    with calling_as(Caller("gateway", 7)):
        answer = await service.public.LintTemplate(pb.LintTemplateRequest(template=one), CONTEXT)
    return {LintCode.Name(warning.code).removeprefix("LINT_CODE_") for warning in answer.warnings}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda one: None, set()),
        (lambda one: one.variables.add(name="other", type=STRING), {"UNDECLARED_VARIABLE", "UNUSED_VARIABLE"}),
        (lambda one: setattr(one.bodies[0].content.sms, "text", "{{ n }}" + "x" * 160), {"SMS_SEGMENTS"}),
        (lambda one: setattr(one.bodies[0].content.sms, "text", "안녕 {{ n }}"), {"SMS_UCS2"}),
        (lambda one: setattr(one.bodies[0].content.sms, "text", "“{{ n }}” ok"), set()),
        (lambda one: setattr(one.bodies[0].content.mail, "subject", "x" * 79), {"LONG_SUBJECT"}),
        (lambda one: setattr(one.bodies[0].content.mail, "html", "<p>" + "x" * 110_000), {"LARGE_HTML"}),
        (lambda one: setattr(one.bodies[0].content.mail, "html", "<img src='http://x.example/a'>"), {"NOT_HTTPS"}),
        (lambda one: setattr(one.bodies[0].content.push, "link", "http://x.example/{{ n }}"), {"NOT_HTTPS"}),
        (lambda one: setattr(one.bodies[0].content.push, "body", "x" * 4_000), {"TOO_LARGE"}),
        (lambda one: one.bodies.add(locale="pt-BR").CopyFrom(_in(one, "pt-BR")), {"MISSING_LOCALE"}),
        (lambda one: setattr(one.bodies.add(locale="de").content.sms, "text", "x"), {"MISSING_CONTENT"}),
        (lambda one: one.bodies[0].content.mail.ClearField("text"), {"GENERATED_TEXT"}),
    ],
)
async def test_what_may_be_wrong_is_said(
    service: Service, change: Callable[[pb.Template], object], found: set[str]
) -> None:
    written = pb.Template(
        name="made",
        bodies=[
            pb.LocalizedBody(
                locale="en",
                content=Content(
                    push=PushContent(title="{{ n }}"),
                    sms=SmsContent(text="{{ n }}"),
                    mail=MailContent(subject="{{ n }}", text="x", html="<p>x</p>"),
                ),
            )
        ],
    )
    written.sample_data.update({"n": 1})
    change(written)

    assert await codes(service, written) == found


def _in(one: pb.Template, locale: str) -> pb.LocalizedBody:
    return pb.LocalizedBody(locale=locale, content=one.bodies[0].content)


async def test_sizes_are_checked_with_values_as_long_as_declared(service: Service) -> None:
    written = made(variables=[Variable(name="name", type=STRING, sample=text("Ann"), max_length=3_900)])
    written.bodies[0].content.push.CopyFrom(PushContent(title="t", body="{{ name }}"))
    written.bodies[0].content.sms.text = "{{ name }}"

    with calling_as(Caller("gateway", 7)):
        answer = await service.public.LintTemplate(pb.LintTemplateRequest(template=written), CONTEXT)

    large = [one for one in answer.warnings if one.code == LintCode.LINT_CODE_TOO_LARGE_AT_WORST]
    segments = [one for one in answer.warnings if one.code == LintCode.LINT_CODE_SMS_SEGMENTS]
    assert [(one.limit, one.measured > one.limit) for one in large] == [(3993, True)]
    assert [(one.measured, one.limit) for one in segments] == [(26, 1)]


async def test_lint_stores_nothing(service: Service, memory: Memory) -> None:
    assert await codes(service, made()) == set()
    assert memory.stored == {}


async def test_lint_refuses_what_put_refuses(service: Service) -> None:
    with pytest.raises(DomainError) as refused:
        await codes(service, made("{{ x|nope }}"))

    assert refused.value.reason is ErrorReason.TEMPLATE_INVALID


# ---------------------------------------------------------------- life


async def test_an_archived_template_is_unknown_to_the_edge_and_still_renders(service: Service) -> None:
    await service.put(template())
    with calling_as(Caller("gateway", 7)):
        await service.public.ArchiveTemplate(pb.ArchiveTemplateRequest(name="welcome"), CONTEXT)
    describe = internal.DescribeRequest(app_id=7, names=["welcome"])

    archived = await service.internal.Describe(describe, CONTEXT)
    (rendered,) = await service.render(item())
    with calling_as(Caller("gateway", 7)):
        await service.public.ArchiveTemplate(pb.ArchiveTemplateRequest(name="welcome", restore=True), CONTEXT)
    back = await service.internal.Describe(describe, CONTEXT)

    assert archived.templates[0] == internal.Description()
    assert rendered.channels[0].content.push.title == "Hi Bob"
    assert back.templates[0].published_version == 1


async def test_archiving_names_who_uses_the_template(service: Service, memory: Memory) -> None:
    broadcast = UUID(int=7)
    memory.uses = [Use("daily", None, paused=True), Use("", broadcast, paused=False)]
    await service.put(template())
    with calling_as(Caller("gateway", 7)):
        archived = await service.public.ArchiveTemplate(pb.ArchiveTemplateRequest(name="welcome"), CONTEXT)
        back = await service.public.ArchiveTemplate(pb.ArchiveTemplateRequest(name="welcome", restore=True), CONTEXT)

    assert archived.used_by == [
        pb.TemplateUse(schedule="daily", paused=True),
        pb.TemplateUse(broadcast_id=str(broadcast)),
    ]
    assert not archived.more
    assert back == pb.ArchiveTemplateResponse()


async def test_archiving_names_a_hundred_users_and_says_that_there_are_more(service: Service, memory: Memory) -> None:
    memory.uses = [Use(f"s{number}", None, paused=False) for number in range(101)]
    await service.put(template())
    with calling_as(Caller("gateway", 7)):
        archived = await service.public.ArchiveTemplate(pb.ArchiveTemplateRequest(name="welcome"), CONTEXT)

    assert (len(archived.used_by), archived.more) == (100, True)


async def test_a_version_says_who_stored_it(service: Service, memory: Memory) -> None:
    with calling_as(Caller("gateway", 7, "ck_1")):
        await service.public.PutTemplate(pb.PutTemplateRequest(template=made()), CONTEXT)

    assert memory.stored[VersionKey(7, "made", 1)].created_by == "ck_1"


@pytest.mark.parametrize("name", ["unknown", "Not a name"])
async def test_life_of_an_unknown_template_is_refused(service: Service, name: str) -> None:
    with calling_as(Caller("gateway", 7)):
        for call in (
            service.public.ArchiveTemplate(pb.ArchiveTemplateRequest(name=name), CONTEXT),
            service.public.ListTemplateVersions(pb.ListTemplateVersionsRequest(name=name), CONTEXT),
            service.public.GetPartial(pb.GetPartialRequest(name=name), CONTEXT),
        ):
            with pytest.raises(DomainError) as refused:
                await call
            assert refused.value.reason in (ErrorReason.TEMPLATE_NOT_FOUND, ErrorReason.INVALID_FIELD)
