package zignsec

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// The third generation (§15): itsme as it is documented, and every other method
// of the second in the same form.

// setupAnswer3 is the answer to a setup.
type setupAnswer3 struct {
	ID          string      `json:"id"`
	RedirectURL *string     `json:"redirectUrl"`
	Errors      []wireError `json:"errors"`
}

// find3 is what stands at a path below /v3; nil if there is nothing.
func (a *API) find3(path []string) endpoint {
	if len(path) < 2 || path[0] != "eid" {
		return nil
	}
	create := func(method string) func(http.ResponseWriter, *http.Request, caller) error {
		return func(w http.ResponseWriter, r *http.Request, c caller) error { return a.create3(w, r, c, method) }
	}
	read := func(method, id string) func(http.ResponseWriter, *http.Request, caller) error {
		return func(w http.ResponseWriter, r *http.Request, c caller) error { return a.read(w, r, c, id, method) }
	}
	switch len(path) {
	case 2:
		return endpoint{http.MethodPost: create(path[1]), http.MethodGet: read("*", path[1])}
	case 3:
		return endpoint{http.MethodPost: create(path[1] + "/" + path[2]), http.MethodGet: read(path[1], path[2])}
	case 4: // smartid/auth/{id}
		return endpoint{http.MethodGet: read(path[1]+"/"+path[2], path[3])}
	}
	return nil
}

// straight are the eIDs to which a browser can be sent without a page of ours:
// the answer to a setup has their own address, which opens an app on a phone.
var straight = map[eid.EID]bool{eid.Itsme: true}

// create3 sets up a session (§15.1). Where the browser goes straight to the
// eID, the login begins now, for a browser that nobody has seen: whichever comes
// back first has it, and the binding is none.
func (a *API) create3(w http.ResponseWriter, r *http.Request, c caller, selector string) error {
	if len(selector) == 2 {
		return bad("INVALID_REQUEST", "v3 has no country selectors. Name a method, such as itsme.")
	}
	n, ms, err := a.prepare(w, r, c, selector, third)
	if err != nil {
		return err
	}
	n.ID = a.c.NewID()
	n.Spec.Page = "/v2/Hosted/" + n.ID + "/" + ms[0].name + "/"
	to := a.c.Public + n.Spec.Page
	if straight[ms[0].eid] && !c.Account.Switches.ItsmeBounceURL {
		v, err := a.c.Broker.Begin(r.Context(), *n, connector.Browser{}, nil)
		if err != nil {
			return err
		}
		if v.Place == broker.AtEnd {
			return &problem{startStatus(v.Failed), failure(&v.Session), n.ID}
		}
		if step, ok := v.Step.(connector.Redirect); ok { // else our page waits while the eID is asked again, or lets the person try again
			to = step.URL
		}
	} else if _, err := a.c.Broker.Create(r.Context(), *n); err != nil {
		return err
	}
	write(w, http.StatusOK, setupAnswer3{ID: n.ID, RedirectURL: &to, Errors: []wireError{}})
	return nil
}

// An envelope3 is the result (§15.2).
type envelope3 struct {
	ID           string      `json:"id"`
	State        string      `json:"state"` // Pending, Finished or Error
	Errors       []wireError `json:"errors"`
	Identity     *identity3  `json:"identity,omitempty"`
	ProviderData *string     `json:"providerData,omitempty"` // JSON, as text
}

type identity3 struct {
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
	RequestID          string `json:"idProviderRequestId,omitempty"` // of others than itsme, whose sample ends here
	PersonID           string `json:"idProviderPersonId,omitempty"`
}

// render3 is the body that a read answers and a notification carries. Pure.
func render3(s *broker.Session, pay *payload, who *eid.Identity, evidence []eid.Evidence) ([]byte, error) {
	e := envelope3{ID: s.ID, State: "Pending", Errors: []wireError{}}
	switch s.State {
	case broker.Finished:
		if e.State = "Finished"; who == nil {
			break
		}
		e.Identity = newIdentity3(who, pay)
		if own := providerData(who, evidence); own != nil {
			data, err := marshal(own)
			if err != nil {
				return nil, err
			}
			text := string(data)
			e.ProviderData = &text
		}
	case broker.Failed:
		e.State, e.Errors = "Error", []wireError{failure(s)}
	default: // it goes on
	}
	return marshal(e)
}

// providerData is what an eID says beside the identity; nil for nothing. For
// what v2 has a node for it is that (§15.3).
func providerData(who *eid.Identity, evidence []eid.Evidence) any {
	switch who.EID {
	case eid.BankIDSE:
		if n := node(evidence); n != nil {
			return n
		}
	case eid.IDIN:
		return newIDIN(who)
	case eid.IDINAge:
		identity, check := fillAge(who, "")
		return ageData{identity.AgeApproved, check}
	case eid.Itsme:
		return newItsmeUser(evidence)
	case eid.BankIDNO:
		s := who.Signals
		return norwegianData{PID: who.Subject, TransactionID: who.Request, Method: who.Kind, ACR: s["acr"], AMR: s["amr"], Originator: s["originator"]}
	case eid.MitID:
		return newMitID(who)
	default: // NemID
	}
	return nil
}

// An ageData is providerData of an age check, without which nobody could tell
// whether the person is of age.
type ageData struct {
	AgeApproved bool `json:"AgeApproved"`
	*ageChecked
}

func newIdentity3(who *eid.Identity, pay *payload) *identity3 {
	at := who.At.UTC()
	if pay.LocalDate {
		at = at.In(stockholm())
	}
	i := &identity3{CountryCode: who.Country, FirstName: who.Given, LastName: who.Family, FullName: who.Name, PersonalNumber: string(who.Number),
		DateOfBirth: who.Birth, Age: who.Age, Gender: who.Gender, Phone: who.Phone, Email: who.Email,
		IDProviderName: providers[who.EID], IdentificationDate: at.Format(dateForm), Authenticity: "NOT_SET"}
	switch {
	case who.EID == eid.Itsme && pay.LegacyNames:
		i.FirstName, i.FullName = who.Name, strings.TrimSpace(who.Name+" "+who.Family)
	case who.EID != eid.Itsme && who.EID != eid.IDINAge: // the number of a check stands in providerData
		i.RequestID, i.PersonID = who.Request, personID(who)
	}
	if a := who.Address; a != nil {
		var parts []string
		for _, part := range []string{claims.Street(a, " "), a.City, a.PostalCode} {
			if part != "" {
				parts = append(parts, part)
			}
		}
		i.AddressInfoRaw = strings.Join(parts, ",")
	}
	return i
}

// An itsmeUser is what older clients of itsme know as its user, in the order in
// which it is documented; what itsme does not say is null (§15.3).
type itsmeUser struct {
	Sub           any `json:"sub"`
	Aud           any `json:"aud"`
	EID           any `json:"eid"`
	Birthdate     any `json:"birthdate"`
	CityOfBirth   any `json:"city_of_birth"`
	Gender        any `json:"gender"`
	Name          any `json:"name"`
	Iss           any `json:"iss"`
	Phone         any `json:"phone_number"`
	PhoneVerified any `json:"phone_number_verified"`
	Given         any `json:"given_name"`
	Family        any `json:"family_name"`
	Locale        any `json:"locale"`
	Email         any `json:"email"`
	EmailVerified any `json:"email_verified"`
	Address       any `json:"address"` // JSON, as text
	Parsed        any `json:"ParsedAddress"`
	Nationality   any `json:"nationality"`
	Photo         any `json:"photo"`
	Device        any `json:"device"`
}

type parsedAddress struct {
	Country    *string `json:"country"`
	Street     *string `json:"street_address"`
	Locality   *string `json:"locality"`
	PostalCode *string `json:"postal_code"`
}

// newItsmeUser reads the tokens that were kept, which were verified when they
// came.
func newItsmeUser(evidence []eid.Evidence) *itsmeUser {
	c := map[string]any{}
	for _, e := range evidence {
		parts := strings.Split(string(e.Data), ".")
		if e.Name != "id_token" && e.Name != "userinfo" || len(parts) != 3 {
			continue
		}
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			continue
		}
		_ = json.Unmarshal(raw, &c) // adds to what is there
	}
	tagged := map[string]any{} // "tag:sixdots.be,2016-06:claim_eid" by the last part
	for name, v := range c {
		if strings.HasPrefix(name, "tag:") {
			tagged[name[strings.LastIndexByte(name, ':')+1:]] = v
		}
	}
	get := func(names ...string) any {
		for _, name := range names {
			if v, ok := c[name]; ok {
				return v
			}
			if v, ok := tagged[name]; ok {
				return v
			}
		}
		return nil
	}
	const ns = "http://itsme.services/v2/claim/"
	u := &itsmeUser{Sub: get("sub"), Aud: get("aud"), EID: get("claim_eid"), Birthdate: get("birthdate"), CityOfBirth: get("claim_city_of_birth"), Gender: get("gender"), Name: get("name"),
		Iss: get("iss"), Phone: get("phone_number"), PhoneVerified: get("phone_number_verified"), Given: get("given_name"), Family: get("family_name"),
		Locale: get("locale"), Email: get("email"), EmailVerified: get("email_verified"), Nationality: get(ns+"claim_citizenship", "claim_nationality"),
		Photo: get("claim_photo"), Device: get(ns+"claim_device", "claim_device")}
	if number := get(ns + "BENationalNumber"); u.EID == nil && number != nil {
		u.EID = map[string]any{"eid": get(ns + "BEeidSn"), "national_number": number}
	}
	if place, ok := get(ns + "place_of_birth").(map[string]any); ok {
		u.CityOfBirth = place["city"]
	}
	if photo, ok := get(ns + "physical_person_photo").(map[string]any); ok {
		u.Photo = photo["value"]
	}
	u.Address, u.Parsed = addresses3(get("address"))
	return u
}

// addresses3 is an address as text that holds an object, and as that object.
func addresses3(v any) (text, parsed any) {
	var p parsedAddress
	switch v := v.(type) {
	case string:
		if json.Unmarshal([]byte(v), &p) != nil {
			return v, nil
		}
		return v, &p
	case map[string]any:
		raw, err := marshal(v)
		if err != nil || json.Unmarshal(raw, &p) != nil {
			return nil, nil
		}
		if p.Country == nil { // only Belgian documents have an address
			be := "BE"
			p.Country = &be
		}
		if raw, err = marshal(p); err != nil {
			return nil, nil
		}
		return string(raw), &p
	}
	return nil, nil
}
