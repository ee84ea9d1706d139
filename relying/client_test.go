package relying_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/eid"
	"eidgate/relying"
)

var now = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

const publicJWK = `{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`

// shop is a client without faults.
func shop() *relying.Client {
	return &relying.Client{ID: "sandbox-quiet-river-417", Account: "acme", Environment: eid.Test, Name: "Shop", Profile: relying.Signicat,
		Redirects: []string{"https://shop.example/cb"}, Scopes: []string{"openid", "profile"}, Auth: relying.SecretBasic,
		Secrets: []relying.ClientSecret{{Name: "first", Hash: relying.HashSecret("s3cret")}}}
}

// strict is a client of FAPI 2.0 without faults.
func strict() *relying.Client {
	return &relying.Client{ID: "bank", Account: "acme", Environment: eid.Live, Name: "Bank", Profile: relying.FAPI2, Redirects: []string{"https://bank.example/cb"},
		Auth: relying.PrivateKeyJWT, JWKS: json.RawMessage(`{"keys":[` + publicJWK + `]}`)}
}

// TestRedirectTricks sends what parsers of addresses disagree about: only the
// registered text itself is the registered address.
func TestRedirectTricks(t *testing.T) {
	t.Parallel()
	c := shop()
	c.Redirects = []string{"https://shop.example/cb", "https://shop.example/cb2?a=1&b=2", "https://shop.example"}
	for _, uri := range c.Redirects {
		if !c.Redirect(uri) {
			t.Errorf("%q is registered", uri)
		}
	}
	for name, uri := range map[string]string{
		"nothing": "", "a user": "https://shop.example@evil.example/cb", "a user and a password": "https://a:b@shop.example/cb", "backslash": `https://shop.example\@evil.example/cb`,
		"backslashes for slashes": `https:\\shop.example\cb`, "dots escaped": "https://shop.example/x/%2e%2e/cb", "dots": "https://shop.example/x/../cb", "one dot": "https://shop.example/./cb",
		"tab": "https://shop.example/\tcb", "newline at the end": "https://shop.example/cb\n", "newline within": "https://shop.exa\nmple/cb", "null": "https://shop.example/cb\x00",
		"blank before": " https://shop.example/cb", "blank behind": "https://shop.example/cb ", "homograph": "https://sh\u043ep.example/cb", "full-width dot": "https://shop\uff0eexample/cb",
		"punycode": "https://xn--shp-zmc.example/cb", "no slashes": "https:shop.example/cb", "opaque elsewhere": "https:evil.example", "dot behind the host": "https://shop.example./cb",
		"the default port": "https://shop.example:443/cb", "port with a zero": "https://shop.example:0443/cb", "empty port": "https://shop.example:/cb", "other port": "https://shop.example:8443/cb",
		"capital host": "https://SHOP.example/cb", "capital scheme": "HTTPS://shop.example/cb", "capital path": "https://shop.example/CB", "double slash": "https://shop.example//cb",
		"slash behind": "https://shop.example/cb/", "below": "https://shop.example/cb/x", "query": "https://shop.example/cb?x=1", "empty query": "https://shop.example/cb?",
		"fragment": "https://shop.example/cb#x", "empty fragment": "https://shop.example/cb#", "host longer": "https://shop.example.evil.example/cb", "host as prefix": "https://shop.example.evil/cb",
		"subdomain": "https://a.shop.example/cb", "zone": "https://[fe80::1%25eth0]/cb", "http": "http://shop.example/cb", "query in another order": "https://shop.example/cb2?b=2&a=1",
		"a letter escaped": "https://shop.example/c%62", "slash for an empty path": "https://shop.example/", "loopback": "http://localhost/cb", "script": "javascript:alert(1)//https://shop.example/cb",
		"scheme alone": "https://", "no scheme": "//shop.example/cb", "path alone": "/cb", "two at once": "https://shop.example/cb https://evil.example",
	} {
		if c.Redirect(uri) {
			t.Errorf("%s: %q must not pass", name, uri)
		}
		if c.Native = true; c.Redirect(uri) {
			t.Errorf("%s: %q must not pass for an app", name, uri)
		}
		c.Native = false
	}
}

func TestLoopbackOfApps(t *testing.T) {
	t.Parallel()
	c := shop()
	c.Redirects = []string{"http://127.0.0.1/cb", "http://[::1]:5000/cb?x=1", "http://localhost:3000"}
	for _, v := range []struct {
		uri        string
		app, other bool
	}{
		{"http://127.0.0.1/cb", true, true},
		{"http://127.0.0.1:1/cb", true, false},
		{"http://127.0.0.1:65535/cb", true, false},
		{"http://[::1]:5000/cb?x=1", true, true},
		{"http://[::1]/cb?x=1", true, false},
		{"http://[::1]:9/cb?x=1", true, false},
		{"http://localhost:3000", true, true},
		{"http://localhost", true, false},
		{"http://localhost:3001", true, false},
		{"http://127.0.0.1:65536/cb", false, false},
		{"http://127.0.0.1:0/cb", false, false},
		{"http://127.0.0.1:080/cb", false, false},
		{"http://127.0.0.1:/cb", false, false},
		{"http://127.0.0.1:80a/cb", false, false},
		{"http://127.0.0.1:80:81/cb", false, false},
		{"http://127.0.0.1:80@evil.example/cb", false, false},
		{"http://127.0.0.1.evil.example/cb", false, false},
		{"http://127.0.0.1:8080.evil.example/cb", false, false},
		{"http://127.0.0.2/cb", false, false},
		{"http://127.1/cb", false, false},
		{"http://2130706433/cb", false, false},
		{"http://127.0.0.1:8080/cb/", false, false},
		{"http://127.0.0.1:8080/cb?x=1", false, false},
		{"http://localhost:8080/cb", false, false}, // another host of the list has that path
		{"https://127.0.0.1:8080/cb", false, false},
		{"http://[::1%25lo]:5000/cb?x=1", false, false},
		{"http://localhost:3000#x", false, false},
	} {
		app, other := *c, *c
		app.Native = true
		if app.Redirect(v.uri) != v.app || other.Redirect(v.uri) != v.other {
			t.Errorf("%q: app %v, other %v, want %v, %v", v.uri, app.Redirect(v.uri), other.Redirect(v.uri), v.app, v.other)
		}
	}
}

func TestSandboxReturns(t *testing.T) {
	t.Parallel()
	c := shop()
	c.SandboxReturn = true
	for uri, want := range map[string]bool{
		"http://localhost:3000/any/where?x=1": true, "http://127.0.0.1:8704/": true, "http://[::1]:9": true, "http://localhost": true,
		"https://localhost:5001/cb": true, "https://127.0.0.1/": true, "https://[::1]:9/": true, "https://localhost.evil.example/": false, "https://localhost:5001@evil.example/": false,
		"http://localhost:3000/#x": false, "http://localhost.evil.example/": false, "http://localhost:3000@evil.example/": false, `http://localhost:3000\@evil.example/`: false,
		"http://localhost:3000/\n": false, "http://localhost:3000/a/../b": false, "https://evil.example/": false, "http://localhost:0/": false, "http://localhost:00080/": false,
		"javascript:http://localhost/": false, "http://localhost:3000?a=\"b": false, "http://localhost:3000" + strings.Repeat("/a", 1025): false,
	} {
		if c.Redirect(uri) != want || c.Logout(uri) != want {
			t.Errorf("%q: %v, %v, want %v", uri, c.Redirect(uri), c.Logout(uri), want)
		}
	}
	if c.Environment = eid.Live; c.Redirect("http://localhost:3000/") {
		t.Error("live clients return to what is registered")
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	c := shop()
	c.Logouts = []string{"https://shop.example/bye"}
	if !c.Logout("https://shop.example/bye") || c.Logout("https://shop.example/bye?foo=bar") || c.Logout("https://shop.example/cb") || c.Logout("") {
		t.Error("a logout ends where it is registered to, and nowhere else")
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	c := shop()
	c.Secrets = []relying.ClientSecret{{Name: "old", Hash: relying.HashSecret("one"), Expires: now.Add(time.Hour)}, {Name: "new", Hash: relying.HashSecret("Two")}, {Name: "broken", Hash: nil}}
	for _, v := range []struct {
		text string
		at   time.Time
		name string
	}{
		{"one", now, "old"}, {"one", now.Add(time.Hour - 1), "old"}, {"one", now.Add(time.Hour), ""},
		{"Two", now, "new"}, {"Two", now.AddDate(100, 0, 0), "new"}, {"two", now, ""}, {" Two", now, ""}, {"", now, ""}, {"three", now, ""},
	} {
		if name, ok := c.Secret(v.text, v.at); name != v.name || ok != (v.name != "") {
			t.Errorf("Secret(%q) = %q, %v, want %q", v.text, name, ok, v.name)
		}
	}
	if _, ok := (&relying.Client{}).Secret("", now); ok {
		t.Error("a client without secrets has none")
	}
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	key := func(kid string) json.RawMessage {
		return json.RawMessage(strings.Replace(publicJWK, `"a"`, `"`+kid+`"`, 1))
	}
	c := strict()
	c.Keys = []relying.ClientKey{{Name: "now", JWK: key("now"), NotBefore: now, NotAfter: now.Add(time.Hour)}, {Name: "always", JWK: key("always")},
		{Name: "then", JWK: key("then"), NotBefore: now.Add(time.Hour)}}
	for at, want := range map[time.Time]string{now: "a now always", now.Add(-1): "a always", now.Add(time.Hour): "a always then"} {
		var set struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal(c.KeySet(at), &set); err != nil {
			t.Fatal(err)
		}
		var kids []string
		for _, k := range set.Keys {
			kids = append(kids, k.Kid)
		}
		if got := strings.Join(kids, " "); got != want {
			t.Errorf("at %v: %s, want %s", at, got, want)
		}
	}
	if shop().KeySet(now) != nil {
		t.Error("no keys are no set")
	}
}

// TestCheck breaks one thing at a time and wants to hear of exactly that.
func TestCheck(t *testing.T) {
	t.Parallel()
	private := json.RawMessage(`{"kty":"EC","d":"x"}`)
	for _, v := range []struct {
		name   string
		client *relying.Client
		change func(*relying.Client)
		want   string // members, in order; "" for none
	}{
		{"a client of Signicat's", shop(), func(*relying.Client) {}, ""},
		{"a strict client", strict(), func(*relying.Client) {}, ""},
		{"id", shop(), func(c *relying.Client) { c.ID = "a b" }, "client_id"},
		{"account that would make two subjects one", shop(), func(c *relying.Client) { c.Account = "a|idin" }, "account"},
		{"environment", shop(), func(c *relying.Client) { c.Environment = "production" }, "environment"},
		{"name", shop(), func(c *relying.Client) { c.Name = "" }, "client_name"},
		{"profile", shop(), func(c *relying.Client) { c.Profile = "" }, "profile"},
		{"hybrid", strict(), func(c *relying.Client) { c.Hybrid = true }, "hybrid"},
		{"bare requests", shop(), func(c *relying.Client) { c.BareObject = true }, ""},
		{"bare requests, elsewhere", strict(), func(c *relying.Client) { c.BareObject = true }, "accept_unsigned_request_object"},
		{"bare requests, which must be signed", shop(), func(c *relying.Client) { c.BareObject, c.RequireRequest = true, true }, "accept_unsigned_request_object"},
		{"errors", shop(), func(c *relying.Client) { c.Errors = "other" }, "errors"},
		{"errors of Signicat's, elsewhere", strict(), func(c *relying.Client) { c.Errors = relying.SignicatErrors }, "errors"},
		{"scopes", shop(), func(c *relying.Client) { c.Scopes = []string{"openid", "a b", "openid", ""} }, "scopes.1 scopes.2 scopes.3"},
		{"forced values", shop(), func(c *relying.Client) { c.ForceACR = true }, "force_acr_values"},
		{"values", shop(), func(c *relying.Client) { c.ACRValues = strings.Repeat("a", 2049) }, "acr_values"},
		{"nowhere to go", shop(), func(c *relying.Client) { c.Redirects = nil }, "redirect_uris"},
		{"anywhere of a sandbox", shop(), func(c *relying.Client) { c.Redirects, c.SandboxReturn = nil, true }, ""},
		{"anywhere in earnest", shop(), func(c *relying.Client) { c.SandboxReturn, c.Environment = true, eid.Live }, "any_loopback"},
		{"twice", shop(), func(c *relying.Client) { c.Redirects = append(c.Redirects, c.Redirects[0]) }, "redirect_uris.1"},
		{"logout", shop(), func(c *relying.Client) { c.Logouts = []string{"ftp://shop.example/"} }, "post_logout_redirect_uris.0"},
		{"back channel", shop(), func(c *relying.Client) { c.BackLogout = "http://shop.example/out" }, "backchannel_logout_uri"},
		{"back channel of a test", shop(), func(c *relying.Client) { c.BackLogout = "http://localhost:3000/out" }, ""},
		{"frames", shop(), func(c *relying.Client) {
			c.FrameAncestor = []string{"https://shop.example", "*", "https://shop.example/", "https://*.example", "http://localhost:3000", "http://shop.example", "https://shop.example%"}
		}, "frame_ancestors.1 frame_ancestors.2 frame_ancestors.3 frame_ancestors.5 frame_ancestors.6"},
		{"method", shop(), func(c *relying.Client) { c.Auth = "client_secret_jwt" }, "token_endpoint_auth_method secrets"},
		{"weak method of a strict client", strict(), func(c *relying.Client) {
			c.Auth, c.Secrets = relying.SecretBasic, shop().Secrets
		}, "token_endpoint_auth_method"},
		{"public strict client", strict(), func(c *relying.Client) { c.Auth = relying.Public }, "token_endpoint_auth_method"},
		{"no secret", shop(), func(c *relying.Client) { c.Secrets = nil }, "secrets"},
		{"public with a secret", shop(), func(c *relying.Client) { c.Auth = relying.Public }, "secrets"},
		{"secrets", shop(), func(c *relying.Client) {
			c.Secrets = append(c.Secrets, relying.ClientSecret{Name: "first", Hash: []byte("s3cret")})
		}, "secrets.1.name secrets.1.hash"},
		{"as much as there may be", shop(), func(c *relying.Client) {
			c.ACRValues, c.Redirects, c.Secrets = strings.Repeat("a", 2048), nil, nil
			for i := range 50 {
				c.Redirects = append(c.Redirects, fmt.Sprintf("https://shop.example/%d", i))
			}
			for i := range 10 {
				c.Secrets = append(c.Secrets, relying.ClientSecret{Name: fmt.Sprint(i), Hash: relying.HashSecret("s")})
			}
		}, ""},
		{"many addresses", shop(), func(c *relying.Client) {
			for i := range 50 {
				c.Redirects = append(c.Redirects, fmt.Sprintf("https://shop.example/%d", i))
			}
		}, "redirect_uris"},
		{"many secrets", shop(), func(c *relying.Client) {
			c.Secrets = nil
			for i := range 11 {
				c.Secrets = append(c.Secrets, relying.ClientSecret{Name: fmt.Sprint(i), Hash: relying.HashSecret("s")})
			}
		}, "secrets"},
		{"no key", strict(), func(c *relying.Client) { c.JWKS = nil }, "jwks"},
		{"keys at two places", strict(), func(c *relying.Client) { c.JWKSURI = "https://bank.example/jwks" }, "jwks_uri"},
		{"keys elsewhere", strict(), func(c *relying.Client) { c.JWKS, c.JWKSURI = nil, "https://bank.example/jwks" }, ""},
		{"keys without TLS", strict(), func(c *relying.Client) { c.JWKS, c.JWKSURI = nil, "http://bank.example/jwks" }, "jwks_uri"},
		{"live keys on this machine", strict(), func(c *relying.Client) { c.JWKS, c.JWKSURI = nil, "http://localhost/jwks" }, "jwks_uri"},
		{"no set", strict(), func(c *relying.Client) { c.JWKS = json.RawMessage(`[]`) }, "jwks"},
		{"private key", strict(), func(c *relying.Client) { c.JWKS = json.RawMessage(`{"keys":[` + string(private) + `]}`) }, "jwks.keys.0"},
		{"shared secret as a key", strict(), func(c *relying.Client) { c.JWKS = json.RawMessage(`{"keys":[{"kty":"oct","k":"x"}]}`) }, "jwks.keys.0"},
		{"keys of every type", strict(), func(c *relying.Client) {
			c.JWKS = json.RawMessage(`{"keys":[{"kty":"RSA"},{"kty":"EC"},{"kty":"OKP"}]}`)
		}, ""},
		{"keys of no type", strict(), func(c *relying.Client) { c.JWKS = json.RawMessage(`{"keys":[{"kty":"XY"},{},[],{"kty":"RSA"}]}`) },
			"jwks.keys.0 jwks.keys.1 jwks.keys.2"},
		{"a key without an end", strict(), func(c *relying.Client) {
			c.Keys = []relying.ClientKey{{Name: "a", JWK: json.RawMessage(publicJWK), NotBefore: now}}
		}, ""},
		{"twenty keys", strict(), func(c *relying.Client) {
			c.Keys = slices.Repeat([]relying.ClientKey{{Name: "a", JWK: json.RawMessage(publicJWK)}}, 20)
		}, ""},
		{"more keys", strict(), func(c *relying.Client) {
			c.Keys = slices.Repeat([]relying.ClientKey{{Name: "a", JWK: json.RawMessage(publicJWK)}}, 21)
		}, "keys"},
		{"a long name", shop(), func(c *relying.Client) { c.Name = strings.Repeat("a", 200) }, ""},
		{"a longer one", shop(), func(c *relying.Client) { c.Name = strings.Repeat("a", 201) }, "client_name"},
		{"keys with dates", strict(), func(c *relying.Client) {
			c.Keys = []relying.ClientKey{{JWK: private, NotBefore: now, NotAfter: now}}
		}, "keys.0.name keys.0.jwk keys.0.not_after"},
		{"algorithm of assertions", strict(), func(c *relying.Client) { c.AuthAlg = "RS256" }, "token_endpoint_auth_signing_alg"},
		{"algorithm without assertions", shop(), func(c *relying.Client) { c.AuthAlg = "RS256" }, "token_endpoint_auth_signing_alg"},
		{"certificate", shop(), func(c *relying.Client) { c.Auth, c.Secrets = relying.TLS, nil }, "certificate"},
		{"certificate with two names", shop(), func(c *relying.Client) {
			c.Auth, c.Secrets, c.Certificate = relying.TLS, nil, relying.CertificateName{DNS: "a", IP: "192.0.2.1"}
		}, "certificate"},
		{"certificate with one", shop(), func(c *relying.Client) {
			c.Auth, c.Secrets, c.Certificate = relying.TLS, nil, relying.CertificateName{DNS: "shop.example"}
		}, ""},
		{"a name without TLS", shop(), func(c *relying.Client) { c.Certificate.DNS = "shop.example" }, "certificate"},
		{"self-signed with a bare key", strict(), func(c *relying.Client) { c.Auth = relying.SelfSignedTLS }, "jwks"},
		{"self-signed with a certificate", strict(), func(c *relying.Client) {
			c.Auth = relying.SelfSignedTLS
			c.Keys = []relying.ClientKey{{Name: "a", JWK: json.RawMessage(`{"kty":"EC","x5c":["MII="]}`), NotBefore: now}}
		}, ""},
		{"self-signed with a certificate elsewhere", strict(), func(c *relying.Client) {
			c.Auth, c.JWKS, c.JWKSURI = relying.SelfSignedTLS, nil, "https://bank.example/jwks"
		}, ""},
		{"roots without TLS", shop(), func(c *relying.Client) { c.Certificate.Roots = "x" }, "certificate certificate.roots"},
		{"self-signed without a key", shop(), func(c *relying.Client) { c.Auth, c.Secrets = relying.SelfSignedTLS, nil }, "jwks"},
		{"algorithms", shop(), func(c *relying.Client) { c.RequestAlg, c.IDTokenAlg, c.UserinfoAlg = "HS256", "none", "RS384" },
			"request_object_signing_alg id_token_signed_response_alg userinfo_signed_response_alg"},
		{"RS256 of a strict client", strict(), func(c *relying.Client) { c.RequestAlg, c.IDTokenAlg, c.UserinfoAlg = "RS256", "RS256", "RS256" },
			"request_object_signing_alg id_token_signed_response_alg userinfo_signed_response_alg"},
		{"encryption", strict(), func(c *relying.Client) { c.IDTokenEnc = relying.Encryption{Alg: "RSA1_5", Enc: "A128GCM"} },
			"id_token_encryption.alg id_token_encryption.enc"},
		{"encryption demanded", strict(), func(c *relying.Client) { c.EncryptIDToken, c.Userinfo = true, relying.SignedAndEncrypted }, "id_token_encryption.alg userinfo_encryption.alg"},
		{"encryption without a key", shop(), func(c *relying.Client) { c.IDTokenEnc.Alg = "RSA-OAEP" }, "id_token_encryption"},
		{"content without a key", strict(), func(c *relying.Client) { c.UserinfoEnc.Enc = "A256GCM" }, "userinfo_encryption.enc"},
		{"encryption that works", strict(), func(c *relying.Client) {
			c.IDTokenEnc, c.EncryptIDToken = relying.Encryption{Alg: "ECDH-ES+A256KW", Enc: "A256GCM"}, true
		}, ""},
		{"answers", shop(), func(c *relying.Client) { c.UserData, c.Userinfo = "Some", "jwt" }, "id_token_user_data userinfo_response"},
		{"lifetimes too short", shop(), func(c *relying.Client) { c.Lifetimes = relying.Lifetimes{1, 1, 1, 1, 1, 1} },
			"lifetimes.code lifetimes.id_token lifetimes.access_token lifetimes.refresh lifetimes.refresh_sliding lifetimes.sso"},
		{"Signicat's 15 s", shop(), func(c *relying.Client) { c.Lifetimes.Code = 15 * time.Second }, ""},
		{"the longest code", shop(), func(c *relying.Client) { c.Lifetimes.Code = 10 * time.Minute }, ""},
		{"a longer one", shop(), func(c *relying.Client) { c.Lifetimes.Code = 10*time.Minute + 1 }, "lifetimes.code"},
		{"a strict client's code", strict(), func(c *relying.Client) { c.Lifetimes.Code = time.Minute + 1 }, "lifetimes.code"},
	} {
		v.change(v.client)
		if got := members(t, v.client.Check()); got != v.want {
			t.Errorf("%s: %q, want %q", v.name, got, v.want)
		}
	}
}

// members are those with a problem, none twice.
func members(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var out []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() { //nolint:errorlint // what errors.Join makes
		p, ok := errors.AsType[*relying.Problem](e)
		if !ok || p.Rule == "" || !strings.HasPrefix(e.Error(), p.Member+": ") || strings.Contains(e.Error(), "%!") {
			t.Errorf("problem %v", e)
			continue
		}
		if !slices.Contains(out, p.Member) {
			out = append(out, p.Member)
		}
	}
	return strings.Join(out, " ")
}

func TestAddressesToRegister(t *testing.T) {
	t.Parallel()
	web, app, fapi, fapiApp := shop(), shop(), strict(), strict()
	app.Native, fapiApp.Native = true, true
	for _, v := range []struct{ uri, fits string }{
		{"https://shop.example/cb", "web app fapi fapiApp"},
		{"https://shop.example", "web app fapi fapiApp"},
		{"https://shop.example:8443/cb?dummy1=lorem&dummy2=ipsum", "web app fapi fapiApp"},
		{"https://192.0.2.1/cb", "web app fapi fapiApp"},
		{"https://[2001:db8::1]:8443/cb", "web app fapi fapiApp"},
		{"http://localhost:3000/cb", "web app fapiApp"},
		{"http://127.0.0.1/cb", "web app fapiApp"},
		{"http://[::1]/cb", "web app fapiApp"},
		{"http://localhost?a=1", "web app fapiApp"},
		{"com.example.app:/cb", "app"},
		{"com.example.app://cb", "app"},
		{"com.example.app:cb", "app"},
		{"myapp://cb", ""},
		{"com.Example.app:/cb", ""},
		{"javascript:alert(1)", ""},
		{"data:text/html,x", ""},
		{"http://shop.example/cb", ""},
		{"http://127.0.0.2/cb", ""},
		{"http://localhost.shop.example/cb", ""},
		{"https://shop.example/cb#x", ""},
		{"com.example.app:/cb#x", ""},
		{"com.example.app:/a/../cb", ""},
		{"com.example.app://user@cb", ""},
		{"https://user@shop.example/cb", ""},
		{"https://*.shop.example/cb", ""},
		{"https://SHOP.example/cb", ""},
		{"HTTPS://shop.example/cb", ""},
		{"https://shop.example./cb", ""},
		{"https://shop.example:0443/cb", ""},
		{"https://shop.example:/cb", ""},
		{"https://shop.example:65536/cb", ""},
		{"https://shop.example/a/../cb", ""},
		{"https://shop.example/./cb", ""},
		{"https://shop.example/%zz", ""},
		{"https://shop.example/a/%2e%2E/cb", ""},
		{"https://shop.example/a b", ""},
		{"https://shop.example\\cb", ""},
		{"https://sh\u043ep.example/cb", ""},
		{"https://[fe80::1%25eth0]/cb", ""},
		{"https://[2001:db8::g]/cb", ""},
		{"https://[v1.a:b]/cb", ""},
		{"https://2001:db8::1/cb", ""},
		{"https:shop.example/cb", ""},
		{"https:///cb", ""},
		{"https://", ""},
		{"//shop.example/cb", ""},
		{"/cb", ""},
		{"", ""},
		{"https://shop.example/\x7f", ""},
		{"https://shop.example/" + strings.Repeat("a", 2048-21), "web app fapi fapiApp"},
		{"https://shop.example/" + strings.Repeat("a", 2048-20), ""},
	} {
		var fits []string
		for name, c := range map[string]*relying.Client{"web": web, "app": app, "fapi": fapi, "fapiApp": fapiApp} {
			c := *c
			if c.Redirects = []string{v.uri}; c.Check() == nil {
				fits = append(fits, name)
			}
		}
		slices.SortFunc(fits, func(a, b string) int {
			order := []string{"web", "app", "fapi", "fapiApp"}
			return slices.Index(order, a) - slices.Index(order, b)
		})
		if got := strings.Join(fits, " "); got != v.fits {
			t.Errorf("%q fits %q, want %q", v.uri, got, v.fits)
		}
	}
}

// FuzzRedirect: whatever passes is registered, or a loopback address of this
// machine that differs in its port alone; nothing that may be registered fails
// to match itself.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"https://shop.example/cb", "http://127.0.0.1:8080/cb", "http://[::1]/cb", "com.example.app:/cb", "http://localhost:1?x", "https://a@b/", "http://localhost:08/"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, registered, sent string) {
		c := shop()
		c.Native, c.Redirects = true, []string{registered}
		valid := c.Check() == nil
		if !c.Redirect(registered) {
			t.Fatalf("%q does not match itself", registered)
		}
		if !valid || registered == sent || !c.Redirect(sent) {
			return
		}
		loopback := slices.ContainsFunc([]string{"http://127.0.0.1", "http://[::1]", "http://localhost"}, func(h string) bool {
			a, aok := strings.CutPrefix(registered, h)
			b, bok := strings.CutPrefix(sent, h)
			cut := func(s string) string {
				if s, ok := strings.CutPrefix(s, ":"); ok {
					return strings.TrimLeft(s, "0123456789")
				}
				return s
			}
			return aok && bok && cut(a) == cut(b)
		})
		if !loopback {
			t.Fatalf("%q passes for %q", sent, registered)
		}
		c.Redirects = []string{sent}
		if err := c.Check(); err != nil {
			t.Fatalf("%q passes for %q, but may not be registered: %v", sent, registered, err)
		}
	})
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	type p = relying.Policy
	for _, v := range []struct {
		name string
		c    relying.Client
		ok   func(p) bool
	}{
		{"signicat", relying.Client{Profile: relying.Signicat, Auth: relying.SecretBasic}, func(p p) bool {
			return !p.PAR && !p.RequestObject && !p.PKCE && p.Signs[0] == "RS256" && p.JWTAccess && p.AlwaysBad && !p.IssuerOnly && !p.Bound && !p.RotateRefresh &&
				slices.Equal(p.ResponseTypes, []string{"code"}) && slices.Equal(p.ResponseModes, []string{"query", "form_post"}) && p.Pushed == 5*time.Minute
		}},
		{"hybrid", relying.Client{Profile: relying.Signicat, Hybrid: true}, func(p p) bool {
			return slices.Contains(p.ResponseTypes, "code id_token") && slices.Contains(p.ResponseModes, "fragment")
		}},
		{"standard", relying.Client{Profile: relying.Standard}, func(p p) bool {
			return slices.Contains(p.ResponseModes, "jwt") && slices.Contains(p.Signs, "EdDSA") && p.Signs[0] == "RS256" && !p.JWTAccess && !p.AlwaysBad
		}},
		{"fapi2", relying.Client{Profile: relying.FAPI2}, func(p p) bool {
			return p.PAR && p.PKCE && !p.RequestObject && p.IssuerOnly && p.Bound && p.Code == time.Minute && p.Pushed == 90*time.Second && !p.Schemes &&
				!slices.Contains(p.Auth, relying.SecretBasic) && !slices.Contains(p.Auth, relying.Public) && !slices.Contains(p.Algs, "RS256")
		}},
		{"fapi2-ms", relying.Client{Profile: relying.FAPI2Signed}, func(p p) bool {
			return p.PAR && p.RequestObject && p.PKCE && p.IssuerOnly && p.Bound && p.Code == time.Minute && slices.Equal(p.ResponseModes, []string{"jwt", "query.jwt", "form_post.jwt"})
		}},
		{"public", relying.Client{Profile: relying.Signicat, Auth: relying.Public}, func(p p) bool { return p.PKCE && p.RotateRefresh }},
		{"demands of its own", relying.Client{Profile: relying.Signicat, RequirePAR: true, RequireRequest: true, RequirePKCE: true, ReferenceTokens: true},
			func(p p) bool { return p.PAR && p.RequestObject && p.PKCE && !p.JWTAccess }},
		{"nothing waives what the profile demands", relying.Client{Profile: relying.FAPI2, RequirePAR: false, Hybrid: true},
			func(p p) bool { return p.PAR && p.PKCE && slices.Equal(p.ResponseTypes, []string{"code"}) }},
		{"no profile", relying.Client{}, func(p p) bool { return len(p.ResponseTypes)+len(p.Auth)+len(p.Algs)+len(p.Signs) == 0 }},
	} {
		if got := v.c.Policy(); !v.ok(got) {
			t.Errorf("%s: %+v", v.name, got)
		}
	}
	for _, profile := range []relying.Profile{relying.Signicat, relying.Standard, relying.FAPI2, relying.FAPI2Signed} {
		got := (&relying.Client{Profile: profile}).Policy()
		for _, alg := range append(slices.Clone(got.Algs), got.Signs...) {
			if alg == "none" || strings.HasPrefix(alg, "HS") {
				t.Errorf("%s has %s", profile, alg)
			}
		}
		for _, rt := range got.ResponseTypes {
			if strings.Contains(rt, "token") {
				t.Errorf("%s has %s", profile, rt)
			}
		}
	}
	if (&relying.Client{Profile: relying.Signicat, Hybrid: true}).Policy(); len((&relying.Client{Profile: relying.Signicat}).Policy().ResponseModes) != 2 {
		t.Error("one client has changed another's policy")
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	want := relying.Lifetimes{Code: time.Minute, IDToken: 10 * time.Minute, AccessToken: 10 * time.Minute, Refresh: 24 * time.Hour, RefreshSliding: 24 * time.Hour, SSO: time.Hour}
	if got := shop().Life(); got != want {
		t.Errorf("defaults: %+v", got)
	}
	c := strict()
	c.Lifetimes = relying.Lifetimes{Code: time.Hour, Refresh: time.Hour, RefreshSliding: 2 * time.Hour}
	c.ForceLogin = true
	if got := c.Life(); got.Code != time.Minute || got.RefreshSliding != time.Hour || got.SSO != 0 {
		t.Errorf("bounds: %+v", got)
	}
	c = shop()
	c.Lifetimes = relying.Lifetimes{Code: 15 * time.Second, Refresh: time.Hour}
	if got := c.Life(); got.Code != 15*time.Second || got.RefreshSliding != time.Hour {
		t.Errorf("set: %+v", got)
	}
}

func TestIDTokenData(t *testing.T) {
	t.Parallel()
	for c, want := range map[*relying.Client]relying.UserData{
		shop(): relying.StandardScopes, strict(): relying.Minimal, {Profile: relying.Standard}: relying.Minimal, {Profile: relying.FAPI2, UserData: relying.All}: relying.All,
	} {
		if got := c.IDTokenData(); got != want {
			t.Errorf("%s: %s, want %s", c.Profile, got, want)
		}
	}
}

// TestClientSurvives holds that the stored form loses nothing: every member is
// filled, written and read.
func TestClientSurvives(t *testing.T) {
	t.Parallel()
	var in relying.Client
	fill(reflect.ValueOf(&in).Elem())
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out relying.Client
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%+v, want %+v", out, in)
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(raw, &names); err != nil || len(names) != reflect.TypeFor[relying.Client]().NumField() {
		t.Errorf("%d members: %v", len(names), slices.Collect(maps.Keys(names)))
	}
}

func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(now))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"a":1}`)))
		return
	}
	switch v.Kind() { //nolint:exhaustive // those of the record
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.String:
		v.SetString("s")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("a member of a new kind: " + v.Type().String())
	}
}

func TestClientsAreNotLogged(t *testing.T) {
	t.Parallel()
	c := shop()
	c.Name, c.ACRValues = "canary", "idp:canary"
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		log.Info("x", "a", *c, "b", c, "c", fmt.Errorf("client %v: %v", *c, c))
	}
	if strings.Contains(out.String(), "canary") || !strings.Contains(out.String(), c.ID) {
		t.Errorf("logged: %s", out.String())
	}
}
