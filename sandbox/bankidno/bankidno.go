// Package bankidno plays Norwegian BankID for the sandbox: the OpenID provider
// in front of it, with its pages and the app. docs/protocols/bankidno.md
// describes what it does, with § in comments referring to that file.
package bankidno

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

const (
	window   = 5 * time.Minute // for the person
	codes    = time.Minute     // of a code
	lifetime = 300             // seconds of an ID token
	pushedIn = time.Minute     // of a pushed request
	usual    = "ola"
	realm    = "/bankidno/auth/realms/current"
	sigKID   = "bankidno-sig"
	encKID   = "bankidno-enc"
)

// Config is what a simulator needs; all fields are required.
type Config struct {
	Clock     *sandbox.Clock
	People    *sandbox.People
	Decisions *sandbox.Decisions
	Faults    *sandbox.Faults
	Base      func() string // address of the listener that Handler is served on, without a slash at the end
	UserInfo  func() string // another name of the same listener: UserInfo is on a host of its own (§2)
}

// Settings are switches of the simulator.
type Settings struct {
	API        string `json:"api"`        // "v2": amr is an array; "v1": a string, and nbf is 0
	PAR        bool   `json:"par"`        // pushed requests are taken
	Biometrics bool   `json:"biometrics"` // works; if not, who asks for it gets the password (§3)
}

// asked is what a request is for, beside what is OpenID's.
type asked struct {
	method string // BID, BIS, BIM; "" for the person to choose
	person string // key of who has given a user name
	failed bool   // biometrics did not work
	passed bool   // who it is, is proven: what remains is consent
	bis    bool   // logged in with biometrics in the end
	keeps  bool   // the person does not share what UserInfo tells
}

// A Simulator plays Norwegian BankID.
type Simulator struct {
	*openid.Book[asked]
	Config
	clients *openid.Clients
	keys    func() []*rsa.PrivateKey // to sign, and to decrypt
	pepper  []byte                   // of subjects

	mu  sync.Mutex
	set Settings
}

// New makes a simulator.
func New(c Config) *Simulator {
	s := &Simulator{Config: c, clients: openid.NewClients(c.Clock), pepper: openid.Octets(16), set: Settings{API: "v2", PAR: true, Biometrics: true},
		keys: sync.OnceValue(func() []*rsa.PrivateKey { return openid.NewKeys(2) })}
	s.Book = openid.NewBook(c.Clock, c.People, c.Decisions, openid.Rules[asked]{EID: "bankidno", Window: window, Codes: codes, Access: 5 * time.Minute, Usual: usual,
		Page: func(ref string) string { return c.Base() + "/bankidno/login/" + ref },
		Account: func(p *sandbox.Person) error {
			if p.BankIDNO == nil {
				return openid.ErrNoAccount
			}
			return nil
		},
		Approve: func(l *openid.Login[asked], p *sandbox.Person) *openid.Refusal {
			l.Own.bis = s.biometrics(l, p)
			return nil
		},
		Refuse: refusal, Details: func(l *openid.Login[asked]) any { return map[string]string{"method": l.Own.method} }})
	return s
}

// refusal is what is said of logins that end without a person (§4).
func refusal(word, code string) openid.Refusal {
	known := map[string]string{"cancel": "C301", "expire": "C302", "decline": "12288"}
	if word != "fail" {
		code = known[word]
	}
	if slices.Contains([]string{"invalid_request", "invalid_scope", "unauthorized_client", "server_error", "temporarily_unavailable", "login_required"}, code) {
		return openid.Refusal{Code: code}
	}
	return openid.Refusal{Code: "access_denied", Description: "bankid_error_codes:" + code}
}

// Settings are as they stand.
func (s *Simulator) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

// Change changes the settings.
func (s *Simulator) Change(f func(*Settings) error) (Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.set
	if err := f(&next); err != nil {
		return s.set, err
	}
	if next.API != "v1" && next.API != "v2" {
		return s.set, fmt.Errorf("api %.20q is neither v1 nor v2", next.API)
	}
	s.set = next
	return next, nil
}

// A Registration is what a relying party's settings need.
type Registration struct {
	Issuer, ClientID, Secret string
	Key, KeyID               string // PEM; "" for one with a secret
}

// Party registers a relying party with a way back; one with a secret has no key.
func (s *Simulator) Party(name, redirect string, secret bool) (Registration, error) {
	c := &openid.Client{ID: fmt.Sprintf("%s-bankid-current-%x", "rp", openid.Octets(4)), Name: name, Redirects: []string{redirect}}
	out := Registration{Issuer: s.issuer(), ClientID: c.ID}
	if secret {
		c.Secret = openid.Random()
		out.Secret = c.Secret
	} else {
		k := openid.NewKey()
		text, err := openid.PEM(k)
		if err != nil {
			return out, err
		}
		c.Key, c.KeyID = &k.PublicKey, "sig1"
		out.Key, out.KeyID = text, c.KeyID
	}
	s.clients.Add(c)
	return out, nil
}

func (s *Simulator) issuer() string { return s.Base() + realm }

// tinfo is who signs UserInfo.
func (s *Simulator) tinfo() string { return s.UserInfo() + "/bankidno/tinfo" }

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	calls := openid.CallFaults()
	return map[string][]string{"bankidno": calls, "bankidno.par": append(slices.Clone(calls), sandbox.Refuse), "bankidno.token": append(slices.Clone(calls), sandbox.Refuse),
		"bankidno.userinfo": calls, "bankidno.jwks": calls, "bankidno.result": openid.ResultFaults()}
}

// Fidelity says how near the simulator is.
func Fidelity() []sandbox.Fidelity {
	out := []sandbox.Fidelity{
		{What: "authorization, token, UserInfo on another host, keys", State: sandbox.Exact},
		{What: "discovery", State: sandbox.Differs, Because: "values of its arrays are not published, and ours"},
		{What: "a number in an address", State: sandbox.Differs, Because: "is refused with invalid_request; BankID forbids it and does not say how"},
		{What: "a scope that a client does not have", State: sandbox.Differs, Because: "invalid_scope for one that nobody has; every client has all of the others"},
		{What: "sessions at BankID", State: sandbox.Differs, Because: "none is kept: each login asks, as with prompt=login"},
		{What: "BankID on mobile", State: sandbox.Differs, Because: "switched off: a hint with BIM is read, and answered by the password"},
		{What: "the app, and its time-out", State: sandbox.Differs, Because: "a page; 5 minutes, then C302"},
		{What: "response modes but query", State: sandbox.NotSimulated, Because: "no connector uses them"},
		{What: "encrypted login hints, introspection, refresh, logout", State: sandbox.NotSimulated, Because: "no connector uses them"},
		{What: "signing, CIBA, fraud data", State: sandbox.NotSimulated, Because: "no connector uses them yet"},
	}
	for i := range out {
		out[i].Upstream = "bankidno"
	}
	return out
}

// Handler is everything below /bankidno/.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	bad := func(w http.ResponseWriter, code string) { tokenError(w, code, "a fault is on") }
	with := func(f http.HandlerFunc, targets ...string) http.HandlerFunc {
		return openid.Faulty(s.Faults, bad, f, targets...)
	}
	mux.HandleFunc("GET "+realm+"/.well-known/openid-configuration", with(s.discovery, "bankidno"))
	mux.HandleFunc("GET "+realm+"/protocol/openid-connect/certs", with(s.jwks, "bankidno", "bankidno.jwks"))
	mux.HandleFunc("GET "+realm+"/precheck/auth", with(s.authorize, "bankidno"))
	mux.HandleFunc("POST "+realm+"/protocol/openid-connect/ext/par/request", with(s.push, "bankidno", "bankidno.par"))
	mux.HandleFunc("POST "+realm+"/protocol/openid-connect/token", with(s.token, "bankidno", "bankidno.token"))
	mux.HandleFunc("GET /bankidno/tinfo/userinfo", with(s.userInfo, "bankidno", "bankidno.userinfo"))
	for _, address := range []string{"/token/introspect", "/logout"} {
		mux.HandleFunc(realm+"/protocol/openid-connect"+address, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "This is not simulated; see GET /sandbox/v1/fidelity.", http.StatusNotImplemented)
		})
	}
	mux.HandleFunc("GET /bankidno/login/{ref}", s.show)
	mux.HandleFunc("POST /bankidno/login/{ref}", s.press)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		mux.ServeHTTP(w, r)
	})
}

// digest names something of a person for good, here, and for this realm alone.
func (s *Simulator) digest(parts ...string) [32]byte {
	h := sha256.New()
	h.Write(s.pepper)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return [32]byte(h.Sum(nil))
}

// name is opaque: a GUID for BID, 43 characters for biometrics (§5).
func name(sum [32]byte, biometrics bool) string {
	if biometrics {
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
