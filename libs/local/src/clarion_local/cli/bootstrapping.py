"""`clarion bootstrap`: the first administrator of a mesh."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from clarion_kit.keyfiles import load_secret
from clarion_kit.sealing import KeyWrapper
from clarion_ledger import db
from clarion_ledger.app_keys import KeyRow
from clarion_ledger.bootstrap import AlreadyBootstrapped, bootstrap
from clarion_ledger.keys import load_wrapper
from clarion_local.cli.command import command
from clarion_local.cli.failures import Refused, UsageFault
from clarion_local.cli.output import Output, facts

DATABASE = "CLARION_DATABASE_URL"
KEK = "CLARION_KEK_FILE"
PEPPER = "CLARION_PEPPER_FILE"

T = TypeVar("T")


@command
def bootstrap_(
    out: Output,
    app: Annotated[
        str, typer.Option(metavar="NAME", help="App of the administrators; made if there is none.")
    ] = "operators",
) -> None:
    """Make the first admin key of a mesh and show its secret, once; refuse if there ever was an admin key.

    Reads CLARION_DATABASE_URL (the URL of the schema's owner), CLARION_KEK_FILE and CLARION_PEPPER_FILE. No password exists
    before, and none is needed after: this key makes the others.
    """
    url = os.environ.get(DATABASE, "")
    if not url.startswith(("postgresql://", "postgres://")):
        raise UsageFault(f"{DATABASE} must be set to the postgresql:// URL of the schema's owner")
    wrapper, pepper = _file(KEK, load_wrapper), _file(PEPPER, load_secret)
    try:
        key, secret = asyncio.run(_bootstrap(url, wrapper, pepper, app))
    except AlreadyBootstrapped as done:
        raise Refused(str(done)) from None
    if out.as_json:
        out.document({"app": app, "key": key.app_key, "secret": secret})
    else:
        out.show(
            facts(
                "the first admin key; its secret is shown this once", {"key": key.app_key, "secret": secret, "app": app}
            )
        )


async def _bootstrap(url: str, wrapper: KeyWrapper, pepper: bytes, app: str) -> tuple[KeyRow, str]:
    async with db.pool(url, size=1, application="bootstrap") as pool:
        await db.ping(pool, "ledger.audit_log")
        return await bootstrap(pool, wrapper, pepper, app)


def _file(variable: str, read: Callable[[Path], T]) -> T:
    path = os.environ.get(variable, "")
    if not path:
        raise UsageFault(f"{variable} is not set")
    try:
        return read(Path(path))
    except ValueError as fault:
        raise UsageFault(f"{variable}: {fault}") from None
