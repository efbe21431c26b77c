-- What an SMS in flight took of its budgets, so that what never went can be put back.

-- Written with the plan, gone with the work row. Where no provider was asked, the row stays as `unspent` until a planner puts
-- it back: the ends of deliveries never wait for the row of a budget.
CREATE TABLE ledger.sms_charge (
    delivery_id uuid NOT NULL,
    generation  int8 NOT NULL, -- of the budget's period
    budget_id   int4 NOT NULL,
    app_id      int4 NOT NULL,
    segments    int4 NOT NULL CHECK (segments > 0),
    unspent     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (delivery_id, budget_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX sms_charge_unspent ON ledger.sms_charge (delivery_id) WHERE unspent;

-- Whatever ends a delivery takes its work row. A dead letter keeps what it took, because it may go again; so does what was
-- tried, because a provider may have charged for it.
CREATE FUNCTION ledger.settle_sms_charges() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    ended uuid[];
BEGIN
    SELECT array_agg(g.delivery_id ORDER BY g.delivery_id) INTO ended FROM gone g WHERE g.channel = 4;
    IF ended IS NULL OR NOT EXISTS (SELECT FROM ledger.sms_charge c WHERE c.delivery_id = ANY (ended)) THEN
        RETURN NULL;
    END IF;
    UPDATE ledger.sms_charge c SET unspent = true FROM ledger.delivery d
    WHERE c.delivery_id = ANY (ended) AND d.id = c.delivery_id AND d.id BETWEEN ended[1] AND ended[cardinality(ended)]
      AND d.state IN (22, 23, 24) AND d.attempts = 0 AND NOT d.ambiguous;
    DELETE FROM ledger.sms_charge c WHERE c.delivery_id = ANY (ended) AND NOT c.unspent;
    RETURN NULL;
END $$;
CREATE TRIGGER sms_charges AFTER DELETE ON ledger.delivery_work REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.settle_sms_charges();

GRANT SELECT, INSERT, DELETE ON ledger.sms_charge TO clarion_planner;
GRANT UPDATE (unspent) ON ledger.sms_charge TO clarion_planner;
GRANT SELECT ON ledger.sms_charge TO clarion_monitor;

SELECT ledger.raise_walls();
