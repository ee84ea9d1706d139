// Package bankidno plays Norwegian BankID for the sandbox: the OpenID provider
// in front of it, with its pages and the app. docs/protocols/bankidno.md
// describes what it does, with § in comments referring to that file.
package bankidno

import (
	"crypto/rsa"
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
	pepper  openid.Pepper            // of subjects
	desk    *openid.Desk[asked]

	mu  sync.Mutex
	set Settings
}

// New makes a simulator.
func New(c Config) *Simulator {
	s := &Simulator{Config: c, clients: openid.NewClients(c.Clock), pepper: openid.Octets(16), set: defaults(),
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
	s.desk = &openid.Desk[asked]{Book: s.Book, Notice: s.notice, Ask: s.ask, Leave: s.leave}
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

func defaults() Settings { return Settings{API: "v2", PAR: true, Biometrics: true} }

// Clear forgets all logins and sets all switches back.
func (s *Simulator) Clear() {
	s.mu.Lock()
	s.set = defaults()
	s.mu.Unlock()
	s.Book.Clear()
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

// Party registers a relying party with a way back; one with a secret has no key.
func (s *Simulator) Party(name, redirect string, secret bool) (openid.Registration, error) {
	return s.clients.Register(s.issuer(), fmt.Sprintf("rp-bankid-current-%x", openid.Octets(4)), name, redirect, secret)
}

// Publish replaces the key of a party with the one of its own JWKS; RSA, P-256
// and P-384 are taken.
func (s *Simulator) Publish(clientID string, jwks []byte) error {
	return s.clients.Publish(clientID, jwks)
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
	return openid.Of("bankidno",
		sandbox.Fidelity{What: "authorization, token, UserInfo on another host, keys", State: sandbox.Exact},
		sandbox.Fidelity{What: "discovery", State: sandbox.Differs, Because: "values of its arrays are not published, and ours"},
		sandbox.Fidelity{What: "algorithms of what a client signs", State: sandbox.Differs, Because: "by the kind of its key RS256, ES256 or ES384, of which BankID publishes nothing"},
		sandbox.Fidelity{What: "a number in an address", State: sandbox.Differs, Because: "is refused with invalid_request; BankID forbids it and does not say how"},
		sandbox.Fidelity{What: "a scope that a client does not have", State: sandbox.Differs, Because: "invalid_scope for one that nobody has; every client has all of the others"},
		sandbox.Fidelity{What: "sessions at BankID", State: sandbox.Differs, Because: "none is kept: each login asks, as with prompt=login"},
		sandbox.Fidelity{What: "BankID on mobile", State: sandbox.Differs, Because: "switched off: a hint with BIM is read, and answered by the password"},
		sandbox.Fidelity{What: "the app, and its time-out", State: sandbox.Differs, Because: "a page; 5 minutes, then C302"},
		sandbox.Fidelity{What: "response modes but query", State: sandbox.NotSimulated, Because: "no connector uses them"},
		sandbox.Fidelity{What: "encrypted login hints, introspection, refresh, logout", State: sandbox.NotSimulated, Because: "no connector uses them"},
		sandbox.Fidelity{What: "signing, CIBA, fraud data", State: sandbox.NotSimulated, Because: "no connector uses them yet"},
	)
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
		mux.HandleFunc(realm+"/protocol/openid-connect"+address, openid.NotSimulated)
	}
	mux.HandleFunc("GET /bankidno/login/{ref}", s.desk.Show)
	mux.HandleFunc("POST /bankidno/login/{ref}", s.press)
	return openid.Marked(mux)
}

// name is opaque: a GUID for BID, 43 characters for biometrics (§5).
func name(sum [32]byte, biometrics bool) string {
	if biometrics {
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return openid.GUID(sum)
}
