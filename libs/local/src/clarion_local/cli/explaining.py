"""`clarion explain`."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion.types.v1 import channel_pb2
from clarion_client import Content, Mail, Notification, Push
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.options import ChannelName, json_object
from clarion_local.cli.output import facts, table, to_json

_GATE_COLUMNS = ("gate", "verdict", "reason", "rule")
_ROUTE_COLUMNS = ("account", "serves", "why")


@connected(Identity.APP)
def explain(
    session: Session,
    notification_id: Annotated[str, typer.Argument(metavar="[ID]", help="What became of this one.")] = "",
    to: Annotated[list[str] | None, typer.Option(metavar="ID", help="Instead: what would become, for whom.")] = None,
    category: Annotated[str, typer.Option(metavar="NAME", help="Category of the app.")] = "",
    template: Annotated[str, typer.Option(metavar="NAME", help="Template to render.")] = "",
    data: Annotated[str, typer.Option(metavar="JSON", help="Values of its variables, a JSON object.")] = "",
    title: Annotated[str, typer.Option(help="Push: headline.")] = "",
    sms: Annotated[str, typer.Option(metavar="TEXT", help="Text message.")] = "",
    subject: Annotated[str, typer.Option(help="Mail: subject.")] = "",
    text: Annotated[str, typer.Option(help="Mail: plain text.")] = "",
    channel: Annotated[list[ChannelName] | None, typer.Option(help="Only this channel; several in order.")] = None,
) -> None:
    """Tell why somebody gets a notification or does not, gate by gate. Sends nothing."""
    if bool(notification_id) == bool(to):
        raise UsageFault("give the id of a notification, or --to and what would be sent")
    if notification_id:
        answer = session.client.explain(notification_id=notification_id)
    else:
        content = Content(
            push=Push(title=title) if title else None,
            sms=sms or None,
            mail=Mail(subject=subject, text=text) if subject else None,
        )
        try:
            notification = Notification(
                recipients=to or [],
                category=category,
                template=template,
                data=json_object(data, "--data") if data else {},
                content=content if title or sms or subject else None,
                channels=[name.channel for name in channel or ()],
            )
        except ValueError as fault:
            raise UsageFault(str(fault)) from None
        answer = session.client.explain(notification)
    if session.out.as_json:
        session.out.document(to_json(answer))
    elif not answer.explanations:
        session.out.note("it is not planned yet")
    else:
        session.out.show(Group(*(_shown(one) for one in answer.explanations)))


def _shown(one: pb.Explanation) -> RenderableType:
    gates = [
        (
            _word(state_pb2.Gate.Name(gate.gate), "GATE_"),
            _word(state_pb2.Verdict.Name(gate.verdict), "VERDICT_") if gate.verdict else "not reached",
            _word(state_pb2.Reason.Name(gate.reason), "REASON_") if gate.reason else "",
            gate.rule,
        )
        for gate in one.gates
    ]
    routes = [(route.provider, "yes" if route.chosen else "", route.why) for route in one.routes]
    shown: dict[str, str] = {
        "channel": _word(channel_pb2.Channel.Name(one.channel), "CHANNEL_"),
        "state": _word(state_pb2.DeliveryState.Name(one.state), "DELIVERY_STATE_"),
        "reason": _word(state_pb2.Reason.Name(one.reason), "REASON_") if one.reason else "",
        "account": one.provider,
        "step": str(one.step) if one.step else "",
        "again at": views.moment(one.due_at if one.HasField("due_at") else None),
        "content": _content(one),
    }
    who = one.recipient_id or one.recipient_ref
    return Group(facts(who, shown), table("gates", _GATE_COLUMNS, gates), table("accounts", _ROUTE_COLUMNS, routes))


def _content(one: pb.Explanation) -> str:
    content = one.content
    if content.HasField("push"):
        return content.push.title or content.push.body
    return content.sms.text or content.mail.subject


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")
