package upstream

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/connector"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
	"eidgate/test/rig"
)

const back = "https://broker.example/callback/test/eid"

// A provider is the program, and what it has written to its log.
type provider struct {
	issuer string
	key    *rsa.PublicKey // of its signatures
	log    *strings.Builder
	asked  chan asked
}

// asked is what the provider was asked for when somebody had to log in.
type asked struct {
	Params  map[string]string `json:"params"`
	Reasons []string          `json:"reasons"`
	Object  *struct {
		Alg    string                     `json:"alg"` // of its signature; "none" for one that the provider has made of a form
		Claims map[string]json.RawMessage `json:"claims"`
	} `json:"object"`
}

// install brings the provider's packages.
func install(t *testing.T) (dir string) {
	t.Helper()
	return rig.NPM(t.Context(), t, "provider", "provider.mjs")
}

// start runs the provider.
func start(t *testing.T, dir string, said map[string]any) *provider {
	t.Helper()
	sig, enc := key(t), key(t)
	set := gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: sig, KeyID: "s1", Use: "sig", Algorithm: "RS256"}, {Key: enc, KeyID: "e1", Use: "enc", Algorithm: "RSA-OAEP-256"}}}
	if said["bare"] == true {
		set.Keys[0].Algorithm, set.Keys[1].Algorithm = "", ""
	}
	said["jwks"] = set
	raw, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "provider.mjs"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "UPSTREAM="+string(raw))
	p := &provider{key: &sig.PublicKey, log: &strings.Builder{}, asked: make(chan asked, 10)}
	cmd.Stderr = p.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, read := bufio.NewScanner(out), make(chan struct{})
	if lines.Scan() {
		p.issuer = lines.Text()
	}
	go func() {
		defer close(read)
		for lines.Scan() { // it may warn
			var a asked
			if json.Unmarshal(lines.Bytes(), &a) == nil {
				p.asked <- a
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		<-read
		_ = cmd.Wait() // however it ended
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	if !strings.HasPrefix(p.issuer, "http://localhost:") {
		t.Fatalf("the provider says %q", p.issuer)
	}
	return p
}

// request is what the provider was asked for in the next login.
func (p *provider) request(t *testing.T) asked {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case a := <-p.asked:
		return a
	case <-ctx.Done():
		t.Fatal("nobody was to log in")
		return asked{}
	}
}

// signed opens what the provider has signed.
func (p *provider) signed(t *testing.T, token []byte) (claims map[string]any) {
	t.Helper()
	j, err := gojose.ParseSignedCompact(string(token), []gojose.SignatureAlgorithm{gojose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := j.Verify(p.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func key(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pemOf(t *testing.T, k *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// secret has characters that neither half of a header carries as they are.
const secret = "a secret: 32 characters, 100% + more"

// register gives a client a secret, or a key, at the provider and in our
// settings.
func register(t *testing.T, keys bool) (client map[string]any, set openid.Settings) {
	t.Helper()
	client = map[string]any{"client_id": "us", "redirect_uris": []string{back}, "response_types": []string{"code"}, "grant_types": []string{"authorization_code"}, "id_token_signed_response_alg": "RS256"}
	set = openid.Settings{ClientID: "us", AllowHTTP: true}
	if !keys {
		client["token_endpoint_auth_method"], client["client_secret"] = "client_secret_basic", secret
		set.Auth, set.Secret = oidcrp.SecretBasic, secret
		return client, set
	}
	k := key(t)
	client["token_endpoint_auth_method"], client["token_endpoint_auth_signing_alg"] = "private_key_jwt", "RS256"
	client["jwks"] = gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: &k.PublicKey, KeyID: "sig1", Use: "sig", Algorithm: "RS256"}}}
	set.Auth, set.Keys = oidcrp.PrivateKeyJWT, []openid.Key{{ID: "sig1", Use: "sig", Alg: "RS256", PEM: pemOf(t, k)}}
	return client, set
}

// newBrowser has no session anywhere.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// browse follows a new browser's way until it is sent back to us.
func browse(t *testing.T, address string) url.Values {
	t.Helper()
	return browseIn(t, newBrowser(t), address)
}

func browseIn(t *testing.T, browser *http.Client, address string) url.Values {
	t.Helper()
	for range 12 {
		status, next := visit(t, browser, address)
		if next == nil {
			t.Fatalf("%s answers %d and leads nowhere", address, status)
		}
		if next.Host == "broker.example" {
			return next.Query()
		}
		address = next.String()
	}
	t.Fatal("the browser goes round and round")
	return nil
}

// stranded follows a browser's way to a page from which it is not sent on, and
// is the status of that page.
func stranded(t *testing.T, address string) int {
	t.Helper()
	browser := newBrowser(t)
	for range 12 {
		status, next := visit(t, browser, address)
		if next == nil {
			return status
		}
		if next.Host == "broker.example" {
			t.Fatalf("the browser comes back: %s", next)
		}
		address = next.String()
	}
	t.Fatal("the browser goes round and round")
	return 0
}

// visit opens one page; next is where it sends the browser.
func visit(t *testing.T, browser *http.Client, address string) (status int, next *url.URL) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // only where it leads counts
	if next, err = res.Location(); err != nil {
		next = nil
	}
	return res.StatusCode, next
}

// ask is a request of a session, by a party with these settings.
func ask(t *testing.T, settings any) *connector.Request {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return &connector.Request{Session: "s", Order: "o", Environment: eid.Test, Purpose: eid.Identify, CallbackURL: back, Settings: connector.Settings{Key: string(raw), Data: raw}}
}

// login logs somebody in with a connector: the address that the browser is sent
// to, and how it ends.
func login(t *testing.T, c connector.Connector, r *connector.Request, browser *http.Client) (address *url.URL, res connector.Result) {
	t.Helper()
	res, err := c.Begin(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	to, ok := res.Step.(connector.Redirect)
	if !ok {
		t.Fatalf("it begins with %#v", res.Step)
	}
	if address, err = url.Parse(to.URL); err != nil {
		t.Fatal(err)
	}
	q := browseIn(t, browser, to.URL)
	if res, err = c.Resume(t.Context(), r, res.State, connector.Returned{In: connector.Inbound{Method: http.MethodGet, Query: q}}); err != nil {
		t.Fatal(err)
	}
	if _, again := res.Step.(connector.Again); again {
		if res, err = c.Resume(t.Context(), r, res.State, connector.Tick{}); err != nil {
			t.Fatal(err)
		}
	}
	return address, res
}

// evidence is what a login has brought under a name.
func evidence(t *testing.T, res connector.Result, name string) []byte {
	t.Helper()
	for _, e := range res.Evidence {
		if e.Name == name {
			return e.Data
		}
	}
	t.Fatalf("no %s is kept", name)
	return nil
}

// newDirectory has fetched nothing yet.
func newDirectory() *oidcrp.Directory { return oidcrp.NewDirectory(http.DefaultTransport, time.Now) }
