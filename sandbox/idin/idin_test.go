package idin_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
	"eidgate/sandbox/idin"
)

// pool are keys that the simulators of all tests share: making them is slow.
var (
	pool = sync.OnceValue(func() []idin.Key {
		out := make([]idin.Key, 10)
		for i := range out {
			k, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				panic(err)
			}
			out[i] = k
		}
		return out
	})
)

type (
	cert = x509.Certificate
	key  = rsa.PrivateKey
)

// A service is a simulator on a socket, with one merchant.
type service struct {
	*idin.Simulator
	clock     *sandbox.Clock
	people    *sandbox.People
	decisions *sandbox.Decisions
	faults    *sandbox.Faults
	url       string
	shop      *merchant
	browser   *http.Client // without cookies; follows nothing
	t         testing.TB
}

// A merchant is a client that is written for this test alone.
type merchant struct {
	idin.Credentials
	cert    *x509.Certificate
	key     *rsa.PrivateKey
	open    *rsa.PrivateKey
	routing map[string]*x509.Certificate // by fingerprint
	n       int                          // references
}

func newService(t testing.TB, auto sandbox.Outcome) *service {
	t.Helper()
	s := &service{clock: sandbox.NewClock(true), people: sandbox.NewPeople(), faults: sandbox.NewFaults(1), t: t}
	s.decisions = sandbox.NewDecisions(s.people, auto)
	var n atomic.Int64
	s.Simulator = idin.New(idin.Config{Clock: s.clock, People: s.people, Decisions: s.decisions, Faults: s.faults, Base: func() string { return s.url },
		Keys: func() idin.Key { return pool()[int(n.Add(1))%len(pool())] }})
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	s.url = srv.URL
	s.browser = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.shop = s.merchant("Shop & Söhne")
	return s
}

func (s *service) merchant(name string) *merchant {
	s.t.Helper()
	c, err := s.Merchant(name)
	if err != nil {
		s.t.Fatal(err)
	}
	m := &merchant{Credentials: c, cert: certOf(s.t, c.SigningCertificate), key: keyOf(s.t, c.SigningKey), open: keyOf(s.t, c.DecryptionKey), routing: map[string]*x509.Certificate{}}
	for _, text := range []string{c.RoutingCertificate, c.AlternateRoutingCert} {
		m.routing[xmldsig.Fingerprint(certOf(s.t, text))] = certOf(s.t, text)
	}
	return m
}

func certOf(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func keyOf(t testing.TB, text string) *rsa.PrivateKey {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

const returnURL = "https://shop.example/back?a=1&b=2"

// A start is what a transaction's request says. Fields that are empty have
// what a good one has.
type start struct {
	bank, returnURL, expiration, language, entrance, reference, service string
	issuer, acs, binding, level, document, documentName                 string
	sub                                                                 string
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

const idx = `xmlns="http://www.betaalvereniging.nl/iDx/messages/Merchant-Acquirer/1.0.0" version="1.0.0" productID="NL:BVN:BankID:1.0"`

func attr(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace(s)
}

// xml is the request, unsigned.
func (s *service) xml(m *merchant, in start) string {
	m.n++
	at := s.clock.Now().Format("2006-01-02T15:04:05.000Z")
	to := or(in.returnURL, returnURL)
	extension := ""
	if in.document != "" {
		extension = `<samlp:Extensions><saml:Attribute Name="` + or(in.documentName, "urn:nl:bvn:bankid:1.0:merchant.documentID") + `"><saml:AttributeValue>` + in.document +
			`</saml:AttributeValue></saml:Attribute></samlp:Extensions>`
	}
	return `<AcquirerTrxReq ` + idx + `><createDateTimestamp>` + at + `</createDateTimestamp><Issuer><issuerID>` + or(in.bank, "BANKNL2Y") +
		`</issuerID></Issuer><Merchant><merchantID>` + m.MerchantID + `</merchantID><subID>` + or(in.sub, "0") + `</subID><merchantReturnURL>` + attr(to) +
		`</merchantReturnURL></Merchant><Transaction><expirationPeriod>` + or(in.expiration, "PT5M") + `</expirationPeriod><language>` + or(in.language, "nl") +
		`</language><entranceCode>` + or(in.entrance, "Ec"+strconv.Itoa(m.n)) + `</entranceCode><container><samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ` +
		`xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="` + or(in.reference, "Ref"+strconv.Itoa(m.n)) + `" Version="2.0" IssueInstant="` + at +
		`" ProtocolBinding="` + or(in.binding, "nl:bvn:bankid:1.0:protocol:iDx") + `" AssertionConsumerServiceURL="` + attr(or(in.acs, to)) +
		`" AttributeConsumingServiceIndex="` + or(in.service, "21974") + `"><saml:Issuer>` + or(in.issuer, m.MerchantID) + `</saml:Issuer>` + extension +
		`<saml:Conditions/><samlp:RequestedAuthnContext Comparison="minimum"><saml:AuthnContextClassRef>` + or(in.level, "nl:bvn:bankid:1.0:loa3") +
		`</saml:AuthnContextClassRef></samlp:RequestedAuthnContext><samlp:Scoping/></samlp:AuthnRequest></container></Transaction></AcquirerTrxReq>`
}

func (s *service) statusXML(m *merchant, id string) string {
	return `<AcquirerStatusReq ` + idx + `><createDateTimestamp>` + s.clock.Now().Format("2006-01-02T15:04:05.000Z") + `</createDateTimestamp><Merchant><merchantID>` +
		m.MerchantID + `</merchantID><subID>0</subID></Merchant><Transaction><transactionID>` + id + `</transactionID></Transaction></AcquirerStatusReq>`
}

func (s *service) directoryXML(m *merchant) string {
	return `<DirectoryReq ` + idx + `><createDateTimestamp>` + s.clock.Now().Format("2006-01-02T15:04:05Z") + `</createDateTimestamp><Merchant><merchantID>` +
		m.MerchantID + `</merchantID><subID>0</subID></Merchant></DirectoryReq>`
}

// sign signs a request with the merchant's key.
func (m *merchant) sign(t testing.TB, doc string) []byte {
	t.Helper()
	d := etree.NewDocument()
	if err := d.ReadFromString(doc); err != nil {
		t.Fatal(err)
	}
	if err := (xmldsig.Signer{Key: m.key, Certificate: m.cert, KeyName: true}).Sign(d.Root()); err != nil {
		t.Fatal(err)
	}
	out, err := xmldsig.Bytes(d.Root())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign makes a start's signed request.
func (s *service) sign(in start) []byte {
	s.t.Helper()
	return s.shop.sign(s.t, s.xml(s.shop, in))
}

// post sends a body to the routing service.
func (s *service) post(body []byte) (int, []byte) {
	s.t.Helper()
	res, err := http.Post(s.url+"/idin/rs", "text/xml; charset=utf-8", strings.NewReader(string(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, raw
}

// An answer is a message that was verified.
type answer struct {
	t     testing.TB
	raw   []byte
	root  *etree.Element
	whole *xmldsig.Signed
}

// read verifies an answer's signature by the name that it gives.
func (m *merchant) read(t testing.TB, raw []byte) (*answer, error) {
	t.Helper()
	v, err := xmldsig.Verify(raw, xmldsig.Limits{}, xmldsig.Rule{Others: strings.Count(string(raw), "Assertion ID="), Select: func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
		if len(k.Names) != 1 || m.routing[strings.ToUpper(k.Names[0])] == nil {
			return nil, errors.New("no such key")
		}
		return m.routing[strings.ToUpper(k.Names[0])], nil
	}})
	if err != nil {
		return nil, err
	}
	return &answer{t: t, raw: raw, root: v.Root, whole: v}, nil
}

// send signs, sends, verifies.
func (s *service) send(m *merchant, doc string) *answer {
	s.t.Helper()
	status, raw := s.post(m.sign(s.t, doc))
	if status != http.StatusOK {
		s.t.Fatalf("HTTP %d: %s", status, raw)
	}
	a, err := m.read(s.t, raw)
	if err != nil {
		s.t.Fatalf("answer: %v\n%s", err, raw)
	}
	return a
}

// el finds an element by local names from the root; nil for none.
func (a *answer) el(path string) *etree.Element {
	el := a.root
	for name := range strings.SplitSeq(path, "/") {
		var next *etree.Element
		for _, c := range el.ChildElements() {
			if c.Tag == name {
				next = c
				break
			}
		}
		if el = next; el == nil {
			return nil
		}
	}
	return el
}

func (a *answer) text(path string) string {
	if el := a.el(path); el != nil {
		return el.Text()
	}
	return ""
}

// code is that of an error, with the last words of its SAML status.
func (a *answer) code() string {
	out := a.text("Error/errorCode")
	if el := a.el("Error/container/Response/Status/StatusCode"); el != nil {
		out += " " + lastWord(el.SelectAttrValue("Value", "")) + " " + lastWord(el.ChildElements()[0].SelectAttrValue("Value", ""))
	}
	return out
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ':')+1:] }

// begin starts a transaction that must succeed.
func (s *service) begin(in start) (id, page string) {
	s.t.Helper()
	a := s.send(s.shop, s.xml(s.shop, in))
	id, page = a.text("Transaction/transactionID"), a.text("Issuer/issuerAuthenticationURL")
	if id == "" || page == "" {
		s.t.Fatalf("start: %s", a.raw)
	}
	return id, page
}

// A result is what a status answer says, decrypted.
type result struct {
	status, at, nameID, delivered string
	first, second                 string
	attributes                    map[string]string
	hasAssertion, hasContainer    bool
	assertion                     *etree.Element
	*answer
}

func (s *service) status(id string) *result {
	s.t.Helper()
	r, err := s.open(s.send(s.shop, s.statusXML(s.shop, id)))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// open reads what a status answer says. The bank's signature is verified and
// what is encrypted is opened.
func (s *service) open(a *answer) (*result, error) {
	r := &result{answer: a, status: a.text("Transaction/status"), at: a.text("Transaction/statusDateTimestamp"), attributes: map[string]string{}}
	r.hasContainer = a.el("Transaction/container") != nil
	if el := a.el("Transaction/container/Response/Status/StatusCode"); el != nil {
		r.first = lastWord(el.SelectAttrValue("Value", ""))
		for _, c := range el.ChildElements() {
			r.second = lastWord(c.SelectAttrValue("Value", ""))
		}
	}
	as := a.el("Transaction/container/Response/Assertion")
	if as == nil {
		return r, nil
	}
	r.hasAssertion = true
	v, err := a.whole.VerifyElement(as, xmldsig.Rule{Select: func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
		if len(k.Certificates) != 1 {
			return nil, errors.New("no certificate")
		}
		return k.Certificates[0], nil
	}})
	if err != nil {
		return r, fmt.Errorf("assertion: %w", err)
	}
	r.assertion = v.Root
	inner := &answer{t: a.t, root: v.Root}
	r.delivered = strings.TrimSpace(inner.text("AttributeStatement/Attribute/AttributeValue"))
	name, err := s.decrypt(inner.el("Subject/EncryptedID"))
	if err != nil {
		return r, err
	}
	r.nameID = name.Text()
	for _, el := range inner.el("AttributeStatement").ChildElements() {
		if el.Tag != "EncryptedAttribute" {
			continue
		}
		at, err := s.decrypt(el)
		if err != nil {
			return r, err
		}
		key := strings.TrimPrefix(at.SelectAttrValue("Name", ""), "urn:nl:bvn:bankid:1.0:consumer.")
		if _, twice := r.attributes[key]; twice {
			return r, errors.New("attribute twice")
		}
		r.attributes[key] = at.ChildElements()[0].Text()
	}
	return r, nil
}

func (s *service) decrypt(el *etree.Element) (*etree.Element, error) {
	return xmldsig.Decrypt(el, []crypto.Decrypter{s.shop.open}, xmldsig.Limits{})
}

// A view is a page, or where the browser is sent.
type view struct {
	status int
	to     string
	body   string
	header http.Header
}

func (s *service) get(at string) view {
	s.t.Helper()
	res, err := s.browser.Get(at)
	return s.seen(res, err)
}

func (s *service) submit(at string, values ...string) view {
	s.t.Helper()
	f := url.Values{}
	for i := 0; i+1 < len(values); i += 2 {
		f.Set(values[i], values[i+1])
	}
	res, err := s.browser.PostForm(at, f)
	return s.seen(res, err)
}

func (s *service) seen(res *http.Response, err error) view {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.Header.Get("X-Eidgate-Sandbox") != "1" {
		s.t.Error("an answer without the sandbox's header")
	}
	return view{res.StatusCode, res.Header.Get("Location"), string(raw), res.Header}
}

// approve lets a person log in and approve on the bank's pages.
func (s *service) approve(page, person string) view {
	s.t.Helper()
	if v := s.submit(page, "act", "login", "person", person); v.status != http.StatusSeeOther || v.to != page {
		s.t.Fatalf("login: %+v", v)
	}
	if v := s.get(page); v.status != 200 || !strings.Contains(v.body, `data-testid="approve"`) {
		s.t.Fatalf("consent: %+v", v)
	}
	return s.submit(page, "act", "approve", "person", person)
}

// A login goes through directory, start, pages, return and status, in either
// profile; the browser has no cookies.
func TestLogin(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"plain", "worldline"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			s := newService(t, sandbox.Ignore)
			if _, err := s.Change(func(v *idin.Settings) error { v.Profile = profile; return nil }); err != nil {
				t.Fatal(err)
			}
			d := s.send(s.shop, s.directoryXML(s.shop))
			var listed []string
			for _, el := range d.el("Directory/Country").ChildElements() {
				if el.Tag == "Issuer" {
					listed = append(listed, el.ChildElements()[0].Text()+" "+el.ChildElements()[1].Text())
				}
			}
			want := "CURRNL2A Currence Issuer|DICHNL2A Sandbox Bank Dicht|DRIENL2A Sandbox Bank Drie|BANKNL2Y Sandbox Bank Een"
			if got := strings.Join(listed, "|"); got != want || d.text("Acquirer/acquirerID") != "1234" || d.text("Directory/Country/countryNames") != "Nederland" {
				t.Errorf("directory %q, want %q", got, want)
			}
			id, page := s.begin(start{entrance: "Ec1234567890", service: "21974"})
			if id != "1234000000000001" || !strings.HasPrefix(page, s.url+"/idin/bank/BANKNL2Y?s=") {
				t.Errorf("transaction %s at %s", id, page)
			}
			if r := s.status(id); r.status != "Open" || r.at != "" || r.hasContainer {
				t.Errorf("before: %s", r.raw)
			}
			first := s.get(page)
			for _, part := range []string{`data-testid="person-vries"`, "Shop &amp; Söhne", "Simulatie", `lang="nl"`} {
				if !strings.Contains(first.body, part) {
					t.Errorf("the page lacks %s", part)
				}
			}
			if v := s.approve(page, "vries"); v.status != http.StatusSeeOther || v.to != returnURL+"&ec=Ec1234567890&trxid="+id {
				t.Errorf("return: %+v", v)
			}
			s.clock.Advance(29 * time.Second)
			r := s.status(id)
			if r.status != "Success" || r.first != "Success" || r.second != "Success" || r.delivered != "21974" {
				t.Errorf("status: %s %s %s %s", r.status, r.first, r.second, r.delivered)
			}
			wantAll := map[string]string{"initials": "VJ", "legallastname": "Vries", "legallastnameprefix": "de", "preferredlastname": "Vries-Jansen",
				"preferredlastnameprefix": "de", "partnerlastname": "Jansen", "partnerlastnameprefix": "de", "dateofbirth": "19750725", "gender": "1",
				"street": "Pascalstreet", "houseno": "19", "postalcode": "0000AA", "city": "Maastricht", "country": "NL", "telephone": "+31203051900",
				"email": "info@equensworldline.nl"}
			same(t, r.attributes, wantAll)
			if !strings.HasPrefix(r.nameID, "NLBANK") || len(r.nameID) != 70 {
				t.Errorf("BIN %q", r.nameID)
			}
			in := &answer{root: r.assertion}
			cond := in.el("Conditions")
			from := s.clock.Now().Add(-29 * time.Second).Format("2006-01-02T15:04:05.000Z")
			until := s.clock.Now().Add(time.Second).Format("2006-01-02T15:04:05.000Z")
			if got := cond.SelectAttrValue("NotBefore", ""); got != from || r.at != from {
				t.Errorf("NotBefore %s, statusDateTimestamp %s, want %s", got, r.at, from)
			}
			if got := cond.SelectAttrValue("NotOnOrAfter", ""); got != until {
				t.Errorf("NotOnOrAfter %s, want %s", got, until)
			}
			if in.el("Conditions/OneTimeUse") == nil || in.text("Issuer") != "BANKNL2Y" || in.el("AuthnStatement").SelectAttrValue("AuthnInstant", "") != from {
				t.Error("the assertion lacks something")
			}
			if got := r.el("Transaction/container/Response").SelectAttrValue("InResponseTo", ""); got != "Ref1" {
				t.Errorf("InResponseTo %q", got)
			}
			id2 := in.root.SelectAttrValue("ID", "")
			if plain := profile == "plain"; plain != (id2 == "VS-"+id) || plain != (in.text("Conditions/AudienceRestriction/Audience") == s.shop.LegalID) ||
				plain != (in.text("AuthnStatement/AuthnContext/AuthenticatingAuthority") == "BANKNL2Y") ||
				plain != strings.Contains(string(r.raw), `Recipient="`+s.shop.LegalID+`"`) {
				t.Errorf("assertion %s does not follow its profile", id2)
			}
			name := xmldsig.Fingerprint(certOf(t, s.shop.RoutingCertificate))
			for _, part := range map[string][]string{"plain": {"<AcquirerStatusRes xmlns=", "<ds:KeyName>" + name, "<samlp:Response", "<saml:Assertion"},
				"worldline": {"<KeyName>" + strings.ToLower(name), "<awidxma:AcquirerStatusRes xmlns=\"http://www.w3.org/2000/09/xmldsig#\"", "<saml2p:Response", "<saml2:Assertion", `PrefixList="xsd"`, `xsi:type="xsd:string"`, "&#xD;\n"}}[profile] {
				if !strings.Contains(string(r.raw), part) {
					t.Errorf("the answer lacks %s", part)
				}
			}
		})
	}
}

func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s = %q is too much", k, v)
		}
	}
}
