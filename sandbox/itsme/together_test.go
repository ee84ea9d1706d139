package itsme_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/itsme"
)

// TestTogether: the page is read while the control API acts.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r, err := b.Partner("Shop", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		page := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+asks(r).Encode(), nil).Header().Get("Location")
		ref := page[strings.LastIndexByte(page, '/')+1:]
		var wg sync.WaitGroup
		wg.Go(func() { b.send(t, http.MethodGet, page, nil) })
		wg.Go(func() { _, _ = b.Do(ref, sandbox.Act{Event: "approve"}) })
		wg.Go(func() { b.send(t, http.MethodPost, page, url.Values{"act": {"cancel"}}) })
		wg.Wait()
	}
}

// TestNoClientID: itsme's own examples have no client_id beside an assertion.
func TestNoClientID(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Approve)
	r, err := b.Partner("Shop", back, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(r.SigningKey))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: r.SigningKID}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(map[string]any{"iss": r.ClientID, "sub": r.ClientID, "aud": r.Issuer + "/token", "jti": "1", "exp": b.clock.Now().Add(time.Minute).Unix()}) // texts and a number
	o, err := signer.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	token, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	w := b.send(t, http.MethodPost, r.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {back},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token}})
	if !strings.Contains(w.Body.String(), "invalid_grant") {
		t.Errorf("%s", w.Body)
	}
}

// TestOtherSubOnce: a fault of UserInfo, once, is not spent by the token call.
func TestOtherSubOnce(t *testing.T) {
	t.Parallel()
	people := sandbox.NewPeople()
	faults := sandbox.NewFaults(1)
	clock := sandbox.NewClock(true)
	b := &box{clock: clock, base: "http://itsme.example"}
	b.Simulator = itsme.New(itsme.Config{Clock: clock, People: people, Decisions: sandbox.NewDecisions(people, sandbox.Approve), Faults: faults, Base: func() string { return b.base }})
	b.http = b.Handler()
	r, err := b.Partner("Shop", back, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	c := b.code(t, r)
	faults.Add(sandbox.Fault{Target: "itsme.result", Kind: "other_sub", Times: 1})
	w := b.send(t, http.MethodPost, r.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {c}, "redirect_uri": {back}, "client_id": {r.ClientID}, "client_secret": {r.Secret}})
	if w.Code != 200 || len(faults.List()) != 1 {
		t.Errorf("%d, faults left: %v", w.Code, faults.List())
	}
}
