package claims_test

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"eidgate/api/claims"
	"eidgate/eid"
	"eidgate/relying"
)

var three = []eid.EID{eid.BankIDSE, eid.IDIN, eid.MitID}

func TestChoose(t *testing.T) {
	t.Parallel()
	idin, sbid := []eid.EID{eid.IDIN}, []eid.EID{eid.BankIDSE}
	two := func(e ...eid.EID) []eid.EID { return e }
	with := func(banks string) map[string]string { return map[string]string{"idin_idp": banks} }
	for _, c := range []struct {
		values  string
		eids    []eid.EID
		params  map[string]string
		mode    string
		ignored string
	}{
		{"", three, nil, "", ""},
		{"   ", three, nil, "", ""},
		{"idp:idin", idin, nil, "", ""},
		{"idp:nosuch", three, nil, "", "idp"},
		{"idp:", three, nil, "", "idp"},
		{"idp", three, nil, "", "?"},
		{"IDP:idin", three, nil, "", "IDP"},
		{"idp:IDIN", three, nil, "", "idp"},
		{"idp:nbid", three, nil, "", "idp"}, // known, but not active
		{"idp:idin nosuch:1", idin, nil, "", "nosuch"},
		{"idp:nosuch idp:idin", idin, nil, "", "idp"},
		{"idp:mitid idp:sbid", two(eid.MitID, eid.BankIDSE), nil, "", ""},
		{"idp:mitid,sbid", two(eid.MitID, eid.BankIDSE), nil, "", ""},
		{"idp:mitid, sbid", two(eid.MitID, eid.BankIDSE), nil, "", ""},
		{"idp:mitid ,sbid,mitid", two(eid.MitID, eid.BankIDSE), nil, "", ""},
		{"idp:mitid,idp:sbid", two(eid.MitID, eid.BankIDSE), nil, "", ""},
		{"idp:mitid sbid", two(eid.MitID), nil, "", "?"}, // no comma: no value
		{"idp:sbid:idin", three, nil, "", "idp"},         // the first colon counts
		{"idin_idp:CURRNL2A", idin, with("CURRNL2A"), "", ""},
		{"idin_idp:rabonl2u", idin, with("RABONL2U"), "", ""},
		{"idp:idin idin_idp:RABONL2U", idin, with("RABONL2U"), "", ""},
		{"idin_idp:RABONL2U idin_idp:INGBNL2A", idin, with("RABONL2U,INGBNL2A"), "", ""},
		{"idin_idp:RABONL2U,INGBNL2A", idin, with("RABONL2U,INGBNL2A"), "", ""},
		{"idp:idin,idin_idp:RABONL2U,INGBNL2A,sbid_flow:QR", idin, with("RABONL2U,INGBNL2A"), "", "sbid_flow"},
		{"idin_idp:RABONL2U,RABONL2U", idin, with("RABONL2U"), "", ""},
		{"idin_idp:../../x,RABONL2U", idin, with("RABONL2U"), "", ""},
		{"idin_idp:nobank", idin, nil, "", "idin_idp"},
		{"idin_idp:", idin, nil, "", "idin_idp"},
		{"idp:sbid idin_idp:RABONL2U", sbid, nil, "", "idin_idp"}, // who names an eID means it
		{"idp:nosuch idin_idp:RABONL2U", three, with("RABONL2U"), "", "idp"},
		{"idp:sbid sbid_flow:QR", sbid, nil, "other", ""},
		{"idp:sbid sbid_initial_flow:APP_LAUNCH", sbid, nil, "same", ""},
		{"idp:sbid sbid_flow:QR sbid_flow:APP_LAUNCH", sbid, nil, "other", "sbid_flow"},
		{"idp:sbid sbid_flow:PHONE", sbid, nil, "", "sbid_flow"},
		{"sbid_flow:QR", three, nil, "other", ""}, // names no eID
		{"urn:signicat:oidc:method:nbid high", three, nil, "", "urn ?"},
		{"idp:sbid sbid_end_user_ip:203.0.113.24 sbid_intention_text:SGVq sbid_intention_text_format:simpleMarkdownV1", sbid, nil, "",
			"sbid_end_user_ip sbid_intention_text sbid_intention_text_format"}, // a browser may have written it
		{"199001012385:x b2:x", three, nil, "", "?"}, // may be somebody's number
		{",sbid", three, nil, "", "?"},
		{":x ,, :", three, nil, "", "?"},
		{"a\x00b:1 \u00e4:2 " + strings.Repeat("k", 41) + ":3", three, nil, "", "?"},
	} {
		got := claims.Choose(c.values, false, &relying.Client{}, three)
		if !slices.Equal(got.EIDs, c.eids) || !maps.Equal(got.Params, c.params) || got.Mode != c.mode || strings.Join(got.Ignored, " ") != c.ignored ||
			got.Text != nil || got.Format != "" {
			t.Errorf("Choose(%q) = %v %v %q, ignored %q\nwant %v %v %q, ignored %q", c.values, got.EIDs, got.Params, got.Mode, got.Ignored,
				c.eids, c.params, c.mode, c.ignored)
		}
	}
}

func TestSealedRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ values, text, format, ip, ignored string }{
		{"sbid_intention_text:SGVqIMOl", "Hej å", "", "", ""},
		{"sbid_intention_text:SGVqIMOl sbid_intention_text_format:simpleMarkdownV1", "Hej å", "simpleMarkdownV1", "", ""},
		{"sbid_intention_text_format:simpleMarkdownV1", "", "", "", "sbid_intention_text_format"},
		{"sbid_intention_text:SGVq sbid_intention_text_format:simpleMarkdownV1 sbid_intention_text_format:simpleMarkdownV1", "Hej", "simpleMarkdownV1", "", "sbid_intention_text_format"},
		{"sbid_intention_text:SGVq sbid_intention_text_format:html", "Hej", "", "", "sbid_intention_text_format"},
		{"sbid_intention_text:YQ==", "a", "", "", ""},
		{"sbid_intention_text:YQ", "a", "", "", ""},
		{"sbid_intention_text:Pz8_", "???", "", "", ""}, // base64url
		{"sbid_intention_text:Pz8/", "???", "", "", ""},
		{"sbid_intention_text:YR==", "", "", "", "sbid_intention_text"}, // bits after the end
		{"sbid_intention_text:/w==", "", "", "", "sbid_intention_text"}, // no UTF-8
		{"sbid_intention_text:Hello!", "", "", "", "sbid_intention_text"},
		{"sbid_intention_text:", "", "", "", "sbid_intention_text"},
		{"sbid_intention_text:SGVq sbid_intention_text:YQ==", "Hej", "", "", "sbid_intention_text"}, // the first counts
		{"sbid_end_user_ip:203.0.113.24", "", "", "203.0.113.24", ""},
		{"sbid_end_user_ip:2001:DB8::1", "", "", "2001:db8::1", ""},
		{"sbid_end_user_ip:fe80::1%eth0", "", "", "", "sbid_end_user_ip"},
		{"sbid_end_user_ip:203.0.113.024", "", "", "", "sbid_end_user_ip"},
		{"sbid_end_user_ip:203.0.113.24 sbid_end_user_ip:203.0.113.25", "", "", "203.0.113.24", "sbid_end_user_ip"},
	} {
		got := claims.Choose("idp:sbid "+c.values, true, &relying.Client{}, three)
		if string(got.Text) != c.text || got.Format != c.format || got.Params["end_user_ip"] != c.ip || strings.Join(got.Ignored, " ") != c.ignored {
			t.Errorf("%q: %q %q %v, ignored %q", c.values, got.Text, got.Format, got.Params, got.Ignored)
		}
	}
}

func TestWhatClientsSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		client relying.Client
		active []eid.EID
		values string
		want   string
	}{
		{"default of requests without", relying.Client{ACRValues: "idp:idin"}, three, "", "idin"},
		{"a request wins", relying.Client{ACRValues: "idp:idin"}, three, "idp:sbid", "bankidse"},
		{"unless it is forced", relying.Client{ACRValues: "idp:idin", ForceACR: true}, three, "idp:sbid", "idin"},
		{"a restriction", relying.Client{EIDs: []eid.EID{eid.MitID, eid.IDIN}}, three, "", "idin mitid"},
		{"what is not allowed is not known", relying.Client{EIDs: []eid.EID{eid.MitID, eid.IDIN}}, three, "idp:sbid", "idin mitid"},
		{"banks of an eID that is not allowed", relying.Client{EIDs: []eid.EID{eid.MitID}}, three, "idin_idp:RABONL2U", "mitid"},
		{"nothing is left", relying.Client{EIDs: []eid.EID{eid.Itsme}}, three, "idp:itsme", ""},
		{"a restriction holds when it is forced, too", relying.Client{EIDs: []eid.EID{eid.MitID}, ACRValues: "idp:idin", ForceACR: true}, three, "", "mitid"},
		{"the age check is idin", relying.Client{}, []eid.EID{eid.IDINAge, eid.BankIDSE}, "idp:idin", "idinage"},
		{"iDIN is offered once", relying.Client{}, []eid.EID{eid.IDIN, eid.IDINAge}, "", "idin"},
		{"what has no code is not offered", relying.Client{}, []eid.EID{"spar", eid.MitID}, "idp:spar", "mitid"},
	} {
		var got []string
		for _, e := range claims.Choose(c.values, false, &c.client, c.active).EIDs {
			got = append(got, string(e))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
	text := "idp:sbid sbid_intention_text:SGVq"
	if got := claims.Choose("", false, &relying.Client{ACRValues: text}, three); string(got.Text) != "Hej" {
		t.Error("what a client has set was not written by a browser")
	}
}

func TestManyKeys(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(" k" + strings.Repeat("k", i%40) + ":v idin_idp:BANKNL" + string(rune('A'+i%26)) + string(rune('A'+i/26%14)))
	}
	got := claims.Choose(b.String(), false, &relying.Client{}, three)
	if len(got.Ignored) != 16 || got.Ignored[15] != "kkkkkkkkkkkkkkkk" || strings.Count(got.Params["idin_idp"], ",") != 49 {
		t.Errorf("%d keys, %q", len(got.Ignored), got.Params["idin_idp"])
	}
}

// FuzzChoose: nobody gets an eID that is not active, what is kept has its form,
// and what was understood survives being written down and read again.
func FuzzChoose(f *testing.F) {
	for _, s := range []string{"", "idp:idin idin_idp:RABONL2U,INGBNL2A", "idp:sbid,mitid sbid_flow:QR", "sbid_intention_text:SGVq sbid_end_user_ip:::1", ":,: a:b,c", "idp:nosuch"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, values string, sealed bool) {
		c := claims.Choose(values, sealed, &relying.Client{}, three)
		if len(c.EIDs) == 0 || len(c.Ignored) > 16 {
			t.Fatalf("%d eIDs, %d ignored", len(c.EIDs), len(c.Ignored))
		}
		var again []string
		for i, e := range c.EIDs {
			if !slices.Contains(three, e) || slices.Contains(c.EIDs[:i], e) {
				t.Fatalf("eIDs %v", c.EIDs)
			}
			again = append(again, "idp:"+claims.IDP(e))
		}
		for k, v := range c.Params {
			switch k {
			case "idin_idp":
				again = append(again, "idin_idp:"+v)
			case "end_user_ip":
				again = append(again, "sbid_end_user_ip:"+v)
			default:
				t.Fatalf("parameter %q", k)
			}
		}
		if c.Mode != "" {
			again = append(again, "sbid_flow:"+map[string]string{"same": "APP_LAUNCH", "other": "QR"}[c.Mode])
		}
		if !sealed && (c.Text != nil || c.Format != "" || c.Params["end_user_ip"] != "") || !utf8.Valid(c.Text) {
			t.Fatalf("a browser's text: %q", c.Text)
		}
		if c.Text != nil {
			again = append(again, "sbid_intention_text:"+base64.StdEncoding.EncodeToString(c.Text))
		}
		if c.Format != "" {
			again = append(again, "sbid_intention_text_format:"+c.Format)
		}
		d := claims.Choose(strings.Join(again, " "), sealed, &relying.Client{}, three)
		if !slices.Equal(c.EIDs, d.EIDs) || !maps.Equal(c.Params, d.Params) || c.Mode != d.Mode || string(c.Text) != string(d.Text) || c.Format != d.Format || len(d.Ignored) > 0 {
			t.Fatalf("%q: %+v\nagain %q: %+v", values, c, again, d)
		}
	})
}

// TestMethodOfNorwegianBankID: who has come by biometrics is not who a party
// means that asks for the password.
func TestMethodOfNorwegianBankID(t *testing.T) {
	t.Parallel()
	active := []eid.EID{eid.BankIDNO, eid.MitID}
	for _, x := range []struct {
		values, kind string
		want         bool
	}{{"idp:nbid", "BIS", true}, {"idp:nbid nbid_idp:BIS", "BID", true}, {"idp:nbid nbid_idp:BIS", "BIS", true}, {"idp:nbid nbid_idp:BID", "BID", true}, {"idp:nbid nbid_idp:BID", "BIS", false}} {
		c := claims.Choose(x.values, false, &relying.Client{}, active)
		if got := c.Bank(&eid.Identity{EID: eid.BankIDNO, Kind: x.kind}); got != x.want {
			t.Errorf("%s, come by %s: %v", x.values, x.kind, got)
		}
	}
	if c := claims.Choose("idp:nbid nbid_idp:XID", false, &relying.Client{}, active); len(c.Params) != 0 || len(c.Ignored) != 1 {
		t.Errorf("%v", c)
	}
	text := "idp:mitid mitid_reference_text:S8O4YiBmb3IgNDIga3Iu"
	if c := claims.Choose(text, true, &relying.Client{}, active); c.Params["mitid_reference_text"] != "Køb for 42 kr." {
		t.Errorf("sealed: %v", c.Params)
	}
	if c := claims.Choose(text, false, &relying.Client{}, active); len(c.Params) != 0 {
		t.Errorf("by anybody's link: %v", c.Params)
	}
	// The first of two counts.
	for values, want := range map[string]string{"idp:nbid nbid_idp:BID nbid_idp:BIS": "BID", "idp:mitid mitid_reference_text:SGVq mitid_reference_text:YQ==": "Hej"} {
		if c := claims.Choose(values, true, &relying.Client{}, active); len(c.Params) != 1 || c.Params["nbid_idp"]+c.Params["mitid_reference_text"] != want || len(c.Ignored) != 1 {
			t.Errorf("%s: %v, ignored %v", values, c.Params, c.Ignored)
		}
	}
	for n, want := range map[int]string{130: strings.Repeat("å", 130), 131: ""} { // characters, not octets
		long := "idp:mitid mitid_reference_text:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("å", n)))
		if c := claims.Choose(long, true, &relying.Client{}, active); c.Params["mitid_reference_text"] != want || (want == "") != (len(c.Ignored) == 1) {
			t.Errorf("%d characters: %v, ignored %v", n, c.Params, c.Ignored)
		}
	}
}
