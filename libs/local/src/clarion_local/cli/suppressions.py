"""`clarion suppressions`."""

from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from google.protobuf.descriptor import EnumDescriptor

from clarion.suppression.v1 import suppression_pb2 as pb
from clarion.types.v1 import address_pb2
from clarion_client import addresses
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.options import ChannelName
from clarion_local.cli.output import table, to_json

app = typer.Typer(no_args_is_help=True, help="Addresses that must not be used, whoever they belong to.")

COLUMNS = ("address", "channel", "reason", "said by", "since (UTC)", "note")
_PAGE = 500

_AddressArgument = Annotated[
    str,
    typer.Argument(metavar="ADDRESS", help="A phone number (+…), a mail address, or an iOS token with --channel ios."),
]
_ChannelOption = Annotated[
    ChannelName | None, typer.Option("--channel", help="Of the address, where its form does not say it.")
]


class ReasonName(StrEnum):
    """Reasons as they are typed."""

    APP = "app"
    STOP_WORD = "stop-word"
    COMPLAINT = "complaint"
    HARD_BOUNCE = "hard-bounce"
    SOFT_BOUNCES = "soft-bounces"
    UNSUBSCRIBED = "unsubscribed"

    @property
    def reason(self) -> pb.SuppressionReason.ValueType:
        return pb.SuppressionReason.Value(f"SUPPRESSION_REASON_{self.name}")


@app.command("list")
@connected(Identity.APP)
def list_(
    session: Session,
    channel: Annotated[ChannelName | None, typer.Option(help="Only this channel.")] = None,
    reason: Annotated[ReasonName | None, typer.Option(help="Only this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="At most so many.")] = 50,
) -> None:
    """List what is suppressed, latest first. With --json one entry a line."""
    entries = session.client.suppressions.list(
        channel=channel.channel if channel is not None else None,
        reason=reason.reason if reason is not None else pb.SUPPRESSION_REASON_UNSPECIFIED,
        page_size=min(limit, _PAGE),
    )
    found = islice(entries, limit)
    if session.out.as_json:
        for entry in found:
            session.out.line(to_json(entry))
        return
    session.out.show(table("", COLUMNS, [_row(entry) for entry in found]))


@app.command()
@connected(Identity.APP)
def add(
    session: Session,
    address: _AddressArgument,
    channel: _ChannelOption = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for people.")] = "",
) -> None:
    """Suppress an address: nothing is sent to it any more, critical categories included."""
    answer = session.client.suppressions.add(_address(address, channel), note=note)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show("suppressed")


@app.command()
@connected(Identity.APP)
def remove(session: Session, address: _AddressArgument, channel: _ChannelOption = None) -> None:
    """Take an address off the list, whatever put it there. Whoever sent STOP has to have agreed to that."""
    answer = session.client.suppressions.remove(_address(address, channel))
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show("not suppressed")


def _address(text: str, channel: ChannelName | None) -> address_pb2.Address:
    """Raises BadParameter for a form that says no channel."""
    match channel or _channel_of(text):
        case ChannelName.SMS:
            return addresses.phone(text)
        case ChannelName.EMAIL:
            return addresses.mail(text)
        case ChannelName.IOS:
            return addresses.ios(text)
        case ChannelName.ANDROID:
            return addresses.android(text)
        case ChannelName.WEB:
            return _subscription(text)


def _channel_of(text: str) -> ChannelName:
    if text.startswith("+"):
        return ChannelName.SMS
    if "@" in text:
        return ChannelName.EMAIL
    raise typer.BadParameter("say its --channel", param_hint="ADDRESS")


def _subscription(text: str) -> address_pb2.Address:
    try:
        return addresses.web(text)
    except ValueError as fault:
        raise typer.BadParameter(str(fault), param_hint="ADDRESS") from None


def _row(entry: pb.Suppressed) -> tuple[str, ...]:
    return (
        _shown(entry.address),
        views.channel(entry.channel),
        _word(pb.SuppressionReason.DESCRIPTOR, entry.reason, "SUPPRESSION_REASON_"),
        _word(pb.SuppressionSource.DESCRIPTOR, entry.source, "SUPPRESSION_SOURCE_"),
        views.moment(entry.since),
        entry.note,
    )


def _shown(address: address_pb2.Address) -> str:
    match address.WhichOneof("kind"):
        case "sms":
            return address.sms.e164
        case "email":
            return address.email.address
        case "ios":
            return address.ios.token
        case "android":
            return address.android.token
        case "web":
            return address.web.endpoint
    return "(removed)"


def _word(words: EnumDescriptor, number: int, prefix: str) -> str:
    """A word of the contract; one that a newer server knows is shown as its number."""
    known = words.values_by_number.get(number)
    return str(number) if known is None else known.name.removeprefix(prefix).lower().replace("_", " ")
