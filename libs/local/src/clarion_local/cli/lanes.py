"""How much waits where: every lane of the bus, and what rests in the ledger. Reads only."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from clarion_kit import mesh
from clarion_kit.bus import JetStreamBus
from clarion_kit.bus_login import CredentialFile
from clarion_kit.subjects import Lane, Subjects, all_lanes
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_kit.tls import RenewingContext, TlsFiles
from clarion_ledger import db
from clarion_local.cli.failures import UsageFault

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


_STOPS = """
SELECT a.name AS app, l.name AS account, l.channel, s.reason, extract(epoch FROM now() - s.since)::float8 AS age
FROM ledger.lane_stop s JOIN ledger.lane l ON l.lane_id = s.lane_id JOIN ledger.app a ON a.app_id = s.app_id
ORDER BY s.since, s.lane_id LIMIT 50
"""
_APPS = """
SELECT a.name AS app, sum(w.n)::int8 AS n, extract(epoch FROM now() - min(w.since))::float8 AS age
FROM (
    SELECT app_id, count(*) AS n, min(coalesce(ready_since, enqueued_at)) AS since FROM ledger.plan_work GROUP BY 1
    UNION ALL
    SELECT app_id, count(*), min(coalesce(ready_since, enqueued_at, planned_at)) FROM ledger.delivery_work GROUP BY 1
) w JOIN ledger.app a ON a.app_id = w.app_id
GROUP BY a.app_id ORDER BY n DESC, 1 LIMIT 5
"""
# Every notification passes through plan_work and every delivery through delivery_work: what Postgres counts there for itself
# is the mesh's throughput, and costs no reader anything. It is about a second behind.
_COUNTERS = """
SELECT sum(n_tup_ins) FILTER (WHERE relname = 'plan_work')::int8 AS accepted,
       sum(n_tup_ins) FILTER (WHERE relname = 'delivery_work')::int8 AS planned,
       sum(n_tup_del) FILTER (WHERE relname = 'delivery_work')::int8 AS ended
FROM pg_catalog.pg_stat_user_tables WHERE schemaname = 'ledger' AND relname IN ('plan_work', 'delivery_work')
"""


@dataclass(frozen=True, slots=True)
class LaneLook:
    """A lane of the bus: messages waiting, messages taken and not settled, messages settled so far, age of the oldest in
    seconds."""

    lane: str
    waiting: int
    pending: int
    settled: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class BacklogLook:
    """Rows of one stage in one state (a number of `DeliveryState`, 0: scheduled). A negative age is still ahead."""

    stage: str
    state: int
    rows: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class AppLook:
    """Rows of one app in flight, and the age of the oldest in seconds."""

    app: str
    rows: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class StopLook:
    """A provider account that takes no work: a number of `StopReason`, and for how many seconds."""

    app: str
    account: str
    channel: int
    reason: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Counters:
    """Notifications accepted, deliveries planned and deliveries ended, since some moment of the past."""

    accepted: int = 0
    planned: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment."""

    at: datetime
    lanes: list[LaneLook]
    backlog: list[BacklogLook]
    apps: list[AppLook] = field(default_factory=list)
    stops: list[StopLook] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)

    def to_json(self) -> dict[str, object]:
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "lanes": [asdict(lane) for lane in self.lanes],
            "backlog": [asdict(rows) for rows in self.backlog],
            "apps": [asdict(app) for app in self.apps],
            "stops": [asdict(stop) for stop in self.stops],
            "counters": asdict(self.counters),
        }


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened a second between two looks: of the mesh, and messages settled by lane."""

    accepted: float
    planned: float
    ended: float
    lanes: Mapping[str, float]


def rates(before: Look, after: Look) -> Rates | None:
    """None where no time passed. What counts from zero again (a consumer made anew, statistics reset) shows zero."""
    seconds = (after.at - before.at).total_seconds()
    if seconds <= 0:
        return None
    settled = {lane.lane: lane.settled for lane in before.lanes}

    def rate(earlier: int, later: int) -> float:
        return max(0, later - earlier) / seconds

    return Rates(
        rate(before.counters.accepted, after.counters.accepted),
        rate(before.counters.planned, after.counters.planned),
        rate(before.counters.ended, after.counters.ended),
        {lane.lane: rate(settled.get(lane.lane, lane.settled), lane.settled) for lane in after.lanes},
    )


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
                apps = await connection.fetch(_APPS)
                stops = await connection.fetch(_STOPS)
                counters = await connection.fetchrow(_COUNTERS)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as unmigrated:
                raise db.LedgerUnavailable("not migrated") from unmigrated
        return Look(
            now,
            lanes,
            [BacklogLook(row["stage"], row["state"], row["n"], row["age"]) for row in rows],
            [AppLook(row["app"], row["n"], row["age"]) for row in apps],
            [StopLook(row["app"], row["account"], row["channel"], row["reason"], row["age"]) for row in stops],
            Counters(*(value or 0 for value in counters)) if counters is not None else Counters(),
        )

    async def _lane(self, lane: Lane, now: datetime) -> LaneLook:
        depth = await self._bus.depth(lane)
        oldest = await self._bus.oldest(lane) if depth.waiting or depth.pending else None
        age = None if oldest is None else max(0.0, (now - oldest).total_seconds())
        return LaneLook(lane.name, depth.waiting, depth.pending, depth.settled, age)


@asynccontextmanager
async def bus_of(nats_url: str, env: Mapping[str, str]) -> AsyncIterator[JetStreamBus]:
    """A connection to the bus, named and secured as the daemons' settings say. Raises UsageFault for a faulty password file.

    Answers come to the inbox of the user that it connects as: a daemon's user may read no other.
    """
    tls_dir, file = env.get("CLARION_TLS_DIR", ""), env.get("CLARION_NATS_CREDENTIALS_FILE", "")
    by_tls = tls_dir and nats_url.startswith("tls://")
    tls = RenewingContext(TlsFiles.in_dir(Path(tls_dir)), TlsFiles.client_context) if by_tls else None
    try:
        credentials = CredentialFile(Path(file)) if file else None
    except ValueError as fault:
        raise UsageFault(f"CLARION_NATS_CREDENTIALS_FILE: {fault}") from None
    user = credentials.user() if credentials is not None else urlsplit(nats_url.partition(",")[0]).username
    subjects = Subjects(env.get("CLARION_SUBJECT_PREFIX") or "clarion")
    replicas = int(env.get("CLARION_STREAM_REPLICAS") or 1)
    daemon = user if user in mesh.DAEMONS else NAME
    async with Tracing(f"clarion-{NAME}", 0.0, None) as tracing:
        telemetry = Telemetry(tracing, Metrics())
        async with JetStreamBus.connect(
            nats_url, daemon, subjects, telemetry, replicas=replicas, tls=tls, credentials=credentials
        ) as bus:
            yield bus


@asynccontextmanager
async def observing(nats_url: str, database_url: str, env: Mapping[str, str]) -> AsyncIterator[Observer]:
    """An observer of a mesh. Raises BusUnavailable where nothing answers."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(bus_of(nats_url, env))
        await bus.ping()
        pool = await stack.enter_async_context(db.pool(database_url, size=1, application=NAME))
        yield Observer(bus, pool)
