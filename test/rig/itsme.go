package rig

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/itsme"
)

// CurveConfig is the configuration of the party's account whose contract with
// itsme has a key on P-256 to sign and none that decrypts; the usual one has keys
// of RSA for both.
const CurveConfig = "curve"

// An Itsme is the simulator of itsme in this process.
type Itsme struct {
	*itsme.Simulator
	Calls  atomic.Int64 // of the node: metadata, keys, tokens, UserInfo
	keys   atomic.Int64
	http   *http.Client // of people's browsers, at itsme
	config string       // entry of a configuration
	curve  string       // the same for CurveConfig
}

// Keys is how often the keys of itsme were fetched.
func (i *Itsme) Keys() int64 { return i.keys.Load() }

// NewItsme starts a simulator whose people do at once what auto says, and writes
// the files that a configuration names into dir.
func NewItsme(t testing.TB, dir string, auto sandbox.Outcome) *Itsme {
	t.Helper()
	people := sandbox.NewPeople()
	i := &Itsme{http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	var base string
	i.Simulator = itsme.New(itsme.Config{Clock: sandbox.NewClock(false), People: people, Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1), Base: func() string { return base }})
	sim := i.Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/authorization") && !strings.Contains(r.URL.Path, "/app/") {
			i.Calls.Add(1)
		}
		if strings.HasSuffix(r.URL.Path, "/jwkSet") {
			i.keys.Add(1)
		}
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(i.http.CloseIdleConnections)
	base = srv.URL
	back := Public + "/callback/test/itsme"
	signs, err := i.Partner("Load shop", back, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := i.Partner("Load shop", back, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &curve.PublicKey, KeyID: "curve", Use: "sig", Algorithm: "ES256"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Publish(plain.ClientID, set); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"itsme-sign.key": signs.SigningKey, "itsme-data.key": signs.EncKey, "itsme-data2.key": signs.EncKey2, "itsme-curve.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i.config = fmt.Sprintf(`  itsme: {issuer: %q, client_id: %q, service: %q, keys: [{id: %q, use: sign, file: %[5]s/itsme-sign.key}, {id: %[6]q, use: decrypt, file: %[5]s/itsme-data.key},
    {id: %[7]q, use: decrypt, file: %[5]s/itsme-data2.key}]}
`, signs.Issuer, signs.ClientID, signs.Service, signs.SigningKID, dir, signs.EncKID, signs.EncKID2)
	i.curve = fmt.Sprintf(`{id: %s, test_eids: {itsme: {issuer: %q, client_id: %q, service: %q, keys: [{id: curve, use: sign, file: %s/itsme-curve.key}]}}}`, CurveConfig, plain.Issuer, plain.ClientID, plain.Service, dir)
	return i
}

// LoginV3 runs a whole login with itsme over the third generation of the API.
func (p *Party) LoginV3(ctx context.Context, i *Itsme, config string) error {
	form := url.Values{"target": {"http://localhost/done"}, "webhook": {p.hook.URL}}
	if config != "" {
		form.Set("configid", config)
	}
	res, body, err := p.do(ctx, http.MethodPost, Public+"/v3/eid/itsme", form, "Authorization", Key)
	if err != nil {
		return err
	}
	var set struct{ ID, RedirectURL string }
	if err := json.Unmarshal(body, &set); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("setup: %s %.300s", res.Status, body)
	}
	back, err := i.visit(ctx, set.RedirectURL)
	if err != nil {
		return err
	}
	v := &Visit{ID: set.ID, Page: Public + "/v2/Hosted/" + set.ID + "/itsme/", p: p}
	to, err := v.Return(ctx, back)
	if err != nil || !strings.HasPrefix(to, "http://localhost/done?") {
		return fmt.Errorf("the browser was sent to %q: %w", to, err)
	}
	res, body, err = p.do(ctx, http.MethodGet, Public+"/v3/eid/itsme/"+set.ID, nil, "Authorization", Key)
	if err != nil {
		return err
	}
	var out struct {
		State    string
		Identity struct{ LastName string }
	}
	if err := json.Unmarshal(body, &out); err != nil || out.State != "Finished" || out.Identity.LastName == "" {
		return fmt.Errorf("result: %s %.300s", res.Status, body)
	}
	return nil
}

// visit is a browser at itsme, and where it is sent back to.
func (i *Itsme) visit(ctx context.Context, address string) (back string, err error) {
	for range 4 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return "", err
		}
		res, err := i.http.Do(req)
		if err != nil {
			return "", err
		}
		_ = res.Body.Close() // only where it leads counts
		if address = res.Header.Get("Location"); address == "" {
			return "", fmt.Errorf("itsme answers %s and sends nobody back", res.Status)
		}
		if strings.HasPrefix(address, Public) {
			return address, nil
		}
	}
	return "", errors.New("itsme sends a browser round")
}
