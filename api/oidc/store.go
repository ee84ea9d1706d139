package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/relying"
)

// What callers of a Store decide on.
var (
	// ErrUnknown means that there is no such thing, or that it is over.
	ErrUnknown = errors.New("unknown, used or expired")
	// ErrUsed means that something was there and had been used before.
	ErrUsed = errors.New("used before")
	// ErrEnded means that a login which was to go on has ended.
	ErrEnded = errors.New("ended")
	// ErrRedeemed means that a grant's code has led to tokens.
	ErrRedeemed = errors.New("redeemed before")
	// ErrUnmade means that what a code or token leads to could not be made, for a
	// reason that is not in the request.
	ErrUnmade = errors.New("tokens were not made")
)

// A Pushed is an authorization request that a client has pushed, until a grant
// is made of it (docs/protocols/oidc.md §14). Its handle is not in it.
type Pushed struct {
	Client  string
	Account string // whose key seals it
	Request json.RawMessage
	Expires time.Time
}

// A Grant is what a client may have for one authorization: a code, once, and
// then tokens. There is one for each session of the broker; those that single
// sign-on makes have ids of their own.
type Grant struct {
	ID          string
	Session     string // of the broker: its key seals the body, and its erasure ends the grant
	Client      string
	Account     string
	Environment eid.Environment
	SSO         string // id of the browser's session at the provider; "" for none
	Created     time.Time
	Revoked     time.Time // zero while it counts

	Code      [32]byte // the code's fingerprint
	CodeUntil time.Time
	Redeemed  time.Time // zero while the code is unused

	Body []byte // sealed in storage: what the tokens say
}

// A Token is an access or refresh token of a grant. Only its fingerprint is kept.
type Token struct {
	Hash    [32]byte
	Grant   string // "" for a client's own, which has no person
	Client  string
	Kind    string // "access" or "refresh"
	Scope   string
	Created time.Time
	Expires time.Time
	Bound   string // what must come with it: the thumbprint of a key, or "x5t#S256:" and a certificate's; "" for a bearer

	Replaced time.Time // when Rotate replaced it; zero while it counts
}

// An SSO is a browser's session at the provider: which login it may use again.
type SSO struct {
	ID      string // sid of tokens
	Hash    [32]byte
	Account string
	Session string // of the broker, which holds the identity
	EID     eid.EID
	Auth    time.Time // when the person was authenticated
	Used    time.Time
	Expires time.Time // absolute

	Goes bool // PutGrant: one of this ID is there and goes on as this
}

// A SigningKey is one of the provider's keys as it is stored; Private is PKCS#8,
// sealed.
type SigningKey struct {
	ID      string // kid
	Use     string // "sig" or "enc"
	Alg     string
	Private []byte
	From    time.Time // when it becomes the active one
	Until   time.Time // when it stops being the active one; zero while nobody knows
	Gone    time.Time // when it is destroyed; zero while nobody knows
}

// A Store keeps what the provider must remember. Every method is safe for
// concurrent use by any number of nodes; what is used once is used in one
// statement.
type Store interface {
	// Client finds a client; relying.ErrUnknown. Answers are at most 10 s old.
	Client(ctx context.Context, id string) (*relying.Client, error)

	// PutPushed keeps a pushed request under the fingerprint of its handle.
	PutPushed(ctx context.Context, handle [32]byte, p *Pushed) error
	// Pushed reads one; ErrUnknown when it is used or expired.
	Pushed(ctx context.Context, handle [32]byte, now time.Time) (*Pushed, error)

	// PutGrant writes a grant and, in the same transaction, that its identity was
	// read for it; it marks the pushed request that the grant was made of, if any,
	// as used. sso is the browser's session that the login begins, if any:
	// signedOn says whether it was written. To write the same grant again changes
	// nothing, and begins no session: the page of a login that has ended may be
	// opened again, after a logout too, and must not log anybody in. ErrUsed: a
	// grant of its id is there with another code, or the pushed request was used
	// by another grant. ErrUnknown: the grant is revoked, or the broker's session
	// erased. ErrRedeemed: its code would be of no more use. ErrEnded: the
	// browser's session that was to go on is not there any more.
	PutGrant(ctx context.Context, g *Grant, pushed *[32]byte, sso *SSO, read broker.Audit) (signedOn bool, err error)
	// Redeem takes the grant of a code for a client, once. tokens says from the
	// grant what it leads to, and is called at most once; they are written in
	// the same transaction, as tokens of this grant and client. If it gives an
	// error, the code is used up all the same and that error comes back; if that
	// is ErrUnmade, nothing is written, and the code can come again.
	// ErrUnknown: no such code, or another client's, or expired. ErrUsed: it was
	// redeemed before; the grant that comes with it is revoked by that, and
	// Revoked says whether it was already.
	Redeem(ctx context.Context, code [32]byte, client string, now time.Time, tokens func(*Grant) ([]Token, error)) (*Grant, error)
	// PutTokens writes further tokens of grants, or a client's own, all or none;
	// ErrUnknown when a grant is over.
	PutTokens(ctx context.Context, tokens []Token) error
	// ByToken reads a token and its grant, which is nil for a client's own;
	// ErrUnknown when either is over, or the session is erased. ErrUsed, with
	// both, for a token that was replaced.
	ByToken(ctx context.Context, hash [32]byte, kind string, now time.Time) (*Token, *Grant, error)
	// Rotate replaces a refresh token by another of its grant, once, and writes
	// further tokens with it. ErrUsed, with what it was replaced by, when it was
	// replaced before: whoever makes the text of next from that of the old one
	// can tell whether it is the same. ErrUnknown: it is over.
	Rotate(ctx context.Context, old [32]byte, next Token, now time.Time, also ...Token) (*Token, error)
	// Revoke ends a token of a client; with grant, everything of its grant. A
	// token that is not there needs no end.
	Revoke(ctx context.Context, hash [32]byte, client string, grant bool, now time.Time) error
	// RevokeSSO ends every grant of a browser's session and lists the clients
	// that had one, also those that it had ended before, and the session of the
	// broker that they came from; both are empty if there was none.
	RevokeSSO(ctx context.Context, sso string, now time.Time) (session string, clients []string, err error)

	// Once is true the first time that a value is seen for a purpose ("jti
	// CLIENT"), until it expires.
	Once(ctx context.Context, purpose, value string, expires time.Time) (bool, error)
	// Seen is true after Once for the same value, until it expires.
	Seen(ctx context.Context, purpose, value string) (bool, error)

	// SSO reads a browser's session by its cookie's fingerprint: ErrUnknown. TouchSSO
	// says that it was used; ErrUnknown when it has ended. EndSSO ends it.
	SSO(ctx context.Context, hash [32]byte, now time.Time) (*SSO, error)
	TouchSSO(ctx context.Context, id string, now time.Time) error
	EndSSO(ctx context.Context, id string) error

	// Keys lists the provider's keys, oldest first. AddKey writes one unless
	// there is one for the same use, algorithm and From, which another node has
	// written; that is no error.
	Keys(ctx context.Context) ([]SigningKey, error)
	AddKey(ctx context.Context, k SigningKey) error

	// Subject is an imported sub for a person whom an account knew before;
	// "" for none.
	Subject(ctx context.Context, account, idp, subject string) (string, error)
}
