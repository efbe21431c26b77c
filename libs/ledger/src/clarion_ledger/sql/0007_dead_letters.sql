-- Dead letters that are looked through and sent again, and the incidents that developers are told of.

-- ---------------------------------------------------------------- dead letters

-- In the order in which they ended, which later ones never change: a redrive by filter can be repeated and resumed.
CREATE INDEX dead_letter_ended ON ledger.dead_letter (app_id, at, delivery_id);

-- A redrive writes what planning writes, for one delivery each.
GRANT INSERT ON ledger.delivery, ledger.delivery_body, ledger.delivery_work TO clarion_gateway;
GRANT UPDATE (redriven_as) ON ledger.dead_letter TO clarion_gateway;

-- ---------------------------------------------------------------- incidents

-- The monitor counts recent failures by cause. What succeeds costs this index nothing.
CREATE INDEX event_failed ON ledger.event (at) WHERE kind = 4 OR (kind = 5 AND state IN (21, 25));

-- One row per cause, used again when it comes back; `since` names the episode. Holds names and figures, no personal data.
CREATE TABLE ledger.incident (
    key         text COLLATE "C" PRIMARY KEY,
    kind        text NOT NULL,
    what        text NOT NULL,
    unit        text NOT NULL,
    value       float8 NOT NULL,
    limit_value float8 NOT NULL,
    app_id      int4,
    lane_id     int4,
    since       timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);

-- What each sink was told of an incident. Claiming is moving `next_at` on where it has come; the claim ends by itself.
CREATE TABLE ledger.incident_notice (
    key         text COLLATE "C" NOT NULL REFERENCES ledger.incident ON DELETE CASCADE,
    sink        text NOT NULL,
    next_at     timestamptz NOT NULL,
    tries       int4 NOT NULL DEFAULT 0,
    told_since  timestamptz, -- the episode it was last told of
    notified_at timestamptz, -- when it was last told that this goes on
    resolved_at timestamptz, -- when it was told that this is over
    PRIMARY KEY (key, sink)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.incident, ledger.incident_notice TO clarion_monitor;
