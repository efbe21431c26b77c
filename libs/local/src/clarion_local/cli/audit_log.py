"""`clarion audit-log`: who changed what, and the proof that nobody changed what was written."""

from collections.abc import Iterator
from datetime import UTC
from itertools import islice
from typing import Annotated

import typer

from clarion.auditlog.v1 import audit_log_service_pb2 as pb
from clarion_client import Client
from clarion_ledger.audit_log import Chain, Entry, Head
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import REFUSED, UsageFault
from clarion_local.cli.output import facts, table, to_json

_PAGE = 500
_HASH_BYTES = 32

app = typer.Typer(no_args_is_help=True, help="Administrative acts. Needs a key with the scope admin.")


@app.command("list")
@connected(Identity.OPERATOR)
def list_(
    session: Session,
    of: Annotated[str, typer.Option("--of", metavar="APP", help="Only what concerns this app.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 50,
) -> None:
    """List acts, newest first. With --json one a line, with what was there before and after."""
    found = islice(_newest_first(session.client, of, min(limit, _PAGE)), limit)
    if session.out.as_json:
        for entry in found:
            session.out.line(to_json(entry))
        return
    rows = [
        (
            str(entry.seq),
            views.when(entry.at.ToDatetime(UTC)),
            entry.actor_key or "the database's owner",
            entry.act,
            entry.app or str(entry.app_id or ""),
            entry.target,
        )
        for entry in found
    ]
    session.out.show(table("", ("number", "at (UTC)", "who", "act", "app", "target"), rows))


@app.command("verify")
@connected(Identity.OPERATOR)
def verify(
    session: Session,
    since_head: Annotated[
        str, typer.Option(metavar="HASH", help="A head that an earlier run told: what led to it must be unchanged.")
    ] = "",
) -> None:
    """Compute the chain of all entries anew; exit 1 if one was changed, removed, put in or moved.

    Note the head that it tells elsewhere: whoever can write the database could cut off the end of the log, or write all of
    it anew, and only a head from before tells.
    """
    chain, head = _followed(session.client, _noted(since_head))
    chain.end(head)
    found = chain.found
    if session.out.as_json:
        session.out.document(
            {
                "entries": chain.count,
                "forgotten": head.base_seq,
                "head": chain.hash.hex(),
                "whole": found is None,
                "broken_at": None if found is None else found.seq,
                "what": "" if found is None else found.what,
            }
        )
    elif found is None:
        session.out.show(
            facts(
                "the audit log is whole",
                {"entries": str(chain.count), "forgotten": str(head.base_seq), "head": chain.hash.hex()},
            )
        )
    else:
        session.out.show(f"the audit log is broken: entry {found.seq} {found.what}")
    if found is not None:
        raise typer.Exit(REFUSED)


def _noted(text: str) -> bytes | None:
    if not text:
        return None
    try:
        noted = bytes.fromhex(text)
    except ValueError:
        noted = b""
    if len(noted) != _HASH_BYTES:
        raise UsageFault(f"--since-head: not a hash of {_HASH_BYTES * 2} hexadecimal digits")
    return noted


def _followed(client: Client, since: bytes | None) -> tuple[Chain, Head]:
    """The chain over everything there is, and where it should end."""
    page = client.audit_log.page(after=0, page_size=_PAGE)
    chain = Chain(page.head.base_seq, page.head.base_hash, since)
    while True:
        chain.follow(_read(entry) for entry in page.entries)
        if not page.more or chain.found is not None or not page.entries:
            return chain, Head(page.head.seq, page.head.hash, page.head.base_seq, page.head.base_hash)
        page = client.audit_log.page(after=page.entries[-1].seq, page_size=_PAGE)


def _newest_first(client: Client, of: str, size: int) -> Iterator[pb.AuditEntry]:
    before = 0
    while True:
        page = client.audit_log.page(app=of, before=before, page_size=size)
        yield from page.entries
        if not page.more or not page.entries:
            return
        before = page.entries[-1].seq


def _read(entry: pb.AuditEntry) -> Entry:
    return Entry(
        seq=entry.seq,
        at=entry.at.ToDatetime(UTC),
        app_id=entry.app_id,
        actor_app=entry.actor_app_id,
        actor_key=entry.actor_key,
        act=entry.act,
        target=entry.target,
        before=entry.before,
        after=entry.after,
        trace_id=entry.trace_id,
        hash=entry.hash,
    )
