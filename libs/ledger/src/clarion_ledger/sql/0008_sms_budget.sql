-- Spending limits of SMS, leased in slices, and the prefixes whose numbers came in a burst.

-- `used` counts what was handed out in slices and not given back, and what went on without one. `generation` grows when a
-- period begins, so that a slice of an earlier one can no longer be given back.
CREATE TABLE ledger.sms_budget (
    period_start       timestamptz NOT NULL,
    period_end         timestamptz NOT NULL,
    segments           int8 NOT NULL CHECK (segments >= 0),
    used               int8 NOT NULL DEFAULT 0 CHECK (used >= 0),
    generation         int8 NOT NULL DEFAULT 1,
    budget_id          int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id             int4 NOT NULL REFERENCES ledger.app ON DELETE CASCADE,
    period             int2 NOT NULL CHECK (period IN (1, 2)), -- clarion.budget.v1.BudgetPeriod
    near_limit_percent int2 NOT NULL,
    shadow             boolean NOT NULL,
    stops_critical     boolean NOT NULL,
    country            text COLLATE "C" NOT NULL,
    prefix             text COLLATE "C" NOT NULL,
    time_zone          text NOT NULL,
    UNIQUE (app_id, country, prefix),
    CHECK (country = '' OR prefix = '')
) WITH (fillfactor = 50); -- every slice is one more version of its row

CREATE FUNCTION ledger.sms_period_start(period int2, zone text, moment timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT date_trunc(CASE period WHEN 1 THEN 'day' ELSE 'month' END, moment AT TIME ZONE zone) AT TIME ZONE zone
$$;

-- Counted in local time, so that a day is as long as it is there.
CREATE FUNCTION ledger.sms_period_end(period int2, zone text, moment timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (date_trunc(CASE period WHEN 1 THEN 'day' ELSE 'month' END, moment AT TIME ZONE zone)
            + CASE period WHEN 1 THEN interval '1 day' ELSE interval '1 month' END) AT TIME ZONE zone
$$;

-- Numbers of one prefix (a keyed digest) that came in a burst. While `held_until` is ahead, every planner holds back.
CREATE TABLE ledger.sms_burst (
    began_at   timestamptz NOT NULL DEFAULT now(),
    held_until timestamptz NOT NULL,
    stopped    int8 NOT NULL,
    app_id     int4 NOT NULL REFERENCES ledger.app ON DELETE CASCADE,
    bucket     text COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, bucket)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.sms_budget TO clarion_gateway;
GRANT SELECT ON ledger.sms_budget TO clarion_planner, clarion_monitor, clarion_scheduler;
GRANT UPDATE (used, generation, period_start, period_end) ON ledger.sms_budget TO clarion_planner;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.sms_burst TO clarion_planner;
GRANT SELECT ON ledger.sms_burst TO clarion_gateway, clarion_monitor, clarion_scheduler;
