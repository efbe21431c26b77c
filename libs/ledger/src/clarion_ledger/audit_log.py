"""The log of administrative acts: who did what to what, before and after, in one hash chain.

An entry is written in the transaction of its act, so there is none without the other. Its hash covers all its fields and
the hash of the entry before it (`ledger.audit_append`); `Chain` computes the same on its own. Whoever changes, removes,
inserts or reorders entries breaks the chain, unless they compute all later hashes anew, or cut off its end: against that
helps a head that was noted elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from clarion_kit.rpc.caller import Caller, current_caller
from clarion_kit.telemetry.tracing import current_traceparent
from clarion_ledger.db import Connection, Pool, connection

GENESIS = bytes(32)
"""What the first entry goes on from."""
MAX_STATE_BYTES = 64 << 10
"""Of `before` and of `after`; what is larger is recorded by its digest."""
MAX_TARGET = 256
_DATABASE = "database"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

State: TypeAlias = Mapping[str, object]
"""What something is like, as JSON: only what is named gets in, and no secret or personal data may be named."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An act. `app_id`: whose it concerns, 0: the whole mesh. `actor_key` empty: somebody with the database's password;
    `daemon:<name>`: what a daemon found to have been done. `before` and `after` are JSON, or empty."""

    seq: int
    at: datetime
    app_id: int
    actor_app: int
    actor_key: str
    act: str
    target: str
    before: str
    after: str
    trace_id: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry, and the one that the oldest kept entry goes on from (0 and `GENESIS` while all are kept)."""

    seq: int
    hash: bytes
    base_seq: int
    base_hash: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold. `seq`: the first entry that does not fit."""

    seq: int
    what: str


class Chain:
    """Follows the chain from `base` entry by entry; `found` is its first break.

    `since`: a head noted earlier, which must be met; `met` tells.
    """

    def __init__(self, base_seq: int = 0, base_hash: bytes = GENESIS, since: bytes | None = None) -> None:
        self.seq = base_seq
        self.hash = base_hash
        self.count = 0
        self.found: Break | None = None
        self.met = since is None or since == base_hash
        self._since = since

    def follow(self, entries: Iterable[Entry]) -> None:
        """Entries in the order of their numbers."""
        for entry in entries:
            if self.found is not None:
                return
            if entry.seq != self.seq + 1:
                self.found = Break(self.seq + 1, f"is missing; {entry.seq} comes next")
            elif entry.hash != hash_of(entry, self.hash):
                self.found = Break(entry.seq, "does not fit its hash: it was changed, moved or put in")
            else:
                self.seq, self.hash = entry.seq, entry.hash
                self.count += 1
                self.met = self.met or entry.hash == self._since

    def end(self, head: Head) -> None:
        """The chain must end where the ledger says so."""
        if self.found is None and (self.seq, self.hash) != (head.seq, head.hash):
            self.found = Break(self.seq + 1, f"is missing: the log should go to {head.seq}")
        if self.found is None and not self.met:
            self.found = Break(
                self.seq + 1, "the head noted earlier is not in the log: its end was cut off or made anew"
            )


def hash_of(entry: Entry, former: bytes) -> bytes:
    """SHA-256 of the former hash and of every field as "<bytes>:<field>"."""
    micros = (entry.at - _EPOCH) // timedelta(microseconds=1)
    fields = (
        *(str(number) for number in (entry.seq, micros, entry.app_id, entry.actor_app)),
        *(entry.actor_key, entry.act, entry.target, entry.before, entry.after, entry.trace_id),
    )
    digest = hashlib.sha256(former)
    for field in fields:
        data = field.encode()
        digest.update(b"%d:%b" % (len(data), data))
    return digest.digest()


def state_of(message: Message) -> State:
    """A message of the contract as a state; only for those without secrets and personal data."""
    return MessageToDict(message, preserving_proto_field_name=True)


async def record(
    db: Connection, act: str, app_id: int, target: str, *, before: State | None = None, after: State | None = None
) -> None:
    """Append an act of the current caller, within the caller's transaction and as its last statement: until it ends,
    nobody else appends. Raises what the driver raises."""
    caller = _caller()
    await db.execute(
        "SELECT ledger.audit_append($1, $2, $3, $4, $5, $6, $7, $8)",
        act,
        app_id,
        caller.app_id,
        caller.key,
        target.replace("\0", "")[:MAX_TARGET],
        _json(before),
        _json(after),
        current_traceparent()[3:35],
    )


async def page(
    pool: Pool, *, app_id: int | None = None, after: int = 0, before: int | None = None, size: int
) -> tuple[list[Entry], Head]:
    """At most `size` entries, and the head of the same moment: the oldest with a number above `after`, or, with `before`, the
    newest below it. Raises LedgerUnavailable."""
    order = "ASC" if before is None else "DESC"
    async with connection(pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
        rows = await db.fetch(
            f"""SELECT * FROM ledger.audit_log
                WHERE seq > $1 AND seq < $2 AND ($3::int4 IS NULL OR app_id = $3)
                ORDER BY seq {order} LIMIT $4""",
            after,
            before if before is not None else (1 << 63) - 1,
            app_id,
            size,
        )
        head = await db.fetchrow("SELECT seq, hash, base_seq, base_hash FROM ledger.audit_head")
    if head is None:
        raise RuntimeError("the audit log has no head")
    return [_entry(row) for row in rows], Head(head["seq"], head["hash"], head["base_seq"], head["base_hash"])


def is_called() -> bool:
    """Whether this runs in a call, not in a job of a daemon's own."""
    return _caller().daemon != _DATABASE


def _caller() -> Caller:
    try:
        return current_caller()
    except LookupError:
        return Caller(_DATABASE)


def _json(state: State | None) -> str:
    if state is None:
        return ""
    text = json.dumps(state, sort_keys=True, ensure_ascii=True, default=str)
    if len(text) <= MAX_STATE_BYTES:
        return text
    return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text)})


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        seq=row["seq"],
        at=row["at"],
        app_id=row["app_id"],
        actor_app=row["actor_app"],
        actor_key=row["actor_key"],
        act=row["act"],
        target=row["target"],
        before=row["before"],
        after=row["after"],
        trace_id=row["trace_id"],
        hash=row["hash"],
    )
