-- Statistics by template, and by the week where days are many rows; what became of a delivery that was redriven.

-- The template that a notification is made of, written with its plan; null: it brought its content, or was planned before.
ALTER TABLE ledger.notification ADD COLUMN template text COLLATE "C";
GRANT UPDATE (template) ON ledger.notification TO clarion_planner;

-- A version of a template, as `template_version` of the rollups names it: the roller gives each a number when it first counts
-- it. Smaller numbers there are versions whose template is not known.
CREATE TABLE ledger.template_key (
    template_key int4 GENERATED ALWAYS AS IDENTITY (START WITH 1000000001 MINVALUE 1000000001) PRIMARY KEY,
    app_id       int4 NOT NULL,
    version      int4 NOT NULL,
    name         text COLLATE "C" NOT NULL,
    UNIQUE (app_id, name, version)
);

-- Weeks (from Monday, UTC) of grain 3 alone: the sums of its days, which are too many rows to read over a month.
CREATE TABLE tracking.rollup_week (LIKE tracking.rollup_day INCLUDING DEFAULTS INCLUDING INDEXES)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE tracking.reason_week (LIKE tracking.reason_day INCLUDING DEFAULTS INCLUDING INDEXES)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Where the cursor stood when the weeks were last written. A roller that knows no weeks moves the cursor alone: then they are not
-- read, and the next roller that knows them adds them up anew.
ALTER TABLE tracking.rollup_cursor ADD COLUMN weeks_place text NOT NULL DEFAULT '';

GRANT SELECT, INSERT ON ledger.template_key TO clarion_tracker;
GRANT SELECT, INSERT, UPDATE, DELETE ON tracking.rollup_week, tracking.reason_week TO clarion_tracker;
GRANT SELECT ON ledger.template_key, tracking.rollup_week, tracking.reason_week TO clarion_tracker_request;

-- Opens and clicks tell the delivery that a message was made for; the one that was sent in its place is looked up.
GRANT SELECT (delivery_id, app_id, redriven_as) ON ledger.dead_letter TO clarion_tracker;

SELECT ledger.raise_walls();
