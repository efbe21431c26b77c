"""SendGrid as the sandbox plays it. Expected classes are typed from SendGrid's documentation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ValidationError

from clarion.internal.content.v1.rendered_pb2 import RenderedMail
from clarion.types.v1.address_pb2 import Address
from clarion_channels.mail.frame import frame_sha256
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable
from clarion_channels.providers.sendgrid import Factory, SendGridProvider
from clarion_channels.providers.sendgrid.receipts import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    parse,
    parse_key,
    verify,
)
from clarion_channels.receipt import News
from clarion_kit.vocabulary import Receipt

from .h2_peer import Peer, make_ca, serve
from .mail_messages import (
    OTHER_FRAME,
    Frames,
    NoReceipts,
    accepted,
    lines,
    literal,
    mail_message,
    mailbox,
    send_callbacks_to,
)
from .push_messages import Reports, push_message
from .sandbox_door import Practice, practice

pytestmark = pytest.mark.asyncio(loop_scope="module")

Connect = Callable[..., Awaitable[SendGridProvider]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    async with practice(tmp_path_factory.mktemp("sendgrid")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def connect(door: Practice) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(**changes: object) -> SendGridProvider:
            settings = json.dumps(document(door) | changes).encode()
            provider = await Factory().with_frames(Frames()).connect(settings, NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start


def document(door: Practice) -> dict[str, object]:
    account = door.account("sendgrid")
    return {
        "api_key": account["api_key"],
        "base_url": account["url"],
        "from_address": "shop@example.com",
        "from_name": "The Shop, Ltd",
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


async def send(provider: SendGridProvider, *messages: Message) -> list[Result]:
    reports = Reports()
    await provider.send(messages, reports)
    return [reports.results[message.delivery_id] for message in messages]


def received(door: Practice, message: Message) -> EmailMessage:
    number = accepted(door, message)["n"]
    assert isinstance(number, int)
    arrival = door.sandbox.ledger.arrival(number)
    assert arrival is not None
    parsed = message_from_bytes(arrival.content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def body(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").rstrip()


async def test_a_thousand_mails_of_one_frame_are_one_request_each_with_its_own_values(
    door: Practice, connect: Connect
) -> None:
    messages = [mail_message(name=f"Zoë {number}", subject=f"Grüße {number}") for number in range(1000)]
    results = await send(await connect(), *messages)
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    ids = [result.provider_message_id for result in results]
    assert len(set(ids)) == 1000
    assert len({one.partition(".")[0] for one in ids}) == 1
    for number in (0, 7, 999):
        assert accepted(door, messages[number])["message_id"] == ids[number]
        mail = received(door, messages[number])
        assert mail["Subject"] == f"Grüße {number}"
        assert body(mail, "plain") == f"Hello Zoë {number},\nyour order is here."
        assert body(mail, "html") == f"<p>Hello <b>Zoë {number}</b></p>"
        assert mail["Message-ID"] == f"<{messages[number].delivery_id}@example.com>"


async def test_alone_or_with_others_a_mail_says_the_same(door: Practice, connect: Connect) -> None:
    provider = await connect()
    pixel = RenderedMail(
        subject="Hi",
        frame_sha256=mail_message().content.mail.frame_sha256,
        slots=["Ann", "Ann"],
        open_pixel_url="https://t.example/o?a=1&b=2",
    )
    alone, first, second = (mail_message(mail=pixel) for _ in range(3))
    await send(provider, alone)
    await send(provider, first, second)
    digests = {str(accepted(door, message)["digest"]) for message in (alone, first, second)}
    assert len(digests) == 1
    assert 'src="https://t.example/o?a=1&amp;b=2"' in body(received(door, second), "html")


async def test_frames_literals_and_doubled_recipients_share_no_request(door: Practice, connect: Connect) -> None:
    bye = RenderedMail(subject="Bye", frame_sha256=frame_sha256(OTHER_FRAME), slots=["Anna"])
    to = mailbox()
    messages = [
        mail_message(to),
        mail_message(to.upper().replace("@EXAMPLE.ORG", "@example.org")),
        mail_message(mail=bye),
        mail_message(mail=literal()),
        mail_message(mail=literal()),
    ]
    results = await send(await connect(), *messages)
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    requests = [result.provider_message_id.partition(".")[0] for result in results]
    assert len(set(requests)) == 4
    assert requests[3] == requests[4], "literal mails of the same content share one"


# Row of the sandbox: the class typed from SendGrid's documentation of responses.
ANSWERS = [
    ("4000", Outcome.BAD, "400:personalizations.to.email"),
    ("4001", Outcome.BAD, "400"),
    ("4010", Outcome.CRED, "401"),
    ("4030", Outcome.CRED, "403:from"),
    ("4031", Outcome.CRED, "403"),
    ("4040", Outcome.BAD, "404"),
    ("4050", Outcome.BAD, "405"),
    ("4130", Outcome.BAD, "413"),
    ("4150", Outcome.BAD, "415"),
    ("4290", Outcome.THROTTLE, "429"),
    ("4291", Outcome.THROTTLE, "429"),
    ("5000", Outcome.RETRY, "500"),
    ("5030", Outcome.RETRY, "503"),
    ("lost", Outcome.UNKNOWN, "local:no_answer"),
    ("lostcut", Outcome.UNKNOWN, "local:no_answer"),
    ("hang", Outcome.UNKNOWN, "local:no_answer"),
    ("cut", Outcome.UNKNOWN, "local:no_answer"),
]


@pytest.mark.parametrize(("code", "outcome", "said"), ANSWERS, ids=[answer[0] for answer in ANSWERS])
async def test_every_answer_of_sendgrid_has_its_class(connect: Connect, code: str, outcome: Outcome, said: str) -> None:
    provider = await connect(timeout_seconds=0.7 if code in ("lost", "hang") else 5)
    [result] = await send(provider, mail_message(mailbox(code)))
    assert (result.outcome, result.code) == (outcome, said)


async def test_the_reset_of_the_rate_limit_is_a_floor(connect: Connect) -> None:
    with_reset, without = [
        (await send(await connect(), mail_message(mailbox(code))))[0].retry_after for code in ("4290", "4291")
    ]
    assert with_reset is not None
    assert timedelta(seconds=1) < with_reset <= timedelta(seconds=3)
    assert without is None


async def test_a_named_culprit_is_refused_and_the_others_go_again(door: Practice, connect: Connect) -> None:
    bad = mail_message(mailbox("4000"))
    good = [mail_message() for _ in range(20)]
    results = await send(await connect(), *good[:13], bad, *good[13:])
    assert [result.outcome for result in results].count(Outcome.ACCEPTED) == 20
    assert results[13].outcome is Outcome.BAD
    assert {len(lines(door, message)) for message in good} == {1}, "nobody got it twice"


async def test_a_culprit_that_is_not_named_is_found_by_halves(door: Practice, connect: Connect) -> None:
    bad = mail_message(mailbox("4001"))
    good = [mail_message() for _ in range(20)]
    results = await send(await connect(), bad, *good)
    assert [result.outcome for result in results] == [Outcome.BAD, *[Outcome.ACCEPTED] * 20]
    assert {len(lines(door, message)) for message in good} == {1}


async def test_an_answer_that_is_lost_is_unknown_for_all_its_mails(door: Practice, connect: Connect) -> None:
    messages = [mail_message(mailbox("lostcut")), *(mail_message() for _ in range(4))]
    results = await send(await connect(), *messages)
    assert {result.outcome for result in results} == {Outcome.UNKNOWN}
    assert all(accepted(door, message) for message in messages)


async def test_wrong_key_stops_the_lane_and_fails_the_probe(connect: Connect) -> None:
    provider = await connect(api_key="SG.wrong")
    assert [result.outcome for result in await send(provider, mail_message(), mail_message())] == [Outcome.CRED] * 2
    with pytest.raises(ProviderUnavailable, match="401"):
        await provider.probe()


async def test_probe_sends_nothing(door: Practice, connect: Connect) -> None:
    await (await connect()).probe()
    last = json.loads(door.sandbox.ledger.read(0, 10_000).splitlines()[-1])
    assert last["accepted"] is False


async def test_sandbox_mode_has_mails_checked_and_not_sent(door: Practice, connect: Connect) -> None:
    message = mail_message()
    [result] = await send(await connect(sandbox_mode=True), message)
    assert (result.outcome, result.code) == (Outcome.ACCEPTED, "200")
    assert not any(line["accepted"] for line in lines(door, message))


async def test_what_cannot_be_a_mail_is_refused_here_and_the_others_are_sent(connect: Connect) -> None:
    results = await send(
        await connect(),
        mail_message(),
        mail_message(mail=RenderedMail(subject="a\r\nBcc: x@example.org", literal=literal().literal)),
        mail_message(mail=RenderedMail(subject="no slots", frame_sha256=mail_message().content.mail.frame_sha256)),
        mail_message(mail=RenderedMail(subject="unknown frame", frame_sha256=b"x" * 32)),
        mail_message(mail=RenderedMail(subject="empty")),
        push_message(Address()),
    )
    assert [(result.outcome, result.code) for result in results] == [
        (Outcome.ACCEPTED, "202"),
        (Outcome.BAD, "local:HeaderError"),
        (Outcome.BAD, "local:FrameMismatch"),
        (Outcome.RETRY, "local:frame_unavailable"),
        (Outcome.BAD, "local:FrameMismatch"),
        (Outcome.BAD, "local:not_for_mail"),
    ]


async def test_cancellation_reports_what_was_handed_over_as_unknown(connect: Connect, tmp_path: Path) -> None:
    ca, peer = make_ca(tmp_path), Peer(on_request=lambda stream: None)
    async with serve(peer, ca.server_context()):
        provider = await connect(base_url=f"https://localhost:{peer.port}", ca_file=str(ca.ca_file))
        reports = Reports()
        sending = asyncio.ensure_future(provider.send([mail_message(), mail_message()], reports))
        await peer.wait_for_requests(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert reports.counts() == {Outcome.UNKNOWN: 2}


@pytest.mark.parametrize(
    "change",
    [
        {"api_key": "secret-canary\r\nx: y"},
        {"from_address": "nobody"},
        {"base_url": "http://api.example.com"},
        {"max_personalizations": 1001},
        {"categories": ["a"] * 11},
        {"colour": "red"},
    ],
    ids=["key", "sender", "plain http", "personalizations", "categories", "unknown"],
)
async def test_faulty_settings_are_named_without_the_secret(door: Practice, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        await Factory().connect(json.dumps(document(door) | change).encode(), NoReceipts())
    assert "secret-canary" not in str(caught.value)


async def test_events_come_back_signed_and_name_their_delivery(door: Practice, connect: Connect) -> None:
    await send_callbacks_to(door, {"sendgrid": f"{door.receiver.url}/sendgrid"})
    cases = {
        "hard": (Receipt.UNDELIVERED, {News.HARD_BOUNCE}),
        "blocked": (Receipt.UNDELIVERED, {News.SOFT_BOUNCE}),
        "bounced": (Receipt.UNDELIVERED, {News.HARD_BOUNCE}),
        "unsubscribed": (Receipt.UNDELIVERED, {News.UNSUBSCRIBED}),
        "complaint": (Receipt.DELIVERED, {News.ARRIVED, News.COMPLAINT}),
        "delayed": (Receipt.DELIVERED, {News.ARRIVED}),
        "clicked": (Receipt.CLICKED, {News.ARRIVED}),
    }
    messages = {code: mail_message(mailbox(code)) for code in cases}
    doubled, turned = mail_message(mailbox("twice")), mail_message(mailbox("reversed"))
    await send(await connect(), *messages.values(), doubled, turned)
    # At once: four stages of those that travel alike, two stages twice, three stages reversed.
    calls = await door.receiver.to("/sendgrid", 4 + 4 + 3)
    key = parse_key(door.account("sendgrid")["event_public_key"])
    for call in calls:
        verify(key, call.headers[SIGNATURE_HEADER], call.headers[TIMESTAMP_HEADER], call.body, datetime.now(UTC))
    found = [receipt for call in calls for receipt in parse(call.body).receipts]
    for code, message in messages.items():
        told = [each for each in found if each.delivery_id == message.delivery_id]
        highest = max(each.receipt for each in told if each.receipt is not None)
        assert (highest, {each.news for each in told} - {None}) == cases[code]
    again = [receipt.receipt for receipt in found if receipt.delivery_id == doubled.delivery_id]
    assert (again.count(None), again.count(Receipt.DELIVERED), len(again)) == (2, 2, 4)
    order = [receipt.receipt for receipt in found if receipt.delivery_id == turned.delivery_id]
    assert order == [Receipt.SEEN, Receipt.DELIVERED, None]
