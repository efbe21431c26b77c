-- Templates: immutable versions, and which of them is published.

CREATE SCHEMA template;
GRANT USAGE ON SCHEMA template TO clarion_template, clarion_monitor;

CREATE TABLE template.template (
    app_id            int4 NOT NULL,
    published_version int4 NOT NULL DEFAULT 0,
    latest_version    int4 NOT NULL DEFAULT 0,
    name              text COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, name)
);

-- `document` is a serialised clarion.template.v1.Template; `sha256` names its content, so that the same content keeps
-- its version.
CREATE TABLE template.template_version (
    created_at timestamptz NOT NULL DEFAULT now(),
    app_id     int4 NOT NULL,
    version    int4 NOT NULL,
    name       text COLLATE "C" NOT NULL,
    sha256     bytea NOT NULL,
    variables  text[] NOT NULL,
    locales    text[] NOT NULL,
    document   bytea NOT NULL,
    PRIMARY KEY (app_id, name, version),
    UNIQUE (app_id, name, sha256)
);

-- The second wall between apps: a transaction sees the app it names, or every app where it says so (rendering).
ALTER TABLE template.template ENABLE ROW LEVEL SECURITY;
ALTER TABLE template.template FORCE ROW LEVEL SECURITY;
ALTER TABLE template.template_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE template.template_version FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON template.template
    USING (current_setting('clarion.app', true) IN ('all', app_id::text));
CREATE POLICY app ON template.template_version
    USING (current_setting('clarion.app', true) IN ('all', app_id::text));

GRANT SELECT, INSERT ON template.template, template.template_version TO clarion_template;
GRANT UPDATE (published_version, latest_version) ON template.template TO clarion_template;
GRANT SELECT ON template.template, template.template_version TO clarion_monitor;
