"""What the inbox reads out of each provider's messages."""

import json

import pytest

from clarion_sandbox.inbox import mail, sms
from clarion_sandbox.inbox.reading import document
from clarion_sandbox.inbox.summary import Summary, summarize
from clarion_sandbox.ledger import Arrival

from . import inbox_samples as samples


def arrival(provider: str, content: object, **attributes: str) -> Arrival:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Arrival(1, provider, data, attributes, "destination", 1_700_000_000.0)


def words(summary: Summary) -> tuple[str, str, str, str]:
    return summary.app, summary.title, summary.subtitle, summary.body


def test_apns_shows_alert_badge_level_and_what_it_replaces() -> None:
    aps = {"alert": {"title": "T", "subtitle": "S", "body": "B"}, "badge": 0, "interruption-level": "time-sensitive"}
    shown = summarize(arrival("apns", {"aps": aps}, topic="com.example.shop", collapse_id="c1"))
    assert (shown.channel, *words(shown)) == ("ios", "com.example.shop", "T", "S", "B")
    assert shown.facts == {"replaces": "c1", "badge": 0, "level": "time-sensitive"}


def test_apns_alert_may_be_a_string_a_key_or_missing() -> None:
    assert summarize(arrival("apns", {"aps": {"alert": "B"}})).body == "B"
    assert summarize(arrival("apns", {"aps": {"alert": {"loc-key": "GREETING"}}})).body == "GREETING"
    assert summarize(arrival("apns", {"aps": {"content-available": 1}})).facts == {"silent": True}


def test_fcm_shows_what_android_overrides() -> None:
    message = {
        "notification": {"title": "T", "body": "common"},
        "android": {
            "restricted_package_name": "com.example.shop",
            "notification": {"body": "own", "channel_id": "news", "tag": "t1", "image": "https://a.example/b.png"},
        },
    }
    shown = summarize(arrival("fcm", {"message": message}, project="p"))
    assert (shown.channel, *words(shown)) == ("android", "com.example.shop", "T", "", "own")
    assert shown.facts == {"replaces": "t1", "channel": "news", "image": "https://a.example/b.png"}


def test_fcm_data_message_is_silent_but_keeps_its_words() -> None:
    shown = summarize(arrival("fcm", {"message": {"data": {"clarion_title": "T", "body": "B"}}}, project="p"))
    assert words(shown) == ("p", "T", "", "B")
    assert shown.facts == {"silent": True}


def test_huawei_data_is_a_string_of_json() -> None:
    data = json.dumps({"title": "T", "clarion_link": "https://shop.example/a"})
    shown = summarize(arrival("huawei", {"data": data}))
    assert words(shown) == ("huawei", "T", "", "")
    assert shown.facts == {"silent": True, "link": "https://shop.example/a"}


@pytest.mark.parametrize(
    "payload",
    [
        {"title": "T", "body": "B", "tag": "t1", "actions": [{"title": "Buy"}, "odd"]},
        {"title": "T", "options": {"body": "B", "tag": "t1", "actions": [{"title": "Buy"}]}},
        {"notification": {"title": "T", "body": "B", "tag": "t1", "actions": [{"title": "Buy"}]}},
    ],
)
def test_web_push_is_read_flat_with_options_or_as_notification(payload: dict[str, object]) -> None:
    shown = summarize(arrival("webpush", payload, subject="https://shop.example/contact"))
    assert (shown.channel, shown.title, shown.body) == ("browser", "T", "B")
    assert shown.facts == {"replaces": "t1", "origin": "shop.example", "actions": ["Buy"]}


def test_web_push_that_is_no_json_is_shown_as_text() -> None:
    shown = summarize(arrival("webpush", b"plain words", subject="mailto:push@shop.example"))
    assert words(shown) == ("push@shop.example", "", "", "plain words")
    assert shown.facts == {"origin": "shop.example"}


def test_sms_shows_the_segments_it_came_in() -> None:
    # The emoji is two UTF-16 units; the border lies between them.
    torn = Arrival(1, "smpp", "ab😀c".encode(), {"source": "S", "data_coding": "8", "segment_units": "3,2"}, "49", 0.0)
    assert sms.segments(torn) == ["ab\ud83d", "\ude00c"]
    assert summarize(torn).facts == {"alphabet": "UCS-2", "units": 5, "segments": 2}


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 152 + "€" + "b" * 10, [152, 11]),
        ("ж" * 70, [70]),
        ("ж" * 71, [67, 4]),
        ("ж" * 66 + "😀" * 4, [66, 4]),
    ],
)
def test_gateway_text_is_cut_without_tearing_characters(text: str, lengths: list[int]) -> None:
    parts = sms.cut(text, "GSM-7" if text.startswith("a") else "UCS-2")
    assert [len(part) for part in parts] == lengths
    assert "".join(parts) == text


def test_text_in_another_alphabet_than_it_needs_is_counted_as_it_came() -> None:
    plain = "a" * 100
    assert len(sms.segments(arrival("smpp", plain.encode(), data_coding="0"))) == 1
    assert len(sms.segments(arrival("smpp", plain.encode(), data_coding="8"))) == 2
    latin = summarize(arrival("smpp", ("ç" * 120).encode(), data_coding="3"))
    assert latin.facts == {"alphabet": "Latin-1", "units": 120, "segments": 1}


def test_mail_shows_decoded_headers_and_a_preview() -> None:
    content = samples.mail_bytes("Überraschung", "Hallo\n  Anna", "<p>Hallo</p>", attachment=b"x")
    shown = summarize(arrival("ses", content, sender="bounce@shop.example"))
    assert words(shown) == ("orders@shop.example", "Überraschung", "", "Hallo Anna")
    assert shown.facts == {"sender": "Example Shop", "attachments": 1}


def test_mail_with_html_alone_is_previewed_without_tags() -> None:
    content = b"Content-Type: text/html\r\n\r\n<style>a</style><p>Hello <b>there</b></p>"
    assert summarize(arrival("smtp", content, sender="a@b.example")).app == "a@b.example"
    assert "Hello there" in summarize(arrival("smtp", content)).body


def test_mail_headers_may_be_utf8_or_unreadable() -> None:
    read = mail.read("Subject: Grüße\r\nX-Odd: =?nonsense?B?!!!?=\r\n\r\n".encode() + b"\xff")
    assert read.headers == [("Subject", "Grüße"), ("X-Odd", "=?nonsense?B?!!!?=")]


def test_unknown_charset_and_broken_transfer_encoding_still_show_something() -> None:
    head = b"Content-Type: text/plain; charset=klingon\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert mail.read(head + b"aGVsbG8").text == "hello"


def test_mail_nested_without_end_shows_its_headers() -> None:
    level = b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n'
    nested = b"Subject: deep\r\n" + b"".join(level % (n, n) for n in range(2_000))
    read = mail.read(nested)
    assert (read.header("subject"), read.text) == ("deep", None)


def test_huge_texts_are_cut() -> None:
    alert = {"aps": {"alert": {"title": "t" * 10_000, "body": "b" * 10_000}}}
    shown = summarize(arrival("apns", alert))
    assert (len(shown.title), len(shown.body)) == (4_000, 4_000)
    whole = document(arrival("smtp", b"a" * 300_000), shown)
    assert (len(str(whole["source"])), whole["source_cut"]) == (1 << 18, True)


@pytest.mark.parametrize(
    "provider", ["apns", "fcm", "huawei", "webpush", "smpp", "twilio", "smtp", "ses", "sendgrid", "pigeon"]
)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff[" * 9,
        b"[" * 100_000,
        b"[1]",
        b'{"aps": 1, "message": [], "notification": "x"}',
        b"null",
        b'"\\ud800"',
    ],
)
def test_every_content_of_every_provider_has_a_summary(provider: str, content: bytes) -> None:
    held = arrival(provider, content)
    shown = summarize(held)
    json.dumps(document(held, shown))
    assert shown.app == provider


@pytest.mark.parametrize(
    ("value", "titles"),
    [
        ([{"id": "a", "title": "Buy"}, {"id": "b", "title": "Later"}], ["Buy", "Later"]),
        (json.dumps([{"title": "Buy"}]), ["Buy"]),
        ([{"title": ""}, "Buy", None], None),
        ("[[[", None),
        ({"title": "Buy"}, None),
        ([{"title": str(n)} for n in range(9)], ["0", "1", "2", "3"]),
    ],
)
def test_actions_are_buttons_on_every_device(value: object, titles: list[str] | None) -> None:
    iphone = json.dumps({"aps": {"alert": "Hi"}, "clarion_actions": value}).encode()
    android = json.dumps({"message": {"notification": {"title": "Hi"}, "data": {"clarion_actions": value}}}).encode()
    browser = json.dumps({"title": "Hi", "actions": value}).encode()
    for provider, content in (("apns", iphone), ("fcm", android), ("webpush", browser)):
        assert summarize(arrival(provider, content)).facts.get("actions") == titles


def test_picture_that_a_mail_brings_is_put_into_its_html() -> None:
    read = mail.read(samples.mail_with_picture("Hi", '<img src="cid:mark@shop.example"><img src="cid:other">'))
    html = read.html_with_pictures() or ""
    assert "data:image/png;base64," in html
    assert '"cid:other"' in html
    assert [(part.name, part.content_id in read.pictures) for part in read.attachments] == [
        ("mark.png", True),
        ("pick-up.ics", False),
    ]


def test_only_pictures_are_put_into_html() -> None:
    hostile = samples.mail_with_picture("Hi", '<img src="cid:mark@shop.example">').replace(b"image/png", b"text/html")
    read = mail.read(hostile)
    assert read.html_with_pictures() == read.html
