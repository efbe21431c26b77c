-- What protects providers and recipients: limits and stops of accounts, wishes that changed in flight, retention.

ALTER TABLE ledger.lane ADD COLUMN limits bytea; -- clarion.provider.v1.Limits

-- Accounts that take no work now; all dispatchers look here twice a second. The half-open probe is a claim on `probe_at`
-- (null: only a person lets it go on).
CREATE TABLE ledger.lane_stop (
    since    timestamptz NOT NULL DEFAULT now(),
    probe_at timestamptz,
    lane_id  int4 PRIMARY KEY,
    app_id   int4 NOT NULL,
    probes   int4 NOT NULL DEFAULT 0,
    reason   int2 NOT NULL, -- clarion.provider.v1.StopReason
    detail   text NOT NULL
);

-- A held row has no time of its own: due_at is infinity until its lane goes on.
CREATE INDEX delivery_work_held ON ledger.delivery_work (lane_id, delivery_id) WHERE due_at = 'infinity';

-- The recipient's revision that the plan saw. A claim compares it with today's, so that a changed wish holds in flight.
ALTER TABLE ledger.delivery_work ADD COLUMN wishes_revision int8;

-- What a route is chosen by, beside the delivery's country, so that another account can take over.
ALTER TABLE ledger.delivery_work ADD COLUMN locale text, ADD COLUMN hint text;

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.lane_stop TO clarion_dispatcher, clarion_gateway;
GRANT SELECT ON ledger.lane_stop TO clarion_scheduler, clarion_monitor, clarion_planner;

-- ---------------------------------------------------------------- retention

-- Partitions that are past their time: bodies after `keep_bodies`, everything else after `keep_history`, event ids after
-- five epochs beyond their own. `held_by` names what still needs one; null: nothing does.
CREATE FUNCTION ledger.prunable(keep_bodies interval, keep_history interval)
RETURNS TABLE (partition text, ends timestamptz, held_by text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    oldest_delivery uuid := (SELECT delivery_id FROM ledger.delivery_work ORDER BY delivery_id LIMIT 1);
    oldest_plan uuid := (SELECT notification_id FROM ledger.plan_work ORDER BY notification_id LIMIT 1);
BEGIN
    RETURN QUERY
    WITH dated AS (
        SELECT c.relname::text AS name, p.relname::text AS parent,
               (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' AS ends
        FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
        JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
        JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
        WHERE n.nspname = 'ledger' AND p.relname IN ('notification', 'notification_body', 'delivery', 'delivery_body', 'attempt', 'event')
          AND c.relname ~ '_[0-9]{8}$'
    )
    SELECT d.name, d.ends,
           CASE WHEN oldest_delivery < ledger.uuid_floor(d.ends) THEN 'delivery ' || oldest_delivery
                WHEN oldest_plan < ledger.uuid_floor(d.ends) THEN 'notification ' || oldest_plan END
    FROM dated d
    WHERE d.ends <= now() - CASE WHEN d.parent LIKE '%\_body' THEN keep_bodies ELSE keep_history END
    UNION ALL
    SELECT c.relname::text, to_timestamp((substring(c.relname FROM '[0-9]+$')::int8 + 1) * 518400), NULL
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'ledger.event_key'::regclass
      AND substring(c.relname FROM '[0-9]+$')::int4 < (SELECT epoch FROM ledger.event_epoch) - 5
    ORDER BY 2, 1;
END $$;

-- Drops one of those, unless something needs it. Waits for its locks a moment only: writers queue behind it meanwhile.
CREATE FUNCTION ledger.prune(wanted text, keep_bodies interval, keep_history interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '300ms' AS $$
DECLARE
    floor uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.prunable(keep_bodies, keep_history) p WHERE p.partition = wanted AND p.held_by IS NULL) THEN
        RETURN false;
    END IF;
    -- Whoever still writes into it is waited for, and what that left there counts: the second look has a newer snapshot.
    EXECUTE format('LOCK TABLE ledger.%I, ledger.%I IN ACCESS EXCLUSIVE MODE', regexp_replace(wanted, '_[0-9]+$', ''), wanted);
    IF NOT EXISTS (SELECT FROM ledger.prunable(keep_bodies, keep_history) p WHERE p.partition = wanted AND p.held_by IS NULL) THEN
        RETURN false;
    END IF;
    IF wanted LIKE 'delivery\_2%' THEN
        floor := ledger.uuid_floor((to_date(right(wanted, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
        DELETE FROM ledger.dead_letter WHERE delivery_id < floor;
    END IF;
    EXECUTE format('DROP TABLE ledger.%I', wanted);
    RETURN true;
END $$;

REVOKE EXECUTE ON FUNCTION ledger.prunable(interval, interval), ledger.prune(text, interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.prunable(interval, interval), ledger.prune(text, interval, interval) TO clarion_scheduler;

-- ---------------------------------------------------------------- claim and record

-- Rows are locked in a statement of their own; what is written then depends on no lock. In one statement, a row that another
-- transaction changed meanwhile is looked at again inside it, and PostgreSQL 18 then leaves out the pruned partitions of
-- its other steps for the whole batch: the work was deleted and the delivery not updated (found by the chaos suite).

CREATE TYPE ledger.claimed AS (
    delivery_id uuid, notification_id uuid, recipient_ref uuid, app_id int4, lane_id int4, category_id int4, lease_gen int4,
    priority int2, attempt int2, max_attempts int2, at_most_once boolean, ambiguous boolean, expired boolean,
    claimed_at timestamptz, planned_at timestamptz, expire_at timestamptz, collapse_key text, traceparent text, address bytea,
    content bytea, address_id uuid, country text, locale text, hint text, changed boolean
);

-- Leases locked rows, in the order of their ids. The recipient is looked up only where the plan is not fresh.
CREATE FUNCTION ledger.lease(mine uuid[], lease interval) RETURNS SETOF ledger.claimed LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    UPDATE ledger.delivery_work w
    SET state = 3, lease_gen = w.lease_gen + 1, attempt = w.attempt + 1, lease_until = now() + lease, writing_at = NULL,
        due_at = NULL
    WHERE w.delivery_id = ANY (mine);
    RETURN QUERY
    SELECT w.delivery_id, w.notification_id, w.recipient_ref, w.app_id, w.lane_id, d.category_id, w.lease_gen, w.priority,
           w.attempt, w.max_attempts, w.at_most_once, w.ambiguous, w.expire_at <= now(), now(), w.planned_at, w.expire_at,
           w.collapse_key, w.traceparent, b.address, b.content, d.address_id, d.country, w.locale, w.hint,
           w.planned_at < now() - interval '1 second' AND r.revision IS DISTINCT FROM w.wishes_revision
    FROM unnest(mine) AS i (delivery_id)
    JOIN ledger.delivery_work w ON w.delivery_id = i.delivery_id
    JOIN ledger.delivery_body b ON b.id = i.delivery_id AND b.id BETWEEN mine[1] AND mine[cardinality(mine)]
    JOIN ledger.delivery d ON d.id = i.delivery_id AND d.id BETWEEN mine[1] AND mine[cardinality(mine)]
    LEFT JOIN LATERAL (
        SELECT p.revision FROM preference.recipient p
        WHERE w.planned_at < now() - interval '1 second' AND p.app_id = w.app_id AND p.recipient_ref = w.recipient_ref
    ) r ON true;
END $$;

-- Those of the wanted deliveries that are enqueued and nobody else's.
CREATE FUNCTION ledger.claim(wanted uuid[], lease interval) RETURNS SETOF ledger.claimed LANGUAGE plpgsql AS $$
DECLARE
    mine uuid[];
BEGIN
    SELECT array_agg(p.delivery_id) INTO mine FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w WHERE w.delivery_id = ANY (wanted) AND w.state = 2
        ORDER BY w.delivery_id FOR UPDATE SKIP LOCKED
    ) p;
    RETURN QUERY SELECT * FROM ledger.lease(mine, lease);
END $$;

-- The oldest deliveries that a stopped lane holds.
CREATE FUNCTION ledger.claim_held(lane int4, most int4, lease interval) RETURNS SETOF ledger.claimed LANGUAGE plpgsql AS $$
DECLARE
    mine uuid[];
BEGIN
    SELECT array_agg(p.delivery_id) INTO mine FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w
        WHERE w.lane_id = lane AND w.due_at = 'infinity' AND w.state = 6 AND w.expire_at > now()
        ORDER BY w.delivery_id LIMIT most FOR UPDATE SKIP LOCKED
    ) p;
    RETURN QUERY SELECT * FROM ledger.lease(mine, lease);
END $$;

-- What became of claimed deliveries; gives those whose lease generation was still the claimer's.
-- Each row of the input travels through every step, and each step finds its table by primary key: joined to the input again,
-- the planner's guess of ten rows made nested loops over CTEs, and the cost grew with the square of the batch (measured).
CREATE FUNCTION ledger.record(
    delivery_ids uuid[], lease_gens int4[], finals int2[], whys int2[], outcomes int2[], codes text[],
    provider_message_ids text[], receipt_keys text[], delays interval[], doubtfuls boolean[], agos interval[],
    durations int4[], trieds boolean[], next_lanes int4[]
) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    recorded uuid[];
    ended_count int8;
    updated_count int8;
    first uuid;
    last uuid;
BEGIN
    PERFORM FROM ledger.delivery_work w WHERE w.delivery_id = ANY (delivery_ids) ORDER BY w.delivery_id FOR UPDATE;
    SELECT i.id INTO first FROM unnest(delivery_ids) AS i (id) ORDER BY 1 LIMIT 1;
    SELECT i.id INTO last FROM unnest(delivery_ids) AS i (id) ORDER BY 1 DESC LIMIT 1;
    WITH picked AS (
        SELECT i.* FROM unnest(delivery_ids, lease_gens, finals, whys, outcomes, codes, provider_message_ids, receipt_keys,
                               delays, doubtfuls, agos, durations, trieds, next_lanes)
            AS i (delivery_id, lease_gen, final, why, outcome, code, provider_message_id, receipt_key, delay, doubtful,
                  ago, duration_ms, tried, next_lane)
        JOIN ledger.delivery_work w ON w.delivery_id = i.delivery_id
        WHERE w.state = 3 AND w.lease_gen = i.lease_gen
    ), ended AS (
        DELETE FROM ledger.delivery_work w USING picked p WHERE w.delivery_id = p.delivery_id AND p.final >= 20
        RETURNING p.*, w.notification_id, w.app_id, w.lane_id, w.channel, w.attempt - (NOT p.tried)::int AS attempt,
                  w.ambiguous OR p.doubtful AS ambiguous
    ), again AS (
        UPDATE ledger.delivery_work w
        SET state = p.final, ambiguous = w.ambiguous OR p.doubtful, lease_until = NULL, writing_at = NULL, enqueued_at = NULL,
            due_at = CASE p.final WHEN 4 THEN now() + p.delay WHEN 6 THEN 'infinity' END,
            ready_since = CASE WHEN p.final = 1 THEN now() END,
            attempt = CASE WHEN p.tried THEN w.attempt ELSE w.attempt - 1 END, lane_id = coalesce(p.next_lane, w.lane_id)
        FROM picked p WHERE w.delivery_id = p.delivery_id AND p.final < 20
        RETURNING p.*, w.notification_id, w.app_id, old.lane_id, w.channel, w.attempt, w.ambiguous
    ), written AS (
        SELECT * FROM ended UNION ALL SELECT * FROM again
    ), deliveries AS (
        UPDATE ledger.delivery d
        SET state = e.final, reason = e.why, attempts = e.attempt, ambiguous = e.ambiguous, lane_id = e.lane_id,
            provider_message_id = e.provider_message_id, terminal_at = now()
        FROM ended e WHERE d.id = e.delivery_id AND d.id BETWEEN first AND last
        RETURNING d.id
    ), attempts AS (
        INSERT INTO ledger.attempt (started_at, delivery_id, duration_ms, lane_id, attempt, outcome, code, provider_message_id,
                                    receipt_key)
        SELECT clock_timestamp() - w.ago, w.delivery_id, w.duration_ms, w.lane_id, w.attempt, w.outcome, w.code,
               w.provider_message_id, w.receipt_key
        FROM written w WHERE w.tried AND w.duration_ms IS NOT NULL
        ON CONFLICT DO NOTHING
    ), happened AS (
        INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt, code)
        SELECT w.notification_id, w.delivery_id, w.app_id, w.lane_id,
               CASE WHEN w.final >= 20 THEN 5 WHEN w.final = 6 THEN 10 ELSE 4 END, w.final, NULLIF(w.why, 0), w.attempt,
               NULLIF(w.code, '')
        FROM written w WHERE w.tried OR w.final = 6 OR w.final >= 20
    ), letters AS (
        INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, lane_id, channel, reason, attempts, last_code)
        SELECT e.delivery_id, e.notification_id, e.app_id, e.lane_id, e.channel, e.why, e.attempt, e.code
        FROM ended e WHERE e.final = 25
    )
    SELECT (SELECT array_agg(delivery_id) FROM written), (SELECT count(*) FROM ended), (SELECT count(*) FROM deliveries)
    INTO recorded, ended_count, updated_count;
    -- Half of a move must not be committed, whatever made it.
    IF ended_count <> updated_count THEN
        RAISE EXCEPTION 'of % ended deliveries % were updated', ended_count, updated_count;
    END IF;
    RETURN QUERY SELECT unnest(recorded);
END $$;
