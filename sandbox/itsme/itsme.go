// Package itsme plays itsme for the sandbox: an OpenID provider of both of its
// generations, with the app as a page. docs/protocols/itsme.md describes what
// it does, with § in comments referring to that file. It reads and writes
// tokens with another library than the connector, so that neither hides the
// other's mistakes.
package itsme

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/base32"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
)

//go:embed page.html
var files embed.FS

var pages = sandbox.Pages(files, "page.html")

const (
	window   = 3 * time.Minute // for the person in the app, and of a code
	lifetime = 5 * time.Minute // of tokens
	maxKept  = 2000            // logins that are remembered
)

// Config is what a simulator needs; all fields are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
	Base      func() string // address of the listener that Handler is served on, without a slash at the end
}

// A generation is one of itsme's two interfaces (§2).
type generation struct {
	number             int
	path               string // of the issuer, below Base
	keyAlg             jose.KeyAlgorithm
	ns                 string // of acr values
	description        string // name of what an error of the token endpoint says
	needsObject        bool   // whether requests and assertions must be encrypted
	encryptedAssertion bool
}

var generations = []*generation{
	{number: 2, path: "/itsme/v2", keyAlg: jose.RSA_OAEP_256, ns: ns, description: "detail", needsObject: true},
	{number: 1, path: "/itsme/oidc", keyAlg: jose.RSA_OAEP, ns: "tag:sixdots.be,2016-06:", description: "error_description", encryptedAssertion: true},
}

// A Simulator plays itsme.
type Simulator struct {
	Config
	keys   func() [2]*rsa.PrivateKey // to sign, and to decrypt
	pepper []byte                    // of subjects

	mu      sync.Mutex
	clients map[string]*client
	logins  map[string]*login // by ref
	queue   []string
	used    map[string]time.Time // jti of assertions
	changed chan struct{}
}

// New makes a simulator.
func New(c Config) *Simulator {
	return &Simulator{Config: c, pepper: octets(16), clients: map[string]*client{}, logins: map[string]*login{}, used: map[string]time.Time{}, changed: make(chan struct{}),
		keys: sync.OnceValue(func() [2]*rsa.PrivateKey { a, b := twoKeys(); return [2]*rsa.PrivateKey{a, b} })}
}

func octets(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func random() string { return hex.EncodeToString(octets(18)) } // 36 characters, as itsme's codes have

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system's randomness has failed
	}
	return k
}

// twoKeys are made side by side: a sandbox starts while somebody waits.
func twoKeys() (a, b *rsa.PrivateKey) {
	var wg sync.WaitGroup
	wg.Go(func() { a = newKey() })
	b = newKey()
	wg.Wait()
	return a, b
}

// A client is a registered partner.
type client struct {
	id, name  string
	secret    string            // "" where it signs
	services  map[string]string // code → login or share
	redirects []string
	sig, enc  *rsa.PublicKey // nil for a partner with a secret
	gen       int
}

// A Registration is what a partner's settings need.
type Registration struct {
	Issuer, ClientID, Secret string
	Service                  string // code of a service that shares data
	Login                    string // code of one that logs in
	SigningKey, EncKey       string // PEM
	SigningKID, EncKID       string
}

// Kids of the keys that the sandbox makes for a partner.
const (
	signingKID    = "sig1"
	encryptingKID = "enc1"
)

// Partner registers a relying party with a way back. Generation is 2 or 1; one
// with a secret has no keys, and its tokens are signed only.
func (s *Simulator) Partner(name, redirect string, gen int, secret bool) (Registration, error) {
	g := generations[0]
	if gen == 1 {
		g = generations[1]
	}
	c := &client{id: strings.ToLower(base32.StdEncoding.EncodeToString(octets(5))) + "Be", name: name, redirects: []string{redirect}, gen: g.number}
	code := strings.ToUpper(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, name))
	c.services = map[string]string{code + "_LOGIN": "login", code + "_SHARE": "share"}
	out := Registration{Issuer: s.Base() + g.path, ClientID: c.id, Service: code + "_SHARE", Login: code + "_LOGIN"}
	if secret {
		c.secret = random()
		out.Secret = c.secret
	} else {
		sig, enc := twoKeys()
		c.sig, c.enc = &sig.PublicKey, &enc.PublicKey
		out.SigningKID, out.EncKID = signingKID, encryptingKID
		for at, k := range map[*string]*rsa.PrivateKey{&out.SigningKey: sig, &out.EncKey: enc} {
			der, err := x509.MarshalPKCS8PrivateKey(k)
			if err != nil {
				return out, err
			}
			*at = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.id] = c
	return out, nil
}

// A login is one authorization request.
type login struct {
	ref       string
	gen       *generation
	client    *client
	redirect  string
	state     string
	nonce     string
	challenge string
	service   string
	scopes    []string
	wants     map[string][]string // id_token and userinfo: what is asked for by the claims parameter
	level     string              // acr that was asked for
	lang      string
	raw       string // the request, as it was read

	created  time.Time
	opened   time.Time
	ended    time.Time
	hint     string // how it ended, or stands
	person   string
	by       string
	code     string
	spent    bool
	access   string
	failure  string // error of the redirect
	noReturn bool
}

// Changed is closed when any login changes next.
func (s *Simulator) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Simulator) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Clear forgets all logins. Partners stay.
func (s *Simulator) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.logins)
	s.queue = nil
	s.wake()
}

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	calls := []string{sandbox.Delay, sandbox.Status, sandbox.HTML, sandbox.Reset, sandbox.Garbage, sandbox.Truncate}
	return map[string][]string{"itsme": calls, "itsme.token": append(slices.Clone(calls), sandbox.Refuse), "itsme.userinfo": calls, "itsme.jwks": calls,
		"itsme.result": {wrongKID, unencrypted, unsigned, otherSubject, otherIssuer, otherAudience, otherNonce, over, badSignature}}
}

// What an itsme.result fault does to the tokens.
const (
	wrongKID      = "wrong_kid"
	unencrypted   = "unencrypted"
	unsigned      = "unsigned"
	otherSubject  = "other_sub" // UserInfo only
	otherIssuer   = "wrong_issuer"
	otherAudience = "wrong_audience"
	otherNonce    = "wrong_nonce"
	over          = "expired"
	badSignature  = "bad_signature"
)

// Fidelity says how near the simulator is.
func Fidelity() []sandbox.Fidelity {
	out := []sandbox.Fidelity{
		{What: "token, userinfo and jwkSet of the second generation", State: sandbox.Exact},
		{What: "authorization of the second generation", State: sandbox.Differs, Because: "a partner with keys must send a request object, which itsme leaves open but for confirmations"},
		{What: "discovery of the second generation", State: sandbox.Differs, Because: "values that are not published are ours"},
		{What: "the first generation, with encrypted assertions and tag: names", State: sandbox.Differs,
			Because: "claims of device, photo, transaction, passport and country of birth are not told, locale is in capitals, and ways back are compared"},
		{What: "the app", State: sandbox.Differs, Because: "a page, without a code to scan"},
		{What: "time-out of the app", State: sandbox.Differs, Because: "3 minutes, then access_denied; neither is published"},
		{What: "confirmation services, CIBA, QR discovery, qualified signatures", State: sandbox.NotSimulated, Because: "no connector uses them yet"},
		{What: "picture", State: sandbox.NotSimulated, Because: "test people have none"},
		{What: "fetching the partner's JWKS", State: sandbox.NotSimulated, Because: "the sandbox has made the keys itself"},
	}
	for i := range out {
		out[i].Upstream = "itsme"
	}
	return out
}

// Handler is everything below /itsme/.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, g := range generations {
		with := func(f func(http.ResponseWriter, *http.Request, *generation), targets ...string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				x, hit := s.Faults.Take(targets...)
				switch {
				case !hit:
					f(w, r, g)
				case x.Kind == sandbox.Refuse:
					tokenError(w, g, x.Value, "a fault is on")
				default:
					x.Apply(w, r, func(w http.ResponseWriter, r *http.Request) { f(w, r, g) })
				}
			}
		}
		mux.HandleFunc("GET "+g.path+"/.well-known/openid-configuration", with(s.discovery, "itsme"))
		mux.HandleFunc("GET "+g.path+"/jwkSet", with(s.jwks, "itsme", "itsme.jwks"))
		mux.HandleFunc("GET "+g.path+"/authorization", with(s.authorize, "itsme"))
		mux.HandleFunc("POST "+g.path+"/token", with(s.token, "itsme", "itsme.token"))
		mux.HandleFunc("GET "+g.path+"/userinfo", with(s.userInfo, "itsme", "itsme.userinfo"))
	}
	mux.HandleFunc("GET /itsme/app/{ref}", s.show)
	mux.HandleFunc("POST /itsme/app/{ref}", s.press)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		mux.ServeHTTP(w, r)
	})
}

// subject is the name of a person for one partner: 36 small letters and digits (§4).
func (s *Simulator) subject(c *client, p *sandbox.Person) string {
	mac := hmac.New(sha256.New, s.pepper)
	fmt.Fprintf(mac, "%s\n%s\n%d", c.id, p.Itsme.NationalNumber+p.Itsme.Document, p.Itsme.Account)
	sum := mac.Sum(nil)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))[:36]
}

// view is what others may know of a login. The lock is held.
func (s *Simulator) view(l *login) sandbox.Order {
	rungs, _ := s.Decisions.Explain(l.ref)
	v := sandbox.Order{Ref: l.ref, EID: "itsme", State: "pending", Hint: l.hint, By: l.by, RP: l.client.name, Person: l.person, Created: l.created,
		Until: l.created.Add(window), Pending: l.ended.IsZero(), Page: s.page(l), Return: l.redirect, Ladder: rungs, Next: "a redirect with " + l.hint}
	v.Left = sandbox.Seconds(s.Clock.Now(), v.Until)
	if !v.Pending {
		v.State = "ended"
	}
	return v
}

func (s *Simulator) page(l *login) string { return s.Base() + "/itsme/app/" + l.ref }

// Orders lists logins, newest first; with all also those that have ended.
func (s *Simulator) Orders(all bool) []sandbox.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []sandbox.Order{}
	for i := len(s.queue) - 1; i >= 0 && len(out) < 200; i-- {
		if l := s.logins[s.queue[i]]; all || l.ended.IsZero() {
			out = append(out, s.view(l))
		}
	}
	return out
}

// Order shows one login in full.
func (s *Simulator) Order(ref string) (sandbox.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logins[ref]
	if l == nil {
		return sandbox.Order{}, sandbox.ErrNoOrder
	}
	v := s.view(l)
	v.Asked = l.raw
	return v, nil
}

// usual is who uses the app when nobody says.
const usual = "florent"

// Do lets somebody act on a login: open, approve, cancel, decline, expire,
// fail:<error>, fail:no_return.
func (s *Simulator) Do(ref string, e sandbox.Act) (sandbox.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logins[ref]
	switch {
	case l == nil:
		return sandbox.Order{}, sandbox.ErrNoOrder
	case !l.ended.IsZero():
		return s.view(l), sandbox.ErrEnded
	case e.Event == "open":
		return s.view(l), nil
	}
	if err := s.end(l, e.Event, e.Person, cmp.Or(e.Source, "control API")); err != nil {
		return s.view(l), err
	}
	s.Decisions.Happened(ref, sandbox.Outcome(e.Event), e.Person, l.by)
	return s.view(l), nil
}

// end is how a login comes to its end. The lock is held.
func (s *Simulator) end(l *login, event, person, by string) error {
	word, code, _ := strings.Cut(event, ":")
	switch word {
	case "approve":
		p, err := s.who(l, cmp.Or(person, usual))
		if err != nil {
			return err
		}
		l.person, l.code, l.hint = p.Key, random(), "code"
	case "cancel", "decline", "expire":
		l.person, l.failure, l.hint = person, "access_denied", map[string]string{"cancel": "rejected", "decline": "refused", "expire": "timed out"}[word]
	case "fail":
		if code == "no_return" {
			return s.close(l, by)
		}
		l.failure, l.hint = code, code
	default:
		return fmt.Errorf("%w %.60q: it is none of open, approve, cancel, decline, expire, fail:<error>, fail:no_return", sandbox.ErrEvent, event)
	}
	l.by, l.ended = by, s.Clock.Now()
	s.wake()
	return nil
}

// close ends a login whose browser never goes back.
func (s *Simulator) close(l *login, by string) error {
	l.noReturn, l.hint, l.by, l.ended = true, "no return", by, s.Clock.Now()
	s.wake()
	return nil
}

// who finds a person with an account. The lock is held.
func (s *Simulator) who(_ *login, key string) (sandbox.Person, error) {
	p, err := s.People.Get(key)
	if err != nil {
		return p, err
	}
	if p.Itsme == nil {
		return p, ErrNoAccount
	}
	return p, nil
}
