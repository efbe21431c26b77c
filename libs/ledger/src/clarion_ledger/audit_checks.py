"""The statements of the audit: what is read, and the contradictions that are looked for in it.

A check names relations, not tables. `notification`, `delivery`, `event`, `work`, `plan_work` and `broadcast` are what is
audited; those with `any_` in front hold the partners of these. What they are is the scope's matter: everything since a
moment, read where a check asks for it, or some notifications, read once and compared in memory.
"""

from collections.abc import Iterable, Mapping

_MARGIN = "interval '1 minute'"
"""uuidv7() may run some milliseconds ahead of the transaction's own now(), which stamps its events."""

# A delivery, and so its attempts and its body, has the milliseconds of its notification.
_SINCE = {
    "notification": "SELECT * FROM ledger.notification WHERE id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR app_id = $2)",
    "delivery": "SELECT * FROM ledger.delivery WHERE id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR app_id = $2)",
    "event": "SELECT * FROM ledger.event WHERE at >= $1 AND ($2::int4 IS NULL OR app_id = $2)",
    "work": "SELECT * FROM ledger.delivery_work WHERE planned_at >= $1 AND ($2::int4 IS NULL OR app_id = $2)",
    "plan_work": (
        "SELECT * FROM ledger.plan_work WHERE notification_id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR app_id = $2)"
    ),
    "broadcast": (
        "SELECT * FROM ledger.broadcast WHERE broadcast_id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR app_id = $2)"
    ),
    "any_notification": "SELECT * FROM ledger.notification",
    "any_delivery": "SELECT * FROM ledger.delivery",
    "any_event": f"SELECT * FROM ledger.event WHERE at >= $1::timestamptz - {_MARGIN}",
    "any_work": "SELECT * FROM ledger.delivery_work",
    "any_plan_work": "SELECT * FROM ledger.plan_work",
    "accepted_attempt": "SELECT * FROM ledger.attempt WHERE outcome = 1",
    "any_body": "SELECT id FROM ledger.delivery_body",
    "any_broadcast": "SELECT broadcast_id FROM ledger.broadcast",
    "carrier": "SELECT * FROM ledger.delivery",
    "any_schedule": "SELECT notification_id FROM ledger.schedule",
    "any_digest": "SELECT digest_id FROM ledger.digest",
    "any_letter": "SELECT delivery_id, redriven_as FROM ledger.dead_letter",
    "kept_charge": "SELECT delivery_id FROM ledger.sms_charge WHERE NOT unspent",
}

_BETWEEN = ">= ledger.uuid_floor(to_timestamp($2)) AND {0} < ledger.uuid_floor(to_timestamp($3 + 86400))"
_ID = "id " + _BETWEEN.format("id")
_DELIVERY_ID = "delivery_id " + _BETWEEN.format("delivery_id")

# $1: the notifications; $2, $3: when the first and the last of them began (Unix seconds), which leaves out partitions. Every
# table is read by the keys of the batch and once, however many checks ask for it.
_TOUCHED = {
    "notification": (
        f"SELECT id, state, planned_count, broadcast_id FROM ledger.notification WHERE id = ANY ($1::uuid[]) AND {_ID}"
    ),
    "delivery": (
        "SELECT id, notification_id, recipient_ref, state, reason, redrive_of, merged_into, provider_message_id"
        f" FROM ledger.delivery WHERE notification_id = ANY ($1::uuid[]) AND {_ID}"
    ),
    "event": (
        "SELECT notification_id, delivery_id, kind, state, reason FROM ledger.event"
        f" WHERE notification_id = ANY ($1::uuid[]) AND at >= to_timestamp($2) - {_MARGIN} AND at < now() + {_MARGIN}"
        " AND kind IN (1, 2, 5)"
    ),
    "work": (
        "SELECT delivery_id, notification_id, digest_id, state, ready_since, enqueued_at, lease_until, due_at, until"
        " FROM ledger.delivery_work WHERE notification_id = ANY ($1::uuid[])"
    ),
    "plan_work": (
        "SELECT notification_id, ready_since, enqueued_at FROM ledger.plan_work WHERE notification_id = ANY ($1::uuid[])"
    ),
    # Only what happens to a broadcast itself touches it: counting its children after each of them would cost their square.
    "broadcast": (
        "SELECT broadcast_id, planned, deliveries, suppressed FROM ledger.broadcast WHERE broadcast_id = ANY ($1::uuid[])"
    ),
    "any_notification": "TABLE notification",
    "any_delivery": "TABLE delivery",
    "any_event": "TABLE event",
    "any_work": "TABLE work",
    "any_plan_work": "TABLE plan_work",
    "accepted_attempt": (
        "SELECT delivery_id, provider_message_id FROM ledger.attempt WHERE outcome = 1"
        f" AND delivery_id = ANY (ARRAY(SELECT id FROM delivery WHERE state >= 20)) AND {_DELIVERY_ID}"
    ),
    "any_body": (f"SELECT id FROM ledger.delivery_body WHERE id = ANY (ARRAY(SELECT delivery_id FROM work)) AND {_ID}"),
    "any_broadcast": (
        "SELECT broadcast_id FROM ledger.broadcast WHERE broadcast_id = ANY"
        " (ARRAY(SELECT DISTINCT broadcast_id FROM notification WHERE broadcast_id IS NOT NULL))"
    ),
    "carrier": (
        "SELECT id, recipient_ref, state, reason FROM ledger.delivery WHERE id = ANY"
        " (ARRAY(SELECT merged_into FROM delivery WHERE merged_into IS NOT NULL))"
    ),
    "any_schedule": "SELECT notification_id FROM ledger.schedule WHERE notification_id = ANY ($1::uuid[])",
    "any_digest": (
        "SELECT digest_id FROM ledger.digest WHERE digest_id = ANY (ARRAY(SELECT digest_id FROM work WHERE digest_id IS NOT NULL))"
    ),
    "any_letter": (
        "SELECT delivery_id, redriven_as FROM ledger.dead_letter WHERE delivery_id = ANY"
        " (ARRAY(SELECT redrive_of FROM delivery WHERE redrive_of IS NOT NULL))"
    ),
    "kept_charge": (
        "SELECT delivery_id FROM ledger.sms_charge"
        " WHERE NOT unspent AND delivery_id = ANY (ARRAY(SELECT id FROM delivery WHERE state >= 20))"
    ),
}

# Rows are counted by groups, not by joins: a join of two batches whose size is misjudged costs their product.
CHECKS: Mapping[str, str] = {
    # (a) accepted events = notifications, both ways
    "notification_without_accepted_event": """
        SELECT id FROM (
            SELECT id, true AS there, 0 AS events FROM notification
            UNION ALL SELECT notification_id, false, 1 FROM any_event WHERE kind = 2
        ) x GROUP BY id HAVING bool_or(there) AND sum(events) <> 1""",
    "accepted_event_without_notification": """
        SELECT e.notification_id FROM event e WHERE e.kind = 2
        AND NOT EXISTS (SELECT FROM any_notification n WHERE n.id = e.notification_id)""",
    "scheduled_event_without_schedule": """
        SELECT e.notification_id FROM event e WHERE e.kind = 1
        AND NOT EXISTS (SELECT FROM any_schedule s WHERE s.notification_id = e.notification_id)
        AND NOT EXISTS (SELECT FROM any_notification n WHERE n.id = e.notification_id)""",
    "notification_lost_before_planning": """
        SELECT n.id FROM notification n LEFT JOIN any_plan_work p ON p.notification_id = n.id
        WHERE (n.state = 2) <> (p.notification_id IS NOT NULL)""",
    # (b) planned_count = its deliveries
    "planned_count_differs": """
        SELECT id FROM (
            SELECT id, planned_count AS planned, 0 AS deliveries FROM notification WHERE state = 3
            UNION ALL SELECT notification_id, NULL, 1 FROM delivery WHERE redrive_of IS NULL
        ) x GROUP BY id HAVING max(planned) <> sum(deliveries)""",
    # (c) delivery_work rows = non-terminal deliveries, both ways
    "delivery_in_flight_without_work": """
        SELECT d.notification_id FROM delivery d WHERE d.state < 20
        AND NOT EXISTS (SELECT FROM any_work w WHERE w.delivery_id = d.id)""",
    "work_without_delivery_in_flight": """
        SELECT w.notification_id FROM work w
        WHERE NOT EXISTS (SELECT FROM any_delivery d WHERE d.id = w.delivery_id AND d.state < 20)""",
    # (d) exactly one terminal event per terminal delivery, same state and reason
    "terminal_event_differs": """
        SELECT notification_id FROM (
            SELECT notification_id, id, (state >= 20)::int AS ended, 0 AS events FROM delivery
            UNION ALL SELECT notification_id, delivery_id, NULL, 1 FROM any_event WHERE kind = 5
        ) x GROUP BY notification_id, id HAVING max(ended) <> sum(events)""",
    "terminal_event_contradicts": """
        SELECT d.notification_id FROM delivery d JOIN any_event e
        ON e.notification_id = d.notification_id AND e.delivery_id = d.id AND e.kind = 5
        WHERE e.state <> d.state OR coalesce(e.reason, 0) <> d.reason""",
    # (e) each sent has an accepted attempt with the provider's id
    "sent_without_attempt": """
        SELECT d.notification_id FROM delivery d WHERE d.state = 20 AND NOT EXISTS (
            SELECT FROM accepted_attempt a
            WHERE a.delivery_id = d.id AND coalesce(a.provider_message_id, '') = coalesce(d.provider_message_id, ''))""",
    "accepted_attempt_of_unsent": """
        SELECT d.notification_id FROM delivery d WHERE d.state IN (21, 22, 23, 24, 25)
        AND EXISTS (SELECT FROM accepted_attempt a WHERE a.delivery_id = d.id)""",
    # (f) nothing is in flight without a lease, an enqueue, or a due time
    "work_at_rest_nowhere": """
        SELECT w.notification_id FROM work w WHERE NOT (
            (w.state = 1 AND w.ready_since IS NOT NULL) OR (w.state = 2 AND w.enqueued_at IS NOT NULL)
            OR (w.state = 3 AND w.lease_until IS NOT NULL) OR (w.state IN (4, 5, 6, 7) AND w.due_at IS NOT NULL))""",
    "plan_work_at_rest_nowhere": """
        SELECT p.notification_id FROM plan_work p WHERE p.ready_since IS NULL AND p.enqueued_at IS NULL""",
    # what waits, waits for something: a step of an escalation or an open digest window
    "waiting_for_nothing": """
        SELECT w.notification_id FROM work w WHERE w.state = 7 AND w.until IS NULL
        AND NOT EXISTS (SELECT FROM any_digest g WHERE g.digest_id = w.digest_id)""",
    # a member of a digest and the delivery that went in its place are of one recipient
    "merged_into_nothing": """
        SELECT d.notification_id FROM delivery d WHERE d.state = 22 AND d.reason = 15 AND NOT EXISTS (
            SELECT FROM carrier c WHERE c.id = d.merged_into AND c.id <> d.id AND c.recipient_ref = d.recipient_ref
            AND (c.state, c.reason) <> (22, 15))""",
    # (g) a redrive and its dead letter name each other
    "redrive_without_letter": """
        SELECT d.notification_id FROM delivery d WHERE d.redrive_of IS NOT NULL
        AND NOT EXISTS (SELECT FROM any_letter l WHERE l.delivery_id = d.redrive_of AND l.redriven_as = d.id)""",
    # (h) what a broadcast counted = its children and their deliveries
    "broadcast_counts_differ": """
        SELECT b.broadcast_id FROM broadcast b CROSS JOIN LATERAL (
            SELECT count(*) AS children, coalesce(sum(n.planned_count), 0) AS deliveries FROM ledger.notification n
            WHERE n.id >= ledger.uuid_floor(uuid_extract_timestamp(b.broadcast_id))
            AND n.id < ledger.uuid_floor(uuid_extract_timestamp(b.broadcast_id) + interval '1 ms') AND n.broadcast_id = b.broadcast_id
        ) c WHERE b.planned <> c.children OR b.deliveries + b.suppressed <> c.deliveries""",
    "child_of_no_broadcast": """
        SELECT n.id FROM notification n WHERE n.broadcast_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM any_broadcast b WHERE b.broadcast_id = n.broadcast_id)""",
    # (i) what an SMS took of a budget is held while it is in flight, or waits to be put back
    "charge_of_what_ended": """
        SELECT d.notification_id FROM delivery d JOIN kept_charge c ON c.delivery_id = d.id WHERE d.state >= 20""",
    "in_flight_without_body": """
        SELECT w.notification_id FROM work w WHERE NOT EXISTS (SELECT FROM any_body b WHERE b.id = w.delivery_id)""",
}
"""Name → statement over the relations; each gives the notification of every contradiction."""


def _with(relations: Mapping[str, str], *, materialized: Iterable[str] = ()) -> str:
    once = frozenset(materialized)
    return "WITH " + ", ".join(
        f"{name} AS {'' if name in once else 'NOT '}MATERIALIZED ({select})" for name, select in relations.items()
    )


def counting_since(check: str) -> str:
    """How many contradictions a check finds in what was accepted or planned since a moment ($1) of one app or of all ($2)."""
    return f"{_with(_SINCE)} SELECT count(*) FROM ({CHECKS[check]}) AS found"


_READ_ONCE = [name for name, select in _TOUCHED.items() if not select.startswith("TABLE ")]
FINDING_TOUCHED = f"{_with(_TOUCHED, materialized=_READ_ONCE)} " + " UNION ALL ".join(
    f"SELECT '{name}', f.* FROM ({check}) AS f" for name, check in CHECKS.items()
)
"""(check, notification) of every contradiction among some notifications ($1), the first of which began at $2 and the
last at $3 (Unix seconds). Meant to run
without nested loops: what is read is in memory, and its size unknown to the query planner."""
