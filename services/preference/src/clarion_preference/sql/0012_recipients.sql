-- Attributes, topics, other names of merged recipients, erased ones, and the log of what happened to wishes.
--
-- Lock order of every writer: the app's membership (advisory, shared; alone for merging and erasing), addresses, suppressions
-- (both by id), recipients by key, then their aliases. So while a writer works, no reference changes whom it means.

-- A merged recipient leaves its row as an alias: what is in flight and what clients still send under the old id finds the
-- one that stays in one step, never over another alias. An erased one leaves a row without content: a later registration
-- under its id must not start at a revision that old work knows already.
ALTER TABLE preference.recipient
    ADD COLUMN merged_into uuid,
    ADD COLUMN erased_at   timestamptz,
    ADD COLUMN filterable  jsonb, -- {key: value} of attributes that are not personal
    ADD COLUMN attributes  bytea; -- the other attributes, sealed (clarion.recipient.v1.Attributes)
CREATE INDEX recipient_alias ON preference.recipient (app_id, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX recipient_erased ON preference.recipient (erased_at) WHERE erased_at IS NOT NULL;

ALTER TABLE preference.address ADD COLUMN facts bytea; -- clarion.recipient.v1.AddressFacts, sealed

-- Who has an attribute, and who subscribes to a topic: each an index in the order in which an audience is walked.
CREATE TABLE preference.attribute (
    since         timestamptz NOT NULL DEFAULT now(),
    recipient_ref uuid NOT NULL,
    app_id        int4 NOT NULL,
    key           text COLLATE "C" NOT NULL,
    value         text COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, key, value, recipient_ref) INCLUDE (since)
);
CREATE INDEX attribute_recipient ON preference.attribute (app_id, recipient_ref);
CREATE STATISTICS preference.attribute_together (mcv, dependencies) ON app_id, key, value FROM preference.attribute;

CREATE TABLE preference.topic_member (
    since         timestamptz NOT NULL DEFAULT now(),
    recipient_ref uuid NOT NULL,
    app_id        int4 NOT NULL,
    topic         text COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, topic, recipient_ref) INCLUDE (since)
);
CREATE INDEX topic_member_recipient ON preference.topic_member (app_id, recipient_ref, topic);
CREATE STATISTICS preference.topic_member_together (mcv, dependencies) ON app_id, topic FROM preference.topic_member;

-- Only ever inserted into; erasing empties what a row held. `way`: clarion.recipient.v1.WishChangeWay.
CREATE TABLE preference.wish_change (
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    change_id     uuid PRIMARY KEY DEFAULT uuidv7(),
    recipient_ref uuid NOT NULL, -- as it was named then
    app_id        int4 NOT NULL,
    way           int2 NOT NULL,
    revision      int8 NOT NULL,
    stopped       boolean, -- of words by SMS
    who           text NOT NULL DEFAULT '',
    before        bytea, -- clarion.recipient.v1.Wishes
    after         bytea
);
CREATE INDEX wish_change_recipient ON preference.wish_change (app_id, recipient_ref, change_id);

-- What is still to be taken from the ledger of erased recipients. Claiming is moving `next_at` on.
CREATE TABLE preference.erasure (
    erased_at     timestamptz NOT NULL,
    next_at       timestamptz NOT NULL,
    recipient_ref uuid NOT NULL,
    app_id        int4 NOT NULL,
    PRIMARY KEY (app_id, recipient_ref)
);
CREATE INDEX erasure_due ON preference.erasure (next_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON preference.attribute, preference.topic_member, preference.erasure TO clarion_preference;
GRANT SELECT, INSERT ON preference.wish_change TO clarion_preference;

-- ---------------------------------------------------------------- whom a reference means

-- Aliases have the revision of the recipient they mean, so that a claim that knows one notices every change.
CREATE FUNCTION preference.follow_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE preference.recipient a SET revision = n.revision, updated_at = now()
    FROM written n WHERE a.app_id = n.app_id AND a.merged_into = n.recipient_ref AND a.revision <> n.revision;
    RETURN NULL;
END $$;
CREATE TRIGGER revision_followed AFTER UPDATE ON preference.recipient REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION preference.follow_revision();

-- Nobody of the app is merged or erased until the transaction ends; many may hold this.
CREATE FUNCTION preference.hold_members(app int4) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock_shared(7212, app)
$$;

-- Merging and erasing, each alone in its app.
CREATE FUNCTION preference.change_members(app int4) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(7212, app)
$$;

-- The reference that a reference means; null: nobody's.
CREATE FUNCTION preference.meant(app int4, ref uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(r.merged_into, r.recipient_ref) FROM preference.recipient r
    WHERE r.app_id = app AND r.recipient_ref = ref AND r.erased_at IS NULL
$$;

-- ---------------------------------------------------------------- storing

-- Stores recipients of one app with their addresses, each recipient and each address at most once. Empty texts, null wishes,
-- attributes and facts keep what is stored. With `only_known`, nothing happens for recipients that do not exist. `created`
-- is null for a recipient that is the same as an earlier one of the batch under another id: nothing of it is stored.
-- A function, because recipients must be read after the locks on the addresses are held.
CREATE FUNCTION preference.store(
    app int4, only_known boolean, log_way int2, log_who text,
    refs uuid[], recipient_ids text[], locales text[], time_zones text[], countries text[], wish_documents bytea[],
    filterables jsonb[], attribute_documents bytea[],
    address_ids uuid[], address_refs uuid[], channels int2[], hints text[], blind_indexes bytea[], seals bytea[], facts bytea[]
) RETURNS TABLE (ref uuid, created boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    targets uuid[];
    losers uuid[];
    address_targets uuid[];
    changed uuid[];
    log_before bytea[];
BEGIN
    PERFORM preference.hold_members(app);
    SELECT array_agg(coalesce(r.merged_into, i.ref) ORDER BY i.ord) INTO targets
    FROM unnest(refs) WITH ORDINALITY AS i (ref, ord)
    LEFT JOIN preference.recipient r ON r.app_id = app AND r.recipient_ref = i.ref;
    -- Sealed for a reference that means somebody else by now: the caller seals again.
    IF EXISTS (SELECT FROM unnest(refs, targets, attribute_documents) AS i (ref, target, document)
               WHERE i.document IS NOT NULL AND i.target <> i.ref) THEN
        RAISE serialization_failure USING MESSAGE = 'a recipient was merged meanwhile';
    END IF;
    SELECT coalesce(array_agg(i.ref), '{}') INTO losers FROM (
        SELECT t.ref, row_number() OVER (PARTITION BY t.target ORDER BY t.ord) AS place
        FROM unnest(refs, targets) WITH ORDINALITY AS t (ref, target, ord)
    ) i WHERE i.place > 1;
    SELECT coalesce(array_agg(t.target ORDER BY i.ord), '{}') INTO address_targets
    FROM unnest(address_refs) WITH ORDINALITY AS i (ref, ord) JOIN unnest(refs, targets) AS t (ref, target) ON t.ref = i.ref;

    WITH registered AS (
        INSERT INTO preference.address AS a
            (registered_at, address_id, recipient_ref, app_id, channel, status, hint, blind_index, sealed, facts)
        SELECT clock_timestamp(), i.address_id, i.target, app, i.channel, 1, i.hint, i.blind_index, i.sealed, i.facts
        FROM unnest(address_ids, address_refs, address_targets, channels, hints, blind_indexes, seals, facts)
            AS i (address_id, address_ref, target, channel, hint, blind_index, sealed, facts)
        WHERE NOT i.address_ref = ANY (losers)
          AND (NOT only_known OR preference.meant(app, i.target) IS NOT NULL)
        ORDER BY i.address_id
        ON CONFLICT (address_id) DO UPDATE SET
            registered_at = clock_timestamp(), dead_since = NULL, recipient_ref = excluded.recipient_ref, status = 1,
            hint = excluded.hint, sealed = excluded.sealed,
            facts = CASE WHEN a.recipient_ref = excluded.recipient_ref AND a.status <> 3
                         THEN coalesce(excluded.facts, a.facts) ELSE excluded.facts END
        RETURNING old.recipient_ref AS former, old.status AS former_status, old.hint AS former_hint, a.recipient_ref, a.hint
    ), touched AS (
        SELECT g.recipient_ref FROM registered g
        WHERE (g.former, g.former_status, g.former_hint) IS DISTINCT FROM (g.recipient_ref, 1::int2, g.hint)
        UNION
        SELECT g.former FROM registered g WHERE g.former_status = 1 AND g.former <> g.recipient_ref
    )
    SELECT coalesce(array_agg(t.recipient_ref), '{}') INTO changed FROM touched t;

    RETURN QUERY
    WITH given AS (
        SELECT i.ref, i.target AS recipient_ref, i.recipient_id, i.locale, i.time_zone, i.country, i.wishes, i.filterable,
               i.attributes
        FROM unnest(refs, targets, recipient_ids, locales, time_zones, countries, wish_documents, filterables,
                    attribute_documents)
            AS i (ref, target, recipient_id, locale, time_zone, country, wishes, filterable, attributes)
        WHERE NOT i.ref = ANY (losers) AND (NOT only_known OR preference.meant(app, i.target) IS NOT NULL)
        UNION ALL
        -- Former owners of addresses: they exist and keep everything but their revision.
        SELECT r.recipient_ref, r.recipient_ref, r.recipient_id, '', '', '', NULL, NULL, NULL
        FROM preference.recipient r
        WHERE r.app_id = app AND r.recipient_ref = ANY (changed) AND NOT r.recipient_ref = ANY (targets)
    ), stored AS (
        INSERT INTO preference.recipient AS r
            (app_id, recipient_ref, recipient_id, locale, time_zone, country, wishes, filterable, attributes)
        SELECT app, g.recipient_ref, g.recipient_id, g.locale, g.time_zone, g.country, g.wishes, g.filterable, g.attributes
        FROM given g ORDER BY g.recipient_ref
        ON CONFLICT (app_id, recipient_ref) DO UPDATE SET
            updated_at = now(),
            -- One that was erased begins anew, at a revision that its old work does not know.
            created_at = CASE WHEN r.erased_at IS NULL THEN r.created_at ELSE now() END,
            recipient_id = CASE WHEN r.erased_at IS NULL THEN r.recipient_id ELSE excluded.recipient_id END,
            erased_at = NULL,
            locale = coalesce(nullif(excluded.locale, ''), r.locale),
            time_zone = coalesce(nullif(excluded.time_zone, ''), r.time_zone),
            country = coalesce(nullif(excluded.country, ''), r.country),
            wishes = coalesce(excluded.wishes, r.wishes),
            filterable = coalesce(excluded.filterable, r.filterable),
            attributes = coalesce(excluded.attributes, r.attributes),
            revision = r.revision + (
                r.recipient_ref = ANY (changed) OR r.erased_at IS NOT NULL
                OR excluded.locale NOT IN ('', r.locale) OR excluded.time_zone NOT IN ('', r.time_zone)
                OR excluded.country NOT IN ('', r.country)
                OR coalesce(excluded.wishes, r.wishes, '') <> coalesce(r.wishes, '')
            )::int
        RETURNING r.recipient_ref, old.recipient_ref IS NULL OR old.erased_at IS NOT NULL AS created, old.wishes AS before,
                  r.wishes AS after, r.revision
    ), logged AS (
        INSERT INTO preference.wish_change (recipient_ref, app_id, way, revision, who, before, after)
        SELECT s.recipient_ref, app, log_way, s.revision, log_who, s.before, s.after
        FROM stored s WHERE coalesce(s.after, '') <> coalesce(s.before, '')
    )
    SELECT g.ref, s.created FROM given g JOIN stored s ON s.recipient_ref = g.recipient_ref WHERE g.ref = ANY (refs)
    UNION ALL
    SELECT l.ref, NULL FROM unnest(losers) AS l (ref);
    -- Behind the recipients' locks, or two writers of one recipient leave the attributes of both.
    IF EXISTS (SELECT FROM unnest(filterables) AS f WHERE f IS NOT NULL) THEN
        DELETE FROM preference.attribute a
        USING unnest(refs, targets, filterables) AS i (ref, target, filterable)
        WHERE i.filterable IS NOT NULL AND NOT i.ref = ANY (losers) AND a.app_id = app AND a.recipient_ref = i.target
          AND i.filterable ->> a.key IS DISTINCT FROM a.value;
        INSERT INTO preference.attribute (app_id, key, value, recipient_ref)
        SELECT app, e.key, e.value, i.target
        FROM unnest(refs, targets, filterables) AS i (ref, target, filterable)
        CROSS JOIN LATERAL jsonb_each_text(i.filterable) AS e (key, value)
        WHERE NOT i.ref = ANY (losers) AND (NOT only_known OR preference.meant(app, i.target) IS NOT NULL)
        ORDER BY e.key, e.value, i.target
        ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- What daemons of the release before call.
CREATE OR REPLACE FUNCTION preference.upsert(
    app int4, only_known boolean,
    refs uuid[], recipient_ids text[], locales text[], time_zones text[], countries text[], wish_documents bytea[],
    address_ids uuid[], address_refs uuid[], channels int2[], hints text[], blind_indexes bytea[], seals bytea[]
) RETURNS TABLE (ref uuid, created boolean)
LANGUAGE sql AS $$
    SELECT * FROM preference.store(
        app, only_known, 1::int2, '', refs, recipient_ids, locales, time_zones, countries, wish_documents,
        array_fill(NULL::jsonb, ARRAY[cardinality(refs)]), array_fill(NULL::bytea, ARRAY[cardinality(refs)]),
        address_ids, address_refs, channels, hints, blind_indexes, seals, array_fill(NULL::bytea, ARRAY[cardinality(address_ids)])
    )
$$;

-- Removes an address of a recipient if it has it; false: there is no such recipient.
CREATE FUNCTION preference.remove(app int4, ref uuid, id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    target uuid;
BEGIN
    PERFORM preference.hold_members(app);
    target := preference.meant(app, ref);
    UPDATE preference.address a SET status = 3, sealed = NULL, facts = NULL
    WHERE a.address_id = id AND a.app_id = app AND a.recipient_ref = target AND a.status <> 3;
    IF FOUND THEN
        UPDATE preference.recipient r SET revision = r.revision + 1, updated_at = now()
        WHERE r.app_id = app AND r.recipient_ref = target;
    END IF;
    RETURN target IS NOT NULL;
END $$;

-- Locks the recipient that a reference means, for a change of its wishes; no row: nobody's.
CREATE FUNCTION preference.lock_recipient(app int4, ref uuid)
RETURNS TABLE (recipient_ref uuid, wishes bytea, revision int8) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM preference.hold_members(app);
    RETURN QUERY SELECT r.recipient_ref, r.wishes, r.revision FROM preference.recipient r
    WHERE r.app_id = app AND r.recipient_ref = preference.meant(app, ref) FOR UPDATE;
END $$;

-- Writes and logs wishes of a recipient that the caller has locked; gives its revision.
CREATE FUNCTION preference.write_wishes(app int4, target uuid, document bytea, log_way int2, log_who text) RETURNS int8
LANGUAGE sql AS $$
    WITH written AS (
        UPDATE preference.recipient r
        SET wishes = document, updated_at = now(), revision = r.revision + (coalesce(r.wishes, '') <> document)::int
        WHERE r.app_id = app AND r.recipient_ref = target
        RETURNING r.revision, old.wishes AS before
    ), logged AS (
        INSERT INTO preference.wish_change (recipient_ref, app_id, way, revision, who, before, after)
        SELECT target, app, log_way, w.revision, log_who, w.before, document
        FROM written w WHERE coalesce(w.before, '') <> document
    )
    SELECT w.revision FROM written w
$$;

-- ---------------------------------------------------------------- words by SMS are wishes too

-- As in 0009, and what came by SMS goes into the log of whoever has the number. `listing`: STOP, else START.
CREATE OR REPLACE FUNCTION preference.decide(
    listing boolean, app_ids int4[], ids uuid[], reasons int2[], sources int2[], decided timestamptz[],
    channels int2[], blind_indexes bytea[], seals bytea[], notes bytea[],
    OUT known uuid[], OUT changed uuid[]
) LANGUAGE plpgsql AS $$
DECLARE
    by_word uuid[];
BEGIN
    PERFORM FROM preference.address a WHERE a.address_id = ANY (ids) ORDER BY a.address_id FOR NO KEY UPDATE;
    WITH given AS (
        SELECT DISTINCT ON (i.id, i.reason)
               least(i.at, now()) AS at, i.id, i.app_id, i.reason, i.source, i.note, coalesce(i.channel, a.channel) AS channel,
               coalesce(i.blind_index, a.blind_index) AS blind_index, coalesce(i.sealed, a.sealed) AS sealed
        FROM unnest(app_ids, ids, reasons, sources, decided, channels, blind_indexes, seals, notes)
            AS i (app_id, id, reason, source, at, channel, blind_index, sealed, note)
        LEFT JOIN preference.address a ON a.address_id = i.id AND a.app_id = i.app_id
        WHERE coalesce(i.channel, a.channel) IS NOT NULL
        ORDER BY i.id, i.reason, i.at DESC
    ), written AS (
        INSERT INTO preference.suppression AS s
            (since, decided_at, address_id, app_id, channel, reason, source, listed, blind_index, sealed, note)
        SELECT g.at, g.at, g.id, g.app_id, g.channel, g.reason, g.source, listing, g.blind_index,
               CASE WHEN listing THEN g.sealed END, g.note
        FROM given g ORDER BY g.id, g.reason
        ON CONFLICT (address_id, reason) DO UPDATE SET
            since = CASE WHEN s.listed AND listing THEN s.since ELSE excluded.since END,
            source = CASE WHEN s.listed AND listing THEN s.source ELSE excluded.source END,
            decided_at = excluded.decided_at, listed = listing,
            sealed = CASE WHEN listing THEN coalesce(excluded.sealed, s.sealed) END,
            note = CASE WHEN listing THEN coalesce(excluded.note, s.note) END
        WHERE s.decided_at < excluded.decided_at OR listing AND s.decided_at = excluded.decided_at
        RETURNING s.address_id, s.reason, coalesce(old.listed, false) <> listing AS moved
    )
    SELECT (SELECT coalesce(array_agg(DISTINCT g.id), '{}') FROM given g),
           (SELECT coalesce(array_agg(DISTINCT w.address_id), '{}') FROM written w WHERE w.moved),
           (SELECT array_agg(w.address_id) FROM written w WHERE w.moved AND w.reason = 2)
    INTO known, changed, by_word;
    PERFORM preference.grow_owners(changed);
    IF by_word IS NOT NULL THEN
        INSERT INTO preference.wish_change (recipient_ref, app_id, way, revision, stopped)
        SELECT a.recipient_ref, a.app_id, 3, r.revision, listing
        FROM preference.address a JOIN preference.recipient r ON r.app_id = a.app_id AND r.recipient_ref = a.recipient_ref
        WHERE a.address_id = ANY (by_word);
    END IF;
END $$;

-- ---------------------------------------------------------------- topics

-- Subscribes recipients; `unknown`: positions (from 1) of references that are nobody's.
CREATE FUNCTION preference.subscribe(app int4, name text, refs uuid[], OUT added int4, OUT unknown int4[]) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM preference.hold_members(app);
    SELECT coalesce(array_agg(i.ord::int4 ORDER BY i.ord), '{}') INTO unknown
    FROM unnest(refs) WITH ORDINALITY AS i (ref, ord) WHERE preference.meant(app, i.ref) IS NULL;
    INSERT INTO preference.topic_member (app_id, topic, recipient_ref)
    SELECT app, name, m.target FROM (
        SELECT DISTINCT preference.meant(app, i.ref) AS target FROM unnest(refs) AS i (ref)
    ) m WHERE m.target IS NOT NULL ORDER BY m.target
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
END $$;

-- Gives how many were subscribed.
CREATE FUNCTION preference.unsubscribe(app int4, name text, refs uuid[]) RETURNS int4 LANGUAGE plpgsql AS $$
DECLARE
    removed int4;
BEGIN
    PERFORM preference.hold_members(app);
    WITH targets AS MATERIALIZED (
        SELECT DISTINCT preference.meant(app, i.ref) AS target FROM unnest(refs) AS i (ref)
    ), locked AS (
        SELECT t.recipient_ref FROM preference.topic_member t JOIN targets g ON g.target = t.recipient_ref
        WHERE t.app_id = app AND t.topic = name ORDER BY t.recipient_ref FOR UPDATE OF t
    )
    DELETE FROM preference.topic_member t USING locked l
    WHERE t.app_id = app AND t.topic = name AND t.recipient_ref = l.recipient_ref;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;

-- About how many an audience has, by the statistics of what it is walked on: a topic's subscribers, those who have one of
-- the values of an attribute, or (both null) all recipients. Literals, because a generic plan knows no common values.
CREATE FUNCTION preference.estimate(app int4, topic text, key text, wanted text[]) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || CASE
        WHEN topic IS NOT NULL THEN
            format('SELECT FROM preference.topic_member m WHERE m.app_id = %L AND m.topic = %L', app, topic)
        WHEN key IS NOT NULL THEN
            format('SELECT FROM preference.attribute a WHERE a.app_id = %L AND a.key = %L AND a.value = ANY (%L)', app, key, wanted)
        ELSE
            format('SELECT FROM preference.recipient r WHERE r.app_id = %L AND r.merged_into IS NULL AND r.erased_at IS NULL', app)
    END INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float8::int8;
END $$;

-- ---------------------------------------------------------------- merging

-- Moves everything of one recipient to another and leaves it as an alias; gives the revision of the one that stays. The
-- caller holds `change_members` and has decided what wishes and attributes hold now.
CREATE FUNCTION preference.merge(
    app int4, stays uuid, goes uuid, merged_wishes bytea, merged_filterable jsonb, merged_attributes bytea, log_who text
) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
    after_it int8;
BEGIN
    PERFORM FROM preference.address a WHERE a.app_id = app AND a.recipient_ref IN (stays, goes)
    ORDER BY a.address_id FOR UPDATE;
    PERFORM FROM preference.recipient r WHERE r.app_id = app AND r.recipient_ref IN (stays, goes)
    ORDER BY r.recipient_ref FOR UPDATE;
    UPDATE preference.address a SET recipient_ref = stays WHERE a.app_id = app AND a.recipient_ref = goes;

    INSERT INTO preference.topic_member AS t (since, app_id, topic, recipient_ref)
    SELECT g.since, app, g.topic, stays FROM preference.topic_member g
    WHERE g.app_id = app AND g.recipient_ref = goes ORDER BY g.topic
    ON CONFLICT (app_id, topic, recipient_ref) DO UPDATE SET since = least(t.since, excluded.since);
    DELETE FROM preference.topic_member t WHERE t.app_id = app AND t.recipient_ref = goes;

    DELETE FROM preference.attribute a WHERE a.app_id = app AND (a.recipient_ref = goes OR a.recipient_ref = stays
        AND NOT EXISTS (SELECT FROM jsonb_each_text(merged_filterable) AS e (key, value)
                        WHERE e.key = a.key AND e.value = a.value));
    INSERT INTO preference.attribute (app_id, key, value, recipient_ref)
    SELECT app, e.key, e.value, stays FROM jsonb_each_text(merged_filterable) AS e (key, value)
    ON CONFLICT DO NOTHING;

    SELECT max(r.revision) + 1 INTO after_it FROM preference.recipient r
    WHERE r.app_id = app AND r.recipient_ref IN (stays, goes);
    INSERT INTO preference.wish_change (recipient_ref, app_id, way, revision, who, before, after)
    SELECT stays, app, 5, after_it, log_who, r.wishes, merged_wishes FROM preference.recipient r
    WHERE r.app_id = app AND r.recipient_ref = stays;

    -- The id stays: erasing the person takes it too. Aliases of an alias are not made: they mean the one that stays.
    UPDATE preference.recipient r SET merged_into = stays, wishes = NULL, filterable = NULL, attributes = NULL,
        revision = after_it, updated_at = now()
    WHERE r.app_id = app AND (r.recipient_ref = goes OR r.merged_into = goes);
    UPDATE preference.recipient r SET
        wishes = merged_wishes, filterable = merged_filterable, attributes = merged_attributes, revision = after_it,
        updated_at = now(), locale = coalesce(nullif(r.locale, ''), g.locale),
        time_zone = coalesce(nullif(r.time_zone, ''), g.time_zone), country = coalesce(nullif(r.country, ''), g.country),
        created_at = least(r.created_at, g.created_at)
    FROM preference.recipient g
    WHERE r.app_id = app AND r.recipient_ref = stays AND g.app_id = app AND g.recipient_ref = goes;
    RETURN after_it;
END $$;

-- ---------------------------------------------------------------- erasing

-- Takes everything personal of a recipient and its aliases from this schema, and notes what is to be taken from the ledger.
-- Gives their references; null: there never was such a recipient. The owner's rights, because nobody else may change the
-- log of wishes.
CREATE FUNCTION preference.erase(app int4, ref uuid) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    persons uuid[];
    ids uuid[];
BEGIN
    PERFORM preference.change_members(app);
    IF NOT EXISTS (SELECT FROM preference.recipient r WHERE r.app_id = app AND r.recipient_ref = ref) THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(r.recipient_ref) INTO persons FROM preference.recipient r
    JOIN preference.recipient m ON m.app_id = app AND m.recipient_ref = ref
    WHERE r.app_id = app AND r.erased_at IS NULL
      AND coalesce(r.merged_into, r.recipient_ref) = coalesce(m.merged_into, m.recipient_ref);
    IF persons IS NULL THEN
        RETURN '{}';
    END IF;
    SELECT coalesce(array_agg(a.address_id), '{}') INTO ids FROM (
        SELECT a.address_id FROM preference.address a WHERE a.app_id = app AND a.recipient_ref = ANY (persons)
        ORDER BY a.address_id FOR UPDATE
    ) a;
    DELETE FROM preference.soft_bounce b WHERE b.address_id = ANY (ids);
    PERFORM FROM preference.suppression s WHERE s.address_id = ANY (ids) ORDER BY s.address_id, s.reason FOR UPDATE;
    UPDATE preference.suppression s SET sealed = NULL, note = NULL WHERE s.address_id = ANY (ids);
    DELETE FROM preference.address a WHERE a.address_id = ANY (ids);
    DELETE FROM preference.topic_member t WHERE t.app_id = app AND t.recipient_ref = ANY (persons);
    DELETE FROM preference.attribute a WHERE a.app_id = app AND a.recipient_ref = ANY (persons);
    UPDATE preference.wish_change w SET before = NULL, after = NULL, who = ''
    WHERE w.app_id = app AND w.recipient_ref = ANY (persons);
    PERFORM FROM preference.recipient r WHERE r.app_id = app AND r.recipient_ref = ANY (persons)
    ORDER BY r.recipient_ref FOR UPDATE;
    UPDATE preference.recipient r SET
        recipient_id = '', locale = '', time_zone = '', country = '', wishes = NULL, filterable = NULL, attributes = NULL,
        merged_into = NULL, erased_at = clock_timestamp(), updated_at = now(), revision = r.revision + 1
    WHERE r.app_id = app AND r.recipient_ref = ANY (persons);
    INSERT INTO preference.erasure AS e (erased_at, next_at, recipient_ref, app_id)
    SELECT clock_timestamp(), now(), p.ref, app FROM unnest(persons) AS p (ref)
    ON CONFLICT (app_id, recipient_ref) DO UPDATE SET erased_at = excluded.erased_at, next_at = excluded.next_at;
    RETURN persons;
END $$;

-- Takes an erased recipient from the ledger, `most` deliveries at a time; gives how much it found, 0: nothing is left but
-- what a dispatcher holds. What was planned from a look before the erasure and rests is cancelled (24, ERASED 73), whatever
-- a new registration of the same id says; content of what ended goes, as retention takes it some days later.
CREATE FUNCTION ledger.erase_recipient(app int4, ref uuid, erased timestamptz, most int4) RETURNS int4
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    mine uuid[];
    ended uuid[];
    singles uuid[];
    cancelled int8;
    updated int8;
BEGIN
    SELECT array_agg(p.delivery_id) INTO mine FROM (
        SELECT w.delivery_id FROM ledger.delivery_work w
        WHERE w.recipient_ref = ref AND w.app_id = app AND w.state <> 3 AND w.planned_at <= erased
        ORDER BY w.delivery_id LIMIT most FOR UPDATE SKIP LOCKED
    ) p;
    IF mine IS NOT NULL THEN
        WITH gone AS (
            DELETE FROM ledger.delivery_work w WHERE w.delivery_id = ANY (mine) RETURNING w.*
        ), deliveries AS (
            UPDATE ledger.delivery d
            SET state = 24, reason = 73, attempts = g.attempt, ambiguous = g.ambiguous, terminal_at = now()
            FROM gone g WHERE d.id = g.delivery_id AND d.id BETWEEN mine[1] AND mine[cardinality(mine)]
            RETURNING d.id
        ), happened AS (
            INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt)
            SELECT g.notification_id, g.delivery_id, g.app_id, g.lane_id, 5, 24, 73, g.attempt FROM gone g
        )
        SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM deliveries) INTO cancelled, updated;
        IF cancelled <> updated THEN
            RAISE EXCEPTION 'of % ended deliveries % were updated', cancelled, updated;
        END IF;
    END IF;
    SELECT array_agg(e.id), array_agg(e.notification_id) INTO ended, singles FROM (
        SELECT d.id, d.notification_id FROM ledger.delivery d
        WHERE d.recipient_ref = ref AND d.app_id = app AND d.state >= 20 AND (
            EXISTS (SELECT FROM ledger.delivery_body b WHERE b.id = d.id)
            OR EXISTS (SELECT FROM tracking.segment s WHERE s.delivery_id = d.id)
        )
        ORDER BY d.id LIMIT most
    ) e;
    IF ended IS NOT NULL THEN
        DELETE FROM ledger.delivery_body b WHERE b.id = ANY (ended);
        DELETE FROM tracking.segment s WHERE s.delivery_id = ANY (ended);
        -- What was asked for belongs to this person alone where there is no other recipient.
        DELETE FROM ledger.notification_body b USING ledger.notification n
        WHERE b.id = ANY (singles) AND n.id = b.id AND n.recipient_count = 1 AND n.state > 2;
    END IF;
    RETURN coalesce(cardinality(mine), 0) + coalesce(cardinality(ended), 0);
END $$;

REVOKE EXECUTE ON FUNCTION preference.erase(int4, uuid), ledger.erase_recipient(int4, uuid, timestamptz, int4) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION preference.erase(int4, uuid), ledger.erase_recipient(int4, uuid, timestamptz, int4) TO clarion_preference;

-- An export lists deliveries, and an erasure is over when nothing of it is in flight.
GRANT SELECT (id, notification_id, recipient_ref, app_id, channel, state, reason, receipt, planned_at) ON ledger.delivery TO clarion_preference;
GRANT SELECT (recipient_ref, app_id, planned_at) ON ledger.delivery_work TO clarion_preference;
GRANT DELETE ON preference.recipient TO clarion_preference;
