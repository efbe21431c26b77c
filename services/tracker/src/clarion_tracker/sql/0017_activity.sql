-- What people did with deliveries, and machines that look at mails before them: opens, clicks, and what apps tell.

-- One row for each (delivery, kind, machine, mark); what comes again counts in `times`. Readers follow (xid, seq) as with
-- ledger.event; both stay as they were. Everything that statistics ask for is in the row, for links tell it themselves:
-- `late` ones came when the ledger knew the delivery no more. kind: clarion_tracker.activity.Kind; mark: number of a link, or
-- the id that the app gave its event.
CREATE SEQUENCE tracking.activity_seq AS int8 CACHE 64;
CREATE TABLE tracking.activity (
    first_at         timestamptz NOT NULL DEFAULT now(),
    last_at          timestamptz NOT NULL DEFAULT now(),
    xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq              int8 NOT NULL DEFAULT nextval('tracking.activity_seq'),
    delivery_id      uuid NOT NULL,
    app_id           int4 NOT NULL,
    category_id      int4 NOT NULL,
    template_version int4 NOT NULL, -- 0: none
    times            int4 NOT NULL DEFAULT 1,
    channel          int2 NOT NULL,
    kind             int2 NOT NULL,
    machine          boolean NOT NULL DEFAULT false,
    late             boolean NOT NULL,
    country          text COLLATE "C" NOT NULL, -- empty: not known
    mark             text COLLATE "C" NOT NULL DEFAULT '',
    name             text COLLATE "C" NOT NULL DEFAULT '',
    currency         text COLLATE "C" NOT NULL DEFAULT '', -- ISO 4217
    amount           numeric,
    PRIMARY KEY (delivery_id, kind, machine, mark)
) PARTITION BY RANGE (delivery_id);
CREATE INDEX ON tracking.activity (xid, seq);
ALTER SEQUENCE tracking.activity_seq OWNED BY tracking.activity.seq;

-- One partition for each day of deliveries, from yesterday to some days ahead; those of days longer ago than `kept` are
-- dropped. What belongs to no partition (old links) rests in the DEFAULT one and is deleted in small batches. False: it was too
-- busy, or there is more to delete.
CREATE FUNCTION tracking.keep_activity(kept interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '300ms' AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    day date;
    partition text;
    deleted int8;
BEGIN
    IF to_regclass('tracking.activity_default') IS NULL THEN
        CREATE TABLE tracking.activity_default PARTITION OF tracking.activity DEFAULT WITH (fillfactor = 85);
    END IF;
    FOR day IN SELECT today + n FROM generate_series(-1, 7) AS n LOOP
        partition := 'activity_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('tracking.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE tracking.%I PARTITION OF tracking.activity FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 85)',
                partition, ledger.uuid_floor(day::timestamp AT TIME ZONE 'UTC'),
                ledger.uuid_floor((day + 1)::timestamp AT TIME ZONE 'UTC'));
        END IF;
    END LOOP;
    FOR partition IN
        SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'tracking.activity'::regclass AND c.relname ~ '^activity_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') + 1 < (now() - kept) AT TIME ZONE 'UTC'
        ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE tracking.%I', partition);
    END LOOP;
    DELETE FROM tracking.activity_default a
    WHERE (a.delivery_id, a.kind, a.machine, a.mark) IN (
        SELECT o.delivery_id, o.kind, o.machine, o.mark FROM tracking.activity_default o
        WHERE o.last_at < now() - kept ORDER BY 1, 2, 3, 4 LIMIT 1000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted < 1000;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
SELECT tracking.keep_activity(interval '35 days');

GRANT SELECT, INSERT ON tracking.activity TO clarion_tracker;
GRANT UPDATE (times, last_at) ON tracking.activity TO clarion_tracker;
GRANT USAGE ON SEQUENCE tracking.activity_seq TO clarion_tracker;
GRANT SELECT ON tracking.activity TO clarion_monitor;
REVOKE EXECUTE ON FUNCTION tracking.keep_activity(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tracking.keep_activity(interval) TO clarion_tracker;
