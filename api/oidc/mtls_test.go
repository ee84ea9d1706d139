//go:debug x509usefallbackroots=1

package oidc_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/api/oidc"
	"eidgate/relying"
)

const mtlsPublic = "https://mtls.eid.example"

// A card is a certificate with its key.
type card struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes one that lasts from an hour before a time to a day after it. With
// issuer nil it is its own.
func issue(now time.Time, issuer *card, change ...func(*x509.Certificate)) *card {
	out := &card{key: newKey()}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	in := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Shop"}, CommonName: "client"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, f := range change {
		f(in)
	}
	by, signer := in, out.key
	if issuer != nil {
		by, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, in, by, &out.key.PublicKey, signer)
	if err == nil {
		out.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		panic(err)
	}
	return out
}

// authority makes a certificate one that issues others.
func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = pkix.Name{CommonName: name}, true, true, x509.KeyUsageCertSign, nil
	}
}

// hosts gives a certificate names of hosts beside its subject.
func hosts(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func (c *card) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw}))
}

// jwk is the key with its certificate.
func (c *card) jwk() object {
	return jwk(c.key).with("x5c", []string{base64.StdEncoding.EncodeToString(c.cert.Raw)})
}

// thumb is what tokens call the certificate.
func (c *card) thumb() string {
	sum := sha256.Sum256(c.cert.Raw)
	return b64(sum[:])
}

// header is the certificate as RFC 9440 writes it.
func (c *card) header() string { return ":" + base64.StdEncoding.EncodeToString(c.cert.Raw) + ":" }

func keySet(keys ...object) []byte {
	raw, err := json.Marshal(object{"keys": keys})
	if err != nil {
		panic(err)
	}
	return raw
}

// A desk is a world with a listener for certificates, and with who issues them.
type desk struct {
	*world
	listener *httptest.Server
	root     *card
}

// newDesk starts a listener that ends TLS, or with proxy one behind it.
func newDesk(t *testing.T, proxy func(*http.Request) bool) *desk {
	t.Helper()
	d := &desk{}
	d.world = newWorld(t, func(c *oidc.Config) {
		d.root = issue(c.Now(), nil, authority("root"))
		c.TLS = &oidc.MutualTLS{Public: mtlsPublic, Roots: x509.NewCertPool(), Proxy: proxy}
		c.TLS.Roots.AddCert(d.root.cert)
	})
	mux := http.NewServeMux()
	d.provider.RegisterTLS(mux)
	d.listener = httptest.NewUnstartedServer(mux)
	d.listener.Config.ErrorLog = log.New(io.Discard, "", 0)
	if proxy != nil {
		d.listener.Start()
	} else {
		d.listener.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
		d.listener.StartTLS()
	}
	t.Cleanup(d.listener.Close)
	return d
}

func (d *desk) issue(issuer *card, change ...func(*x509.Certificate)) *card {
	return issue(d.clock.Now(), issuer, change...)
}

// ask calls the listener over a new connection that shows certificates, the
// client's own first.
func (d *desk) ask(method, path string, shown []*card, header http.Header, body string) exchange {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.listener.URL+oidc.Root+"/connect/"+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if d.listener.TLS != nil {
		roots := x509.NewCertPool()
		roots.AddCert(d.listener.Certificate())
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			out := &tls.Certificate{}
			for _, c := range shown {
				out.Certificate = append(out.Certificate, c.cert.Raw)
			}
			if len(shown) > 0 {
				out.PrivateKey = shown[0].key
			}
			return out, nil
		}}
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	x := exchange{status: res.StatusCode, header: res.Header, body: string(raw)}
	_ = json.Unmarshal(raw, &x.json) // what is none stays nil
	return x
}

// show posts a form and shows certificates; pairs are further headers.
func (d *desk) show(path string, form url.Values, shown []*card, pairs ...string) exchange {
	d.t.Helper()
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return d.ask(http.MethodPost, path, shown, h, form.Encode())
}

// info asks userinfo at the listener.
func (d *desk) info(token any, shown ...*card) exchange {
	d.t.Helper()
	text, _ := token.(string)
	return d.ask(http.MethodGet, "userinfo", shown, http.Header{"Authorization": {"Bearer " + text}}, "")
}

// named registers a client whose certificate has a name.
func (d *desk) named(n relying.CertificateName, change ...func(*relying.Client)) *relying.Client {
	d.t.Helper()
	return d.client(append([]func(*relying.Client){func(c *relying.Client) { c.Auth, c.Secrets, c.Certificate = relying.TLS, nil, n }}, change...)...)
}

// pinned registers a client that has sent its certificates itself.
func (d *desk) pinned(cards ...*card) *relying.Client {
	d.t.Helper()
	var all []object
	for _, c := range cards {
		all = append(all, c.jwk())
	}
	return d.client(func(c *relying.Client) { c.Auth, c.Secrets, c.JWKS = relying.SelfSignedTLS, nil, keySet(all...) })
}

// itself asks for a token of the client's own.
func itself(c *relying.Client) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ID}}
}

// nobody holds that a client has not proven who it is.
func nobody(t *testing.T, x exchange) {
	t.Helper()
	if terr(t, x, "invalid_client"); x.status != http.StatusUnauthorized || x.json["access_token"] != nil {
		t.Errorf("%d %s, want 401", x.status, x.body)
	}
}

// unbound holds that an access token does not count.
func unbound(t *testing.T, x exchange) {
	t.Helper()
	if x.status != http.StatusUnauthorized || x.body != "" || !strings.Contains(x.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%d %s %s, want 401 invalid_token", x.status, x.header.Get("WWW-Authenticate"), x.body)
	}
}

func TestCertificateNames(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	uri, err := url.Parse("urn:shop:client")
	if err != nil {
		t.Fatal(err)
	}
	whole := d.issue(d.root, hosts("other.example", "client.shop.example"), func(c *x509.Certificate) {
		c.URIs, c.IPAddresses, c.EmailAddresses = []*url.URL{uri}, []net.IP{net.ParseIP("192.0.2.1")}, []string{"ops@shop.example"}
	})
	for _, n := range []relying.CertificateName{{Subject: "CN=client,O=Shop"}, {DNS: "client.shop.example"}, {URI: "urn:shop:client"}, {IP: "192.0.2.1"}, {Email: "ops@shop.example"}} {
		d.in(t, "OP-CA-08 one name", func(t *testing.T) {
			c := d.named(n)
			if x := d.show("token", itself(c), []*card{whole}); x.status != http.StatusOK || x.json["token_type"] != "Bearer" {
				t.Errorf("%+v: %d %s", n, x.status, x.body)
			}
			nobody(t, d.show("token", itself(c), []*card{d.issue(d.root, func(c *x509.Certificate) { c.Subject.CommonName = "client.shop.example" })}))
		})
	}
	between := d.issue(d.root, authority("between"))
	below := d.issue(between)
	c := d.named(relying.CertificateName{Subject: "CN=client,O=Shop"})
	d.in(t, "OP-CA-08 a chain", func(t *testing.T) {
		if x := d.show("token", itself(c), []*card{below, between}); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		nobody(t, d.show("token", itself(c), []*card{below}))
		nobody(t, d.show("token", itself(c), []*card{below, d.issue(nil, authority("between"))}))
		idle := slices.Repeat([]*card{d.root}, 7)
		if x := d.show("token", itself(c), append([]*card{below, between}, idle...)); x.status != http.StatusOK {
			t.Errorf("eight above: %d %s", x.status, x.body)
		}
		nobody(t, d.show("token", itself(c), append([]*card{below, between, d.root}, idle...)))
	})
	d.in(t, "OP-CA-08 roots of the client's own", func(t *testing.T) {
		other := d.issue(nil, authority("other"))
		strict := d.named(relying.CertificateName{Subject: "CN=client,O=Shop", Roots: other.pem()})
		if x := d.show("token", itself(strict), []*card{d.issue(other)}); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		nobody(t, d.show("token", itself(strict), []*card{d.issue(d.root)}))
		nobody(t, d.show("token", itself(c), []*card{d.issue(other)}))
	})
	d.in(t, "OP-CA-08 no usage at all", func(t *testing.T) {
		if x := d.show("token", itself(c), []*card{d.issue(d.root, func(c *x509.Certificate) { c.ExtKeyUsage = nil })}); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	good := d.issue(d.root)
	for name, shown := range map[string][]*card{
		"OP-CA-08 OP-MTLS-02 none":     nil,
		"OP-CA-08 expired":             {d.issue(d.root, func(c *x509.Certificate) { c.NotAfter = d.clock.Now().Add(-time.Minute) })},
		"OP-CA-08 not yet valid":       {d.issue(d.root, func(c *x509.Certificate) { c.NotBefore = d.clock.Now().Add(time.Minute) })},
		"OP-CA-08 its own issuer":      {d.issue(nil)},
		"OP-CA-08 a server's":          {d.issue(d.root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		"OP-CA-08 another client's":    {d.issue(d.root, func(c *x509.Certificate) { c.Subject.CommonName = "other" })},
		"OP-CA-08 issued by a client":  {d.issue(good), good},
		"OP-CA-08 the issuer itself":   {d.root},
		"OP-CA-08 the good one behind": {d.issue(nil, func(c *x509.Certificate) { c.Subject.CommonName = "evil" }), good},
	} {
		d.in(t, name, func(t *testing.T) {
			nobody(t, d.show("token", itself(c), shown))
			nobody(t, d.show("introspect", url.Values{"client_id": {c.ID}, "token": {"x"}}, shown))
		})
	}
	secret := d.client()
	bearer := d.client(func(c *relying.Client) { c.Auth, c.Secrets, c.RequirePKCE = relying.Public, nil, true })
	for name, x := range map[string]func() exchange{
		"OP-CA-01 a secret is wanted": func() exchange { return d.show("token", itself(secret), []*card{good}) },
		"OP-CA-01 a secret beside it": func() exchange {
			f := itself(c)
			f.Set("client_secret", "secret")
			return d.show("token", f, []*card{good})
		},
		"OP-CA-01 Basic beside it": func() exchange {
			return d.show("token", itself(c), []*card{good}, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.ID+":secret")))
		},
		"OP-CA-01 an assertion in place": func() exchange {
			return d.show("token", asserted(itself(c), jws(newKey(), es256, d.assertion(c))), []*card{good})
		},
		"OP-CA-08 nobody is named": func() exchange { f := itself(c); f.Del("client_id"); return d.show("token", f, []*card{good}) },
		"OP-CA-08 nobody has the id": func() exchange {
			f := itself(c)
			f.Set("client_id", "nobody")
			return d.show("token", f, []*card{good})
		},
		"OP-CA-08 at the public listener": func() exchange { return d.form("token", itself(c), "Client-Cert", good.header()) },
		"OP-CA-08 introspection of no one's": func() exchange {
			return d.show("introspect", url.Values{"client_id": {bearer.ID}, "token": {"x"}}, []*card{good})
		},
	} {
		d.in(t, name, func(t *testing.T) { nobody(t, x()) })
	}
	d.in(t, "OP-CA-08 errors of the profile signicat", func(t *testing.T) {
		old := d.named(relying.CertificateName{Subject: "CN=client,O=Shop"}, func(c *relying.Client) { c.Profile = relying.Signicat })
		if x := d.show("token", itself(old), nil); x.status != http.StatusBadRequest || x.json["error"] != "invalid_client" {
			t.Errorf("%d %s", x.status, x.body)
		}
		if x := d.show("token", itself(old), []*card{good}); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	d.in(t, "OP-CA-08 the roots of this machine are nobody's", func(t *testing.T) {
		bare := newWorld(t, func(c *oidc.Config) {
			c.TLS = &oidc.MutualTLS{Public: mtlsPublic, Proxy: func(*http.Request) bool { return true }}
		})
		mux := http.NewServeMux()
		bare.provider.RegisterTLS(mux)
		b := &desk{world: bare, listener: httptest.NewServer(mux)}
		defer b.listener.Close()
		id := b.issue(machine())
		if _, err := id.cert.Verify(x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Fatal(err)
		}
		nobody(t, b.show("token", itself(b.named(relying.CertificateName{Subject: "CN=client,O=Shop"})), nil, "Client-Cert", id.header()))
		nobody(t, d.show("token", itself(c), []*card{id}))
	})
}

// machine is who this machine believes, in place of those who issue for the web.
var machine = sync.OnceValue(func() *card {
	root := issue(time.Now(), nil, authority("machine"))
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	x509.SetFallbackRoots(roots) // by the directive above
	return root
})

func TestSelfSignedCertificates(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	first, second, late := d.issue(nil), d.issue(nil), d.issue(nil, func(c *x509.Certificate) { c.NotAfter = d.clock.Now().Add(-time.Minute) })
	early := d.issue(nil, func(c *x509.Certificate) { c.NotBefore = d.clock.Now().Add(time.Minute) })
	c := d.pinned(first, second, late, early)
	d.in(t, "OP-CA-08 one of the client's", func(t *testing.T) {
		for _, id := range []*card{first, second} {
			if x := d.show("token", itself(c), []*card{id}); x.status != http.StatusOK {
				t.Errorf("%d %s", x.status, x.body)
			}
		}
	})
	// The same key and the same name are not the same certificate.
	der, err := x509.CreateCertificate(rand.Reader, first.cert, first.cert, &first.key.PublicKey, first.key)
	if err != nil {
		t.Fatal(err)
	}
	again, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	chained := d.issue(d.root)
	bare := d.client(func(c *relying.Client) {
		c.Auth, c.Secrets, c.JWKS = relying.SelfSignedTLS, nil, keySet(jwk(first.key), second.jwk())
	})
	sealed := d.client(func(c *relying.Client) {
		c.Auth, c.Secrets, c.JWKS = relying.SelfSignedTLS, nil, keySet(first.jwk().with("use", "enc"), second.jwk())
	})
	for name, x := range map[string]func() exchange{
		"OP-CA-08 none of its own":               func() exchange { return d.show("token", itself(c), nil) },
		"OP-CA-08 expired and its own":           func() exchange { return d.show("token", itself(c), []*card{late}) },
		"OP-CA-08 its own and not yet valid":     func() exchange { return d.show("token", itself(c), []*card{early}) },
		"OP-CA-08 a new one of its key":          func() exchange { return d.show("token", itself(c), []*card{{again, first.key}}) },
		"OP-CA-08 another one's":                 func() exchange { return d.show("token", itself(d.pinned(second)), []*card{first}) },
		"OP-CA-08 one under the roots":           func() exchange { return d.show("token", itself(c), []*card{chained}) },
		"OP-CA-08 its own behind another":        func() exchange { return d.show("token", itself(c), []*card{chained, first}) },
		"OP-CA-08 a key without its certificate": func() exchange { return d.show("token", itself(bare), []*card{first}) },
		"OP-CA-08 a key that encrypts":           func() exchange { return d.show("token", itself(sealed), []*card{first}) },
	} {
		d.in(t, name, func(t *testing.T) { nobody(t, x()) })
	}
	d.in(t, "OP-CA-06 certificates by URL change without a restart", func(t *testing.T) {
		const at = "https://shop.example/jwks"
		d.docs[at] = keySet(first.jwk())
		c := d.client(func(c *relying.Client) { c.Auth, c.Secrets, c.JWKSURI = relying.SelfSignedTLS, nil, at })
		if x := d.show("token", itself(c), []*card{first}); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		d.mu.Lock()
		d.docs[at] = keySet(second.jwk())
		d.mu.Unlock()
		if x := d.show("token", itself(c), []*card{second}); x.status != http.StatusOK {
			t.Errorf("a new one: %d %s", x.status, x.body)
		}
		nobody(t, d.show("token", itself(c), []*card{first}))
		if d.fetched != 2 {
			t.Errorf("fetched %d times", d.fetched)
		}
	})
}

func TestBoundToCertificates(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	good, other := d.issue(d.root, hosts("client.shop.example")), d.issue(d.root, hosts("client.shop.example"))
	c := d.named(relying.CertificateName{DNS: "client.shop.example"}, func(c *relying.Client) { c.BoundTLS = true })
	login := func(c *relying.Client, shown ...*card) exchange {
		return d.show("token", redeem(d.code(d.visitor(), request(c, "scope", "openid profile offline_access")), "client_id", c.ID), shown)
	}
	d.in(t, "OP-MTLS-01 only with the certificate", func(t *testing.T) {
		got := login(c, good)
		if got.status != http.StatusOK || got.json["token_type"] != "Bearer" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		token, _ := got.json["access_token"].(string)
		if x := d.info(token, good); x.status != http.StatusOK || x.json["name"] != "Ada Test" {
			t.Errorf("%d %s", x.status, x.body)
		}
		unbound(t, d.info(token))
		unbound(t, d.info(token, other))
		unbound(t, d.info(token, d.root))
		unbound(t, d.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + token}}, nil))
		unbound(t, d.send("GET", "userinfo", http.Header{"Authorization": {"Bearer " + token}, "Client-Cert": {good.header()}}, nil))
		key := d.dpop()
		h := http.Header{"Authorization": {"DPoP " + token}, "Dpop": {jws(key.key, key.header(), key.forToken(token).with("htu", mtlsPublic+oidc.Root+"/connect/userinfo"))}}
		if x := d.ask("GET", "userinfo", []*card{good}, h, ""); x.status != http.StatusUnauthorized || !strings.Contains(x.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("as DPoP: %d %v", x.status, x.header)
		}
		x := d.show("introspect", url.Values{"client_id": {c.ID}, "token": {token}}, []*card{good})
		if cnf, _ := x.json["cnf"].(map[string]any); x.json["active"] != true || x.json["token_type"] != "Bearer" || len(cnf) != 1 || cnf["x5t#S256"] != good.thumb() {
			t.Errorf("introspection: %s", x.body)
		}
	})
	d.in(t, "OP-MTLS-02 no certificate, no tokens", func(t *testing.T) {
		secret := d.client(func(c *relying.Client) { c.BoundTLS = true })
		f := itself(secret)
		f.Set("client_secret", "secret")
		post := d.client(func(c *relying.Client) { c.BoundTLS, c.Auth = true, relying.SecretPost })
		f.Set("client_id", post.ID)
		terr(t, d.show("token", f, nil), "invalid_request")
		terr(t, d.form("token", f), "invalid_request")
		terr(t, d.form("token", f, "Client-Cert", good.header()), "invalid_request")
		terr(t, d.show("token", f, []*card{good}, "DPoP", jws(newKey(), d.dpop().header(), object{})), "invalid_dpop_proof")
		key := d.dpop()
		terr(t, d.show("token", f, []*card{good}, "DPoP", jws(key.key, key.header(), key.claims("POST", "token").with("htu", mtlsPublic+oidc.Root+"/connect/token"))), "invalid_request")
		if x := d.show("token", f, []*card{d.issue(nil)}); x.status != http.StatusOK { // whose it is does not matter: it is the same later
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	d.in(t, "OP-MTLS-01 a client may renew its certificate", func(t *testing.T) {
		got := login(c, good)
		refresh, _ := got.json["refresh_token"].(string)
		again := d.show("token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {c.ID}}, []*card{other})
		if again.status != http.StatusOK {
			t.Fatalf("%d %s", again.status, again.body)
		}
		if x := d.info(again.json["access_token"], other); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		unbound(t, d.info(again.json["access_token"], good))
		if x := d.info(got.json["access_token"], good); x.status != http.StatusOK {
			t.Errorf("the first one: %d %s", x.status, x.body)
		}
	})
	d.in(t, "OP-MTLS-01 a refresh token of one that proves nothing", func(t *testing.T) {
		free := d.client(func(c *relying.Client) { c.Auth, c.Secrets, c.BoundTLS = relying.Public, nil, true })
		verifier := strings.Repeat("v", 43)
		code := d.code(d.visitor(), request(free, "scope", "openid offline_access", "code_challenge", challenge(verifier), "code_challenge_method", "S256"))
		got := d.show("token", redeem(code, "client_id", free.ID, "code_verifier", verifier), []*card{good})
		refresh, _ := got.json["refresh_token"].(string)
		f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {free.ID}}
		terr(t, d.show("token", f, []*card{other}), "invalid_grant")
		terr(t, d.show("token", f, nil), "invalid_request")
		if x := d.show("token", f, []*card{good}); x.status != http.StatusOK || x.json["refresh_token"] != refresh {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	d.in(t, "OP-MTLS-01 JWTs say it", func(t *testing.T) {
		old := d.named(relying.CertificateName{DNS: "client.shop.example"}, func(c *relying.Client) { c.BoundTLS, c.Profile = true, relying.Signicat })
		got := d.show("token", itself(old), []*card{good})
		_, claims := d.verified(got.json["access_token"])
		if cnf, _ := claims["cnf"].(map[string]any); len(cnf) != 1 || cnf["x5t#S256"] != good.thumb() {
			t.Errorf("cnf is %v", claims["cnf"])
		}
		text, _ := got.json["access_token"].(string)
		x := d.show("introspect", url.Values{"client_id": {old.ID}, "token": {text}}, []*card{good})
		if cnf, _ := x.json["cnf"].(map[string]any); cnf["x5t#S256"] != good.thumb() || cnf["jkt"] != nil {
			t.Errorf("introspection: %s", x.body)
		}
		unbound(t, d.info(text, other))
	})
	d.in(t, "OP-MTLS-01 without the setting tokens are bearers'", func(t *testing.T) {
		plain := d.named(relying.CertificateName{DNS: "client.shop.example"})
		got := login(plain, good)
		text, _ := got.json["access_token"].(string)
		if status, _, _ := d.userinfo(text); status != http.StatusOK {
			t.Errorf("%d", status)
		}
	})
}

func TestFAPIWithCertificates(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	good, other := d.issue(d.root), d.issue(d.root)
	verifier := strings.Repeat("v", 43)
	// push lets a client begin a login there.
	push := func(t *testing.T, c *relying.Client, add func(url.Values) url.Values, pairs ...string) url.Values {
		t.Helper()
		x := d.show("par", add(request(c, "scope", "openid offline_access", "code_challenge", challenge(verifier), "code_challenge_method", "S256")), []*card{good}, pairs...)
		uri, _ := x.json["request_uri"].(string)
		if x.status != http.StatusCreated {
			t.Fatalf("%d %s", x.status, x.body)
		}
		return url.Values{"client_id": {c.ID}, "request_uri": {uri}}
	}
	asIs := func(f url.Values) url.Values { return f }
	at := func(endpoint string) string { return mtlsPublic + oidc.Root + "/connect/" + endpoint }
	for _, auth := range []relying.AuthMethod{relying.TLS, relying.SelfSignedTLS} {
		register := func(bound bool) *relying.Client {
			strict := func(c *relying.Client) { c.Profile, c.BoundTLS = relying.FAPI2, bound }
			if auth == relying.TLS {
				return d.named(relying.CertificateName{Subject: "CN=client,O=Shop"}, strict)
			}
			return d.client(strict, func(c *relying.Client) { c.Auth, c.Secrets, c.JWKS = auth, nil, keySet(good.jwk()) })
		}
		d.in(t, "OP-TOK-05 certificate in both places", func(t *testing.T) {
			c := register(true)
			got := d.show("token", redeem(d.code(d.visitor(), push(t, c, asIs)), "client_id", c.ID, "code_verifier", verifier), []*card{good})
			if got.status != http.StatusOK || got.json["token_type"] != "Bearer" {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if x := d.info(got.json["access_token"], good); x.status != http.StatusOK {
				t.Errorf("%d %s", x.status, x.body)
			}
			unbound(t, d.info(got.json["access_token"], other))
			unbound(t, d.info(got.json["access_token"]))
			unbound(t, d.show("userinfo", url.Values{"access_token": {got.json["access_token"].(string)}}, []*card{good})) // FAPI 2.0: in the header alone
		})
		d.in(t, "OP-TOK-05 certificate for the client, key for its tokens", func(t *testing.T) {
			c, key := register(false), d.dpop()
			proof := func(endpoint string) string {
				return jws(key.key, key.header(), key.claims("POST", endpoint).with("htu", at(endpoint)))
			}
			q := push(t, c, asIs, "DPoP", proof("par"))
			got := d.show("token", redeem(d.code(d.visitor(), q), "client_id", c.ID, "code_verifier", verifier), []*card{good}, "DPoP", proof("token"))
			if got.status != http.StatusOK || got.json["token_type"] != "DPoP" {
				t.Fatalf("%d %s", got.status, got.body)
			}
			text, _ := got.json["access_token"].(string)
			h := http.Header{"Authorization": {"DPoP " + text}, "Dpop": {jws(key.key, key.header(), key.forToken(text).with("htu", at("userinfo")))}}
			if x := d.ask("GET", "userinfo", nil, h, ""); x.status != http.StatusOK {
				t.Errorf("%d %s", x.status, x.body)
			}
			unbound(t, d.info(text, good))
			// The certificate does not stand in for the key.
			terr(t, d.show("token", redeem(d.code(d.visitor(), push(t, c, asIs, "DPoP", proof("par"))), "client_id", c.ID, "code_verifier", verifier), []*card{good}), "invalid_request")
		})
	}
	key := newKey()
	c := d.client(func(c *relying.Client) {
		c.Profile, c.Auth, c.Secrets, c.JWKS, c.BoundTLS = relying.FAPI2, relying.PrivateKeyJWT, nil, jwks("rp", key), true
	})
	sign := func(change ...any) func(url.Values) url.Values {
		return func(f url.Values) url.Values { return asserted(f, jws(key, es256, d.assertion(c, change...))) }
	}
	d.in(t, "OP-TOK-05 key for the client, certificate for its tokens", func(t *testing.T) {
		code := d.code(d.visitor(), push(t, c, sign()))
		f := sign()(redeem(code, "client_id", c.ID, "code_verifier", verifier))
		got := d.show("token", f, []*card{other})
		if got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
		unbound(t, d.info(got.json["access_token"], good))
		if x := d.info(got.json["access_token"], other); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		refresh, _ := got.json["refresh_token"].(string)
		terr(t, d.form("token", sign()(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})), "invalid_request")
	})
	d.in(t, "OP-TOK-05 neither key nor certificate", func(t *testing.T) {
		terr(t, d.show("token", sign()(itself(c)), nil), "invalid_request")
		terr(t, d.form("token", sign()(itself(c))), "invalid_request")
	})
	d.in(t, "OP-CA-04 the listener is no audience of a strict client", func(t *testing.T) {
		nobody(t, d.show("token", sign("aud", at("token"))(itself(c)), []*card{good}))
	})
	d.in(t, "OP-CA-03 the listener is an audience of others, there alone", func(t *testing.T) {
		plain := d.client(func(c *relying.Client) { c.Auth, c.Secrets, c.JWKS = relying.PrivateKeyJWT, nil, jwks("rp", key) })
		with := func(aud string) url.Values {
			f := itself(plain)
			f.Set("token", "x")
			return asserted(f, jws(key, es256, d.assertion(plain, "aud", aud)))
		}
		for _, endpoint := range []string{"token", "introspect"} {
			for _, aud := range []string{issuer, at("token"), at(endpoint), issuer + "/connect/token"} {
				if x := d.show(endpoint, with(aud), nil); x.status != http.StatusOK {
					t.Errorf("%s at %s: %d %s", aud, endpoint, x.status, x.body)
				}
			}
			nobody(t, d.form(endpoint, with(at("token"))))
		}
	})
	d.in(t, "OP-DPOP-07 a proof for the other listener", func(t *testing.T) {
		k := d.dpop()
		terr(t, d.show("token", sign()(itself(c)), nil, "DPoP", k.proof("token")), "invalid_dpop_proof")
		terr(t, d.form("token", sign()(itself(c)), "DPoP", jws(k.key, k.header(), k.claims("POST", "token").with("htu", at("token")))), "invalid_dpop_proof")
	})
}

// TestNeitherTLSNorProxy: where nobody ends TLS, nobody has shown anything.
func TestNeitherTLSNorProxy(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	mux := http.NewServeMux()
	d.provider.RegisterTLS(mux)
	d.listener = httptest.NewServer(mux)
	t.Cleanup(d.listener.Close)
	nobody(t, d.show("token", itself(d.named(relying.CertificateName{Subject: "CN=client,O=Shop"})), nil))
	unbound(t, d.info("x"))
}

// TestClientCertHeader has a proxy in front, which ends TLS.
func TestClientCertHeader(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(r *http.Request) bool { return r.Header.Get("X-From") != "elsewhere" })
	between := d.issue(d.root, authority("between"))
	good := d.issue(between, hosts("client.shop.example"))
	for len(good.cert.Raw)%3 == 0 { // the lengths of signatures differ
		good = d.issue(between, hosts("client.shop.example"))
	}
	c := d.named(relying.CertificateName{DNS: "client.shop.example"}, func(c *relying.Client) { c.BoundTLS = true })
	chain := []string{"Client-Cert", good.header(), "Client-Cert-Chain", between.header() + ", " + d.root.header()}
	d.in(t, "OP-MTLS-03 a proxy says what it was shown", func(t *testing.T) {
		for _, h := range [][]string{chain, {"Client-Cert", " " + good.header() + "\t", "Client-Cert-Chain", d.root.header(), "Client-Cert-Chain", between.header()}} {
			got := d.show("token", itself(c), nil, h...)
			x := d.show("introspect", url.Values{"client_id": {c.ID}, "token": {got.json["access_token"].(string)}}, nil, h...)
			if cnf, _ := x.json["cnf"].(map[string]any); got.status != http.StatusOK || cnf["x5t#S256"] != good.thumb() {
				t.Errorf("%d %s: %s", got.status, got.body, x.body)
			}
		}
	})
	d.in(t, "OP-MTLS-03 no certificate, and another proof", func(t *testing.T) {
		f := itself(d.client(func(c *relying.Client) { c.Auth = relying.SecretPost }))
		f.Set("client_secret", "secret")
		if x := d.show("token", f, nil); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
		nobody(t, d.show("token", f, nil, "Client-Cert", "::")) // it cannot say what it was shown
	})
	der := good.header()
	last := strings.IndexByte(der, '=') - 1
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	huge, err := x509.CreateCertificate(rand.Reader, d.root.cert, d.root.cert, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}, d.root.key)
	if err != nil {
		t.Fatal(err)
	}
	idle := der[:last] + string(letters[strings.IndexByte(letters, der[last])+1]) + der[last+1:]
	for name, h := range map[string][]string{
		"OP-CA-08 no header":               nil,
		"OP-CA-08 two headers":             {"Client-Cert", der, "Client-Cert", der, "Client-Cert-Chain", between.header()},
		"OP-CA-08 two in one":              {"Client-Cert", der + ", " + der, "Client-Cert-Chain", between.header()},
		"OP-CA-08 a chain alone":           {"Client-Cert-Chain", der + ", " + between.header()},
		"OP-CA-08 no colons":               {"Client-Cert", strings.Trim(der, ":")},
		"OP-CA-08 half a colon":            {"Client-Cert", ":"},
		"OP-CA-08 empty":                   {"Client-Cert", ""},
		"OP-CA-08 nothing between":         {"Client-Cert", "::"},
		"OP-CA-08 a parameter":             {"Client-Cert", der + ";a=1"},
		"OP-CA-08 no padding":              {"Client-Cert", ":" + base64.RawStdEncoding.EncodeToString(append(good.cert.Raw[:len(good.cert.Raw):len(good.cert.Raw)], 0)) + ":"},
		"OP-CA-08 bits that say nothing":   {"Client-Cert", idle, "Client-Cert-Chain", between.header()},
		"OP-CA-08 the alphabet of URLs":    {"Client-Cert", strings.NewReplacer("+", "-", "/", "_").Replace(der)},
		"OP-CA-08 PEM, escaped":            {"Client-Cert", url.QueryEscape(good.pem())},
		"OP-CA-08 no certificate":          {"Client-Cert", ":aGVsbG8=:"},
		"OP-CA-08 something behind it":     {"Client-Cert", ":" + base64.StdEncoding.EncodeToString(append(good.cert.Raw[:len(good.cert.Raw):len(good.cert.Raw)], 5, 0)) + ":"},
		"OP-CA-08 a chain that is broken":  {"Client-Cert", der, "Client-Cert-Chain", between.header() + ", "},
		"OP-CA-08 a key of 8193 bits":      {"Client-Cert", der, "Client-Cert-Chain", between.header() + ", :" + base64.StdEncoding.EncodeToString(huge) + ":"},
		"OP-CA-08 a chain of nine":         {"Client-Cert", der, "Client-Cert-Chain", strings.Join(slices.Repeat([]string{between.header()}, 9), ",")},
		"OP-MTLS-03 from another address":  append([]string{"X-From", "elsewhere"}, chain...),
		"OP-MTLS-03 an address without it": {"X-From", "elsewhere"},
	} {
		d.in(t, name, func(t *testing.T) {
			nobody(t, d.show("token", itself(c), nil, h...))
			nobody(t, d.show("par", request(c), nil, h...))
		})
	}
	d.in(t, "OP-MTLS-03 a token behind a header of others", func(t *testing.T) {
		token, _ := d.show("token", itself(c), nil, chain...).json["access_token"].(string)
		for _, h := range []http.Header{
			{"Client-Cert": {der}, "X-From": {"elsewhere"}}, {"Client-Cert": {der, der}}, {"Client-Cert": {"::"}}, {"Client-Cert": {between.header()}}, {},
		} {
			h.Set("Authorization", "Bearer "+token)
			unbound(t, d.ask("GET", "userinfo", nil, h, ""))
		}
		if x := d.ask("GET", "userinfo", nil, http.Header{"Authorization": {"Bearer " + token}, "Client-Cert": {der}}, ""); x.status != http.StatusForbidden { // it has no person
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	d.in(t, "OP-MTLS-03 where the connection counts, a header is a lie", func(t *testing.T) {
		straight := newDesk(t, nil)
		id := straight.issue(straight.root)
		c := straight.named(relying.CertificateName{Subject: "CN=client,O=Shop"})
		nobody(t, straight.show("token", itself(c), nil, "Client-Cert", id.header()))
		nobody(t, straight.show("token", itself(c), []*card{id}, "Client-Cert", id.header()))
		nobody(t, straight.show("token", itself(c), []*card{id}, "Client-Cert-Chain", straight.root.header()))
		if x := straight.show("token", itself(c), []*card{id}); x.status != http.StatusOK {
			t.Errorf("%d %s", x.status, x.body)
		}
	})
	if text := d.log.String(); !strings.Contains(text, "certificate refused") || strings.Contains(text, strings.Trim(der, ":")[:40]) || strings.Contains(text, "client.shop.example") {
		t.Error("the log does not say that a certificate was refused, or says whose")
	}
}

func TestCertificatesInMetadata(t *testing.T) {
	t.Parallel()
	const at = oidc.Root + "/.well-known/openid-configuration"
	d := newDesk(t, nil)
	d.in(t, "OP-DISC-09", func(t *testing.T) {
		x := d.send("GET", at, nil, nil)
		aliases, _ := x.json["mtls_endpoint_aliases"].(map[string]any)
		for _, name := range []string{"token", "userinfo", "revocation", "introspection", "pushed_authorization_request"} {
			public, _ := x.json[name+"_endpoint"].(string)
			if want := strings.Replace(public, "https://eid.example", mtlsPublic, 1); aliases[name+"_endpoint"] != want || public == "" {
				t.Errorf("%s is at %v, want %s", name, aliases[name+"_endpoint"], want)
				continue
			}
			path := strings.TrimPrefix(public, issuer+"/connect/")
			if got := d.ask("PUT", path, nil, nil, ""); got.status != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d", path, got.status)
			}
		}
		methods, _ := x.json["token_endpoint_auth_methods_supported"].([]any)
		if len(aliases) != 5 || x.json["tls_client_certificate_bound_access_tokens"] != true || !slices.Contains(methods, "tls_client_auth") || !slices.Contains(methods, "self_signed_tls_client_auth") {
			t.Errorf("%s", x.body)
		}
		for _, path := range []string{"authorize", "endsession"} { // for browsers
			if got := d.ask("GET", path, nil, nil, ""); got.status != http.StatusNotFound {
				t.Errorf("%s: %d", path, got.status)
			}
		}
	})
	d.in(t, "OP-DISC-09 nothing of it without the listener", func(t *testing.T) {
		w := newWorld(t)
		if x := w.send("GET", at, nil, nil); strings.Contains(x.body, "tls") {
			t.Errorf("%s", x.body)
		}
		c := w.client(func(c *relying.Client) {
			c.Auth, c.Secrets, c.Certificate = relying.TLS, nil, relying.CertificateName{Subject: "CN=client,O=Shop"}
		})
		x := w.form("token", itself(c), "Client-Cert", d.issue(d.root).header())
		if terr(t, x, "invalid_client"); x.status != http.StatusUnauthorized {
			t.Errorf("%d", x.status)
		}
	})
}
