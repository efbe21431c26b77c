"""Header injection and SMTP smuggling: refused at the edge, or one mail with our headers to the one it was meant for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.policy import compat32
from email.utils import getaddresses

from clarion_client import (
    Attachment,
    Channel,
    ClarionError,
    Content,
    InvalidArgument,
    Mail,
    Notification,
    Push,
    Recipient,
    addresses,
)
from clarion_client.notification import new_event_id
from clarion_kit.vocabulary import DeliveryState
from clarion_preference.contact_points import mail_address

from .finding import Finding, Size
from .header_payloads import EVIL, OF_A_PUSH, OF_THE_ACCOUNT, Door, Payload, payloads
from .inbox import Inbox
from .stage import Stage
from .terminal import until_ended

_SHORT = 2
"""Of each door."""
_TEMPLATE = "headers"
_TOP = frozenset(
    {
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "list-unsubscribe",
        "list-unsubscribe-post",
    }
)
_PART = frozenset({"content-type", "content-transfer-encoding", "content-disposition", "content-id"})
_MAX_LINE = 998
_MAX_LEAVES = 3
"""A text, an HTML body, a file."""
_PNG = b"\x89PNG"


@dataclass(frozen=True, slots=True)
class _Sent:
    """A payload that the edge took, and whom it was meant for."""

    payload: Payload
    notification_id: str
    address: str


async def attack(stage: Stage, size: Size) -> Finding:
    """`notes` count what the edge refused, what was sent, and what ended before it was."""
    escapes: list[str] = []
    results: Counter[str] = Counter()
    inbox = Inbox(stage.attacker.practice, stage.https_context())
    before = await inbox.newest()
    every = payloads()
    chosen = every if size is Size.FULL else _some(stage, every)
    await _furnish(stage)
    sent = [
        one
        for number, payload in enumerate(chosen)
        if (one := await _try(stage, payload, number, results, escapes)) is not None
    ]
    ended = await until_ended(stage.attacker.client, [one.notification_id for one in sent])
    arrived = [entry for entry in await inbox.since(before) if entry.accepted]
    escapes += [f"{EVIL} got a message" for entry in arrived if entry.destination.rpartition("@")[2] == "evil.example"]
    for one in sent:
        states = {DeliveryState(delivery.state) for delivery in ended[one.notification_id]}
        mine = [entry for entry in arrived if entry.provider == "smtp" and entry.destination == one.address]
        results["sent" if states == {DeliveryState.SENT} else "ended"] += 1
        if one.payload.door in (*OF_A_PUSH, Door.SMS):
            continue
        if len(mine) != (states == {DeliveryState.SENT}):
            escapes.append(f"{_named(one.payload)}: {len(mine)} messages came of it")
        for entry in mine:
            found = _faults(await inbox.source(entry.n), one.address)
            escapes += [f"{_named(one.payload)}: {fault}" for fault in found]
    await _still_served(stage, escapes)
    return Finding("header", len(chosen), escapes, {key: results[key] for key in ("refused", "sent", "ended")})


async def _furnish(stage: Stage) -> None:
    content = Content(mail=Mail(subject="{{ v }}", text="{{ v }}", html="<p>{{ v }}</p>"))
    await stage.attacker.client.templates.put(_TEMPLATE, {"en": content}, sample_data={"v": "x"})


async def _try(stage: Stage, payload: Payload, number: int, results: Counter[str], escapes: list[str]) -> _Sent | None:
    try:
        if payload.door in OF_THE_ACCOUNT:
            await _put_account(stage, payload)
            sent = None
        else:
            sent = await _send(stage, payload, number)
    except InvalidArgument:
        results["refused"] += 1
        return None
    except ClarionError as other:
        escapes.append(f"{_named(payload)} was answered {other!r}")
        return None
    if payload.breaks:
        escapes.append(f"{_named(payload)} passed the edge")
    return sent


async def _send(stage: Stage, payload: Payload, number: int) -> _Sent:
    address = payload.text if payload.door is Door.ADDRESS else f"h{number}@headers.example"
    await stage.attacker.client.recipients.upsert(_recipient(stage, payload, f"h{number}", address))
    sent = await stage.attacker.client.send(_notification(payload, f"h{number}"))
    return _Sent(payload, sent.notification_id, mail_address(address) if payload.door is Door.ADDRESS else address)


async def _put_account(stage: Stage, payload: Payload) -> None:
    """Nothing is sent by it: it is gone at once."""
    field = "from_name" if payload.door is Door.FROM_NAME else "from_address"
    [account] = [one for one in stage.attacker.practice.accounts(stage.attacker.name) if one.kind == "smtp"]
    settings = {**account.settings, field: payload.text}
    await stage.operator.providers.put(stage.attacker.name, "headers", "smtp", settings, enabled=False)
    await stage.operator.providers.delete(stage.attacker.name, "headers")


def _recipient(stage: Stage, payload: Payload, recipient_id: str, address: str) -> Recipient:
    if payload.door is Door.BUNDLE_ID:
        device = addresses.ios("ab" * 30 + f"{int(recipient_id[1:]):04x}", bundle_id=payload.text)
        return Recipient(recipient_id=recipient_id, addresses=[device])
    if payload.door is Door.COLLAPSE_KEY:
        return stage.attacker.everywhere(recipient_id)
    if payload.door is Door.SMS:
        return Recipient(recipient_id=recipient_id, addresses=[addresses.phone("+821012345678")])
    name = payload.text if payload.door is Door.DISPLAY_NAME else ""
    return Recipient(recipient_id=recipient_id, addresses=[addresses.mail(address, display_name=name)])


def _notification(payload: Payload, recipient_id: str) -> Notification:
    door, text = payload.door, payload.text
    if door is Door.VARIABLE:
        return Notification(
            recipients=[recipient_id],
            category="transactional",
            template=_TEMPLATE,
            data={"v": text},
            channels=[Channel.EMAIL],
        )
    if door in OF_A_PUSH:
        return Notification(
            recipients=[recipient_id],
            category="transactional",
            content=Content(push=Push(title="t", body="b")),
            channels=[Channel.IOS, Channel.ANDROID, Channel.WEB] if door is Door.COLLAPSE_KEY else [Channel.IOS],
            collapse_key=text if door is Door.COLLAPSE_KEY else "",
        )
    if door is Door.SMS:
        return Notification(
            recipients=[recipient_id], category="transactional", content=Content(sms=text), channels=[Channel.SMS]
        )
    attachments = _files(payload)
    content_id = attachments[0].content_id if attachments else ""
    shown = f'<img src="cid:{content_id}">' if content_id == "logo" else ""
    mail = Mail(
        subject=text if door is Door.SUBJECT else "Hello",
        text=text if door is Door.TEXT else "text",
        html=text if door is Door.HTML else f"<p>html</p>{shown}",
    )
    return Notification(
        recipients=[recipient_id],
        category="transactional",
        content=Content(mail=mail),
        channels=[Channel.EMAIL],
        attachments=attachments,
        event_id=text if door is Door.EVENT_ID else new_event_id(),
    )


def _files(payload: Payload) -> Sequence[Attachment]:
    name, media_type, content_id = "logo.png", "image/png", "logo"
    match payload.door:
        case Door.FILE_NAME:
            name = payload.text
        case Door.MEDIA_TYPE:
            media_type = payload.text
        case Door.CONTENT_ID:
            content_id = payload.text
        case _:
            return ()
    return [Attachment(filename=name, content_type=media_type, content=_PNG, content_id=content_id)]


def _faults(source: str, address: str) -> Iterator[str]:
    """What of a mail is not ours, by its bytes."""
    lines = source.count("\r\n")
    if not source.isascii() or source.count("\n") != lines or source.count("\r") != lines:
        yield "holds bare line breaks or bytes beyond ASCII"
    if any(len(line) > _MAX_LINE for line in source.split("\r\n")):
        yield "holds a line over 998 bytes"
    mail = message_from_bytes(source.encode(), policy=compat32)
    names = [name.lower() for name in list(mail)]
    if strange := sorted({name for name in names if name not in _TOP or names.count(name) > 1}):
        yield f"has header fields that are not ours: {strange}"
    if [found for _, found in getaddresses(mail.get_all("to", []))] != [address]:
        yield f"is addressed to {mail.get_all('to')}"
    subject = str(make_header(decode_header(str(mail["subject"] or "").replace("\r\n", ""))))
    if any(mark in subject for mark in "\r\n\0"):
        yield "has a subject that breaks its line once it is decoded"
    parts = [part for part in mail.walk() if part is not mail]
    for part in parts:
        if strange := sorted({name.lower() for name in list(part)} - _PART):
            yield f"has a part with the fields {strange}"
    if any(part.defects for part in mail.walk()):
        yield "is no well-formed MIME"
    if len(_leaves(mail)) > _MAX_LEAVES:
        yield f"has {len(_leaves(mail))} parts"


def _leaves(mail: Message) -> list[Message]:
    return [part for part in mail.walk() if not part.is_multipart()]


async def _still_served(stage: Stage, escapes: list[str]) -> None:
    """One that means no harm still goes out, on every connection that took part."""
    client = stage.attacker.client
    await client.recipients.upsert(stage.attacker.everywhere("h-last"))
    content = Content(push=Push(title="t", body="b"), sms="s", mail=Mail(subject="s", text="t"))
    sent = await client.send(recipients=["h-last"], category="transactional", content=content)
    ended = await until_ended(client, [sent.notification_id], planned=len(Channel))
    escapes += [
        f"a message of channel {delivery.channel} was not sent afterwards"
        for delivery in ended[sent.notification_id]
        if DeliveryState(delivery.state) is not DeliveryState.SENT
    ]


def _some(stage: Stage, every: Sequence[Payload]) -> list[Payload]:
    random = stage.random("header")
    return [payload for door in Door for payload in random.sample([one for one in every if one.door is door], _SHORT)]


def _named(payload: Payload) -> str:
    return f"{payload.text[:60]!r} as {payload.door.value}"
