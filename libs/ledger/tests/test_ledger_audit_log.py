"""The audit log: what is written, and that whoever changes it is found out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from clarion.category.v1.category_service_pb2 import Category
from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.routing.v1 import routing_service_pb2 as routing
from clarion.types.v1.channel_pb2 import CHANNEL_SMS
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_kit.sealing import KeyWrapper
from clarion_kit.vocabulary import Channel, StopReason
from clarion_ledger import admin, app_keys, audit_log, budgets, stops
from clarion_ledger.audit_log import GENESIS, MAX_STATE_BYTES, Chain, Entry, Head, hash_of
from clarion_ledger.budgets import Period, SmsBudget
from clarion_ledger.db import Pool, pool
from clarion_testkit.plugin import App, Database

PEPPER = b"pepper"
_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
facts = st.tuples(st.integers(0, 2**31 - 1), texts, texts, texts, texts, texts)


def chained(told: list[tuple[int, str, str, str, str, str]]) -> list[Entry]:
    """A whole log that tells this."""
    made: list[Entry] = []
    former = GENESIS
    for seq, (app_id, key, act, target, before, after) in enumerate(told, 1):
        entry = Entry(seq, _AT + timedelta(microseconds=seq), app_id, 1, key, act, target, before, after, "", b"")
        former = hash_of(entry, former)
        made.append(sealed(entry, former))
    return made


def sealed(entry: Entry, hash_: bytes) -> Entry:
    return changed(entry, hash=hash_)


def changed(entry: Entry, **fields: object) -> Entry:
    return replace(entry, **fields)  # type: ignore[arg-type]


def verified(log: list[Entry], head: Head, since: bytes | None = None) -> Chain:
    chain = Chain(head.base_seq, head.base_hash, since)
    chain.follow(log)
    chain.end(head)
    return chain


def head_of(log: list[Entry]) -> Head:
    return Head(log[-1].seq, log[-1].hash, 0, GENESIS) if log else Head(0, GENESIS, 0, GENESIS)


# ---------------------------------------------------------------- the chain


@given(st.lists(facts, max_size=6))
def test_log_that_nobody_touched_is_whole(told: list[tuple[int, str, str, str, str, str]]) -> None:
    log = chained(told)

    chain = verified(log, head_of(log))

    assert (chain.found, chain.count) == (None, len(log))


@given(st.lists(facts, min_size=1, max_size=6), st.data())
def test_any_other_value_of_any_field_is_found(
    told: list[tuple[int, str, str, str, str, str]], data: st.DataObject
) -> None:
    log = chained(told)
    place = data.draw(st.integers(0, len(log) - 1))
    field = data.draw(st.sampled_from(sorted(set(Entry.__slots__) - {"hash", "seq"})))
    now = getattr(log[place], field)
    match now:
        case datetime():
            other: object = now + timedelta(microseconds=data.draw(st.integers(1, 10**9)))
        case int():
            other = data.draw(st.integers(0, 2**31 - 1).filter(lambda value: value != now))
        case _:
            other = data.draw(texts.filter(lambda value: value != now))
    forged = [*log[:place], changed(log[place], **{field: other}), *log[place + 1 :]]

    found = verified(forged, head_of(log)).found

    assert found is not None
    assert found.seq == place + 1


@given(st.lists(facts, min_size=2, max_size=6), st.data())
def test_entry_that_is_gone_moved_or_put_in_is_found(
    told: list[tuple[int, str, str, str, str, str]], data: st.DataObject
) -> None:
    log = chained(told)
    place = data.draw(st.integers(0, len(log) - 2))
    one, next_one = log[place], log[place + 1]
    moved = [*log[:place], changed(next_one, seq=one.seq), changed(one, seq=next_one.seq), *log[place + 2 :]]
    gone = [*log[:place], *log[place + 1 :]]
    closed_up = [*log[:place], *(changed(entry, seq=entry.seq - 1) for entry in log[place + 1 :])]
    put_in = [*log[: place + 1], changed(one, seq=one.seq + 1), *(changed(e, seq=e.seq + 1) for e in log[place + 1 :])]

    for forged in (moved, gone, closed_up, put_in):
        assert verified(forged, head_of(log)).found is not None


@given(st.lists(facts, min_size=1, max_size=6), st.data())
def test_end_that_was_cut_off_is_found_by_the_head(
    told: list[tuple[int, str, str, str, str, str]], data: st.DataObject
) -> None:
    log = chained(told)
    left = log[: data.draw(st.integers(0, len(log) - 1))]

    by_head = verified(left, head_of(log))
    # Whoever cuts off the end changes the head as well; the one noted elsewhere they cannot reach.
    by_note = verified(left, head_of(left), since=log[-1].hash)

    assert by_head.found is not None
    assert by_note.found is not None
    assert verified(log, head_of(log), since=left[-1].hash if left else GENESIS).found is None


@given(st.lists(facts, min_size=2, max_size=6))
def test_log_written_anew_is_found_by_a_head_from_before(told: list[tuple[int, str, str, str, str, str]]) -> None:
    log = chained(told)
    anew = chained([(told[0][0], told[0][1] + "x", *told[0][2:]), *told[1:]])

    assert verified(anew, head_of(anew)).found is None
    assert verified(anew, head_of(anew), since=log[-1].hash).found is not None


def test_fields_do_not_run_into_each_other() -> None:
    [one] = chained([(1, "ab", "c", "", "", "")])
    [other] = chained([(1, "a", "bc", "", "", "")])

    assert one.hash != other.hash


# ---------------------------------------------------------------- the ledger's own


@pytest_asyncio.fixture
async def own(own_url: str) -> AsyncIterator[Pool]:
    """A database of this test's, as its owner."""
    async with pool(own_url, size=2, application="test") as connections:
        yield connections


async def acts(connections: Pool, app_id: int | None = None) -> list[Entry]:
    found, _ = await audit_log.page(connections, app_id=app_id, size=500)
    return found


async def whole(connections: Pool, since: bytes | None = None) -> Chain:
    found, head = await audit_log.page(connections, size=5_000)
    return verified(found, head, since)


async def test_database_and_python_compute_the_same_hash(own: Pool) -> None:
    for number in range(3):
        async with own.acquire() as db, db.transaction():
            with calling_as(Caller("client", 7, "ck_ö", frozenset())):
                await audit_log.record(
                    db, "Act", number, "target ✓ 12:34", before={"a": None}, after={"b": [number, "ü"]}
                )

    chain = await whole(own)

    assert (chain.found, chain.count) == (None, 3)
    assert chain.hash == await own.fetchval("SELECT hash FROM ledger.audit_head")


async def test_act_that_is_undone_is_not_in_the_log(database: Database) -> None:
    before = await whole(database.pool)
    async with database.pool.acquire() as db:
        undone = db.transaction()
        await undone.start()
        await audit_log.record(db, "Act", 1, "target")
        await undone.rollback()

    after = await whole(database.pool)
    assert (after.found, after.count) == (None, before.count)


async def test_state_that_is_too_large_is_told_by_its_digest(own: Pool) -> None:
    async with own.acquire() as db, db.transaction():
        await audit_log.record(db, "Act", 1, "t" * 1_000 + "\0", after={"much": "x" * MAX_STATE_BYTES})

    [entry] = await acts(own)
    assert set(json.loads(entry.after)) == {"sha256", "bytes"}
    assert len(entry.target) == audit_log.MAX_TARGET


TAMPERING: dict[str, str] = {
    "changed": "UPDATE ledger.audit_log SET actor_key = 'ck_nobody' WHERE seq = 3",
    "changed time": "UPDATE ledger.audit_log SET at = at - interval '1 microsecond' WHERE seq = 3",
    "deleted": "DELETE FROM ledger.audit_log WHERE seq = 3",
    "deleted first": "DELETE FROM ledger.audit_log WHERE seq = 1",
    "deleted last": "DELETE FROM ledger.audit_log WHERE seq = 5",
    "inserted": """UPDATE ledger.audit_log SET seq = -seq WHERE seq > 3; UPDATE ledger.audit_log SET seq = 1 - seq WHERE seq < 0;
                   INSERT INTO ledger.audit_log SELECT 4, at, app_id, actor_app, actor_key, act, target, before, after,
                       trace_id, hash FROM ledger.audit_log WHERE seq = 3""",
    "appended": """INSERT INTO ledger.audit_log SELECT 6, at, app_id, actor_app, actor_key, act, target, before, after,
                       trace_id, hash FROM ledger.audit_log WHERE seq = 5""",
    "reordered": """UPDATE ledger.audit_log SET seq = -seq WHERE seq IN (2, 3);
                    UPDATE ledger.audit_log SET seq = seq + 5 WHERE seq < 0""",
    "emptied": "DELETE FROM ledger.audit_log",
    "another head": "UPDATE ledger.audit_head SET hash = decode(repeat('ab', 32), 'hex')",
}


async def test_tampering_is_found(own: Pool) -> None:
    for number in range(5):
        async with own.acquire() as db, db.transaction():
            await audit_log.record(db, "Act", number, f"target {number}", after={"number": number})
    assert (await whole(own)).found is None
    missed = []

    for name, statements in TAMPERING.items():
        async with own.acquire() as db:
            undo = db.transaction()
            await undo.start()
            # As somebody who owns the database and switches its triggers off.
            await db.execute("SET LOCAL session_replication_role = replica")
            await db.execute(statements)
            rows = await db.fetch("SELECT * FROM ledger.audit_log ORDER BY seq")
            head = await db.fetchrow("SELECT seq, hash, base_seq, base_hash FROM ledger.audit_head")
            await undo.rollback()
        assert head is not None
        if verified([audit_log._entry(row) for row in rows], Head(*head)).found is None:
            missed.append(name)

    assert missed == []


async def test_cut_off_end_with_its_head_is_found_by_a_head_that_was_noted(own: Pool) -> None:
    for number in range(3):
        async with own.acquire() as db, db.transaction():
            await audit_log.record(db, "Act", number, "target")
    noted = (await whole(own)).hash
    async with own.acquire() as db, db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute("DELETE FROM ledger.audit_log WHERE seq = 3")
        await db.execute(
            "UPDATE ledger.audit_head h SET seq = l.seq, hash = l.hash FROM ledger.audit_log l WHERE l.seq = 2"
        )

    assert (await whole(own)).found is None
    assert (await whole(own, since=noted)).found is not None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.audit_log SET target = ''",
        "DELETE FROM ledger.audit_log",
        "TRUNCATE ledger.audit_log",
    ],
)
async def test_owner_cannot_change_it_by_a_slip(database: Database, statement: str) -> None:
    async with database.pool.acquire() as db, db.transaction():
        await audit_log.record(db, "Act", 1, "target")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await database.pool.execute(statement)


@pytest.mark.parametrize("role", ["gateway", "preference", "template", "scheduler"])
async def test_daemons_append_and_do_nothing_else(database: Database, role: str) -> None:
    before = await whole(database.pool)
    async with database.pool.acquire() as db:
        await db.execute(f"SET ROLE clarion_{role}")
        async with db.transaction():
            await audit_log.record(db, "Act", 1, "target")
        for statement in (
            "INSERT INTO ledger.audit_log SELECT * FROM ledger.audit_log",
            "UPDATE ledger.audit_log SET target = ''",
            "DELETE FROM ledger.audit_log",
            "TRUNCATE ledger.audit_log",
            "UPDATE ledger.audit_head SET seq = 0",
            "SELECT ledger.audit_prune('1 year')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)
        await db.execute("RESET ROLE")

    assert (await whole(database.pool)).count == before.count + 1


@pytest.mark.parametrize("role", ["planner", "dispatcher", "tracker", "monitor"])
async def test_daemons_without_administration_cannot_append(database: Database, role: str) -> None:
    async with database.pool.acquire() as db:
        await db.execute(f"SET ROLE clarion_{role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await audit_log.record(db, "Act", 1, "target")
        await db.execute("RESET ROLE")


async def test_what_retention_leaves_goes_on_from_what_it_dropped(own: Pool) -> None:
    for number in range(4):
        async with own.acquire() as db, db.transaction():
            await audit_log.record(db, "Act", number, "target")
    noted = [entry.hash for entry in await acts(own)]
    await own.execute("ALTER TABLE ledger.audit_log DISABLE TRIGGER append_only")
    await own.execute("UPDATE ledger.audit_log SET at = at - interval '100 days' WHERE seq <= 2")
    await own.execute("ALTER TABLE ledger.audit_log ENABLE TRIGGER append_only")

    with pytest.raises(asyncpg.InvalidParameterValueError):
        await own.execute("SELECT ledger.audit_prune('89 days')")
    dropped = await own.fetchval("SELECT ledger.audit_prune('90 days')")

    found, head = await audit_log.page(own, size=500)
    assert (dropped, [entry.seq for entry in found], head.base_seq) == (2, [3, 4], 2)
    assert verified(found, head).found is None
    assert verified(found, head, since=noted[1]).found is None
    assert await own.fetchval("SELECT ledger.audit_prune('90 days')") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await own.execute("DELETE FROM ledger.audit_log")


async def test_acts_at_the_same_time_stand_one_behind_the_other(database: Database, app: App) -> None:
    before = (await whole(database.pool)).count

    async def act() -> None:
        for number in range(5):
            await app_keys.create_key(database.pool, PEPPER, app.app_id, ["status:read"])
            await admin.update_app(database.pool, "shop", enabled=bool(number % 2))

    await asyncio.gather(*(act() for _ in range(4)))

    chain = await whole(database.pool)
    assert (chain.found, chain.count) == (None, before + 40)


# ---------------------------------------------------------------- what is recorded


async def test_every_act_on_apps_and_keys_is_recorded_without_a_secret(
    database: Database, kek: KeyWrapper, app: App
) -> None:
    secrets: list[str] = []
    with calling_as(Caller("client", 77, "ck_admin", frozenset({"admin"}))):
        await admin.update_app(database.pool, "shop", enabled=False)
        key, secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, ["send:*"])
        secrets.append(secret)
        _, secret = await app_keys.rotate_key(database.pool, PEPPER, key.app_key, timedelta(hours=1))
        secrets.append(secret)
        await app_keys.limit_key(database.pool, key.app_key, quotas=(5, None))
        await app_keys.revoke_key(database.pool, key.app_key)
        await app_keys.revoke_key(database.pool, key.app_key)

    created, *found = await acts(database.pool, app.app_id)

    assert (created.act, created.actor_key, created.actor_app) == ("CreateApp", "", 0)
    assert [entry.act for entry in found] == ["UpdateApp", "CreateKey", "RotateKey", "UpdateKey", "RevokeKey"]
    assert {(entry.actor_app, entry.actor_key) for entry in found} == {(77, "ck_admin")}
    assert {entry.target for entry in found[1:]} == {f"key {key.app_key}"}
    assert json.loads(found[0].before)["enabled"] is True
    assert json.loads(found[0].after)["enabled"] is False
    assert json.loads(found[3].after)["requests_per_second"] == 5
    everything = "".join(entry.before + entry.after for entry in found)
    assert not any(
        secret in everything or app_keys.hash_secret(PEPPER, secret).hex() in everything for secret in secrets
    )


async def test_provider_account_is_recorded_by_the_names_of_its_settings(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    for password in ("hunter2", "hunter3"):
        settings = json.dumps({"host": "mail.example", "password": password}).encode()
        lane_id = await admin.put_lane(
            database.pool, sealer, app.app_id, "mail", "smtp", Channel.EMAIL, settings, enabled=True, limits=Limits()
        )
    await stops.stop(database.pool, lane_id, app.app_id, StopReason.OPERATOR, "maintenance", None)
    await stops.resume(database.pool, lane_id, by_operator=True)
    await admin.delete_lane(database.pool, sealer, app.app_id, "mail", lambda kind, document: b"{}")

    _, first, second, stopped, resumed, deleted = await acts(database.pool, app.app_id)

    assert (first.before, json.loads(first.after)["changed_settings"]) == ("", ["host", "password"])
    assert json.loads(second.after)["changed_settings"] == ["password"]
    assert json.loads(second.after)["settings"] == ["host", "password"]
    assert [entry.act for entry in (stopped, resumed, deleted)] == ["StopProvider", "ResumeProvider", "DeleteProvider"]
    assert {entry.target for entry in (first, second, stopped, resumed, deleted)} == {"provider mail"}
    assert "hunter" not in "".join(entry.before + entry.after for entry in (first, second, stopped, resumed, deleted))


async def test_what_goes_away_by_itself_is_no_administrative_act(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    lane_id = await admin.put_lane(
        database.pool, sealer, app.app_id, "mail", "smtp", Channel.EMAIL, b"{}", enabled=True
    )
    before = len(await acts(database.pool, app.app_id))

    await stops.stop(database.pool, lane_id, app.app_id, StopReason.BREAKER, "5xx", timedelta(seconds=5))
    await stops.resume(database.pool, lane_id)

    assert len(await acts(database.pool, app.app_id)) == before


async def test_categories_routes_and_budgets_are_recorded_before_and_after(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    await admin.put_lane(database.pool, sealer, app.app_id, "sms", "twilio", Channel.SMS, b"{}", enabled=True)
    await admin.put_category(database.pool, app.app_id, Category(name="news", max_attempts=3))
    await admin.put_category(database.pool, app.app_id, Category(name="news", max_attempts=4))
    routes = routing.ChannelRoutes(
        channel=CHANNEL_SMS, routes=[routing.Route(targets=[routing.Target(provider="sms")])]
    )
    await admin.put_routes(database.pool, app.app_id, routes)
    await admin.put_routes(database.pool, app.app_id, routes)
    budget = SmsBudget(100, Period.DAY, "UTC", country="KR")
    await budgets.put(database.pool, app.app_id, budget)
    await budgets.delete(database.pool, app.app_id, "KR", "")
    await budgets.delete(database.pool, app.app_id, "KR", "")

    found = (await acts(database.pool, app.app_id))[2:]

    told: list[tuple[str, str, Callable[[Entry], bool]]] = [
        ("PutCategory", "category news", lambda e: e.before == "" and json.loads(e.after)["max_attempts"] == 3),
        ("PutCategory", "category news", lambda e: json.loads(e.before)["max_attempts"] == 3),
        ("PutRoutes", "routes sms", lambda e: e.before == ""),
        ("PutRoutes", "routes sms", lambda e: e.before == e.after),
        ("PutSmsBudget", "sms budget KR", lambda e: json.loads(e.after)["segments"] == 100),
        ("DeleteSmsBudget", "sms budget KR", lambda e: json.loads(e.before)["segments"] == 100),
    ]
    assert [(entry.act, entry.target) for entry in found] == [(act, target) for act, target, _ in told]
    assert all(holds(entry) for entry, (_, _, holds) in zip(found, told, strict=True))
