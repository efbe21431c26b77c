"""`clarion send`."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import ChannelMode, Content, Mail, Notification, Push
from clarion_client.notification import new_event_id
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import REFUSED, UsageFault
from clarion_local.cli.following import whole
from clarion_local.cli.options import AHEAD, ChannelName, PriorityName, WindowOption, json_object
from clarion_local.cli.output import to_json

_POLL_SECONDS = 0.2


@connected(Identity.APP)
def send(
    session: Session,
    to: Annotated[list[str], typer.Option(metavar="ID", help="Recipient; may be given up to 100 times.")],
    category: Annotated[str, typer.Option(metavar="NAME", help="Category of the app.")],
    template: Annotated[str, typer.Option(metavar="NAME", help="Template to render.")] = "",
    version: Annotated[int, typer.Option(min=0, help="Its version; 0: the published one.")] = 0,
    data: Annotated[str, typer.Option(metavar="JSON", help="Values of its variables, a JSON object.")] = "",
    locale: Annotated[str, typer.Option(metavar="BCP47", help="Locale instead of the recipient's.")] = "",
    title: Annotated[str, typer.Option(help="Push: headline.")] = "",
    body: Annotated[str, typer.Option(help="Push: text.")] = "",
    link: Annotated[str, typer.Option(metavar="URL", help="Push: where a tap leads.")] = "",
    sms: Annotated[str, typer.Option(metavar="TEXT", help="Text message.")] = "",
    subject: Annotated[str, typer.Option(help="Mail: subject.")] = "",
    text: Annotated[str, typer.Option(help="Mail: plain text.")] = "",
    html: Annotated[str, typer.Option(help="Mail: HTML.")] = "",
    channel: Annotated[
        list[ChannelName] | None, typer.Option(help="Only this channel; several in order of preference.")
    ] = None,
    priority: Annotated[PriorityName, typer.Option(help="How pressing it is.")] = PriorityName.NORMAL,
    at: Annotated[
        datetime | None,
        typer.Option(parser=AHEAD, metavar="IN|TIME", help="Not before: 10m, or ISO 8601 with an offset."),
    ] = None,
    expire: Annotated[
        datetime | None,
        typer.Option(parser=AHEAD, metavar="IN|TIME", help="Not after: 1h, or ISO 8601 with an offset."),
    ] = None,
    at_local: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M"], help="Not before this time by each recipient's clock."),
    ] = None,
    window: WindowOption = None,
    escalate_seconds: Annotated[
        float, typer.Option("--escalate", min=0, metavar="SECONDS", help="One channel after the other, so far apart.")
    ] = 0.0,
    digest: Annotated[str, typer.Option(metavar="KEY", help="Gather with others of this key into one.")] = "",
    event_id: Annotated[
        str, typer.Option(metavar="ID", help="Your id of the event: sending it again changes nothing.")
    ] = "",
    trace: Annotated[bool, typer.Option("--trace", help="Have this notification traced.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show its deliveries until all have ended.")] = False,
    wait_seconds: Annotated[
        float, typer.Option("--wait-limit", min=0, metavar="SECONDS", help="Longest wait; exit 1 when it passes.")
    ] = 60.0,
) -> None:
    """Send one notification. Its template, or content per channel, and who gets it."""
    content = content_of(title, body, link, sms, subject, text, html)
    try:
        notification = Notification(
            recipients=to,
            category=category,
            event_id=event_id or new_event_id(),
            template=template,
            template_version=version,
            data=json_object(data, "--data") if data else {},
            locale=locale,
            content=content,
            channels=[name.channel for name in channel or ()],
            priority=priority.priority,
            deliver_at=at,
            deliver_at_local=at_local,
            send_window=window,
            expire_at=expire,
            channel_mode=ChannelMode.ESCALATE if escalate_seconds else ChannelMode.ALL,
            escalate_after=timedelta(seconds=escalate_seconds) if escalate_seconds else None,
            digest_key=digest,
        ).to_proto()
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    sent = session.client.send(notification, trace=trace)
    out = session.out
    receipt = {"event_id": sent.event_id, "notification_id": sent.notification_id, "duplicate": sent.duplicate}
    if sent.trace_id:
        receipt["trace_id"] = sent.trace_id
    if not wait:
        if out.as_json:
            out.document(receipt)
        else:
            out.show(_receipt(sent.notification_id, sent.duplicate, sent.trace_id))
        return
    if not out.as_json:
        out.note(_receipt(sent.notification_id, sent.duplicate, sent.trace_id))
    answer = _last_of(session, sent.notification_id, wait_seconds)
    if out.as_json:
        out.document({**receipt, **to_json(answer)})
    if answer.notification.state not in views.ENDED:
        out.note(f"still in flight after {wait_seconds:g} s; it goes on: clarion get {sent.notification_id}")
        raise typer.Exit(REFUSED)


def content_of(title: str, body: str, link: str, sms: str, subject: str, text: str, html: str) -> Content | None:
    """The content that options name, None where they name none. Raises UsageFault."""
    if (text or html) and not subject:
        raise UsageFault("a mail needs --subject")
    if subject and not text:
        raise UsageFault("a mail needs --text, beside --html too")
    push = Push(title=title, body=body, link=link) if title or body or link else None
    mail = Mail(subject=subject, text=text, html=html) if subject else None
    if push is None and not sms and mail is None:
        return None
    return Content(push=push, sms=sms or None, mail=mail)


def _receipt(notification_id: str, duplicate: bool, trace_id: str) -> str:
    known = " (known before: nothing new was stored)" if duplicate else ""
    return f"{notification_id} is durable{known}" + (f", trace {trace_id}" if trace_id else "")


def _last_of(session: Session, notification_id: str, limit_seconds: float) -> pb.GetResponse:
    answer = pb.GetResponse()
    with session.out.live() as draw:
        for answer in _looks(session, notification_id, limit_seconds):
            if not session.out.as_json:
                draw(whole(answer))
    return answer


def _looks(session: Session, notification_id: str, limit_seconds: float) -> Iterator[pb.GetResponse]:
    ends = time.monotonic() + limit_seconds
    while True:
        answer = session.client.get(notification_id)
        yield answer
        if answer.notification.state in views.ENDED or time.monotonic() >= ends:
            return
        time.sleep(_POLL_SECONDS)
