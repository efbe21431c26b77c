"""Every column that holds sealed values: where it is, whose key sealed it, how long it lives.

What lives long is sealed again when a data key is rotated; the rest ages out. A test compares this list with the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Row(Protocol):
    """A row, by the names of its columns."""

    def __getitem__(self, name: str, /) -> object: ...


Owner: TypeAlias = Callable[[Row], bytes]


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column that lives long. `key`: the primary key's columns with their types. `place` and `owner` are what
    `AppSealer.open` asks for; `owner` reads `owner_columns` of a row."""

    table: str
    column: str
    key: Mapping[str, str]
    place: tuple[str, str]
    owner_columns: tuple[str, ...]
    owner: Owner


@dataclass(frozen=True, slots=True)
class FleetingColumn:
    """A column whose rows retention drops. `app` is how a row `v` finds its app: a join, or nothing where the row has it."""

    table: str
    column: str
    app: str = ""
    app_id: str = "v.app_id"


def _id(column: str) -> Owner:
    return lambda row: bytes.fromhex(str(row[column]).replace("-", ""))


def _text(column: str) -> Owner:
    return lambda row: str(row[column]).encode()


_ADDRESS = {"address_id": "uuid"}
_LISTED = {"address_id": "uuid", "reason": "int2"}
_NAMED = {"app_id": "int4", "name": "text"}

LASTING = (
    SealedColumn("preference.address", "sealed", _ADDRESS, ("address", "address"), (), _id("address_id")),
    SealedColumn("preference.address", "facts", _ADDRESS, ("address", "facts"), (), _id("address_id")),
    SealedColumn("preference.suppression", "sealed", _LISTED, ("address", "address"), (), _id("address_id")),
    SealedColumn("preference.suppression", "note", _LISTED, ("suppression", "note"), (), _id("address_id")),
    SealedColumn(
        "preference.recipient",
        "attributes",
        {"app_id": "int4", "recipient_ref": "uuid"},
        ("recipient", "attributes"),
        (),
        _id("recipient_ref"),
    ),
    SealedColumn("ledger.lane", "settings", {"lane_id": "int4"}, ("lane", "settings"), ("name",), _text("name")),
    SealedColumn(
        "ledger.schedule",
        "payload",
        {"notification_id": "uuid"},
        ("notification", "payload"),
        ("event_id",),
        _text("event_id"),
    ),
    *(
        SealedColumn("ledger.webhook", column, {"webhook_id": "int4"}, ("webhook", column), ("name",), _text("name"))
        for column in ("url", "secret", "former_secret")
    ),
    SealedColumn("ledger.recurring", "body", _NAMED, ("recurring", "body"), (), _text("name")),
    SealedColumn(
        "ledger.broadcast",
        "payload",
        {"broadcast_id": "uuid"},
        ("broadcast", "payload"),
        ("event_id",),
        _text("event_id"),
    ),
)
_OF_DELIVERY = "JOIN ledger.delivery p ON p.id = v.id"
FLEETING = (
    FleetingColumn("ledger.notification_body", "payload", "JOIN ledger.notification p ON p.id = v.id", "p.app_id"),
    FleetingColumn("ledger.delivery_body", "address", _OF_DELIVERY, "p.app_id"),
    FleetingColumn("ledger.delivery_body", "content", _OF_DELIVERY, "p.app_id"),
    FleetingColumn("tracking.inbound", "body"),
)
