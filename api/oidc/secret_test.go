package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Fingerprint is fingerprint, for tests that look into the store.
var Fingerprint = fingerprint

func TestSecrets(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 28, 6, 40, 55, 123_000_000, time.UTC)
	p := &Provider{c: Config{Now: func() time.Time { return at }}}
	jwt := func(claims map[string]any) string {
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return "e30." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln"
	}
	secret := p.secret()
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(secret); err != nil || len(raw) != 6+32 || len(secret) != secretLen || secret == p.secret() {
		t.Fatalf("%q %v", secret, err)
	}
	for name, text := range map[string]string{"code": secret, "access": accessPrefix + secret, "refresh": refreshPrefix + secret, "jwt": jwt(map[string]any{"jti": secret}),
		"successor": refreshPrefix + said(refreshPrefix+secret).text(make([]byte, 32))} {
		m, f := said(text), fingerprint(text)
		if m != momentOf(at) || f != m.print(text) || !bytes.Equal(f[:6], m[:]) || bytes.Equal(f[6:], make([]byte, 26)) {
			t.Errorf("%s: %x %x", name, m, f)
		}
	}
	none := moment{}
	for name, text := range map[string]string{"empty": "", "short": secret[:50], "long": secret + "A", "no Base64": strings.Repeat("!", secretLen), "dots": "..", "no JSON": "e30.e30x.x",
		"no jti": jwt(map[string]any{"iat": 1}), "jti of another kind": jwt(map[string]any{"jti": 1})} {
		if said(text) != none || fingerprint(text) != none.print(text) {
			t.Errorf("%s: %x", name, said(text))
		}
	}
	if a, b := fingerprint(secret), fingerprint(secret[:secretLen-1]+"_"); a == b {
		t.Error("two texts have one fingerprint")
	}
}

// Rows that are made one after the other stand so, whatever they are named after.
func TestOrder(t *testing.T) {
	t.Parallel()
	at := time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC) // a moment is never before 1970
	var last []byte
	var name string
	for _, step := range []time.Duration{0, 48 * time.Hour, time.Millisecond, time.Hour, 80 * 365 * 24 * time.Hour} {
		at = at.Add(step)
		p := &Provider{c: Config{Now: func() time.Time { return at }}}
		f, id := fingerprint(p.secret()), ordered(at, "5c1c9d83-1d2b-4c0f-8a34-1f0d0c0b0a09")
		if bytes.Compare(f[:], last) <= 0 || id <= name || when(id) != momentOf(at) {
			t.Errorf("%v: %x after %x, %s after %s", at, f, last, id, name)
		}
		last, name = f[:], id
	}
	if when("") != (moment{}) || when("not hex at all") != (moment{}) {
		t.Error("a name that is not ordered has a moment")
	}
}
