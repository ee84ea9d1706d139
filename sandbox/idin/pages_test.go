package idin_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/idin"
)

// Each button of the bank's pages, and what the merchant is told then. The
// browser has no cookies and no scripts.
func TestButtons(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, v := range []struct {
		act, status string
		returns     bool
	}{
		{"approve", "Success", true}, {"cancel", "Cancelled", true}, {"fail", "Failure", true}, {"close", "Success", false}, {"stay", "Open", true},
	} {
		id, page := s.begin(start{entrance: "Ec" + v.act, returnURL: "https://shop.example/back"})
		s.submit(page, "act", "login", "person", "vries")
		got := s.submit(page, "act", v.act, "person", "vries")
		want := "https://shop.example/back?ec=Ec" + v.act + "&trxid=" + id
		if v.returns && (got.status != http.StatusSeeOther || got.to != want) || !v.returns && (got.status != http.StatusOK || got.to != "" || !strings.Contains(got.body, `data-testid="notice"`)) {
			t.Errorf("%s: %d to %s, want %s", v.act, got.status, got.to, want)
		}
		if r := s.status(id); r.status != v.status {
			t.Errorf("%s: %s, want %s", v.act, r.status, v.status)
		}
		again := s.get(page)
		if ended := v.status != "Open"; ended && again.to != got.to || !ended && !strings.Contains(again.body, `data-testid="approve"`) {
			t.Errorf("%s, page again: %+v", v.act, again)
		}
		o, err := s.Order(id)
		if err != nil || o.By != "page of Sandbox Bank Een" || o.Person != "vries" {
			t.Errorf("%s: %+v, %v", v.act, o, err)
		}
	}
	id, page := s.begin(start{})
	if v := s.submit(page, "act", "cancel"); v.status != http.StatusSeeOther || s.status(id).status != "Cancelled" {
		t.Errorf("cancel before logging in: %+v", v)
	}
	_, page = s.begin(start{})
	s.submit(page, "act", "login", "person", "vries")
	s.submit(page, "act", "other")
	if v := s.get(page); !strings.Contains(v.body, `data-testid="person-jong"`) {
		t.Error("somebody else cannot log in")
	}
	if v := s.submit(page, "act", "login", "person", "bo"); v.status != http.StatusUnprocessableEntity || !strings.Contains(v.body, `role="alert"`) {
		t.Errorf("somebody whom no bank knows: %+v", v)
	}
	if v := s.submit(page, "act", "pay"); v.status != http.StatusBadRequest {
		t.Errorf("no button: %d", v.status)
	}
}

// The consent page says what goes to whom, in the language of the request.
func TestConsent(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, v := range []struct {
		language, service, person string
		want, lacks               []string
	}{
		{"nl", "64", "jong", []string{`lang="nl"`, "of u 18 jaar of ouder bent", "false", "Shop &amp; Söhne", "ontvangt:"}, []string{"geboortedatum", "initials"}},
		{"en", "21974", "onbekend", []string{`lang="en"`, "your date of birth", "19500000", "your e-mail address", "this bank does not know it", "will receive:"}, []string{"18 or older"}},
		{"fr", "16384", "oldbin", []string{`lang="nl"`, "een nummer voor u"}, []string{"NLOUDB"}},
		{"en", "0", "vries", []string{"nothing that stays"}, []string{"Vries-Jansen"}},
	} {
		_, page := s.begin(start{language: v.language, service: v.service})
		s.submit(page, "act", "login", "person", v.person)
		body := s.get(page).body
		for _, part := range v.want {
			if !strings.Contains(body, part) {
				t.Errorf("%s %s: the page lacks %q", v.language, v.service, part)
			}
		}
		for _, part := range v.lacks {
			if strings.Contains(body, part) {
				t.Errorf("%s %s: the page has %q", v.language, v.service, part)
			}
		}
	}
}

// Pages hold no script and load nothing, and their policy allows just the
// style that they hold.
func TestPolicy(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	_, page := s.begin(start{})
	s.faults.Add(sandbox.Fault{Target: "idin.result", Kind: "corrupt"})
	for name, v := range map[string]view{"login": s.get(page), "nothing": s.get(s.url + "/idin/bank/BANKNL2Y?s=x"), "no code": s.get(s.url + "/idin/qr/open/x")} {
		m := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(v.body)
		if m == nil {
			t.Fatalf("%s: no style", name)
		}
		sum := sha256.Sum256([]byte(m[1]))
		policy := v.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || !strings.Contains(policy, "default-src 'none'") ||
			!strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") || v.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: policy %s", name, policy)
		}
		for _, part := range []string{"<script", " src=", "http:", " style=", "onclick"} {
			if strings.Contains(v.body, part) {
				t.Errorf("%s: the page has %q", name, part)
			}
		}
		for _, part := range []string{`data-testid="banner"`, "idin.result corrupt"} {
			if !strings.Contains(v.body, part) {
				t.Errorf("%s: the page lacks %q", name, part)
			}
		}
	}
	if v := s.get(strings.Replace(page, "BANKNL2Y", "DRIENL2A", 1)); v.status != http.StatusNotFound {
		t.Errorf("at another bank: %d", v.status)
	}
	s.Clear()
	if v := s.get(page); v.status != http.StatusNotFound {
		t.Errorf("after a reset: %d", v.status)
	}
}

// What the ladder says happens when the page is opened, with no button pressed.
func TestLadder(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, v := range []struct {
		outcome        sandbox.Outcome
		person         string
		status, first  string
		second, at     string // at: back, notice, or page
		attributes     int
		refusedAtStart string
	}{
		{outcome: "approve", status: "Success", first: "Success", second: "Success", at: "back", attributes: 16},
		{outcome: "approve", person: "kort", status: "Success", first: "Success", second: "Success", at: "back", attributes: 13},
		{outcome: "cancel", status: "Cancelled", at: "back"},
		{outcome: "decline", status: "Failure", at: "back"},
		{outcome: "expire", status: "Expired", at: "back"},
		{outcome: "ignore", status: "Open", at: "page"},
		{outcome: "cancel:page", status: "Open", at: "page"},
		{outcome: "fail:failure", status: "Failure", at: "back"},
		{outcome: "fail:somethingElse", status: "Failure", at: "back"},
		{outcome: "fail:cancelled", status: "Cancelled", at: "back"},
		{outcome: "fail:expired", status: "Expired", at: "back"},
		{outcome: "fail:no_return", status: "Success", first: "Success", second: "Success", at: "notice", attributes: 16},
		{outcome: "fail:incomplete", status: "Success", first: "Success", second: "IncompleteAttributeSet", at: "back", attributes: 8},
		{outcome: "fail:open", status: "Open", at: "back"},
		{outcome: "fail:pending", status: "Pending", at: "back"},
		{outcome: "fail:RequestDenied", status: "Success", first: "Requester", second: "RequestDenied", at: "back"},
		{outcome: "fail:AuthnFailed", status: "Success", first: "Responder", second: "AuthnFailed", at: "back"},
		{outcome: "fail:SO1100", refusedAtStart: "SO1100"},
		{outcome: "fail:AP3000", refusedAtStart: "AP3000 Requester RequestDenied"},
		{outcome: "fail:ZZ9999", refusedAtStart: "ZZ9999"},
	} {
		s.decisions.Enqueue(sandbox.Queued{Outcome: v.outcome, Person: v.person, Match: sandbox.Match{EID: "idin"}})
		a := s.send(s.shop, s.xml(s.shop, start{}))
		if got := a.code(); got != v.refusedAtStart {
			t.Errorf("%s: start %q, want %q", v.outcome, got, v.refusedAtStart)
		}
		if v.refusedAtStart != "" {
			o := s.Orders(true)[0]
			if o.State != "refused" || o.Hint != string(v.outcome[5:]) || o.Pending || s.send(s.shop, s.statusXML(s.shop, o.Ref)).code() != "AP2600" {
				t.Errorf("%s: %+v", v.outcome, o)
			}
			continue
		}
		id, page := a.text("Transaction/transactionID"), a.text("Issuer/issuerAuthenticationURL")
		for range 2 { // a page may be loaded again
			got := s.get(page)
			at := "page"
			if got.status == http.StatusSeeOther && strings.HasPrefix(got.to, returnURL) {
				at = "back"
			} else if strings.Contains(got.body, `data-testid="notice"`) {
				at = "notice"
			}
			if at != v.at {
				t.Errorf("%s: %s, want %s: %+v", v.outcome, at, v.at, got)
			}
		}
		r := s.status(id)
		if r.status != v.status || r.first != v.first || r.second != v.second || len(r.attributes) != v.attributes {
			t.Errorf("%s: %s, %s %s, %d attributes", v.outcome, r.status, r.first, r.second, len(r.attributes))
		}
		if rungs, ok := s.decisions.Explain(id); !ok || !rungs[1].Used || rungs[1].Said != string(v.outcome) {
			t.Errorf("%s: %+v", v.outcome, rungs)
		}
	}
	s.decisions.Enqueue(sandbox.Queued{Outcome: "approve", Person: "bo"})
	id, page := s.begin(start{})
	if v := s.get(page); v.status != http.StatusUnprocessableEntity || !strings.Contains(v.body, "bo: no Dutch bank knows this person") || s.status(id).status != "Open" {
		t.Errorf("as somebody whom no bank knows: %+v", v)
	}
}

// A person's behaviour decides once they have logged in.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for person, want := range map[string]string{"cancels-nl": "Cancelled", "blocked-nl": "Failure", "ignores-nl": "Open", "vries": "Open"} {
		id, page := s.begin(start{})
		v := s.submit(page, "act", "login", "person", person)
		if v = s.get(v.to); (v.status == http.StatusSeeOther) != (want != "Open") {
			t.Errorf("%s: %d", person, v.status)
		}
		if r := s.status(id); r.status != want {
			t.Errorf("%s: %s, want %s", person, r.status, want)
		}
	}
}

// An outcome that is put off shows a page that loads itself again.
func TestDelay(t *testing.T) {
	t.Parallel()
	s := newService(t, "approve after 3s")
	id, page := s.begin(start{})
	if v := s.get(page); v.status != 200 || v.header.Get("Refresh") != "3" || s.status(id).status != "Open" {
		t.Errorf("at first: %d, refresh %q", v.status, v.header.Get("Refresh"))
	}
	s.clock.Advance(3 * time.Second)
	if v := s.get(page); v.status != http.StatusSeeOther || s.status(id).status != "Success" {
		t.Errorf("after 3 s: %d", v.status)
	}
}

// Who claimed a login acts as well: the page waits for them, and somebody who
// decides one session is heard at its start already.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	s.decisions.Returns = func(address string) (sandbox.Origin, bool) {
		u, err := url.Parse(address)
		return sandbox.Origin{Session: u.Query().Get("session")}, err == nil && u.Query().Has("session")
	}
	s.decisions.Set("s1", sandbox.Decision{Outcome: "fail:SO1100"})
	if got := s.send(s.shop, s.xml(s.shop, start{returnURL: "https://shop.example/?session=s1"})).code(); got != "SO1100" {
		t.Errorf("decided before its start: %q", got)
	}
	release, err := s.decisions.Claim("s2", sandbox.Decision{Outcome: "approve", Person: "jong"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	id, page := s.begin(start{returnURL: "https://shop.example/?session=s2"})
	v := s.get(page)
	if v.status != http.StatusOK || !strings.Contains(v.body, `name="person" value="jong"`) {
		t.Fatalf("claimed: %+v", v)
	}
	if v = s.submit(page, "act", "approve", "person", "jong"); v.to != "https://shop.example/?session=s2&ec=Ec2&trxid="+id {
		t.Errorf("back: %s", v.to)
	}
}

// Markers of the acquirers' test conventions work without any browser, and are
// tier 30 of the ladder.
func TestMarkers(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for entrance, want := range map[string]string{
		"succesHIO100OIHtest": "Success", "cancelledHIO200OIHtest": "Cancelled", "expiredHIO300OIHtest": "Expired", "openHIO400OIHtest": "Open",
		"failureHIO500OIHtest": "Failure", "pendingHIO600OIHtest": "Pending", "showConsumerGuiHIO100OIH": "Open", "xHIO999OIHx": "Open",
	} {
		id, page := s.begin(start{entrance: entrance, reference: "Fixed" + entrance})
		if strings.HasSuffix(want, "s") || want == "Open" { // the browser may come first
			v := s.get(page)
			if gui := want == "Open" && !strings.HasPrefix(entrance, "open"); gui != (v.status == 200) {
				t.Errorf("%s: page %d", entrance, v.status)
			}
		}
		if r := s.status(id); r.status != want || want == "Success" && !r.hasAssertion {
			t.Errorf("%s: %s, want %s", entrance, r.status, want)
		}
		if rungs, ok := s.decisions.Explain(id); !ok || rungs[2].Used == (want == "Open" && entrance != "openHIO400OIHtest") {
			t.Errorf("%s: %+v", entrance, rungs)
		}
	}
	for entrance, want := range map[string]string{
		"receivedXMLNotValidHIO701OIHtest": "IX1100", "systemUnavailabilityHIO702OIHtest": "SO1100", "invalidElectronicSignatureHIO703OIHtest": "SE2700",
		"versionNumberInvalidHIO704OIHtest": "BR1200", "productSpecificErrorHIO705OIHtest": "AP3000 Requester RequestDenied",
	} {
		for range 2 { // test clients send fixed references again and again
			if got := s.send(s.shop, s.xml(s.shop, start{entrance: entrance, reference: "Fixed"})).code(); got != want {
				t.Errorf("%s: %q, want %q", entrance, got, want)
			}
		}
	}
}

// The control API does what a button does, once.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for event, want := range map[string]string{"approve": "Success", "cancel": "Cancelled", "decline": "Failure", "expire": "Expired", "fail:failure": "Failure",
		"fail:incomplete": "Success", "open": "Open", "stay": "Open", "scan": "Open"} {
		id, page := s.begin(start{})
		changed := s.Changed()
		o, err := s.Do(id, sandbox.Act{Event: event, Person: "accent", Data: []byte(`{"email":"x@example.com"}`)})
		if err != nil || o.EID != "idin" || o.Ref != id || o.Pending != (want == "Open") {
			t.Errorf("%s: %+v, %v", event, o, err)
		}
		select {
		case <-changed:
		default:
			t.Errorf("%s: nobody who waits is told", event)
		}
		if v := s.get(page); want != "Open" && v.status != http.StatusSeeOther {
			t.Errorf("%s: a browser on the page is not sent on: %d", event, v.status)
		}
		r := s.status(id)
		if r.status != want || event == "approve" && r.attributes["email"] != "x@example.com" {
			t.Errorf("%s: %s, want %s; %v", event, r.status, want, r.attributes)
		}
		if _, err = s.Do(id, sandbox.Act{Event: "approve"}); errors.Is(err, sandbox.ErrEnded) != (want != "Open") {
			t.Errorf("%s, then approve: %v", event, err)
		}
	}
	id, _ := s.begin(start{})
	for name, v := range map[string]struct {
		ref string
		act sandbox.Act
		err error
	}{
		"no order":  {"1", sandbox.Act{Event: "approve"}, sandbox.ErrNoOrder},
		"no event":  {id, sandbox.Act{Event: "sing"}, sandbox.ErrEvent},
		"nobody":    {id, sandbox.Act{Event: "approve", Person: "nobody"}, sandbox.ErrNobody},
		"not known": {id, sandbox.Act{Event: "approve", Person: "bo"}, idin.ErrNotKnown},
		"bad data":  {id, sandbox.Act{Event: "approve", Data: []byte(`{"gender":"7"}`)}, sandbox.ErrEvent},
	} {
		if _, err := s.Do(v.ref, v.act); !errors.Is(err, v.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o, err := s.Order(id)
	if told, ok := o.Returns.(map[string]string); err != nil || !o.Pending || !ok || told["initials"] != "VJ" || !strings.Contains(o.Asked, "<AcquirerTrxReq") || o.Left != 300 {
		t.Errorf("order: %+v, %v", o, err)
	}
	if n, all := len(s.Orders(false)), len(s.Orders(true)); n != 1 || all != 10 {
		t.Errorf("%d orders wait, %d there are", n, all)
	}
}

// Many logins at once, while others look on: each is told its own person.
func TestTogether(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	var work sync.WaitGroup
	for i, person := range []string{"vries", "jong", "kort", "accent", "oldbin", "abroad"} {
		entrance := "Together" + strconv.Itoa(i)
		begun := s.sign(start{service: "20480", entrance: entrance, reference: entrance})
		work.Go(func() {
			_, raw := s.post(begun)
			a, err := s.shop.read(t, raw)
			if err != nil {
				t.Error(err)
				return
			}
			id, page := a.text("Transaction/transactionID"), a.text("Issuer/issuerAuthenticationURL")
			s.get(page)
			s.submit(page, "act", "login", "person", person)
			s.Orders(true)
			s.Settings()
			s.submit(page, "act", "approve", "person", person)
			_, raw = s.post(s.shop.sign(t, s.statusXML(s.shop, id)))
			if a, err = s.shop.read(t, raw); err != nil {
				t.Error(err)
				return
			}
			r, err := s.open(a)
			p, _ := s.people.Get(person)
			if err != nil || r.attributes["legallastname"] != p.IDIN.LegalLastName {
				t.Errorf("%s is told as %q, %v", person, r.attributes["legallastname"], err)
			}
		})
	}
	work.Wait()
}

// Faults of the way back.
func TestWayBack(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	on := func(kind, value string) {
		f := sandbox.Fault{Target: "idin.redirect", Kind: kind, Value: value, Times: 1}
		if err := f.Check(idin.Faults()["idin.redirect"]); err != nil {
			t.Fatal(err)
		}
		s.faults.Add(f)
	}
	id, page := s.begin(start{})
	on("no_redirect", "")
	if v := s.get(page); v.status != 200 || !strings.Contains(v.body, `data-testid="notice"`) || s.status(id).status != "Success" {
		t.Errorf("no redirect: %+v", v)
	}
	id, page = s.begin(start{entrance: "EcEcEc"})
	on("wrong_ec", "")
	if v := s.get(page); strings.Contains(v.to, "EcEcEc") || !strings.Contains(v.to, "trxid="+id) {
		t.Errorf("wrong ec: %s", v.to)
	}
	id, page = s.begin(start{})
	on("open", "2")
	s.get(page)
	var told []string
	for range 3 {
		told = append(told, s.status(id).status)
	}
	if got := strings.Join(told, " "); got != "Open Open Success" {
		t.Errorf("open for two requests: %s", got)
	}
	s.faults.Add(sandbox.Fault{Target: "idin.bank", Kind: "html", Value: "502", Times: 1})
	_, page = s.begin(start{})
	if v := s.get(page); v.status != http.StatusBadGateway {
		t.Errorf("bank down: %d", v.status)
	}
	_, page = s.begin(start{returnURL: "https://shop.example/a#top"})
	if v := s.get(page); !strings.HasSuffix(v.to, "#top") || !strings.Contains(v.to, "/a?ec=") {
		t.Errorf("a fragment: %s", v.to)
	}
}
