CREATE TABLE account (
	id TEXT PRIMARY KEY, doc TEXT NOT NULL, secret BYTEA, updated BIGINT NOT NULL
);
CREATE TABLE api_key (
	id TEXT PRIMARY KEY, account TEXT NOT NULL, environment TEXT NOT NULL, hash BYTEA NOT NULL UNIQUE,
	sealed BYTEA, created BIGINT NOT NULL, revoked BIGINT NOT NULL
);
CREATE TABLE session (
	id TEXT PRIMARY KEY, version BIGINT NOT NULL, account TEXT NOT NULL, key_id TEXT NOT NULL, config TEXT NOT NULL,
	api TEXT NOT NULL, environment TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, code TEXT NOT NULL,
	purpose TEXT NOT NULL, method TEXT NOT NULL, eid TEXT NOT NULL, stage BIGINT NOT NULL, order_id TEXT NOT NULL,
	handle BYTEA, level TEXT NOT NULL, extensions BIGINT NOT NULL, language TEXT NOT NULL,
	created BIGINT NOT NULL, confirmed BIGINT NOT NULL, ended BIGINT NOT NULL, due BIGINT NOT NULL
);
CREATE INDEX session_due ON session (due) WHERE due > 0;
CREATE INDEX session_created ON session (created);
CREATE TABLE account_key (account TEXT PRIMARY KEY, wrapped BYTEA NOT NULL, master TEXT NOT NULL) /* small */;
CREATE TABLE session_key (session TEXT PRIMARY KEY, wrapped BYTEA NOT NULL) /* small */;
CREATE TABLE session_data (session TEXT NOT NULL, kind TEXT NOT NULL, value BYTEA NOT NULL, PRIMARY KEY (session, kind));
CREATE TABLE eid_order (
	id TEXT PRIMARY KEY, session TEXT NOT NULL, eid TEXT NOT NULL, environment TEXT NOT NULL, mode TEXT NOT NULL,
	stage BIGINT NOT NULL, owner TEXT NOT NULL, fence BIGINT NOT NULL, ended BIGINT NOT NULL, due BIGINT NOT NULL, body BYTEA
);
CREATE INDEX eid_order_running ON eid_order (owner) WHERE ended = 0;
CREATE INDEX eid_order_session ON eid_order (session);
CREATE TABLE order_ref (
	eid TEXT NOT NULL, environment TEXT NOT NULL, ref TEXT NOT NULL, order_id TEXT NOT NULL, session TEXT NOT NULL,
	at BIGINT NOT NULL, PRIMARY KEY (eid, environment, ref)
) /* small */;
CREATE INDEX order_ref_session ON order_ref (session);
CREATE TABLE event (
	session TEXT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (session, n)
) /* small */;
CREATE TABLE audit (
	n BIGINT NOT NULL, session TEXT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, outcome TEXT NOT NULL,
	PRIMARY KEY (n, session)
) /* small */;
CREATE TABLE delivery (
	id TEXT PRIMARY KEY, session TEXT NOT NULL, account TEXT NOT NULL, environment TEXT NOT NULL, kind TEXT NOT NULL,
	type TEXT NOT NULL, profile TEXT NOT NULL, key_id TEXT NOT NULL, upper BIGINT NOT NULL, wrapped BYTEA, url BYTEA, body BYTEA,
	state TEXT NOT NULL, attempt BIGINT NOT NULL, first BIGINT NOT NULL, due BIGINT NOT NULL
);
CREATE INDEX delivery_due ON delivery (due) WHERE state = 'pending';
CREATE INDEX delivery_session ON delivery (session);
CREATE TABLE delivery_attempt (
	delivery TEXT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL, took BIGINT NOT NULL, state TEXT NOT NULL,
	status BIGINT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (delivery, n)
) /* small */;
CREATE TABLE inbox (id BIGINT PRIMARY KEY, order_id TEXT NOT NULL, session TEXT NOT NULL, event BYTEA NOT NULL);
CREATE INDEX inbox_order ON inbox (order_id);
CREATE INDEX inbox_session ON inbox (session);
CREATE TABLE node (epoch TEXT PRIMARY KEY, beat BIGINT NOT NULL) /* small */;
