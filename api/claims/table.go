package claims

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"eidgate/eid"
)

// A row is one claim that one scope releases.
type row struct {
	scope  string
	claim  string
	except []eid.EID // which do not release it by this scope
	value  func(*person) any
}

// A person is what the rows read.
type person struct {
	*eid.Identity
	format   Format
	evidence []eid.Evidence
	bankID   *certificate // once it has been looked for
}

// dutch are the eIDs that give nothing but what a scope of its own asks for.
var dutch = []eid.EID{eid.IDIN, eid.IDINAge}

// table is what parties are told, in the order in which they are told it
// (§2.1): the eID's own name first, then in the order of the published scopes.
var table = []row{
	{scope: "idp-id", claim: "idp_id", value: func(p *person) any { return Lasting(p.Identity) }},

	{scope: "profile", claim: "name", value: func(p *person) any { return p.Name }},
	{scope: "profile", claim: "family_name", value: func(p *person) any { return p.Family }},
	{scope: "profile", claim: "given_name", value: func(p *person) any { return p.Given }},
	{scope: "profile", claim: "gender", except: dutch, value: gender},
	{scope: "profile", claim: "birthdate", except: dutch, value: birthdate},

	{scope: "email", claim: "email", value: func(p *person) any { return p.Email }},
	{scope: "email", claim: "email_verified", value: func(p *person) any { return verified(p, p.Email, "email_verified") }},

	{scope: "address", claim: "address", value: address},
	{scope: "address", claim: "street", except: dutch, value: func(p *person) any { return part(p.Address).Street }},
	{scope: "address", claim: "house_number", except: dutch, value: func(p *person) any { return part(p.Address).Number }},
	{scope: "address", claim: "house_number_suffix", except: dutch, value: func(p *person) any { return part(p.Address).Suffix }},

	{scope: "phone", claim: "phone_number", value: func(p *person) any { return p.Phone }},
	{scope: "phone", claim: "phone_number_verified", value: func(p *person) any { return verified(p, p.Phone, "phone_verified") }},

	{scope: "gender", claim: "gender", value: gender},
	{scope: dateOfBirth, claim: "birthdate", value: birthdate},
	{scope: "age", claim: "age", value: func(p *person) any {
		if p.Age == nil {
			return nil
		}
		return *p.Age
	}},
	{scope: adult, claim: "eighteen_or_older", value: func(p *person) any {
		if p.Approved != nil {
			return *p.Approved
		}
		return older(18)(p)
	}},
	{scope: "age-verification", claim: "twelve_or_older", value: older(12)},
	{scope: "age-verification", claim: "fourteen_or_older", value: older(14)},
	{scope: "age-verification", claim: "sixteen_or_older", value: older(16)},
	{scope: "age-verification", claim: "twenty_one_or_older", value: older(21)},
	{scope: "age-verification", claim: "sixty_five_or_older", value: older(65)},

	{scope: "nin", claim: "nin", value: func(p *person) any { return string(p.Number) }},
	{scope: "nin", claim: "nin_type", value: func(p *person) any { return ofNumber(p, schemeOf(p.EID).nin) }},
	{scope: "nin", claim: "nin_issuing_country", value: func(p *person) any { return ofNumber(p, p.Country) }},

	{scope: "idin-name", claim: "idin_legal_last_name", value: func(p *person) any { return p.Legal.Name }},
	{scope: "idin-name", claim: "idin_legal_last_name_prefix", value: func(p *person) any { return p.Legal.Prefix }},
	{scope: "idin-name", claim: "idin_preferred_last_name", value: func(p *person) any { return p.Preferred.Name }},
	{scope: "idin-name", claim: "idin_preferred_last_name_prefix", value: func(p *person) any { return p.Preferred.Prefix }},
	{scope: "idin-name", claim: "idin_partner_last_name", value: func(p *person) any { return p.Partner.Name }},
	{scope: "idin-name", claim: "idin_partner_last_name_prefix", value: func(p *person) any { return p.Partner.Prefix }},
	{scope: "idin-name", claim: "initials", value: func(p *person) any { return p.Initials }},

	{scope: "mitid-extra", claim: "mitid_has_cpr", value: func(p *person) any { return p.signal(eid.MitID, "has_cpr") }},
	{scope: "mitid-extra", claim: "mitid_transaction_id", value: func(p *person) any { return p.signal(eid.MitID, "idp_transaction_id") }},
	{scope: "mitid-extra", claim: "mitid_reference_text_body", value: referenceText},
	{scope: "mitid-extra", claim: "mitid_cpr_source", value: func(p *person) any { return p.signal(eid.MitID, "cpr_source") }},
	{scope: "mitid-extra", claim: "mitid_name_and_address_protection", value: func(p *person) any { return p.signal(eid.MitID, "protected") }},
	{scope: "mitid-extra", claim: "mitid_ial", value: func(p *person) any { return nsis(p, "ial") }},
	{scope: "mitid-extra", claim: "mitid_loa", value: func(p *person) any { return nsis(p, "loa") }},
	{scope: "mitid-extra", claim: "mitid_aal", value: func(p *person) any { return nsis(p, "aal") }},
	{scope: "mitid-extra", claim: "mitid_uuid", value: func(p *person) any { return p.told(eid.MitID, p.Subject) }},

	{scope: "name", claim: "name", value: func(p *person) any { return p.Name }},
	{scope: "name", claim: "family_name", value: func(p *person) any { return p.Family }},
	{scope: "name", claim: "given_name", value: func(p *person) any { return p.Given }},
	{scope: "name", claim: "first_name", value: func(p *person) any { return p.Given }},
	{scope: "name", claim: "last_name", value: func(p *person) any { return p.Family }},

	{scope: "itsme-eid", claim: "itsme_issuance_locality", value: func(p *person) any { return p.signal(eid.Itsme, "document_issued_at") }},
	{scope: "itsme-eid", claim: "itsme_validity_from", value: func(p *person) any { return p.signal(eid.Itsme, "document_valid_from") }},
	{scope: "itsme-eid", claim: "itsme_validity_to", value: func(p *person) any { return p.signal(eid.Itsme, "document_valid_to") }},
	{scope: "itsme-eid", claim: "itsme_read_date", value: func(p *person) any { return p.signal(eid.Itsme, "document_read") }},
	{scope: "itsme-eid", claim: "itsme_national_number", value: func(p *person) any { return belgian(p) }},
	{scope: "itsme-eid", claim: "itsme_document_number", value: func(p *person) any { return p.signal(eid.Itsme, "document_number") }},
	{scope: "itsme-eid", claim: "itsme_document_type", value: func(p *person) any { return p.signal(eid.Itsme, "document_type") }},
	{scope: "itsme-eid", claim: "itsme_issuing_country", value: func(p *person) any { return p.signal(eid.Itsme, "document_country") }},

	{scope: "itsme-device", claim: "itsme_os", value: func(p *person) any { return p.signal(eid.Itsme, "device_os") }},
	{scope: "itsme-device", claim: "itsme_app_name", value: func(p *person) any { return p.signal(eid.Itsme, "device_appName") }},
	{scope: "itsme-device", claim: "itsme_app_release", value: func(p *person) any { return p.signal(eid.Itsme, "device_appRelease") }},
	{scope: "itsme-device", claim: "itsme_device_label", value: func(p *person) any { return p.signal(eid.Itsme, "device_deviceLabel") }},
	{scope: "itsme-device", claim: "itsme_debug_enabled", value: func(p *person) any { return p.signal(eid.Itsme, "device_debugEnabled") }},
	{scope: "itsme-device", claim: "itsme_device_id", value: func(p *person) any { return p.signal(eid.Itsme, "device_deviceId") }},
	{scope: "itsme-device", claim: "itsme_os_release", value: func(p *person) any { return p.signal(eid.Itsme, "device_osRelease") }},
	{scope: "itsme-device", claim: "itsme_manufacturer", value: func(p *person) any { return p.signal(eid.Itsme, "device_manufacturer") }},
	{scope: "itsme-device", claim: "itsme_device_lock_level", value: func(p *person) any { return p.signal(eid.Itsme, "device_deviceLockLevel") }},
	{scope: "itsme-device", claim: "itsme_sms_enabled", value: func(p *person) any { return p.signal(eid.Itsme, "device_smsEnabled") }},
	{scope: "itsme-device", claim: "itsme_rooted", value: func(p *person) any { return p.signal(eid.Itsme, "device_rooted") }},
	{scope: "itsme-device", claim: "itsme_imei", value: func(p *person) any { return p.signal(eid.Itsme, "device_imei") }},
	{scope: "itsme-device", claim: "itsme_device_model", value: func(p *person) any { return p.signal(eid.Itsme, "device_deviceModel") }},
	{scope: "itsme-device", claim: "itsme_sdk_release", value: func(p *person) any { return p.signal(eid.Itsme, "device_sdkRelease") }},

	{scope: "nbid-extra", claim: "nbid_sid", value: func(p *person) any { return p.signal(eid.BankIDNO, "sid") }},
	{scope: "nbid-extra", claim: "nbid_acr", value: func(p *person) any { return p.signal(eid.BankIDNO, "acr") }},
	{scope: "nbid-extra", claim: "nbid_amr", value: func(p *person) any { return p.signal(eid.BankIDNO, "amr") }},
	{scope: "nbid-extra", claim: "nbid_auth_time", value: func(p *person) any { return p.signal(eid.BankIDNO, "auth_time") }},
	{scope: "nbid-extra", claim: "nbid_alternative_subject", value: func(p *person) any { return p.told(eid.BankIDNO, p.Subject) }},
	{scope: "nbid-extra", claim: "nbid_originator", value: func(p *person) any { return p.signal(eid.BankIDNO, "originator") }},
	{scope: "nbid-extra", claim: "nbid_updated_at", value: func(p *person) any { return p.signal(eid.BankIDNO, "updated_at") }},
	{scope: "nbid-extra", claim: "nbid_subject_uuid", value: func(p *person) any { return p.signal(eid.BankIDNO, "bankid_sub") }},
	{scope: "nbid-extra", claim: "nbid_idp", value: func(p *person) any { return p.told(eid.BankIDNO, p.Kind) }},

	{scope: bankIDExtra, claim: "sbid_ocsp_responder_id", value: responder},
	{scope: bankIDExtra, claim: "sbid_certificate_not_after", value: func(p *person) any { return millis(p.certificate().NotAfter) }},
	{scope: bankIDExtra, claim: "sbid_subject_dn", value: func(p *person) any { return p.certificate().subject }},
	{scope: bankIDExtra, claim: "sbid_uhi", value: func(p *person) any { return p.device().UHI }},
	{scope: bankIDExtra, claim: "sbid_issuer_dn", value: func(p *person) any { return p.certificate().issuer }},
	{scope: bankIDExtra, claim: "sbid_device_ip", value: func(p *person) any { return p.device().IPAddress }},
	{scope: bankIDExtra, claim: "sbid_mrtd", value: func(p *person) any { return p.signal(eid.BankIDSE, "mrtd") }},
	{scope: bankIDExtra, claim: "sbid_certificate_not_before", value: func(p *person) any { return millis(p.certificate().NotBefore) }},

	{scope: bankIDEvidence, claim: "sbid_ocsp_response", value: func(p *person) any { return string(p.proof(ocspEvidence)) }},
	{scope: bankIDEvidence, claim: "sbid_xml_signature", value: func(p *person) any { return string(p.proof(signatureEvidence)) }},
}

// told is a value of one eID.
func (p *person) told(e eid.EID, value string) any {
	if p.EID != e {
		return nil
	}
	return value
}

// referenceText is what the app of MitID has shown, and a blank for none.
func referenceText(p *person) any {
	return p.told(eid.MitID, cmp.Or(p.Signals["reference_text"], " "))
}

// nsis is the last word of one of MitID's levels, in capitals.
func nsis(p *person, name string) any {
	level := p.Signals[name]
	return p.told(eid.MitID, strings.ToUpper(level[strings.LastIndexByte(level, '/')+1:]))
}

// belgian is the number of the national register, which only itsme tells.
func belgian(p *person) any {
	if p.EID != eid.Itsme || p.Country != "BE" { // other countries' numbers are told by nin
		return nil
	}
	return string(p.Number)
}

// gender is iDIN's digit as delivered, or a word (§2.4).
func gender(p *person) any {
	if p.Sex != "" && !p.format.Standard {
		return p.Sex
	}
	return p.Gender
}

// birthdate is YYYYMMDD from iDIN, with zeros for what is not known, and
// YYYY-MM-DD from every other eID. The standard has YYYY-MM-DD, or the year
// alone (§2.4).
func birthdate(p *person) any {
	if slices.Contains(dutch, p.EID) && !p.format.Standard {
		return cmp.Or(p.BirthText, strings.ReplaceAll(p.Birth, "-", ""))
	}
	if y := yearOnly.FindStringSubmatch(p.BirthText); p.Birth == "" && y != nil {
		return y[1]
	}
	return p.Birth
}

// yearOnly is a date of iDIN whose day is not known.
var yearOnly = regexp.MustCompile(`^((?:18|19|20)\d\d)\d{4}$`)

// verified says whether somebody has checked an address that is there: the eID,
// if it says so, since we do not write to it. Only the standard demands a word.
func verified(p *person, what, says string) any {
	if what == "" || !p.format.Standard {
		return nil
	}
	return p.Signals[says] == "true"
}

// older says whether somebody has reached an age; nothing when it is unknown.
func older(years int) func(*person) any {
	return func(p *person) any {
		if p.Age == nil {
			return nil
		}
		return *p.Age >= years
	}
}

func ofNumber(p *person, what string) any {
	if p.Number == "" {
		return nil
	}
	return what
}

func part(a *eid.Address) eid.Address {
	if a == nil {
		return eid.Address{}
	}
	return *a
}

// Street is the street of an address with the number of the house and what
// stands after it (§2.4), or its lines with between as what separates them: a
// comma and a blank in claims, as Signicat joins them, and a blank where commas
// separate street, city and postal code, as in ZignSec's addressInfoRaw.
func Street(a *eid.Address, between string) string {
	if street := houseOf(a); street != "" {
		return street
	}
	return strings.Join(filled(a.Lines), between)
}

func houseOf(a *eid.Address) string {
	street := a.Street
	if a.Number != "" {
		street += " " + a.Number
	}
	if s := a.Suffix; s != "" && s[0] >= '0' && s[0] <= '9' {
		street += " " + s // 19 2 is not 192
	} else {
		street += s
	}
	if a.Extra != "" {
		street += " " + a.Extra
	}
	return strings.TrimSpace(street)
}

// address is an object of five members, as many as there are (§2.4).
func address(p *person) any {
	a := part(p.Address)
	street := Street(&a, ", ")
	formatted := strings.Join(filled([]string{street, a.PostalCode, a.City, a.Country}), ", ")
	var out Object
	for _, m := range []struct{ name, value string }{{"formatted", formatted}, {"street_address", street}, {"locality", a.City},
		{"postal_code", a.PostalCode}, {"country", a.Country}} {
		if m.value != "" {
			out = append(out, Claim{m.name, m.value})
		}
	}
	return out
}

func filled(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}

// Lasting is the eID's own name for a person, "" for one that is new each
// time: what iDIN calls transient, or the number of an age check.
func Lasting(id *eid.Identity) string {
	switch s := raw(id); {
	case !slices.Contains(dutch, id.EID):
		return s
	case transient(s), id.Check != nil && s == strconv.FormatInt(id.Check.ID, 10):
		return ""
	default:
		return s
	}
}

// raw is what a subject is made of: the eID's name for the person, else the
// person's number (§2.5).
func raw(id *eid.Identity) string {
	if id.Subject != "" {
		return id.Subject
	}
	return string(id.Number)
}

func (p *person) signal(e eid.EID, name string) any {
	if p.EID != e {
		return nil
	}
	return p.Signals[name]
}
