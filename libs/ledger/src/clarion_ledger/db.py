"""Connections to Postgres: settings every session has, bounded waits, errors of ours instead of the driver's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clarion_kit.errors import DomainError, ErrorReason, Unavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

ACQUIRE_TIMEOUT_SECONDS = 3.0
MAX_STATEMENT_CHARS = 32 << 10
STATEMENT_TIMEOUT_SECONDS = 5.0

_SESSION = {
    # Custom plans over partitions cost 98-206 µs a row, generic ones 5-7 (measured).
    "plan_cache_mode": "force_generic_plan",
    "synchronous_commit": "on",
    "jit": "off",
    "statement_timeout": "5000",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "timezone": "UTC",
}

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ReadOnlySQLTransactionError,
    # What the driver makes of a connection between the server's farewell and the end of its socket.
    asyncpg.InternalClientError,
    # A daemon may start before its database and role are made, or keep running while its password is changed.
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
_FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)


_BECOME = "SELECT set_config('role', $1, true), set_config('clarion.app', $2, true)"
IsolationLevel: TypeAlias = Literal["read_committed", "repeatable_read"]


class LedgerUnavailable(Unavailable):
    """Postgres does not answer, or not in time. Whether a write in progress took hold is unknown."""

    dependency = "ledger"


@asynccontextmanager
async def pool(url: str, *, size: int, application: str) -> AsyncIterator[Pool]:
    """At most `size` connections, opened when needed: a daemon may start before its database."""
    made = await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=300,
        command_timeout=STATEMENT_TIMEOUT_SECONDS + 1,
        timeout=ACQUIRE_TIMEOUT_SECONDS,
        # Longer statements are planned anew each time, which takes longer than most of them run.
        max_cacheable_statement_size=MAX_STATEMENT_CHARS,
        server_settings={**_SESSION, "application_name": f"clarion-{application}"},
        # The default reset is one more round trip for every statement; no session state is ever set here.
        reset=_nothing,
    )
    try:
        yield made
    finally:
        made.terminate()


async def _nothing(connection: object) -> None:
    """No session state to reset."""


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """A connection for one short piece of work. Raises LedgerUnavailable, or DomainError STORAGE_FULL."""
    try:
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as acquired:
            yield acquired
    except _FULL as full:
        raise DomainError(ErrorReason.STORAGE_FULL, "the ledger's disk is full; try again later") from full
    except _AWAY as away:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # Giving back a connection amid a statement may itself time out, which must not undo the cancellation.
            raise asyncio.CancelledError from away
        raise LedgerUnavailable(type(away).__name__) from away


@asynccontextmanager
async def of_app(
    pool: Pool, app_id: int, role: str, *, isolation: IsolationLevel = "read_committed", readonly: bool = False
) -> AsyncIterator[Connection]:
    """A transaction for what a client asked for: it runs as `role`, which sees and writes the rows of one app only, so that
    a statement without its condition on the app finds nothing of others. Raises what `connection` does."""
    async with connection(pool) as db, db.transaction(isolation=isolation, readonly=readonly):
        await db.execute(_BECOME, role, str(app_id))
        yield db


async def ping(pool: Pool, needs: str = "ledger.config_revision") -> None:
    """Raises LedgerUnavailable unless the database answers and is migrated as far as the table `needs`; `durable.Ready` is
    the check for a daemon."""
    async with connection(pool) as db:
        if not await db.fetchval("SELECT to_regclass($1) IS NOT NULL", needs):
            raise LedgerUnavailable(f"the database is not migrated: {needs} is missing")
