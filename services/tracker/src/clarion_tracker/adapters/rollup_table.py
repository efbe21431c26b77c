"""`tracking.rollup_*` and `tracking.reason_*`: counted from the ledger's events by a cursor that moves in the same transaction.

A sequence alone skips a transaction that commits late: events are read in the order of (transaction, sequence), and only below
the oldest transaction that is still open.
"""

from datetime import datetime, timedelta
from uuid import uuid4

from clarion_kit import crash
from clarion_kit.vocabulary import EventKind, Receipt
from clarion_ledger import flow
from clarion_ledger.db import Pool, connection
from clarion_tracker.activity import RECEIPTS, Kind
from clarion_tracker.adapters.rollup_places import WEEKS_PLACE
from clarion_tracker.funnel import MEASURES, OF_STATE
from clarion_tracker.rolling import Step
from clarion_tracker.statistics import WEEK, Grain, Kept

LEASE = timedelta(seconds=10)
_JOB = "statistics"
_LONGEST_TRANSACTION = "interval '1 hour'"
"""None of ours is open so long; it bounds the partitions of events that are looked at."""

# Every join is a look-up by key: the planner cannot know that a step is small beside the ledger.
_AS_LOOKUPS = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"
# The horizon is that of the transaction's first statement, before it has an id of its own, which would hold it back.
_HORIZON = """
SELECT pg_snapshot_xmin(s)::text AS below, pg_snapshot_xmax(s)::text AS unused, now() AS at FROM pg_current_snapshot() AS s
"""
_HOLD = f"""
SELECT xid::text, seq, at, activity_xid::text, activity_seq, weeks_place = {WEEKS_PLACE} AS weeks FROM tracking.rollup_cursor
FOR UPDATE
"""

_MEASURE = {name: number for number, name in enumerate(MEASURES, start=1)}
_TERMINAL = ", ".join(f"({state}, {_MEASURE[name]})" for state, name in OF_STATE.items())
_OF_RECEIPT = {Receipt.DELIVERED: "delivered", Receipt.SEEN: "opened", Receipt.CLICKED: "clicked"}
# What is told of a delivery in the ledger is a receipt, and counted as one; what comes after it was pruned counts here.
_ACTIVITIES = ", ".join(
    f"({kind}, {machine}, {late}, {_MEASURE[name]})"
    for kind, machine, late, name in [
        *((kind, False, True, _OF_RECEIPT[receipt]) for kind, receipt in RECEIPTS.items()),
        *((Kind.CONVERTED, False, late, "converted") for late in (False, True)),
        *((Kind.OPENED, True, late, "machine_opened") for late in (False, True)),
        *((Kind.CLICKED, True, late, "machine_clicked") for late in (False, True)),
    ]
)
_DIMENSIONS = "grain, app_id, category_id, template_version, lane_id, channel, country"
_KEY = "app_id, grain, at, category_id, template_version, channel, lane_id, country"
_COUNTERS = ", ".join(MEASURES)


_GRAINS = ", ".join(
    f"({grain}, {bool(grain & Grain.TEMPLATE_VERSION)}, {bool(grain & Grain.COUNTRY)})"
    for grain in range(Grain.BOTH + 1)
)
_KEPT = {"hour": f"grain <> {Grain.BOTH}", "day": "true", "week": f"grain = {Grain.BOTH}"}
_BIN = {"hour": "'1 hour', {}, 'epoch'", "day": "'1 day', {}, 'epoch'", "week": "'7 days', {}, '1970-01-05Z'"}


def _raised(name: str, condition: str) -> str:
    """What a receipt changes of a counter that holds the deliveries whose receipt meets `condition`."""
    change = f"(g.receipt {condition})::int - (g.former {condition})::int"
    return f"SELECT {_MEASURE[name]}, g.lane_id, {change}, NULL::int2 WHERE g.kind = {EventKind.RECEIPT}"


# `touched`: deliveries by event, and notifications accepted (channel 0). `alike` puts together those that count alike, so
# that what follows costs little. A delivery is planned under account 0 and moves to its own when it ends; what is planned and
# ends in one step never stands there. A delivery has the milliseconds of its notification: `bounds` leaves out other days'
# partitions and is written such that no index is tempted by it (tried: as a range it became a join of every delivery of the
# step with every notification, 220 µs each). Test sends are counted nowhere.
_NO_TEST = "NOT EXISTS (SELECT FROM ledger.test_send t WHERE t.notification_id = {})"
_TOUCHED = f"""
happened AS MATERIALIZED (
    SELECT e.xid, e.seq, e.at, e.notification_id, e.delivery_id, e.lane_id, e.kind, e.state, e.reason, e.receipt, e.former
    FROM ledger.event e
    WHERE (e.xid, e.seq) > ($1::text::xid8, $2::int8) AND e.xid < $6::text::xid8
    AND e.at >= $3::timestamptz - {_LONGEST_TRANSACTION}
    ORDER BY e.xid, e.seq LIMIT $7
), planned AS (
    SELECT h.notification_id AS id FROM happened h WHERE h.kind = {EventKind.PLANNED}
), bounds AS MATERIALIZED (
    SELECT ledger.uuid_floor((SELECT uuid_extract_timestamp(id) FROM planned ORDER BY id LIMIT 1)) AS low,
           ledger.uuid_floor((SELECT uuid_extract_timestamp(id) FROM planned ORDER BY id DESC LIMIT 1) + interval '1 ms') AS high
), active AS MATERIALIZED (
    SELECT a.xid, a.seq, a.delivery_id, a.app_id, a.category_id, a.template_version, a.channel, a.country,
           m.measure
    FROM tracking.activity a LEFT JOIN (VALUES {_ACTIVITIES}) AS m (kind, machine, late, measure)
    ON m.kind = a.kind AND m.machine = a.machine AND m.late = a.late
    WHERE (a.xid, a.seq) > ($4::text::xid8, $5::int8) AND a.xid < $6::text::xid8
    ORDER BY a.xid, a.seq LIMIT $7
), unsubscribed AS (
    DELETE FROM tracking.unsubscribed WHERE unsubscribed_id IN (
        SELECT unsubscribed_id FROM tracking.unsubscribed ORDER BY unsubscribed_id LIMIT $7
    ) RETURNING *
), touched AS (
    SELECT h.kind, h.state, h.reason, h.receipt, h.former, coalesce(h.lane_id, 0) AS lane_id, d.id, d.app_id, d.category_id,
           n.template, d.template_version, d.channel, d.country
    FROM happened h JOIN ledger.delivery d ON d.id = h.delivery_id LEFT JOIN ledger.notification n ON n.id = h.notification_id
    WHERE h.kind IN ({EventKind.TERMINAL}, {EventKind.RECEIPT}, {EventKind.REDRIVEN}) AND {_NO_TEST.format("h.notification_id")}
    UNION ALL
    SELECT {EventKind.PLANNED}, NULL, NULL, NULL, NULL, 0, d.id, d.app_id, d.category_id, n.template, d.template_version, d.channel,
           d.country
    FROM planned p LEFT JOIN ledger.notification n ON n.id = p.id CROSS JOIN LATERAL (
        SELECT * FROM ledger.delivery d WHERE d.notification_id = p.id AND d.redrive_of IS NULL
        AND d.id >= (SELECT low FROM bounds) AND (d.id < (SELECT high FROM bounds) OR d.id = (SELECT high FROM bounds))
        OFFSET 0
    ) d
    WHERE {_NO_TEST.format("p.id")}
    UNION ALL
    SELECT {EventKind.ACCEPTED}, NULL, NULL, NULL, NULL, 0, n.id, n.app_id, n.category_id, NULL, 0, 0, ''
    FROM happened h JOIN ledger.notification n ON n.id = h.notification_id
    WHERE h.kind = {EventKind.ACCEPTED} AND {_NO_TEST.format("h.notification_id")}
), alike AS (
    SELECT t.kind, t.state, t.reason, t.receipt, t.former,
           date_bin('1 hour', coalesce(uuid_extract_timestamp(t.id), now()), 'epoch') AS hour, t.app_id,
           t.category_id, t.template, coalesce(t.template_version, 0) AS template_version, t.lane_id, t.channel,
           coalesce(t.country, '') AS country, count(*) AS n
    FROM touched t GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
), acted AS (
    SELECT date_bin('1 hour', coalesce(uuid_extract_timestamp(a.delivery_id), now()), 'epoch') AS hour, a.app_id, a.category_id,
           n.template, a.template_version, coalesce(d.lane_id, 0) AS lane_id, a.channel, a.country, a.measure, count(*) AS n
    FROM active a LEFT JOIN ledger.delivery d ON d.id = a.delivery_id LEFT JOIN ledger.notification n ON n.id = d.notification_id
    WHERE a.measure IS NOT NULL AND {_NO_TEST.format("d.notification_id")} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
)"""
# A version of a template gets its key when it is first counted; whoever counts holds the cursor, so nobody else gives it one.
# Keys of now are none that a look-up of this statement finds.
_KEYED = """
unknown AS (
    SELECT DISTINCT u.app_id, u.template_version AS version, u.template AS name FROM (
        SELECT app_id, template_version, template FROM alike UNION ALL SELECT app_id, template_version, template FROM acted
    ) u
    WHERE u.template_version > 0 AND u.template IS NOT NULL AND NOT EXISTS (
        SELECT FROM ledger.template_key k WHERE k.app_id = u.app_id AND k.name = u.template AND k.version = u.template_version
    )
), fresh AS (
    INSERT INTO ledger.template_key (app_id, version, name) SELECT app_id, version, name FROM unknown ORDER BY 1, 3, 2
    RETURNING template_key, app_id, version, name
)"""
_KEYS_OF = """
LEFT JOIN ledger.template_key k ON k.app_id = {0}.app_id AND k.name = {0}.template AND k.version = {0}.template_version
LEFT JOIN fresh f ON f.app_id = {0}.app_id AND f.name = {0}.template AND f.version = {0}.template_version"""
_KEY_OR_VERSION = "coalesce(k.template_key, f.template_key, {}.template_version) AS template_version"
_CHANGES = f"""
finest AS (
    SELECT g.hour, g.app_id, g.category_id, {_KEY_OR_VERSION.format("g")}, m.lane_id, g.channel, g.country, m.measure, m.reason,
           sum(m.change * g.n)::int4 AS change
    FROM alike g {_KEYS_OF.format("g")} CROSS JOIN LATERAL (
        SELECT {_MEASURE["accepted"]} AS measure, 0 AS lane_id, 1 AS change, NULL::int2 AS reason WHERE g.kind = {EventKind.ACCEPTED}
        UNION ALL SELECT {_MEASURE["planned"]}, 0, 1, NULL WHERE g.kind IN ({EventKind.PLANNED}, {EventKind.REDRIVEN})
        UNION ALL SELECT {_MEASURE["planned"]}, 0, -1, NULL WHERE g.kind = {EventKind.TERMINAL}
        UNION ALL SELECT {_MEASURE["planned"]}, g.lane_id, 1, NULL WHERE g.kind = {EventKind.TERMINAL}
        UNION ALL SELECT s.measure, g.lane_id, 1, g.reason FROM (VALUES {_TERMINAL}) AS s (state, measure)
                  WHERE g.kind = {EventKind.TERMINAL} AND s.state = g.state
        UNION ALL {_raised("delivered", f">= {Receipt.DELIVERED}")}
        UNION ALL {_raised("undelivered", f"= {Receipt.UNDELIVERED}")}
        UNION ALL {_raised("opened", f">= {Receipt.SEEN}")}
        UNION ALL {_raised("clicked", f">= {Receipt.CLICKED}")}
    ) m
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 HAVING sum(m.change * g.n) <> 0
    UNION ALL
    SELECT a.hour, a.app_id, a.category_id, {_KEY_OR_VERSION.format("a")}, a.lane_id, a.channel, a.country, a.measure, NULL, a.n
    FROM acted a {_KEYS_OF.format("a")}
    UNION ALL
    SELECT date_bin('1 hour', u.at, 'epoch'), u.app_id, u.category_id, 0, 0, u.channel, '', {_MEASURE["unsubscribed"]}, NULL, count(*)
    FROM unsubscribed u GROUP BY 1, 2, 3, 6
), changes AS MATERIALIZED (
    SELECT g.grain, f.hour, f.app_id, f.category_id, CASE WHEN g.by_template THEN f.template_version ELSE 0 END AS template_version,
           f.lane_id, f.channel, CASE WHEN g.by_country THEN f.country ELSE '' END AS country, f.measure, f.reason,
           sum(f.change) AS change
    FROM finest f CROSS JOIN (VALUES {_GRAINS}) AS g (grain, by_template, by_country)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 HAVING sum(f.change) <> 0
)"""


def _add(unit: str) -> str:
    """The statement that adds the changes to the rollup of a unit. Rows are locked in the order of their keys."""
    sums = ", ".join(f"coalesce(sum(change) FILTER (WHERE measure = {number}), 0)" for number in _MEASURE.values())
    added = ", ".join(f"{name} = r.{name} + excluded.{name}" for name in MEASURES)
    return f"""
    INSERT INTO tracking.rollup_{unit} AS r (at, {_DIMENSIONS}, {_COUNTERS})
    SELECT date_bin({_BIN[unit].format("hour")}) AS at, {_DIMENSIONS}, {sums} FROM changes WHERE {_KEPT[unit]}
    GROUP BY at, {_DIMENSIONS} ORDER BY {_KEY}
    ON CONFLICT ({_KEY}) DO UPDATE SET {added}"""


def _add_reasons(unit: str) -> str:
    return f"""
    INSERT INTO tracking.reason_{unit} AS r (at, {_DIMENSIONS}, state, reason, count)
    SELECT date_bin({_BIN[unit].format("hour")}) AS at, {_DIMENSIONS}, s.state, c.reason, sum(c.change)
    FROM changes c JOIN (VALUES {_TERMINAL}) AS s (state, measure) ON s.measure = c.measure
    WHERE c.reason <> 0 AND {_KEPT[unit]}
    GROUP BY at, {_DIMENSIONS}, s.state, c.reason ORDER BY {_KEY}, state, reason
    ON CONFLICT ({_KEY}, state, reason) DO UPDATE SET count = r.count + excluded.count"""


_STEP = f"""
WITH {_TOUCHED}, {_KEYED}, {_CHANGES},
hours AS ({_add("hour")}),
days AS ({_add("day")}),
weeks AS ({_add("week")}),
hour_reasons AS ({_add_reasons("hour")}),
day_reasons AS ({_add_reasons("day")}),
week_reasons AS ({_add_reasons("week")}),
last_event AS (SELECT xid, seq, at FROM happened ORDER BY xid DESC, seq DESC LIMIT 1),
last_active AS (SELECT xid, seq FROM active ORDER BY xid DESC, seq DESC LIMIT 1),
read AS (
    SELECT (SELECT count(*) FROM happened) AS events, (SELECT count(*) FROM active) AS active,
           (SELECT count(*) FROM unsubscribed) AS unsubscribed
), moved AS (
    SELECT r.*, greatest(r.events, r.active, r.unsubscribed) < $7 AS all_read FROM read r
)
UPDATE tracking.rollup_cursor c
SET xid = coalesce((SELECT xid FROM last_event), c.xid), seq = coalesce((SELECT seq FROM last_event), c.seq),
    at = coalesce((SELECT at FROM last_event), c.at),
    activity_xid = coalesce((SELECT xid FROM last_active), c.activity_xid),
    activity_seq = coalesce((SELECT seq FROM last_active), c.activity_seq),
    as_of = greatest(c.as_of, CASE WHEN NOT m.all_read THEN c.as_of WHEN $8::text::xid8 = $6::text::xid8 THEN $9
                                   WHEN c.marked_xid <= $6::text::xid8 THEN c.marked_at ELSE c.as_of END),
    marked_xid = CASE WHEN c.marked_xid <= $6::text::xid8 THEN $8::text::xid8 ELSE c.marked_xid END,
    marked_at = CASE WHEN c.marked_xid <= $6::text::xid8 THEN $9 ELSE c.marked_at END
FROM moved m
RETURNING m.events + m.active + m.unsubscribed AS events, NOT m.all_read AS more, c.as_of
"""

# Weeks are what their days say. Ten million deliveries of a month take a second, all that may be kept some ten. Rows lie in the
# order in which they are read: else each costs a page.
_KEY_OF_WEEK = _KEY.replace(" at,", " week,")
_ANEW_SECONDS = 300
_WEEKS_ANEW = (
    f"SET LOCAL statement_timeout = '{_ANEW_SECONDS}s'",
    "DELETE FROM tracking.rollup_week",
    "DELETE FROM tracking.reason_week",
    f"INSERT INTO tracking.rollup_week (at, {_DIMENSIONS}, {_COUNTERS})"
    f" SELECT date_bin({_BIN['week'].format('at')}) AS week, {_DIMENSIONS}, {', '.join(f'sum({name})' for name in MEASURES)}"
    f" FROM tracking.rollup_day WHERE {_KEPT['week']} GROUP BY week, {_DIMENSIONS} ORDER BY {_KEY_OF_WEEK}",
    f"INSERT INTO tracking.reason_week (at, {_DIMENSIONS}, state, reason, count)"
    f" SELECT date_bin({_BIN['week'].format('at')}) AS week, {_DIMENSIONS}, state, reason, sum(count)"
    f" FROM tracking.reason_day WHERE {_KEPT['week']} GROUP BY week, {_DIMENSIONS}, state, reason ORDER BY {_KEY_OF_WEEK}, state, reason",
)
_WEEKS_FOLLOWED = f"UPDATE tracking.rollup_cursor SET weeks_place = {WEEKS_PLACE}"

_PRUNE = """
DELETE FROM tracking.{table} WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM ledger.app a CROSS JOIN generate_series(0, 3) AS g (grain)
    JOIN tracking.{table} r ON r.app_id = a.app_id AND r.grain = g.grain AND r.at < now() - $1::interval LIMIT $2
))
"""


class RollupTable:
    """`rolling.Rollups`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._holder = uuid4().hex

    async def mine(self) -> bool:
        return await flow.take_lease(self._pool, _JOB, self._holder, LEASE)

    async def step(self, most: int) -> Step:
        async with connection(self._pool) as db, db.transaction():
            horizon = await db.fetchrow(_HORIZON)
            # Whoever else counts waits here, and then goes on from where this step ends.
            place = await db.fetchrow(_HOLD)
            if horizon is None or place is None:
                raise RuntimeError("tracking.rollup_cursor is empty")
            if not place["weeks"]:
                for statement in _WEEKS_ANEW:
                    await db.execute(statement, timeout=_ANEW_SECONDS)
            await db.execute(_AS_LOOKUPS)
            moved = await db.fetchrow(
                _STEP,
                place["xid"],
                place["seq"],
                place["at"],
                place["activity_xid"],
                place["activity_seq"],
                horizon["below"],
                most,
                horizon["unused"],
                horizon["at"],
            )
            await db.execute(_WEEKS_FOLLOWED)
            crash.point("rollup.before_commit")
        crash.point("rollup.after_commit")
        if moved is None:
            raise RuntimeError("tracking.rollup_cursor is empty")
        as_of: datetime = moved["as_of"]
        return Step(moved["events"], moved["more"], as_of)

    async def prune(self, kept: Kept, limit: int) -> int:
        deleted = 0
        async with connection(self._pool) as db, db.transaction():
            await db.execute(_AS_LOOKUPS)
            for unit, age in (("hour", kept.hours), ("day", kept.days), ("week", kept.days + WEEK)):
                for table in (f"rollup_{unit}", f"reason_{unit}"):
                    status: str = await db.execute(_PRUNE.format(table=table), age, limit)
                    deleted += int(status.removeprefix("DELETE "))
        return deleted
