-- How well the accounts of SMS deliver, by what their receipts say; routes that ask for it share their traffic accordingly.

-- Receipts as they were applied, by the minute. `bucket`: the power of two of the seconds from hand-over to receipt, -1 for a
-- failure. One that is corrected later counts back in the minute of its correction. Rows live some hours.
CREATE TABLE ledger.receipt_tally (
    minute  timestamptz NOT NULL,
    lane_id int4 NOT NULL,
    count   int4 NOT NULL,
    bucket  int2 NOT NULL,
    country text COLLATE "C" NOT NULL,
    PRIMARY KEY (minute, lane_id, country, bucket)
) WITH (fillfactor = 50); -- every batch of receipts is one more version of some rows

-- What the tracker makes of it. `factor`: percent of its weight that an account keeps in a country.
CREATE TABLE ledger.lane_quality (
    measured_at    timestamptz NOT NULL DEFAULT now(),
    changed_at     timestamptz NOT NULL DEFAULT now(),
    lane_id        int4 NOT NULL,
    delivered      int4 NOT NULL,
    undelivered    int4 NOT NULL,
    median_seconds int4 NOT NULL,
    factor         int2 NOT NULL CHECK (factor BETWEEN 1 AND 100),
    country        text COLLATE "C" NOT NULL,
    PRIMARY KEY (lane_id, country)
);

-- Factors are configuration as daemons read it; measurements that move none are not.
CREATE TRIGGER factor_changed AFTER UPDATE ON ledger.lane_quality FOR EACH ROW
WHEN (OLD.factor <> NEW.factor) EXECUTE FUNCTION ledger.bump_config_revision();
CREATE TRIGGER factor_new AFTER INSERT ON ledger.lane_quality FOR EACH ROW
WHEN (NEW.factor <> 100) EXECUTE FUNCTION ledger.bump_config_revision();
CREATE TRIGGER factor_gone AFTER DELETE ON ledger.lane_quality FOR EACH ROW
WHEN (OLD.factor <> 100) EXECUTE FUNCTION ledger.bump_config_revision();

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.receipt_tally, ledger.lane_quality TO clarion_tracker;
GRANT SELECT, INSERT, UPDATE ON ledger.lease TO clarion_tracker;
GRANT SELECT ON ledger.lane_quality TO clarion_planner, clarion_dispatcher, clarion_gateway, clarion_scheduler, clarion_monitor;
GRANT SELECT ON ledger.receipt_tally TO clarion_monitor;
