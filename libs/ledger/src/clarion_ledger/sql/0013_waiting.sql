-- What waits for its time: quiet hours and caps that defer, steps of an escalation, members of a digest.

-- ask_again_at: a claim from this moment on passes the gates again (a deferral ends, quiet hours begin).
-- step, until, escalate_after: of an escalation; `until` is an EscalateUntil, null where it is none.
ALTER TABLE ledger.delivery_work
    ADD COLUMN ask_again_at timestamptz,
    ADD COLUMN escalate_after interval,
    ADD COLUMN digest_id int8,
    ADD COLUMN step int2 NOT NULL DEFAULT 0,
    ADD COLUMN until int2;
CREATE INDEX delivery_work_digest ON ledger.delivery_work (digest_id) WHERE digest_id IS NOT NULL;

-- The delivery that went in place of this one (reason MERGED).
ALTER TABLE ledger.delivery ADD COLUMN merged_into uuid;

-- Open digest windows: who joins or closes one holds its row. `claimed_until`: a planner is about to close it.
CREATE TABLE ledger.digest (
    due_at        timestamptz NOT NULL,
    opened_at     timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,
    length        interval NOT NULL,
    digest_id     int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id        int4 NOT NULL,
    category_id   int4 NOT NULL,
    recipient_ref uuid NOT NULL,
    digest_key    text COLLATE "C" NOT NULL,
    UNIQUE (app_id, category_id, recipient_ref, digest_key)
);
CREATE INDEX digest_due ON ledger.digest (due_at);

-- ---------------------------------------------------------------- claim and record

ALTER TYPE ledger.claimed ADD ATTRIBUTE gates_due boolean;

CREATE OR REPLACE FUNCTION ledger.lease(mine uuid[], lease interval) RETURNS SETOF ledger.claimed LANGUAGE plpgsql AS $$
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
           w.planned_at < now() - interval '1 second' AND r.revision IS DISTINCT FROM w.wishes_revision,
           coalesce(w.ask_again_at <= now(), false)
    FROM unnest(mine) AS i (delivery_id)
    JOIN ledger.delivery_work w ON w.delivery_id = i.delivery_id
    JOIN ledger.delivery_body b ON b.id = i.delivery_id AND b.id BETWEEN mine[1] AND mine[cardinality(mine)]
    JOIN ledger.delivery d ON d.id = i.delivery_id AND d.id BETWEEN mine[1] AND mine[cardinality(mine)]
    LEFT JOIN LATERAL (
        SELECT p.revision FROM preference.recipient p
        WHERE w.planned_at < now() - interval '1 second' AND p.app_id = w.app_id AND p.recipient_ref = w.recipient_ref
    ) r ON true;
END $$;

-- What became of claimed deliveries; gives those whose lease generation was still the claimer's.
-- Each row of the input travels through every step, and each step finds its table by primary key: joined to the input again,
-- the planner's guess of ten rows made nested loops over CTEs, and the cost grew with the square of the batch (measured).
CREATE OR REPLACE FUNCTION ledger.record(
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
               CASE WHEN w.final >= 20 THEN 5 WHEN w.final = 6 THEN 10 WHEN w.final = 5 THEN 11 ELSE 4 END, w.final, NULLIF(w.why, 0), w.attempt,
               NULLIF(w.code, '')
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

-- ---------------------------------------------------------------- escalation

-- An earlier step ended without being sent, whatever ended it: the next one need not wait. Two addresses of one step that
-- end in the same moment do not see each other; then the next step keeps its time.
CREATE FUNCTION ledger.bring_next_step_forward() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM gone WHERE until IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    UPDATE ledger.delivery_work w SET due_at = now()
    FROM (SELECT DISTINCT notification_id, recipient_ref FROM gone WHERE until IS NOT NULL) g
    WHERE w.notification_id = g.notification_id AND w.recipient_ref = g.recipient_ref AND w.state = 7 AND w.until IS NOT NULL
      AND w.due_at > now()
      AND NOT EXISTS (SELECT FROM ledger.delivery_work o
                      WHERE o.notification_id = w.notification_id AND o.recipient_ref = w.recipient_ref AND o.step < w.step)
      AND NOT EXISTS (SELECT FROM ledger.delivery d
                      WHERE d.notification_id = w.notification_id AND d.recipient_ref = w.recipient_ref AND d.state = 20);
    RETURN NULL;
END $$;
CREATE TRIGGER next_step AFTER DELETE ON ledger.delivery_work REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.bring_next_step_forward();

-- Decides about steps that are due: not needed any more, later since the step before was deferred, or on their way. Gives
-- those on their way. Of one recipient only the earliest waiting step is looked at; those behind it count from now.
CREATE FUNCTION ledger.due_steps(most int4, priorities int2[])
RETURNS TABLE (id uuid, channel int2, priority int2, traceparent text, late interval, ended boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    picked uuid[];
    needless uuid[];
    going uuid[];
BEGIN
    SELECT array_agg(p.delivery_id) INTO picked FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w
        WHERE w.due_at <= now() AND w.state = 7 AND w.until IS NOT NULL AND w.priority = ANY (priorities)
          AND NOT EXISTS (SELECT FROM ledger.delivery_work o
                          WHERE o.notification_id = w.notification_id AND o.recipient_ref = w.recipient_ref AND o.state = 7
                            AND o.step < w.step)
        ORDER BY w.due_at LIMIT most FOR UPDATE SKIP LOCKED
    ) p;
    IF picked IS NULL THEN
        RETURN;
    END IF;

    -- Where a provider gives no receipts (no receipt key), `sent` is as much as can be known.
    SELECT array_agg(w.delivery_id) INTO needless FROM ledger.delivery_work w
    WHERE w.delivery_id = ANY (picked) AND EXISTS (
        SELECT FROM ledger.delivery d
        WHERE d.notification_id = w.notification_id AND d.recipient_ref = w.recipient_ref AND d.state = 20
          AND CASE WHEN w.until = 2 THEN d.receipt >= 3
                   ELSE d.receipt >= 2 OR (d.receipt = 0 AND NOT EXISTS (
                       SELECT FROM ledger.attempt a
                       WHERE a.delivery_id = d.id AND a.outcome = 1 AND a.receipt_key IS NOT NULL)) END);

    UPDATE ledger.delivery_work w SET due_at = o.due_at + w.escalate_after
    FROM ledger.delivery_work o
    WHERE w.delivery_id = ANY (picked) AND NOT w.delivery_id = ANY (coalesce(needless, '{}'))
      AND o.notification_id = w.notification_id AND o.recipient_ref = w.recipient_ref AND o.step < w.step AND o.state = 5
      AND o.due_at > now();

    SELECT array_agg(w.delivery_id ORDER BY w.delivery_id) INTO going FROM ledger.delivery_work w
    WHERE w.delivery_id = ANY (picked) AND NOT w.delivery_id = ANY (coalesce(needless, '{}')) AND w.due_at <= now();

    IF needless IS NOT NULL THEN
        -- The steps behind them are not needed either.
        SELECT array_agg(l.delivery_id ORDER BY l.delivery_id) INTO needless FROM (
            SELECT b.delivery_id FROM ledger.delivery_work b
            WHERE b.state = 7 AND b.until IS NOT NULL AND EXISTS (
                SELECT FROM ledger.delivery_work w
                WHERE w.delivery_id = ANY (needless) AND w.notification_id = b.notification_id
                  AND w.recipient_ref = b.recipient_ref AND w.step <= b.step)
              AND b.notification_id IN (SELECT w.notification_id FROM ledger.delivery_work w WHERE w.delivery_id = ANY (needless))
            ORDER BY b.delivery_id FOR UPDATE SKIP LOCKED
        ) l;
        RETURN QUERY
        WITH gone AS (
            DELETE FROM ledger.delivery_work w WHERE w.delivery_id = ANY (needless) RETURNING w.*
        ), deliveries AS (
            UPDATE ledger.delivery d SET state = 24, reason = 71, attempts = g.attempt, terminal_at = now()
            FROM gone g WHERE d.id = g.delivery_id
        ), happened AS (
            INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt, code)
            SELECT g.notification_id, g.delivery_id, g.app_id, g.lane_id, 5, 24, 71, g.attempt, 'step ' || g.step FROM gone g
        )
        SELECT g.delivery_id, g.channel, g.priority, g.traceparent, NULL::interval, true FROM gone g;
    END IF;
    IF going IS NULL THEN
        RETURN;
    END IF;
    UPDATE ledger.delivery_work b SET due_at = now() + b.escalate_after * (b.step - w.step)
    FROM ledger.delivery_work w
    WHERE w.delivery_id = ANY (going) AND b.notification_id = w.notification_id AND b.recipient_ref = w.recipient_ref
      AND b.state = 7 AND b.step > w.step;
    RETURN QUERY
    WITH moved AS (
        UPDATE ledger.delivery_work w SET state = 2, enqueued_at = now(), due_at = NULL, ask_again_at = now()
        WHERE w.delivery_id = ANY (going)
        RETURNING w.*, old.due_at AS was_due
    ), happened AS (
        INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind, state, code)
        SELECT m.notification_id, m.delivery_id, m.app_id, 13, 2, 'step ' || m.step FROM moved m
    )
    SELECT m.delivery_id, m.channel, m.priority, m.traceparent, now() - m.was_due, false FROM moved m;
END $$;

-- ---------------------------------------------------------------- digests

-- Closes what a planner saw of a window: `carriers` go (with new content where it is not null), `ended` end with their
-- reasons. False where some of it is no longer there: look again. Who joined meanwhile begins the next window.
CREATE FUNCTION ledger.close_digest(
    digest int8, carriers uuid[], contents bytea[], ended uuid[], whys int2[], intos uuid[], trails bytea[], codes text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    members uuid[];
    ended_count int8;
    updated_count int8;
BEGIN
    PERFORM FROM ledger.digest g WHERE g.digest_id = digest FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT coalesce(array_agg(m.delivery_id), '{}') INTO members FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w WHERE w.digest_id = digest AND w.state = 7
        ORDER BY w.delivery_id FOR UPDATE
    ) m;
    IF NOT members @> (carriers || ended) THEN
        UPDATE ledger.digest g SET claimed_until = NULL WHERE g.digest_id = digest;
        RETURN false;
    END IF;
    UPDATE ledger.delivery_body b SET content = i.content
    FROM unnest(carriers, contents) AS i (id, content) WHERE b.id = i.id AND i.content IS NOT NULL;
    WITH moved AS (
        UPDATE ledger.delivery_work w SET state = 1, ready_since = now(), due_at = NULL, digest_id = NULL, ask_again_at = now()
        WHERE w.delivery_id = ANY (carriers)
        RETURNING w.*
    )
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind, state, code)
    SELECT m.notification_id, m.delivery_id, m.app_id, 13, 1, 'digest' FROM moved m;
    WITH gone AS (
        DELETE FROM ledger.delivery_work w WHERE w.delivery_id = ANY (ended)
        RETURNING w.delivery_id, w.notification_id, w.app_id, w.lane_id, w.attempt
    ), why AS (
        SELECT g.*, i.reason, i.merged_into, i.trail, i.code
        FROM gone g JOIN unnest(ended, whys, intos, trails, codes) AS i (id, reason, merged_into, trail, code)
        ON i.id = g.delivery_id
    ), deliveries AS (
        UPDATE ledger.delivery d
        SET state = 22, reason = y.reason, merged_into = y.merged_into, gates = y.trail, attempts = y.attempt, terminal_at = now()
        FROM why y WHERE d.id = y.delivery_id
        RETURNING d.id
    ), happened AS (
        INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt, code)
        SELECT y.notification_id, y.delivery_id, y.app_id, y.lane_id, 5, 22, y.reason, y.attempt, y.code FROM why y
    )
    SELECT (SELECT count(*) FROM why), (SELECT count(*) FROM deliveries) INTO ended_count, updated_count;
    IF ended_count <> updated_count THEN
        RAISE EXCEPTION 'of % ended deliveries % were updated', ended_count, updated_count;
    END IF;
    IF (carriers || ended) @> members THEN
        DELETE FROM ledger.digest g WHERE g.digest_id = digest;
    ELSE
        UPDATE ledger.digest g SET opened_at = now(), due_at = now() + g.length, claimed_until = NULL WHERE g.digest_id = digest;
        UPDATE ledger.delivery_work w SET due_at = g.due_at FROM ledger.digest g
        WHERE g.digest_id = digest AND w.digest_id = digest AND w.state = 7;
    END IF;
    RETURN true;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.digest TO clarion_planner;
GRANT SELECT ON ledger.digest TO clarion_gateway, clarion_monitor, clarion_scheduler;
GRANT UPDATE, DELETE ON ledger.delivery_work TO clarion_planner;
GRANT SELECT ON ledger.delivery, ledger.delivery_body, ledger.event, ledger.schedule TO clarion_planner;
GRANT UPDATE (state, reason, merged_into, gates, attempts, terminal_at) ON ledger.delivery TO clarion_planner;
GRANT UPDATE (content) ON ledger.delivery_body TO clarion_planner;
