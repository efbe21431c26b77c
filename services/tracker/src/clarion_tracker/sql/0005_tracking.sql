-- What came back from outside and is not yet applied to the ledger.

CREATE SCHEMA tracking;

-- Raw receipts, written by whoever got them before it answers the provider, so that nothing depends on the tracker being
-- there. A row is leased by moving next_at ahead. The body names the recipient's number: it is sealed, emptied when the row is
-- applied, and applied rows are deleted in small batches after some days.
CREATE TABLE tracking.inbound (
    inbound_id  int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    applied_at  timestamptz,
    next_at     timestamptz NOT NULL DEFAULT now(),
    app_id      int4 NOT NULL,
    lane_id     int4 NOT NULL,
    tries       int2 NOT NULL DEFAULT 0,
    provider    text NOT NULL,
    kind        text NOT NULL,
    result      text, -- clarion_tracker.domain.Result
    body        bytea STORAGE EXTERNAL NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX inbound_unapplied ON tracking.inbound (next_at) WHERE applied_at IS NULL;

GRANT USAGE ON SCHEMA tracking TO clarion_tracker, clarion_dispatcher, clarion_monitor;
GRANT INSERT (app_id, lane_id, provider, kind, body) ON tracking.inbound TO clarion_dispatcher;
GRANT SELECT, INSERT, UPDATE, DELETE ON tracking.inbound TO clarion_tracker;
GRANT SELECT (received_at, applied_at, next_at, tries) ON tracking.inbound TO clarion_monitor;

-- Stats tells deliveries in flight from those that ended.
GRANT SELECT ON ledger.delivery_work TO clarion_tracker;
