-- The hot path for less: rows are found by their own ids, updates stay in their page, and vacuum does not unsettle the plans.

-- ---------------------------------------------------------------- storage

-- Notifications and deliveries are written twice: with room for the second version of every row, no index is written again
-- (with fillfactor 80, half of the updates were not HOT). A vacuum or an analyze makes every session plan its statements
-- over all partitions anew, a fifth of what dispatchers cost the server: each waits until enough rows are worth it.
CREATE FUNCTION ledger.partition_storage(parent text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE WHEN parent IN ('notification', 'delivery') THEN 'fillfactor = 45, ' ELSE '' END
        || 'autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = 50000, autovacuum_analyze_threshold = 10000'
$$;

-- As in 0001, with the storage of above.
CREATE OR REPLACE FUNCTION ledger.ensure_partitions(first_day date, last_day date) RETURNS int4
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    parent text;
    day date;
    partition text;
    storage text;
    created int4 := 0;
    epoch_wanted int4;
BEGIN
    FOREACH parent IN ARRAY ARRAY['notification', 'notification_body', 'delivery', 'delivery_body', 'attempt', 'event'] LOOP
        storage := ledger.partition_storage(parent);
        IF to_regclass('ledger.' || parent || '_default') IS NULL THEN
            EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.%I DEFAULT WITH (%s)', parent || '_default', parent, storage);
        END IF;
        day := first_day;
        WHILE day <= last_day LOOP
            partition := parent || '_' || to_char(day, 'YYYYMMDD');
            IF to_regclass('ledger.' || partition) IS NULL THEN
                IF parent = 'event' THEN
                    EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.%I FOR VALUES FROM (%L) TO (%L) WITH (%s)',
                        partition, parent, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC', storage);
                ELSE
                    EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.%I FOR VALUES FROM (%L) TO (%L) WITH (%s)',
                        partition, parent, ledger.uuid_floor(day::timestamp AT TIME ZONE 'UTC'),
                        ledger.uuid_floor((day + 1)::timestamp AT TIME ZONE 'UTC'), storage);
                END IF;
                created := created + 1;
            END IF;
            day := day + 1;
        END LOOP;
    END LOOP;
    FOR epoch_wanted IN
        SELECT generate_series(ledger.epoch_of(first_day::timestamp AT TIME ZONE 'UTC'), ledger.epoch_of(last_day::timestamp AT TIME ZONE 'UTC'))
    LOOP
        partition := 'event_key_' || epoch_wanted;
        IF to_regclass('ledger.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.event_key FOR VALUES FROM (%s) TO (%s) WITH (%s)',
                partition, epoch_wanted, epoch_wanted + 1, ledger.partition_storage('event_key'));
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END $$;

DO $$
DECLARE
    parent text;
    partition regclass;
BEGIN
    FOREACH parent IN ARRAY ARRAY['notification', 'notification_body', 'delivery', 'delivery_body', 'attempt', 'event', 'event_key'] LOOP
        FOR partition IN SELECT i.inhrelid::regclass FROM pg_inherits i WHERE i.inhparent = ('ledger.' || parent)::regclass LOOP
            EXECUTE format('ALTER TABLE %s SET (%s)', partition, ledger.partition_storage(parent));
        END LOOP;
    END LOOP;
END $$;

-- Work comes and goes: what is inserted is soon deleted, and that alone is a reason to vacuum.
ALTER TABLE ledger.plan_work SET (
    autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 20000
);
ALTER TABLE ledger.delivery_work SET (
    autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 20000
);

-- ---------------------------------------------------------------- claim and record

-- A batch may hold ids of this moment and of an hour ago. The bounds `first` and `last` are there to leave out partitions;
-- as a range of the index they would read everything in between, and for a small table the planner believed that to be
-- cheap. OFFSET 0 keeps each look-up one of its own, by its id.
CREATE OR REPLACE FUNCTION ledger.lease(mine uuid[], lease interval) RETURNS SETOF ledger.claimed LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    first uuid := mine[1];
    last uuid := mine[cardinality(mine)];
BEGIN
    RETURN QUERY
    WITH leased AS (
        UPDATE ledger.delivery_work w
        SET state = 3, lease_gen = w.lease_gen + 1, attempt = w.attempt + 1, lease_until = now() + lease, writing_at = NULL,
            due_at = NULL
        WHERE w.delivery_id = ANY (mine)
        RETURNING w.*
    )
    SELECT w.delivery_id, w.notification_id, w.recipient_ref, w.app_id, w.lane_id, d.category_id, w.lease_gen, w.priority,
           w.attempt, w.max_attempts, w.at_most_once, w.ambiguous, w.expire_at <= now(), now(), w.planned_at, w.expire_at,
           w.collapse_key, w.traceparent, b.address, b.content, d.address_id, d.country, w.locale, w.hint,
           w.planned_at < now() - interval '400 milliseconds' AND r.revision IS DISTINCT FROM w.wishes_revision,
           coalesce(w.ask_again_at <= now(), false)
    FROM (SELECT * FROM leased ORDER BY delivery_id) w
    CROSS JOIN LATERAL (
        SELECT b.address, b.content FROM ledger.delivery_body b WHERE b.id = w.delivery_id AND b.id BETWEEN first AND last OFFSET 0
    ) b
    CROSS JOIN LATERAL (
        SELECT d.category_id, d.address_id, d.country FROM ledger.delivery d
        WHERE d.id = w.delivery_id AND d.id BETWEEN first AND last OFFSET 0
    ) d
    LEFT JOIN LATERAL (
        SELECT p.revision FROM preference.recipient p
        WHERE w.planned_at < now() - interval '400 milliseconds' AND p.app_id = w.app_id AND p.recipient_ref = w.recipient_ref
        OFFSET 0
    ) r ON true;
END $$;

CREATE OR REPLACE FUNCTION ledger.claim(wanted uuid[], lease interval) RETURNS SETOF ledger.claimed LANGUAGE plpgsql AS $$
DECLARE
    most_bytes CONSTANT int8 := 8388608;
    locked uuid[];
    mine uuid[];
BEGIN
    SELECT array_agg(p.delivery_id) INTO locked FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w WHERE w.delivery_id = ANY (wanted) AND w.state = 2
        ORDER BY w.delivery_id FOR UPDATE SKIP LOCKED
    ) p;
    IF locked IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(p.id ORDER BY p.id) INTO mine FROM (
        SELECT i.id, sum(b.bytes) OVER (ORDER BY i.id) - b.bytes AS bytes_before
        FROM unnest(locked) AS i (id)
        LEFT JOIN LATERAL (
            SELECT octet_length(b.content) AS bytes FROM ledger.delivery_body b
            WHERE b.id = i.id AND b.id BETWEEN locked[1] AND locked[cardinality(locked)] OFFSET 0
        ) b ON true
    ) p WHERE coalesce(p.bytes_before, 0) < most_bytes;
    RETURN QUERY SELECT * FROM ledger.lease(mine, lease);
END $$;

-- What became of claimed deliveries; gives those whose lease generation was still the claimer's.
-- Each row of the input travels through every step, and each step finds its table by primary key. The settings make that so
-- whatever the tables' statistics say: what a small or empty table suggests (reading all of it, or all of a range, once for
-- each row) is kept for minutes, and its cost grows with the square of the batch. `<= ANY (ARRAY[last])` leaves out
-- partitions as `<= last` does, but is not taken for a narrow range.
CREATE OR REPLACE FUNCTION ledger.record(
    delivery_ids uuid[], lease_gens int4[], finals int2[], whys int2[], outcomes int2[], codes text[],
    provider_message_ids text[], receipt_keys text[], delays interval[], doubtfuls boolean[], agos interval[],
    durations int4[], trieds boolean[], next_lanes int4[]
) RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    held uuid[];
    recorded uuid[];
    ended_count int8;
    updated_count int8;
    first uuid;
    last uuid;
BEGIN
    SELECT array_agg(p.delivery_id) INTO held FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w WHERE w.delivery_id = ANY (delivery_ids) ORDER BY w.delivery_id FOR UPDATE
    ) p;
    IF held IS NULL THEN
        RETURN;
    END IF;
    first := held[1];
    last := held[cardinality(held)];
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
            due_at = CASE WHEN p.final IN (4, 5) THEN now() + p.delay WHEN p.final = 6 THEN 'infinity' END,
            ask_again_at = CASE WHEN p.final = 5 THEN now() ELSE w.ask_again_at END,
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
        FROM ended e WHERE d.id = e.delivery_id AND d.id >= first AND d.id <= ANY (ARRAY[last])
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
               CASE WHEN w.final >= 20 THEN 5 WHEN w.final = 6 THEN 10 WHEN w.final = 5 THEN 11 ELSE 4 END, w.final,
               NULLIF(w.why, 0), w.attempt, NULLIF(w.code, '')
        FROM written w WHERE w.tried OR w.final IN (5, 6) OR w.final >= 20
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

-- ---------------------------------------------------------------- reading

-- Notifications as clients see them: done where nothing is in flight any more.
CREATE VIEW ledger.notification_seen WITH (security_invoker = true) AS
SELECT n.app_id, n.id, n.event_id, n.category_id, n.priority, n.accepted_at, NULL::timestamptz AS deliver_at, n.expire_at,
       n.recipient_count, n.traceparent, n.broadcast_id,
       EXISTS (SELECT FROM ledger.test_send t WHERE t.notification_id = n.id) AS test,
       CASE WHEN n.state = 3 AND NOT EXISTS (SELECT FROM ledger.delivery_work w WHERE w.notification_id = n.id)
            THEN 4::int2 ELSE n.state END AS state
FROM ledger.notification n;

CREATE VIEW ledger.schedule_seen WITH (security_invoker = true) AS
SELECT s.app_id, s.notification_id AS id, s.event_id, s.category_id, s.priority, s.accepted_at, s.deliver_at, s.expire_at,
       s.recipient_count, s.traceparent, NULL::uuid AS broadcast_id,
       EXISTS (SELECT FROM ledger.test_send t WHERE t.notification_id = s.notification_id) AS test,
       1::int2 AS state
FROM ledger.schedule s;

-- One notification with its deliveries and its timeline, each an array a column, in one round trip and of one moment. It
-- runs as the role of requests, behind the wall of the app. Delivery ids carry the time of their notification (ids.py), and
-- nothing has happened after today: both leave out partitions.
CREATE FUNCTION ledger.read_whole(app int4, wanted uuid) RETURNS TABLE (
    id uuid, event_id text, category_id int4, priority int2, accepted_at timestamptz, deliver_at timestamptz,
    expire_at timestamptz, recipient_count int2, traceparent text, broadcast_id uuid, test boolean, state int2,
    delivery_ids uuid[], recipient_refs uuid[], channels int2[], states int2[], reasons int2[], receipts int2[], lanes text[],
    provider_message_ids text[], attempts int2[], ambiguous boolean[], gates bytea[], planned_ats timestamptz[],
    terminal_ats timestamptz[],
    event_ats timestamptz[], event_kinds int2[], event_deliveries uuid[], event_states int2[], event_reasons int2[],
    event_lanes text[], event_codes text[], event_attempts int2[]
) LANGUAGE plpgsql STABLE SET role = clarion_gateway_request AS $$
#variable_conflict use_column
DECLARE
    seen record;
    millisecond text := left(replace(wanted::text, '-', ''), 12);
    first uuid := rpad(millisecond, 32, '0')::uuid;
    last uuid := rpad(millisecond, 32, 'f')::uuid;
BEGIN
    PERFORM set_config('clarion.app', app::text, true);
    SELECT * INTO seen FROM (
        SELECT * FROM ledger.notification_seen n WHERE n.id = wanted AND n.app_id = app
        UNION ALL
        SELECT * FROM ledger.schedule_seen s WHERE s.id = wanted AND s.app_id = app
    ) u;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT seen.id, seen.event_id, seen.category_id, seen.priority, seen.accepted_at, seen.deliver_at, seen.expire_at,
           seen.recipient_count, seen.traceparent, seen.broadcast_id, seen.test, seen.state, a.*, b.*
    FROM (
        SELECT array_agg(d.id), array_agg(d.recipient_ref), array_agg(d.channel), array_agg(d.state), array_agg(d.reason),
               array_agg(d.receipt), array_agg(d.lane), array_agg(d.provider_message_id), array_agg(d.attempts),
               array_agg(d.ambiguous), array_agg(d.gates), array_agg(d.planned_at), array_agg(d.terminal_at)
        FROM (
            SELECT d.id, d.recipient_ref, d.channel, coalesce(w.state, d.state) AS state, d.reason, d.receipt, l.name AS lane,
                   d.provider_message_id, coalesce(w.attempt, d.attempts) AS attempts,
                   d.ambiguous OR coalesce(w.ambiguous, false) AS ambiguous, d.gates, d.planned_at, d.terminal_at
            FROM ledger.delivery d
            LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
            LEFT JOIN ledger.lane l ON l.lane_id = d.lane_id
            WHERE d.notification_id = wanted AND d.id >= first AND d.id <= ANY (ARRAY[last])
            ORDER BY d.planned_at, d.recipient_ref, d.channel, d.id
        ) d
    ) a CROSS JOIN (
        SELECT array_agg(e.at), array_agg(e.kind), array_agg(e.delivery_id), array_agg(e.state), array_agg(e.reason),
               array_agg(e.lane), array_agg(e.code), array_agg(e.attempt)
        FROM (
            SELECT e.at, e.kind, e.delivery_id, e.state, e.reason, l.name AS lane, e.code, e.attempt
            FROM ledger.event e LEFT JOIN ledger.lane l ON l.lane_id = e.lane_id
            WHERE e.notification_id = wanted AND e.at >= seen.accepted_at AND e.at < now() + interval '1 day'
            ORDER BY e.at, e.xid, e.seq
        ) e
    ) b;
END $$;

GRANT SELECT ON ledger.notification_seen, ledger.schedule_seen TO clarion_gateway_request;
REVOKE EXECUTE ON FUNCTION ledger.read_whole(int4, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.read_whole(int4, uuid) TO clarion_gateway;
