"""The second wall: whatever a statement forgets, a request reaches one app's rows, and a daemon's role only what it needs.

After a migration that grants something: write the lines of `database_rights` into `roles_expected.txt` and read the difference.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from clarion_ledger.db import Connection, Pool, of_app, pool

from .conftest import Databases
from .database_rights import EXPECTED, rights

REQUEST_ROLES = ("clarion_gateway_request", "clarion_preference_request", "clarion_tracker_request")
BATCH_ROLES = tuple(
    f"clarion_{daemon}"
    for daemon in ("gateway", "preference", "template", "planner", "dispatcher", "scheduler", "tracker", "monitor")
)
OURS, THEIRS = 1_000_001, 1_000_002
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
CHILDREN = {
    "ledger.notification_body",
    "ledger.delivery_body",
    "ledger.attempt",
    "preference.soft_bounce",
    "tracking.segment",
}
"""Tables without an app_id whose rows belong to an app."""
SHARED = {
    "ledger.config_revision",
    "ledger.frame",
    "ledger.event_epoch",
    "ledger.stream_seen",
    "ledger.lease",
}
"""Tables that tell nothing of an app."""


_TABLES = """
SELECT n.nspname || '.' || c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'app_id' AND NOT a.attisdropped) AS of_app
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema|public)' ORDER BY 1
"""
_CHECKS = """
SELECT c.conrelid::regclass::text AS name, c.conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE c.contype = 'c' AND NOT t.relispartition AND t.relnamespace::regnamespace::text IN ('ledger', 'preference', 'template', 'tracking')
"""
_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, a.attidentity <> '' AS identity
FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
  AND (NOT a.atthasdef OR a.attidentity <> '' OR format_type(a.atttypid, NULL) = 'uuid')
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walled(postgres_databases: Databases) -> AsyncIterator[Pool]:
    """A database with a row of two apps in every table, whose roles of requests may read all of them: only the walls stand."""
    async with postgres_databases.fresh() as url, pool(url, size=4, application="walls") as connections:
        async with connections.acquire() as db, db.transaction():
            # Foreign keys, triggers and checks have no say in what a row looks like here.
            await db.execute("SET LOCAL session_replication_role = replica")
            for check in await db.fetch(_CHECKS):
                await db.execute(f"ALTER TABLE {check['name']} DROP CONSTRAINT {check['conname']}")
            for row in await db.fetch(_TABLES):
                if row["name"] not in SHARED and (row["of_app"] or row["name"] in CHILDREN):
                    for app_id in (OURS, THEIRS):
                        await _insert(db, row["name"], app_id)
            for role in REQUEST_ROLES:
                for schema in ("ledger", "preference", "template", "tracking"):
                    await db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
                    await db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
        yield connections


async def _insert(db: Connection, table: str, app_id: int) -> None:
    """A row of an app with as little in it as the table allows; ids are the app's number, so that children find parents."""
    values = {column["name"]: _filler(column["type"], app_id) for column in await db.fetch(_COLUMNS, table)}
    if table not in CHILDREN:
        values["app_id"] = app_id
    if "epoch" in values:
        values["epoch"] = await db.fetchval("SELECT epoch FROM ledger.event_epoch")
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await db.execute(f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({marks})", *values.values())


def _filler(type_: str, app_id: int) -> object:
    match type_:
        case "uuid":
            return UUID(int=app_id)
        case "text":
            return str(app_id)
        case "bytea":
            return app_id.to_bytes(4, "big")
        case "smallint":
            return 3
        case "integer" | "bigint" | "double precision" | "numeric":
            return app_id
        case "boolean":
            return False
        case "interval":
            return timedelta(seconds=1)
        case "date":
            return MOMENT.date()
        case "timestamp with time zone":
            return MOMENT
        case _ if type_.endswith("[]"):
            return []
    raise AssertionError(f"no filler for {type_}")


@asynccontextmanager
async def as_role(connections: Pool, role: str, app: str | None) -> AsyncIterator[Connection]:
    async with connections.acquire() as db, db.transaction():
        await db.execute(f"SET LOCAL ROLE {role}")
        if app is not None:
            await db.execute("SELECT set_config('clarion.app', $1, true)", app)
        yield db


@pytest.mark.asyncio(loop_scope="module")
async def test_every_table_of_apps_is_walled(walled: Pool) -> None:
    tables = await walled.fetch(_TABLES)

    of_apps = {row["name"] for row in tables if row["of_app"]}
    assert of_apps
    assert {row["name"] for row in tables if row["name"] in of_apps | CHILDREN and not row["forced"]} == set()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("role", REQUEST_ROLES)
async def test_request_sees_its_own_rows_and_no_others(walled: Pool, role: str) -> None:
    async with as_role(walled, role, str(OURS)) as db:
        for row in await db.fetch(_TABLES):
            name = row["name"]
            if row["of_app"]:
                seen = {one["app_id"] for one in await db.fetch(f"SELECT DISTINCT app_id FROM {name}")}
                assert seen == {OURS}, name
            elif name in CHILDREN:
                assert await db.fetchval(f"SELECT count(*) FROM {name}") == 1, name


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("app", [None, ""])
@pytest.mark.parametrize("role", REQUEST_ROLES)
async def test_request_without_an_app_sees_nothing_at_all(walled: Pool, role: str, app: str | None) -> None:
    for row in await walled.fetch(_TABLES):
        if row["of_app"] or row["name"] in CHILDREN:
            async with as_role(walled, role, app) as db:
                try:
                    seen = await db.fetchval(f"SELECT count(*) FROM {row['name']}")
                except (asyncpg.UndefinedObjectError, asyncpg.InvalidTextRepresentationError):
                    continue
                assert seen == 0, row["name"]


@pytest.mark.asyncio(loop_scope="module")
async def test_request_writes_no_row_of_another_app(walled: Pool) -> None:
    insert = "INSERT INTO ledger.event (notification_id, app_id, kind) VALUES ($1, $2, 7)"
    role = "clarion_gateway_request"
    async with of_app(walled, OURS, role) as db:
        await db.execute(insert, UUID(int=1), OURS)
        assert await db.execute("UPDATE ledger.notification SET state = 5") == "UPDATE 1"
        assert await db.execute("DELETE FROM ledger.schedule") == "DELETE 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with of_app(walled, OURS, role) as db:
            await db.execute(insert, UUID(int=1), THEIRS)

    assert await walled.fetchval("SELECT count(*) FROM ledger.schedule WHERE app_id = $1", THEIRS) == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_role_and_app_end_with_the_transaction(walled: Pool) -> None:
    async with walled.acquire() as db:
        before = await db.fetchval("SELECT current_user")
    for _ in range(8):
        async with of_app(walled, OURS, "clarion_gateway_request") as db:
            assert await db.fetchval("SELECT current_user") == "clarion_gateway_request"
    async with walled.acquire() as db:
        assert await db.fetchval("SELECT current_user") == before
        assert not await db.fetchval("SELECT current_setting('clarion.app', true)")


@pytest.mark.asyncio(loop_scope="module")
async def test_work_for_all_apps_sees_all_apps(walled: Pool) -> None:
    async with as_role(walled, "clarion_scheduler", None) as db:
        assert await db.fetchval("SELECT count(*) FROM ledger.delivery_work") == 2


@pytest.mark.asyncio(loop_scope="module")
async def test_owner_that_is_no_superuser_still_prunes_and_migrates(walled: Pool) -> None:
    owners = await walled.fetch(
        """SELECT p.polrelid::regclass::text AS name FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
           WHERE p.polname = 'all_apps' AND NOT c.relowner = ANY (p.polroles)"""
    )

    assert owners == []


async def test_roles_have_the_rights_that_are_written_down(ledger_url: str) -> None:
    async with pool(ledger_url, size=1, application="rights") as connections:
        found = await rights(connections)

    assert found == EXPECTED.read_text().splitlines()


async def test_no_role_reaches_a_partition_past_its_table(ledger_url: str) -> None:
    async with pool(ledger_url, size=1, application="rights") as connections:
        reached = await connections.fetch(
            r"""SELECT r.rolname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
                WHERE c.relispartition AND n.nspname !~ '^pg_' AND r.rolname LIKE 'clarion\_%'
                  AND has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')"""
        )

    counted = {("clarion_scheduler", f"{table}_default") for table in ("notification", "delivery", "event")}
    assert {(row["rolname"], row["relname"]) for row in reached} == counted


@pytest.mark.parametrize("role", REQUEST_ROLES)
async def test_daemon_has_the_rights_of_its_requests_only_while_it_is_them(ledger_url: str, role: str) -> None:
    async with pool(ledger_url, size=1, application="rights") as connections:
        inherits, becomes = await connections.fetchrow(
            "SELECT pg_has_role($1, $2, 'USAGE'), pg_has_role($1, $2, 'SET')", role.removesuffix("_request"), role
        ) or (None, None)
        others = [
            one
            for one in BATCH_ROLES
            if one != role.removesuffix("_request")
            and await connections.fetchval("SELECT pg_has_role($1, $2, 'MEMBER')", one, role)
        ]

    assert (inherits, becomes, others) == (False, True, [])
