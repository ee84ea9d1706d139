package conformance

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// badProofs goes through OP-DPOP-01 to 15 at userinfo, and ends with a good
// proof, which must still count.
func badProofs(t *testing.T, e *env) {
	p, c := e.provider(t), e.first
	l, other := c.login(t, p, e.browser()), c.login(t, p, e.browser())
	at := p.at("userinfo_endpoint")
	jwk := c.proof.members()
	claims := func(ch change) map[string]any {
		return ch.to(map[string]any{"jti": random(20), "htm": "GET", "htu": at, "iat": e.now().Unix(), "ath": ath(l.access)})
	}
	proof := func(k *key, header, cl change) string {
		h := map[string]any{"typ": "dpop+jwt", "jwk": jwk, "kid": nil}
		maps.Copy(h, header)
		return k.sign(t, h, claims(cl))
	}
	good := func() string { return proof(c.proof, nil, nil) }
	send := func(h http.Header) *reply { return e.send(t, http.MethodGet, at, h, "") }
	with := func(proofs ...string) http.Header {
		return http.Header{"Authorization": {"DPoP " + l.access}, "DPoP": proofs}
	}
	private := func() map[string]any {
		m := c.proof.members()
		m["d"] = b64.EncodeToString([]byte(random(32)))
		return m
	}
	now := e.now()
	host := strings.TrimPrefix(at, "https://localhost")
	used := good()
	checkUserInfo(t, l.tokens, send(with(used)))
	for name, bad := range map[string]http.Header{
		"twice the same":               with(used),
		"two proofs":                   with(good(), good()),
		"two parts":                    with(good()[:strings.LastIndex(good(), ".")]),
		"no text":                      with(""),
		"no typ":                       with(proof(c.proof, change{"typ": nil}, nil)),
		"another typ":                  with(proof(c.proof, change{"typ": "JWT"}, nil)),
		"no alg":                       with(proof(c.proof, change{"alg": nil}, nil)),
		"no jwk":                       with(proof(c.proof, change{"jwk": nil}, nil)),
		"no jti":                       with(proof(c.proof, nil, change{"jti": nil})),
		"no htm":                       with(proof(c.proof, nil, change{"htm": nil})),
		"no htu":                       with(proof(c.proof, nil, change{"htu": nil})),
		"no iat":                       with(proof(c.proof, nil, change{"iat": nil})),
		"no ath":                       with(proof(c.proof, nil, change{"ath": nil})),
		"RS256":                        with(newKey(t, "RS256", "").sign(t, change{"typ": "dpop+jwt", "jwk": newKey(t, "RS256", "").members(), "kid": nil}, claims(nil))),
		"no signature":                 with(proof(&key{alg: "none"}, nil, nil)),
		"HS256 in name":                with(proof(c.proof, change{"alg": "HS256"}, nil)),
		"a wrong signature":            with(spoil(good())),
		"the private key":              with(proof(c.proof, change{"jwk": private()}, nil)),
		"another method":               with(proof(c.proof, nil, change{"htm": "PUT"})),
		"another address":              with(proof(c.proof, nil, change{"htu": p.at("token_endpoint")})),
		"another host":                 with(proof(c.proof, nil, change{"htu": strings.Replace(at, "localhost", "localhost.evil.example", 1)})),
		"an hour old":                  with(proof(c.proof, nil, change{"iat": now.Add(-time.Hour).Unix()})),
		"an hour ahead":                with(proof(c.proof, nil, change{"iat": now.Add(time.Hour).Unix()})),
		"another token's ath":          with(proof(c.proof, nil, change{"ath": ath(other.access)})),
		"another key":                  with(newKey(t, "ES256", "").signedProof(t, claims(nil))),
		"the key of another signature": with(proof(newKey(t, "ES256", ""), nil, nil)),
		"a token as Bearer":            {"Authorization": {"Bearer " + l.access}},
		"as Bearer, with a proof":      {"Authorization": {"Bearer " + l.access}, "DPoP": {good()}},
		"no proof":                     {"Authorization": {"DPoP " + l.access}},
		"another client's token":       {"Authorization": {"DPoP " + e.other.login(t, p, e.browser()).access}, "DPoP": {good()}},
	} {
		r := send(bad)
		checkUnknown(t, r)
		if r.status == http.StatusUnauthorized && !strings.Contains(r.header.Get("Www-Authenticate"), "DPoP ") && !strings.HasPrefix(bad.Get("Authorization"), "Bearer") {
			t.Errorf("%s: WWW-Authenticate: %s", name, r.header.Get("Www-Authenticate"))
		}
		if r.status == http.StatusOK {
			t.Errorf("%s is accepted", name)
		}
	}
	capitals := with(good())
	capitals["DPOP"], capitals["DPoP"] = capitals["DPoP"], nil
	delete(capitals, "DPoP")
	for name, fine := range map[string]http.Header{
		"name in capitals":            capitals,
		"a query in htu":              with(proof(c.proof, nil, change{"htu": at + "?a=b"})),
		"a fragment in htu":           with(proof(c.proof, nil, change{"htu": at + "#a"})),
		"scheme and host in capitals": with(proof(c.proof, nil, change{"htu": "HTTPS://LOCALHOST" + host})),
		"10 s ago":                    with(proof(c.proof, nil, change{"iat": now.Add(-10 * time.Second).Unix()})),
		"in 10 s":                     with(proof(c.proof, nil, change{"iat": now.Add(10 * time.Second).Unix()})),
		"more members":                with(proof(c.proof, change{"x": 1}, change{"y": json.RawMessage(`{"z":[]}`)})),
		"nbf and exp":                 with(proof(c.proof, nil, change{"nbf": now.Unix(), "exp": now.Add(time.Minute).Unix()})),
		"a good one":                  with(good()),
	} {
		if r := send(fine); r.status != http.StatusOK {
			t.Errorf("%s is refused: %d %s", name, r.status, r.header.Get("Www-Authenticate"))
		}
	}
}

// signedProof is a proof by a key of its own.
func (k *key) signedProof(t *testing.T, claims map[string]any) string {
	t.Helper()
	return k.sign(t, map[string]any{"typ": "dpop+jwt", "jwk": k.members(), "kid": nil}, claims)
}
