-- Escalations of apps that tell which pushes arrive: `until` 101 (clarion_ledger.rests.UNTIL_APP_RECEIPT).

-- Decides about steps that are due: not needed any more, later since the step before was deferred, or on their way. Gives
-- those on their way. Of one recipient only the earliest waiting step is looked at; those behind it count from now.
CREATE OR REPLACE FUNCTION ledger.due_steps(most int4, priorities int2[])
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

    -- Where a provider gives no receipts (no receipt key), `sent` is as much as can be known; unless the app says itself which
    -- pushes arrive (101).
    SELECT array_agg(w.delivery_id) INTO needless FROM ledger.delivery_work w
    WHERE w.delivery_id = ANY (picked) AND EXISTS (
        SELECT FROM ledger.delivery d
        WHERE d.notification_id = w.notification_id AND d.recipient_ref = w.recipient_ref AND d.state = 20
          AND CASE WHEN w.until = 2 THEN d.receipt >= 3
                   ELSE d.receipt >= 2 OR (d.receipt = 0 AND NOT (w.until = 101 AND d.channel IN (1, 2, 3)) AND NOT EXISTS (
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
