"""How much waits where: every lane of the bus, and what rests in the ledger. Reads only."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Lane, Subjects, all_lanes
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_kit.tls import TlsFiles
from clarion_ledger import db

NAME = "cli"

# Rows age from when they began to wait for us; what waits for a later moment ages from when that has passed.
_BACKLOG = """
SELECT 'plan' AS stage, CASE WHEN ready_since IS NULL THEN 2 ELSE 1 END AS state, count(*) AS n,
       extract(epoch FROM now() - min(coalesce(ready_since, enqueued_at)))::float8 AS age
FROM ledger.plan_work GROUP BY 2
UNION ALL
SELECT 'dispatch', state, count(*),
       extract(epoch FROM now() - min(coalesce(ready_since, enqueued_at, due_at, planned_at)))::float8
FROM ledger.delivery_work GROUP BY 2
UNION ALL
SELECT 'schedule', 0, count(*), extract(epoch FROM now() - min(deliver_at))::float8 FROM ledger.schedule HAVING count(*) > 0
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class LaneLook:
    """A lane of the bus: messages waiting, messages taken and not settled, age of the oldest in seconds."""

    lane: str
    waiting: int
    pending: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class BacklogLook:
    """Rows of one stage in one state (a number of `DeliveryState`, 0: scheduled). A negative age is still ahead."""

    stage: str
    state: int
    rows: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment."""

    at: datetime
    lanes: list[LaneLook]
    backlog: list[BacklogLook]

    def to_json(self) -> dict[str, object]:
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "lanes": [asdict(lane) for lane in self.lanes],
            "backlog": [asdict(rows) for rows in self.backlog],
        }


class Observer:
    """Connected to bus and ledger."""

    def __init__(self, bus: JetStreamBus, pool: db.Pool) -> None:
        self._bus = bus
        self._pool = pool

    async def look(self) -> Look:
        """Raises BusUnavailable, LedgerUnavailable."""
        now = datetime.now(UTC)
        lanes = await asyncio.gather(*(self._lane(lane, now) for lane in all_lanes()))
        async with db.connection(self._pool) as connection:
            try:
                rows = await connection.fetch(_BACKLOG)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as unmigrated:
                raise db.LedgerUnavailable("not migrated") from unmigrated
        return Look(now, lanes, [BacklogLook(row["stage"], row["state"], row["n"], row["age"]) for row in rows])

    async def _lane(self, lane: Lane, now: datetime) -> LaneLook:
        depth = await self._bus.depth(lane)
        oldest = await self._bus.oldest(lane) if depth.waiting or depth.pending else None
        age = None if oldest is None else max(0.0, (now - oldest).total_seconds())
        return LaneLook(lane.name, depth.waiting, depth.pending, age)


@asynccontextmanager
async def bus_of(nats_url: str, env: Mapping[str, str]) -> AsyncIterator[JetStreamBus]:
    """A connection to the bus, named and secured as the daemons' settings say."""
    tls_dir = env.get("CLARION_TLS_DIR", "")
    tls = TlsFiles.in_dir(Path(tls_dir)).client_context() if tls_dir and nats_url.startswith("tls://") else None
    subjects = Subjects(env.get("CLARION_SUBJECT_PREFIX") or "clarion")
    replicas = int(env.get("CLARION_STREAM_REPLICAS") or 1)
    async with Tracing(f"clarion-{NAME}", 0.0, None) as tracing:
        telemetry = Telemetry(tracing, Metrics())
        async with JetStreamBus.connect(nats_url, NAME, subjects, telemetry, replicas=replicas, tls=tls) as bus:
            yield bus


@asynccontextmanager
async def observing(nats_url: str, database_url: str, env: Mapping[str, str]) -> AsyncIterator[Observer]:
    """An observer of a mesh. Raises BusUnavailable where nothing answers."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(bus_of(nats_url, env))
        await bus.ping()
        pool = await stack.enter_async_context(db.pool(database_url, size=1, application=NAME))
        yield Observer(bus, pool)
