-- Callbacks over HTTP and bounce mail, messages of several segments.

-- Keyed digest of a call: a provider that asks again is answered and nothing is stored twice.
ALTER TABLE tracking.inbound ADD COLUMN call_digest bytea;
CREATE UNIQUE INDEX inbound_call ON tracking.inbound (call_digest) WHERE call_digest IS NOT NULL;

-- Segments of messages that have more than one, each with a receipt of its own. Rows live some days.
CREATE TABLE tracking.segment (
    noted_at    timestamptz NOT NULL DEFAULT now(),
    delivery_id uuid NOT NULL,
    position    int2 NOT NULL,
    receipt     int2 NOT NULL DEFAULT 0, -- clarion.notification.v1.Receipt; 0: none yet
    receipt_key text NOT NULL,
    PRIMARY KEY (delivery_id, position)
) WITH (fillfactor = 85);
CREATE INDEX segment_key ON tracking.segment (receipt_key);
CREATE INDEX segment_age ON tracking.segment (noted_at);

-- Raises receipts of segments, each the higher, and gives what follows for their deliveries: undelivered (1) as soon as one
-- is, delivered (2) once all are, 0 before. A function, because all segments must be locked before any is read.
CREATE FUNCTION tracking.raise_segments(deliveries uuid[], positions int2[], receipts int2[])
RETURNS TABLE (delivery uuid, whole int2)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM tracking.segment s WHERE s.delivery_id = ANY (deliveries) ORDER BY s.delivery_id, s.position FOR UPDATE;
    UPDATE tracking.segment s SET receipt = i.receipt
    FROM (
        SELECT g.delivery_id, g.position, max(g.receipt) AS receipt
        FROM unnest(deliveries, positions, receipts) AS g (delivery_id, position, receipt) GROUP BY 1, 2
    ) i
    WHERE s.delivery_id = i.delivery_id AND s.position = i.position AND s.receipt < i.receipt;
    RETURN QUERY
    SELECT s.delivery_id, CASE WHEN bool_or(s.receipt = 1) THEN 1 WHEN bool_and(s.receipt = 2) THEN 2 ELSE 0 END::int2
    FROM tracking.segment s WHERE s.delivery_id = ANY (deliveries) GROUP BY 1;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON tracking.segment TO clarion_tracker;
-- Whoever hands a message to the carrier knows its segments first.
GRANT INSERT (delivery_id, position, receipt_key) ON tracking.segment TO clarion_dispatcher;
-- The tracker reads lanes through the same snapshot as everybody else.
GRANT SELECT ON ledger.route TO clarion_tracker;
