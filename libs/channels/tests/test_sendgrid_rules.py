import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clarion.internal.content.v1.rendered_pb2 import RenderedMail
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import HttpAnswer
from clarion_channels.mail.attachments import Attachment
from clarion_channels.mail.headers import Mailbox, MailHeaders
from clarion_channels.outcome import Outcome
from clarion_channels.providers.sendgrid.answer import classify
from clarion_channels.providers.sendgrid.mails import MAX_SUBSTITUTION_BYTES, Mail, Template, groups
from clarion_channels.providers.sendgrid.payload import build_body

from .mail_messages import FRAME, mail_message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SENDER = Mailbox("shop@example.com", "The Shop")
TEMPLATE = Template(FRAME)


def mail(to: str, *slots: str, template: Template = TEMPLATE, subject: str = "Hi", **headers: object) -> Mail:
    content = RenderedMail(subject=subject, slots=slots)
    fields = MailHeaders(SENDER, Mailbox(to), NOW, "id@example.com", **headers)  # type: ignore[arg-type]
    return Mail(mail_message(to, content), fields, template, template.values(content))


def test_one_mail_is_written_out_without_substitutions() -> None:
    only = mail("anna@example.org", "Anna", "<b>Anna</b>")
    document = json.loads(build_body([only], SENDER, ["orders"]))
    assert document == {
        "from": {"email": "shop@example.com", "name": "The Shop"},
        "personalizations": [
            {
                "to": [{"email": "anna@example.org"}],
                "subject": "Hi",
                "headers": {"Message-ID": "<id@example.com>"},
                "custom_args": {"clarion_delivery_id": str(only.message.delivery_id)},
            }
        ],
        "content": [
            {"type": "text/plain", "value": "Hello Anna,\nyour order is here.\n"},
            {"type": "text/html", "value": "<p>Hello <b>Anna</b></p>"},
        ],
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
        },
        "categories": ["orders"],
    }


def test_several_mails_share_the_bodies_with_tags_in_the_holes() -> None:
    pair = [mail("anna@example.org", "Anna", "A"), mail("bob@example.org", "Bob", "B")]
    document = json.loads(build_body(pair, SENDER))
    text = document["content"][0]["value"]
    for personalization, name in zip(document["personalizations"], ("Anna", "Bob"), strict=True):
        filled = text
        for tag, value in personalization["substitutions"].items():
            filled = filled.replace(tag, value)
        assert filled == f"Hello {name},\nyour order is here.\n"


def test_unsubscribe_fields_are_headers_of_each_mail() -> None:
    uris = ("https://u.example/t/abc", "mailto:off@u.example")
    only = mail("anna@example.org", "Anna", "A", unsubscribe=uris, one_click=True)
    [personalization] = json.loads(build_body([only], SENDER))["personalizations"]
    assert personalization["headers"] == {
        "Message-ID": "<id@example.com>",
        "List-Unsubscribe": "<https://u.example/t/abc>, <mailto:off@u.example>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def test_files_are_parts_of_the_request() -> None:
    logo = Attachment("logo.png", "image/png", b"\x89PNG", "logo")
    bill = Attachment("Rechnung für Zoë.pdf", "application/pdf", b"%PDF")
    only = replace(mail("anna@example.org", "Anna", "A"), attachments=(logo, bill))
    assert json.loads(build_body([only], SENDER))["attachments"] == [
        {
            "content": b64encode(b"\x89PNG").decode(),
            "type": "image/png",
            "filename": "logo.png",
            "disposition": "inline",
            "content_id": "logo",
        },
        {
            "content": b64encode(b"%PDF").decode(),
            "type": "application/pdf",
            "filename": "Rechnung für Zoë.pdf",
            "disposition": "attachment",
        },
    ]


def test_mails_share_a_request_only_with_the_same_files() -> None:
    files = [(), (Attachment("a", "image/png", b"1"),), (Attachment("a", "image/png", b"2"),)]
    mails = [replace(mail(f"a{number}@example.org", "A", "A"), attachments=files[number % 3]) for number in range(6)]
    assert [[each.attachments for each in group] for group in groups(mails, 10)] == [[each, each] for each in files]


def test_no_group_is_longer_than_the_limit() -> None:
    mails = [mail(f"a{number}@example.org", "A", "A") for number in range(25)]
    assert [len(group) for group in groups(mails, 10)] == [10, 10, 5]


def test_no_recipient_is_twice_in_a_group_whatever_the_case() -> None:
    mails = [mail("anna@example.org", "A", "A"), mail("ANNA@example.org", "A", "A"), mail("bob@example.org", "B", "B")]
    assert [[each.recipient for each in group] for group in groups(mails, 10)] == [
        ["anna@example.org", "bob@example.org"],
        ["anna@example.org"],
    ]


@pytest.mark.parametrize(
    "hurt",
    [
        mail("x@example.org", "x" * MAX_SUBSTITUTION_BYTES, ""),
        mail("x@example.org", TEMPLATE.tag(1), "A"),
        mail("x@example.org", "A", "A", subject=f"A {TEMPLATE.tag(0)}"),
    ],
    ids=["values over the limit", "a tag in a value", "a tag in the subject"],
)
def test_a_mail_that_substitutions_could_hurt_goes_alone(hurt: Mail) -> None:
    others = [mail("a@example.org", "A", "A"), mail("b@example.org", "B", "B")]
    assert sorted(len(group) for group in groups([others[0], hurt, others[1]], 10)) == [1, 2]


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("sendgrid")


def errors(*fields: str | None) -> bytes:
    return json.dumps({"errors": [{"message": "anna@example.org is odd", "field": field} for field in fields]}).encode()


def test_errors_name_the_culprits_by_index(table: ErrorTable) -> None:
    body = errors("personalizations.3.to.0.email", "personalizations.17.headers", "content")
    answer = classify(table, HttpAnswer(400, {}, body), NOW)
    assert answer.by_content
    assert sorted(answer.culprits) == [3, 17]
    assert answer.of(17).code == "400:personalizations.headers"
    assert answer.of(3).detail == "(address) is odd"


def test_a_request_that_is_too_large_has_no_culprit(table: ErrorTable) -> None:
    answer = classify(table, HttpAnswer(413, {}, errors("personalizations.0")), NOW)
    assert answer.by_content
    assert not answer.culprits


def test_refusals_of_the_account_blame_no_mail(table: ErrorTable) -> None:
    answer = classify(table, HttpAnswer(403, {}, errors("personalizations.0.to")), NOW)
    assert not answer.by_content
    assert not answer.culprits


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "expected"),
    [
        (429, {"x-ratelimit-reset": str(int(NOW.timestamp()) + 7)}, Outcome.THROTTLE, timedelta(seconds=7)),
        (429, {"x-ratelimit-reset": str(int(NOW.timestamp()) - 7)}, Outcome.THROTTLE, timedelta(0)),
        (429, {"x-ratelimit-reset": "99999999999"}, Outcome.THROTTLE, timedelta(days=1)),
        (429, {"x-ratelimit-reset": "soon", "retry-after": "5"}, Outcome.THROTTLE, timedelta(seconds=5)),
        (503, {"retry-after": "5"}, Outcome.AFTER, timedelta(seconds=5)),
        (500, {"x-ratelimit-reset": "99999999999"}, Outcome.RETRY, None),
    ],
)
def test_waits_are_floors(
    table: ErrorTable, status: int, headers: dict[str, str], outcome: Outcome, expected: timedelta | None
) -> None:
    result = classify(table, HttpAnswer(status, headers, b""), NOW).result
    assert (result.outcome, result.retry_after) == (outcome, expected)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        (418, b"", Outcome.BAD, "unlisted:418"),
        (502, b"<html>", Outcome.RETRY, "unlisted:502"),
        (302, b"", Outcome.BAD, "unlisted:302"),
        (400, b'{"errors": "no list"}', Outcome.BAD, "400"),
    ],
)
def test_answers_that_are_odd_have_a_class(
    table: ErrorTable, status: int, body: bytes, outcome: Outcome, code: str
) -> None:
    result = classify(table, HttpAnswer(status, {}, body), NOW).result
    assert (result.outcome, result.code) == (outcome, code)


def test_an_accepted_answer_without_an_id_is_accepted_all_the_same(table: ErrorTable) -> None:
    result = classify(table, HttpAnswer(202, {}, b""), NOW).of(3)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "")
