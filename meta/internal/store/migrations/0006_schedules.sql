-- agent/channel
CREATE TABLE channels (
	name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL,
	agent {{.Key}} NOT NULL, version {{.Key}} NOT NULL){{.Clustered}};
CREATE INDEX channels_release ON channels (agent, version);

CREATE TABLE schedules (name {{.Key}} PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL){{.Clustered}};

-- Which version of an agent a schedule took up last. Written in the transaction that
-- begins the rollout, so that no version is begun twice.
CREATE TABLE takes (
	schedule {{.Key}} NOT NULL, agent {{.Key}} NOT NULL, version {{.Key}} NOT NULL,
	moved BIGINT NOT NULL,                  -- revision of the channel that it was
	rollout {{.Key}} NOT NULL DEFAULT '', time BIGINT NOT NULL,
	PRIMARY KEY (schedule, agent)){{.Clustered}};
