package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/eid"
	"eidgate/internal/keytest"
)

// rsaFile writes a key as openssl does.
func rsaFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(keytest.PEM(t, keytest.RSA(t, 2048))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKeysOfItsme: each contract has a set of its own at an address of its own,
// without private parts, and a key that is retired stays as long as messages
// for it may come.
func TestKeysOfItsme(t *testing.T) {
	t.Parallel()
	now := time.Now()
	conf := ItsmeConfig{Issuer: "https://idp.prd.itsme.services/v2", ClientID: "c", Service: "S", Keys: []EIDKeyConfig{
		{ID: "s1", Use: "sign", File: rsaFile(t, "s")}, {ID: "e2", Use: "decrypt", File: rsaFile(t, "e2")}, {ID: "e1", Use: "decrypt", File: rsaFile(t, "e1"), Until: now.Add(-time.Hour)}}}
	a, err := conf.agreement(eid.Live)
	if err != nil {
		t.Fatal(err)
	}
	secret := ItsmeConfig{Issuer: conf.Issuer, ClientID: "d", Service: "S", ClientSecretFile: conf.Keys[0].File}
	if _, err := secret.agreement(eid.Live); err == nil {
		t.Error("a secret of several lines is taken")
	}
	c := &core{agreements: agreements{{env: eid.Live, eid: eid.Itsme}: a, {env: eid.Live, eid: eid.Itsme, account: "acme", config: "shop"}: a, {env: eid.Live, eid: eid.IDIN}: {}}}
	at := now
	mux := http.NewServeMux()
	c.publishKeys(mux, func() time.Time { return at })
	get := func(path string) (int, string, map[string]string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		var set struct {
			Keys []map[string]string `json:"keys"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &set) // no keys then
		uses := map[string]string{}
		for _, k := range set.Keys {
			if uses[k["kid"]] = k["use"]; k["d"] != "" || k["p"] != "" {
				t.Error("a private part is published")
			}
		}
		return w.Code, w.Header().Get("Cache-Control"), uses
	}
	for _, path := range []string{"/jwks/live/itsme", "/jwks/live/itsme/acme/shop"} {
		if status, age, uses := get(path); status != 200 || age != "max-age=1800" || uses["s1"] != "sig" || uses["e2"] != "enc" {
			t.Errorf("%s: %d %q %v", path, status, age, uses)
		}
	}
	for _, path := range []string{"/jwks/test/itsme", "/jwks/live/idin", "/jwks/live/itsme/acme"} {
		if status, _, _ := get(path); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
	renewed := conf
	renewed.Keys = conf.Keys[:2]
	if b, err := renewed.agreement(eid.Live); err != nil || b.now.Key == a.now.Key || !b.renews {
		t.Errorf("clients of the old keys are used after a renewal, or logins that have begun are not: %v", err)
	}
	if strings.Contains(string(a.now.Key), "PRIVATE") {
		t.Error("the name of settings shows a key")
	}
}

// TestItsmeIsAwayAtSetup: a login in the third generation waits on a page of
// ours while itsme does not answer.
func TestItsmeIsAwayAtSetup(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	text := strings.Replace(sound, "BANKID(house)", `itsme: {issuer: "http://127.0.0.1:1/v2", client_id: c, service: S, client_secret_file: DIR/key}`, 1)
	c := s.core(t, text)
	defer c.close(t.Context())
	call := func(method, path, body string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, "https://eid.example.com"+path, strings.NewReader(body))
		r.Header.Set("Authorization", testKey)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	status, answer := call(http.MethodPost, "/v3/eid/itsme", `{"target":"https://shop.example/"}`)
	var set struct{ ID, RedirectURL string }
	if err := json.Unmarshal([]byte(answer), &set); err != nil {
		t.Fatal(err)
	}
	page := "/v2/Hosted/" + set.ID + "/itsme/"
	if status != 200 || set.RedirectURL != "https://eid.example.com"+page {
		t.Fatalf("%d %s", status, answer)
	}
	if status, text := call(http.MethodGet, page, ""); status != 200 || !strings.Contains(text, "data-poll=") {
		t.Errorf("the page does not wait: %d", status)
	}
	if _, answer := call(http.MethodGet, "/v3/eid/itsme/"+set.ID, ""); !strings.Contains(answer, `"Pending"`) {
		t.Error(answer)
	}
}
