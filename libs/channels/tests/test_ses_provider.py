"""SES as the sandbox plays it: signatures checked by other code. Expected classes are typed from AWS's documentation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ValidationError

from clarion.internal.content.v1.rendered_pb2 import RenderedMail
from clarion.types.v1.address_pb2 import Address
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable
from clarion_channels.providers.ses import Factory, SesProvider
from clarion_channels.providers.ses.receipts import receipts
from clarion_channels.providers.ses.sns import Kind, certificate_url, confirmation_url, parse, verify
from clarion_channels.receipt import News
from clarion_kit.vocabulary import Receipt

from .h2_peer import Peer, make_ca, serve
from .mail_messages import Frames, NoReceipts, accepted, lines, literal, mail_message, mailbox, send_callbacks_to
from .push_messages import Reports, push_message
from .sandbox_door import Practice, practice

pytestmark = pytest.mark.asyncio(loop_scope="module")

Connect = Callable[..., Awaitable[SesProvider]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    async with practice(tmp_path_factory.mktemp("ses")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def connect(door: Practice) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(**changes: object) -> SesProvider:
            settings = json.dumps(document(door) | changes).encode()
            provider = await Factory().with_frames(Frames()).connect(settings, NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start


def document(door: Practice) -> dict[str, object]:
    account = door.account("ses")
    return {
        "region": account["region"],
        "access_key_id": account["access_key_id"],
        "secret_access_key": account["secret_access_key"],
        "configuration_set": account["configuration_set"],
        "base_url": account["url"],
        "from_address": "shop@example.com",
        "from_name": "The Shop",
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


async def send(provider: SesProvider, *messages: Message) -> list[Result]:
    reports = Reports()
    await provider.send(messages, reports)
    return [reports.results[message.delivery_id] for message in messages]


async def test_mail_arrives_whole_under_the_id_that_ses_gave(door: Practice, connect: Connect) -> None:
    message = mail_message(name="Zoë")
    [result] = await send(await connect(tags={"team": "shop"}), message)
    line = accepted(door, message)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, line["message_id"])
    assert line["our_id"] == f"<{message.delivery_id}@example.com>"
    number = line["n"]
    assert isinstance(number, int)
    arrival = door.sandbox.ledger.arrival(number)
    assert arrival is not None
    parsed = message_from_bytes(arrival.content, policy=policy.default)
    assert parsed["From"] == "The Shop <shop@example.com>"
    html = parsed.get_body(("html",))
    assert html is not None
    assert html.get_content() == "<p>Hello <b>Zoë</b></p>"


async def test_a_batch_is_sent_and_each_mail_has_its_answer(connect: Connect) -> None:
    results = await send(await connect(connections=2), *(mail_message() for _ in range(100)))
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert len({result.provider_message_id for result in results}) == 100


# Row of the sandbox, HTTP status and exception: the class typed from AWS's documentation of SendEmail and common errors.
ANSWERS = [
    ("4290", Outcome.THROTTLE, "429:TooManyRequestsException"),
    ("4291", Outcome.CRED, "429:TooManyRequestsException.quota"),
    ("4003", Outcome.THROTTLE, "400:LimitExceededException"),
    ("4007", Outcome.THROTTLE, "400:ThrottlingException"),
    ("4001", Outcome.BAD, "400:MessageRejected"),
    ("4002", Outcome.CRED, "400:MessageRejected.unverified"),
    ("4004", Outcome.CRED, "400:MailFromDomainNotVerifiedException"),
    ("4005", Outcome.CRED, "400:SendingPausedException"),
    ("4006", Outcome.CRED, "400:AccountSuspendedException"),
    ("4040", Outcome.BAD, "404:NotFoundException"),
    ("4000", Outcome.BAD, "400:BadRequestException"),
    ("4030", Outcome.CRED, "403:InvalidSignatureException"),
    ("4031", Outcome.CRED, "403:UnrecognizedClientException"),
    ("4032", Outcome.CRED, "403:AccessDeniedException"),
    ("4033", Outcome.CRED, "403:ExpiredTokenException"),
    ("4034", Outcome.CRED, "403:MissingAuthenticationTokenException"),
    ("5000", Outcome.RETRY, "500:InternalServiceErrorException"),
    ("5030", Outcome.RETRY, "503:ServiceUnavailableException"),
    ("lost", Outcome.UNKNOWN, "local:no_answer"),
    ("lostcut", Outcome.UNKNOWN, "local:no_answer"),
    ("hang", Outcome.UNKNOWN, "local:no_answer"),
    ("cut", Outcome.UNKNOWN, "local:no_answer"),
]


@pytest.mark.parametrize(("code", "outcome", "said"), ANSWERS, ids=[answer[0] for answer in ANSWERS])
async def test_every_answer_of_ses_has_its_class(connect: Connect, code: str, outcome: Outcome, said: str) -> None:
    provider = await connect(timeout_seconds=0.7 if code in ("lost", "hang") else 5)
    [result] = await send(provider, mail_message(mailbox(code)))
    assert (result.outcome, result.code) == (outcome, said)
    assert "@" not in result.detail


async def test_a_lost_answer_tried_again_shows_as_one_mail_twice(door: Practice, connect: Connect) -> None:
    message = mail_message(mailbox("lostcut-x1"))
    provider = await connect()
    first, second = [(await send(provider, message))[0].outcome for _ in range(2)]
    assert (first, second) == (Outcome.UNKNOWN, Outcome.ACCEPTED)
    taken = lines(door, message)
    assert [line["attempt"] for line in taken] == [1, 2]
    assert len({line["digest"] for line in taken}) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret_access_key": "wrong"}, "403:InvalidSignatureException"),
        ({"access_key_id": "AKIA0000000000000000"}, "403:UnrecognizedClientException"),
        ({"region": "us-east-1"}, "403:InvalidSignatureException"),
    ],
    ids=["secret", "key", "region"],
)
async def test_wrong_credentials_stop_the_lane_and_fail_the_probe(
    connect: Connect, change: dict[str, object], code: str
) -> None:
    provider = await connect(**change)
    [result] = await send(provider, mail_message())
    assert (result.outcome, result.code) == (Outcome.CRED, code)
    with pytest.raises(ProviderUnavailable, match=code):
        await provider.probe()


async def test_probe_sends_nothing(door: Practice, connect: Connect) -> None:
    provider = await connect()
    await provider.probe()
    last = json.loads(door.sandbox.ledger.read(0, 10_000).splitlines()[-1])
    assert (last["accepted"], last["answer"]) == (False, "400 BadRequestException")


async def test_what_cannot_be_a_mail_is_refused_here_and_the_others_are_sent(connect: Connect) -> None:
    results = await send(
        await connect(),
        mail_message(mail=literal()),
        mail_message(mail=RenderedMail(subject="a\r\nBcc: x@example.org", literal=literal().literal)),
        mail_message(mail=RenderedMail(subject="no slots", frame_sha256=mail_message().content.mail.frame_sha256)),
        mail_message(mail=RenderedMail(subject="unknown frame", frame_sha256=b"x" * 32)),
        push_message(Address()),
    )
    assert [(result.outcome, result.code) for result in results] == [
        (Outcome.ACCEPTED, "200"),
        (Outcome.BAD, "local:HeaderError"),
        (Outcome.BAD, "local:FrameMismatch"),
        (Outcome.RETRY, "local:frame_unavailable"),
        (Outcome.BAD, "local:not_for_mail"),
    ]


async def test_cancellation_reports_what_was_handed_over_as_unknown(connect: Connect, tmp_path: Path) -> None:
    ca, peer = make_ca(tmp_path), Peer(on_request=lambda stream: None)
    async with serve(peer, ca.server_context()):
        provider = await connect(base_url=f"https://localhost:{peer.port}", ca_file=str(ca.ca_file))
        reports = Reports()
        sending = asyncio.ensure_future(provider.send([mail_message()], reports))
        await peer.wait_for_requests(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert reports.counts() == {Outcome.UNKNOWN: 1}


@pytest.mark.parametrize(
    "change",
    [
        {"region": "Frankfurt"},
        {"from_address": "a\r\n@example.com"},
        {"base_url": "http://email.example.com"},
        {"tags": {"a b": "c"}},
        {"tags": {"clarion_delivery_id": "c"}},
        {"timeout_seconds": 90},
        {"colour": "red", "secret_access_key": "secret-canary"},
    ],
    ids=["region", "sender", "plain http", "tag", "tag of ours", "timeout", "unknown"],
)
async def test_faulty_settings_are_named_without_the_secret(door: Practice, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        await Factory().connect(json.dumps(document(door) | change).encode(), NoReceipts())
    assert "secret-canary" not in str(caught.value)


async def test_events_come_back_signed_and_name_their_delivery(door: Practice, connect: Connect) -> None:
    await send_callbacks_to(door, {"ses": f"{door.receiver.url}/ses"})
    cases = {
        "hard": (Receipt.UNDELIVERED, {News.HARD_BOUNCE}),
        "full": (Receipt.UNDELIVERED, {News.SOFT_BOUNCE}),
        "complaint": (Receipt.DELIVERED, {News.ARRIVED, News.COMPLAINT}),
        "delayed": (Receipt.DELIVERED, {News.ARRIVED}),
        "clicked": (Receipt.CLICKED, {News.ARRIVED}),
        "reversed": (Receipt.SEEN, {News.ARRIVED}),
    }
    messages = {code: mail_message(mailbox(code)) for code in cases}
    doubled = mail_message(mailbox("twice"))
    await send(await connect(), *messages.values(), doubled)
    # A confirmation, then Send and what followed: 2 + 2 + 3 + 3 + 4 + 3, and 2 events twice.
    envelopes = [parse(call.body) for call in await door.receiver.to("/ses", 1 + 17 + 4)]
    certificate = door.account("ses")["sns_certificate"].encode()
    for envelope in envelopes:
        verify(envelope, certificate, datetime.now(UTC))
        assert certificate_url(envelope).startswith("https://sns.eu-west-1.amazonaws.com/")
    [confirmation] = [envelope for envelope in envelopes if envelope.kind is Kind.SUBSCRIPTION]
    assert confirmation_url(confirmation, {door.account("ses")["topic_arn"]})
    found = [receipt for envelope in envelopes for receipt in receipts(envelope)]
    for code, message in messages.items():
        told = [each for each in found if each.delivery_id == message.delivery_id]
        highest = max(each.receipt for each in told if each.receipt is not None)
        assert (highest, {each.news for each in told} - {None}) == cases[code]
    again = [receipt.receipt for receipt in found if receipt.delivery_id == doubled.delivery_id]
    assert (again.count(None), again.count(Receipt.DELIVERED), len(again)) == (2, 2, 4)
