package server

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/eid"
	"eidgate/internal/keytest"
)

// TestKeysOfContracts: which keys sign and decrypt, and what is said of others,
// for each eID that speaks OpenID Connect.
func TestKeysOfContracts(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agrees, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := keytest.Curve(t, elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	openssl := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})) // what "openssl ecparam -genkey" writes
	for name, text := range map[string]string{"rsa": keytest.PEM(t, keytest.RSA(t, 2048)), "p256": keytest.PEM(t, p256), "p384": keytest.PEM(t, keytest.Curve(t, elliptic.P384())), "openssl": openssl,
		"weak": keytest.PEM(t, keytest.RSA(t, 1024)), "p224": keytest.PEM(t, keytest.Curve(t, elliptic.P224())), "p521": keytest.PEM(t, keytest.Curve(t, elliptic.P521())), "ed25519": keytest.PEM(t, edwards),
		"x25519": keytest.PEM(t, agrees), "password": string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{48, 0}})), "parameters": strings.SplitAfter(openssl, "END EC PARAMETERS-----\n")[0]} {
		s.write(t, name, text)
	}
	const (
		kinds   = "must be a private key of RSA with 2048 to 8192 bits, or of EC on P-256 or P-384, without a password"
		decrypt = "must hold an RSA key of 2048 bits or more, as PKCS#8 or PKCS#1: keys that decrypt are RSA"
		opens   = ", {id: e, use: decrypt, file: DIR/rsa}"
	)
	for _, x := range []struct {
		file string
		want string
	}{
		{"rsa", ""}, {"p256", ""}, {"p384", ""}, {"openssl", ""},
		{"weak", kinds + "; this one is RSA with 1024 bits"}, {"p224", kinds + "; this one is EC on P-224"}, {"p521", kinds + "; this one is EC on P-521"},
		{"ed25519", kinds + "; this one is Ed25519"}, {"x25519", kinds + "; this one is of another kind"}, {"password", kinds},
		{"parameters", "holds no key in PEM"}, {"master", "holds no key in PEM"}, {"none", "DIR/none cannot be read: no such file or directory"},
	} {
		for name, more := range map[string]string{"itsme": ", service: S", "bankid_no": "", "mitid": ""} {
			keys := "{id: s, use: sign, file: DIR/" + x.file + "}"
			if name == "itsme" {
				keys += opens
			}
			var want []string
			if x.want != "" {
				want = []string{"test_eids." + name + ".keys.0.file: " + x.want}
			}
			text := strings.Replace(s.fill(sound), "test_eids: {", s.fill("test_eids: {"+name+": {issuer: \"https://i.example\", client_id: c"+more+", keys: ["+keys+"]}, "), 1)
			if got := problems(t, s, text); cmp.Diff(want, got) != "" {
				t.Errorf("%s of %s:\n%s", x.file, name, cmp.Diff(want, got))
			}
		}
	}
	for keys, want := range map[string][]string{
		"{id: s, use: sign, file: DIR/p256}, {id: e, use: decrypt, file: DIR/p256}":                                                                {"test_eids.itsme.keys.1.file: " + decrypt},
		"{id: s, use: sign, file: DIR/p256}, {id: e, use: decrypt, file: DIR/openssl}":                                                             {"test_eids.itsme.keys.1.file: " + decrypt},
		"{id: s, use: sign, file: DIR/p256}, {id: e, use: decrypt, file: DIR/weak}":                                                                {"test_eids.itsme.keys.1.file: " + decrypt},
		"{id: n, use: sign, file: DIR/p256}, {id: s, use: sign, file: DIR/rsa}, {id: e, use: decrypt, file: DIR/rsa}":                              {"test_eids.itsme.keys.1.until: is required: there is a newer key to sign above it, which takes over then"},
		"{id: n, use: sign, file: DIR/p256}, {id: s, use: sign, file: DIR/rsa, until: 2027-01-31T00:00:00Z}, {id: e, use: decrypt, file: DIR/rsa}": nil,
		"{id: s, use: sign, file: DIR/p256}, {id: e, use: both, file: DIR/p521}":                                                                   {`test_eids.itsme.keys.1.use: "both" is neither sign nor decrypt`},
		"{id: s, use: sign, file: DIR/p256}":                                                                                                       {"test_eids.itsme.keys: has none that decrypts: only a contract without encryption works so  [warning]"},
		"{id: e, use: decrypt, file: DIR/rsa}":                                                                                                     {"test_eids.itsme: keys: must have one that signs"},
		"{id: s2, use: sign, file: DIR/p256}, {id: s1, use: sign, file: DIR/rsa, until: 2999-01-01T00:00:00Z}" + opens:                             nil,
		"{id: s2, use: sign, file: DIR/p256}, {id: s1, use: sign, file: DIR/rsa, until: 2020-01-01T00:00:00Z}" + opens:                             nil,
		"{id: s1, use: sign, file: DIR/p256, until: 2020-01-01T00:00:00Z}" + opens:                                                                 {"test_eids.itsme: keys: must have one that signs"},
		"{id: s1, use: sign, file: DIR/p256}" + opens + "], generation: 1, claims: [":                                                              nil,
		"{id: s1, use: sign, file: DIR/p256}], generation: 1, claims: [":                                                                           {"test_eids.itsme: the first generation encrypts its tokens: keys must have one that decrypts"},
	} {
		text := strings.Replace(s.fill(sound), "test_eids: {", s.fill("test_eids: {itsme: {issuer: \"https://i.example\", client_id: c, service: S, keys: ["+keys+"]}, "), 1)
		if got := problems(t, s, text); cmp.Diff(want, got) != "" {
			t.Errorf("%s:\n%s", keys, cmp.Diff(want, got))
		}
	}
}

// TestPublishedCurve: a key on a curve as an eID fetches it.
func TestPublishedCurve(t *testing.T) {
	t.Parallel()
	key := keytest.Curve(t, elliptic.P256())
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(keytest.PEM(t, key)), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := MitIDConfig{Issuer: "https://i.example", ClientID: "c", Keys: []EIDKeyConfig{{ID: "s1", Use: "sign", File: path}}}
	a, err := conf.agreement(eid.Live)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&core{agreements: agreements{{env: eid.Live, eid: eid.MitID}: a}}).publishKeys(mux, time.Now)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/jwks/live/mitid", nil))
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	point := point(t, key)
	want := []map[string]string{{"kty": "EC", "crv": "P-256", "x": point[0], "y": point[1], "use": "sig", "alg": "ES256", "kid": "s1"}}
	if diff := cmp.Diff(want, set.Keys); diff != "" {
		t.Error(diff)
	}
}

// point is x and y of RFC 7518 section 6.2.1.
func point(t *testing.T, key *ecdsa.PrivateKey) (out [2]string) {
	t.Helper()
	raw, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil || len(raw) != 65 {
		t.Fatal(len(raw), err)
	}
	return [2]string{base64.RawURLEncoding.EncodeToString(raw[1:33]), base64.RawURLEncoding.EncodeToString(raw[33:])}
}

// TestContractsAreKeptApart: two contracts of one client differ in what they
// may take, so their settings have different keys: clients are built by them.
func TestContractsAreKeptApart(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	add := func(name string, a agreement, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := keys[name[:5]+a.now.Key]; ok {
			t.Errorf("%s is taken for %s", name, other)
		}
		keys[name[:5]+a.now.Key] = name
		if !a.renews {
			t.Errorf("%s: orders do not survive a renewed secret", name)
		}
	}
	for _, level := range []string{"substantial", "high"} {
		for _, scopes := range [][]string{nil, {}, {"profile", "nnin_altsub"}} {
			a, err := (&BankIDNOConfig{Issuer: "https://i.example", ClientID: "c", ClientSecretFile: secret, Level: level, Scopes: scopes}).agreement(eid.Live)
			add("BankID "+level, a, err)
		}
		for _, scopes := range [][]string{nil, {}, {"ssn"}} {
			a, err := (&MitIDConfig{Issuer: "https://i.example", ClientID: "c", ClientSecretFile: secret, Level: level, Scopes: scopes}).agreement(eid.Live)
			add("MitID "+level, a, err)
		}
	}
}
