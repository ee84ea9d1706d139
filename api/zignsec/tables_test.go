package zignsec

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"eidgate/broker"
	"eidgate/eid"
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
