package zignsec

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"eidgate/broker"
	"eidgate/eid"
)

// A method is a selector of the v2 API (§4.1).
type method struct {
	name    string // as it is echoed
	eid     eid.EID
	mode    string
	purpose eid.Purpose
	country string // whose chooser lists it; "" for none
	number  string // country of its personalnumber
}

// methods are all selectors that have a meaning. One whose eID has no
// connector here, or none for the account, answers MISSING_CONFIG. A country's
// are those that identify: idin_age has a result of its own, and is asked for
// by its name.
var methods = []method{
	{"sbid-another", eid.BankIDSE, "other", eid.Identify, "se", "SE"},
	{"sbid", eid.BankIDSE, "same", eid.Identify, "", "SE"},
	{"sbid-sign", eid.BankIDSE, "other", eid.Sign, "", "SE"},
	{"nbid_oidc", eid.BankIDNO, "", eid.Identify, "no", "NO"},
	{"nbid", eid.BankIDNO, "web", eid.Identify, "", "NO"},
	{"nbid_mobile", eid.BankIDNO, "mobile", eid.Identify, "", "NO"},
	{"nemid", eid.NemID, "", eid.Identify, "dk", "DK"},
	{"mitid", eid.MitID, "", eid.Identify, "dk", "DK"},
	{"idin_age", eid.IDINAge, "", eid.Age, "", ""},
	{"idin", eid.IDIN, "", eid.Identify, "nl", ""},
	{"itsme", eid.Itsme, "", eid.Identify, "be", ""},
	{"fbid", "", "", eid.Identify, "", "FI"},
	{"smartid/auth", "", "", eid.Identify, "", ""},
	{"smartid/sign", "", "", eid.Sign, "", ""},
}

// countries are the ISO 3166-1 codes that a country selector may name; those
// without a method answer MISSING_CONFIG, other letters INVALID_COUNTRYCODE.
const countries = " ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs bt bv bw by bz " +
	"ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy " +
	"hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz " +
	"na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st sv sx sy sz " +
	"tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug um us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw "

// same compares names of methods: case does not count, nor which dash it is.
func same(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "_", "-"), strings.ReplaceAll(b, "_", "-"))
}

// Selector says whether a part of a path names a method or a country.
func Selector(s string) bool {
	return slices.ContainsFunc(methods, func(m method) bool { return same(m.name, s) }) || len(s) == 2 && strings.Contains(countries, " "+strings.ToLower(s)+" ")
}

// choose finds what a selector stands for: one method, or a country's several.
func (a *API) choose(selector string, c caller) ([]method, error) {
	s := strings.ReplaceAll(strings.ToLower(selector), "_", "-")
	for _, m := range methods {
		if same(m.name, selector) {
			switch {
			case m.eid == "" || !a.c.Has(c.Account, c.Key.Environment, m.eid):
				return nil, bad("MISSING_CONFIG", "The account has no configuration for "+m.name+". Add one for its eID, or use another method.")
			case !c.Account.Allows(m.eid):
				return nil, &problem{status: http.StatusForbidden, wireError: wireError{"MISSING_CONFIG", m.name + " is not enabled for the account. Add its eID to the account's list."}}
			}
			return []method{m}, nil
		}
	}
	if strings.HasPrefix(s, "bli-") || strings.HasPrefix(s, "iv-") {
		return nil, bad("MISSING_CONFIG", "Bank login is not served here. Use an eID.")
	}
	if len(s) != 2 {
		return nil, bad("INVALID_REQUEST", "Unknown method. Known: sbid, sbid-another, sbid-sign, idin, idin_age, itsme, nbid_oidc, nbid, nbid_mobile, mitid, or a country such as se.")
	}
	if !strings.Contains(countries, " "+s+" ") {
		return nil, bad("INVALID_COUNTRYCODE", "There is no country of that code. Send two letters of ISO 3166-1, such as se.")
	}
	var out []method
	for _, m := range methods {
		if m.country == s && m.eid != "" && c.Account.Allows(m.eid) && a.c.Has(c.Account, c.Key.Environment, m.eid) {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, bad("MISSING_CONFIG", "The account has no method for this country. Add an eID of it, or use another country.")
	}
	return out, nil
}

// hintForm is the grammar of login_hint (§4.2).
var hintForm = regexp.MustCompile(`^((BID|BIS)?(:[0-9]{11})?|BIM(:[0-9]{8}:[0-9]{6})?)$`)

// inputs are what a request says to a method's eID, beside what is fixed.
func (m method) inputs(p params, fixed map[string]string) (map[string]string, error) {
	out := maps.Clone(fixed)
	hint, said := p["loginhint"]
	switch {
	case m.eid == eid.MitID && p.yes("askforcpr"):
		out["ask_cpr"] = "true"
	case m.name == "nbid_oidc" && said && !hintForm.MatchString(hint):
		return nil, bad("INVALID_REQUEST", "login_hint must be empty, BID, BIS or BIM, with :NUMBER after it for a person's national number, or BIM:PHONE:DDMMYY.")
	case m.name == "nbid_oidc" && said:
		out["login_hint"] = hint
	}
	return out, nil
}

// heldTo is who alone may complete a session, by either of two parameters.
func heldTo(p params, pinned eid.Number) (eid.Number, error) {
	_, number, _ := strings.Cut(p["loginhint"], ":")
	switch {
	case len(number) != 11: // of no person, or of a phone
		return pinned, nil
	case pinned != "" && string(pinned) != number:
		return "", bad("INVALID_REQUEST", "login_hint and personalnumber name two people. Leave one of them out.")
	}
	return eid.Number(number), nil
}

// spec is a method as the broker knows it.
func (m method) spec(p map[string]string) broker.Method {
	return broker.Method{Name: m.name, EID: m.eid, Mode: m.mode, Country: m.country, Params: p}
}
