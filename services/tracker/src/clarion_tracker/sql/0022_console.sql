-- What the console shows of all apps: queues, stopped accounts, scheduled sends, event ids. No payload, no address.

GRANT SELECT ON ledger.plan_work, ledger.lane_stop, ledger.event_epoch TO clarion_tracker;
GRANT SELECT (epoch, app_id, event_id, notification_id) ON ledger.event_key TO clarion_tracker;
GRANT SELECT (deliver_at, expire_at, accepted_at, notification_id, app_id, category_id, recipient_count, priority, event_id, traceparent)
    ON ledger.schedule TO clarion_tracker;
