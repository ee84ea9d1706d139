package jose_test

import (
	"crypto/elliptic"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/internal/jose"
)

// read makes a token of a payload and reads its claims.
func read(t testing.TB, payload string) (*jose.Claims, error) {
	t.Helper()
	key := curveKey(t, elliptic.P256())
	v, err := jose.Verify(t.Context(), raw(t, key, `{"alg":"ES256","kid":"k"}`, payload), jose.Rule{Algs: []string{"ES256"}, Keys: one(key)})
	if err != nil {
		t.Fatal(err)
	}
	if string(v.Payload) != payload || v.Key.ID != "k" {
		t.Errorf("payload %q by %q", v.Payload, v.Key.ID)
	}
	return v.Claims()
}

func TestClaims(t *testing.T) {
	t.Parallel()
	c, err := read(t, `{"iss":"i","sub":"s","aud":["a","b"],"exp":1893553445,"nbf":1893553445.9,"iat":1.893553445e9,"jti":"j","nonce":"n","more":{"x":[1]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != "i" || c.Subject != "s" || !slices.Equal(c.Audience, []string{"a", "b"}) || !c.AudienceIsArray || c.ID != "j" || c.Nonce != "n" ||
		!c.Expires.Equal(now) || !c.NotBefore.Equal(now) || !c.IssuedAt.Equal(now) || string(c.Raw["more"]) != `{"x":[1]}` {
		t.Errorf("%#v", *c)
	}
	c, err = read(t, `{"aud":"a"}`)
	if err != nil || !slices.Equal(c.Audience, []string{"a"}) || c.AudienceIsArray || !c.Expires.IsZero() || c.Issuer != "" {
		t.Errorf("%#v, %v", c, err)
	}
	if c, err = read(t, `{"exp":0}`); err != nil || c.Expires.IsZero() || c.Expires.Unix() != 0 {
		t.Errorf("exp 0 is a time: %v, %v", c, err)
	}
	for _, v := range []struct {
		payload string
		want    jose.Kind
	}{
		{`{"iss":1}`, jose.Claim},
		{`{"iss":null}`, jose.Claim},
		{`{"sub":["s"]}`, jose.Claim},
		{`{"jti":{}}`, jose.Claim},
		{`{"nonce":true}`, jose.Claim},
		{`{"aud":1}`, jose.Claim},
		{`{"aud":null}`, jose.Claim},
		{`{"aud":{"a":"b"}}`, jose.Claim},
		{`{"aud":["a",1]}`, jose.Claim},
		{`{"aud":[null]}`, jose.Claim},
		{`{"aud":[["a"]]}`, jose.Claim},
		{`{"exp":"1893553445"}`, jose.Claim},
		{`{"exp":null}`, jose.Claim},
		{`{"exp":-1}`, jose.Claim},
		{`{"exp":1e12}`, jose.Claim},
		{`{"exp":1e999}`, jose.Claim},
		{`{"iat":[]}`, jose.Claim},
		{`{"nbf":true}`, jose.Claim},
		{`{"aud":"a","aud":"b"}`, jose.JSON},
		{`{"aud":"a","Aud":"b"}`, jose.JSON},
		{`{"x":"s","Xs":1,"xS":2}`, jose.JSON}, // a small s has a long s beside the capital
		{`{"SUB":"s"}`, jose.JSON},
		{`{"\u017fub":"s"}`, jose.JSON}, // a long s, which encoding/json takes for an s
		{`{"a":{"b":1,"b":2}}`, jose.JSON},
		{`{"a":1}{"a":2}`, jose.JSON},
		{`{"a\"":1,"a\"":2}`, jose.JSON},
		{`{"x":"\"","a":1,"a":2}`, jose.JSON},
		{`{"x\\":"\\","a":1,"a":2}`, jose.JSON},
		{`{"x":[{},[],"]}",-1.5e3,true,null] , "a" : 1 , "a" : 2 }`, jose.JSON},
		{`["a"]`, jose.JSON},
		{`"a"`, jose.JSON},
		{`null`, jose.JSON},
		{``, jose.JSON},
		{`{"a":01}`, jose.JSON},
		{`{"a":1,}`, jose.JSON},
		{"{\"a\":\"\xff\"}", jose.JSON},
		{strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), jose.JSON},
	} {
		c, err := read(t, v.payload)
		t.Run(v.payload, func(t *testing.T) { wants(t, err, v.want) })
		if err == nil || c != nil && v.want == jose.JSON {
			t.Errorf("%s: %v beside %v", v.payload, c, err)
		}
	}
	if c, err := read(t, `{"a":"\",\"a\":\"","b\"":{"a\\":1,"a":[{},[ ],"]",{"a":1},{"a":2}]},"\\":"\\", "c" : null }`); err != nil || len(c.Raw) != 4 {
		t.Errorf("text that looks like members: %v, %v", c, err)
	}
	if _, err := read(t, strings.Repeat(`{"a":`, 32)+"1"+strings.Repeat("}", 32)); err != nil {
		t.Errorf("32 levels: %v", err)
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		aud  string
		want bool
	}{
		{`"https://eid.example"`, true},
		{`["https://eid.example"]`, true},
		{`["x","https://eid.example"]`, true},
		{`"https://eid.example/"`, false},
		{`"https://EID.example"`, false},
		{`"x https://eid.example"`, false},
		{`["https://eid.exampl"]`, false},
		{`[]`, false},
		{`""`, false},
	} {
		c, err := read(t, `{"aud":`+v.aud+`}`)
		if err != nil || c.For("https://eid.example") != v.want {
			t.Errorf("%s: %v, %v", v.aud, c.For("https://eid.example"), err)
		}
	}
	if c, err := read(t, `{"aud":["",""]}`); err != nil || c.For("") {
		t.Errorf("nobody is no audience: %v", err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	skew := jose.Window{Now: now, Skew: 30 * time.Second}
	assertion := jose.Window{Now: now, Skew: 30 * time.Second, Need: []string{"exp"}, Ahead: 5 * time.Minute}
	request := jose.Window{Now: now, Skew: 30 * time.Second, Need: []string{"nbf", "exp"}, Age: time.Hour, Span: time.Hour}
	at := func(name string, s int64) string { return fmt.Sprintf(`"%s":%d`, name, now.Unix()+s) }
	for _, v := range []struct {
		name   string
		claims []string
		w      jose.Window
		want   jose.Kind
	}{
		{"nothing", nil, skew, ""},
		{"just valid", []string{at("exp", 1)}, jose.Window{Now: now}, ""},
		{"just expired", []string{at("exp", 0)}, jose.Window{Now: now}, jose.Time},
		{"within the skew", []string{at("exp", -29)}, skew, ""},
		{"beyond the skew", []string{at("exp", -30)}, skew, jose.Time},
		{"exp at the beginning of time", []string{`"exp":0`}, skew, jose.Time},
		{"nbf now", []string{at("nbf", 0)}, jose.Window{Now: now}, ""},
		{"nbf ahead within the skew", []string{at("nbf", 30)}, skew, ""},
		{"nbf ahead", []string{at("nbf", 31)}, skew, jose.Time},
		{"iat ahead within the skew", []string{at("iat", 30)}, skew, ""},
		{"iat ahead", []string{at("iat", 31)}, skew, jose.Time},
		{"assertion without exp", []string{at("iat", 0)}, assertion, jose.Claim},
		{"assertion", []string{at("exp", 300)}, assertion, ""},
		{"assertion, by another clock", []string{at("exp", 330)}, assertion, ""},
		{"assertion that lives too long", []string{at("exp", 331)}, assertion, jose.Time},
		{"request", []string{at("nbf", -3599), at("exp", 1)}, request, ""},
		{"request without nbf", []string{at("exp", 1)}, request, jose.Claim},
		{"request of the age that is allowed", []string{at("nbf", -3600), at("exp", 0)}, request, ""},
		{"old request", []string{at("nbf", -3601), at("exp", -1)}, request, jose.Time},
		{"old by iat", []string{at("nbf", 0), at("iat", -3601), at("exp", 1)}, request, jose.Time},
		{"request that lives too long", []string{at("nbf", -1), at("exp", 3600)}, request, jose.Time},
		{"of whose beginning nothing is said", []string{at("exp", 3601)}, jose.Window{Now: now, Span: time.Hour}, ""},
		{"of any age", []string{at("nbf", -7200), at("iat", -7200), at("exp", 1)}, skew, ""},
		{"lives too long by iat", []string{at("iat", 0), at("exp", 3601)}, jose.Window{Now: now, Span: time.Hour}, jose.Time},
	} {
		c, err := read(t, "{"+strings.Join(v.claims, ",")+"}")
		if err != nil {
			t.Fatal(err)
		}
		err = c.Times(v.w)
		if v.want == "" {
			if err != nil {
				t.Errorf("%s: %v", v.name, err)
			}
			continue
		}
		t.Run(v.name, func(t *testing.T) { wants(t, err, v.want) })
	}
}

// Nothing of a token and no private key gets into a log or an error.
func TestNothingPersonalInLogs(t *testing.T) {
	t.Parallel()
	const canary = "CANARY-19121212-1212"
	ed := edKey(t)
	key := jose.Key{ID: "k", Use: "sig", Alg: "EdDSA", Private: ed}
	set, err := jose.NewSet(jose.Schedule{}, clock, key)
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, set, "EdDSA", "JWT", `{"sub":"`+canary+`","x":"`+canary+`"}`)
	v, err := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{"EdDSA"}, Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Claims()
	if err != nil {
		t.Fatal(err)
	}
	p, err := jose.ReadProof(proof(t, curveKey(t, elliptic.P256()), nil, map[string]any{"sub": canary}), []string{"ES256"})
	if err != nil {
		t.Fatal(err)
	}
	_, broken := jose.Verify(t.Context(), token, jose.Rule{Algs: []string{"RS256"}, Keys: set})
	_, typed := read(t, `{"exp":"`+canary+`"}`)
	_, twice := read(t, `{"`+canary+`":1,"`+canary+`":2}`)

	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		logger := slog.New(h)
		for _, x := range []any{key, &key, []jose.Key{key}, set, v, *v, v.Header, c, *c, p, *p, broken, typed, twice, struct{ C jose.Claims }{*c}} {
			logger.InfoContext(t.Context(), "seen", "value", x)
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				fmt.Fprintf(&log, format+"\n", x)
			}
		}
	}
	for name, secret := range map[string]string{
		"person": canary, "person in octets": strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"), "person in base64": b64([]byte(canary))[:12],
		"key in octets": strings.Trim(fmt.Sprintf("%d", []byte(ed)[:8]), "[]"), "key in octets of Go": fmt.Sprintf("%#v", []byte(ed))[7:30], "key in base64": b64(ed)[:12],
	} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("a %s is in the log", name)
		}
	}
	if !strings.Contains(log.String(), "key k") || !strings.Contains(log.String(), "2 claims") {
		t.Error("the log does not say what was seen")
	}
}
