ALTER TABLE session RENAME TO session_by_id;
DROP INDEX session_due;
DROP INDEX session_created;
CREATE TABLE session (
	number BIGINT /* rowid */ PRIMARY KEY, id TEXT NOT NULL UNIQUE, version BIGINT NOT NULL, account TEXT NOT NULL, key_id TEXT NOT NULL,
	config TEXT NOT NULL, api TEXT NOT NULL, environment TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, code TEXT NOT NULL,
	purpose TEXT NOT NULL, method TEXT NOT NULL, eid TEXT NOT NULL, stage BIGINT NOT NULL, order_id TEXT NOT NULL,
	handle BYTEA, level TEXT NOT NULL, extensions BIGINT NOT NULL, language TEXT NOT NULL,
	created BIGINT NOT NULL, confirmed BIGINT NOT NULL, ended BIGINT NOT NULL, due BIGINT NOT NULL
);
INSERT INTO session SELECT ROW_NUMBER() OVER (ORDER BY created, id), id, version, account, key_id, config, api, environment, state, reason, code,
	purpose, method, eid, stage, order_id, handle, level, extensions, language, created, confirmed, ended, due FROM session_by_id;
DROP TABLE session_by_id;
CREATE INDEX session_due ON session (due) WHERE due > 0;
ALTER TABLE session_key RENAME TO session_key_by_id;
CREATE TABLE session_key (session BIGINT /* rowid */ PRIMARY KEY, wrapped BYTEA NOT NULL);
INSERT INTO session_key SELECT s.number, k.wrapped FROM session_key_by_id k JOIN session s ON s.id = k.session;
DROP TABLE session_key_by_id;
ALTER TABLE session_data RENAME TO session_data_by_id;
CREATE TABLE session_data (session BIGINT NOT NULL, kind TEXT NOT NULL, value BYTEA NOT NULL, PRIMARY KEY (session, kind));
INSERT INTO session_data SELECT s.number, d.kind, d.value FROM session_data_by_id d JOIN session s ON s.id = d.session;
DROP TABLE session_data_by_id;
ALTER TABLE event RENAME TO event_by_id;
CREATE TABLE event (
	session BIGINT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (session, n)
) /* small */;
INSERT INTO event SELECT s.number, e.n, e.at, e.kind, e.text FROM event_by_id e JOIN session s ON s.id = e.session;
DROP TABLE event_by_id;
DROP INDEX eid_order_session;
ALTER TABLE eid_order ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE eid_order SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = eid_order.session), 0);
ALTER TABLE eid_order DROP COLUMN session;
ALTER TABLE eid_order RENAME COLUMN number TO session;
CREATE INDEX eid_order_session ON eid_order (session);
DROP INDEX order_ref_session;
ALTER TABLE order_ref ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE order_ref SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = order_ref.session), 0);
ALTER TABLE order_ref DROP COLUMN session;
ALTER TABLE order_ref RENAME COLUMN number TO session;
CREATE INDEX order_ref_session ON order_ref (session);
DROP INDEX inbox_session;
ALTER TABLE inbox ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE inbox SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = inbox.session), 0);
ALTER TABLE inbox DROP COLUMN session;
ALTER TABLE inbox RENAME COLUMN number TO session;
CREATE INDEX inbox_session ON inbox (session);
DROP INDEX delivery_session;
ALTER TABLE delivery ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE delivery SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = delivery.session), 0);
ALTER TABLE delivery DROP COLUMN session;
ALTER TABLE delivery RENAME COLUMN number TO session;
CREATE INDEX delivery_session ON delivery (session);
CREATE TABLE delivery_data (delivery TEXT PRIMARY KEY, wrapped BYTEA NOT NULL, url BYTEA NOT NULL, body BYTEA NOT NULL);
INSERT INTO delivery_data SELECT id, wrapped, url, body FROM delivery WHERE wrapped IS NOT NULL;
ALTER TABLE delivery DROP COLUMN wrapped;
ALTER TABLE delivery DROP COLUMN url;
ALTER TABLE delivery DROP COLUMN body;
DROP INDEX oidc_grant_session;
ALTER TABLE oidc_grant ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE oidc_grant SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = oidc_grant.session), 0);
ALTER TABLE oidc_grant DROP COLUMN session;
ALTER TABLE oidc_grant RENAME COLUMN number TO session;
CREATE INDEX oidc_grant_session ON oidc_grant (session);
DROP INDEX oidc_token_session;
DROP INDEX oidc_token_own;
ALTER TABLE oidc_token ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE oidc_token SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = oidc_token.session), 0);
ALTER TABLE oidc_token DROP COLUMN session;
ALTER TABLE oidc_token RENAME COLUMN number TO session;
CREATE INDEX oidc_token_session ON oidc_token (session) WHERE session <> 0;
CREATE INDEX oidc_token_own ON oidc_token (expires) WHERE session = 0;
ALTER TABLE oidc_sso ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE oidc_sso SET number = COALESCE((SELECT s.number FROM session s WHERE s.id = oidc_sso.session), 0);
ALTER TABLE oidc_sso DROP COLUMN session;
ALTER TABLE oidc_sso RENAME COLUMN number TO session;
