-- Outgoing webhooks: what an app wants posted where, and how far each has come in the feed of events. The gateway writes the first,
-- a tracker that holds a lease the second.

-- A filter that is empty lets everything through. url, secret and former_secret are sealed (table "webhook", owner the name).
CREATE TABLE ledger.webhook (
    created_at     timestamptz NOT NULL DEFAULT now(),
    former_ends_at timestamptz,
    webhook_id     int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id         int4 NOT NULL,
    revision       int4 NOT NULL DEFAULT 1,
    enabled        boolean NOT NULL,
    kinds          int2[] NOT NULL,
    channels       int2[] NOT NULL,
    categories     text[] NOT NULL,
    name           text COLLATE "C" NOT NULL,
    url            bytea NOT NULL,
    secret         bytea NOT NULL,
    former_secret  bytea,
    UNIQUE (app_id, name)
);

-- (xid, seq, at): everything up to there was posted or filtered out. (batch_xid, batch_seq): where the batch ends that failed last,
-- so that every try of it holds the same changes. lost_since .. lost_until: pruned before it was posted, and not told yet.
CREATE TABLE ledger.webhook_progress (
    at              timestamptz NOT NULL DEFAULT now(),
    lease_until     timestamptz NOT NULL DEFAULT now(),
    next_at         timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz,
    failing_since   timestamptz,
    disabled_at     timestamptz,
    lost_since      timestamptz,
    lost_until      timestamptz,
    xid             xid8 NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot()),
    batch_xid       xid8,
    seq             int8 NOT NULL DEFAULT 0,
    batch_seq       int8,
    webhook_id      int4 PRIMARY KEY,
    app_id          int4 NOT NULL,
    lease_gen       int4 NOT NULL DEFAULT 0,
    tries           int4 NOT NULL DEFAULT 0,
    gaps            int4 NOT NULL DEFAULT 0,
    holder          text NOT NULL DEFAULT '',
    disabled_reason text NOT NULL DEFAULT '',
    last_error      text NOT NULL DEFAULT ''
) WITH (fillfactor = 40); -- each is written every second

CREATE TABLE ledger.webhook_failure (
    at         timestamptz NOT NULL DEFAULT now(),
    failure_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id int4 NOT NULL,
    app_id     int4 NOT NULL,
    changes    int4 NOT NULL,
    attempt    int4 NOT NULL,
    status     int4 NOT NULL,
    message_id text NOT NULL,
    error      text NOT NULL
);
CREATE INDEX webhook_failure_latest ON ledger.webhook_failure (webhook_id, failure_id);

-- Samples that the gateway asks for and a tracker posts: only trackers make connections to receivers.
CREATE TABLE ledger.webhook_test (
    asked_at    timestamptz NOT NULL DEFAULT now(),
    taken_at    timestamptz,
    answered_at timestamptz,
    test_id     uuid PRIMARY KEY DEFAULT uuidv7(),
    webhook_id  int4 NOT NULL,
    app_id      int4 NOT NULL,
    status      int4 NOT NULL DEFAULT 0,
    duration_ms int4 NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT ''
);
CREATE INDEX webhook_test_asked ON ledger.webhook_test (asked_at) WHERE taken_at IS NULL;

-- Events before this moment are pruned.
CREATE FUNCTION ledger.event_floor() RETURNS timestamptz LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(min(pg_catalog.to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC'), to_timestamp(0))
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'ledger.event'::regclass AND c.relname ~ '_[0-9]{8}$'
$$;
REVOKE EXECUTE ON FUNCTION ledger.event_floor() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.event_floor() TO clarion_tracker;

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.webhook TO clarion_gateway;
GRANT SELECT, INSERT, DELETE ON ledger.webhook_progress, ledger.webhook_test TO clarion_gateway;
GRANT UPDATE (next_at, failing_since, disabled_at, tries, disabled_reason) ON ledger.webhook_progress TO clarion_gateway;
GRANT SELECT, DELETE ON ledger.webhook_failure TO clarion_gateway;
GRANT SELECT ON ledger.webhook TO clarion_tracker;
GRANT SELECT, UPDATE ON ledger.webhook_progress TO clarion_tracker;
GRANT SELECT, INSERT, DELETE ON ledger.webhook_failure TO clarion_tracker;
GRANT SELECT, UPDATE, DELETE ON ledger.webhook_test TO clarion_tracker;
GRANT SELECT (notification_id, app_id, category_id, event_id) ON ledger.schedule TO clarion_tracker;
GRANT SELECT ON ledger.webhook, ledger.webhook_progress TO clarion_monitor;
