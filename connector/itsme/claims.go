package itsme

import (
	"strings"
	"time"

	"eidgate/connector/openid"
	"eidgate/eid"
)

// ns begins the names of the second generation that are not OpenID's (§5).
const ns = "http://itsme.services/v2/claim/"

// A name is that of a claim in each generation; "" where it does not exist.
type name struct{ v2, v1 string }

// registers are the countries beside Belgium whose numbers itsme tells (§5), by
// how the name of the claim begins. One page of its documentation spells
// Slovenia SV.
var registers = []struct{ prefix, country string }{{"RO", "RO"}, {"BG", "BG"}, {"CZ", "CZ"}, {"SK", "SK"}, {"HR", "HR"}, {"LT", "LT"}, {"SI", "SI"}, {"SV", "SI"},
	{"LV", "LV"}, {"MT", "MT"}, {"RS", "RS"}, {"MD", "MD"}}

// names are the claims that can be asked for one by one (§5).
var names = withRegisters(map[string]name{
	"age_gte_16":          {"age_gte_16", ""},
	"age_gte_18":          {"age_gte_18", ""},
	"age_gte_21":          {"age_gte_21", ""},
	"age_gte_30":          {"age_gte_30", ""},
	"birthdate_as_string": {ns + "birthdate_as_string", "tag:sixdots.be,2020-03:claim_birthdate_as_string"},
	"citizenship":         {ns + "claim_citizenship", "tag:sixdots.be,2016-06:claim_nationality"},
	"citizenship_iso":     {ns + "claim_citizenship_as_iso", ""},
	"place_of_birth":      {ns + "place_of_birth", "tag:sixdots.be,2016-06:claim_city_of_birth"},
	"country_of_birth":    {"", "tag:sixdots.be,2016-06:claim_country_of_birth"},
	"national_number":     {ns + "BENationalNumber", "tag:sixdots.be,2016-06:claim_eid"},
	"document_number":     {ns + "IDDocumentSN", "tag:sixdots.be,2017-05:claim_passport_sn"},
	"document_type":       {ns + "IDDocumentType", ""},
	"issuing_country":     {ns + "IDIssuingCountry", ""},
	"issuance_locality":   {ns + "issuance_locality", ""}, // in the first generation these are in claim_eid
	"valid_from":          {ns + "validityFrom", ""},
	"valid_to":            {ns + "validityTo", ""},
	"verified_at":         {ns + "verificationDate", ""},
	"photo":               {ns + "physical_person_photo", "tag:sixdots.be,2017-05:claim_photo"},
	"device":              {ns + "claim_device", "tag:sixdots.be,2017-05:claim_device"},
	"transaction_info":    {"", "tag:sixdots.be,2017-05:claim_transaction_info"},
	"official_gender":     {ns + "official_gender", ""},
	"app":                 {ns + "app", ""},
	"account":             {ns + "account", ""},
	"identification_mode": {ns + "identification_mode", ""},
	"transaction_ip":      {ns + "transaction_ip", ""},
	"ongoing_call":        {ns + "ongoing_call", ""},
})

func withRegisters(all map[string]name) map[string]name {
	for _, r := range registers {
		all["national_number_"+strings.ToLower(r.prefix)] = name{ns + r.prefix + "NationalNumber", ""}
	}
	return all
}

// find is a claim under any of the names that it has had: of the second
// generation, or of the first, which is published in several spellings.
func find(c openid.Claims, v2 string, v1 ...string) (string, bool) {
	if _, ok := c[ns+v2]; ok && v2 != "" {
		return ns + v2, true
	}
	for full := range c {
		tag, last, ok := cutLast(full)
		if !ok || !strings.HasPrefix(tag, "tag:sixdots.be,20") && !strings.HasPrefix(tag, "tag:itsmetag:sixdots.be,20") {
			continue
		}
		for _, want := range v1 {
			if last == want && want != "" {
				return full, true
			}
		}
	}
	return "", false
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// identity reads what itsme says of a person. What it does not say stays
// empty: a claim without a value is left out by itsme, never null.
func identity(c openid.Claims, now time.Time) *eid.Identity {
	id := &eid.Identity{Subject: c.Text("sub"), Name: c.Text("name"), Given: c.Text("given_name"), Family: c.Text("family_name"), Birth: openid.Birth(c.Text("birthdate")),
		Phone: c.Text("phone_number"), Email: c.Text("email")}
	if g := strings.ToLower(c.Text("gender")); g == "male" || g == "female" {
		id.Gender = g
	}
	if full, ok := find(c, "birthdate_as_string", "claim_birthdate_as_string"); ok && id.Birth == "" {
		id.BirthText = c.Text(full)
	}
	number, country := nationalNumber(c)
	if id.Country = country; number == "" {
		id.Country = issuer(c)
	} else {
		id.Number = openid.Number(country, number, now)
	}
	id.Age = openid.Years("BE", id.Birth, now)
	if adult, ok := c.Truth("age_gte_18"); ok {
		id.Approved = &adult
	}
	id.Address = address(c.Object("address"))
	id.Signals = signals(c)
	return id
}

// nationalNumber is the number of somebody's document, and the country in whose
// register it is: Belgium's before all others.
func nationalNumber(c openid.Claims) (number, country string) {
	if number = c.Text(ns + "BENationalNumber"); number != "" {
		return number, "BE"
	}
	if full, ok := find(c, "", "claim_eid"); ok {
		if number = digits(c.Object(full).Text("national_number")); number != "" {
			return number, "BE"
		}
	}
	for _, r := range registers {
		if number = strings.TrimSpace(c.Text(ns + r.prefix + "NationalNumber")); number != "" {
			return number, r.country
		}
	}
	return "", ""
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// issuer is the country whose document the account was made from, where no
// number tells it: only Belgian ones have an address, or a number of a Belgian card.
func issuer(c openid.Claims) string {
	if full, ok := find(c, "IDIssuingCountry"); ok {
		by := c.Object(full)
		for _, attribute := range documented {
			if two, ok := alpha2[by.Text(attribute)]; ok {
				return two
			}
		}
	}
	if _, card := find(c, "BEeidSn", "claim_eid"); card || c["address"] != nil {
		return "BE"
	}
	return ""
}

// documented are the attributes of a document by which claims about it are told,
// the one that names it best first.
var documented = []string{ns + "IDDocumentSN", ns + "BEeidSn", "name", "birthdate"}

// alpha2 are the countries whose documents itsme takes (§6).
var alpha2 = map[string]string{
	"BEL": "BE", "NLD": "NL", "LUX": "LU", "IRL": "IE", "PRT": "PT", "ITA": "IT", "FRA": "FR", "ESP": "ES", "GBR": "GB", "DEU": "DE", "FIN": "FI", "NOR": "NO",
	"SWE": "SE", "DNK": "DK", "ISL": "IS", "EST": "EE", "ROU": "RO", "AUT": "AT", "BGR": "BG", "CZE": "CZ", "GRC": "GR", "HUN": "HU", "POL": "PL", "SVK": "SK",
	"HRV": "HR", "LTU": "LT", "SVN": "SI", "LVA": "LV", "CYP": "CY", "MLT": "MT", "SRB": "RS", "MDA": "MD",
}

// address reads the address of a Belgian document: an object, or, in the first
// generation, a text that holds one.
func address(a openid.Claims) *eid.Address {
	if a == nil {
		return nil
	}
	out := &eid.Address{PostalCode: a.Text("postal_code"), City: a.Text("locality"), Country: a.Text("country")}
	if street := a.Text("street_address"); street != "" {
		out.Lines = []string{street}
	}
	if out.Country == "" {
		out.Country = "BE"
	}
	if out.PostalCode == "" && out.City == "" && out.Lines == nil {
		return nil
	}
	return out
}

// signals are what is known beside the person.
func signals(c openid.Claims) map[string]string {
	out := map[string]string{}
	put := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	for _, age := range []string{"age_gte_16", "age_gte_18", "age_gte_21", "age_gte_30"} {
		put(age, c.Text(age))
	}
	text := func(key, v2 string, v1 ...string) {
		if full, ok := find(c, v2, v1...); ok {
			put(key, c.Text(full))
		}
	}
	put("acr", c.Text("acr")) // which way of confirming it was: no level of assurance
	put("locale", strings.ToLower(c.Text("locale")))
	text("citizenship", "claim_citizenship", "claim_nationality")
	text("citizenship_iso", "claim_citizenship_as_iso")
	text("document_number", "IDDocumentSN", "claim_passport_sn")
	text("document_type", "IDDocumentType")
	text("official_gender", "official_gender")
	text("city_of_birth", "", "claim_city_of_birth")
	text("country_of_birth", "", "claim_country_of_birth")
	if full, ok := find(c, "place_of_birth"); ok {
		put("city_of_birth", c.Object(full).Text("city"))
		put("country_of_birth", c.Object(full).Text("country"))
	}
	document(c, put)
	text("identification_mode", "identification_mode")
	text("transaction_ip", "transaction_ip")
	text("ongoing_call", "ongoing_call")
	object := func(key, v2, v1 string, facts ...string) {
		if full, ok := find(c, v2, v1); ok {
			o := c.Object(full)
			for _, name := range facts {
				put(key+name, o.Text(name))
			}
		}
	}
	object("device_", "claim_device", "claim_device", deviceFacts...)
	if full, ok := find(c, "claim_device", "claim_device"); ok {
		put("device_deviceId", c.Object(full).Text("deviceID")) // both spellings are published
	}
	object("transaction_", "", "claim_transaction_info", "securityLevel", "bindLevel", "mcc")
	object("app_", "app", "", "appInstalledDate", "appName", "appRelease")
	object("account_", "account", "", "activationDate", "activationMechanism")
	put("email_verified", c.Text("email_verified"))
	put("phone_verified", c.Text("phone_number_verified"))
	if len(out) == 0 {
		return nil
	}
	return out
}

// deviceFacts are what itsme knows of a phone, under its own names.
var deviceFacts = []string{"os", "appName", "appRelease", "deviceLabel", "debugEnabled", "deviceId", "osRelease", "manufacturer", "deviceLockLevel", "smsEnabled", "rooted",
	"imei", "deviceModel", "sdkRelease", "hasSimEnabled", "msisdn"}

// document reads what itsme says of the document that an account was made from:
// in the second generation objects by attribute, in the first one object.
func document(c openid.Claims, put func(key, value string)) {
	for key, name := range map[string]string{"document_issued_at": "issuance_locality", "document_valid_from": "validityFrom", "document_valid_to": "validityTo",
		"document_read": "verificationDate", "document_country": "IDIssuingCountry"} {
		full, ok := find(c, name)
		if !ok {
			continue
		}
		by := c.Object(full)
		for _, attribute := range documented {
			if text := by.Text(attribute); text != "" {
				put(key, text)
				break
			}
		}
	}
	if full, ok := find(c, "", "claim_eid"); ok {
		e := c.Object(full)
		for key, name := range map[string]string{"document_number": "eid", "document_issued_at": "issuance_locality", "document_valid_from": "validity_from",
			"document_valid_to": "validity_to", "document_read": "read_date"} {
			put(key, e.Text(name))
		}
	}
}
