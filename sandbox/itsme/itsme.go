// Package itsme plays itsme for the sandbox: an OpenID provider of both of its
// generations, with the app as a page. docs/protocols/itsme.md describes what
// it does, with § in comments referring to that file. It reads and writes
// tokens with another library than the connector, so that neither hides the
// other's mistakes.
package itsme

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

//go:embed page.html
var files embed.FS

var pages = sandbox.Pages(files, "page.html")

const (
	window   = 3 * time.Minute // for the person in the app, and of a code
	lifetime = 5 * time.Minute // of tokens
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
	signs              []jose.SignatureAlgorithm // of partners
	ns                 string                    // of acr values
	description        string                    // name of what an error of the token endpoint says
	needsObject        bool                      // whether requests and assertions must be encrypted
	encryptedAssertion bool
}

var generations = []*generation{
	{number: 2, path: "/itsme/v2", keyAlg: jose.RSA_OAEP_256, signs: []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, ns: ns, description: "detail", needsObject: true},
	{number: 1, path: "/itsme/oidc", keyAlg: jose.RSA_OAEP, signs: []jose.SignatureAlgorithm{jose.RS256}, ns: "tag:sixdots.be,2016-06:", description: "error_description", encryptedAssertion: true},
}

// asked is what a request is for, beside what is OpenID's.
type asked struct {
	gen     *generation
	partner *client
	service string
	wants   map[string][]string // id_token and userinfo: what is asked for by the claims parameter
	level   string              // acr that was asked for
}

// A login is one authorization request.
type login = openid.Login[asked]

// A Simulator plays itsme.
type Simulator struct {
	*openid.Book[asked]
	Config
	desk   *openid.Desk[asked]
	keys   func() []*rsa.PrivateKey // to sign, and to decrypt
	pepper []byte                   // of subjects

	mu      sync.Mutex
	clients map[string]*client
	used    map[string]time.Time // jti of assertions
}

// New makes a simulator.
func New(c Config) *Simulator {
	s := &Simulator{Config: c, pepper: openid.Octets(16), clients: map[string]*client{}, used: map[string]time.Time{},
		keys: sync.OnceValue(func() []*rsa.PrivateKey { return openid.NewKeys(2) })}
	s.Book = openid.NewBook(c.Clock, c.People, c.Decisions, openid.Rules[asked]{EID: "itsme", Window: window, Codes: window, Access: time.Hour, Usual: usual,
		Page: func(ref string) string { return c.Base() + "/itsme/app/" + ref },
		Account: func(p *sandbox.Person) error {
			if p.Itsme == nil {
				return openid.ErrNoAccount
			}
			return nil
		},
		Refuse: refusal})
	s.desk = &openid.Desk[asked]{Book: s.Book, Notice: s.notice, Ask: s.ask, Leave: s.leave}
	return s
}

// usual is who uses the app when nobody says.
const usual = "florent"

// refusal is what is said of logins that end without a person (§3): itsme says
// the same of who rejects, whom it refuses, and nobody.
func refusal(word, code string) openid.Refusal {
	if word != "fail" {
		code = "access_denied"
	}
	return openid.Refusal{Code: code}
}

// A client is a registered partner.
type client struct {
	openid.Client
	services map[string]string // code → login or share
	enc      []jose.JSONWebKey // tokens are encrypted to any of them; none for a partner that nothing is encrypted for
	gen      int
}

// A Registration is what a partner's settings need.
type Registration struct {
	Issuer, ClientID, Secret string
	Service                  string // code of a service that shares data
	Login                    string // code of one that logs in
	SigningKey, SigningKID   string // PEM
	EncKey, EncKID           string // either of this key and the next one opens a message
	EncKey2, EncKID2         string
}

// Partner registers a relying party with a way back. Generation is 2 or 1; one
// with a secret has no keys, and its tokens are signed only.
func (s *Simulator) Partner(name, redirect string, gen int, secret bool) (Registration, error) {
	g := generations[0]
	if gen == 1 {
		g = generations[1]
	}
	c := &client{Client: openid.Client{ID: strings.ToLower(base32.StdEncoding.EncodeToString(openid.Octets(5))) + "Be", Name: name, Redirects: []string{redirect}}, gen: g.number}
	code := strings.ToUpper(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, name))
	c.services = map[string]string{code + "_LOGIN": "login", code + "_SHARE": "share"}
	out := Registration{Issuer: s.Base() + g.path, ClientID: c.ID, Service: code + "_SHARE", Login: code + "_LOGIN"}
	if secret {
		c.Secret = openid.Random()
		out.Secret = c.Secret
	} else {
		k := openid.NewKeys(3)
		out.SigningKID, out.EncKID, out.EncKID2 = "sig1", "enc1", "enc2"
		c.Key, c.KeyID = &k[0].PublicKey, out.SigningKID
		c.enc = []jose.JSONWebKey{{Key: &k[1].PublicKey, KeyID: out.EncKID}, {Key: &k[2].PublicKey, KeyID: out.EncKID2}}
		for i, at := range []*string{&out.SigningKey, &out.EncKey, &out.EncKey2} {
			var err error
			if *at, err = openid.PEM(k[i]); err != nil {
				return out, err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
	return out, nil
}

// Publish replaces the keys of a partner with those of its own JWKS: one to sign
// and any number that decrypt; without the latter nothing is encrypted. The
// partner has no secret afterwards, and logins that have begun are lost.
func (s *Simulator) Publish(clientID string, jwks []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.clients[clientID]
	if old == nil {
		return errors.New("client_id is not known")
	}
	g := generations[slices.IndexFunc(generations, func(g *generation) bool { return g.number == old.gen })]
	sig, enc, err := openid.Published(jwks, g.signs)
	if err == nil && enc == nil && g.encryptedAssertion {
		err = errors.New("there is no key that decrypts")
	}
	if err != nil {
		return err
	}
	c := *old
	c.Secret, c.Key, c.KeyID, c.enc = "", sig.Key, sig.KeyID, enc
	s.clients[clientID] = &c
	return nil
}

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	calls := openid.CallFaults()
	return map[string][]string{"itsme": calls, "itsme.token": append(slices.Clone(calls), sandbox.Refuse), "itsme.userinfo": calls, "itsme.jwks": calls,
		"itsme.result": append(openid.ResultFaults(), unencrypted)}
}

// unencrypted is what an itsme.result fault may do to the tokens, beside what
// it may do at other providers.
const unencrypted = "unencrypted"

// Fidelity says how near the simulator is.
func Fidelity() []sandbox.Fidelity {
	return openid.Of("itsme",
		sandbox.Fidelity{What: "token, userinfo and jwkSet of the second generation", State: sandbox.Exact},
		sandbox.Fidelity{What: "authorization of the second generation", State: sandbox.Differs, Because: "a partner with keys must send a request object, which itsme leaves open but for confirmations"},
		sandbox.Fidelity{What: "discovery of the second generation", State: sandbox.Differs, Because: "values that are not published are ours"},
		sandbox.Fidelity{What: "the first generation, with encrypted assertions and tag: names", State: sandbox.Differs,
			Because: "ways back are compared, and certificate_validity, which is not published, is not told"},
		sandbox.Fidelity{What: "ES256 of partners, and keys to sign without one that decrypts", State: sandbox.Differs, Because: "itsme publishes RS256 only, and encrypts for every partner with keys; both are taken of the second generation"},
		sandbox.Fidelity{What: "the app", State: sandbox.Differs, Because: "a page, without a code to scan"},
		sandbox.Fidelity{What: "time-out of the app", State: sandbox.Differs, Because: "3 minutes, then access_denied; neither is published"},
		sandbox.Fidelity{What: "confirmation services, CIBA, QR discovery, qualified signatures", State: sandbox.NotSimulated, Because: "no connector uses them yet"},
		sandbox.Fidelity{What: "pictures", State: sandbox.Differs, Because: "everybody has the same drawing, also as what the document has"},
		sandbox.Fidelity{What: "fetching the partner's JWKS", State: sandbox.NotSimulated, Because: "the sandbox has made the keys itself"},
	)
}

// Handler is everything below /itsme/.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, g := range generations {
		with := func(f func(http.ResponseWriter, *http.Request, *generation), targets ...string) http.HandlerFunc {
			return openid.Faulty(s.Faults, func(w http.ResponseWriter, code string) { tokenError(w, g, code, "a fault is on") },
				func(w http.ResponseWriter, r *http.Request) { f(w, r, g) }, targets...)
		}
		mux.HandleFunc("GET "+g.path+"/.well-known/openid-configuration", with(s.discovery, "itsme"))
		mux.HandleFunc("GET "+g.path+"/jwkSet", with(s.jwks, "itsme", "itsme.jwks"))
		mux.HandleFunc("GET "+g.path+"/authorization", with(s.authorize, "itsme"))
		mux.HandleFunc("POST "+g.path+"/token", with(s.token, "itsme", "itsme.token"))
		mux.HandleFunc("GET "+g.path+"/userinfo", with(s.userInfo, "itsme", "itsme.userinfo"))
		if g.number == 2 {
			mux.HandleFunc("GET "+g.path+"/picture", with(s.picture, "itsme"))
		}
	}
	mux.HandleFunc("GET /itsme/app/{ref}", s.desk.Show)
	mux.HandleFunc("POST /itsme/app/{ref}", s.press)
	return openid.Marked(mux)
}

// subject is the name of a person for one partner: 36 small letters and digits (§4).
func (s *Simulator) subject(c *openid.Client, p *sandbox.Person) string {
	mac := hmac.New(sha256.New, s.pepper)
	fmt.Fprintf(mac, "%s\n%s\n%d", c.ID, p.Itsme.NationalNumber+p.Itsme.Document, p.Itsme.Account)
	sum := mac.Sum(nil)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))[:36]
}
