-- People: what is kept of those who log in with a password, and who is logged in.
CREATE TABLE users (name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL){{.Clustered}};

CREATE TABLE sessions (
	id {{.Key}} PRIMARY KEY, name {{.Key}} NOT NULL,
	hash {{.Key}} NOT NULL UNIQUE,          -- SHA-256 of the secret, in hex
	doc TEXT NOT NULL, expires BIGINT NOT NULL, last_used BIGINT NOT NULL DEFAULT 0){{.Clustered}};
CREATE INDEX sessions_name ON sessions (name);
CREATE INDEX sessions_expires ON sessions (expires);
