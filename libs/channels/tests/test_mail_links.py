"""Links of mails: which tell of clicks, how they are set apart in a frame, and what goes out."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from html import escape
from html.parser import HTMLParser
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.internal.content.v1.rendered_pb2 import LinkSigner, MailFrame, RenderedMail
from clarion_channels.clicks import Clicks
from clarion_channels.mail.anchors import MAX_LINKS, with_links
from clarion_channels.mail.bodies import bodies
from clarion_channels.mail.compose import FrameMismatch, compose
from clarion_channels.mail.frame import Link, LinkedSlot, Marker, Part, build_frame, frame_sha256, verify_frame
from clarion_channels.mail.headers import Mailbox, MailHeaders
from clarion_channels.mail.hrefs import target_of
from clarion_channels.providers.sendgrid.mails import Template
from clarion_kit.links import OpenLink, click_key, packed, verify_click
from clarion_kit.vocabulary import Channel

KEY = bytes(range(32))
BASE = "https://t.example.com"
DELIVERY = OpenLink(7, UUID(int=5), 3, 12, "KR", Channel.EMAIL)
SIGNER = LinkSigner(base_url=BASE, delivery=packed(DELIVERY), key=click_key(KEY, packed(DELIVERY)))
HEADERS = MailHeaders(
    Mailbox("shop@example.com"), Mailbox("anna@example.org"), datetime(2026, 3, 1, tzinfo=UTC), "1@example.com"
)


class Hrefs(HTMLParser):
    """Reads links as a mail program does."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("a", "area"):
            self.found += [value or "" for name, value in attrs if name == "href"]


def sent(frame: MailFrame, *slots: str, signer: LinkSigner | None = SIGNER) -> str:
    """The HTML that arrives."""
    mail = RenderedMail(subject="s", slots=slots, links=signer)
    message = message_from_bytes(compose(frame, mail, HEADERS), policy=policy.default)
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


def followed(html: str) -> list[tuple[int, str] | str]:
    """Number and target of each link that tells of clicks, the others as they are."""
    found: list[tuple[int, str] | str] = []
    for href in Hrefs(html).found:
        link = verify_click(KEY, href.removeprefix(f"{BASE}/c/")) if href.startswith(f"{BASE}/c/") else None
        if link is not None:
            assert link.delivery == DELIVERY
        found.append((link.number, link.target) if link is not None else href)
    return found


def frame_of(*html: Part) -> MailFrame:
    return build_frame(["text"], html)


def test_links_lead_over_the_tracker_in_their_order() -> None:
    parts = with_links(["<a href=\"https://a.example/\">a</a> <A HREF='http://b.example/x?y=1&amp;z=2'>b</A>"])

    assert followed(sent(frame_of(*parts))) == [(0, "https://a.example/"), (1, "http://b.example/x?y=1&z=2")]


def test_what_stands_around_links_is_as_it_was() -> None:
    html = '<p class="x">before <a class=y href="https://a.example/" title=">">in</a> after</p>'
    arrived = sent(frame_of(*with_links([html])))

    [href] = Hrefs(arrived).found
    assert arrived.replace(href, "https://a.example/") == html


@pytest.mark.parametrize(
    "html",
    [
        '<a href="mailto:a@b.example">m</a>',
        '<a href="tel:+4930123">t</a>',
        '<a href="#top">a</a>',
        '<a href="/orders">r</a>',
        '<a href="shop://orders/7">s</a>',
        '<a href="javascript:x()">j</a>',
        '<a href="">e</a>',
        "<a href>n</a>",
        "<a>n</a>",
        '<a data-clarion-notrack href="https://a.example/">n</a>',
        '<a href="https://a.example/" DATA-CLARION-NOTRACK="1">n</a>',
        '<!-- <a href="https://a.example/">c</a> -->',
        '<img src="https://a.example/i.png"><link href="https://a.example/s.css">',
        '<abbr href="https://a.example/">x</abbr>',
        f'<a href="{BASE}/u/token">u</a> <a href="{BASE}/p/token">p</a>',
        '<a href="https://a.example/ two">blank</a>',
        f'<a href="https://a.example/{"x" * 3_000}">long</a>',
        '<a href="https://ü.example/">host outside ASCII</a>',
        '<a href="https://a.example/',
    ],
)
def test_link_that_is_none_of_the_web_or_not_to_be_tracked_is_left_alone(html: str) -> None:
    assert sent(frame_of(*with_links([html, "."]))) == html + "."


def test_without_a_signer_a_mail_is_what_its_template_says() -> None:
    html = '<a href="https://a.example/?q=1&amp;r=2">a</a>'
    frame = frame_of(*with_links([html, "<i>", 0, "</i>"], {0}))

    assert (
        sent(frame, '<a href="https://b.example/">b</a>', signer=None)
        == f'{html}<i><a href="https://b.example/">b</a></i>'
    )


def test_target_may_be_made_of_slots() -> None:
    parts = with_links(['<a href="https://a.example/', 0, "/", 1, '">a</a><a href="', 2, '">b</a>'])
    assert [part for part in parts if isinstance(part, Link)] == [
        Link(0, ("https://a.example/", 0, "/", 1)),
        Link(1, (2,)),
    ]

    arrived = sent(frame_of(*parts), "x&amp;y", "z", "https://b.example/")

    assert followed(arrived) == [(0, "https://a.example/x&y/z"), (1, "https://b.example/")]


@pytest.mark.parametrize("value", ["mailto:a@b.example", "javascript:x()", "//a.example", "", "https://a.example/ b"])
def test_slot_that_leads_elsewhere_is_left_alone(value: str) -> None:
    frame = frame_of(*with_links(['<a href="', 0, '">b</a>']))

    assert Hrefs(sent(frame, value)).found == [value]


def test_links_that_a_slot_brings_share_its_number() -> None:
    parts = with_links(['<a href="https://a.example/">a</a>', 0, '<a href="https://c.example/">c</a>', 1], {0})
    assert LinkedSlot(1, 0) in parts
    assert 1 in parts

    arrived = sent(frame_of(*parts), '<b><a href="https://x.example/">x</a><a href="https://y.example/">y</a></b>', "t")

    assert followed(arrived) == [
        (0, "https://a.example/"),
        (1, "https://x.example/"),
        (1, "https://y.example/"),
        (2, "https://c.example/"),
    ]


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("https://a.example/?a=1&copy=2", "https://a.example/?a=1&copy=2"),
        ("https://a.example/?a=1&amp;copy=2", "https://a.example/?a=1&copy=2"),
        ("https://a.example/&#x27;&#39;", "https://a.example/''"),
        (" https://a.example/ \n", "https://a.example/"),
        ("https://a.example/grün?q=ü", "https://a.example/gr%C3%BCn?q=%C3%BC"),
        ("https://a.example/100%25", "https://a.example/100%25"),
    ],
)
def test_value_is_read_as_browsers_read_it(value: str, target: str) -> None:
    assert target_of(value) == target


@given(st.lists(st.text(max_size=40) | st.integers(0, 3), max_size=8), st.text(max_size=40))
def test_whatever_stands_in_a_mail_arrives_when_nothing_is_signed(parts: list[str | int], value: str) -> None:
    values = [value.replace("\r", ""), "<a href='https://a.example/'>", '">', "https://b.example/"]
    parts = [part.replace("\r", "") if isinstance(part, str) else part for part in parts]
    html = ["<a href='https://a.example/", 0, "'>x</a>", *parts]

    whole = "".join(part if isinstance(part, str) else values[part] for part in html)

    filled = [
        body.fill(lambda hole: _unsigned(hole, values)) for body in bodies(frame_of(*with_links(html, {0, 1, 2, 3})))
    ]
    assert filled[1] == whole.replace("\r\n", "\n")


def _unsigned(hole: object, values: list[str]) -> str:
    match hole:
        case Link(_, pieces):
            return "".join(piece if isinstance(piece, str) else values[piece] for piece in pieces)
        case LinkedSlot(_, slot):
            return values[slot]
        case int():
            return values[hole]
        case _:
            raise AssertionError(hole)


@given(st.text(alphabet="<a href='\"=>/!-x:h\ufdd0", max_size=200))
def test_broken_html_is_searched_without_harm(html: str) -> None:
    assert "".join(_text(part) for part in with_links([html])) == html


def _text(part: Part) -> str:
    if isinstance(part, Link):
        return "".join(map(str, part.pieces))
    assert isinstance(part, str)
    return part


def test_number_of_links_is_bounded() -> None:
    parts = with_links(['<a href="https://a.example/">a</a>' * (MAX_LINKS + 5)])

    assert sum(isinstance(part, Link) for part in parts) == MAX_LINKS


def test_frame_with_links_is_stored_and_read_back() -> None:
    parts = with_links(['<a href="https://a.example/?ü=1&amp;x=', 0, '">a</a>', 1, "</body>"], {1})
    frame = frame_of(*parts, Marker.OPEN_PIXEL)
    stored = MailFrame.FromString(frame.SerializeToString())

    verify_frame(stored, frame_sha256(frame))
    assert bodies(stored)[1].parts == tuple(part for part in (*parts, Marker.OPEN_PIXEL))


@pytest.mark.parametrize("parts", [[Link(0, (3,))], [LinkedSlot(0, 3)]])
def test_link_without_a_value_for_its_slot_is_refused(parts: list[Part]) -> None:
    with pytest.raises(FrameMismatch, match="slot 3"):
        sent(frame_of(*parts), "only one")


def test_sendgrid_gets_the_same_links_as_values_of_tags() -> None:
    template = Template(frame_of(*with_links(['<a href="https://a.example/">a</a>', 0], {0}), Marker.OPEN_PIXEL))
    slot = '<a href="https://b.example/">b</a>'

    values = template.values(RenderedMail(slots=[slot], links=SIGNER))
    html = template.bodies[1].fill(values.__getitem__)

    assert followed(html) == [(0, "https://a.example/"), (1, "https://b.example/")]
    assert len({template.tag(hole) for hole in values}) == len(values)
    assert template.values(RenderedMail(slots=[slot]))[LinkedSlot(1, 0)] == slot


def test_address_of_the_tracker_may_need_escaping() -> None:
    signer = LinkSigner(base_url="https://t.example.com/a&b", delivery=SIGNER.delivery, key=SIGNER.key)

    url = Clicks(signer).url(0, "https://a.example/")

    assert url.startswith("https://t.example.com/a&b/c/")
    assert escape(url) in sent(frame_of(*with_links(['<a href="https://a.example/">a</a>'])), signer=signer)
