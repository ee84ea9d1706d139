// Package upstream lets our relying party log in at an OpenID provider that
// none of us wrote, which speaks as the eIDs do, and relying parties that none
// of us wrote at our simulators of the eIDs.
package upstream

import (
	"errors"
	"net/url"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"eidgate/connector"
	citsme "eidgate/connector/itsme"
	"eidgate/connector/openid"
	"eidgate/eid"
	"eidgate/internal/oidcrp"
)

const ns = "http://itsme.services/v2/claim/"

// TestItsme: the connector against the dialect of itsme: a request object that is
// signed and encrypted, an assertion, and an ID token and UserInfo that are
// signed and encrypted.
func TestItsme(t *testing.T) {
	t.Parallel()
	dir := install(t)
	for name, x := range map[string]struct {
		refuses string
		want    connector.Step
	}{"yes": {"", connector.Done{}}, "no": {"rejected", connector.Fail{Reason: eid.Cancelled, Code: "access_denied"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sig, enc := key(t), key(t)
			p := start(t, dir, map[string]any{
				"refuses": x.refuses,
				"scopes":  []string{"openid", "profile", "email", "phone", "address", "eid", "service:SHOP_SHARE"},
				"claims": map[string]any{"openid": []string{"sub"}, "profile": []string{"name", "given_name", "family_name", "gender", "locale", "birthdate"},
					"email": []string{"email", "email_verified"}, "phone": []string{"phone_number", "phone_number_verified"}, "address": []string{"address"},
					"eid": []string{ns + "BENationalNumber"}, "age_gte_18": nil},
				"person": map[string]any{"name": "Florent Verschueren", "given_name": "Florent", "family_name": "Verschueren", "birthdate": "1980-01-02", "gender": "male",
					"email": "florent@example.test", "email_verified": false, "phone_number": "+32 425009714", "phone_number_verified": true, "age_gte_18": true,
					"address":               map[string]string{"street_address": "Havenlaan 2", "locality": "Brussel", "postal_code": "1000"},
					ns + "BENationalNumber": "80010299946"},
				"clients": []map[string]any{{"client_id": "partner", "redirect_uris": []string{back}, "response_types": []string{"code"}, "grant_types": []string{"authorization_code"},
					"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "RS256",
					"request_object_signing_alg": "RS256", "request_object_encryption_alg": "RSA-OAEP-256", "request_object_encryption_enc": "A128CBC-HS256", "require_signed_request_object": true,
					"id_token_signed_response_alg": "RS256", "id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A128CBC-HS256",
					"userinfo_signed_response_alg": "RS256", "userinfo_encrypted_response_alg": "RSA-OAEP-256", "userinfo_encrypted_response_enc": "A128CBC-HS256",
					"jwks": gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: &sig.PublicKey, KeyID: "sig1", Use: "sig", Algorithm: "RS256"}, {Key: &enc.PublicKey, KeyID: "enc1", Use: "enc", Algorithm: "RSA-OAEP-256"}}}}},
			})
			r := ask(t, citsme.Settings{Settings: openid.Settings{Issuer: p.issuer, ClientID: "partner", Auth: oidcrp.PrivateKeyJWT, AllowHTTP: true, Keys: []openid.Key{
				{ID: "sig1", Use: "sig", Alg: "RS256", PEM: pemOf(t, sig)}, {ID: "enc1", Use: "enc", Alg: "RSA-OAEP-256", PEM: pemOf(t, enc)}}}, Service: "SHOP_SHARE", Claims: []string{"age_gte_18"}})
			r.Language = "nl"
			_, res := login(t, citsme.New(time.Now, newDirectory()), r, newBrowser(t))
			if res.Step != x.want {
				t.Fatalf("%#v, want %#v", res.Step, x.want)
			}
			if x.refuses != "" {
				return
			}
			who := res.Confirmed
			if who.Subject != "person-1" || who.Name != "Florent Verschueren" || who.Number != "80010299946" || who.Birth != "1980-01-02" || who.Address.City != "Brussel" || who.Signals["age_gte_18"] != "true" {
				t.Errorf("%#v", *who)
			}
		})
	}
}

// TestDialects: what the other eIDs over OpenID Connect ask of a relying party.
func TestDialects(t *testing.T) {
	t.Parallel()
	dir := install(t)
	for name, x := range map[string]struct {
		client map[string]any
		config func(*oidcrp.Config)
		by     oidcrp.Means
		signed bool // whether UserInfo is
	}{
		"pushed requests, a secret, UserInfo as JSON": {map[string]any{"token_endpoint_auth_method": "client_secret_basic", "require_pushed_authorization_requests": true},
			func(c *oidcrp.Config) { c.Auth, c.RequireIss, c.UserInfo.Plain = oidcrp.SecretBasic, true, true }, oidcrp.Pushed, false},
		"a query, a secret in the body, signed UserInfo": {map[string]any{"token_endpoint_auth_method": "client_secret_post", "userinfo_signed_response_alg": "RS256"},
			func(c *oidcrp.Config) { c.Auth = oidcrp.SecretPost }, oidcrp.Query, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := register(t, false)
			for k, v := range x.client {
				client[k] = v
			}
			p := start(t, dir, map[string]any{"scopes": []string{"openid", "profile"}, "claims": map[string]any{"openid": []string{"sub"}, "profile": []string{"name"}},
				"person": map[string]any{"name": "Ola Nordmann"}, "clients": []any{client}})
			conf := oidcrp.Config{Issuer: p.issuer, ClientID: "us", Secret: secret, AllowHTTP: true}
			x.config(&conf)
			c, err := oidcrp.New(conf, newDirectory())
			if err != nil {
				t.Fatal(err)
			}
			address, l, err := c.Begin(t.Context(), oidcrp.Request{RedirectURI: back, Scope: "openid profile", By: x.by, Params: url.Values{"prompt": {"login"}}})
			if err != nil {
				t.Fatal(err)
			}
			q := browse(t, address)
			code, err := c.Answer(l, q)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := c.Redeem(t.Context(), l, code)
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := c.Read(t.Context(), l, raw, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			info, err := c.UserInfo(t.Context(), tokens)
			if err != nil {
				t.Fatal(err)
			}
			if tokens.ID.Subject != "person-1" || string(info.Claims["name"]) != `"Ola Nordmann"` || (info.Signed != "") != x.signed {
				t.Errorf("%v %s", tokens.ID.Subject, info.Claims["name"])
			}
			if _, err := c.Redeem(t.Context(), l, code); err == nil {
				t.Error("a code works twice")
			} else if no, ok := errors.AsType[*oidcrp.Refused](err); !ok || no.Code != "invalid_grant" {
				t.Errorf("a code twice: %v", err)
			}
		})
	}
}
