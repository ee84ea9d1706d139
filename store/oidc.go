package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/internal/seal"
)

// What the OpenID provider remembers. Codes, tokens, handles and cookies are
// found by their fingerprints, and nothing else is kept of them. A grant's body is
// sealed with the key of the broker's session that it came from, so it ends
// with that session: the row goes in the transaction that destroys the key.
//
// Whoever writes a row that belongs to a session or to a grant reads that in
// the same statement, and on PostgreSQL holds it: so an erasure that runs at
// the same time either finds the new row or is found to have been.

// longestLogin is how long a request that was pushed can still end in a
// grant: a session lives three hours before a person is confirmed and half an
// hour after. For that long it is known which grant used a handle.
const longestLogin = 4 * time.Hour

const pushedPurpose = "pushed"

// one names a write that must find what it depends on; err says what it
// means that it did not.
func one(what string, err error, q string, args ...any) statement {
	return statement{q: q, args: args, one: what, without: err, apart: true}
}

// PutPushed implements oidc.Store.
func (s *Store) PutPushed(ctx context.Context, handle [32]byte, p *oidc.Pushed) error {
	key, err := s.accountKey(ctx, p.Account)
	if err != nil {
		return err
	}
	return s.batch(ctx, []statement{{q: `INSERT INTO oidc_pushed (handle, client, account, request, expires) VALUES ($1, $2, $3, $4, $5)`,
		args: []any{handle[:], p.Client, p.Account, key.Seal(pushedPlace(handle), p.Request), micros(p.Expires)}}})
}

func pushedPlace(handle [32]byte) string {
	return seal.Place("oidc_pushed", fmt.Sprintf("%x", handle), "request")
}

// Pushed implements oidc.Store. The row of one that is used is gone.
func (s *Store) Pushed(ctx context.Context, handle [32]byte, now time.Time) (*oidc.Pushed, error) {
	var p oidc.Pushed
	var sealed []byte
	var expires int64
	err := s.get(ctx, []any{&p.Client, &p.Account, &sealed, &expires},
		`SELECT client, account, request, expires FROM oidc_pushed WHERE handle = $1 AND expires > $2`, handle[:], now.UnixMicro())
	if err != nil {
		return nil, unknown(err)
	}
	key, err := s.accountKey(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	p.Expires = moment(expires)
	if p.Request, err = key.Open(pushedPlace(handle), sealed); err != nil {
		return nil, fmt.Errorf("open pushed request: %w", err)
	}
	return &p, nil
}

// unknown says in the provider's words that nothing was found.
func unknown(err error) error {
	if errors.Is(err, broker.ErrNotFound) {
		return oidc.ErrUnknown
	}
	return err
}

// PutGrant implements oidc.Store.
func (s *Store) PutGrant(ctx context.Context, g *oidc.Grant, pushed *[32]byte, sso *oidc.SSO, read broker.Audit) (signedOn bool, err error) {
	h, err := s.alive(ctx, g.Session)
	if err != nil {
		return false, unknown(err)
	}
	sealed := *g
	sealed.Body = h.key.Seal(grantPlace(g.ID), g.Body)
	var all []statement
	var changed int64
	if pushed != nil {
		all = append(all, one("use pushed request", oidc.ErrUsed, `INSERT INTO oidc_once (purpose, value, owner, expires) VALUES ($1, $2, $3, $4)
				ON CONFLICT (purpose, value) DO UPDATE SET owner = excluded.owner WHERE oidc_once.owner = excluded.owner`,
			pushedPurpose, pushed[:], g.ID, micros(g.Created.Add(longestLogin))),
			statement{q: `DELETE FROM oidc_pushed WHERE handle = $1`, args: []any{pushed[:]}, apart: true})
	}
	switch {
	case sso == nil:
	case sso.Goes: // first the key, as erasing does, or each of the two waits for the other
		all = append(all, statement{q: `SELECT session FROM session_key WHERE session = $1` + s.dialect.share, args: []any{h.number}},
			one("go on with login", oidc.ErrEnded, `UPDATE oidc_sso SET used = used WHERE id = $1 AND account = $2`, sso.ID, sso.Account),
			statement{changed: &changed, q: `UPDATE oidc_sso SET hash = $2, session = $3, eid = $4, auth = $5, used = $6, expires = $7
				WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM oidc_grant WHERE id = $8)`,
				args: []any{sso.ID, sso.Hash[:], h.number, string(sso.EID), micros(sso.Auth), micros(sso.Used), micros(sso.Expires), g.ID}})
	default: // of two tabs that write the same grant at the same time, one finds the other's row
		all = append(all, statement{changed: &changed, apart: true, q: `INSERT INTO oidc_sso (id, hash, account, session, eid, auth, used, expires)
			SELECT $1, $2, $3, session, $5, $6, $7, $8 FROM session_key WHERE session = $4 AND NOT EXISTS (SELECT 1 FROM oidc_grant WHERE id = $9)` + s.dialect.share + `
			ON CONFLICT (id) DO NOTHING`,
			args: []any{sso.ID, sso.Hash[:], sso.Account, h.number, string(sso.EID), micros(sso.Auth), micros(sso.Used), micros(sso.Expires), g.ID}})
	}
	all = append(all, one("write grant", oidc.ErrUsed, `INSERT INTO oidc_grant (id, session, client, account, environment, sso, created, revoked,
			code, code_until, redeemed, body)
		SELECT $1, session, $3, $4, $5, $6, $7, 0, $8, $9, 0, $10 FROM session_key WHERE session = $2`+s.dialect.share+`
		ON CONFLICT (id) DO UPDATE SET code = excluded.code WHERE oidc_grant.code = excluded.code AND oidc_grant.revoked = 0 AND oidc_grant.redeemed = 0`,
		g.ID, h.number, g.Client, g.Account, string(g.Environment), g.SSO, micros(g.Created), g.Code[:], micros(g.CodeUntil),
		sealed.Body), s.audit(g.Session, read))
	if err = s.batch(ctx, all); errors.Is(err, oidc.ErrUsed) {
		var session int64 // this node may know a key that another has destroyed
		if gone := s.get(ctx, []any{&session}, `SELECT session FROM session_key WHERE session = $1`, h.number); gone != nil {
			s.homes.Drop(g.Session)
			return false, unknown(gone)
		}
		var revoked, redeemed int64
		e := s.get(ctx, []any{&revoked, &redeemed}, `SELECT revoked, redeemed FROM oidc_grant WHERE id = $1 AND code = $2`, g.ID, g.Code[:])
		switch {
		case e == nil && revoked != 0:
			return false, oidc.ErrUnknown
		case e == nil && redeemed != 0:
			return false, oidc.ErrRedeemed
		}
	}
	if err == nil {
		s.grants.Put(g.Code, sealed)
	}
	return err == nil && changed > 0, err
}

func grantPlace(id string) string { return seal.Place("oidc_grant", id, "body") }

const grantColumns = `g.id, (SELECT s.id FROM session s WHERE s.number = g.session), g.client, g.account, g.environment, g.sso, g.created, g.revoked, g.code, g.code_until, g.redeemed, g.body`

// A grantRow is a grant as it is stored.
type grantRow struct {
	oidc.Grant
	created, revoked, until, redeemed int64
	code                              []byte
}

func (r *grantRow) into() []any {
	return []any{&r.ID, &r.Session, &r.Client, &r.Account, &r.Environment, &r.SSO, &r.created, &r.revoked, &r.code, &r.until, &r.redeemed, &r.Body}
}

// read finishes what was scanned; the body stays sealed.
func (r *grantRow) read() *oidc.Grant {
	r.Created, r.Revoked, r.CodeUntil, r.Redeemed = moment(r.created), moment(r.revoked), moment(r.until), moment(r.redeemed)
	copy(r.Code[:], r.code)
	return &r.Grant
}

// open opens a grant's body; oidc.ErrUnknown once its session is erased.
func (s *Store) open(ctx context.Context, g *oidc.Grant) error {
	h, err := s.alive(ctx, g.Session)
	if err != nil {
		return unknown(err)
	}
	if g.Body, err = h.key.Open(grantPlace(g.ID), g.Body); err != nil {
		return fmt.Errorf("open grant: %w", err)
	}
	return nil
}

// Redeem implements oidc.Store. What the row says is looked at before it is
// written: most refusals cost no write. That it says so still is the condition
// of the statement that marks it; so the node that has written a grant need not
// read it.
func (s *Store) Redeem(ctx context.Context, code [32]byte, client string, now time.Time, tokens func(*oidc.Grant) ([]oidc.Token, error)) (*oidc.Grant, error) {
	g, err := s.unredeemed(ctx, code, client)
	switch {
	case err != nil:
		return nil, err
	case !g.Redeemed.IsZero():
		return s.reused(ctx, g, now)
	case !g.Revoked.IsZero() || !now.Before(g.CodeUntil):
		return nil, oidc.ErrUnknown
	}
	if err := s.open(ctx, g); err != nil {
		return nil, err
	}
	all := []statement{one("redeem code", oidc.ErrUsed, `UPDATE oidc_grant SET redeemed = $3
		WHERE code = $1 AND client = $2 AND redeemed = 0 AND revoked = 0 AND code_until > $3`, code[:], client, micros(now))}
	list, refused := tokens(g)
	if errors.Is(refused, oidc.ErrUnmade) {
		return nil, refused
	}
	if refused == nil {
		for _, t := range list {
			t.Grant, t.Client = g.ID, client
			all = append(all, s.token(&t, "")) // the statement before holds the grant
		}
	}
	err = s.batch(ctx, all)
	if errors.Is(err, oidc.ErrUsed) { // somebody was quicker, or it was revoked or erased
		if g, err = s.byCode(ctx, code, client); err != nil {
			return nil, err
		}
		if g.Redeemed.IsZero() {
			return nil, oidc.ErrUnknown
		}
		return s.reused(ctx, g, now)
	}
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	g.Redeemed = now
	return g, nil
}

// unredeemed is byCode for the first use of a code.
func (s *Store) unredeemed(ctx context.Context, code [32]byte, client string) (*oidc.Grant, error) {
	if g, ok := s.grants.Get(code); ok && g.Client == client {
		s.grants.Drop(code)
		return &g, nil
	}
	return s.byCode(ctx, code, client)
}

// byCode reads the grant of a client's code; its body stays sealed.
func (s *Store) byCode(ctx context.Context, code [32]byte, client string) (*oidc.Grant, error) {
	var r grantRow
	err := s.get(ctx, r.into(), `SELECT `+grantColumns+` FROM oidc_grant g WHERE g.code = $1 AND g.client = $2`, code[:], client)
	if err != nil {
		return nil, unknown(err)
	}
	return r.read(), nil
}

// reused ends a grant whose code comes a second time: one of the two who had
// it should not (RFC 6749, section 4.1.2).
func (s *Store) reused(ctx context.Context, g *oidc.Grant, now time.Time) (*oidc.Grant, error) {
	g.Body = nil
	err := s.batch(ctx, []statement{{q: `UPDATE oidc_grant SET revoked = $2, body = NULL WHERE id = $1 AND revoked = 0`, args: []any{g.ID, micros(now)}}})
	if err != nil {
		return nil, err
	}
	return g, oidc.ErrUsed
}

// token is the statement that writes one, if its grant still counts; share holds
// that, unless another statement of the batch does.
func (s *Store) token(t *oidc.Token, share string) statement {
	args := []any{t.Hash[:], t.Grant, t.Client, t.Kind, t.Scope, t.Bound, micros(t.Created), micros(t.Expires)}
	if t.Grant == "" {
		return statement{q: `INSERT INTO oidc_token (hash, grant_id, session, client, kind, scope, bound, created, expires, replaced)
			VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8, 0)`, args: args}
	}
	return one("write token", oidc.ErrUnknown, `INSERT INTO oidc_token (hash, grant_id, session, client, kind, scope, bound, created, expires, replaced)
		SELECT $1, id, session, client, $4, $5, $6, $7, $8, 0 FROM oidc_grant WHERE id = $2 AND client = $3 AND revoked = 0`+share, args...)
}

// PutTokens implements oidc.Store.
func (s *Store) PutTokens(ctx context.Context, tokens []oidc.Token) error {
	var all []statement
	for i := range tokens {
		all = append(all, s.token(&tokens[i], s.dialect.share))
	}
	return s.batch(ctx, all)
}

const tokenColumns = `t.hash, t.grant_id, t.client, t.kind, t.scope, t.bound, t.created, t.expires, t.replaced` //nolint:gosec // names of columns

// A tokenRow is a token as it is stored.
type tokenRow struct {
	oidc.Token
	hash                       []byte
	created, expires, replaced int64
}

func (r *tokenRow) into() []any {
	return []any{&r.hash, &r.Grant, &r.Client, &r.Kind, &r.Scope, &r.Bound, &r.created, &r.expires, &r.replaced}
}

func (r *tokenRow) read() *oidc.Token {
	r.Created, r.Expires, r.Replaced = moment(r.created), moment(r.expires), moment(r.replaced)
	copy(r.Hash[:], r.hash)
	return &r.Token
}

// ByToken implements oidc.Store.
func (s *Store) ByToken(ctx context.Context, hash [32]byte, kind string, now time.Time) (*oidc.Token, *oidc.Grant, error) {
	var t tokenRow
	var r grantRow
	err := s.get(ctx, append(t.into(), r.into()...), `SELECT `+tokenColumns+`, `+grantColumns+` FROM oidc_token t JOIN oidc_grant g ON g.id = t.grant_id
		WHERE t.hash = $1 AND t.kind = $2 AND t.expires > $3 AND g.revoked = 0`, hash[:], kind, now.UnixMicro())
	if errors.Is(err, broker.ErrNotFound) {
		err = s.get(ctx, t.into(), `SELECT `+tokenColumns+` FROM oidc_token t WHERE t.hash = $1 AND t.kind = $2 AND t.expires > $3 AND t.grant_id = ''`,
			hash[:], kind, now.UnixMicro())
		if err != nil {
			return nil, nil, unknown(err)
		}
		return t.read(), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	g := r.read()
	if err := s.open(ctx, g); err != nil {
		return nil, nil, err
	}
	if t.replaced != 0 {
		return t.read(), g, oidc.ErrUsed
	}
	return t.read(), g, nil
}

// Rotate implements oidc.Store.
func (s *Store) Rotate(ctx context.Context, old [32]byte, next oidc.Token, now time.Time, also ...oidc.Token) (*oidc.Token, error) {
	// First the grant, as whoever ends it does, or each of the two waits for the other.
	all := []statement{{q: `SELECT id FROM oidc_grant WHERE id = $1` + s.dialect.share, args: []any{next.Grant}}, one("replace token", oidc.ErrUsed, `UPDATE oidc_token SET replaced = $5, successor = $2
		WHERE hash = $1 AND grant_id = $3 AND client = $4 AND kind = 'refresh' AND replaced = 0 AND expires > $5`,
		old[:], next.Hash[:], next.Grant, next.Client, micros(now)), s.token(&next, "")}
	for i := range also {
		all = append(all, s.token(&also[i], ""))
	}
	err := s.batch(ctx, all)
	if err == nil {
		return &next, nil
	}
	if !errors.Is(err, oidc.ErrUsed) {
		return nil, err
	}
	var r tokenRow
	err = s.get(ctx, r.into(), `SELECT `+tokenColumns+` FROM oidc_token o JOIN oidc_token t ON t.hash = o.successor JOIN oidc_grant g ON g.id = t.grant_id
		WHERE o.hash = $1 AND o.grant_id = $2 AND o.client = $3 AND o.expires > $4 AND g.revoked = 0`, old[:], next.Grant, next.Client, now.UnixMicro())
	if err != nil {
		return nil, unknown(err)
	}
	return r.read(), oidc.ErrUsed
}

// Revoke implements oidc.Store.
func (s *Store) Revoke(ctx context.Context, hash [32]byte, client string, grant bool, now time.Time) error {
	var all []statement
	if grant {
		all = append(all, statement{q: `UPDATE oidc_grant SET revoked = $3, body = NULL
			WHERE revoked = 0 AND id IN (SELECT grant_id FROM oidc_token WHERE hash = $1 AND client = $2)`, args: []any{hash[:], client, micros(now)}})
	}
	all = append(all, statement{q: `DELETE FROM oidc_token WHERE hash = $1 AND client = $2`, args: []any{hash[:], client}})
	return s.batch(ctx, all)
}

// RevokeSSO implements oidc.Store.
func (s *Store) RevokeSSO(ctx context.Context, sso string, now time.Time) (session string, clients []string, err error) {
	err = s.returning(ctx, func() { clients = nil }, func(r scanner) error {
		var client string
		err := r.Scan(&session, &client)
		clients = append(clients, client)
		return err
	}, statement{q: `UPDATE oidc_grant SET revoked = CASE WHEN revoked = 0 THEN $2 ELSE revoked END, body = NULL
		WHERE sso = $1 AND sso <> '' RETURNING (SELECT s.id FROM session s WHERE s.number = oidc_grant.session), client`, args: []any{sso, micros(now)}})
	slices.Sort(clients)
	return session, slices.Compact(clients), err
}

// Once implements oidc.Store.
func (s *Store) Once(ctx context.Context, purpose, value string, expires time.Time) (first bool, err error) {
	h := sha256.Sum256([]byte(value)) // others choose it, at any length
	err = s.returning(ctx, func() { first = false }, func(r scanner) error {
		var at int64
		first = true
		return r.Scan(&at)
	}, statement{q: `INSERT INTO oidc_once (purpose, value, owner, expires) VALUES ($1, $2, '', $3)
		ON CONFLICT (purpose, value) DO UPDATE SET expires = excluded.expires WHERE oidc_once.expires <= $4
		RETURNING expires`, args: []any{purpose, h[:], micros(expires), micros(s.now())}})
	return first, err
}

// Seen implements oidc.Store.
func (s *Store) Seen(ctx context.Context, purpose, value string) (bool, error) {
	h := sha256.Sum256([]byte(value))
	var at int64
	err := s.get(ctx, []any{&at}, `SELECT expires FROM oidc_once WHERE purpose = $1 AND value = $2 AND expires > $3`, purpose, h[:], micros(s.now()))
	if errors.Is(err, broker.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// SSO implements oidc.Store.
func (s *Store) SSO(ctx context.Context, hash [32]byte, now time.Time) (*oidc.SSO, error) {
	b := oidc.SSO{Hash: hash}
	var auth, used, expires int64
	err := s.get(ctx, []any{&b.ID, &b.Account, &b.Session, &b.EID, &auth, &used, &expires},
		`SELECT b.id, b.account, s.id, b.eid, b.auth, b.used, b.expires FROM oidc_sso b JOIN session s ON s.number = b.session
			WHERE b.hash = $1 AND b.expires > $2`, hash[:], now.UnixMicro())
	if err != nil {
		return nil, unknown(err)
	}
	b.Auth, b.Used, b.Expires = moment(auth), moment(used), moment(expires)
	return &b, nil
}

// TouchSSO implements oidc.Store.
func (s *Store) TouchSSO(ctx context.Context, id string, now time.Time) error {
	return s.batch(ctx, []statement{one("use login", oidc.ErrUnknown, `UPDATE oidc_sso SET used = CASE WHEN used < $2 THEN $2 ELSE used END WHERE id = $1`, id, micros(now))})
}

// EndSSO implements oidc.Store.
func (s *Store) EndSSO(ctx context.Context, id string) error {
	return s.batch(ctx, []statement{{q: `DELETE FROM oidc_sso WHERE id = $1`, args: []any{id}}})
}

// SweepOIDC deletes what is over, limit rows in a transaction, until there is
// no more. What belongs to a session is not among it: it goes with that.
func (s *Store) SweepOIDC(ctx context.Context, now time.Time, limit int) error {
	for _, q := range []string{
		`DELETE FROM oidc_pushed WHERE handle IN (SELECT handle FROM oidc_pushed WHERE expires <= $1 ORDER BY expires LIMIT $2` + s.dialect.skip + `) RETURNING 1`,
		`DELETE FROM oidc_token WHERE hash IN (SELECT hash FROM oidc_token WHERE session = 0 AND expires <= $1 ORDER BY expires LIMIT $2` + s.dialect.skip + `) RETURNING 1`,
		`DELETE FROM oidc_once WHERE (purpose, value) IN (SELECT purpose, value FROM oidc_once WHERE expires <= $1 ORDER BY expires LIMIT $2` + s.dialect.skip + `) RETURNING 1`,
		`DELETE FROM oidc_key WHERE id IN (SELECT id FROM oidc_key WHERE gone > 0 AND gone <= $1 LIMIT $2` + s.dialect.skip + `) RETURNING 1`,
	} {
		for n := limit; n == limit; {
			err := s.returning(ctx, func() { n = 0 }, func(r scanner) error {
				n++
				var is int
				return r.Scan(&is)
			}, statement{q: q, args: []any{now.UnixMicro(), limit}})
			if err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
	return nil
}

var _ oidc.Store = (*Store)(nil)
