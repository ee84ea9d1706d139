//go:build unix

package oidc_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"

	"eidgate/relying"
)

// spent is the processor time of this process so far. Other than the time on
// the wall it does not say what else the machine does.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// signature is what one of RS256 costs here: by it the others are measured,
// whatever the machine.
func signature(b *testing.B) float64 {
	b.Helper()
	const n = 200
	k := keys()["RS256"].(*rsa.PrivateKey)
	sum := sha256.Sum256([]byte("x"))
	start := spent(b)
	for range n {
		if _, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:]); err != nil {
			b.Fatal(err)
		}
	}
	return float64(spent(b)-start) / n
}

// measure runs f and reports how many RS256 signatures it costs, the client's
// half of it included.
func measure(b *testing.B, f func()) {
	b.Helper()
	one := signature(b)
	b.ResetTimer()
	start := spent(b)
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(spent(b)-start)/float64(b.N)/one, "signatures/op")
}

// BenchmarkLogin is a whole login over HTTP, from the request to userinfo, of a
// person whose eID acts at once.
func BenchmarkLogin(b *testing.B) {
	w := newWorld(b)
	c := w.client()
	measure(b, func() {
		out := w.tokens(c, w.visitor())
		if status, _, _ := w.userinfo(out["access_token"].(string)); status != 200 {
			b.Fatal(status)
		}
	})
}

// BenchmarkSilent is a login that uses an earlier one again.
func BenchmarkSilent(b *testing.B) {
	w := newWorld(b)
	c := w.client()
	v := w.visitor()
	w.tokens(c, v)
	measure(b, func() { w.tokens(c, v, "prompt", "none") })
}

// BenchmarkClientCredentials is a client's own token, with an opaque one and
// with a JWT.
func BenchmarkClientCredentials(b *testing.B) {
	for _, profile := range []relying.Profile{relying.Standard, relying.Signicat} {
		b.Run(string(profile), func(b *testing.B) {
			w := newWorld(b)
			c := w.client(func(c *relying.Client) { c.Profile = profile })
			form := url.Values{"grant_type": {"client_credentials"}}
			measure(b, func() {
				if x := w.form("token", form, basic(c)...); x.status != 200 {
					b.Fatal(x.body)
				}
			})
		})
	}
}

// BenchmarkPublic is what every library fetches, without the network.
func BenchmarkPublic(b *testing.B) {
	for name, path := range map[string]string{"discovery": "/auth/open/.well-known/openid-configuration", "keys": "/auth/open/.well-known/openid-configuration/jwks"} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			req := httptest.NewRequestWithContext(b.Context(), "GET", path, nil)
			measure(b, func() {
				res := httptest.NewRecorder()
				if w.server.Config.Handler.ServeHTTP(res, req); res.Code != 200 {
					b.Fatal(res.Code)
				}
			})
		})
	}
}
