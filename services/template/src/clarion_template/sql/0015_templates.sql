-- The life of templates: how they were written, who stored and published them, which are archived; partials of an app.

ALTER TABLE template.template ADD COLUMN archived_at timestamptz;

-- `document` is what is rendered: partials put in, MJML turned into HTML. `source` is what was written, null where that is
-- the same. `created_by` is the id of an API key; empty: stored before it was recorded.
ALTER TABLE template.template_version
    ADD COLUMN created_by text NOT NULL DEFAULT '',
    ADD COLUMN source     bytea;

-- One row for each change of the published version.
CREATE TABLE template.publication (
    publication_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    published_at   timestamptz NOT NULL DEFAULT now(),
    app_id         int4 NOT NULL,
    version        int4 NOT NULL,
    name           text COLLATE "C" NOT NULL,
    published_by   text NOT NULL
);
CREATE INDEX ON template.publication (app_id, name, version, publication_id DESC);

-- `document` is a serialised clarion.template.v1.Partial.
CREATE TABLE template.partial (
    created_at timestamptz NOT NULL DEFAULT now(),
    app_id     int4 NOT NULL,
    version    int4 NOT NULL,
    name       text COLLATE "C" NOT NULL,
    created_by text NOT NULL,
    document   bytea NOT NULL,
    PRIMARY KEY (app_id, name, version)
);

ALTER TABLE template.publication ENABLE ROW LEVEL SECURITY;
ALTER TABLE template.publication FORCE ROW LEVEL SECURITY;
ALTER TABLE template.partial ENABLE ROW LEVEL SECURITY;
ALTER TABLE template.partial FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON template.publication
    USING (current_setting('clarion.app', true) IN ('all', app_id::text));
CREATE POLICY app ON template.partial
    USING (current_setting('clarion.app', true) IN ('all', app_id::text));

GRANT SELECT, INSERT ON template.publication, template.partial TO clarion_template;
GRANT UPDATE (archived_at) ON template.template TO clarion_template;
GRANT SELECT ON template.publication, template.partial TO clarion_monitor;
