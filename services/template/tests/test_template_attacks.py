"""Sources and data that mean harm: each is refused or bounded, and the one after it is served."""

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clarion.internal.template.v1 import template_service_pb2 as internal
from clarion.template.v1 import template_service_pb2 as pb
from clarion.types.v1.content_pb2 import Content, MailContent, SmsContent
from clarion_kit.errors import DomainError, ErrorReason
from clarion_template.adapters.guard import GuardedChild
from clarion_template.guard.protocol import Conversion, Into, Request
from clarion_template.source.sheet import RenderFault

from .template_samples import SMS, Memory, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

WALKS = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ x.__class__.__mro__[1].__subclasses__() }}",
    "{{ x['__class__'] }}",
    "{{ x|attr('__class__') }}",
    "{{ x.__init__.__globals__ }}",
    "{{ x.__getattribute__('a') }}",
    "{{ l.__len__() }}",
    "{{ l.append(1) }}",
    "{{ m.update({}) }}",
    "{{ m.items() }}",
    "{{ m.__dict__ }}",
    "{{ n.real }}",
    "{{ n.to_bytes(2) }}",
    "{{ self }}",
    "{{ self.x() }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id') }}",
    "{{ joiner() }}",
    "{{ lipsum() }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ get_flashed_messages() }}",
    "{{ url_for.__globals__ }}",
    "{{ namespace(a=1) }}",
    "{{ dict(a=1) }}",
    "{{ debug() }}",
    "{{ range.__call__(3) }}",
    "{{ loop }}",
    "{{ loop.__class__ }}",
    "{{ super() }}",
    "{{ caller() }}",
    "{{ varargs }}",
    "{{ import('os') }}",
    "{{ open('/etc/passwd') }}",
    "{{ eval('1') }}",
    "{{ clarion.context }}",
    "{{ x|map(attribute='__class__') }}",
    "{{ l|map(attribute='__class__.__mro__')|list }}",
    "{{ l|selectattr('__class__')|list }}",
    "{{ l|sort(attribute='__class__') }}",
    "{{ l|map('attr', '__class__')|list }}",
    "{{ l|map('tojson')|list }}",
    "{{ l|map('format', 1)|list }}",
    "{{ l|map('pprint')|list }}",
]
TAGS = [
    "{% include '/etc/passwd' %}",
    "{% include '../../secret' %}",
    "{% include x %}",
    "{% include ['a', 'b'] %}",
    "{% include 'a' ignore missing %}",
    "{% import 'a' as a %}",
    "{% from 'a' import b %}",
    "{% extends 'a' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call m() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set a %}{{ x }}{% endset %}",
    "{% autoescape false %}{{ x }}{% endautoescape %}",
    "{% do l.append(1) %}",
    "{% for a in l recursive %}{{ loop(l) }}{% endfor %}",
    "{% while true %}{% endwhile %}",
    "{% raw %}",
    "{% if x %}",
    "{% endif %}",
    "{% for %}{% endfor %}",
    "{% %}",
    "{{ }}",
    "{{",
    "{#",
    "{{ x }} \ufdd0",
]
BOMBS = [
    "{{ 'a' * 1000000000 }}",
    "{{ x * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 9|times(1e308) }}",
    '{{ "%0900000000d"|format(1) }}',
    "{{ x|indent(1000000000) }}",
    "{{ x|center(1000000000) }}",
    "{{ x|wordwrap(1) }}",
    "{{ l|batch(1000000000, 'x') }}",
    "{{ l|slice(1000000000) }}",
    "{{ l|zip(l) }}",
    "{{ l|chain(l) }}",
    "{{ l|groupby('a') }}",
    "{{ x|replace('', x) }}",
    "{{ x|replace('a', x)|replace('a', x) }}",
    "{{ x|list|join(x) }}",
    "{{ range(1000000000) }}",
    "{{ range(0, 1000000000, 1)|list }}",
    "{{ range(1000)|map('string')|join(x)|upper|join(x) }}",
    "{% for a in range(1000) %}{% for b in range(1000) %}.{% endfor %}{% endfor %}",
    "{% for a in range(1000) %}{{ x }}{% endfor %}",
    "{% for a in l %}{% for b in l %}{% for c in l %}{% for d in l %}{{ x }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    "{% set a = x ~ x %}{% set b = a ~ a %}{% set c = b ~ b %}{{ c }}",
    "{% set a = x ~ x ~ x ~ x ~ x ~ x %}{{ a }}",
    "{% set a = [x, x, x] %}{{ a }}",
    "{% set a = x %}{% for i in range(1000) %}{% set a = a ~ a %}{% endfor %}{{ a }}",
    "{% with a = [l, l] %}{{ a }}{% endwith %}",
    "{{ range(1000)|map('datetime')|list }}",
    "{% for i in range(1000) %}{{ i|currency('EUR') }}{% endfor %}",
    "{{ n|plural(other=x ~ x) }}{{ n|plural(other='#') }}" * 200,
    "{{ x|list|sort|unique|list|sort|length }}" * 300,
    "{{ x|upper|lower|title|capitalize }}" * 900,
    "{{ x|urlencode|urlencode|urlencode|urlencode }}" * 50,
    "{{ x|escape|escape|escape|escape|escape|escape }}" * 50,
    "{{ n|number(1000000) }}",
    "{{ x|date('y' * 9) }}",
    "{{ x|date('yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy') }}",
    "{{ n|time(zone='../../../etc/passwd') }}",
    "{{ n|time(zone='/etc/localtime') }}",
    "{{ n|currency('EUR%s%s%s') }}",
]
DEPTHS = [
    "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "{{ " + "[" * 5_000 + "1" + "]" * 5_000 + " }}",
    "{{ " + "not " * 4_000 + "x }}",
    "{{ " + "-" * 8_000 + "1 }}",
    "{{ x" + ".a" * 4_000 + " }}",
    "{{ x" + "[0]" * 4_000 + " }}",
    "{{ x" + "|upper" * 2_000 + " }}",
    "{{ 1" + " + 1" * 3_000 + " }}",
    "{{ x" + " ~ x" * 3_000 + " }}",
    "{{ 1 if x else " * 800 + "1" + " }}" * 1,
    "{% if x %}" * 1_200 + "{% endif %}" * 1_200,
    "{% for a in l %}" * 700 + "{% endfor %}" * 700,
    "{% with a = 1 %}" * 700 + "{% endwith %}" * 700,
    "{{ x }}" * 2_200,
    "{#" * 8_000,
    "{{ '" + "\\" * 8_000 + "' }}",
    "{{- " * 4_000,
    "{% raw %}" * 1_500,
]
TEXTS = [
    "{{ '\ud83d\ude00' if x else '\u202e' }}".encode("utf-16", "surrogatepass").decode("utf-16"),
    "\u202e{{ x }}\u202c",
    "{{\u200bx }}",
    "{{ x\u0000 }}",
    "{{ \uff58 }}",
    "{{ x\u0301 }}",
    "{{ 'a\u0301' * 9 }}",
    "\ufeff{{ x }}",
    "{{ '\U0010ffff'|urlencode }}",
    "{% if x == '\u2028' %}a{% endif %}",
]
ATTACKS = [*WALKS, *TAGS, *BOMBS, *DEPTHS, *TEXTS]
LIMIT_SECONDS = 5.0
"""Of the whole answer on a busy machine; the kernel's own limit of CPU, 100 ms, holds whatever this says."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="guard")
async def shared_guard() -> AsyncIterator[GuardedChild]:
    """One for all: what ends a child must leave the next one able to serve."""
    async with GuardedChild.running() as running:
        yield running


@pytest.fixture(name="service")
def fresh_service(guard: GuardedChild) -> Service:
    return Service(Memory(), guard)


def attack(source: str) -> pb.Template:
    made = pb.Template(
        name="attack", bodies=[pb.LocalizedBody(locale="en", content=Content(sms=SmsContent(text=source)))]
    )
    made.sample_data.update({"x": "a" * 1_000, "l": [1, 2, 3], "m": {"k": 1}, "n": 3})
    return made


async def test_there_are_enough_of_them() -> None:
    assert len(set(ATTACKS)) == len(ATTACKS) >= 100


@pytest.mark.parametrize("source", ATTACKS, ids=range(len(ATTACKS)))
async def test_an_attack_is_refused_or_bounded_and_the_next_is_served(service: Service, source: str) -> None:
    began = time.process_time()
    outcome: ErrorReason | None = None
    try:
        put = await service.put(attack(source))
    except DomainError as refused:
        outcome = refused.reason
    else:
        large = internal.RenderRequest.Item(app_id=7, template="attack", version=put.version, channels=[SMS])
        large.data.update({"x": "a" * 16_000, "l": [1] * 2_000, "m": {"k": 1}, "n": 3})
        (rendered,) = await service.render(large)
        shown = rendered.channels[0].content.sms.text
        assert len(shown) <= 262_144 + len(source)
        assert "object at 0x" not in shown
        assert "class '" not in shown
    spent = time.process_time() - began

    assert outcome in (None, ErrorReason.TEMPLATE_INVALID, ErrorReason.INVALID_FIELD, ErrorReason.MISSING_VARIABLE)
    assert spent < LIMIT_SECONDS
    assert (await service.put(attack("{{ n }}"))).version >= 1


@pytest.mark.parametrize(
    "html",
    [
        "<mjml><mj-body>" + "<mj-section>" * 30_000,
        "<mjml><mj-body>" + "<mj-raw>" + "<div>" * 60_000,
        "<mjml><mj-body><mj-include path='/etc/passwd'/></mj-body></mjml>",
        "<mjml><mj-body><mj-include path='https://evil.example/a'/></mj-body></mjml>",
        "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><mjml><mj-body>&b;</mj-body></mjml>",
        "<mjml " + "a='b' " * 30_000 + "><mj-body></mj-body></mjml>",
        "<mjml><mj-body><mj-section><mj-column>"
        + "<mj-text>x</mj-text>" * 20_000
        + "</mj-column></mj-section></mj-body></mjml>",
        "<mjml><mj-head><mj-attributes><mj-all padding='999999999999999999999px'/></mj-attributes></mj-head><mj-body/></mjml>",
    ],
    ids=range(8),
)
async def test_mjml_that_means_harm_ends_only_the_child(guard: GuardedChild, html: str) -> None:
    try:
        made = await guard.convert(Conversion(Into.HTML, html))
    except RenderFault:
        made = ""

    assert "root:" not in made
    assert len(made) < 8 << 20
    assert await guard.render(Request("{{ 1 }}", False, {}, False)) == "1"


@pytest.mark.parametrize(
    "html",
    [
        "<" * 200_000,
        "<a " * 60_000,
        "<!--" * 50_000,
        "&" * 200_000,
        "<div style='display:none'>" * 20_000,
        "<a href='x'>" * 20_000,
    ],
    ids=range(6),
)
async def test_html_that_means_harm_ends_only_the_child(guard: GuardedChild, html: str) -> None:
    try:
        made = await guard.convert(Conversion(Into.TEXT, html))
    except RenderFault:
        made = ""

    assert len(made) < 8 << 20
    assert await guard.render(Request("{{ 1 }}", False, {}, False)) == "1"


async def test_a_mail_of_markup_bombs_is_refused(service: Service) -> None:
    content = Content(mail=MailContent(subject="{{ n }}", html="<mjml><mj-body>" + "<mj-wrapper>" * 30_000))
    bomb = pb.Template(name="attack", bodies=[pb.LocalizedBody(locale="en", content=content)])

    with pytest.raises(DomainError) as refused:
        await service.put(bomb)

    assert refused.value.reason is ErrorReason.TEMPLATE_INVALID
