-- The end of provider accounts.

-- A deleted account keeps its row, because receipts, timelines and dead letters still name it: disabled, its credentials
-- gone, under a name that nobody can give ("main~17"), so that the name is free again. What is in flight on it is routed
-- again when it is claimed. To daemons of the version before it is a disabled account.
ALTER TABLE ledger.lane ADD COLUMN deleted_at timestamptz;

-- A deleted account has nothing left to stop, and its stop would be an incident for ever. The lock makes whoever stops an
-- account wait for whoever deletes it, and the other way round; a dispatcher may not lock the row itself.
CREATE FUNCTION ledger.refuse_stop_of_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    gone boolean;
BEGIN
    SELECT l.deleted_at IS NOT NULL INTO gone FROM ledger.lane l WHERE l.lane_id = NEW.lane_id FOR SHARE;
    IF gone THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_while_there BEFORE INSERT ON ledger.lane_stop FOR EACH ROW EXECUTE FUNCTION ledger.refuse_stop_of_deleted();
