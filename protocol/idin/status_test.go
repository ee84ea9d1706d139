package idin_test

import (
	"bytes"
	"context"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/semaphore"

	"eidgate/protocol/idin"
)

// TestProfiles reads both ways to write an answer (§16.4), alone and side by side.
func TestProfiles(t *testing.T) {
	t.Parallel()
	second := success()
	second.worldline, second.authority, second.keyName = true, "", strings.ToLower(second.keyName)
	for name, a := range map[string]answer{"plain": success(), "worldline": second} {
		s, err := merchant().ReadStatus(a.raw(t), want, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.TransactionID != want.TransactionID || s.State != idin.Success || !s.At.Equal(a.at) || s.Incomplete || s.Issuer != want.Issuer ||
			s.Level != idin.Substantial || !s.AuthnAt.Equal(a.from) || !s.NotBefore.Equal(a.from) || !s.NotAfter.Equal(a.until) ||
			s.AssertionID != assertionID || s.Delivered != want.Service || s.Missing != 0 || !s.Routing.Equal(rs().cert) || !s.Bank.Equal(vs().cert) {
			t.Errorf("%s: %+v", name, *s)
		}
		for _, sem := range []idin.Semaphore{nil, semaphore.NewWeighted(1), semaphore.NewWeighted(8)} {
			p, err := s.Open(t.Context(), sem)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if p.BIN != "NLBANK0001" || p.Initials != "VJ" || p.LegalLastName != "Vriës" || p.Adult == nil || !*p.Adult ||
				len(p.Other)+len(p.Notes)+len(s.Notes) > 0 {
				t.Errorf("%s: %q %q %q, notes %v %v", name, p.BIN, p.Initials, p.LegalLastName, s.Notes, p.Notes)
			}
		}
	}
}

// TestOpenEnds: who has gone gets an error of his own, and holds up nobody.
func TestOpenEnds(t *testing.T) {
	t.Parallel()
	s, err := merchant().ReadStatus(success().raw(t), want, now)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	busy := semaphore.NewWeighted(1)
	if err := busy.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for name, sem := range map[string]idin.Semaphore{"alone": nil, "waiting": busy} {
		if _, err := s.Open(gone, sem); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	busy.Release(1)
	if !busy.TryAcquire(1) {
		t.Error("the semaphore is not given back")
	}
	if _, err := new(idin.Status).Open(t.Context(), nil); err == nil {
		t.Error("a status without assertion is opened")
	}
}

// TestStates: states without a person (§10.1).
func TestStates(t *testing.T) {
	t.Parallel()
	for state, final := range map[idin.State]bool{idin.Open: false, idin.Pending: false, idin.Cancelled: true, idin.Expired: true, idin.Failure: true} {
		a := success()
		a.state = string(state)
		if !final {
			a.at = time.Time{}
		}
		s, err := merchant().ReadStatus(a.raw(t), want, now)
		if err != nil || s.State != state || s.State.Final() != final || len(s.Notes) > 0 {
			t.Errorf("%s: %v, %v", state, s, err)
		}
		if s.At.IsZero() == final {
			t.Errorf("%s was set at %v", state, s.At)
		}
	}
}

// TestNotASuccess: what Success may hide (§7.2, §10.2).
func TestNotASuccess(t *testing.T) {
	t.Parallel()
	noAssertion := func(r string) string {
		head, rest, _ := strings.Cut(r, "<saml:Assertion")
		_, tail, _ := strings.Cut(rest, "</saml:Assertion>")
		return head + tail
	}
	none := func(string) string { return "" }
	for name, v := range map[string]struct {
		alter func(*answer)
		want  error
	}{
		"response without assertion":    {func(a *answer) { a.container = noAssertion }, idin.ErrNoData},
		"incomplete, without assertion": {func(a *answer) { a.container, a.second = noAssertion, "IncompleteAttributeSet" }, idin.ErrNoData},
		"empty container":               {func(a *answer) { a.container = none }, idin.ErrNoData},
		"no container":                  {func(a *answer) { a.container, a.inAll = none, all("<container></container>", "") }, idin.ErrNoData},
		"requester": {func(a *answer) { a.first, a.container = "Requester", noAssertion },
			&idin.Error{SAML: idin.SAMLStatus{First: "Requester", Second: "Success"}}},
		"error with assertion": {func(a *answer) { a.first, a.second = "Responder", "AuthnFailed" },
			&idin.Error{SAML: idin.SAMLStatus{First: "Responder", Second: "AuthnFailed"}}},
	} {
		a := success()
		v.alter(&a)
		s, err := merchant().ReadStatus(a.raw(t), want, now)
		if s != nil || err == nil || err.Error() != v.want.Error() {
			t.Errorf("%s: %v, %v, want %v", name, s, err, v.want)
		}
		if errors.Is(v.want, idin.ErrNoData) != errors.Is(err, idin.ErrNoData) {
			t.Errorf("%s: %T", name, err)
		}
	}
	a := success()
	a.container, a.reference = noAssertion, "Mref0000000002"
	var refused *idin.RefusedError
	if _, err := merchant().ReadStatus(a.raw(t), want, now); !errors.As(err, &refused) || refused.Reason != idin.ReasonRequest {
		t.Errorf("another transaction's answer without data: %v", err)
	}
}

// TestNotes: what differs from the rules and hurts nobody is passed on, and
// named without its value (§9).
func TestNotes(t *testing.T) {
	t.Parallel()
	type notes []idin.Note
	person := func(name, value string) func(*answer) {
		return func(a *answer) { a.attributes = [][2]string{{name, value}} }
	}
	long := strings.Repeat("é", 201)
	for name, v := range map[string]struct {
		alter func(*answer)
		want  notes
	}{
		"productID": {func(a *answer) { a.inAll = text(`productID="NL:BVN:BankID:1.0"`, `productID="NL:BVN:BankID:2.0"`) },
			notes{"productID is another one"}},
		"statusDateTimestamp": {func(a *answer) { a.at = time.Time{} }, notes{"statusDateTimestamp is missing"}},
		"second level":        {func(a *answer) { a.second = "" }, notes{"second level of the SAML status is missing"}},
		"authority":           {func(a *answer) { a.authority = "CURRNL2A" }, notes{"AuthenticatingAuthority is another bank"}},
		"expired bank": {func(a *answer) { a.assertion = certify(vs().key, "bank", year2028, year2029) },
			notes{"certificate of the issuer is outside its dates"}},
		"odd BIN":               {func(a *answer) { a.nameID = "1BANK" }, notes{"NameID has another form"}},
		"long BIN":              {func(a *answer) { a.nameID = "NL" + strings.Repeat("x", 1025) }, notes{"NameID has another form"}},
		"longest BIN":           {func(a *answer) { a.nameID = "NL" + strings.Repeat("x", 1024) }, nil},
		"dots":                  {person("initials", "V.J."), notes{"initials has another form"}},
		"accents":               {person("initials", "ÉŠ"), nil},
		"long name":             {person("legallastname", long), notes{"legallastname has another form"}},
		"longest name":          {person("legallastname", long[:400]), nil},
		"long prefix":           {person("partnerlastnameprefix", "van der 's-"), notes{"partnerlastnameprefix has another form"}},
		"birth date with 00":    {person("dateofbirth", "19500000"), nil},
		"birth date with dash":  {person("dateofbirth", "1950-01-01"), notes{"dateofbirth has another form"}},
		"month 13":              {person("dateofbirth", "19501301"), notes{"dateofbirth has another form"}},
		"gender 9":              {person("gender", "9"), nil},
		"gender M":              {person("gender", "M"), notes{"gender has another form"}},
		"long suffix":           {person("housenosuf", long), nil},
		"postal code apart":     {person("postalcode", "1234 AB"), notes{"postalcode has another form"}},
		"country":               {person("country", "nl"), notes{"country has another form"}},
		"telephone":             {person("telephone", "+31 (0)20-3051900"), nil},
		"telephone with letter": {person("telephone", "call me"), notes{"telephone has another form"}},
		"tab":                   {person("city", "Maas\ttricht"), notes{"city has another form"}},
		"empty":                 {person("email", ""), notes{"email is empty"}},
		"18+ yes":               {person("is18orolder", "yes"), notes{"is18orolder has another form"}},
		"18+ empty":             {person("18orolder", ""), notes{"is18orolder is empty"}},
	} {
		a := success()
		v.alter(&a)
		s, err := merchant().ReadStatus(a.raw(t), want, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p, err := s.Open(t.Context(), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := notes(slices.Concat(s.Notes, p.Notes)); !slices.Equal(got, v.want) {
			t.Errorf("%s: notes %q, want %q", name, got, v.want)
		}
	}
}

// TestPerson reads every attribute into its place (§9).
func TestPerson(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, v := range map[string]struct {
		service    idin.ServiceID
		nameID     string
		attributes [][2]string
		want       idin.Person
	}{
		"all": {idin.BIN, "NLBANK0001", [][2]string{{"deprecatedbin", "NLBANK0000"}, {"initials", "VJ"}, {"legallastname", "Vries"},
			{"legallastnameprefix", "de"}, {"preferredlastname", "Vries-Jansen"}, {"preferredlastnameprefix", "de "}, {"partnerlastname", "Jansen & <Zoon>"},
			{"partnerlastnameprefix", "van der"}, {"dateofbirth", "19750725"}, {"is18orolder", "false"}, {"gender", "1"}, {"street", "Pascalstreet"},
			{"houseno", "19"},
			{"housenosuf", "A"}, {"addressextra", "achter"}, {"postalcode", "0000AA"}, {"city", "Maastricht"}, {"country", "NL"}, {"intaddressline1", "1"},
			{"intaddressline2", "2"}, {"intaddressline3", "3"}, {"telephone", "+31203051900"}, {"email", "info@example.nl"},
			{"urn:nl:bvn:bankid:1.0:merchant.documentID", "c0ffee"}, {"shoesize", "43"}, {"urn:example:is18orolder", "true"}},
			idin.Person{BIN: "NLBANK0001", FormerBIN: "NLBANK0000", Initials: "VJ", LegalLastName: "Vries", LegalLastNamePrefix: "de",
				PreferredLastName: "Vries-Jansen", PreferredLastNamePrefix: "de ", PartnerLastName: "Jansen & <Zoon>",
				PartnerLastNamePrefix: "van der", BirthDate: "19750725", Adult: &no, Gender: "1", Street: "Pascalstreet", HouseNumber: "19",
				HouseNumberSuffix: "A", AddressExtra: "achter", PostalCode: "0000AA", City: "Maastricht", Country: "NL",
				International: [3]string{"1", "2", "3"}, Telephone: "+31203051900", Email: "info@example.nl", DocumentID: "c0ffee",
				Other: map[string]string{"urn:nl:bvn:bankid:1.0:consumer.shoesize": "43", "urn:example:is18orolder": "true"}}},
		"18+, other spelling": {idin.Adult, "TRANS0123", [][2]string{{"18orolder", "true"}},
			idin.Person{Transient: "TRANS0123", Adult: &yes, Other: map[string]string{}}},
		"transient, small": {0, "trans0123", nil, idin.Person{Transient: "trans0123", Other: map[string]string{}}},
		"BIN not asked for": {0, "FANTASYBANK1234567890", nil,
			idin.Person{BIN: "FANTASYBANK1234567890", Other: map[string]string{}, Notes: []idin.Note{"NameID is a BIN, which was not asked for"}}},
		"unknown birth date": {idin.BIN | idin.Birth, "NLBANK0001", [][2]string{{"dateofbirth", "19500000"}},
			idin.Person{BIN: "NLBANK0001", BirthDate: "19500000", Other: map[string]string{}}},
	} {
		for _, worldline := range []bool{false, true} {
			a, asked := success(), want
			a.worldline, asked.Service = worldline, v.service
			a.nameID, a.attributes = v.nameID, v.attributes
			s, err := merchant().ReadStatus(a.raw(t), asked, now)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			p, err := s.Open(t.Context(), semaphore.NewWeighted(2))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			v.want.Missing = s.Missing
			if diff := cmp.Diff(v.want, *p); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		}
	}
}

// TestMissing compares group by group what was asked and what came (§6).
func TestMissing(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		asked     idin.ServiceID
		delivered string
		missing   idin.ServiceID
	}{
		{idin.BIN | idin.Name, "20480", 0},
		{idin.BIN | idin.Name, "16384", idin.Name},
		{idin.BIN | idin.Name, "0", idin.BIN | idin.Name},
		{idin.BIN | idin.Birth, "16448", idin.Birth}, // 18+ is no birth date
		{idin.BIN | idin.Adult, "16832", idin.Adult}, // and the other way round
		{idin.BIN | idin.Mail | idin.Phone, "16386", idin.Phone},
		{idin.BIN, "65535", 0},
	} {
		a, asked := success(), want
		a.delivered, asked.Service, a.second = v.delivered, v.asked, "IncompleteAttributeSet"
		s, err := merchant().ReadStatus(a.raw(t), asked, now)
		if err != nil || s.Missing != v.missing || !s.Incomplete {
			t.Errorf("asked %v, got %s: missing %v, %v, want %v", v.asked, v.delivered, s, err, v.missing)
			continue
		}
		if p, err := s.Open(t.Context(), nil); err != nil || p.Missing != v.missing {
			t.Errorf("asked %v, got %s: %v", v.asked, v.delivered, err)
		}
	}
}

// TestExpectNothing: an answer about nothing does not fit who expects nothing.
func TestExpectNothing(t *testing.T) {
	t.Parallel()
	for reason, alter := range map[idin.Reason]func(*answer, *idin.Expected){
		idin.ReasonTransaction: func(a *answer, w *idin.Expected) { a.transaction, w.TransactionID = "", "" },
		idin.ReasonRequest:     func(a *answer, w *idin.Expected) { a.reference, w.Reference = "", "" },
		idin.ReasonIssuer:      func(a *answer, w *idin.Expected) { a.issuer, w.Issuer = "", "" },
	} {
		a, w := success(), want
		alter(&a, &w)
		var got *idin.RefusedError
		if _, err := merchant().ReadStatus(a.raw(t), w, now); !errors.As(err, &got) || got.Reason != reason {
			t.Errorf("%v, want %s", err, reason)
		}
	}
}

// TestMutations alters answers at random places, over and over: what is still
// believed says the same as before. The last are altered in the assertion alone
// and then signed by the routing service, which stands for one that lies.
func TestMutations(t *testing.T) {
	t.Parallel()
	const rounds, lies = 1500, 50
	random := mathrand.New(mathrand.NewPCG(1, 2))
	believed, refused := 0, 0
	judge := func(raw []byte) {
		s, err := merchant().ReadStatus(raw, want, now)
		var p *idin.Person
		if err == nil {
			p, err = s.Open(t.Context(), nil)
		}
		if err != nil {
			harmless(t, err)
			refused++
			return
		}
		believed++
		if p.BIN != "NLBANK0001" || p.Initials != "VJ" || p.LegalLastName != "Vriës" || p.Adult == nil || !*p.Adult ||
			s.Delivered != want.Service || !s.NotAfter.Equal(success().until) {
			t.Errorf("believed: %q %q %q\n%s", p.BIN, p.Initials, p.LegalLastName, raw)
		}
	}
	second := success()
	second.worldline = true
	originals := []string{string(success().raw(t)), string(second.raw(t))}
	for i := range rounds {
		judge([]byte(mutate(random, originals[i%2])))
	}
	for signed := 0; signed < lies; {
		message := originals[signed%2]
		i, j := strings.Index(message, ":Assertion "), strings.LastIndex(message, ":Assertion>")
		raw, ok := attempt(func() []byte {
			doc := parse(noTest{}, message[:i]+mutate(random, message[i:j])+message[j:])
			root := doc.Root()
			root.RemoveChild(root.SelectElement("Signature"))
			sign(noTest{}, root, -1, rs().key, "", "", "<ds:KeyName>"+fingerprint(rs().cert)+"</ds:KeyName>")
			out, err := doc.WriteToBytes()
			if err != nil {
				panic(err)
			}
			return out
		})
		if ok { // still XML
			signed++
			judge(raw)
		}
	}
	if believed == 0 || believed > (rounds+lies)/10 { // a blank between attributes changes nothing, and there are few
		t.Errorf("%d are believed, %d refused", believed, refused)
	}
}

// mutate alters a text at one to three places.
func mutate(random *mathrand.Rand, s string) string {
	b := []byte(s)
	for range 1 + random.IntN(3) {
		i, j := random.IntN(len(b)), random.IntN(len(b))
		switch random.IntN(6) {
		case 0:
			b[i] ^= 1 << random.IntN(7)
		case 1:
			b = slices.Delete(b, i, min(len(b), i+1+random.IntN(8)))
		case 2: // a piece once more
			b = slices.Insert(b, i, b[j:min(len(b), j+1+random.IntN(400))]...)
		case 3:
			small := []string{" ", "\n", "\r", "\t", "<x/>", "<!-- -->", "&amp;", "&#13;", `x="y" `, ` xmlns="urn:x"`, "0"}
			b = slices.Insert(b, i, []byte(small[random.IntN(len(small))])...)
		case 4:
			b[i], b[j] = b[j], b[i]
		case 5: // a tag elsewhere
			if from := bytes.IndexByte(b[i:], '<'); from >= 0 {
				if to := bytes.IndexByte(b[i+from:], '>'); to >= 0 {
					b = slices.Insert(b, j, b[i+from:i+from+to+1]...)
				}
			}
		}
	}
	return string(b)
}

// A gate counts who is inside.
type gate struct {
	idin.Semaphore
	inside, most, times atomic.Int64
}

func (g *gate) Acquire(ctx context.Context, n int64) error {
	if err := g.Semaphore.Acquire(ctx, n); err != nil {
		return err
	}
	g.times.Add(1)
	if now := g.inside.Add(1); now > g.most.Load() {
		g.most.Store(now)
	}
	return nil
}

func (g *gate) Release(n int64) {
	g.inside.Add(-1)
	g.Semaphore.Release(n)
}

// TestTogether: one merchant and one status serve many at once, and all of them
// decrypt behind one semaphore.
func TestTogether(t *testing.T) {
	t.Parallel()
	const callers, bound = 8, 2
	m, raw, g := merchant(), success().raw(t), &gate{Semaphore: semaphore.NewWeighted(bound)}
	s, err := m.ReadStatus(raw, want, now)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			own, err := m.ReadStatus(raw, want, now)
			if err != nil {
				t.Error(err)
				return
			}
			for _, status := range []*idin.Status{s, own} {
				if p, err := status.Open(t.Context(), g); err != nil || p.BIN != "NLBANK0001" || p.LegalLastName != "Vriës" {
					t.Errorf("%v", err)
				}
			}
		})
	}
	wait.Wait()
	if g.times.Load() != callers*2*4 || g.most.Load() > bound || g.inside.Load() != 0 {
		t.Errorf("%d were let in, %d at once, %d are still inside", g.times.Load(), g.most.Load(), g.inside.Load())
	}
}
