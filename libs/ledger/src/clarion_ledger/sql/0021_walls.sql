-- The second wall between apps, fewer rights for each daemon, data keys that are announced before they are used.

-- ---------------------------------------------------------------- data keys

-- A key seals from `active_from` on; until then it only opens, so that every process knows it before it meets what it sealed.
-- `sealed_anew_at`: when everything that lives long had been sealed under it; null: its rotation goes on.
ALTER TABLE ledger.data_key
    ADD COLUMN active_from    timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN sealed_anew_at timestamptz;
-- What a process has loaded is looked at again when this grows. Wrapping anew changes no key.
CREATE TRIGGER config_changed AFTER INSERT OR DELETE ON ledger.data_key FOR EACH STATEMENT EXECUTE FUNCTION ledger.bump_config_revision();

-- ---------------------------------------------------------------- roles of requests

-- What a client asked for runs as one of these, inside the transaction of a daemon that may become it (SET ROLE) and does
-- not have its rights otherwise. It sees the rows of the app that `clarion.app` names, and without one it fails.
DO $$
DECLARE
    daemon text;
BEGIN
    FOREACH daemon IN ARRAY ARRAY['gateway', 'preference', 'tracker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = format('clarion_%s_request', daemon)) THEN
            EXECUTE format('CREATE ROLE clarion_%s_request NOLOGIN', daemon);
        END IF;
        EXECUTE format('GRANT clarion_%1$s_request TO clarion_%1$s WITH INHERIT FALSE, SET TRUE', daemon);
        EXECUTE format('GRANT USAGE ON SCHEMA ledger TO clarion_%s_request', daemon);
    END LOOP;
END $$;

GRANT SELECT ON ledger.event_epoch, ledger.notification, ledger.delivery, ledger.delivery_work, ledger.event, ledger.dead_letter, ledger.attempt
    TO clarion_gateway_request;
GRANT SELECT (epoch, app_id, event_id, notification_id) ON ledger.event_key TO clarion_gateway_request;
GRANT SELECT (deliver_at, expire_at, accepted_at, notification_id, app_id, category_id, recipient_count, priority, event_id, traceparent)
    ON ledger.schedule TO clarion_gateway_request;
GRANT SELECT (notification_id, app_id) ON ledger.plan_work TO clarion_gateway_request;
GRANT SELECT (lane_id, app_id, name) ON ledger.lane TO clarion_gateway_request;
GRANT SELECT (id, content) ON ledger.delivery_body TO clarion_gateway_request;
GRANT DELETE ON ledger.schedule, ledger.plan_work, ledger.delivery_work TO clarion_gateway_request;
GRANT INSERT ON ledger.notification, ledger.event TO clarion_gateway_request;
GRANT UPDATE (state) ON ledger.notification, ledger.delivery_work TO clarion_gateway_request;
GRANT UPDATE (state, reason, attempts, ambiguous, terminal_at) ON ledger.delivery TO clarion_gateway_request;
GRANT USAGE ON SEQUENCE ledger.event_seq TO clarion_gateway_request;

GRANT USAGE ON SCHEMA preference TO clarion_preference_request;
GRANT SELECT, INSERT, UPDATE ON preference.recipient, preference.address, preference.suppression TO clarion_preference_request;
GRANT SELECT, INSERT, DELETE ON preference.soft_bounce TO clarion_preference_request;
GRANT SELECT, INSERT, UPDATE, DELETE ON preference.attribute, preference.topic_member TO clarion_preference_request;
GRANT SELECT, INSERT ON preference.wish_change TO clarion_preference_request;
GRANT SELECT ON preference.erasure TO clarion_preference_request;
GRANT EXECUTE ON FUNCTION preference.erase(int4, uuid) TO clarion_preference_request;
GRANT SELECT (id, notification_id, recipient_ref, app_id, channel, state, reason, receipt, planned_at) ON ledger.delivery
    TO clarion_preference_request;

GRANT EXECUTE ON FUNCTION ledger.audit_append(text, int4, int4, text, text, text, text, text)
    TO clarion_gateway_request, clarion_preference_request;

-- ---------------------------------------------------------------- fewer rights

REVOKE SELECT, INSERT ON ledger.data_key FROM clarion_template, clarion_monitor;
REVOKE INSERT ON ledger.data_key FROM clarion_preference;
REVOKE SELECT ON ledger.app_key, ledger.notification_body, ledger.delivery_body FROM clarion_monitor, clarion_scheduler;
GRANT SELECT (id) ON ledger.delivery_body TO clarion_monitor;
-- Partitions are reached through their tables, whose policies hold for them.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT i.inhrelid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE c.relkind = 'r' AND c.relnamespace = 'ledger'::regnamespace LOOP
        EXECUTE format('REVOKE ALL ON %s FROM clarion_gateway, clarion_preference, clarion_template, clarion_planner, '
                       'clarion_dispatcher, clarion_scheduler, clarion_tracker, clarion_monitor', partition);
    END LOOP;
END $$;

-- Rows that no day has taken are counted.
GRANT SELECT (app_id) ON ledger.notification_default, ledger.delivery_default, ledger.event_default TO clarion_scheduler;

-- ---------------------------------------------------------------- walls

-- Gives every table with an app_id that has no policy its two: work of a daemon for all apps, a request for its own. A later
-- file that makes such a table calls this at its end. The owner's policy is for the functions that have the owner's rights.
CREATE FUNCTION ledger.raise_walls() RETURNS int4 LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    wanted text;
    raised int4 := 0;
BEGIN
    FOR wanted IN
        SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public')
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'app_id' AND NOT a.attisdropped)
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
        ORDER BY 1
    LOOP
        PERFORM ledger.raise_wall(wanted, 'app_id = current_setting(''clarion.app'')::int4');
        raised := raised + 1;
    END LOOP;
    RETURN raised;
END $$;

-- The two policies of one table; `own` says which rows are a request's own.
CREATE FUNCTION ledger.raise_wall(wanted text, own text) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', wanted);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', wanted);
    EXECUTE format(
        'CREATE POLICY all_apps ON %s TO %I, clarion_gateway, clarion_preference, clarion_template, clarion_planner, clarion_dispatcher, '
        'clarion_scheduler, clarion_tracker, clarion_monitor USING (true) WITH CHECK (true)', wanted, current_user);
    EXECUTE format(
        'CREATE POLICY one_app ON %s TO clarion_gateway_request, clarion_preference_request, clarion_tracker_request '
        'USING (%s) WITH CHECK (%s)', wanted, own, own);
END $$;
REVOKE EXECUTE ON FUNCTION ledger.raise_walls(), ledger.raise_wall(text, text) FROM PUBLIC;

SELECT ledger.raise_walls();
-- Tables whose rows belong to an app through their parent: who sees the parent sees them.
SELECT ledger.raise_wall('ledger.notification_body', 'EXISTS (SELECT FROM ledger.notification n WHERE n.id = notification_body.id)');
SELECT ledger.raise_wall('ledger.delivery_body', 'EXISTS (SELECT FROM ledger.delivery d WHERE d.id = delivery_body.id)');
SELECT ledger.raise_wall('ledger.attempt', 'EXISTS (SELECT FROM ledger.delivery d WHERE d.id = attempt.delivery_id)');
SELECT ledger.raise_wall('preference.soft_bounce',
    'EXISTS (SELECT FROM preference.address a WHERE a.address_id = soft_bounce.address_id)');
SELECT ledger.raise_wall('tracking.segment', 'EXISTS (SELECT FROM ledger.delivery d WHERE d.id = segment.delivery_id)');

-- What stands, for operators, and for daemons as a sign that this file was applied.
CREATE VIEW ledger.wall AS
SELECT schemaname || '.' || tablename AS relation, policyname AS policy, roles, qual AS sees FROM pg_catalog.pg_policies;
