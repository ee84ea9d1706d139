CREATE TABLE account (
	id TEXT PRIMARY KEY, doc TEXT NOT NULL, secret BYTEA, updated BIGINT NOT NULL
);
CREATE TABLE account_key (account TEXT PRIMARY KEY, wrapped BYTEA NOT NULL, master TEXT NOT NULL) /* small */;
CREATE TABLE api_key (
	id TEXT PRIMARY KEY, account TEXT NOT NULL, environment TEXT NOT NULL, hash BYTEA NOT NULL UNIQUE,
	sealed BYTEA, created BIGINT NOT NULL, revoked BIGINT NOT NULL
);
CREATE TABLE node (epoch TEXT PRIMARY KEY, beat BIGINT NOT NULL) /* small */;
CREATE TABLE session (
	number BIGINT /* rowid */ PRIMARY KEY, id TEXT NOT NULL UNIQUE, version BIGINT NOT NULL, account TEXT NOT NULL, key_id TEXT NOT NULL,
	config TEXT NOT NULL, api TEXT NOT NULL, environment TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, code TEXT NOT NULL,
	purpose TEXT NOT NULL, method TEXT NOT NULL, eid TEXT NOT NULL, stage BIGINT NOT NULL, order_id TEXT NOT NULL,
	handle BYTEA, level TEXT NOT NULL, extensions BIGINT NOT NULL, language TEXT NOT NULL,
	created BIGINT NOT NULL, confirmed BIGINT NOT NULL, ended BIGINT NOT NULL, due BIGINT NOT NULL
);
CREATE INDEX session_due ON session (due) WHERE due > 0;
CREATE TABLE session_key (session BIGINT /* rowid */ PRIMARY KEY, wrapped BYTEA NOT NULL);
CREATE TABLE session_data (session BIGINT NOT NULL, kind TEXT NOT NULL, value BYTEA NOT NULL, PRIMARY KEY (session, kind));
CREATE TABLE event (
	session BIGINT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (session, n)
) /* small */;
CREATE TABLE eid_order (
	id TEXT PRIMARY KEY, session BIGINT NOT NULL, eid TEXT NOT NULL, environment TEXT NOT NULL, mode TEXT NOT NULL,
	stage BIGINT NOT NULL, owner TEXT NOT NULL, fence BIGINT NOT NULL, ended BIGINT NOT NULL, due BIGINT NOT NULL, body BYTEA
);
CREATE INDEX eid_order_running ON eid_order (owner) WHERE ended = 0;
CREATE INDEX eid_order_session ON eid_order (session);
CREATE TABLE order_ref (
	eid TEXT NOT NULL, environment TEXT NOT NULL, ref TEXT NOT NULL, order_id TEXT NOT NULL, session BIGINT NOT NULL,
	at BIGINT NOT NULL, PRIMARY KEY (eid, environment, ref)
) /* small */;
CREATE INDEX order_ref_session ON order_ref (session);
CREATE TABLE inbox (id BIGINT PRIMARY KEY, order_id TEXT NOT NULL, session BIGINT NOT NULL, event BYTEA NOT NULL);
CREATE INDEX inbox_order ON inbox (order_id);
CREATE INDEX inbox_session ON inbox (session);
CREATE TABLE audit (
	n BIGINT NOT NULL, session TEXT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, outcome TEXT NOT NULL,
	PRIMARY KEY (n, session)
) /* small */;
CREATE TABLE audit_segment (
	number BIGINT PRIMARY KEY, above BIGINT NOT NULL, upto BIGINT NOT NULL, size BIGINT NOT NULL, previous BYTEA NOT NULL,
	hash BYTEA NOT NULL, tags BYTEA NOT NULL, made BIGINT NOT NULL, note TEXT NOT NULL
);
CREATE TABLE audit_key (number BIGINT PRIMARY KEY, verifier TEXT NOT NULL, private BYTEA NOT NULL, made BIGINT NOT NULL);
CREATE TABLE delivery (
	id TEXT PRIMARY KEY, session BIGINT NOT NULL, account TEXT NOT NULL, environment TEXT NOT NULL, kind TEXT NOT NULL,
	type TEXT NOT NULL, profile TEXT NOT NULL, key_id TEXT NOT NULL, upper BIGINT NOT NULL, state TEXT NOT NULL,
	attempt BIGINT NOT NULL, first BIGINT NOT NULL, due BIGINT NOT NULL, spent BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX delivery_due ON delivery (due) WHERE state = 'pending';
CREATE INDEX delivery_given_up ON delivery (due) WHERE state IN ('dead', 'failed');
CREATE INDEX delivery_session ON delivery (session);
CREATE TABLE delivery_data (delivery TEXT PRIMARY KEY, wrapped BYTEA NOT NULL, url BYTEA NOT NULL, body BYTEA NOT NULL);
CREATE TABLE delivery_attempt (
	delivery TEXT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL, took BIGINT NOT NULL, state TEXT NOT NULL,
	status BIGINT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (delivery, n)
) /* small */;
CREATE TABLE duty (
	id TEXT PRIMARY KEY, session TEXT NOT NULL, account TEXT NOT NULL, config TEXT NOT NULL, environment TEXT NOT NULL,
	eid TEXT NOT NULL, settings TEXT NOT NULL, state BYTEA NOT NULL, due BIGINT NOT NULL
);
CREATE INDEX duty_due ON duty (due);
CREATE TABLE directory (
	environment TEXT NOT NULL, eid TEXT NOT NULL, contract TEXT NOT NULL, doc TEXT NOT NULL, fetched BIGINT NOT NULL, due BIGINT NOT NULL,
	PRIMARY KEY (environment, eid, contract)
) /* small */;
CREATE TABLE oidc_client (id TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL, updated BIGINT NOT NULL);
CREATE INDEX oidc_client_account ON oidc_client (account);
CREATE TABLE oidc_pushed (
	handle BYTEA PRIMARY KEY, client TEXT NOT NULL, account TEXT NOT NULL, request BYTEA NOT NULL, expires BIGINT NOT NULL
);
CREATE INDEX oidc_pushed_expires ON oidc_pushed (expires);
CREATE TABLE oidc_grant (
	id TEXT PRIMARY KEY, session BIGINT NOT NULL, client TEXT NOT NULL, account TEXT NOT NULL, environment TEXT NOT NULL, sso TEXT NOT NULL,
	created BIGINT NOT NULL, revoked BIGINT NOT NULL, code BYTEA NOT NULL UNIQUE, code_until BIGINT NOT NULL, redeemed BIGINT NOT NULL, body BYTEA
);
CREATE INDEX oidc_grant_session ON oidc_grant (session);
CREATE INDEX oidc_grant_sso ON oidc_grant (sso) WHERE sso <> '';
CREATE TABLE oidc_token (
	hash BYTEA PRIMARY KEY, grant_id TEXT NOT NULL, session BIGINT NOT NULL, client TEXT NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL,
	bound TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, replaced BIGINT NOT NULL, successor BYTEA
) /* small */;
CREATE INDEX oidc_token_session ON oidc_token (session) WHERE session <> 0;
CREATE INDEX oidc_token_own ON oidc_token (expires) WHERE session = 0;
CREATE TABLE oidc_once (
	purpose TEXT NOT NULL, value BYTEA NOT NULL, owner TEXT NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (purpose, value)
) /* small */;
CREATE INDEX oidc_once_expires ON oidc_once (expires);
CREATE TABLE oidc_sso (
	id TEXT PRIMARY KEY, hash BYTEA NOT NULL UNIQUE, account TEXT NOT NULL, session BIGINT NOT NULL, eid TEXT NOT NULL,
	auth BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL
) /* small */;
CREATE TABLE oidc_key (
	id TEXT PRIMARY KEY, purpose TEXT NOT NULL, alg TEXT NOT NULL, private BYTEA NOT NULL,
	starts BIGINT NOT NULL, until BIGINT NOT NULL, gone BIGINT NOT NULL, UNIQUE (purpose, alg, starts)
);
CREATE TABLE oidc_subject (
	account TEXT NOT NULL, idp TEXT NOT NULL, person BYTEA NOT NULL, sub BYTEA NOT NULL, PRIMARY KEY (account, idp, person)
) /* small */;
