"""Amazon SES: requests signed by hand, mails as MIME, events through SNS."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from pyreqwest.client import Client
from pyreqwest.exceptions import RequestError
from pyreqwest.response import Response

from clarion_sandbox import content
from clarion_sandbox.server import Sandbox
from clarion_sandbox.view import present

from .callback_sink import Sink, sink

PATH = "/v2/email/outbound-emails"
RAW = (
    b"From: news@example.com\r\nTo: ann@example.org\r\nSubject: Hello\r\nMessage-ID: <delivery-7@example.com>\r\n"
    b"\r\nHello\r\n"
)


@pytest.fixture
async def callbacks(sandbox: Sandbox, http: Client) -> AsyncIterator[Sink]:
    async with sink() as receiver:
        request = http.put("/sandbox/callbacks").bearer_auth(sandbox.credentials.api_token)
        await request.body_json({"ses": f"{receiver.url}/ses"}).build().send()
        yield receiver


def document(to: str = "ann@example.org", **changes: object) -> dict[str, object]:
    return {
        "FromEmailAddress": "news@example.com",
        "Destination": {"ToAddresses": [to]},
        "Content": {"Raw": {"Data": base64.b64encode(RAW).decode()}},
        "ConfigurationSetName": "clarion",
        "EmailTags": [{"Name": "delivery", "Value": "7"}],
    } | changes


def signed(sandbox: Sandbox, body: bytes, at: datetime | None = None, **changes: str) -> dict[str, str]:
    """The headers of a request, signed step by step as AWS's guide shows it."""
    moment = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    region = changes.get("region", "eu-west-1")
    host = sandbox.base_url.removeprefix("https://")
    canonical = (
        f"POST\n{PATH}\n\ncontent-type:application/json\nhost:{host}\nx-amz-date:{moment}\n\n"
        f"content-type;host;x-amz-date\n{hashlib.sha256(body).hexdigest()}"
    )
    scope = f"{moment[:8]}/{region}/ses/aws4_request"
    key = b"AWS4" + changes.get("secret", sandbox.credentials.ses_secret_access_key).encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    access_key_id = changes.get("key", sandbox.credentials.ses_access_key_id)
    return {
        "content-type": "application/json",
        "x-amz-date": moment,
        "authorization": f"AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, "
        f"SignedHeaders=content-type;host;x-amz-date, Signature={hmac.digest(key, text.encode(), 'sha256').hex()}",
    }


async def post(http: Client, headers: dict[str, str], body: bytes) -> Response:
    return await http.post(PATH).headers(headers).body_bytes(body).build().send()


async def send(sandbox: Sandbox, http: Client, what: object) -> Response:
    body = json.dumps(what).encode()
    return await post(http, signed(sandbox, body), body)


def entries(sandbox: Sandbox) -> list[dict[str, object]]:
    return [json.loads(line) for line in sandbox.ledger.read(0, 100).splitlines()]


async def test_mail_is_recorded_as_smtp_would_record_it(sandbox: Sandbox, http: Client) -> None:
    response = await send(sandbox, http, document())
    message_id = (await response.json())["MessageId"]
    [entry] = entries(sandbox)
    assert (entry["provider"], entry["message_id"], entry["answer"]) == ("ses", message_id, "200")
    assert (entry["destination"], entry["our_id"]) == ("ann@example.org", "<delivery-7@example.com>")
    assert entry["digest"] == content.of_mail(RAW)
    kept = sandbox.ledger.arrival(1)
    assert kept is not None
    assert present(kept)["text"] == "Hello\r\n"


async def test_every_recipient_has_an_entry(sandbox: Sandbox, http: Client) -> None:
    to = {"ToAddresses": ["ann@example.org"], "BccAddresses": ["bob@example.org"]}
    assert (await send(sandbox, http, document(Destination=to))).status == 200
    assert [entry["destination"] for entry in entries(sandbox)] == ["ann@example.org", "bob@example.org"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"secret": "wrong"}, "InvalidSignatureException"),
        ({"key": "AKIAWRONG"}, "UnrecognizedClientException"),
        ({"region": "us-east-1"}, "InvalidSignatureException"),
    ],
)
async def test_another_key_secret_or_region_is_refused(
    sandbox: Sandbox, http: Client, change: dict[str, str], reason: str
) -> None:
    response = await post(http, signed(sandbox, b"{}", None, **change), b"{}")
    assert (response.status, response.headers["x-amzn-errortype"]) == (403, f"{reason}:")


async def test_what_was_altered_after_signing_is_refused(sandbox: Sandbox, http: Client) -> None:
    body = json.dumps(document()).encode()
    headers = signed(sandbox, body)
    assert (await post(http, headers, body + b" ")).status == 403
    assert (await post(http, headers | {"content-type": "text/plain"}, body)).status == 403
    assert (await post(http, headers | {"x-amz-date": "20150830T123600Z"}, body)).status == 403
    assert (await post(http, {"authorization": "Bearer x"}, body)).status == 403
    assert (await post(http, {}, body)).headers["x-amzn-errortype"] == "MissingAuthenticationTokenException:"
    assert (await post(http, headers, body)).status == 200


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_signature_of_another_time_is_refused(sandbox: Sandbox, http: Client, minutes: int) -> None:
    headers = signed(sandbox, b"{}", datetime.now(UTC) + timedelta(minutes=minutes))
    response = await post(http, headers, b"{}")
    assert response.status == 403
    assert (await response.json())["message"].startswith("Signature expired")


def raw(mail: bytes) -> dict[str, object]:
    return {"Content": {"Raw": {"Data": base64.b64encode(mail).decode()}}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Subject": "x"}, "BadRequestException"),
        ({"Content": {}}, "BadRequestException"),
        ({"Content": {"Raw": {"Data": "%%%"}}}, "BadRequestException"),
        ({"Destination": {"ToAddresses": []}}, "BadRequestException"),
        ({"Destination": {"ToAddresses": ["nobody"]}}, "BadRequestException"),
        ({"Destination": {"ToAddresses": [f"a{n}@example.org" for n in range(51)]}}, "BadRequestException"),
        ({"EmailTags": [{"Name": "a b", "Value": "c"}]}, "BadRequestException"),
        ({"EmailTags": [{"Name": "a", "Value": "c"}] * 2}, "BadRequestException"),
        ({"ConfigurationSetName": "other"}, "NotFoundException"),
        ({"FromEmailAddress": "else@example.com"}, "MessageRejected"),
        (raw(b"Subject: x\r\n\r\nHello"), "MessageRejected"),
        (raw(b"From: news@example.com\r\n\r\n" + b"x" * 999), "MessageRejected"),
        (raw(b"From: news@example.com\r\n\r\n\xc3\xa4"), "MessageRejected"),
    ],
    ids=range(13),
)
async def test_a_faulty_request_is_refused_by_name(
    sandbox: Sandbox, http: Client, change: dict[str, object], reason: str
) -> None:
    response = await send(sandbox, http, document() | change)
    assert response.headers["x-amzn-errortype"] == f"{reason}:"
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]


# Typed from AWS's reference: code, status, exception.
AWS = [
    ("4001", 400, "MessageRejected"),
    ("4003", 400, "LimitExceededException"),
    ("4004", 400, "MailFromDomainNotVerifiedException"),
    ("4005", 400, "SendingPausedException"),
    ("4006", 400, "AccountSuspendedException"),
    ("4040", 404, "NotFoundException"),
    ("4290", 429, "TooManyRequestsException"),
    ("5000", 500, "InternalServiceErrorException"),
]


@pytest.mark.parametrize(("code", "status", "reason"), AWS)
async def test_magic_mailbox_chooses_the_answer(
    sandbox: Sandbox, http: Client, code: str, status: int, reason: str
) -> None:
    response = await send(sandbox, http, document(f"bounce+{code}+user7@example.org"))
    assert (response.status, response.headers["x-amzn-errortype"]) == (status, f"{reason}:")
    assert "retry-after" not in response.headers


async def test_flaky_mailbox_works_after_its_failures(sandbox: Sandbox, http: Client) -> None:
    statuses = [(await send(sandbox, http, document("bounce+4290-x2@example.org"))).status for _ in range(3)]
    assert statuses == [429, 429, 200]


def kinds(bodies: list[bytes]) -> list[str]:
    """What the calls say, the confirmation left out."""
    envelopes = [json.loads(body) for body in bodies]
    return [json.loads(e["Message"])["eventType"] for e in envelopes if e["Type"] == "Notification"]


async def test_a_confirmation_and_signed_events_follow(sandbox: Sandbox, http: Client, callbacks: Sink) -> None:
    await send(sandbox, http, document())
    calls = await callbacks.wait_for(3)
    certificate = x509.load_pem_x509_certificate(sandbox.credentials.sns_certificate_pem.encode())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    for call in calls:
        envelope = json.loads(call.body)
        names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
        key.verify(base64.b64decode(envelope["Signature"]), text.encode(), padding.PKCS1v15(), SHA1())
        assert call.headers["x-amz-sns-message-type"] == envelope["Type"]
    assert json.loads(calls[0].body)["Type"] == "SubscriptionConfirmation"
    assert kinds([call.body for call in calls]) == ["Send", "Delivery"]
    event = json.loads(json.loads(calls[2].body)["Message"])
    assert event["mail"]["tags"] == {"delivery": ["7"]}
    assert event["mail"]["messageId"] == entries(sandbox)[0]["message_id"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("hard", ["Send", "Bounce"]),
        ("complaint", ["Send", "Delivery", "Complaint"]),
        ("delayed", ["Send", "DeliveryDelay", "Delivery"]),
        ("reversed", ["Open", "Delivery", "Send"]),
        ("twice", ["Send", "Send", "Delivery", "Delivery"]),
        ("early", ["Send", "Delivery"]),
    ],
)
async def test_magic_mailbox_chooses_the_events(
    sandbox: Sandbox, http: Client, callbacks: Sink, code: str, expected: list[str]
) -> None:
    await send(sandbox, http, document(f"bounce+{code}@example.org"))
    calls = await callbacks.wait_for(1 + len(expected))
    assert kinds([call.body for call in calls]) == expected


async def test_aws_simulator_addresses_mean_what_they_mean_there(
    sandbox: Sandbox, http: Client, callbacks: Sink
) -> None:
    await send(sandbox, http, document("bounce@simulator.amazonses.com"))
    [_, _, call] = await callbacks.wait_for(3)
    bounce = json.loads(json.loads(call.body)["Message"])["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "General")


async def test_without_a_configuration_set_nothing_is_told(sandbox: Sandbox, http: Client, callbacks: Sink) -> None:
    await send(sandbox, http, document(ConfigurationSetName=""))
    await send(sandbox, http, document("bounce+never@example.org"))
    await send(sandbox, http, document("bob@example.org"))
    calls = await callbacks.wait_for(3)
    told = [json.loads(json.loads(call.body)["Message"])["mail"]["destination"] for call in calls[1:]]
    assert told == [["bob@example.org"]] * 2


async def test_a_call_that_is_not_taken_is_made_again(sandbox: Sandbox, http: Client, callbacks: Sink) -> None:
    callbacks.refusals = 1
    await send(sandbox, http, document())
    calls = await callbacks.wait_for(4)
    assert json.loads(calls[0].body)["Type"] == json.loads(calls[1].body)["Type"] == "SubscriptionConfirmation"


async def test_description_holds_what_a_client_needs(sandbox: Sandbox) -> None:
    described = sandbox.description()["ses"]
    assert isinstance(described, dict)
    assert set(described) == {
        *("url", "region", "access_key_id", "secret_access_key", "configuration_set", "topic_arn", "sns_certificate")
    }


async def test_a_mail_whose_answer_is_cut_off_is_recorded_as_taken(sandbox: Sandbox, http: Client) -> None:
    with pytest.raises(RequestError):
        await send(sandbox, http, document("bounce+lostcut@example.org"))
    assert [(entry["accepted"], entry["answer"]) for entry in entries(sandbox)] == [(True, "lostcut")]
