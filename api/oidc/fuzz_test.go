package oidc

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/relying"
)

// Storage is left out here: what a database does hides what an input does.

// FuzzRequest reads any query of a browser. What is accepted says what was
// asked, and is the same once it has been stored.
func FuzzRequest(f *testing.F) {
	f.Add("client_id=c&response_type=code&redirect_uri=https%3A%2F%2Fshop.example%2Fcb&scope=openid+profile&state=s&nonce=n&max_age=0&prompt=none")
	f.Add("response_type=code&scope=openid&code_challenge=abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDE&code_challenge_method=S256&ui_locales=sv+nl&acr_values=idp:sbid")
	f.Add(`response_type=code&scope=openid&claims={"userinfo":{"name":null},"id_token":{"acr":{"essential":true,"values":["high"]},"sub":{"value":"x"}}}`)
	f.Add("response_type=code&scope=openid&dpop_jkt=abcdefghijklmnopqrstuvwxyz0123456789-._~ABC&login_hint=sandbox:cancel")
	f.Add("resource=a&resource=b&x=&x=y")
	now := time.Unix(1_800_000_000, 0).UTC()
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p, wrong := single(v)
		if wrong != nil {
			return
		}
		q, wrong := readRequest(p, []string{"code"}, now)
		if wrong != nil {
			if wrong.Code == "" || plain(wrong.Text) != wrong.Text {
				t.Fatalf("%+v", wrong)
			}
			return
		}
		switch {
		case !q.has("openid") || p["response_type"] != "code" || q.State != p["state"] || q.Nonce != p["nonce"] || len(q.State) > maxState:
			t.Fatalf("%#v", p)
		case q.Challenge != "" && (p["code_challenge_method"] != "S256" || len(q.Challenge) < 43), q.Challenge == "" && p["code_challenge"] != "":
			t.Fatalf("challenge %q", q.Challenge)
		case q.prompts("none") && len(q.Prompt) != 1, q.MaxAge != nil && *q.MaxAge < 0, len(q.Levels) > 0 && p["claims"] == "":
			t.Fatalf("%q", query)
		}
		raw, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var again request
		if err := json.Unmarshal(raw, &again); err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(&again)
		if err != nil || string(twice) != string(raw) {
			t.Fatalf("%s became %s, %v", raw, twice, err)
		}
	})
}

// FuzzObjectParams reads any payload that a client has signed: it speaks of
// that client, and of no further request.
func FuzzObjectParams(f *testing.F) {
	f.Add([]byte(`{"iss":"c","aud":"x","client_id":"c","response_type":"code","max_age":5,"claims":{"id_token":null},"state":null}`))
	f.Add([]byte(`{"client_id":"other"}`))
	f.Add([]byte(`{"client_id":["c"],"request":"x"}`))
	f.Add([]byte(`{"request_uri":{},"scope":["openid"]}`))
	c := &relying.Client{ID: "c"}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var raw map[string]json.RawMessage
		if json.Unmarshal(payload, &raw) != nil {
			return
		}
		p, err := objectParams(c, raw)
		if err != nil {
			return
		}
		for name, value := range p {
			if value == "" || slices.Contains(registered, name) || strings.HasPrefix(name, "request") && (name == "request" || name == "request_uri") {
				t.Fatalf("%s is %q", name, value)
			}
		}
		if p["client_id"] != "c" {
			t.Fatalf("client_id %q", p["client_id"])
		}
		if _, wrong := readRequest(p, []string{"code"}, time.Unix(0, 0)); wrong != nil && plain(wrong.Text) != wrong.Text {
			t.Fatalf("%+v", wrong)
		}
	})
}

// FuzzAuthentication reads any header and form of a client: it names one
// method and one client, or nobody.
func FuzzAuthentication(f *testing.F) {
	f.Add("Basic YzpzZWNyZXQ=", "grant_type=x")
	f.Add("", "client_id=c&client_secret=s")
	f.Add("", "client_assertion_type="+url.QueryEscape(assertionType)+"&client_assertion=e30.eyJzdWIiOiJjIn0.AA")
	f.Add("Basic YzolenolMA==", "client_id=c")
	f.Add("bearer x", "client_id=c")
	f.Fuzz(func(t *testing.T, header, body string) {
		v, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		in, wrong := single(v)
		if wrong != nil {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		have, wrong := proofOf(r, in)
		if wrong != nil {
			if !reflect.DeepEqual(have, proof{}) {
				t.Fatalf("refused, and yet %s", have.method)
			}
			return
		}
		ways := 0
		for _, there := range []bool{header != "", in["client_secret"] != "", in["client_assertion"] != "" || in["client_assertion_type"] != ""} {
			if there {
				ways++
			}
		}
		if ways > 1 || ways == 0 && have.method != relying.Public || in["client_id"] != "" && have.id != in["client_id"] || have.secret != "" && have.method == relying.Public {
			t.Fatalf("%d ways, taken as %s of %q", ways, have.method, have.id)
		}
	})
}

// FuzzClientCert reads any headers of a proxy: what is accepted is certificates
// that are written as RFC 9440 has it, and nothing else.
func FuzzClientCert(f *testing.F) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	one := &x509.Certificate{SerialNumber: big.NewInt(1)}
	raw, err := x509.CreateCertificate(rand.Reader, one, one, public, private)
	if err != nil {
		f.Fatal(err)
	}
	der := base64.StdEncoding.EncodeToString(raw)
	f.Add(":"+der+":", ":"+der+": ,\t:"+der+":")
	f.Add(":"+der+":", "")
	f.Add(" :: ", ":AA==:, :AA==:")
	f.Add(":"+der+":;a=1", ":"+der+":,")
	f.Fuzz(func(t *testing.T, cert, above string) {
		var more []string
		if above != "" {
			more = []string{above}
		}
		chain, err := readChain([]string{cert}, more)
		if err != nil {
			if chain != nil {
				t.Fatalf("refused, and yet %d certificates", len(chain))
			}
			return
		}
		var written []string
		for _, c := range chain {
			written = append(written, ":"+base64.StdEncoding.EncodeToString(c.Raw)+":")
		}
		blanks := strings.NewReplacer(" ", "", "\t", "")
		if blanks.Replace(cert) != written[0] || blanks.Replace(above) != strings.Join(written[1:], ",") {
			t.Fatalf("%d certificates are written otherwise", len(chain))
		}
	})
}

// FuzzPlain holds that a description has only what RFC 6749 lets it have.
func FuzzPlain(f *testing.F) {
	f.Add("a\r\n\"\\é\x7f")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range []byte(plain(s)) {
			if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
				t.Fatalf("%q", plain(s))
			}
		}
	})
}
