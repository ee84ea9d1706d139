CREATE TABLE duty (
	id TEXT PRIMARY KEY, session TEXT NOT NULL, account TEXT NOT NULL, config TEXT NOT NULL, environment TEXT NOT NULL,
	eid TEXT NOT NULL, settings TEXT NOT NULL, state BYTEA NOT NULL, due BIGINT NOT NULL
);
CREATE INDEX duty_due ON duty (due);
CREATE TABLE directory (
	environment TEXT NOT NULL, eid TEXT NOT NULL, contract TEXT NOT NULL, doc TEXT NOT NULL, fetched BIGINT NOT NULL, due BIGINT NOT NULL,
	PRIMARY KEY (environment, eid, contract)
) /* small */;
