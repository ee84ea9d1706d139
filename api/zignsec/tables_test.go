package zignsec

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"eidgate/api/claims"
	"eidgate/broker"
	"eidgate/connector"
	cidin "eidgate/connector/idin"
	"eidgate/eid"
	"eidgate/protocol/agechecked"
	"eidgate/protocol/idin"
)

func TestEveryReasonHasACode(t *testing.T) {
	t.Parallel()
	for r := range eid.Reasons {
		if f, ok := failures[r]; !ok || f.Code == "" || f.Description == "" {
			t.Errorf("reason %s has no answer in this API", r)
		}
	}
	for r := range failures {
		if _, ok := eid.Reasons[r]; !ok {
			t.Errorf("answer for %s, which is no reason", r)
		}
	}
}

// What this API may not import says the same as what it repeats of it.
func TestWordsOfIDIN(t *testing.T) {
	t.Parallel()
	if p, err := banks(params{"idinidp": "RABONL2U, ingbnl2a"}); err != nil || p[cidin.Preset] != "RABONL2U,INGBNL2A" {
		t.Errorf("banks for the connector: %v, %v", p, err)
	}
	for _, id := range []string{"RABONL2U", "ABNANL2AXXX", "RABONL1U", "RABONL2O", "RABONL2", "RABONL2UXX", "rabonl2u", "", "RABO-NL2"} {
		if got, want := claims.BIC(id), idin.ValidIssuer(id); got != want {
			t.Errorf("%q is a bank: %v, want %v", id, got, want)
		}
	}
	for n := range 40 {
		s := agechecked.Status(n)
		if want := s.Text(); s.Final() != (ageTexts[n] != "") || s.Final() && ageTexts[n] != want {
			t.Errorf("status %d is %q, want %q", n, ageTexts[n], want)
		}
	}
	for _, id := range []int64{1, 1255120, 1 << 50} {
		if got := eid.CheckID(eid.CheckRef(id)); got != id {
			t.Errorf("check %d is %d when read again", id, got)
		}
	}
	for _, ref := range []string{"", "check", "check:", "check:x", "check:-1", "1255120", "return:1", "check:99999999999999999999"} {
		if got := eid.CheckID(ref); got != 0 {
			t.Errorf("%q is check %d", ref, got)
		}
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ selector, asked, want string }{
		{"idin", "", "id name birth gender"},
		{"idin", " , ", "id name birth gender"},
		{"idin", "id", "id"},
		{"idin", "email", "id email"},
		{"idin", "ADULT,name", "id name adult"},
		{"idin", "phone email gender birth address name id", "id name address birth gender phone email"},
		{"idin_age", "", "adult"},
		{"sbid", "", ""},
		{"idin", `[]`, "id name birth gender"},
		{"idin", `["ADULT", "name"]`, "id name adult"},
		{"idin", `["email,name",""]`, "id name email"},
		{"idin", `["birth","adult"]`, "refused"},
		{"idin", `["bsn"]`, "refused"},
		{"idin", `["name",null]`, "refused"},
		{"idin", `["name",1]`, "refused"},
		{"idin", `[["name"]]`, "refused"},
		{"idin", `[{"name":true}]`, "refused"},
		{"idin", `["name"`, "refused"},
		{"idin", "birth adult", "refused"},
		{"idin", "bsn", "refused"},
	} {
		i := slices.IndexFunc(methods, func(m method) bool { return m.name == c.selector })
		got, err := wanted(params{"attributes": c.asked}, methods[i:i+1], withPages)
		if err != nil {
			got = []string{"refused"}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s with %q wants %s, want %s", c.selector, c.asked, text, c.want)
		}
	}
}

// TestWantedOfNorway: contact data only where a party asks for them, in v2; in
// v3 all that the contract covers.
func TestWantedOfNorway(t *testing.T) {
	t.Parallel()
	const less, more = "id number name birth", "id number name birth address phone email"
	for _, m := range methods {
		if m.eid != eid.BankIDNO {
			continue
		}
		for value, want := range map[string]string{"": less, "true": more, "TRUE": more, "1": more, "yes": more, "on": more, "false": less, "0": less, "no": less, "perhaps": less} {
			p := params{}
			p.set("Additional_identity_info", value)
			p.prune([]method{m}, withPages)
			if got, err := wanted(p, []method{m}, withPages); err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s with %q wants %v, %v", m.name, value, got, err)
			}
		}
		p := params{"additionalidentityinfo": "true"}
		ignored := p.prune([]method{m}, third)
		if got, err := wanted(p, []method{m}, third); err != nil || got != nil || !slices.Equal(ignored, []string{"additionalidentityinfo"}) {
			t.Errorf("v3: %s wants %v, %v; ignored %v", m.name, got, err, ignored)
		}
	}
	for _, m := range methods {
		p := params{"additionalidentityinfo": "true"}
		if ignored := p.prune([]method{m}, withPages); len(ignored) == 0 != (m.eid == eid.BankIDNO) {
			t.Errorf("%s ignores %v", m.name, ignored)
		}
	}
}

// TestLiveKeysSteerNothing: a marker in custom, and the header that names what is
// ignored, are for test keys.
func TestLiveKeysSteerNothing(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]struct{ marker, warning string }{
		shopKey: {"sandbox:cancel", "ignored parameters: foo"},
		liveKey: {"", ""},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			res := w.do("POST", "/v2/eid/sbid", key, "custom=sandbox:cancel&foo=1")
			var a answered
			if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.URL == nil {
				t.Fatalf("%s: %d %+v %v", key, res.StatusCode, a.Errors, err)
			}
			if got := w.spec(a.ID).Marker; got != want.marker || res.Header.Get("X-Eidgate-Warning") != want.warning {
				t.Errorf("%s: marker %q, warning %q", key, got, res.Header.Get("X-Eidgate-Warning"))
			}
		})
	}
}

// What belongs to calls without pages, or to one generation, is not lost without a
// word where it means nothing.
func TestIgnored(t *testing.T) {
	t.Parallel()
	for by, want := range map[workflow][]string{
		withPages: {"enduserinfo", "enduserip", "orderref", "requirement.cardreader"},
		headless:  {"orderref"},
		third:     {"enduserinfo", "enduserip", "lookuppersonaddress", "orderref", "requirement.cardreader"},
	} {
		p := params{"enduserinfo": "x", "enduserip": "203.0.113.7", "lookuppersonaddress": "true", "orderref": "x", "requirement.cardreader": "class1", "target": "x"}
		if got := p.prune(methods[:1], by); !slices.Equal(got, want) {
			t.Errorf("%s ignores %v, want %v", by, got, want)
		}
	}
}

// A failed check says aborted exactly where its code says so, whatever the
// reason, and codes that name what BankID does stay with BankID.
func TestFailuresOfIDIN(t *testing.T) {
	t.Parallel()
	for r, f := range failures {
		s := &broker.Session{State: broker.Failed, EID: eid.IDINAge, Reason: r, Code: "AP1234"}
		got := failure(s)
		if !slices.Contains(general, got.Code) {
			t.Errorf("%s is told as %s", r, got.Code)
		}
		if changed := got.Code != f.Code; changed && (got.Code != "INVALID_REQUEST" || !strings.HasSuffix(got.Description, "AP1234.")) {
			t.Errorf("%s is told as %v", r, got)
		}
		n := failedAge(s, []connector.Ref{"check:1", "0030000000000001", "check:2", "0030000000000002"})
		if n == nil || n.ID != 2 || (n.Status == ageAborted) != (got.Code == "USER_CANCEL") || n.Text != ageTexts[n.Status] {
			t.Errorf("%s: node %v", r, n)
		}
		if n := failedAge(s, []connector.Ref{"0030000000000001"}); n != nil {
			t.Errorf("%s: node %v without a check", r, n)
		}
	}
}

// An identity that lacks what a connector always sends is still an answer, and
// no approval.
func TestAgeUnknown(t *testing.T) {
	t.Parallel()
	e := envelope{}
	e.fill(&eid.Identity{EID: eid.IDINAge, Country: "NL"}, false)
	raw, err := marshal(e.Identity)
	if want := `{"CountryCode":"NL","IdProviderName":"iDin","IdentificationDate":"0001-01-01T00:00:00.0000000Z","AgeApproved":false}`; err != nil || string(raw) != want || e.Age != nil {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	want := params{"personalnumber": "191212121212", "target": "https://a.example/?x=1", "lookuppersonaddress": "true"}
	for name, body := range map[string]string{
		"form":            "PersonalNumber=191212121212&target=https%3A%2F%2Fa.example%2F%3Fx%3D1&LookupPersonAddress=true",
		"json":            `{"personalnumber":"191212121212","TARGET":"https://a.example/?x=1","lookupPersonAddress":true}`,
		"numbers":         `{"Personal_Number":191212121212,"target":"https://a.example/?x=1","lookup-person-address":"true","layout":null,"custom":""}`,
		"single quotes":   `{'PersonalNumber': 191212121212,'target':'https://a.example/?x=1','lookupPersonAddress':true}`,
		"bare, trailing":  `{PersonalNumber: "191212121212", target: 'https://a.example/?x=1', lookupPersonAddress: true,}`,
		"byte order mark": "\ufeff" + `{"IdentityNumber":"191212121212","target":"https://a.example/?x=1","lookuppersonaddress":true}`,
		"last one wins":   "personalnumber=1&personalnumber=191212121212&target=https://a.example/?x=1&lookuppersonaddress=true",
	} {
		got, err := decode(httptest.NewRequest("POST", "/v2/eid/sbid", strings.NewReader(body)))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	got, err := decode(httptest.NewRequest("POST", "/v2/eid/sbid?layout=q&custom=q", strings.NewReader("custom=b")))
	if diff := cmp.Diff(params{"layout": "q", "custom": "b"}, got); err != nil || diff != "" {
		t.Errorf("query and body: %v\n%s", err, diff)
	}
	for name, body := range map[string]string{"json": "{\"custom\":\"\xff\"}", "single quotes": "{'custom':'\xff'}", "form": "custom=\xff", "an escaped form": "custom=%ff"} {
		if got, err := decode(httptest.NewRequest("POST", "/v2/eid/sbid", strings.NewReader(body))); !errors.Is(err, errBody) {
			t.Errorf("%s in another encoding: %v, %v", name, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{'a':1}`, `{a:'b\'c',}`, "a=b&c=%20", `{"a":{"b":1}}`, "{", "\xff", `{'`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		p := params{}
		if p.body([]byte(body)) != nil {
			return
		}
		for k, v := range p {
			if v == "" || k != canonical(k) || !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Errorf("%q: %q", k, v)
			}
		}
		strict, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again := params{}
		if err := again.body(strict); err != nil {
			t.Fatalf("%s: %v", strict, err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("written as JSON and read again (-first +again):\n%s", diff)
		}
	})
}

func TestAllowedIPs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list, addr string
		want       bool
	}{
		{"", "203.0.113.9", true},
		{"203.0.113.9", "203.0.113.9", true},
		{"203.0.113.9", "203.0.113.8", false},
		{"192.168.0.0/24; 10.0.0.1", "192.168.0.77", true},
		{"192.168.0.0/255.255.255.0", "192.168.0.77", true},
		{"192.168.0.0/255.255.255.0", "192.168.1.77", false},
		{"10.0.0.5-10.0.0.9", "10.0.0.7", true},
		{"10.0.0.5-10.0.0.9", "10.0.0.10", false},
		{"nonsense", "10.0.0.1", false},
	} {
		if got := addressAllowed(c.list, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("addressAllowed(%q, %s) = %v, want %v", c.list, c.addr, got, c.want)
		}
	}
	for list, want := range map[string]string{"": "", " 10.0.0.1 ;;": "", "10.0.0.0/8;10.0.0.0/255.0.0.0": "", "10.0.0.5 - 10.0.0.9;2001:db8::/32": "",
		"10.0.0.1,10.0.0.2": "10.0.0.1,10.0.0.2", "10.0.0.1; 10.0.0.5-": "10.0.0.5-", "10.0.0.9-10.0.0.5": "10.0.0.9-10.0.0.5", "10.0.0.0/33": "10.0.0.0/33",
		"10.0.0.0/255.0.0": "10.0.0.0/255.0.0", "10.0.0.1-2001:db8::1": "10.0.0.1-2001:db8::1"} {
		if got := BadAddress(list); got != want {
			t.Errorf("BadAddress(%q) = %q, want %q", list, got, want)
		}
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		payload string
		state   broker.State
		want    string
	}{
		"target":              {`{"target":"https://a.example/done"}`, broker.Finished, "https://a.example/done?relaystate=ID&service=eIDBasic"},
		"own query, fragment": {`{"target":"https://a.example/?b=%2F&c#d"}`, broker.Finished, "https://a.example/?b=%2F&c&relaystate=ID&service=eIDBasic#d"},
		"own relaystate":      {`{"target":"https://a.example/","relaystate":"x y&z"}`, broker.Finished, "https://a.example/?relaystate=x%20y%26z&service=eIDBasic"},
		"failed":              {`{"target":"https://a.example/","target_error":"https://a.example/bad"}`, broker.Failed, "https://a.example/bad?relaystate=ID&service=eIDBasic"},
		"failed, one target":  {`{"target":"https://a.example/"}`, broker.Failed, "https://a.example/?relaystate=ID&service=eIDBasic"},
		"failed, details":     {`{"target":"https://a.example/","details":true}`, broker.Failed, "https://a.example/?relaystate=ID&service=eIDBasic&errorcode=USER_CANCEL&error=Action%20cancelled"},
		"no target":           {`{}`, broker.Finished, ""},
	} {
		s := &broker.Session{ID: "ID", State: c.state, Reason: eid.Cancelled}
		got, err := Leave(s, &broker.Spec{Payload: []byte(c.payload)})
		if err != nil || got.URL != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got.URL, err, c.want)
		}
		if c.state == broker.Failed && string(got.Message) != `{"command":"zignsec_postback","errorcode":"USER_CANCEL","error":"Action cancelled","token":"ID"}` {
			t.Errorf("%s: message %s", name, got.Message)
		}
	}
}

// Every section that a comment or a conversation cites is there.
func TestSectionsExist(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/apis/zignsec.md")
	if err != nil {
		t.Fatal(err)
	}
	heads := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^##+ §([\d.]+) `).FindAllSubmatch(manual, -1) {
		heads[string(m[1])] = true
	}
	cited := regexp.MustCompile(`§(\d+(?:\.\d+)*)`)
	divergences, err := os.ReadFile("../../docs/divergences.md")
	if err != nil {
		t.Fatal(err)
	}
	_, ours, _ := strings.Cut(string(divergences), "## ZignSec v2")
	ours, _, _ = strings.Cut(ours, "\n## ")
	for _, m := range regexp.MustCompile(`(?m)^\| ([\d.]+) \|`).FindAllStringSubmatch(ours, -1) {
		if !heads[m[1]] {
			t.Errorf("docs/divergences.md: no section %s", m[1])
		}
	}
	for _, pattern := range []string{"*.go", "testdata/*.txtar"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range cited.FindAllSubmatch(text, -1) {
				if !heads[string(m[1])] {
					t.Errorf("%s cites §%s, which docs/apis/zignsec.md does not have", p, m[1])
				}
			}
		}
	}
}

// TestNoMail: who asks a server without a relay for a mail is told so, by the
// answer and by the session's timeline.
func TestNoMail(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		none bool
		body string
		want string
	}{
		{true, "webhook_email=ops@shop.example", "webhook_email: this server sends no mail. Its operator must set mail"},
		{true, "", ""},
		{false, "webhook_email=ops@shop.example", ""},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.api.c.NoMail = x.none
			res := w.do("POST", "/v2/eid/sbid", liveKey, "target=https://shop.example/&"+x.body)
			var a answered
			if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.URL == nil {
				t.Fatalf("%d %+v %v", res.StatusCode, a.Errors, err)
			}
			notes, err := w.store.Notes(t.Context(), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			noted := slices.ContainsFunc(notes, func(n broker.Note) bool { return strings.HasPrefix(n.Text, "webhook_email") })
			if got := res.Header.Get("X-Eidgate-Warning"); got != x.want || noted != (x.want != "") {
				t.Errorf("%+v: warning %q, noted %t", x, got, noted)
			}
		})
	}
}
