package rig

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eidgate/server"
)

// A Dev is a running sandbox, as "eidgate dev" starts it, and a relying party
// that listens for webhooks.
type Dev struct {
	URLs   map[string]string
	Key    string
	Secret string
	OIDC   Client
	Hooks  chan *Hook
	HookAt string
	CA     string // PEM; "" for a sandbox over http
	CAFile string
	HTTP   *http.Client // trusts the CA, and nobody else if there is one
	t      testing.TB
}

// A Client is what a program needs to log people in over OpenID Connect.
type Client struct {
	Issuer string `json:"issuer"`
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// A Hook is a webhook as it came.
type Hook struct {
	Header http.Header
	Body   []byte
}

// StartDev runs the sandbox in this process until the test ends, with its usual
// options or others. What it logs must name no person.
func StartDev(t testing.TB, store string, with ...func(*server.DevOptions)) *Dev {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready.json")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var out bytes.Buffer
	o := server.DevOptions{Host: "127.0.0.1", Store: store, Auto: "ask", ReadyFile: ready, Quiet: true,
		Version: "test", Stdout: io.Discard, Stderr: &out}
	for _, f := range with {
		f(&o)
	}
	go func() { done <- server.Dev(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the sandbox ended with %v", err)
		}
		if strings.Contains(out.String(), "199001012385") || strings.Contains(out.String(), "Ada") {
			t.Error("the log names a person")
		}
	})
	w := &Dev{t: t, HTTP: http.DefaultClient, Hooks: make(chan *Hook, 10)}
	var file struct {
		URLs     map[string]string `json:"urls"`
		CA       string            `json:"ca"`
		CAFile   string            `json:"ca_file"`
		Accounts []struct {
			Key    string `json:"key"`
			Secret string `json:"webhook_secret"`
			OIDC   Client `json:"oidc"`
		} `json:"accounts"`
	}
	for end := time.Now().Add(20 * time.Second); ; {
		raw, err := os.ReadFile(ready)
		if err == nil && json.Unmarshal(raw, &file) == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the sandbox does not become ready")
		}
		<-time.After(10 * time.Millisecond)
	}
	w.URLs, w.Key, w.Secret, w.OIDC = file.URLs, file.Accounts[0].Key, file.Accounts[0].Secret, file.Accounts[0].OIDC
	if w.CA, w.CAFile = file.CA, file.CAFile; w.CA != "" {
		w.HTTP = Trusting(t, w.CA)
	}
	rp := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			w.Hooks <- &Hook{r.Header.Clone(), body}
		}
		rw.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(rp.Close)
	w.HookAt = rp.URL + "/hook"
	return w
}

// Trusting is a client that believes what a CA certifies and nothing else.
func Trusting(t testing.TB, ca string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		t.Fatalf("no certificate: %q", ca)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// For is the same sandbox for a test within the one that started it.
func (w *Dev) For(t testing.TB) *Dev {
	of := *w
	of.t = t
	return &of
}

// Call makes a request with the key and reads JSON.
func (w *Dev) Call(method, address, contentType, body string) (status int, out map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", w.Key)
	req.Header.Set("Content-Type", contentType)
	res, err := w.HTTP.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		w.t.Fatalf("%s %s: %s: %v", method, address, res.Status, err)
	}
	return res.StatusCode, out
}

// Setup makes a session.
func (w *Dev) Setup(selector string, form url.Values) string {
	w.t.Helper()
	status, out := w.Call("POST", w.URLs["public"]+"/v2/eid/"+selector, "application/x-www-form-urlencoded", form.Encode())
	if status != 200 {
		w.t.Fatalf("setup: %d %v", status, out)
	}
	return out["id"].(string) //nolint:errcheck // a panic fails the test as well
}

// Decide runs a session to its end.
func (w *Dev) Decide(id, outcome, person string) map[string]any {
	w.t.Helper()
	status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/sessions/"+id+"/decide", "application/json",
		`{"outcome":"`+outcome+`","person":"`+person+`"}`)
	if status != 200 {
		w.t.Fatalf("decide: %d %v", status, out)
	}
	return out
}

// DecideAt runs a login to its end that begins at an address, and is where the
// browser was sent then, with what it posts there; nil for a redirect.
func (w *Dev) DecideAt(start, outcome, person string) (to string, posted url.Values) {
	w.t.Helper()
	in, err := json.Marshal(map[string]string{"start_url": start, "outcome": outcome, "person": person})
	if err != nil {
		w.t.Fatal(err)
	}
	status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/decide", "application/json", string(in))
	to, ok := out["redirect"].(string)
	if status != 200 || !ok {
		w.t.Fatalf("decide: %d %v", status, out)
	}
	if fields, ok := out["fields"].(map[string]any); ok {
		posted = url.Values{}
		for name, value := range fields {
			posted.Set(name, value.(string)) //nolint:errcheck // a panic fails the test as well
		}
	}
	return to, posted
}

// NewClient registers a client for OpenID Connect, of what is said about it.
func (w *Dev) NewClient(said string) (c Client) {
	w.t.Helper()
	status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/clients", "application/json", said)
	if status != 200 {
		w.t.Fatalf("clients: %d %v", status, out)
	}
	c.Issuer, _ = out["issuer"].(string)
	c.ID, _ = out["client_id"].(string)
	c.Secret, _ = out["client_secret"].(string)
	return c
}

// Result reads a session as the relying party.
func (w *Dev) Result(id string) map[string]any {
	w.t.Helper()
	status, out := w.Call("GET", w.URLs["public"]+"/v2/eid/"+id+"/", "application/json", "")
	if status != 200 {
		w.t.Fatalf("result: %d %v", status, out)
	}
	return out
}

// Orders lists the simulator's orders that wait for a person.
func (w *Dev) Orders() (out []map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.URLs["control"]+"/sandbox/v1/orders", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := w.HTTP.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// State is the word for where a session stands, in a result of the ZignSec API.
func State(result map[string]any) string {
	r, _ := result["result"].(map[string]any)
	i, _ := r["identity"].(map[string]any)
	s, _ := i["state"].(string)
	return s
}
