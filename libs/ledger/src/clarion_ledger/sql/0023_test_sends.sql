-- Test sends, who uses a template, the zone that a digest tells times in.

-- Notifications that are test sends (scheduled ones too). Rows of their own, because they are few: a column would have to pass
-- through accept, plan and claim with every notification.
CREATE TABLE ledger.test_send (
    notification_id uuid PRIMARY KEY,
    app_id          int4 NOT NULL
);
GRANT INSERT ON ledger.test_send TO clarion_gateway;
GRANT SELECT ON ledger.test_send TO clarion_gateway_request, clarion_planner, clarion_dispatcher, clarion_tracker;

-- The template that a schedule or a broadcast sends, null where it has content of its own. A schedule that was stored before this
-- file has it from its next firing on.
ALTER TABLE ledger.recurring ADD COLUMN template text COLLATE "C";
ALTER TABLE ledger.broadcast ADD COLUMN template text COLLATE "C";
GRANT SELECT (app_id, name, template, paused, next_at) ON ledger.recurring TO clarion_template;
GRANT SELECT (app_id, broadcast_id, template, state) ON ledger.broadcast TO clarion_template;

-- The recipient's zone as its newest member knew it; empty: not known.
ALTER TABLE ledger.digest ADD COLUMN time_zone text NOT NULL DEFAULT '';

-- As in 0014, and: the mark of a test send goes with its notification.
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
        DELETE FROM ledger.test_send WHERE notification_id < floor;
    END IF;
    EXECUTE format('DROP TABLE ledger.%I', wanted);
    RETURN true;
END $$;

SELECT ledger.raise_walls();
