-- People, their addresses and devices, their wishes. Numbers in channel and status are those of clarion.types.v1 and
-- clarion.recipient.v1.
--
-- Lock order of every writer: addresses by id, then recipients by key. An address names its recipient, so once the
-- addresses are locked it is known which recipients a write touches, former owners included.

CREATE SCHEMA preference;

-- `revision` grows with every change that may alter what is sent: wishes, addresses won and lost, locale, country. A
-- statement-level AFTER UPDATE trigger on it is where the outbox row for what is in flight belongs: every writer passes here.
-- Empty locale, time zone and country: not told.
CREATE TABLE preference.recipient (
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    revision      int8 NOT NULL DEFAULT 1,
    app_id        int4 NOT NULL,
    recipient_ref uuid NOT NULL,
    recipient_id  text COLLATE "C" NOT NULL,
    locale        text NOT NULL,
    time_zone     text NOT NULL,
    country       text NOT NULL,
    wishes        bytea, -- clarion.recipient.v1.Wishes; null: none
    PRIMARY KEY (app_id, recipient_ref)
) WITH (fillfactor = 85);

-- The id follows from app, channel and blind index, so an address that moves to another recipient is an update of its row,
-- and no second unique index is needed (a race would fail on it, because ON CONFLICT watches only one). The blind index
-- stays for a comparison with lists of addresses that nobody has to open.
CREATE TABLE preference.address (
    registered_at timestamptz NOT NULL,
    dead_since    timestamptz,
    address_id    uuid PRIMARY KEY,
    recipient_ref uuid NOT NULL,
    app_id        int4 NOT NULL,
    channel       int2 NOT NULL,
    status        int2 NOT NULL,
    hint          text NOT NULL,
    blind_index   bytea NOT NULL,
    sealed        bytea, -- clarion.types.v1.Address; gone once removed
    CHECK ((sealed IS NULL) = (status = 3))
) WITH (fillfactor = 85);
CREATE INDEX address_recipient ON preference.address (app_id, recipient_ref);

-- Stores recipients of one app with their addresses, each recipient and each address at most once. Empty texts and null
-- wishes keep what is stored. With `only_known`, nothing happens for recipients that do not exist. A function, because
-- recipients must be read after the locks on the addresses are held.
CREATE FUNCTION preference.upsert(
    app int4, only_known boolean,
    refs uuid[], recipient_ids text[], locales text[], time_zones text[], countries text[], wish_documents bytea[],
    address_ids uuid[], address_refs uuid[], channels int2[], hints text[], blind_indexes bytea[], seals bytea[]
) RETURNS TABLE (ref uuid, created boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    changed uuid[];
BEGIN
    WITH registered AS (
        INSERT INTO preference.address AS a
            (registered_at, address_id, recipient_ref, app_id, channel, status, hint, blind_index, sealed)
        SELECT clock_timestamp(), i.address_id, i.address_ref, app, i.channel, 1, i.hint, i.blind_index, i.sealed
        FROM unnest(address_ids, address_refs, channels, hints, blind_indexes, seals)
            AS i (address_id, address_ref, channel, hint, blind_index, sealed)
        WHERE NOT only_known OR EXISTS (
            SELECT FROM preference.recipient r WHERE r.app_id = app AND r.recipient_ref = i.address_ref
        )
        ORDER BY i.address_id
        ON CONFLICT (address_id) DO UPDATE SET
            registered_at = clock_timestamp(), dead_since = NULL, recipient_ref = excluded.recipient_ref, status = 1,
            hint = excluded.hint, sealed = excluded.sealed
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
        SELECT i.*
        FROM unnest(refs, recipient_ids, locales, time_zones, countries, wish_documents)
            AS i (recipient_ref, recipient_id, locale, time_zone, country, wishes)
        WHERE NOT only_known OR EXISTS (
            SELECT FROM preference.recipient r WHERE r.app_id = app AND r.recipient_ref = i.recipient_ref
        )
        UNION ALL
        -- Former owners of addresses: they exist and keep everything but their revision.
        SELECT r.recipient_ref, r.recipient_id, '', '', '', NULL
        FROM preference.recipient r
        WHERE r.app_id = app AND r.recipient_ref = ANY (changed) AND NOT r.recipient_ref = ANY (refs)
    ), stored AS (
        INSERT INTO preference.recipient AS r (app_id, recipient_ref, recipient_id, locale, time_zone, country, wishes)
        SELECT app, g.recipient_ref, g.recipient_id, g.locale, g.time_zone, g.country, g.wishes
        FROM given g ORDER BY g.recipient_ref
        ON CONFLICT (app_id, recipient_ref) DO UPDATE SET
            updated_at = now(),
            locale = coalesce(nullif(excluded.locale, ''), r.locale),
            time_zone = coalesce(nullif(excluded.time_zone, ''), r.time_zone),
            country = coalesce(nullif(excluded.country, ''), r.country),
            wishes = coalesce(excluded.wishes, r.wishes),
            revision = r.revision + (
                r.recipient_ref = ANY (changed)
                OR excluded.locale NOT IN ('', r.locale) OR excluded.time_zone NOT IN ('', r.time_zone)
                OR excluded.country NOT IN ('', r.country)
                OR coalesce(excluded.wishes, r.wishes, '') <> coalesce(r.wishes, '')
            )::int
        RETURNING r.recipient_ref, old.recipient_ref IS NULL AS created
    )
    SELECT s.recipient_ref, s.created FROM stored s WHERE s.recipient_ref = ANY (refs);
END $$;

-- Disables addresses, each only if it is in use and was not registered again since; gives how many. Owners' revisions grow.
CREATE FUNCTION preference.report_dead(app_ids int4[], ids uuid[], dead_sinces timestamptz[]) RETURNS int8
LANGUAGE plpgsql AS $$
DECLARE
    disabled int8;
    owner_apps int4[];
    owner_refs uuid[];
BEGIN
    WITH reported AS (
        SELECT i.app_id, i.address_id, max(i.dead_since) AS dead_since
        FROM unnest(app_ids, ids, dead_sinces) AS i (app_id, address_id, dead_since) GROUP BY 1, 2
    ), locked AS (
        SELECT a.address_id, p.dead_since
        FROM preference.address a JOIN reported p ON p.address_id = a.address_id AND p.app_id = a.app_id
        WHERE a.status = 1 AND a.registered_at < p.dead_since
        ORDER BY a.address_id FOR UPDATE OF a
    ), died AS (
        UPDATE preference.address a SET status = 2, dead_since = l.dead_since
        FROM locked l WHERE a.address_id = l.address_id
        RETURNING a.app_id, a.recipient_ref
    )
    SELECT count(*), array_agg(d.app_id), array_agg(d.recipient_ref) INTO disabled, owner_apps, owner_refs FROM died d;
    IF disabled > 0 THEN
        WITH owners AS (
            SELECT r.app_id, r.recipient_ref FROM preference.recipient r
            WHERE (r.app_id, r.recipient_ref) IN (SELECT * FROM unnest(owner_apps, owner_refs))
            ORDER BY r.app_id, r.recipient_ref FOR UPDATE
        )
        UPDATE preference.recipient r SET revision = r.revision + 1, updated_at = now()
        FROM owners o WHERE r.app_id = o.app_id AND r.recipient_ref = o.recipient_ref;
    END IF;
    RETURN disabled;
END $$;

GRANT USAGE ON SCHEMA preference TO clarion_preference;
GRANT SELECT, INSERT, UPDATE ON preference.recipient, preference.address TO clarion_preference;
