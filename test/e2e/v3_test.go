package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/test/rig"
)

// What a strict client of the third generation knows, and nothing else.
type (
	setup3 struct {
		ID          string   `json:"id"`
		RedirectURL *string  `json:"redirectUrl"`
		Errors      []fault3 `json:"errors"`
	}
	fault3 struct {
		Code        string `json:"code"`
		Description string `json:"description"`
	}
	result3 struct {
		ID       string   `json:"id"`
		State    string   `json:"state"`
		Errors   []fault3 `json:"errors"`
		Identity *struct {
			CountryCode        string `json:"countryCode"`
			FirstName          string `json:"firstName"`
			LastName           string `json:"lastName"`
			FullName           string `json:"fullName"`
			PersonalNumber     string `json:"personalNumber"`
			DateOfBirth        string `json:"dateOfBirth"`
			Age                *int   `json:"age"`
			Gender             string `json:"gender"`
			Phone              string `json:"phone"`
			Email              string `json:"email"`
			AddressInfoRaw     string `json:"addressInfoRaw"`
			IDProviderName     string `json:"idProviderName"`
			IdentificationDate string `json:"identificationDate"`
			Authenticity       string `json:"idProviderAuthenticityScore"`
			RequestID          string `json:"idProviderRequestId"`
			PersonID           string `json:"idProviderPersonId"`
		} `json:"identity"`
		ProviderData *string `json:"providerData"`
	}
	user3 struct {
		Sub, Aud, Birthdate, Gender, Name, Iss, Locale, Email, Address *string
		CityOfBirth                                                    *string `json:"city_of_birth"`
		EID                                                            *struct {
			EID    string `json:"eid"`
			Number string `json:"national_number"`
		} `json:"eid"`
		Phone         *string `json:"phone_number"`
		PhoneVerified *bool   `json:"phone_number_verified"`
		Given         *string `json:"given_name"`
		Family        *string `json:"family_name"`
		EmailVerified *bool   `json:"email_verified"`
		Parsed        *struct {
			Country    *string `json:"country"`
			Street     *string `json:"street_address"`
			Locality   *string `json:"locality"`
			PostalCode *string `json:"postal_code"`
		} `json:"ParsedAddress"`
		Nationality *string `json:"nationality"`
		Photo       *string `json:"photo"`
		Device      any     `json:"device"`
	}
)

// strictly decodes what was answered, and refuses what is not known.
func strictly(t *testing.T, raw []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
}

func v3(t *testing.T, w *rig.Dev, method, path string, form url.Values, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.URLs["public"]+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", w.Key)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	strictly(t, raw.Bytes(), into)
	return res.StatusCode
}

// TestThirdGeneration: itsme as ZignSec documents it. The address of the setup is
// itsme's own, and the browser that comes back from there has the login.
func TestThirdGeneration(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	var set setup3
	if status := v3(t, w, "POST", "/v3/eid/itsme", url.Values{"target": {w.HookAt + "?x=1"}, "relaystate": {"basket"}, "webhook": {w.HookAt}, "language": {"nl"}}, &set); status != 200 || set.RedirectURL == nil {
		t.Fatalf("setup: %d %v", status, set)
	}
	u, err := url.Parse(*set.RedirectURL)
	if err != nil || !strings.HasSuffix(u.Path, "/itsme/v2/authorization") || u.Query().Get("request") == "" || u.Query().Has("ui_locales") {
		t.Fatalf("redirectUrl is %v, %v", u, err)
	}
	var got result3
	if v3(t, w, "GET", "/v3/eid/itsme/"+set.ID, nil, &got); got.State != "Pending" || got.Identity != nil || got.ProviderData != nil {
		t.Errorf("before anything: %+v", got)
	}
	// A browser that has never seen us goes to itsme, and the app says yes.
	jar := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := *set.RedirectURL
	for range 8 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := jar.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		next, err := res.Location()
		if err != nil {
			t.Fatalf("%s answers %d and leads nowhere", at, res.StatusCode)
		}
		if at = next.String(); strings.Contains(at, "/itsme/app/") {
			ref := at[strings.LastIndexByte(at, '/')+1:]
			if status, out := w.Call("POST", w.URLs["control"]+"/sandbox/v1/orders/"+ref+"/events", "application/json", `{"event":"approve","person":"florent"}`); status != 200 {
				t.Fatalf("the app: %d %v", status, out)
			}
		}
		if strings.HasPrefix(at, w.HookAt) {
			break
		}
	}
	if want := w.HookAt + "?x=1&relaystate=basket"; at != want {
		t.Errorf("the browser ends at %s, want %s", at, want)
	}
	got = result3{}
	v3(t, w, "GET", "/v3/eid/itsme/"+set.ID, nil, &got)
	if who := got.Identity; got.State != "Finished" || who == nil || who.CountryCode != "BE" || who.FirstName != "Florent" || who.LastName != "Verschueren" || who.FullName != "Florent Verschueren" ||
		who.PersonalNumber != "80010299946" || who.DateOfBirth != "1980-01-02" || who.Gender != "male" || who.Phone != "+32 425009714" || who.Email != "florent@example.test" ||
		who.AddressInfoRaw != "Havenlaan 2,Brussel,1000" || who.IDProviderName != "ItsMe" || who.Authenticity != "NOT_SET" || who.Age == nil {
		t.Fatalf("result %+v %+v", got, got.Identity)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.0000000Z", got.Identity.IdentificationDate); err != nil {
		t.Error(err)
	}
	var user user3
	strictly(t, []byte(*got.ProviderData), &user)
	var address map[string]string
	if err := json.Unmarshal([]byte(*user.Address), &address); err != nil || address["street_address"] != "Havenlaan 2" || address["country"] != "BE" || *user.Parsed.Locality != "Brussel" {
		t.Errorf("address %v, %v", *user.Address, err)
	}
	if user.EID == nil || user.EID.Number != "80010299946" || user.Photo != nil || user.Device == nil || *user.EmailVerified || !*user.PhoneVerified || *user.Locale != "FR" || len(*user.Sub) != 36 {
		t.Errorf("providerData %s", *got.ProviderData)
	}
	order := `{"sub":|"aud":|"eid":|"birthdate":|"city_of_birth":|"gender":|"name":|"iss":|"phone_number":|"phone_number_verified":|"given_name":|"family_name":|"locale":|"email":|"email_verified":|"address":|"ParsedAddress":|"nationality":|"photo":|"device":`
	from := 0
	for name := range strings.SplitSeq(order, "|") {
		i := strings.Index((*got.ProviderData)[from:], name)
		if i < 0 {
			t.Fatalf("%s is not where it is documented to be", name)
		}
		from += i
	}
	select {
	case h := <-w.Hooks:
		var told result3
		strictly(t, h.Body, &told)
		if told.ID != set.ID || told.State != "Finished" {
			t.Errorf("webhook %s", h.Body)
		}
	case <-time.After(10 * time.Second):
		t.Error("no webhook came")
	}
	for _, path := range []string{"/v2/eid/" + set.ID, "/v3/eid/idin/" + set.ID, "/v3/eid/itsme/" + w.Setup("itsme", url.Values{"target": {w.HookAt}})} {
		if status, out := w.Call("GET", w.URLs["public"]+path, "", ""); status != 404 {
			t.Errorf("%s: %d %v", path, status, out)
		}
	}
	if status, out := w.Call("GET", w.URLs["public"]+"/v3/eid/"+set.ID, "", ""); status != 200 || out["state"] != "Finished" {
		t.Errorf("without a method: %d %v", status, out)
	}
}

// TestThirdGenerationEnds: what a party is told of a login that fails, and of a
// setup that cannot be; other methods have a page of ours.
func TestThirdGenerationEnds(t *testing.T) {
	t.Parallel()
	w := rig.StartDev(t, "memory")
	var set setup3
	v3(t, w, "POST", "/v3/eid/itsme", url.Values{"target": {w.HookAt}, "targetError": {w.HookAt + "?failed"}}, &set)
	if out := w.Decide(set.ID, "cancel", "florent"); out["redirect"] != w.HookAt+"?failed&relaystate="+set.ID {
		t.Errorf("decide: %v", out)
	}
	var got result3
	if v3(t, w, "GET", "/v3/eid/itsme/"+set.ID, nil, &got); got.State != "Error" || len(got.Errors) != 1 || got.Errors[0].Code != "USER_CANCEL" {
		t.Errorf("cancelled: %+v", got)
	}
	set = setup3{}
	if status := v3(t, w, "POST", "/v3/eid/itsme", url.Values{"target": {"ftp://x"}}, &set); status != 400 || set.RedirectURL != nil || set.Errors[0].Code != "INVALID_TARGET" || len(set.ID) != 36 {
		t.Errorf("a wrong target: %d %+v", status, set)
	}
	for method, says := range map[string]string{"idin": `"legalLastName":"Vries"`, "sbid": `"signature":"`} {
		set, got = setup3{}, result3{}
		if v3(t, w, "POST", "/v3/eid/"+method, url.Values{"target": {w.HookAt}}, &set); set.RedirectURL == nil || !strings.Contains(*set.RedirectURL, "/v2/Hosted/"+set.ID) {
			t.Errorf("%s: %+v", method, set)
		}
		w.Decide(set.ID, "approve", "")
		if v3(t, w, "GET", "/v3/eid/"+method+"/"+set.ID, nil, &got); got.State != "Finished" || got.Identity == nil || got.Identity.LastName == "" || got.ProviderData == nil || !strings.Contains(*got.ProviderData, says) {
			t.Errorf("%s: %+v", method, got)
		}
	}
	if status, out := w.Call("POST", w.URLs["public"]+"/v3/eid/be", "application/x-www-form-urlencoded", "target="+url.QueryEscape(w.HookAt)); status != 400 {
		t.Errorf("a country: %d %v", status, out)
	}
}
