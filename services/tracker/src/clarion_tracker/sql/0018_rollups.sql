-- Statistics: counts of deliveries by what they have in common, kept by a cursor over the ledger's events.

-- What a receipt raised its delivery from and to; null on events of other kinds.
ALTER TABLE ledger.event ADD COLUMN receipt int2, ADD COLUMN former int2;

-- `at`: start of the hour (the UTC day) in which the notification was accepted or came due, as the delivery's id says. A
-- delivery in flight is planned under account 0 and moves to the account it ends with; template version 0: none; notifications
-- accepted are counted under channel 0. `grain` says what is told apart beside app, category, channel and account: 1 template
-- versions, 2 countries, 3 both (in days alone), 0 neither; a delivery counts once in each. So an answer reads no finer rows than it
-- needs: both together are a hundred times as many as neither. Rows of the current hour get a new version with every step:
-- they need room.
CREATE TABLE tracking.rollup_hour (
    at               timestamptz NOT NULL,
    app_id           int4 NOT NULL,
    category_id      int4 NOT NULL,
    template_version int4 NOT NULL,
    lane_id          int4 NOT NULL,
    accepted         int4 NOT NULL DEFAULT 0,
    planned          int4 NOT NULL DEFAULT 0,
    sent             int4 NOT NULL DEFAULT 0,
    failed           int4 NOT NULL DEFAULT 0,
    suppressed       int4 NOT NULL DEFAULT 0,
    expired          int4 NOT NULL DEFAULT 0,
    cancelled        int4 NOT NULL DEFAULT 0,
    dead_lettered    int4 NOT NULL DEFAULT 0,
    delivered        int4 NOT NULL DEFAULT 0,
    undelivered      int4 NOT NULL DEFAULT 0,
    opened           int4 NOT NULL DEFAULT 0,
    clicked          int4 NOT NULL DEFAULT 0,
    machine_opened   int4 NOT NULL DEFAULT 0,
    machine_clicked  int4 NOT NULL DEFAULT 0,
    unsubscribed     int4 NOT NULL DEFAULT 0,
    converted        int4 NOT NULL DEFAULT 0,
    grain            int2 NOT NULL,
    channel          int2 NOT NULL,
    country          text COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, grain, at, category_id, template_version, channel, lane_id, country)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE tracking.rollup_day (LIKE tracking.rollup_hour INCLUDING DEFAULTS INCLUDING INDEXES)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Why deliveries ended other than sent.
CREATE TABLE tracking.reason_hour (
    at               timestamptz NOT NULL,
    app_id           int4 NOT NULL,
    category_id      int4 NOT NULL,
    template_version int4 NOT NULL,
    lane_id          int4 NOT NULL,
    count            int4 NOT NULL,
    grain            int2 NOT NULL,
    channel          int2 NOT NULL,
    state            int2 NOT NULL,
    reason           int2 NOT NULL,
    country          text COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, grain, at, category_id, template_version, channel, lane_id, country, state, reason)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE tracking.reason_day (LIKE tracking.reason_hour INCLUDING DEFAULTS INCLUDING INDEXES)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Where the roller stands: the last event and the last activity it counted. Whatever was committed by `as_of` is counted.
-- `marked_xid` was given to no transaction yet at `marked_at`: once all before it are over, so is that moment.
CREATE TABLE tracking.rollup_cursor (
    at           timestamptz NOT NULL DEFAULT 'epoch',
    marked_at    timestamptz NOT NULL DEFAULT now(),
    as_of        timestamptz NOT NULL DEFAULT 'epoch',
    xid          xid8 NOT NULL DEFAULT '0',
    seq          int8 NOT NULL DEFAULT 0,
    activity_xid xid8 NOT NULL DEFAULT '0',
    activity_seq int8 NOT NULL DEFAULT 0,
    marked_xid   xid8 NOT NULL DEFAULT pg_snapshot_xmax(pg_current_snapshot()),
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row)
) WITH (fillfactor = 10);
INSERT INTO tracking.rollup_cursor DEFAULT VALUES;

-- Who unsubscribed by a link or by mail, without who it was; the roller counts and deletes.
CREATE TABLE tracking.unsubscribed (
    at              timestamptz NOT NULL DEFAULT now(),
    unsubscribed_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id          int4 NOT NULL,
    category_id     int4 NOT NULL,
    channel         int2 NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

GRANT SELECT, INSERT, UPDATE, DELETE ON tracking.rollup_hour, tracking.rollup_day, tracking.reason_hour, tracking.reason_day TO clarion_tracker;
GRANT SELECT, UPDATE ON tracking.rollup_cursor TO clarion_tracker;
GRANT SELECT, INSERT, DELETE ON tracking.unsubscribed TO clarion_tracker;
GRANT SELECT ON tracking.rollup_cursor TO clarion_monitor;

-- What a client asks for is read with the rights of this role alone (0021).
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clarion_tracker_request') THEN
        CREATE ROLE clarion_tracker_request NOLOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA tracking TO clarion_tracker_request;
GRANT SELECT ON tracking.rollup_hour, tracking.rollup_day, tracking.reason_hour, tracking.reason_day, tracking.rollup_cursor
    TO clarion_tracker_request;
