-- A mail may carry files: a claim ends early where its deliveries become large, and whoever claims asks again for the rest.
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
    SELECT array_agg(p.id ORDER BY p.id) INTO mine FROM (
        SELECT i.id, sum(octet_length(b.content)) OVER (ORDER BY i.id) - octet_length(b.content) AS bytes_before
        FROM unnest(locked) AS i (id)
        LEFT JOIN ledger.delivery_body b ON b.id = i.id AND b.id BETWEEN locked[1] AND locked[cardinality(locked)]
    ) p WHERE coalesce(p.bytes_before, 0) < most_bytes;
    RETURN QUERY SELECT * FROM ledger.lease(mine, lease);
END $$;
