CREATE TABLE oidc_client (id TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL, updated BIGINT NOT NULL);
CREATE INDEX oidc_client_account ON oidc_client (account);
CREATE TABLE oidc_pushed (
	handle BYTEA PRIMARY KEY, client TEXT NOT NULL, account TEXT NOT NULL, request BYTEA NOT NULL, expires BIGINT NOT NULL
);
CREATE INDEX oidc_pushed_expires ON oidc_pushed (expires);
CREATE TABLE oidc_grant (
	id TEXT PRIMARY KEY, session TEXT NOT NULL, client TEXT NOT NULL, account TEXT NOT NULL, environment TEXT NOT NULL, sso TEXT NOT NULL,
	created BIGINT NOT NULL, revoked BIGINT NOT NULL, code BYTEA NOT NULL UNIQUE, code_until BIGINT NOT NULL, redeemed BIGINT NOT NULL, body BYTEA
);
CREATE INDEX oidc_grant_session ON oidc_grant (session);
CREATE INDEX oidc_grant_sso ON oidc_grant (sso) WHERE sso <> '';
CREATE TABLE oidc_token (
	hash BYTEA PRIMARY KEY, grant_id TEXT NOT NULL, session TEXT NOT NULL, client TEXT NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL,
	bound TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, replaced BIGINT NOT NULL, successor BYTEA
) /* small */;
CREATE INDEX oidc_token_session ON oidc_token (session) WHERE session <> '';
CREATE INDEX oidc_token_own ON oidc_token (expires) WHERE session = '';
CREATE TABLE oidc_once (
	purpose TEXT NOT NULL, value BYTEA NOT NULL, owner TEXT NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (purpose, value)
) /* small */;
CREATE INDEX oidc_once_expires ON oidc_once (expires);
CREATE TABLE oidc_sso (
	id TEXT PRIMARY KEY, hash BYTEA NOT NULL UNIQUE, account TEXT NOT NULL, session TEXT NOT NULL, eid TEXT NOT NULL,
	auth BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL
) /* small */;
CREATE TABLE oidc_key (
	id TEXT PRIMARY KEY, purpose TEXT NOT NULL, alg TEXT NOT NULL, private BYTEA NOT NULL,
	starts BIGINT NOT NULL, until BIGINT NOT NULL, gone BIGINT NOT NULL, UNIQUE (purpose, alg, starts)
);
CREATE TABLE oidc_subject (
	account TEXT NOT NULL, idp TEXT NOT NULL, person BYTEA NOT NULL, sub BYTEA NOT NULL, PRIMARY KEY (account, idp, person)
) /* small */;
