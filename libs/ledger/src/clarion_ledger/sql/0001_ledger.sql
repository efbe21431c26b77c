-- The system of record. Numbers in state, reason, kind and the like are those of clarion.notification.v1.

CREATE SCHEMA ledger;

-- ---------------------------------------------------------------- configuration

CREATE TABLE ledger.app (
    app_id     int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text COLLATE "C" NOT NULL UNIQUE,
    enabled    boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ledger.app_key (
    app_key     text COLLATE "C" PRIMARY KEY,
    app_id      int4 NOT NULL REFERENCES ledger.app,
    secret_hash bytea NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX app_key_app ON ledger.app_key (app_id);

CREATE TABLE ledger.category (
    category_id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id      int4 NOT NULL REFERENCES ledger.app,
    name        text COLLATE "C" NOT NULL,
    definition  bytea NOT NULL, -- clarion.category.v1.Category
    UNIQUE (app_id, name)
);

-- Per-app data keys, wrapped by a key-encryption key that is not in this database.
CREATE TABLE ledger.data_key (
    app_id     int4 NOT NULL REFERENCES ledger.app,
    key_id     int4 NOT NULL,
    kek_id     text NOT NULL,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app_id, key_id)
);

-- A provider account of an app is a lane: breaker, pacing and metrics are its own.
CREATE TABLE ledger.lane (
    lane_id  int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id   int4 NOT NULL REFERENCES ledger.app,
    name     text COLLATE "C" NOT NULL,
    kind     text NOT NULL,
    channel  int2 NOT NULL,
    enabled  boolean NOT NULL DEFAULT true,
    settings bytea NOT NULL, -- sealed JSON
    revision int8 NOT NULL DEFAULT 1,
    UNIQUE (app_id, name)
);

CREATE TABLE ledger.route (
    app_id  int4 NOT NULL REFERENCES ledger.app,
    channel int2 NOT NULL,
    routes  bytea NOT NULL, -- clarion.routing.v1.ChannelRoutes
    PRIMARY KEY (app_id, channel)
);

-- Grows with every change of the tables above, so that daemons notice by one cheap read.
CREATE TABLE ledger.config_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision int8 NOT NULL
);
INSERT INTO ledger.config_revision (revision) VALUES (1);

CREATE FUNCTION ledger.bump_config_revision() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE ledger.config_revision SET revision = revision + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON ledger.app FOR EACH STATEMENT EXECUTE FUNCTION ledger.bump_config_revision();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON ledger.app_key FOR EACH STATEMENT EXECUTE FUNCTION ledger.bump_config_revision();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON ledger.category FOR EACH STATEMENT EXECUTE FUNCTION ledger.bump_config_revision();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON ledger.lane FOR EACH STATEMENT EXECUTE FUNCTION ledger.bump_config_revision();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON ledger.route FOR EACH STATEMENT EXECUTE FUNCTION ledger.bump_config_revision();

-- Immutable MIME bodies of mail template versions (clarion.internal.content.v1.MailFrame).
CREATE TABLE ledger.frame (
    sha256     bytea PRIMARY KEY,
    frame      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- event ids

-- Which epoch of six days new event ids go to. Rotation changes it under the exclusive advisory lock that every accept
-- holds shared, so that no accept looks past an uncommitted one.
CREATE TABLE ledger.event_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    int4 NOT NULL
);

CREATE TABLE ledger.event_key (
    epoch           int4 NOT NULL,
    app_id          int4 NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    payload_hash    bytea NOT NULL,
    notification_id uuid NOT NULL,
    PRIMARY KEY (app_id, event_id, epoch)
) PARTITION BY RANGE (epoch);

-- ---------------------------------------------------------------- notifications and deliveries

CREATE TABLE ledger.notification (
    accepted_at     timestamptz NOT NULL DEFAULT now(),
    expire_at       timestamptz NOT NULL,
    id              uuid NOT NULL,
    app_id          int4 NOT NULL,
    category_id     int4 NOT NULL,
    planned_count   int4 NOT NULL DEFAULT 0,
    recipient_count int2 NOT NULL,
    priority        int2 NOT NULL,
    state           int2 NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    traceparent     text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX ON ledger.notification (app_id, id);

-- What the client asked for, sealed; insert only, dropped long before the notification. Sealed bytes do not compress, so
-- no column that holds them is tried (STORAGE EXTERNAL).
CREATE TABLE ledger.notification_body (
    id      uuid NOT NULL,
    payload bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE ledger.delivery (
    planned_at          timestamptz NOT NULL DEFAULT now(),
    terminal_at         timestamptz,
    receipt_at          timestamptz,
    id                  uuid NOT NULL,
    notification_id     uuid NOT NULL,
    recipient_ref       uuid NOT NULL,
    address_id          uuid,
    redrive_of          uuid,
    app_id              int4 NOT NULL,
    category_id         int4 NOT NULL,
    lane_id             int4,
    template_version    int4,
    channel             int2 NOT NULL,
    priority            int2 NOT NULL,
    state               int2 NOT NULL,
    reason              int2 NOT NULL DEFAULT 0,
    receipt             int2 NOT NULL DEFAULT 0,
    attempts            int2 NOT NULL DEFAULT 0,
    ambiguous           boolean NOT NULL DEFAULT false,
    country             text,
    gates               bytea, -- clarion.notification.v1.GateTrail
    provider_message_id text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX ON ledger.delivery (notification_id);
CREATE INDEX ON ledger.delivery (recipient_ref);

-- Address and content, both sealed; insert only.
CREATE TABLE ledger.delivery_body (
    id      uuid NOT NULL,
    address bytea STORAGE EXTERNAL NOT NULL,
    content bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE ledger.attempt (
    started_at          timestamptz NOT NULL,
    delivery_id         uuid NOT NULL,
    duration_ms         int4 NOT NULL,
    lane_id             int4 NOT NULL,
    attempt             int2 NOT NULL,
    outcome             int2 NOT NULL, -- clarion_channels.outcome.Outcome
    code                text NOT NULL,
    provider_message_id text,
    receipt_key         text, -- set where the provider will send a receipt under it
    PRIMARY KEY (delivery_id, attempt)
) PARTITION BY RANGE (delivery_id);
CREATE INDEX ON ledger.attempt (receipt_key) WHERE receipt_key IS NOT NULL;

-- Everything that happened. Readers follow (xid, seq) and stop below pg_snapshot_xmin, so that no late commit is skipped.
CREATE SEQUENCE ledger.event_seq AS int8 CACHE 64;
CREATE TABLE ledger.event (
    at              timestamptz NOT NULL DEFAULT now(),
    xid             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq             int8 NOT NULL DEFAULT nextval('ledger.event_seq'),
    notification_id uuid NOT NULL,
    delivery_id     uuid,
    app_id          int4 NOT NULL,
    lane_id         int4,
    kind            int2 NOT NULL,
    state           int2,
    reason          int2,
    attempt         int2,
    code            text,
    PRIMARY KEY (xid, seq, at)
) PARTITION BY RANGE (at);
CREATE INDEX ON ledger.event (notification_id);

-- ---------------------------------------------------------------- work in flight (small, unpartitioned, hot)

-- The hot path (enqueued, leased, gone) changes no indexed column, so its updates are HOT. Where a row rests decides
-- which of enqueued_at, due_at, ready_since is set; each has a partial index.
-- A batch that was planned together is claimed together: its pages must have room for a second version of every row
-- (tried with 500 rows: fillfactor 60 left 132 updates that were not HOT, 50 left 28, 45 none).

CREATE TABLE ledger.plan_work (
    enqueued_at     timestamptz,
    ready_since     timestamptz,
    notification_id uuid PRIMARY KEY,
    app_id          int4 NOT NULL,
    priority        int2 NOT NULL,
    enqueue_count   int2 NOT NULL DEFAULT 0,
    tries           int2 NOT NULL DEFAULT 0,
    traceparent     text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX plan_work_enqueued ON ledger.plan_work (enqueued_at) WHERE enqueued_at IS NOT NULL;
CREATE INDEX plan_work_ready ON ledger.plan_work (priority, app_id, notification_id) WHERE ready_since IS NOT NULL;

CREATE TABLE ledger.delivery_work (
    enqueued_at     timestamptz,
    due_at          timestamptz,
    ready_since     timestamptz,
    lease_until     timestamptz,
    writing_at      timestamptz,
    expire_at       timestamptz NOT NULL,
    planned_at      timestamptz NOT NULL DEFAULT now(),
    delivery_id     uuid PRIMARY KEY,
    notification_id uuid NOT NULL,
    recipient_ref   uuid NOT NULL,
    app_id          int4 NOT NULL,
    lane_id         int4 NOT NULL,
    lease_gen       int4 NOT NULL DEFAULT 0,
    channel         int2 NOT NULL,
    priority        int2 NOT NULL,
    state           int2 NOT NULL,
    attempt         int2 NOT NULL DEFAULT 0,
    max_attempts    int2 NOT NULL,
    enqueue_count   int2 NOT NULL DEFAULT 0,
    at_most_once    boolean NOT NULL,
    ambiguous       boolean NOT NULL DEFAULT false,
    collapse_key    text,
    traceparent     text
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX delivery_work_enqueued ON ledger.delivery_work (enqueued_at) WHERE enqueued_at IS NOT NULL;
CREATE INDEX delivery_work_due ON ledger.delivery_work (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_work_ready ON ledger.delivery_work (channel, priority, app_id, delivery_id) WHERE ready_since IS NOT NULL;
CREATE INDEX delivery_work_notification ON ledger.delivery_work (notification_id);
CREATE INDEX delivery_work_recipient ON ledger.delivery_work (recipient_ref);

-- Sends that are not due yet; they enter the tables above when they are.
CREATE TABLE ledger.schedule (
    deliver_at      timestamptz NOT NULL,
    expire_at       timestamptz NOT NULL,
    accepted_at     timestamptz NOT NULL DEFAULT now(),
    notification_id uuid PRIMARY KEY,
    app_id          int4 NOT NULL,
    category_id     int4 NOT NULL,
    recipient_count int2 NOT NULL,
    priority        int2 NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    traceparent     text,
    payload         bytea STORAGE EXTERNAL NOT NULL
);
CREATE INDEX schedule_due ON ledger.schedule (deliver_at);
CREATE INDEX schedule_app ON ledger.schedule (app_id, notification_id);

CREATE TABLE ledger.dead_letter (
    at              timestamptz NOT NULL DEFAULT now(),
    delivery_id     uuid PRIMARY KEY,
    notification_id uuid NOT NULL,
    redriven_as     uuid,
    app_id          int4 NOT NULL,
    lane_id         int4,
    channel         int2 NOT NULL,
    reason          int2 NOT NULL,
    attempts        int2 NOT NULL,
    last_code       text NOT NULL
);
CREATE INDEX dead_letter_app ON ledger.dead_letter (app_id, delivery_id);

-- What the reconciler last saw of each JetStream stream: going backwards means that the stream lost its content.
CREATE TABLE ledger.stream_seen (
    stream     text PRIMARY KEY,
    created_at timestamptz NOT NULL,
    last_seq   int8 NOT NULL
);

-- Singleton jobs: whoever holds the row does the job.
CREATE TABLE ledger.lease (
    name   text PRIMARY KEY,
    holder text NOT NULL,
    until  timestamptz NOT NULL
);

-- ---------------------------------------------------------------- partitions

CREATE FUNCTION ledger.uuid_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::int8), 12, '0') || repeat('0', 20))::uuid
$$;

-- Creates daily partitions from `first_day` to `last_day`, a DEFAULT one for each table, and the epochs of event keys.
CREATE FUNCTION ledger.ensure_partitions(first_day date, last_day date) RETURNS int4
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
        storage := CASE WHEN parent IN ('notification', 'delivery') THEN ' WITH (fillfactor = 80)' ELSE '' END;
        IF to_regclass('ledger.' || parent || '_default') IS NULL THEN
            EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.%I DEFAULT%s', parent || '_default', parent, storage);
        END IF;
        day := first_day;
        WHILE day <= last_day LOOP
            partition := parent || '_' || to_char(day, 'YYYYMMDD');
            IF to_regclass('ledger.' || partition) IS NULL THEN
                IF parent = 'event' THEN
                    EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.%I FOR VALUES FROM (%L) TO (%L)',
                        partition, parent, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                ELSE
                    EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.%I FOR VALUES FROM (%L) TO (%L)%s',
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
            EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.event_key FOR VALUES FROM (%s) TO (%s)',
                partition, epoch_wanted, epoch_wanted + 1);
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END $$;

CREATE FUNCTION ledger.epoch_of(moment timestamptz) RETURNS int4 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT floor(extract(epoch FROM moment) / 518400)::int4
$$;

-- Moves event ids to the epoch of now; accepts wait for the moment it takes.
CREATE FUNCTION ledger.rotate_event_epoch() RETURNS int4
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    wanted int4 := ledger.epoch_of(clock_timestamp());
BEGIN
    IF wanted <= (SELECT epoch FROM ledger.event_epoch) THEN
        RETURN (SELECT epoch FROM ledger.event_epoch);
    END IF;
    PERFORM pg_advisory_xact_lock(7201);
    UPDATE ledger.event_epoch SET epoch = wanted WHERE epoch < wanted;
    RETURN wanted;
END $$;

SELECT ledger.ensure_partitions((now() AT TIME ZONE 'UTC')::date - 1, (now() AT TIME ZONE 'UTC')::date + 14);
INSERT INTO ledger.event_epoch (epoch) VALUES (ledger.epoch_of(now()));

-- ---------------------------------------------------------------- accept

-- Accepts a batch in one round trip. A function, because it needs three snapshots: the epoch must be read after the
-- lock was taken, and rows that beat us in a race are seen only by a later statement. `ord` counts from 1.
CREATE FUNCTION ledger.accept(
    app_ids int4[], event_ids text[], payload_hashes bytea[], category_ids int4[], priorities int2[],
    recipient_counts int2[], deliver_ats timestamptz[], expire_ats timestamptz[], time_to_lives interval[],
    payloads bytea[], traceparents text[], enqueues boolean[]
) RETURNS TABLE (ord int8, notification_id uuid, fresh boolean, payload_hash bytea, scheduled boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    current_epoch int4;
    fresh_count int4;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7201);
    SELECT e.epoch INTO current_epoch FROM ledger.event_epoch e;
    RETURN QUERY
    WITH input AS (
        SELECT * FROM unnest(app_ids, event_ids, payload_hashes, category_ids, priorities, recipient_counts, deliver_ats,
                             expire_ats, time_to_lives, payloads, traceparents, enqueues) WITH ORDINALITY
            AS i (app_id, event_id, payload_hash, category_id, priority, recipient_count, deliver_at,
                  expire_at, time_to_live, payload, traceparent, enqueue, ord)
    ), claimed AS (
        INSERT INTO ledger.event_key AS k (epoch, app_id, event_id, payload_hash, notification_id)
        SELECT current_epoch, i.app_id, i.event_id, i.payload_hash,
               CASE WHEN i.deliver_at > now() THEN uuidv7(i.deliver_at - now()) ELSE uuidv7() END
        FROM input i
        WHERE NOT EXISTS (
            SELECT FROM ledger.event_key o
            WHERE o.app_id = i.app_id AND o.event_id = i.event_id AND o.epoch BETWEEN current_epoch - 5 AND current_epoch - 1
        )
        ORDER BY i.app_id, i.event_id
        ON CONFLICT DO NOTHING
        RETURNING k.app_id, k.event_id, k.payload_hash, k.notification_id
    ), new AS (
        SELECT DISTINCT ON (i.app_id, i.event_id) i.*, c.notification_id AS id,
               coalesce(i.expire_at, greatest(i.deliver_at, now()) + i.time_to_live) AS expires,
               coalesce(i.deliver_at > now(), false) AS later
        FROM claimed c JOIN input i ON i.app_id = c.app_id AND i.event_id = c.event_id AND i.payload_hash = c.payload_hash
        ORDER BY i.app_id, i.event_id, i.ord
    ), rested AS (
        INSERT INTO ledger.schedule (deliver_at, expire_at, notification_id, app_id, category_id, recipient_count, priority,
                                     event_id, traceparent, payload)
        SELECT n.deliver_at, n.expires, n.id, n.app_id, n.category_id, n.recipient_count, n.priority,
               n.event_id, n.traceparent, n.payload
        FROM new n WHERE n.later
    ), stored AS (
        INSERT INTO ledger.notification (expire_at, id, app_id, category_id, recipient_count, priority, state, event_id, traceparent)
        SELECT n.expires, n.id, n.app_id, n.category_id, n.recipient_count, n.priority, 2, n.event_id, n.traceparent
        FROM new n WHERE NOT n.later
    ), bodies AS (
        INSERT INTO ledger.notification_body (id, payload) SELECT n.id, n.payload FROM new n WHERE NOT n.later
    ), work AS (
        INSERT INTO ledger.plan_work (enqueued_at, ready_since, notification_id, app_id, priority, traceparent)
        SELECT CASE WHEN n.enqueue THEN now() END, CASE WHEN NOT n.enqueue THEN now() END, n.id, n.app_id, n.priority,
               n.traceparent
        FROM new n WHERE NOT n.later
    ), happened AS (
        INSERT INTO ledger.event (notification_id, app_id, kind) SELECT n.id, n.app_id, CASE WHEN n.later THEN 1 ELSE 2 END FROM new n
    )
    SELECT n.ord, n.id, true, n.payload_hash, n.later FROM new n;
    GET DIAGNOSTICS fresh_count = ROW_COUNT;
    IF fresh_count = cardinality(event_ids) THEN
        RETURN;
    END IF;
    -- The losers of a race and the repeats of earlier sends: their answer is the first one's. Fresh items come again here;
    -- the caller keeps its first answer for each `ord`.
    RETURN QUERY
    SELECT i.ord, k.notification_id, false, k.payload_hash, false
    FROM unnest(app_ids, event_ids) WITH ORDINALITY AS i (app_id, event_id, ord)
    JOIN ledger.event_key k ON k.app_id = i.app_id AND k.event_id = i.event_id AND k.epoch BETWEEN current_epoch - 5 AND current_epoch;
END $$;
