-- Suppression lists, and the soft bounces that lead there. Lock order of every writer: addresses, suppressions (both by id),
-- recipients.

-- One row per address and reason, whether a recipient has the address or not: app, channel and blind index make the address
-- id. Decisions may be applied in any order: the latest counts, so a row stays when its address comes off the list.
CREATE TABLE preference.suppression (
    since       timestamptz NOT NULL, -- listed without interruption
    decided_at  timestamptz NOT NULL,
    address_id  uuid NOT NULL,
    app_id      int4 NOT NULL,
    channel     int2 NOT NULL,
    reason      int2 NOT NULL, -- clarion.suppression.v1.SuppressionReason
    source      int2 NOT NULL, -- clarion.suppression.v1.SuppressionSource
    listed      boolean NOT NULL,
    blind_index bytea NOT NULL,
    sealed      bytea, -- as in preference.address; null when it is not listed
    note        bytea, -- sealed
    PRIMARY KEY (address_id, reason)
) WITH (fillfactor = 85);
CREATE INDEX suppression_listed ON preference.suppression (app_id, since DESC, address_id DESC, reason DESC) WHERE listed;

-- At most as many rows per address as suppress it: the oldest ones and the newest.
CREATE TABLE preference.soft_bounce (
    bounced_at  timestamptz NOT NULL,
    address_id  uuid NOT NULL,
    delivery_id uuid NOT NULL,
    PRIMARY KEY (address_id, delivery_id)
);
CREATE INDEX soft_bounce_age ON preference.soft_bounce (bounced_at);

-- Plans that know owners of these addresses hold no longer.
CREATE FUNCTION preference.grow_owners(ids uuid[], registered_after timestamptz DEFAULT '-infinity') RETURNS void
LANGUAGE sql AS $$
    WITH owners AS (
        SELECT r.app_id, r.recipient_ref FROM preference.recipient r
        WHERE (r.app_id, r.recipient_ref) IN (
            SELECT a.app_id, a.recipient_ref FROM preference.address a
            WHERE a.address_id = ANY (ids) AND a.status = 1 AND a.registered_at > registered_after
        )
        ORDER BY r.app_id, r.recipient_ref FOR UPDATE
    )
    UPDATE preference.recipient r SET revision = r.revision + 1, updated_at = now()
    FROM owners o WHERE r.app_id = o.app_id AND r.recipient_ref = o.recipient_ref;
$$;

-- Puts addresses on the list (`listing`) or takes them off, each for a reason. Channels, blind indexes and seals are null
-- for addresses that are given by id alone; of those, `known` are ours. `changed`: addresses whose place changed.
CREATE FUNCTION preference.decide(
    listing boolean, app_ids int4[], ids uuid[], reasons int2[], sources int2[], decided timestamptz[],
    channels int2[], blind_indexes bytea[], seals bytea[], notes bytea[],
    OUT known uuid[], OUT changed uuid[]
) LANGUAGE plpgsql AS $$
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
        RETURNING s.address_id, coalesce(old.listed, false) <> listing AS moved
    )
    SELECT (SELECT coalesce(array_agg(DISTINCT g.id), '{}') FROM given g),
           (SELECT coalesce(array_agg(DISTINCT w.address_id), '{}') FROM written w WHERE w.moved)
    INTO known, changed;
    PERFORM preference.grow_owners(changed);
END $$;

-- Takes an address of an app off the list, whatever put it there; says whether it stood there.
CREATE FUNCTION preference.unsuppress(app int4, id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    stood boolean;
BEGIN
    PERFORM FROM preference.address a WHERE a.address_id = id FOR NO KEY UPDATE;
    WITH lifted AS (
        UPDATE preference.suppression s SET listed = false, decided_at = now(), sealed = NULL, note = NULL
        WHERE s.address_id = id AND s.app_id = app RETURNING old.listed
    )
    SELECT coalesce(bool_or(l.listed), false) INTO stood FROM lifted l;
    IF stood THEN
        PERFORM preference.grow_owners(ARRAY[id]);
    END IF;
    RETURN stood;
END $$;

-- Counts soft bounces (`arrived` false) and forgets those before an arrival. `least` bounces over `span`, none older than
-- `kept` or than the registration, suppress the address; gives how many it suppressed.
CREATE FUNCTION preference.report_reach(
    app_ids int4[], ids uuid[], deliveries uuid[], moments timestamptz[], arrived boolean[],
    least_bounces int4, span interval, kept interval, soft_bounces int2, source int2
) RETURNS int8
LANGUAGE plpgsql AS $$
DECLARE
    worn record;
    suppressed int8 := 0;
BEGIN
    -- Nearly all mails arrive, and nearly none at an address that bounced: those lock nothing.
    PERFORM FROM preference.address a
    WHERE a.address_id IN (
        SELECT i.id FROM unnest(ids, arrived) AS i (id, arrived)
        WHERE NOT i.arrived OR EXISTS (SELECT FROM preference.soft_bounce b WHERE b.address_id = i.id)
    )
    ORDER BY a.address_id FOR NO KEY UPDATE;
    INSERT INTO preference.soft_bounce (bounced_at, address_id, delivery_id)
    SELECT least(i.at, now()), i.id, i.delivery
    FROM unnest(app_ids, ids, deliveries, moments, arrived) AS i (app_id, id, delivery, at, arrived)
    JOIN preference.address a ON a.address_id = i.id AND a.app_id = i.app_id
    WHERE NOT i.arrived AND a.status = 1 AND i.at > greatest(a.registered_at, now() - kept)
    ORDER BY i.id, i.delivery
    ON CONFLICT DO NOTHING;
    DELETE FROM preference.soft_bounce b
    USING unnest(app_ids, ids, moments, arrived) AS i (app_id, id, at, arrived), preference.address a
    WHERE i.arrived AND a.address_id = i.id AND a.app_id = i.app_id AND b.address_id = i.id AND b.bounced_at <= i.at;
    -- Between the oldest ones and the newest, none changes what follows.
    DELETE FROM preference.soft_bounce b
    USING (
        SELECT n.address_id, n.delivery_id,
               row_number() OVER (PARTITION BY n.address_id ORDER BY n.bounced_at, n.delivery_id) AS place,
               count(*) OVER (PARTITION BY n.address_id) AS all_of_it
        FROM preference.soft_bounce n WHERE n.address_id = ANY (ids)
    ) n
    WHERE b.address_id = n.address_id AND b.delivery_id = n.delivery_id AND n.place >= least_bounces AND n.place < n.all_of_it;
    SELECT array_agg(w.app_id) AS app_ids, array_agg(w.address_id) AS ids, array_agg(w.latest) AS latest INTO worn
    FROM (
        SELECT a.app_id, a.address_id, max(b.bounced_at) AS latest
        FROM preference.soft_bounce b JOIN preference.address a ON a.address_id = b.address_id
        WHERE b.address_id = ANY (ids) AND b.bounced_at > greatest(a.registered_at, now() - kept)
        GROUP BY a.app_id, a.address_id
        HAVING count(*) >= least_bounces AND max(b.bounced_at) - min(b.bounced_at) >= span
    ) w;
    IF worn.ids IS NOT NULL THEN
        DELETE FROM preference.soft_bounce b WHERE b.address_id = ANY (worn.ids);
        SELECT cardinality(d.changed) INTO suppressed FROM preference.decide(
            true, worn.app_ids, worn.ids, array_fill(soft_bounces, ARRAY[cardinality(worn.ids)]),
            array_fill(source, ARRAY[cardinality(worn.ids)]), worn.latest, NULL, NULL, NULL, NULL
        ) d;
    END IF;
    RETURN suppressed;
END $$;

GRANT SELECT, INSERT, UPDATE ON preference.suppression TO clarion_preference;
GRANT SELECT, INSERT, UPDATE, DELETE ON preference.soft_bounce TO clarion_preference;
