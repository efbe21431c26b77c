"""`clarion migrate`."""

import asyncio
import os
from dataclasses import asdict

import asyncpg
import typer

from clarion_local.cli.command import command
from clarion_local.cli.failures import Unreachable, UsageFault
from clarion_local.cli.output import Output, facts

VARIABLE = "CLARION_DATABASE_URL"
NATS_VARIABLE = "CLARION_NATS_URL"
CONNECT_SECONDS = 10

app = typer.Typer(help="The database's schema and the bus's streams; run by whoever installs the mesh.")


@app.callback(invoke_without_command=True)
@command
def migrate(out: Output, context: typer.Context) -> None:
    """Bring CLARION_DATABASE_URL to the newest version; with CLARION_NATS_URL also create or update the streams.

    The URL is that of the schema's owner. Safe to repeat, and to run twice at once.
    """
    if context.invoked_subcommand is not None:
        return
    # Imported here: alembic costs a second that other commands need not pay (measured).
    from clarion_ledger import migrate as history

    url = _url()
    asyncio.run(_reach(url))
    before = history.status(url)
    history.upgrade(url)
    nats_url = os.environ.get(NATS_VARIABLE, "")
    if nats_url:
        asyncio.run(_topology(nats_url))
    if out.as_json:
        out.document(
            {"before": before.current, "now": before.head, "applied": before.pending, "streams": bool(nats_url)}
        )
        return
    steps = f"applied {', '.join(before.pending)}" if before.pending else "nothing to do"
    out.show(f"version {before.head}, {steps}" + ("; streams are in place" if nats_url else ""))


@app.command()
@command
def status(out: Output) -> None:
    """Show where the database stands; changes nothing."""
    from clarion_ledger import migrate as history

    url = _url()
    asyncio.run(_reach(url))
    found = history.status(url)
    if out.as_json:
        out.document(asdict(found))
        return
    pending = ", ".join(found.pending) or "nothing"
    out.show(facts("", {"version": found.current or "empty", "newest": found.head, "to apply": pending}))


async def _topology(nats_url: str) -> None:
    from clarion_local.cli.lanes import bus_of

    async with bus_of(nats_url, os.environ) as bus:
        await bus.ping()
        await bus.ensure_topology()


def _url() -> str:
    url = os.environ.get(VARIABLE, "")
    if not url:
        raise UsageFault(f"{VARIABLE} is not set: the URL of the schema's owner")
    if not url.startswith(("postgresql://", "postgres://")):
        raise UsageFault(f"{VARIABLE} must start with postgresql://")
    return url


async def _reach(url: str) -> None:
    """Raise Unreachable or UsageFault unless the database lets us in: the migrations themselves would wait for ever."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as refused:
        raise UsageFault(f"{VARIABLE}: {refused}") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as away:
        raise Unreachable(f"the database does not answer: {str(away) or type(away).__name__}") from None
    await connection.close()
