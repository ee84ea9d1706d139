package itsme_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"eidgate/sandbox"
	"eidgate/sandbox/itsme"
)

const ns = "http://itsme.services/v2/claim/"

// A told is what a login brought.
type told struct {
	id, info map[string]any
	access   string
}

// partner is one with a secret, whose tokens anybody can read.
func (b *box) partner(t *testing.T, gen int) itsme.Registration {
	t.Helper()
	r, err := b.Partner("Shop", back, gen, true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// begin opens a request, and is the page that it leads to.
func (b *box) begin(t *testing.T, r itsme.Registration, scope, claims string) string {
	t.Helper()
	q := asks(r)
	q.Set("scope", "openid service:"+r.Service+" "+scope)
	if claims != "" {
		q.Set("claims", claims)
	}
	to := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil).Header().Get("Location")
	if !strings.HasPrefix(to, b.base+"/itsme/app/") {
		t.Fatalf("%s %s: %s", scope, claims, to)
	}
	return to
}

func (b *box) login(t *testing.T, r itsme.Registration, person, scope, claims string) told {
	t.Helper()
	page := b.begin(t, r, scope, claims)
	if _, err := b.Do(page[strings.LastIndexByte(page, '/')+1:], sandbox.Act{Event: "approve", Person: person}); err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(b.send(t, http.MethodGet, page, nil).Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	w := b.send(t, http.MethodPost, r.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {back}, "client_id": {r.ClientID}, "client_secret": {r.Secret}})
	var answer struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.ID == "" {
		t.Fatalf("%s, %v", w.Body, err)
	}
	return told{claimsOf(t, answer.ID), claimsOf(t, b.bearer(t, r.Issuer+"/userinfo", answer.Access).Body.String()), answer.Access}
}

func (b *box) bearer(t *testing.T, address, access string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	req.Header.Set("Authorization", "Bearer "+access)
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, req)
	return w
}

func claimsOf(t *testing.T, token string) (out map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%.200s is no token", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// own are the names of claims that are itsme's.
func own(claims map[string]any) (out []string) {
	for name := range claims {
		if strings.Contains(name, ":") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func userinfo(names ...string) string {
	part := map[string]any{}
	for _, name := range names {
		part[name] = nil
	}
	raw, _ := json.Marshal(map[string]any{"userinfo": part}) // names only
	return string(raw)
}

var prefixes = []string{"tag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:", "tag:itsmetag:sixdots.be,2016-06:"}

func isPhoto(raw []byte) bool {
	m, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	return err == nil && m.Width == 140 && m.Height == 200
}

// TestSpellings: the first generation answers under the name that was asked, in
// every spelling that is published.
func TestSpellings(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 1)
	for _, last := range []string{"claim_nationality", "claim_city_of_birth", "claim_country_of_birth", "claim_eid", "claim_device", "claim_photo", "claim_transaction_info", "claim_passport_sn"} {
		person := "florent"
		if last == "claim_passport_sn" {
			person = "sanne"
		}
		var all []string
		for _, prefix := range prefixes {
			all = append(all, prefix+last)
			got := b.login(t, r, person, "", userinfo(prefix+last))
			if names := own(got.info); !slices.Equal(names, []string{prefix + last}) || own(got.id) != nil {
				t.Errorf("asked for %s: told %v, in the ID token %v", prefix+last, names, own(got.id))
			}
		}
		slices.Sort(all)
		if got := own(b.login(t, r, person, "", userinfo(all...)).info); !slices.Equal(got, all) {
			t.Errorf("asked for %v at once: told %v", all, got)
		}
		page := b.begin(t, r, "", userinfo(all[0]))
		if shown := b.send(t, http.MethodPost, page, url.Values{"person": {person}}).Body.String(); !strings.Contains(shown, "<dt>"+all[0]+"</dt>") {
			t.Errorf("the page does not show %s", all[0])
		}
		none := b.login(t, r, person, "email", userinfo(last, "tag:sixdots.be,2018-01:"+last, "tag:other:sixdots.be,2016-06:"+last))
		if len(own(none.info)) != 0 || none.info[last] != nil {
			t.Errorf("%s is told under names that nobody published: %v", last, none.info)
		}
	}
	text := "tag:sixdots.be,2020-03:claim_birthdate_as_string"
	if got := b.login(t, r, "sansdate", "", userinfo(text)).info[text]; got != "00.00.1960" {
		t.Errorf("birth date as text: %v", got)
	}
}

// TestFirstGeneration: what its claims look like.
func TestFirstGeneration(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 1)
	const tag, later = "tag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:"
	ask := userinfo(tag+"claim_nationality", tag+"claim_city_of_birth", tag+"claim_country_of_birth", tag+"claim_eid", later+"claim_device", later+"claim_photo", later+"claim_transaction_info", later+"claim_passport_sn")
	got := b.login(t, r, "florent", "profile email phone address eid", ask).info
	for name, want := range map[string]string{"locale": `"fr"`, "gender": `"male"`, "picture": "null", tag + "claim_nationality": `"belge"`, tag + "claim_city_of_birth": `"Brussel"`, tag + "claim_country_of_birth": `"BE"`,
		tag + "claim_eid": `{"eid":"592000000182","issuance_locality":"BRUXELLES","national_number":"80.01.02-999.46","read_date":"2023-04-12T15:02:23Z","validity_from":"2020-11-10T00:00:00Z","validity_to":"2030-11-10T00:00:00Z"}`,
		later + "claim_device": `{"appName":"be.bmid.itsme.e2e","appRelease":"4.0.0","debugEnabled":false,"deviceId":"0123456789abcdef0123456789abcdef0","deviceLabel":"phone","deviceLockLevel":"true","deviceModel":"A-100",` +
			`"hasSimEnabled":true,"imei":"000000000000000","manufacturer":"ACME","msisdn":"0032425009714","os":"ANDROID","osRelease":"14","rooted":false,"sdkRelease":"4.0.0","smsEnabled":true}`,
		later + "claim_transaction_info": `{"bindLevel":"SOFT_ONLY","mcc":206,"securityLevel":"SOFT_ONLY"}`, later + "claim_passport_sn": "null",
		"address": `"{\"country\":\"BE\",\"street_address\":\"Havenlaan 2\",\"locality\":\"Brussel\",\"postal_code\":\"1000\"}"`,
	} {
		if raw, err := json.Marshal(got[name]); err != nil || string(raw) != want {
			t.Errorf("%s is %s, want %s", name, raw, want)
		}
	}
	text, _ := got[later+"claim_photo"].(string) // no photo is none
	if raw, err := base64.StdEncoding.DecodeString(text); err != nil || !isPhoto(raw) {
		t.Errorf("photo: %.40s, %v", text, err)
	}
	got = b.login(t, r, "sanne", "profile email phone address eid", ask).info
	if got[later+"claim_passport_sn"] != "SPECI2014" || got[tag+"claim_eid"] != nil || got[tag+"claim_country_of_birth"] != nil || got["address"] != nil || got["locale"] != "nl" || got["gender"] != nil {
		t.Errorf("sanne: %v", got)
	}
	if got := b.login(t, r, "jonge", "", ask).info[tag+"claim_eid"]; fmt.Sprint(got) == "<nil>" || strings.Contains(fmt.Sprint(got), "national_number") {
		t.Errorf("a card without a number: %v", got)
	}
	for name, x := range map[string][3]string{
		"a value":           {"profile", `{"userinfo":{"tag:sixdots.be,2017-05:claim_device":{"value":{"os":"IOS"}}}}`, "invalid_request"},
		"idDocument":        {"profile idDocument", "", "invalid_scope"},
		"essential, though": {"profile", `{"userinfo":{"tag:sixdots.be,2017-05:claim_device":{"essential":true}}}`, ""},
	} {
		q := asks(r)
		q.Set("scope", "openid service:"+r.Service+" "+x[0])
		q.Set("claims", x[1])
		to, err := url.Parse(b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil).Header().Get("Location"))
		if err != nil || to.Query().Get("error") != x[2] {
			t.Errorf("%s: %v, %v", name, to, err)
		}
	}
}

// TestNumbers: the number of a document's country is told where it was asked
// for, and no other one.
func TestNumbers(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 2)
	var all []string
	for _, prefix := range []string{"BE", "RO", "BG", "CZ", "SK", "HR", "LT", "SI", "SV", "LV", "MT", "RS", "MD"} {
		all = append(all, ns+prefix+"NationalNumber")
	}
	for issuer, prefixes := range map[string]string{"BEL": "BE", "ROU": "RO", "BGR": "BG", "CZE": "CZ", "SVK": "SK", "HRV": "HR", "LTU": "LT", "SVN": "SI SV", "LVA": "LV", "MLT": "MT", "SRB": "RS", "MDA": "MD"} {
		key := strings.ToLower(issuer)
		if err := b.People.Put(sandbox.Person{Key: key, Country: "XX", Given: "A", Itsme: &sandbox.Itsme{Document: "D" + issuer, DocumentType: "I", Issuer: issuer, NationalNumber: "12345678901"}}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, prefix := range strings.Fields(prefixes) {
			want = append(want, ns+prefix+"NationalNumber")
		}
		got := b.login(t, r, key, "", userinfo(all...)).info
		if names := own(got); !slices.Equal(names, want) || got[want[0]] != "12345678901" {
			t.Errorf("%s: %v", issuer, got)
		}
		for _, name := range all {
			if got := own(b.login(t, r, key, "", userinfo(name)).info); slices.Contains(want, name) != (len(got) == 1) {
				t.Errorf("%s asked for %s alone: %v", issuer, name, got)
			}
		}
	}
	if got := b.login(t, r, "ionela", "profile eid", userinfo(ns+"RONationalNumber")).info; got[ns+"RONationalNumber"] != "2910823000008" || len(own(got)) != 1 || got["locale"] != "EN" {
		t.Errorf("ionela: %v", got)
	}
}

// TestAbout: claims about the document speak of what the same request asks for.
func TestAbout(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 2)
	names := []string{ns + "IDIssuingCountry", ns + "validityFrom", ns + "validityTo", ns + "verificationDate", ns + "issuance_locality"}
	for scope, want := range map[string][]string{
		"":           {"", "", "", "", ""},
		"email":      {"", "", "", "", ""},
		"profile":    {"birthdate name", "", "", "birthdate name", ""},
		"eid":        {"BEeidSn", "BEeidSn", "BEeidSn", "BEeidSn", "BEeidSn"},
		"idDocument": {"IDDocumentSN", "IDDocumentSN", "IDDocumentSN", "IDDocumentSN", "IDDocumentSN"},
	} {
		info := b.login(t, r, "florent", scope, userinfo(names...)).info
		for n, name := range names {
			about, _ := info[name].(map[string]any) // none says nothing
			var of []string
			for full := range about {
				of = append(of, strings.TrimPrefix(full, ns))
			}
			if slices.Sort(of); strings.Join(of, " ") != want[n] {
				t.Errorf("with %q %s is about %v, want %s", scope, name, of, want[n])
			}
		}
	}
	got := b.login(t, r, "florent", "idDocument", "").info
	if names := own(got); strings.Join(names, " ") != strings.Join([]string{ns + "IDDocumentSN", ns + "IDDocumentType", ns + "IDIssuingCountry", ns + "validityFrom", ns + "validityTo"}, " ") {
		t.Errorf("idDocument brings %v", names)
	}
	if got := own(b.login(t, r, "sanne", "idDocument", "").info); slices.Contains(got, ns+"validityFrom") || !slices.Contains(got, ns+"validityTo") {
		t.Errorf("of a Dutch passport: %v", got)
	}
}

// TestSecondGeneration: what the catalogue has beside the usual, each claim in
// the part where it was asked for.
func TestSecondGeneration(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 2)
	names := []string{"official_gender", "app", "account", "identification_mode", "transaction_ip", "ongoing_call", "physical_person_photo", "claim_device", "place_of_birth"}
	for i := range names {
		names[i] = ns + names[i]
	}
	got := b.login(t, r, "florent", "", userinfo(names...))
	for name, want := range map[string]string{"official_gender": `"M"`, "app": `{"appInstalledDate":"2023-04-12T15:02:23Z","appName":"be.bmid.itsme.e2e","appRelease":"4.0.0"}`,
		"account": `{"activationDate":"2023-04-12T15:02:23Z","activationMechanism":"CONTACT_LESS"}`, "identification_mode": `"QR"`, "transaction_ip": `"192.0.2.1"`, "ongoing_call": "false",
		"place_of_birth": `{"city":"Brussel","country":"BE","formatted":"Brussel BE"}`} {
		if raw, err := json.Marshal(got.info[ns+name]); err != nil || string(raw) != want {
			t.Errorf("%s is %s, want %s", name, raw, want)
		}
	}
	if device, ok := got.info[ns+"claim_device"].(map[string]any); !ok || device["msisdn"] != "0032425009714" || device["imei"] != nil {
		t.Errorf("device: %v", device)
	}
	if len(own(got.id)) != 0 {
		t.Errorf("in the ID token: %v", own(got.id))
	}

	age := b.login(t, r, "jonge", "", `{"id_token":{"age_gte_16":null,"age_gte_18":null,"acr":null}}`)
	if age.id["age_gte_18"] != false || age.id["age_gte_16"] != true || age.info["age_gte_18"] != nil || age.id["acr"] != ns+"acr_basic" {
		t.Errorf("age: %v, %v", age.id, age.info)
	}
	if got := b.login(t, r, "sansdate", "", `{"id_token":{"age_gte_18":null}}`); got.id["age_gte_18"] != nil || got.id["acr"] != nil {
		t.Errorf("without a birth date: %v", got.id)
	}
	for _, claims := range []string{`{"userinfo":{}}`, `{"id_token":{"acr":null}}`, `{"userinfo":{"sub":null}}`} {
		q := asks(r)
		q.Set("scope", "openid service:"+r.Service)
		q.Set("claims", claims)
		if to := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil).Header().Get("Location"); !strings.Contains(to, "error=invalid_request") {
			t.Errorf("%s shares nothing, and leads to %s", claims, to)
		}
	}
}

// TestPicture: it is there for whoever was told of it.
func TestPicture(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 2)
	with := b.login(t, r, "florent", "profile", "")
	at, _ := with.info["picture"].(string) // no address leads nowhere
	if w := b.bearer(t, at, with.access); at != r.Issuer+"/picture" || w.Code != 200 || w.Header().Get("Content-Type") != "image/jpeg" || !isPhoto(w.Body.Bytes()) {
		t.Errorf("%s: %d", at, w.Code)
	}
	if w := b.bearer(t, r.Issuer+"/picture", b.login(t, r, "florent", "email", "").access); w.Code != http.StatusForbidden {
		t.Errorf("without having asked: %d", w.Code)
	}
	if w := b.bearer(t, r.Issuer+"/picture", "x"); w.Code != http.StatusUnauthorized || !strings.Contains(w.Header().Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("without a token: %d", w.Code)
	}
	if w := b.bearer(t, b.base+"/itsme/oidc/picture", with.access); w.Code != http.StatusNotFound {
		t.Errorf("in the first generation: %d", w.Code)
	}
}

// TestBothKeys: a message is for any of a partner's two keys, which its kid
// names, and no other key opens it.
func TestBothKeys(t *testing.T) {
	t.Parallel()
	for gen, alg := range map[int]jose.KeyAlgorithm{1: jose.RSA_OAEP, 2: jose.RSA_OAEP_256} {
		b := newBox(sandbox.Approve)
		r, err := b.Partner("Shop", back, gen, false)
		if err != nil {
			t.Fatal(err)
		}
		private := func(text string) any {
			block, _ := pem.Decode([]byte(text))
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
		keys := map[string]any{r.EncKID: private(r.EncKey), r.EncKID2: private(r.EncKey2)}
		if len(keys) != 2 || r.EncKey == r.EncKey2 || r.EncKey == r.SigningKey {
			t.Fatalf("keys %v", keys)
		}
		seen := map[string]int{}
		for range 40 {
			e, err := jose.ParseEncryptedCompact(b.sealed(t, r, private(r.SigningKey)), []jose.KeyAlgorithm{alg}, []jose.ContentEncryption{jose.A128CBC_HS256})
			if err != nil {
				t.Fatal(err)
			}
			seen[e.Header.KeyID]++
			for kid, key := range keys {
				if _, err := e.Decrypt(key); (err == nil) != (kid == e.Header.KeyID) {
					t.Errorf("a message for %s, opened with %s: %v", e.Header.KeyID, kid, err)
				}
			}
			if len(seen) == 2 {
				break
			}
		}
		if seen["enc1"] == 0 || seen["enc2"] == 0 || len(seen) != 2 {
			t.Errorf("generation %d: %v", gen, seen)
		}
	}
}

// sealed is the ID token of a login of a partner with keys.
func (b *box) sealed(t *testing.T, r itsme.Registration, key any) string {
	t.Helper()
	gen := 2
	if strings.HasSuffix(r.Issuer, "/oidc") {
		gen = 1
	}
	sign := func(claims map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: r.SigningKID}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(claims) // texts and numbers
		o, err := signer.Sign(raw)
		if err != nil {
			t.Fatal(err)
		}
		token, err := o.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(b.send(t, http.MethodGet, r.Issuer+"/jwkSet", nil).Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		e, err := jose.NewEncrypter(jose.A128CBC_HS256, jose.Recipient{Algorithm: jose.KeyAlgorithm(set.Key("e1")[0].Algorithm), Key: set.Key("e1")[0].Key, KeyID: "e1"}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := e.Encrypt([]byte(token))
		if err != nil {
			t.Fatal(err)
		}
		out, err := sealed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	q := asks(r)
	if gen == 2 {
		object := map[string]any{"iss": r.ClientID, "aud": r.Issuer}
		for name := range q {
			object[name] = q.Get(name)
		}
		q = url.Values{"client_id": {r.ClientID}, "response_type": {"code"}, "scope": {"openid"}, "request": {sign(object)}}
	}
	page := b.send(t, http.MethodGet, r.Issuer+"/authorization?"+q.Encode(), nil).Header().Get("Location")
	to, err := url.Parse(b.send(t, http.MethodGet, page, nil).Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	w := b.send(t, http.MethodPost, r.Issuer+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {back},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {sign(map[string]any{"iss": r.ClientID, "sub": r.ClientID, "aud": r.Issuer + "/token", "jti": to.Query().Get("code"), "exp": b.clock.Now().Add(time.Minute).Unix()})}})
	var answer struct {
		ID string `json:"id_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.ID == "" {
		t.Fatalf("%s, %v", w.Body, err)
	}
	return answer.ID
}

// TestNobodyActs: the page of somebody who never acts stays as it is, and comes
// back when the time is over.
func TestNobodyActs(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	r := b.partner(t, 2)
	page := b.begin(t, r, "profile", "")
	if w := b.send(t, http.MethodGet, page, nil); !strings.Contains(w.Body.String(), "person-tace") || w.Header().Get("Refresh") != "" {
		t.Fatalf("tace cannot be chosen: %s", w.Body)
	}
	b.clock.Advance(time.Minute)
	for name, w := range map[string]*httptest.ResponseRecorder{"chosen": b.send(t, http.MethodPost, page, url.Values{"person": {"tace"}}), "again": b.send(t, http.MethodGet, page, nil)} {
		if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "Nobody acts in the app.") || strings.Contains(body, "<form") || w.Header().Get("Refresh") != "120" {
			t.Errorf("%s: %d, again in %s s: %s", name, w.Code, w.Header().Get("Refresh"), body)
		}
	}
	b.clock.Advance(119 * time.Second)
	if w := b.send(t, http.MethodGet, page, nil); w.Code != 200 || w.Header().Get("Refresh") != "1" {
		t.Errorf("a second before: %d %s", w.Code, w.Header().Get("Refresh"))
	}
	b.clock.Advance(time.Second)
	to, err := url.Parse(b.send(t, http.MethodGet, page, nil).Header().Get("Location"))
	if err != nil || to.Host != "party.example" || to.Query().Get("error") != "access_denied" || to.Query().Get("state") != "s" {
		t.Errorf("after three minutes: %v, %v", to, err)
	}
	page = b.begin(t, r, "profile", "")
	b.send(t, http.MethodPost, page, url.Values{"person": {"tace"}})
	if _, err := b.Do(page[strings.LastIndexByte(page, '/')+1:], sandbox.Act{Event: "approve", Person: "florent"}); err != nil {
		t.Fatal(err)
	}
	if to := b.send(t, http.MethodGet, page, nil).Header().Get("Location"); !strings.Contains(to, "code=") {
		t.Errorf("somebody acts after all, and the page leads to %q", to)
	}
}

// TestTelephone: the page of the first generation asks for a number, and finds
// whose app it is; that of the second does not.
func TestTelephone(t *testing.T) {
	t.Parallel()
	b := newBox(sandbox.Ignore)
	for gen := 1; gen <= 2; gen++ {
		page := b.begin(t, b.partner(t, gen), "profile", "")
		if asks := strings.Contains(b.send(t, http.MethodGet, page, nil).Body.String(), `name="phone"`); asks != (gen == 1) {
			t.Errorf("generation %d asks for a number: %v", gen, asks)
		}
		for number, want := range map[string]string{"+32 425009715": "Peeters", "0032 425 00 97 15": "Peeters", "+39 3000000001": "Nobody acts in the app.", "+32 1": "", "": ""} {
			w := b.send(t, http.MethodPost, b.begin(t, b.partner(t, gen), "profile", ""), url.Values{"act": {"phone"}, "phone": {number}})
			switch body := w.Body.String(); {
			case gen == 2 && w.Code != http.StatusBadRequest, gen == 2 && strings.Contains(body, "Peeters"):
				t.Errorf("generation 2, %q: %d %s", number, w.Code, body)
			case gen == 1 && want == "" && (w.Code != http.StatusBadRequest || !strings.Contains(body, "Nobody here has this number.") || !strings.Contains(body, "person-florent")):
				t.Errorf("%q: %d %s", number, w.Code, body)
			case gen == 1 && want != "" && (w.Code != http.StatusOK || !strings.Contains(body, want) || strings.Contains(body, "person-florent")):
				t.Errorf("%q: %d %s", number, w.Code, body)
			}
		}
	}
}

// TestFidelity: what differs is said, and what no longer does is not.
func TestFidelity(t *testing.T) {
	t.Parallel()
	for _, f := range itsme.Fidelity() {
		if f.Upstream != "itsme" || f.What == "" || f.State != sandbox.Exact && f.Because == "" {
			t.Errorf("%+v", f)
		}
		for _, over := range []string{"are not told", "capitals", "telephone"} {
			if strings.Contains(f.Because, over) {
				t.Errorf("%+v is no longer so", f)
			}
		}
	}
}
