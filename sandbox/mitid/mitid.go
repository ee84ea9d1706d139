// Package mitid plays MitID for the sandbox, as a certified broker shows it to
// relying parties: Nets eID Broker. docs/protocols/mitid.md describes what it
// does, with § in comments referring to that file.
package mitid

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // kid and x5t are SHA-1 thumbprints; nothing is proven by them
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

const (
	window   = 5 * time.Minute // for the person
	codes    = 5 * time.Minute
	lifetime = 300 // seconds of an ID token
	access   = 10800
	pushedIn = 10 * time.Minute
	matching = 15 * time.Minute // after a login
	tries    = 3                // of a CPR number, in the broker's pages and over its API
	usual    = "hanne"
	op       = "/mitid/op"
)

// Config is what a simulator needs; all fields are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
	Base      func() string // address of the listener that Handler is served on, without a slash at the end
}

// asked is what a request is for, beside what is OpenID's.
type asked struct {
	level     string // low, substantial or high: the least that is taken
	reached   string // by what was used
	amr       []string
	reference string // text that the app shows
	action    string // verb of the app
	age       int    // age_verify:N; 0 for none
	person    string // key of who has given a user name
	cpr       bool   // the CPR number is next
	wrong     int    // CPR numbers that were not the person's
	matches   int    // calls of matchCpr
}

// A Simulator plays the broker and MitID behind it.
type Simulator struct {
	*openid.Book[asked]
	Config
	clients *openid.Clients
	keys    func() []key
	pepper  openid.Pepper // of subjects
	desk    *openid.Desk[asked]

	mu    sync.Mutex
	fails map[string]string // error page by errorId
}

// A key is published with a certificate, and named by it (§2).
type key struct {
	*rsa.PrivateKey
	use, kid, x5t, x5c string
}

// New makes a simulator.
func New(c Config) *Simulator {
	s := &Simulator{Config: c, clients: openid.NewClients(c.Clock), pepper: openid.Octets(16), keys: sync.OnceValue(newKeys), fails: map[string]string{}}
	s.Book = openid.NewBook(c.Clock, c.People, c.Decisions, openid.Rules[asked]{EID: "mitid", Window: window, Codes: codes, Access: access * time.Second, Usual: usual,
		Page: func(ref string) string { return c.Base() + op + "/Account/Login/" + ref },
		Account: func(p *sandbox.Person) error {
			if p.MitID == nil {
				return openid.ErrNoAccount
			}
			return nil
		},
		Refuse: refusal, Approve: approve,
		Code: func() string { return strings.ToUpper(hex.EncodeToString(openid.Octets(32))) + "-1" },
		Details: func(l *openid.Login[asked]) any {
			return map[string]string{"level": l.Own.level, "reference_text": l.Own.reference}
		}})
	s.desk = &openid.Desk[asked]{Book: s.Book, Notice: s.notice, Ask: s.ask, Leave: s.leave}
	return s
}

// newKeys are for tokens, for transaction tokens, and to decrypt (§2).
func newKeys() []key {
	var out []key
	for i, k := range openid.NewKeys(3) {
		name := []string{"Token signing", "Transaction token signing", "Request encryption"}[i]
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 1), Subject: pkix.Name{Country: []string{"DK"}, Organization: []string{"Sandbox"}, CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
		if err != nil {
			panic(err) // the system's randomness has failed
		}
		sum := sha1.Sum(der) //nolint:gosec // as above
		one := key{k, "sig", strings.ToUpper(hex.EncodeToString(sum[:])), base64.RawURLEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(der)}
		if i == 2 {
			one.use = "enc"
		}
		out = append(out, one)
	}
	return out
}

// refusal is what is said of logins that end without a person (§7).
func refusal(word, code string) openid.Refusal {
	if word != "fail" {
		code = map[string]string{"cancel": "mitid_user_aborted", "decline": "mitid_identity_not_found", "expire": "mitid_timeout"}[word]
	}
	if code == "login_required" {
		return openid.Refusal{Code: code}
	}
	return openid.Refusal{Code: "access_denied", Description: code}
}

// ways are the authenticators, the strongest first, with what they come to. The
// app is as strong as it has to be: enrolled so.
var ways = []struct {
	name  string
	level string
	amr   []string
}{
	{"chip", "high", []string{"password", "u2f_token"}}, {"app", "high", []string{"code_app_enchanced"}}, {"app", "substantial", []string{"code_app"}},
	{"code_display", "substantial", []string{"password", "code_token"}}, {"password", "low", []string{"password"}},
}

var levels = []string{"low", "substantial", "high"}

// enough says whether a level is at least another one.
func enough(level, least string) bool {
	return slices.Index(levels, level) >= slices.Index(levels, least)
}

// use notes with what a person logs in; false where they have nothing that is
// strong enough. Without a wish it is the app, or what else they have.
func use(l *openid.Login[asked], p *sandbox.Person, wish string) bool {
	for _, name := range []string{wish, "app", "code_display", "chip", "password"} {
		for i := len(ways) - 1; i >= 0; i-- {
			if w := ways[i]; w.name == name && slices.Contains(p.MitID.Authenticators, name) && enough(w.level, l.Own.level) {
				l.Own.reached, l.Own.amr = w.level, w.amr
				return true
			}
		}
	}
	return false
}

// approve refuses whom MitID cannot confirm as asked.
func approve(l *openid.Login[asked], p *sandbox.Person) *openid.Refusal {
	if l.Own.reached == "" && !use(l, p, "") {
		return &openid.Refusal{Code: "access_denied", Description: "mitid_identity_not_found"}
	}
	if asksCPR(l) && p.MitID.CPR == "" {
		return &openid.Refusal{Code: "access_denied", Description: "mitid_cpr_match_failed"}
	}
	return nil
}

// asksCPR says whether the person has to give the CPR number (§5).
func asksCPR(l *openid.Login[asked]) bool {
	return slices.ContainsFunc(l.Scopes, func(scope string) bool {
		return scope == "ssn" || scope == "nemid.pid" || strings.HasPrefix(scope, "ssn.details_")
	})
}

// Party registers a relying party with a way back; one with a secret has no key.
func (s *Simulator) Party(name, redirect string, secret bool) (openid.Registration, error) {
	return s.clients.Register(s.issuer(), openid.GUID(s.pepper.Digest(openid.Random())), name, redirect, secret)
}

// Publish replaces the key of a party with the one of its own JWKS; RSA, P-256
// and P-384 are taken.
func (s *Simulator) Publish(clientID string, jwks []byte) error {
	return s.clients.Publish(clientID, jwks)
}

func (s *Simulator) issuer() string { return s.Base() + op }

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	calls := openid.CallFaults()
	refusing := append(slices.Clone(calls), sandbox.Refuse)
	return map[string][]string{"mitid": calls, "mitid.par": refusing, "mitid.token": refusing, "mitid.userinfo": calls, "mitid.match": calls, "mitid.jwks": calls,
		"mitid.result": openid.ResultFaults()}
}

// Fidelity says how near the simulator is.
func Fidelity() []sandbox.Fidelity {
	return openid.Of("mitid",
		sandbox.Fidelity{What: "discovery, keys, pushed requests, authorization, token, UserInfo", State: sandbox.Exact},
		sandbox.Fidelity{What: "CPR match", State: sandbox.Differs, Because: "what is said after 15 minutes is not published"},
		sandbox.Fidelity{What: "the pages of MitID", State: sandbox.Differs, Because: "one page each, without the real box; 5 minutes, then mitid_timeout"},
		sandbox.Fidelity{What: "a person without a CPR number who is asked for one", State: sandbox.Differs, Because: "mitid_cpr_match_failed; the broker's answer is not known"},
		sandbox.Fidelity{What: "sessions at the broker", State: sandbox.Differs, Because: "none is kept: each login asks, as with prompt=login"},
		sandbox.Fidelity{What: "proofs and request objects with HS256, RSA-PSS, other hashes or P-521, plain PKCE, response modes but query", State: sandbox.NotSimulated, Because: "no connector uses them"},
		sandbox.Fidelity{What: "the hybrid and implicit flows, DPoP", State: sandbox.NotSimulated, Because: "no connector uses them"},
		sandbox.Fidelity{What: "transaction tokens and signing, CIBA, PID and register APIs, logout, MitID Erhverv, frames", State: sandbox.NotSimulated, Because: "no connector uses them yet"},
	)
}

// Handler is everything below /mitid/.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	with := func(f http.HandlerFunc, targets ...string) http.HandlerFunc {
		return openid.Faulty(s.Faults, tokenError, f, targets...)
	}
	mux.HandleFunc("GET "+op+"/.well-known/openid-configuration", with(s.discovery, "mitid"))
	mux.HandleFunc("GET "+op+"/.well-known/openid-configuration/jwks", with(s.jwks, "mitid", "mitid.jwks"))
	mux.HandleFunc("POST "+op+"/connect/par", with(s.push, "mitid", "mitid.par"))
	mux.HandleFunc("GET "+op+"/connect/authorize", with(s.authorize, "mitid"))
	mux.HandleFunc("POST "+op+"/connect/token", with(s.token, "mitid", "mitid.token"))
	mux.HandleFunc("GET "+op+"/connect/userinfo", with(s.userInfo, "mitid", "mitid.userinfo"))
	mux.HandleFunc("POST "+op+"/api/v1/mitid/matchCpr", with(s.match, "mitid", "mitid.match"))
	for _, address := range []string{"/connect/endsession", "/connect/ciba", "/api/v1/mitid/nemidPidLookup", "/api/v1/ssn-details", "/api/v1/session/logout"} {
		mux.HandleFunc(op+address, openid.NotSimulated)
	}
	mux.HandleFunc("GET "+op+"/Error", s.showError)
	mux.HandleFunc("GET "+op+"/Account/Login/{ref}", s.desk.Show)
	mux.HandleFunc("POST "+op+"/Account/Login/{ref}", s.press)
	return openid.Marked(mux)
}

// fail sends a browser to the broker's own error page, from which nobody comes
// back (§3).
func (s *Simulator) fail(w http.ResponseWriter, r *http.Request, text string) {
	id := openid.Random()
	s.mu.Lock()
	if len(s.fails) > 1000 {
		clear(s.fails)
	}
	s.fails[id] = text
	s.mu.Unlock()
	http.Redirect(w, r, s.issuer()+"/Error?errorId="+id, http.StatusFound)
}

func (s *Simulator) showError(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text := s.fails[r.URL.Query().Get("errorId")]
	s.mu.Unlock()
	s.notice(w, http.StatusBadRequest, "", cmp.Or(text, "There is no such error."))
}
