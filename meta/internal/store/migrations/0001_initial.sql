CREATE TABLE counters (name {{.Key}} PRIMARY KEY, value BIGINT NOT NULL){{.Clustered}};
INSERT INTO counters (name, value) VALUES ('serial', 0);

CREATE TABLE agents (name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL){{.Clustered}};
CREATE TABLE groups (name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL){{.Clustered}};
CREATE TABLE strategies (name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL){{.Clustered}};

CREATE TABLE notify_targets (name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL){{.Clustered}};

-- agent/version
CREATE TABLE releases (
	name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL,
	agent {{.Key}} NOT NULL){{.Clustered}};
CREATE INDEX releases_agent ON releases (agent);

-- agent/version/arch
CREATE TABLE artifacts (
	name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL,
	agent {{.Key}} NOT NULL, version {{.Key}} NOT NULL, sha256 {{.Key}} NOT NULL){{.Clustered}};
CREATE INDEX artifacts_sha256 ON artifacts (sha256);

-- agent/scope kind/scope name
CREATE TABLE assignments (
	name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL,
	agent {{.Key}} NOT NULL, version {{.Key}} NOT NULL, scope_kind {{.Key}} NOT NULL, scope_name {{.Key}} NOT NULL){{.Clustered}};
CREATE INDEX assignments_release ON assignments (agent, version);
CREATE INDEX assignments_scope ON assignments (scope_kind, scope_name);

CREATE TABLE holds (
	name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL,
	scope_kind {{.Key}} NOT NULL, scope_name {{.Key}} NOT NULL){{.Clustered}};
CREATE INDEX holds_scope ON holds (scope_kind, scope_name);

CREATE TABLE rollouts (
	name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL,
	agent {{.Key}} NOT NULL, version {{.Key}} NOT NULL, scope_kind {{.Key}} NOT NULL, scope_name {{.Key}} NOT NULL,
	state {{.Key}} NOT NULL, active BIGINT NOT NULL, stage BIGINT NOT NULL, created BIGINT NOT NULL,
	progress TEXT NOT NULL DEFAULT ''){{.Clustered}};  -- as the last tick saw it
CREATE INDEX rollouts_active ON rollouts (active, created);
CREATE INDEX rollouts_created ON rollouts (created, name);

-- Exact: changed in the transaction that makes or judges a grant.
CREATE TABLE rollout_stages (
	rollout {{.Key}} NOT NULL, stage BIGINT NOT NULL,
	granted BIGINT NOT NULL DEFAULT 0, succeeded BIGINT NOT NULL DEFAULT 0,
	failed BIGINT NOT NULL DEFAULT 0, forgiven BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (rollout, stage)){{.Clustered}};

CREATE TABLE grants (
	rollout {{.Key}} NOT NULL, host {{.Key}} NOT NULL, stage BIGINT NOT NULL,
	granted BIGINT NOT NULL, deadline BIGINT NOT NULL,
	outcome {{.Key}} NOT NULL DEFAULT '', judged BIGINT NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
	exclusive BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (rollout, host)){{.Clustered}};
-- One rollout at a time per host.
CREATE UNIQUE INDEX grants_busy ON grants (host) WHERE outcome = '' AND exclusive = 1;
CREATE INDEX grants_host ON grants (host);
CREATE INDEX grants_due ON grants (deadline) WHERE outcome = '';
CREATE INDEX grants_rate ON grants (rollout, granted);

CREATE TABLE transitions (id {{.ID}}, rollout {{.Key}} NOT NULL, time BIGINT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX transitions_rollout ON transitions (rollout, id);

CREATE TABLE hosts (
	name {{.Key}} PRIMARY KEY,
	changed BIGINT NOT NULL,                -- by the database's clock: other replicas read what is new
	doc {{.Blob}} NOT NULL){{.Clustered}};
CREATE INDEX hosts_changed ON hosts (changed);

-- Narrow, since every heartbeat ends up here.
CREATE TABLE host_seen (name {{.Key}} PRIMARY KEY, seen BIGINT NOT NULL){{.Clustered}}{{.Roomy}};

CREATE TABLE host_events (
	id {{.ID}}, host {{.Key}} NOT NULL, time BIGINT NOT NULL, kind {{.Key}} NOT NULL,
	agent {{.Key}} NOT NULL, rollout {{.Key}} NOT NULL,
	was TEXT NOT NULL, now TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX host_events_host ON host_events (host, id);
CREATE INDEX host_events_time ON host_events (time);
CREATE INDEX host_events_rollout ON host_events (rollout, id) WHERE rollout <> '';

CREATE TABLE tokens (
	id {{.Key}} PRIMARY KEY, name {{.Key}} NOT NULL, host {{.Key}} NOT NULL,
	hash {{.Key}} NOT NULL UNIQUE,          -- SHA-256 of the secret, in hex
	doc TEXT NOT NULL, last_used BIGINT NOT NULL DEFAULT 0){{.Clustered}};
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE host = '';
CREATE UNIQUE INDEX tokens_host ON tokens (host) WHERE host <> '';

CREATE TABLE audit (
	id {{.ID}}, time BIGINT NOT NULL, serial BIGINT NOT NULL,
	actor {{.Key}} NOT NULL, origin TEXT NOT NULL, action {{.Key}} NOT NULL,
	kind {{.Key}} NOT NULL, name {{.Key}} NOT NULL, was TEXT NOT NULL, now TEXT NOT NULL);
CREATE INDEX audit_noun ON audit (kind, name, id);
CREATE INDEX audit_time ON audit (time);

CREATE TABLE outbox (
	id {{.ID}}, created BIGINT NOT NULL, kind {{.Key}} NOT NULL, target TEXT NOT NULL, payload TEXT NOT NULL,
	attempts BIGINT NOT NULL DEFAULT 0, next_at BIGINT NOT NULL, error TEXT NOT NULL DEFAULT '', dead BIGINT NOT NULL DEFAULT 0);
CREATE INDEX outbox_due ON outbox (dead, next_at);

CREATE TABLE samples (agent {{.Key}} NOT NULL, time BIGINT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (agent, time)){{.Clustered}};
CREATE INDEX samples_time ON samples (time);

CREATE TABLE settings (name {{.Key}} PRIMARY KEY, value TEXT NOT NULL){{.Clustered}};

CREATE TABLE leases (name {{.Key}} PRIMARY KEY, holder TEXT NOT NULL, expires BIGINT NOT NULL){{.Clustered}};

-- What was written down stays as it was written.
{{if .Postgres -}}
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
	FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
{{- else -}}
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
{{- end}}
