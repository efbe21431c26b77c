-- Broadcasts, recurring schedules, scheduled sends that are moved.

-- ---------------------------------------------------------------- broadcasts

-- A child of a broadcast: no event key, no payload of its own. Its id has the time bits of the broadcast's, so all children
-- lie within one millisecond of the id space and are found by it without an index of their own.
ALTER TABLE ledger.notification ADD COLUMN broadcast_id uuid;

-- `cursor` is the last recipient that was planned; it moves with the counters in the transaction that plans. Whoever holds the
-- lease plans the next chunk: `lease_gen` fences those whose lease ended. `served_at` shares planners between broadcasts.
CREATE TABLE ledger.broadcast (
    accepted_at  timestamptz NOT NULL DEFAULT now(),
    deliver_at   timestamptz NOT NULL,
    expire_at    timestamptz NOT NULL,
    next_at      timestamptz NOT NULL, -- before this moment no chunk: its start, its pace, its last failure
    served_at    timestamptz NOT NULL DEFAULT '-infinity',
    lease_until  timestamptz,
    ended_at     timestamptz,
    broadcast_id uuid PRIMARY KEY,
    cursor       uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    planned      int8 NOT NULL DEFAULT 0,
    deliveries   int8 NOT NULL DEFAULT 0,
    suppressed   int8 NOT NULL DEFAULT 0,
    total        int8,
    rate         float8 NOT NULL DEFAULT 0,
    app_id       int4 NOT NULL,
    category_id  int4 NOT NULL,
    pace         int4 NOT NULL, -- recipients a second, 0: no limit
    lease_gen    int4 NOT NULL DEFAULT 0,
    tries        int2 NOT NULL DEFAULT 0,
    priority     int2 NOT NULL,
    state        int2 NOT NULL DEFAULT 1, -- clarion.broadcast.v1.BroadcastState
    event_id     text COLLATE "C" NOT NULL,
    payload_hash bytea NOT NULL,
    traceparent  text,
    payload      bytea STORAGE EXTERNAL NOT NULL, -- sealed clarion.broadcast.v1.StartBroadcastRequest
    UNIQUE (app_id, event_id)
);
CREATE INDEX broadcast_app ON ledger.broadcast (app_id, broadcast_id);
CREATE INDEX broadcast_next ON ledger.broadcast (next_at) WHERE state = 1;
CREATE INDEX broadcast_open ON ledger.broadcast (broadcast_id) WHERE state IN (1, 2, 4);

GRANT SELECT ON ledger.broadcast TO clarion_gateway, clarion_monitor, clarion_planner, clarion_scheduler;
GRANT INSERT, UPDATE ON ledger.broadcast TO clarion_scheduler;
GRANT UPDATE (next_at, served_at, lease_until, ended_at, cursor, planned, deliveries, suppressed, total, rate, lease_gen, tries, state)
    ON ledger.broadcast TO clarion_planner;
-- The planner writes children as accept writes notifications.
GRANT INSERT ON ledger.notification, ledger.plan_work TO clarion_planner;

-- ---------------------------------------------------------------- recurring schedules

-- Each fire time makes one notification or broadcast, by an event id derived from schedule and time. `next_at` null: it has
-- ended. `revision` keeps a firing of an older definition from moving a newer one.
CREATE TABLE ledger.recurring (
    start_at      timestamptz NOT NULL,
    end_at        timestamptz,
    next_at       timestamptz,
    last_fired_at timestamptz,
    last_made     uuid,
    schedule_id   int8 GENERATED ALWAYS AS IDENTITY,
    missed        int8 NOT NULL DEFAULT 0,
    app_id        int4 NOT NULL,
    category_id   int4 NOT NULL,
    revision      int4 NOT NULL DEFAULT 1,
    broadcasts    boolean NOT NULL,
    paused        boolean NOT NULL DEFAULT false,
    name          text COLLATE "C" NOT NULL,
    cron          text NOT NULL,
    time_zone     text NOT NULL,
    last_error    text NOT NULL DEFAULT '',
    body          bytea STORAGE EXTERNAL NOT NULL, -- sealed clarion.schedule.v1.PutScheduleRequest
    PRIMARY KEY (app_id, name)
);
CREATE INDEX recurring_due ON ledger.recurring (next_at) WHERE NOT paused;

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.recurring TO clarion_scheduler;
GRANT SELECT ON ledger.recurring TO clarion_monitor;
-- A firing is an accept.
GRANT INSERT ON ledger.event_key, ledger.schedule TO clarion_scheduler;

-- ---------------------------------------------------------------- scheduled sends that are moved

-- Moves a scheduled send; no row: it is not scheduled. Its id keeps the time that it was first due. Moved far forward of it,
-- it enters a day whose partition does not exist yet; moved back, retention keeps its day (see prunable).
CREATE FUNCTION ledger.reschedule(app int4, wanted uuid, moment timestamptz, deadline timestamptz)
RETURNS TABLE (deliver_at timestamptz, expire_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    own_day date := (uuid_extract_timestamp(wanted) AT TIME ZONE 'UTC')::date;
    due_day date := (moment AT TIME ZONE 'UTC')::date;
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE ledger.schedule s
        SET deliver_at = moment, expire_at = coalesce(deadline, s.expire_at + (moment - s.deliver_at))
        WHERE s.notification_id = wanted AND s.app_id = app
        RETURNING s.notification_id, s.app_id, s.deliver_at, s.expire_at
    ), happened AS (
        INSERT INTO ledger.event (notification_id, app_id, kind) SELECT m.notification_id, m.app_id, 21 FROM moved m
    )
    SELECT m.deliver_at, m.expire_at FROM moved m;
    IF FOUND AND own_day > due_day + 13 THEN
        PERFORM ledger.ensure_partitions(own_day, own_day);
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.reschedule(int4, uuid, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.reschedule(int4, uuid, timestamptz, timestamptz) TO clarion_gateway;

-- ---------------------------------------------------------------- retention

-- As in 0006, and: children of a broadcast that goes on are still written under its time, and a scheduled send that was moved
-- back enters the ledger under the time that it had first.
CREATE OR REPLACE FUNCTION ledger.prunable(keep_bodies interval, keep_history interval)
RETURNS TABLE (partition text, ends timestamptz, held_by text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    oldest_delivery uuid := (SELECT delivery_id FROM ledger.delivery_work ORDER BY delivery_id LIMIT 1);
    oldest_plan uuid := (SELECT notification_id FROM ledger.plan_work ORDER BY notification_id LIMIT 1);
    oldest_scheduled uuid := (SELECT notification_id FROM ledger.schedule ORDER BY notification_id LIMIT 1);
    oldest_broadcast uuid := (SELECT broadcast_id FROM ledger.broadcast WHERE state IN (1, 2, 4) ORDER BY broadcast_id LIMIT 1);
BEGIN
    RETURN QUERY
    WITH dated AS (
        SELECT c.relname::text AS name, p.relname::text AS parent,
               (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' AS ends
        FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
        JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
        JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
        WHERE n.nspname = 'ledger' AND p.relname IN ('notification', 'notification_body', 'delivery', 'delivery_body', 'attempt', 'event')
          AND c.relname ~ '_[0-9]{8}$'
    )
    SELECT d.name, d.ends,
           CASE WHEN oldest_delivery < ledger.uuid_floor(d.ends) THEN 'delivery ' || oldest_delivery
                WHEN oldest_plan < ledger.uuid_floor(d.ends) THEN 'notification ' || oldest_plan
                WHEN oldest_scheduled < ledger.uuid_floor(d.ends) THEN 'scheduled notification ' || oldest_scheduled
                WHEN oldest_broadcast < ledger.uuid_floor(d.ends) THEN 'broadcast ' || oldest_broadcast END
    FROM dated d
    WHERE d.ends <= now() - CASE WHEN d.parent LIKE '%\_body' THEN keep_bodies ELSE keep_history END
    UNION ALL
    SELECT c.relname::text, to_timestamp((substring(c.relname FROM '[0-9]+$')::int8 + 1) * 518400), NULL
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'ledger.event_key'::regclass
      AND substring(c.relname FROM '[0-9]+$')::int4 < (SELECT epoch FROM ledger.event_epoch) - 5
    ORDER BY 2, 1;
END $$;

-- As in 0006, and: a broadcast goes with the day of its children.
CREATE OR REPLACE FUNCTION ledger.prune(wanted text, keep_bodies interval, keep_history interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '300ms' AS $$
DECLARE
    floor uuid := CASE WHEN wanted ~ '_[0-9]{8}$'
        THEN ledger.uuid_floor((to_date(right(wanted, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC') END;
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.prunable(keep_bodies, keep_history) p WHERE p.partition = wanted AND p.held_by IS NULL) THEN
        RETURN false;
    END IF;
    -- Whoever still writes into it is waited for, and what that left there counts: the second look has a newer snapshot.
    EXECUTE format('LOCK TABLE ledger.%I, ledger.%I IN ACCESS EXCLUSIVE MODE', regexp_replace(wanted, '_[0-9]+$', ''), wanted);
    IF NOT EXISTS (SELECT FROM ledger.prunable(keep_bodies, keep_history) p WHERE p.partition = wanted AND p.held_by IS NULL) THEN
        RETURN false;
    END IF;
    IF wanted LIKE 'delivery\_2%' THEN
        DELETE FROM ledger.dead_letter WHERE delivery_id < floor;
    ELSIF wanted LIKE 'notification\_2%' THEN
        DELETE FROM ledger.broadcast WHERE broadcast_id < floor;
    END IF;
    EXECUTE format('DROP TABLE ledger.%I', wanted);
    RETURN true;
END $$;
