-- One role per daemon, without login: a deployment creates login users as their members. Each gets what its job needs.

DO $$
DECLARE
    daemon text;
BEGIN
    FOREACH daemon IN ARRAY ARRAY['gateway', 'preference', 'template', 'planner', 'dispatcher', 'scheduler', 'tracker', 'monitor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clarion_' || daemon) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', 'clarion_' || daemon);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA ledger TO %I', 'clarion_' || daemon);
        EXECUTE format('GRANT SELECT ON ledger.app, ledger.category, ledger.data_key, ledger.config_revision TO %I', 'clarion_' || daemon);
    END LOOP;
END $$;

GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO clarion_gateway, clarion_monitor, clarion_scheduler;
GRANT INSERT, UPDATE ON ledger.app, ledger.app_key, ledger.category, ledger.data_key, ledger.lane, ledger.route TO clarion_gateway;
GRANT INSERT ON ledger.event_key, ledger.notification, ledger.notification_body, ledger.schedule, ledger.event, ledger.plan_work TO clarion_gateway;
GRANT UPDATE (state) ON ledger.notification TO clarion_gateway;
GRANT UPDATE (state, reason, attempts, ambiguous, terminal_at) ON ledger.delivery TO clarion_gateway;
GRANT UPDATE, DELETE ON ledger.plan_work, ledger.schedule, ledger.delivery_work TO clarion_gateway;

GRANT INSERT ON ledger.data_key TO clarion_preference, clarion_template;
GRANT SELECT, INSERT ON ledger.frame TO clarion_template;

GRANT SELECT ON ledger.notification, ledger.notification_body, ledger.plan_work, ledger.delivery_work, ledger.lane, ledger.route TO clarion_planner;
GRANT UPDATE (state, planned_count) ON ledger.notification TO clarion_planner;
GRANT UPDATE, DELETE ON ledger.plan_work TO clarion_planner;
GRANT INSERT ON ledger.delivery, ledger.delivery_body, ledger.delivery_work, ledger.event TO clarion_planner;
GRANT UPDATE (enqueued_at, ready_since, state) ON ledger.delivery_work TO clarion_planner;

GRANT SELECT ON ledger.lane, ledger.route, ledger.delivery_work, ledger.delivery_body, ledger.delivery, ledger.frame TO clarion_dispatcher;
GRANT UPDATE, DELETE ON ledger.delivery_work TO clarion_dispatcher;
GRANT UPDATE (state, reason, attempts, ambiguous, lane_id, provider_message_id, terminal_at) ON ledger.delivery TO clarion_dispatcher;
GRANT INSERT ON ledger.attempt, ledger.event, ledger.dead_letter TO clarion_dispatcher;

GRANT INSERT ON ledger.notification, ledger.notification_body, ledger.plan_work, ledger.event, ledger.dead_letter TO clarion_scheduler;
GRANT UPDATE, DELETE ON ledger.plan_work, ledger.delivery_work, ledger.schedule TO clarion_scheduler;
GRANT UPDATE (state) ON ledger.notification TO clarion_scheduler;
GRANT UPDATE (state, reason, attempts, ambiguous, terminal_at) ON ledger.delivery TO clarion_scheduler;
GRANT INSERT, UPDATE ON ledger.stream_seen, ledger.lease TO clarion_scheduler;

GRANT SELECT ON ledger.attempt, ledger.delivery, ledger.notification, ledger.lane, ledger.event TO clarion_tracker;
GRANT UPDATE (receipt, receipt_at) ON ledger.delivery TO clarion_tracker;
GRANT INSERT ON ledger.event TO clarion_tracker;

GRANT USAGE ON SEQUENCE ledger.event_seq TO clarion_gateway, clarion_planner, clarion_dispatcher, clarion_scheduler, clarion_tracker;
REVOKE EXECUTE ON FUNCTION ledger.ensure_partitions(date, date), ledger.rotate_event_epoch() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.ensure_partitions(date, date), ledger.rotate_event_epoch() TO clarion_scheduler;
