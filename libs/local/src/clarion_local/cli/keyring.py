"""`clarion keys rotate-kek | drop-kek | rotate-dek | data-keys | retire-deks`: keys that values are sealed under; and
`clarion keys bus-users`: passwords of the bus."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated

import typer

from clarion_kit import mesh
from clarion_kit.bus_rights import read_credentials, rights
from clarion_kit.sealing import KeyWrapper, Unsealable
from clarion_kit.subjects import Subjects
from clarion_ledger import admin, db, keks, key_log, rekeying
from clarion_ledger.keys import ANNOUNCED
from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, Given, server_url
from clarion_local.cli.failures import REFUSED, Refused, UsageFault
from clarion_local.cli.output import Output, table
from clarion_local.private_file import write_private
from clarion_local.servers import nats

KEK_VARIABLE = "CLARION_KEK_FILE"
SETTLED = rekeying.SETTLE
BUS_DAEMONS = tuple(daemon for daemon in mesh.DAEMONS if rights(daemon) is not None)

AppOption = Annotated[str, typer.Option("--app", metavar="NAME", help="Only this app; else every app.")]


def add_to(keys: typer.Typer) -> None:
    """Put these commands beside those of API keys."""
    keys.command("rotate-kek")(rotate_kek)
    keys.command("drop-kek")(drop_kek)
    keys.command("rotate-dek")(rotate_dek)
    keys.command("data-keys")(data_keys)
    keys.command("retire-deks")(retire_deks)
    keys.command("bus-users")(bus_users_)


@command
def rotate_kek(
    out: Output,
    new: Annotated[
        bool, typer.Option("--new", help="First put a fresh key into the key file, active from now on.")
    ] = False,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Wrap every data key under the active key-encryption key; broken off, run it again.

    Where daemons do not share the key file, give them the file with the new key first: one that lacks it waits with what it
    cannot open. Reads CLARION_KEK_FILE and CLARION_DATABASE_URL, the URL of the schema's owner, else the local stack.
    """
    place = _kek_place(folder)
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    if new:
        _in_file(place, url, key_log.add_kek)
    wrapper = _wrapper(place)
    done, under = asyncio.run(_wrap(url, wrapper, out))
    if out.as_json:
        out.document({"active": wrapper.active, "wrapped": done, "data_keys_under": under})
        return
    former = [kek_id for kek_id in under if kek_id != wrapper.active]
    rest = (
        f"; still under others: {', '.join(former)}" if former else "; the other keys may go: clarion keys drop-kek ID"
    )
    out.show(f"{done} data keys wrapped under {wrapper.active}{rest}")


@command
def drop_kek(
    out: Output,
    kek_id: Annotated[str, typer.Argument(metavar="ID")],
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Take a key-encryption key out of the key file; refused while a data key is under it."""
    place = _kek_place(folder)
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    if count := asyncio.run(_wrapped_under(url)).get(kek_id, 0):
        raise Refused(f"{count} data keys are under {kek_id}; first: clarion keys rotate-kek")
    _in_file(place, url, lambda pool, path: key_log.drop_kek(pool, path, kek_id))
    if out.as_json:
        out.document({"dropped": kek_id})
    else:
        out.show(f"{kek_id} is gone from {place}; backups of the database that need it do not open without it")


@command
def rotate_dek(
    out: Output,
    app: AppOption = "",
    announced: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long daemons only know the new key before it seals.")
    ] = ANNOUNCED.total_seconds(),
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Seal with a new data key, and seal anew what lives long, while traffic goes on; broken off, run it again.

    Takes some minutes for each app. Reads what rotate-kek reads.
    """
    wrapper = _wrapper(_kek_place(folder))
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    done = asyncio.run(_rotate(url, wrapper, app, timedelta(seconds=announced), out))
    if out.as_json:
        out.document([_rotated_json(name, one) for name, one in done])
    else:
        rows = [(name, str(one.key_id), str(one.sealed), str(one.left), str(one.unreadable)) for name, one in done]
        out.show(table("", ("app", "data key", "sealed anew", "left", "unreadable"), rows))
    if any(one.left or one.unreadable for _, one in done):
        raise typer.Exit(REFUSED)


@command
def data_keys(out: Output, folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Count what is sealed under each data key: a scan of every sealed column."""
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    counted, names = asyncio.run(_counted(url))
    rows = [(names.get(app_id, str(app_id)), key_id, count) for (app_id, key_id), count in sorted(counted.items())]
    if out.as_json:
        out.document([{"app": app, "data_key": key_id, "values": count} for app, key_id, count in rows])
    else:
        out.show(
            table("", ("app", "data key", "values"), [(app, str(key_id), str(count)) for app, key_id, count in rows])
        )


@command
def retire_deks(out: Output, app: AppOption = "", folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Delete data keys that were replaced a day ago or earlier and that nothing is sealed under any more."""
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    gone, kept, names = asyncio.run(_retire(url, app))
    listed = [(names.get(app_id, str(app_id)), key_id, 0) for app_id, key_id in gone]
    listed += [(names.get(app_id, str(app_id)), key_id, count) for (app_id, key_id), count in kept.items()]
    if out.as_json:
        out.document([{"app": name, "data_key": key_id, "values": count} for name, key_id, count in listed])
        return
    rows = [
        (name, str(key_id), "deleted" if not count else f"kept for {count} values") for name, key_id, count in listed
    ]
    out.show(
        table("", ("app", "data key", "outcome"), rows) if rows else "no data key was replaced a day ago or earlier"
    )


@command
def bus_users_(
    out: Output,
    into: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made if it is not there; what it holds is kept.")],
    prefix: Annotated[str, typer.Option(metavar="WORD", help="First token of every subject.")] = "clarion",
) -> None:
    """Write a user with least rights for each daemon on the bus: `<daemon>` for CLARION_NATS_CREDENTIALS_FILE, and
    `authorization.json` for the NATS server (`authorization: { include authorization.json }`)."""
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = nats.bus_users({daemon: _password(into / daemon) for daemon in BUS_DAEMONS}, Subjects(prefix))
        for user in users:
            write_private(into / user.name, f"{user.name}:{user.password}\n")
        write_private(into / "authorization.json", json.dumps(nats.authorization(users), indent=1) + "\n")
    except (OSError, ValueError) as fault:
        raise UsageFault(str(fault)) from None
    if out.as_json:
        out.document({"folder": str(into), "users": [user.name for user in users]})
    else:
        out.show(f"{len(users)} users in {into}")


def _password(path: Path) -> str:
    return read_credentials(path)[1] if path.exists() else token_urlsafe(32)


def _kek_place(folder: Path) -> Path:
    given = os.environ.get(KEK_VARIABLE, "")
    return Path(given) if given else folder / "keys" / "kek.key"


def _wrapper(place: Path) -> KeyWrapper:
    try:
        return keks.load_wrapper(place)
    except ValueError as fault:
        raise UsageFault(f"{KEK_VARIABLE}: {fault}") from None


def _in_file(place: Path, url: str, change: Callable[[db.Pool, Path], Awaitable[object]]) -> None:
    """Change the key file, and tell the audit log."""
    if not place.is_file():
        raise UsageFault(f"{KEK_VARIABLE}: {place} is no file; keys elsewhere are changed where they are")

    async def changed() -> None:
        async with db.pool(url, size=1, application="keys") as pool:
            await change(pool, place)

    try:
        asyncio.run(changed())
    except (ValueError, OSError) as fault:
        raise UsageFault(f"{KEK_VARIABLE}: {fault}") from None


async def _wrap(url: str, wrapper: KeyWrapper, out: Output) -> tuple[int, dict[str, int]]:
    async with db.pool(url, size=1, application="keys") as pool:
        try:
            done = await rekeying.rewrap(pool, wrapper, lambda what, count: _told(out, what, count))
        except (rekeying.NotWrapped, Unsealable) as fault:
            raise Refused(str(fault)) from None
        return done, await rekeying.wrapped_under(pool)


async def _rotate(
    url: str, wrapper: KeyWrapper, app: str, announced: timedelta, out: Output
) -> list[tuple[str, rekeying.Rotated]]:
    done = []
    async with db.pool(url, size=2, application="keys") as pool:
        names = {row.app_id: row.name for row in await admin.apps(pool)}
        wanted = [await admin.app_id_of(pool, app)] if app else list(names)
        for app_id in wanted:
            try:
                rotated = await rekeying.rotate(
                    pool, wrapper, app_id, lambda what, count: _told(out, what, count), announced=announced
                )
            except Unsealable as fault:
                raise Refused(f"{names[app_id]}: {fault}") from None
            done.append((names[app_id], rotated))
    return done


async def _counted(url: str) -> tuple[Counter[tuple[int, int]], dict[int, str]]:
    async with db.pool(url, size=1, application="keys") as pool:
        return await rekeying.uses(pool), {row.app_id: row.name for row in await admin.apps(pool)}


async def _retire(url: str, app: str) -> tuple[list[tuple[int, int]], dict[tuple[int, int], int], dict[int, str]]:
    async with db.pool(url, size=1, application="keys") as pool:
        app_id = await admin.app_id_of(pool, app) if app else None
        gone, kept = await rekeying.retire(pool, app_id, settled=SETTLED)
        return gone, kept, {row.app_id: row.name for row in await admin.apps(pool)}


async def _wrapped_under(url: str) -> dict[str, int]:
    async with db.pool(url, size=1, application="keys") as pool:
        return await rekeying.wrapped_under(pool)


def _told(out: Output, what: str, count: int) -> None:
    if not out.as_json:
        out.note(f"{what}: {count}")


def _rotated_json(name: str, one: rekeying.Rotated) -> dict[str, object]:
    return {"app": name, "data_key": one.key_id, "sealed": one.sealed, "left": one.left, "unreadable": one.unreadable}
