-- A wish holds for calls from a second after it on. A call may begin half a second after its claim without another look, so
-- a claim may leave out the look at the recipient only for plans younger than the rest of that second.
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
           w.planned_at < now() - interval '400 milliseconds' AND r.revision IS DISTINCT FROM w.wishes_revision,
           coalesce(w.ask_again_at <= now(), false)
    FROM unnest(mine) AS i (delivery_id)
    JOIN ledger.delivery_work w ON w.delivery_id = i.delivery_id
    JOIN ledger.delivery_body b ON b.id = i.delivery_id AND b.id BETWEEN mine[1] AND mine[cardinality(mine)]
    JOIN ledger.delivery d ON d.id = i.delivery_id AND d.id BETWEEN mine[1] AND mine[cardinality(mine)]
    LEFT JOIN LATERAL (
        SELECT p.revision FROM preference.recipient p
        WHERE w.planned_at < now() - interval '400 milliseconds' AND p.app_id = w.app_id AND p.recipient_ref = w.recipient_ref
    ) r ON true;
END $$;
