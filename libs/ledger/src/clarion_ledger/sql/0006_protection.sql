-- What protects providers and recipients: limits and stops of accounts, wishes that changed in flight, retention.

ALTER TABLE ledger.lane ADD COLUMN limits bytea; -- clarion.provider.v1.Limits

-- Accounts that take no work now; all dispatchers look here twice a second. The half-open probe is a claim on `probe_at`
-- (null: only a person lets it go on).
CREATE TABLE ledger.lane_stop (
    since    timestamptz NOT NULL DEFAULT now(),
    probe_at timestamptz,
    lane_id  int4 PRIMARY KEY,
    app_id   int4 NOT NULL,
    probes   int4 NOT NULL DEFAULT 0,
    reason   int2 NOT NULL, -- clarion.provider.v1.StopReason
    detail   text NOT NULL
);

-- A held row has no time of its own: due_at is infinity until its lane goes on.
CREATE INDEX delivery_work_held ON ledger.delivery_work (lane_id, delivery_id) WHERE due_at = 'infinity';

-- The recipient's revision that the plan saw. A claim compares it with today's, so that a changed wish holds in flight.
ALTER TABLE ledger.delivery_work ADD COLUMN wishes_revision int8;

-- What a route is chosen by, beside the delivery's country, so that another account can take over.
ALTER TABLE ledger.delivery_work ADD COLUMN locale text, ADD COLUMN hint text;

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.lane_stop TO clarion_dispatcher, clarion_gateway;
GRANT SELECT ON ledger.lane_stop TO clarion_scheduler, clarion_monitor, clarion_planner;

-- ---------------------------------------------------------------- retention

-- Partitions that are past their time: bodies after `keep_bodies`, everything else after `keep_history`, event ids after
-- five epochs beyond their own. `held_by` names what still needs one; null: nothing does.
CREATE FUNCTION ledger.prunable(keep_bodies interval, keep_history interval)
RETURNS TABLE (partition text, ends timestamptz, held_by text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    oldest_delivery uuid := (SELECT delivery_id FROM ledger.delivery_work ORDER BY delivery_id LIMIT 1);
    oldest_plan uuid := (SELECT notification_id FROM ledger.plan_work ORDER BY notification_id LIMIT 1);
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
                WHEN oldest_plan < ledger.uuid_floor(d.ends) THEN 'notification ' || oldest_plan END
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

-- Drops one of those, unless something needs it. Waits for its locks a moment only: writers queue behind it meanwhile.
CREATE FUNCTION ledger.prune(wanted text, keep_bodies interval, keep_history interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '300ms' AS $$
DECLARE
    floor uuid;
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
        floor := ledger.uuid_floor((to_date(right(wanted, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
        DELETE FROM ledger.dead_letter WHERE delivery_id < floor;
    END IF;
    EXECUTE format('DROP TABLE ledger.%I', wanted);
    RETURN true;
END $$;

REVOKE EXECUTE ON FUNCTION ledger.prunable(interval, interval), ledger.prune(text, interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.prunable(interval, interval), ledger.prune(text, interval, interval) TO clarion_scheduler;
