package oidcrp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/internal/oidcrp"
)

// A many answers for any number of providers, without a network.
type many struct{ keys []byte }

func (m many) RoundTrip(r *http.Request) (*http.Response, error) {
	body := string(m.keys)
	if base, ok := strings.CutSuffix(r.URL.String(), "/.well-known/openid-configuration"); ok {
		body = fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`, base, base+"/a", base+"/t", base+"/k")
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// TestMemory: what ten thousand accounts keep, at one provider and at one each.
// It measures, and so runs alone.
func TestMemory(t *testing.T) {
	keys, err := json.Marshal(gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{
		{Key: &rsaKeys()[0].PublicKey, KeyID: "s1", Use: "sig", Algorithm: "RS256"}, {Key: &rsaKeys()[1].PublicKey, KeyID: "e1", Use: "enc", Algorithm: "RSA-OAEP-256"}}})
	if err != nil {
		t.Fatal(err)
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // what finalizers have let go
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const accounts = 10_000
	for _, x := range []struct {
		name      string
		providers int
		max       int64 // bytes: of clients, and of at most 1024 providers
	}{{"one provider", 1, 8 << 20}, {"a provider each", accounts, 12 << 20}} {
		before := heap()
		d := oidcrp.NewDirectory(many{keys}, time.Now)
		clients := make([]*oidcrp.Client, accounts)
		for i := range clients {
			issuer := fmt.Sprintf("https://p%d.example", i%x.providers)
			c, err := oidcrp.New(oidcrp.Config{Issuer: issuer, ClientID: "me", Auth: oidcrp.SecretPost, Secret: fmt.Sprint(i)}, d)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Begin(t.Context(), oidcrp.Request{}); err != nil {
				t.Fatal(err)
			}
			_, err = c.Read(t.Context(), &oidcrp.Login{}, []byte(`{"access_token":"a","token_type":"bearer","id_token":"`+idle+`"}`), time.Now())
			if e, ok := errors.AsType[*oidcrp.Error](err); !ok || e.Kind != oidcrp.BadIDToken { // by then it has the keys
				t.Fatal(err)
			}
			clients[i] = c
		}
		grown := heap() - before
		t.Logf("%s: %d KiB", x.name, grown>>10)
		if grown > x.max {
			t.Errorf("%s: %d accounts keep %d bytes, want at most %d", x.name, accounts, grown, x.max)
		}
		runtime.KeepAlive(clients)
		runtime.KeepAlive(d)
	}
}

// idle is a token with a name that is published and a signature that is none:
// {"alg":"RS256","kid":"s1"}.
const idle = "eyJhbGciOiJSUzI1NiIsImtpZCI6InMxIn0.e30.AAAA"

// FuzzMetadata: what a provider publishes is whole, or nothing.
func FuzzMetadata(f *testing.F) {
	const issuer = "https://p.example"
	f.Add(`{"issuer":"https://p.example","authorization_endpoint":"https://p.example/a","token_endpoint":"https://p.example/t","jwks_uri":"https://p.example/k"}`)
	f.Add(`{"issuer":"https://p.example","issuer":"https://other.example"}`)
	f.Fuzz(func(t *testing.T, in string) {
		c, err := oidcrp.New(oidcrp.Config{Issuer: issuer, ClientID: "me", Auth: oidcrp.SecretPost, Secret: "s"}, oidcrp.NewDirectory(says(in), time.Now))
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Metadata(t.Context())
		if err != nil {
			return
		}
		for _, at := range []string{m.Issuer, m.Authorization, m.Token, m.JWKS} {
			if m.Issuer != issuer || !strings.HasPrefix(strings.ToLower(at), "https://") {
				t.Errorf("%q is good enough", in)
			}
		}
	})
}

// says answers everything with one text.
type says string

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(s))), Request: r}, nil
}

// FuzzUserInfo: nothing that is said without a signature counts.
func FuzzUserInfo(f *testing.F) {
	p := newProvider(f)
	tokens, info, err := p.login(f, p.client(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(info.Signed)
	f.Add(`{"sub":"person"}`)
	f.Add("e30.e30.e30.e30.e30")
	at := &instead{}
	c := p.clientOf(f, oidcrp.NewDirectory(at, p.watch.now))
	f.Fuzz(func(t *testing.T, in string) {
		at.userInfo = says(in)
		if got, err := c.UserInfo(t.Context(), tokens); err == nil && strings.TrimSpace(in) != got.Signed {
			t.Errorf("%q is good enough", in)
		}
	})
}

// instead is the network, except for UserInfo.
type instead struct{ userInfo says }

func (i *instead) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/userinfo" {
		return i.userInfo.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}
