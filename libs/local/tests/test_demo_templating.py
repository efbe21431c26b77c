"""The shipped templates: whole in every language, taken and rendered by the template service's own rules."""

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.template.v1.template_service_pb2 import LocalizedBody, Template
from clarion_client._wire import struct
from clarion_kit.vocabulary import Channel
from clarion_local.demo.shop import shop_categories
from clarion_local.demo.templating import NAMES, ShopTemplate, filled, shop_templates
from clarion_template import data
from clarion_template.compiled import CompiledVersion, MailBody
from clarion_template.domain import VersionKey
from clarion_template.source.sheet import RenderFault
from clarion_template.validation import check_template

LOCALES = {"en", "ko", "ja", "zh-Hans", "de"}
CHANNELS = {
    "one-time-code": {Channel.IOS, Channel.ANDROID, Channel.WEB, Channel.SMS},
    "order-update": set(Channel),
    "promotion": set(Channel) - {Channel.SMS},
    "answers": {Channel.IOS, Channel.ANDROID, Channel.WEB},
}
TEMPLATES = {template.name: template for template in shop_templates()}


def stored(template: ShopTemplate) -> Template:
    return Template(
        name=template.name,
        bodies=[LocalizedBody(locale=locale, content=content) for locale, content in template.bodies.items()],
        default_locale=template.default_locale,
        sample_data=struct(template.sample_data),
    )


def compiled(name: str) -> CompiledVersion:
    return CompiledVersion(VersionKey(1, name, 1), stored(TEMPLATES[name]))


def test_every_name_is_a_template() -> None:
    assert set(TEMPLATES) == set(NAMES) == set(CHANNELS)


@pytest.mark.parametrize("name", NAMES)
def test_template_speaks_every_language_on_all_its_channels(name: str) -> None:
    assert set(TEMPLATES[name].bodies) == LOCALES
    kinds = {tuple(field.name for field, _ in body.ListFields()) for body in TEMPLATES[name].bodies.values()}
    assert len(kinds) == 1
    assert set(compiled(name).outline().channels) == CHANNELS[name]


@pytest.mark.parametrize("name", NAMES)
def test_template_is_valid_and_its_samples_cover_every_variable(name: str) -> None:
    check_template(stored(TEMPLATES[name]))
    assert compiled(name).outline().used == TEMPLATES[name].sample_data.keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_body_renders_with_the_samples(name: str) -> None:
    values = data.values(stored(TEMPLATES[name]).sample_data)
    for _, _, body in compiled(name).bodies():
        rendered = Rendered()
        body.render(values, rendered)
        assert rendered.WhichOneof("content") is not None
        assert b"{{" not in rendered.SerializeToString()


@pytest.mark.parametrize("status", ["confirmed", "shipped", "delivered"])
def test_order_update_says_where_the_order_stands_in_one_or_two_segments(status: str) -> None:
    values = {**data.values(stored(TEMPLATES["order-update"]).sample_data), "status": status}
    texts = set()
    for _, kind, body in compiled("order-update").bodies():
        if kind.value == "sms":
            rendered = Rendered()
            body.render(values, rendered)
            texts.add(rendered.sms.text)
    assert len(texts) == len(LOCALES)
    assert all(len(text) <= 134 for text in texts)


def test_order_mail_has_a_text_and_a_layout_of_some_kilobytes() -> None:
    for content in TEMPLATES["order-update"].bodies.values():
        assert len(content.mail.text) > 100
        assert 6_000 < len(content.mail.html.encode()) < 12_000
        assert "[[" not in content.mail.html


def test_missing_variable_is_refused() -> None:
    bodies = [body for _, _, body in compiled("one-time-code").bodies()]
    with pytest.raises(RenderFault, match="variables are missing"):
        bodies[0].render({"code": "1"}, Rendered())


def test_mails_have_a_frame_of_their_own_in_every_language() -> None:
    frames = {body.frame_sha256 for _, _, body in compiled("promotion").bodies() if isinstance(body, MailBody)}
    assert len(frames) == len(LOCALES)


def test_layout_takes_exactly_its_words() -> None:
    assert filled("<p>[[a]] [[b]] [[a]]</p>", {"a": "x", "b": "{{ y }}"}) == "<p>x {{ y }} x</p>"


@pytest.mark.parametrize("words", [{}, {"a": "x", "c": "y"}])
def test_layout_with_a_missing_or_superfluous_word_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="marks and words differ"):
        filled("[[a]]", words)


def test_codes_are_critical_and_never_sent_twice_promotions_are_capped() -> None:
    by_name = {category.name: category for category in shop_categories()}
    assert by_name["security"].critical
    assert by_name["security"].guarantee == 2
    assert by_name["marketing"].caps[0].limit == 3
    assert not by_name["transactional"].critical
