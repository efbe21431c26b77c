"""SendGrid: requests as its documentation shows them, mails merged, signed event batches."""

import base64
import json
import time
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox.server import Sandbox
from clarion_sandbox.view import present

from .callback_sink import Sink, sink


@pytest.fixture
async def callbacks(sandbox: Sandbox, http: Client) -> AsyncIterator[Sink]:
    async with sink() as receiver:
        request = http.put("/sandbox/callbacks").bearer_auth(sandbox.credentials.api_token)
        await request.body_json({"sendgrid": f"{receiver.url}/sendgrid"}).build().send()
        yield receiver


def to(email: str, **more: object) -> dict[str, object]:
    return {"to": [{"email": email, "name": "Ann"}], "custom_args": {"delivery": "7"}, **more}


def document(*personalizations: dict[str, object], **changes: object) -> dict[str, object]:
    return {
        "personalizations": list(personalizations) or [to("ann@example.org")],
        "from": {"email": "news@example.com", "name": "The News"},
        "subject": "Grüße, -name-",
        "content": [
            {"type": "text/plain", "value": "Hello -name-\nBye"},
            {"type": "text/html", "value": "<p>Hello -name-</p>"},
        ],
    } | changes


async def send(sandbox: Sandbox, http: Client, what: object) -> Response:
    request = http.post("/v3/mail/send").bearer_auth(sandbox.credentials.sendgrid_api_key)
    return await request.body_json(what).build().send()


def entries(sandbox: Sandbox) -> list[dict[str, object]]:
    return [json.loads(line) for line in sandbox.ledger.read(0, 2000).splitlines()]


async def test_each_mail_is_recorded_as_its_recipient_gets_it(sandbox: Sandbox, http: Client) -> None:
    response = await send(
        sandbox,
        http,
        document(
            to("ann@example.org", substitutions={"-name-": "Zoë"}, headers={"Message-ID": "<7@example.com>"}),
            to("bob@example.org", subject="Other"),
        ),
    )
    assert response.status == 202
    first, second = entries(sandbox)
    message_id = response.headers["x-message-id"]
    assert [first["message_id"], second["message_id"]] == [f"{message_id}.0", f"{message_id}.1"]
    assert (first["our_id"], first["digest"] != second["digest"]) == ("<7@example.com>", True)
    kept = sandbox.ledger.arrival(1)
    assert kept is not None
    shown = present(kept)
    assert ["Subject", "Grüße, Zoë"] in shown["headers"]  # type: ignore[operator]
    assert (shown["text"], shown["html"]) == ("Hello Zoë\r\nBye", "<p>Hello Zoë</p>")


async def test_wrong_key_path_method_or_type_is_refused(sandbox: Sandbox, http: Client) -> None:
    key = sandbox.credentials.sendgrid_api_key
    sends = [
        http.post("/v3/mail/send").bearer_auth("SG.wrong").body_json(document()),
        http.post("/v3/mail/sent").bearer_auth(key).body_json(document()),
        http.put("/v3/mail/send").bearer_auth(key).body_json(document()),
        http.post("/v3/mail/send").bearer_auth(key).body_text("x"),
    ]
    assert [(await each.build().send()).status for each in sends] == [401, 404, 405, 415]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [to(f"a{n}@example.org") for n in range(1001)]}, "personalizations"),
        ({"personalizations": [to("ann@example.org"), to("ANN@example.org")]}, "personalizations"),
        ({"personalizations": [to("ann@example.org"), to("nobody")]}, "personalizations.1.to.0.email"),
        ({"personalizations": [{"subject": "x"}]}, "personalizations.0.to"),
        ({"personalizations": [to("a@example.org", headers={"Subject": "x"})]}, "personalizations.0.headers"),
        ({"personalizations": [to("a@example.org", headers={"X-A": "a\nb"})]}, "personalizations.0.headers"),
        (
            {"personalizations": [to("a@example.org", substitutions={"-a-": "x" * 10_000})]},
            "personalizations.0.substitutions",
        ),
        ({"personalizations": [to("a@example.org", substitutions={"-a-": 7})]}, "personalizations.0.substitutions"),
        (
            {"personalizations": [to("a@example.org", custom_args={"a": "x" * 10_000})]},
            "personalizations.0.custom_args",
        ),
        ({"subject": ""}, "personalizations.0.subject"),
        ({"from": {}}, "from.email"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"type": "text/html", "value": "a"}, {"type": "text/plain", "value": "a"}]}, "content"),
        ({"categories": ["a"] * 11}, "categories"),
    ],
    ids=range(16),
)
async def test_a_faulty_request_is_refused_with_its_field(
    sandbox: Sandbox, http: Client, change: dict[str, object], field: str
) -> None:
    response = await send(sandbox, http, document(**change))
    [error] = (await response.json())["errors"]
    assert (response.status, error["field"]) == (400, field)
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]


async def test_a_refused_mail_refuses_the_whole_request_and_is_named(sandbox: Sandbox, http: Client) -> None:
    response = await send(sandbox, http, document(to("ann@example.org"), to("bounce+4000@example.org")))
    [error] = (await response.json())["errors"]
    assert (response.status, error["field"]) == (400, "personalizations.1.to.0.email")
    assert not any(entry["accepted"] for entry in entries(sandbox))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 429, 500, 503])
async def test_magic_mailbox_chooses_the_answer(sandbox: Sandbox, http: Client, status: int) -> None:
    response = await send(sandbox, http, document(to(f"bounce+{status}0+user7@example.org")))
    assert response.status == status
    assert ("x-ratelimit-reset" in response.headers) == (status == 429)


async def test_reset_of_the_rate_limit_is_in_unix_seconds(sandbox: Sandbox, http: Client) -> None:
    response = await send(sandbox, http, document(to("bounce+4290-x1@example.org")))
    assert 0 < int(response.headers["x-ratelimit-reset"]) - time.time() <= 3
    assert response.headers["x-ratelimit-remaining"] == "0"
    assert (await send(sandbox, http, document(to("bounce+4290-x1@example.org")))).status == 202


async def test_sandbox_mode_checks_and_sends_nothing(sandbox: Sandbox, http: Client) -> None:
    mode = {"sandbox_mode": {"enable": True}}
    assert (await send(sandbox, http, document(mail_settings=mode))).status == 200
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]


async def test_events_are_signed_and_carry_the_custom_arguments(
    sandbox: Sandbox, http: Client, callbacks: Sink
) -> None:
    response = await send(sandbox, http, document(to("ann@example.org"), to("bob@example.org")))
    processed, delivered = await callbacks.wait_for(2)
    described = sandbox.description()["sendgrid"]
    assert isinstance(described, dict)
    key = load_der_public_key(base64.b64decode(described["event_public_key"]))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for call in (processed, delivered):
        signature = base64.b64decode(call.headers["x-twilio-email-event-webhook-signature"])
        timestamp = call.headers["x-twilio-email-event-webhook-timestamp"]
        key.verify(signature, timestamp.encode() + call.body, ec.ECDSA(SHA256()))
    events = json.loads(delivered.body)
    assert [(event["event"], event["email"], event["delivery"]) for event in events] == [
        ("delivered", "ann@example.org", "7"),
        ("delivered", "bob@example.org", "7"),
    ]
    assert all(event["sg_message_id"].startswith(response.headers["x-message-id"]) for event in events)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("hard", ["processed", "bounce"]),
        ("bounced", ["processed", "dropped"]),
        ("complaint", ["processed", "delivered", "spamreport"]),
        ("clicked", ["processed", "delivered", "open", "click"]),
        ("reversed", ["open", "delivered", "processed"]),
        ("twice", ["processed", "processed", "delivered", "delivered"]),
        ("early", ["processed", "delivered"]),
    ],
)
async def test_magic_mailbox_chooses_the_events(
    sandbox: Sandbox, http: Client, callbacks: Sink, code: str, expected: list[str]
) -> None:
    await send(sandbox, http, document(to(f"bounce+{code}@example.org")))
    calls = await callbacks.wait_for(len(expected))
    assert [event["event"] for call in calls for event in json.loads(call.body)] == expected


async def test_attachments_travel_in_the_mail_inline_ones_beside_the_html(sandbox: Sandbox, http: Client) -> None:
    def file(name: str, **more: str) -> dict[str, str]:
        return {"content": base64.b64encode(name.encode() * 40).decode(), "filename": name, **more}

    files = [file("a.png", type="image/png", disposition="inline", content_id="a@x"), file("invoice.pdf")]
    assert (await send(sandbox, http, document(attachments=files))).status == 202
    kept = sandbox.ledger.arrival(1)
    assert kept is not None
    parsed = message_from_bytes(kept.content, policy=default)
    assert [part.get_content_type() for part in parsed.walk()] == [
        "multipart/mixed",
        "multipart/related",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "image/png",
        "application/octet-stream",
    ]
    inline, attached = [part for part in parsed.walk() if part.get_filename()]
    assert (inline["content-id"], inline.get_content()) == ("<a@x>", b"a.png" * 40)
    assert (attached.get_filename(), attached.get_content_disposition()) == ("invoice.pdf", "attachment")


@pytest.mark.parametrize(
    "fault",
    [
        "x",
        [1],
        [{"filename": "a"}],
        [{"content": "AA=="}],
        [{"content": "!", "filename": "a"}],
        [{"content": "AA==", "filename": "a", "disposition": "sideways"}],
        [{"content": "AA==", "filename": 'a"\r\nX: y'}],
    ],
)
async def test_faulty_attachment_is_refused(sandbox: Sandbox, http: Client, fault: object) -> None:
    response = await send(sandbox, http, document(attachments=fault))
    assert response.status == 400
    assert (await response.json())["errors"][0]["field"].startswith("attachments")
