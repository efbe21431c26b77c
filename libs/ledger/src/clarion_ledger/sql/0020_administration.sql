-- What an app and a key may do, and the log of every administrative act.

-- ---------------------------------------------------------------- apps and keys

-- Empty: all.
ALTER TABLE ledger.app
    ADD COLUMN sms_countries  text[] NOT NULL DEFAULT '{}',
    ADD COLUMN sender_domains text[] NOT NULL DEFAULT '{}';

-- Of a rotated key the former secret lives until former_until. A token names the version of the secret that it was issued for.
ALTER TABLE ledger.app_key
    ADD COLUMN secret_version        int4 NOT NULL DEFAULT 1,
    ADD COLUMN former_hash           bytea,
    ADD COLUMN former_until          timestamptz,
    ADD COLUMN networks              cidr[] NOT NULL DEFAULT '{}',
    ADD COLUMN requests_per_second   int4 CHECK (requests_per_second > 0),
    ADD COLUMN notifications_per_day int4 CHECK (notifications_per_day > 0),
    ADD CONSTRAINT app_key_former CHECK ((former_hash IS NULL) = (former_until IS NULL));

-- Apart from the keys, whose every change makes all daemons read their configuration anew.
CREATE TABLE ledger.app_key_use (
    app_key text COLLATE "C" PRIMARY KEY REFERENCES ledger.app_key ON DELETE CASCADE,
    used_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON ledger.app_key_use TO clarion_gateway;
GRANT SELECT ON ledger.app_key_use TO clarion_monitor;

-- ---------------------------------------------------------------- audit log

-- One chain: an entry's hash covers the former one's. Rows are written by ledger.audit_append alone. No foreign keys: an entry
-- outlives what it tells of. before and after are JSON, or empty.
CREATE TABLE ledger.audit_log (
    seq       int8 PRIMARY KEY,
    at        timestamptz NOT NULL,
    app_id    int4 NOT NULL,
    actor_app int4 NOT NULL,
    actor_key text NOT NULL,
    act       text NOT NULL,
    target    text NOT NULL,
    before    text NOT NULL CHECK (before = '' OR before IS JSON),
    after     text NOT NULL CHECK (after = '' OR after IS JSON),
    trace_id  text NOT NULL,
    hash      bytea NOT NULL
);
CREATE INDEX audit_log_app ON ledger.audit_log (app_id, seq);

-- The last entry, whose row is the lock of the chain, and what the first one that is kept goes on from.
CREATE TABLE ledger.audit_head (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq       int8 NOT NULL,
    hash      bytea NOT NULL,
    base_seq  int8 NOT NULL,
    base_hash bytea NOT NULL
);
INSERT INTO ledger.audit_head (seq, hash, base_seq, base_hash)
VALUES (0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'));

-- SHA-256 of the former hash and of every field as "<bytes>:<field>", so that no two entries read alike.
CREATE FUNCTION ledger.audit_hash(former bytea, VARIADIC fields text[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT sha256(former || convert_to(string_agg(octet_length(field) || ':' || field, '' ORDER BY place), 'UTF8'))
    FROM unnest(fields) WITH ORDINALITY AS f (field, place)
$$;

-- Call it last in a transaction: until that ends, nobody else appends.
CREATE FUNCTION ledger.audit_append(
    act text, app_id int4, actor_app int4, actor_key text, target text, before text, after text, trace_id text
) RETURNS int8 LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    head ledger.audit_head;
    moment timestamptz;
    entry bytea;
BEGIN
    SELECT * INTO STRICT head FROM ledger.audit_head FOR UPDATE;
    moment := clock_timestamp();
    entry := ledger.audit_hash(head.hash, (head.seq + 1)::text, (extract(epoch FROM moment) * 1000000)::int8::text,
        app_id::text, actor_app::text, actor_key, act, target, before, after, trace_id);
    INSERT INTO ledger.audit_log VALUES
        (head.seq + 1, moment, app_id, actor_app, actor_key, act, target, before, after, trace_id, entry);
    UPDATE ledger.audit_head SET seq = head.seq + 1, hash = entry;
    RETURN head.seq + 1;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.audit_append(text, int4, int4, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.audit_append(text, int4, int4, text, text, text, text, text)
    TO clarion_gateway, clarion_preference, clarion_scheduler, clarion_template;
GRANT SELECT ON ledger.audit_log, ledger.audit_head TO clarion_gateway, clarion_monitor;

-- Against slips of whoever owns the tables; against malice the chain speaks.
CREATE FUNCTION ledger.audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('clarion.audit_pruning', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.audit_log
    FOR EACH ROW EXECUTE FUNCTION ledger.audit_log_is_append_only();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.audit_log_is_append_only();

-- Forgets entries older than `keep` (90 days or more) and keeps the hash that the rest goes on from. For the owner alone.
CREATE FUNCTION ledger.audit_prune(keep interval) RETURNS int8 LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    newest int8;
    forgotten int8;
BEGIN
    IF keep < interval '90 days' THEN
        RAISE EXCEPTION 'the audit log is kept for 90 days at least' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM ledger.audit_head FOR UPDATE;
    SELECT max(seq) INTO newest FROM ledger.audit_log WHERE at < now() - keep;
    IF newest IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE ledger.audit_head h SET base_seq = l.seq, base_hash = l.hash FROM ledger.audit_log l WHERE l.seq = newest;
    PERFORM set_config('clarion.audit_pruning', 'on', true);
    DELETE FROM ledger.audit_log WHERE seq <= newest;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    PERFORM set_config('clarion.audit_pruning', 'off', true);
    RETURN forgotten;
END $$;
REVOKE EXECUTE ON FUNCTION ledger.audit_prune(interval) FROM PUBLIC;
