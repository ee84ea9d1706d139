package idin

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
	"eidgate/sandbox"
)

// Kinds of faults that the simulator carries out itself.
const (
	badSignature  = "bad_signature"
	unknownKey    = "unknown_key"   // KeyName of a certificate that nobody has
	alternateKey  = "alternate_key" // the routing service's second key
	doctype       = "doctype"
	otherNumber   = "wrong_transaction"
	directoryDown = "directory_down"
)

var (
	callFaults     = []string{sandbox.Delay, sandbox.Status, sandbox.HTML, sandbox.Reset, sandbox.Garbage, sandbox.Truncate}
	envelopeFaults = []string{badSignature, unknownKey, alternateKey, doctype, sandbox.Refuse}
)

// own are the faults of each target that its handler carries out.
var own = map[string][]string{
	"idin.rs":          envelopeFaults,
	"idin.directory":   append(slices.Clone(envelopeFaults), directoryDown),
	"idin.transaction": append(slices.Clone(envelopeFaults), otherNumber),
	"idin.status":      append(slices.Clone(envelopeFaults), otherNumber),
	"idin.bank":        nil,
	"idinqr":           {badSignature, sandbox.Refuse},
}

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	out := map[string][]string{"idin.result": resultFaults, "idin.redirect": {noRedirect, wrongEC, stayOpen}, "idinqr.call": {badSignature}}
	for target, kinds := range own {
		out[target] = append(slices.Clone(callFaults), kinds...)
	}
	out["idin.rs"] = append(out["idin.rs"], sandbox.Skew)
	return out
}

type faultKey struct{}

func withFault(ctx context.Context, f sandbox.Fault) context.Context {
	return context.WithValue(ctx, faultKey{}, f)
}

func faultOf(ctx context.Context) sandbox.Fault {
	f, _ := ctx.Value(faultKey{}).(sandbox.Fault)
	return f
}

// targets are what faults call the messages.
var targets = map[string]string{"DirectoryReq": "idin.directory", "AcquirerTrxReq": "idin.transaction", "AcquirerStatusReq": "idin.status"}

// serveRouting answers any of the three messages. Whatever is wrong with one,
// the answer is a signed message with HTTP 200 (§2).
func (s *Simulator) serveRouting(w http.ResponseWriter, r *http.Request) {
	doc, err := io.ReadAll(io.LimitReader(r.Body, 1<<20+1))
	if err != nil {
		return // the client has gone
	}
	req, bad := read(doc)
	at := []string{"idin.rs"}
	if bad == nil {
		at = append(at, targets[req.kind])
	}
	call := func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.route(r.Context(), req, bad)
		if err != nil {
			http.Error(w, "The sandbox cannot write its answer.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		_, _ = w.Write(answer) // the client has gone
	}
	f, hit := s.Faults.Take(at...)
	switch {
	case !hit:
		call(w, r)
	case slices.Contains(own[f.Target], f.Kind):
		call(w, r.WithContext(withFault(r.Context(), f)))
	default:
		f.Apply(w, r, call)
	}
}

// route answers a message that can be read, or says why it cannot.
func (s *Simulator) route(ctx context.Context, req *request, bad *refusal) ([]byte, error) {
	fault := faultOf(ctx)
	out := newMessage(s.Settings().Profile)
	switch {
	case bad != nil:
	case fault.Kind == directoryDown:
		bad = no("SO1000", "the directory cannot be read")
	case fault.Kind == sandbox.Refuse:
		bad = &refusal{code: fault.Value, detail: "a fault is on"}
		if fault.Value == "AP3000" {
			bad = unfit("RequestDenied", "a fault is on")
		}
	default:
		var m *Merchant
		if m, bad = s.admit(req); bad != nil {
			break
		}
		switch req.kind {
		case "DirectoryReq":
			s.directory(out)
		case "AcquirerTrxReq":
			bad = s.begin(ctx, out, req, m)
		default:
			bad = s.status(ctx, out, req, m)
		}
	}
	if bad != nil {
		out = newMessage(s.Settings().Profile)
		s.refuse(out, req, bad)
	}
	return s.seal(out, fault)
}

// admit checks who sent a message, and that its signature is good (§11.1). What
// is read from here on is what was signed.
func (s *Simulator) admit(req *request) (*Merchant, *refusal) {
	s.mu.Lock()
	m := s.merchants[req.at("Merchant/merchantID")]
	s.mu.Unlock()
	sub, _ := strconv.Atoi(req.at("Merchant/subID")) // digits
	switch {
	case m == nil:
		return nil, no("AP1100", "the merchant is not known")
	case !m.Active:
		return nil, no("AP1500", "the merchant is not active")
	case !slices.Contains(m.SubIDs, sub):
		return nil, no("AP1300", "the merchant has no such subID")
	}
	cert := m.signedBy(req.signer())
	if cert == nil {
		return nil, no("SE2000", "no certificate of this name is registered for the merchant")
	}
	signed, err := xmldsig.Verify(req.doc, xmldsig.Limits{}, xmldsig.Rule{Select: func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
		if len(k.Names) != 1 || !equalFold(k.Names[0], xmldsig.Fingerprint(cert)) {
			return nil, errors.New("not the one name")
		}
		return cert, nil
	}})
	if err != nil {
		return nil, no("SE2700", "the signature does not fit the message")
	}
	req.root = signed.Root
	return m, nil
}

// begin makes a transaction, or refuses it.
func (s *Simulator) begin(ctx context.Context, out *message, req *request, m *Merchant) *refusal {
	o, bad := s.asked(req, m)
	if bad != nil {
		return bad
	}
	s.mu.Lock()
	s.last++
	o.id = fmt.Sprintf("%s%012d", Acquirer, s.last)
	s.mu.Unlock()
	sandbox.Concerns(ctx, o.id)
	if b, _ := bankOf(o.bank); b.Down {
		return s.turnedAway(o, no("SO1100", "no answer from "+o.bank+" within the time limit"), "the bank, which is down")
	}
	dec := s.decide(o, "")
	if code := dec.Outcome.Code(); errorForm.MatchString(code) {
		r := no(code, "the sandbox was told so: "+dec.Source)
		if code == "AP3000" {
			r = unfit("RequestDenied", r.detail)
		}
		return s.turnedAway(o, r, source(dec))
	}
	page := s.open(o)
	number := o.id
	if faultOf(ctx).Kind == otherNumber {
		number = other(number)
	}
	out.root("AcquirerTrxRes", "ns3")
	out.leaf("createDateTimestamp", stamp(s.now()))
	out.acquirer()
	out.open("Issuer")
	out.leaf("issuerAuthenticationURL", page)
	out.close("Issuer")
	out.open("Transaction")
	out.leaf("transactionID", number)
	out.leaf("transactionCreateDateTimestamp", stamp(o.created))
	out.close("Transaction")
	return nil
}

var errorForm = regexp.MustCompile(`^[A-Z]{2}[0-9]{4}$`)

// other is a number of the same acquirer that nothing has.
func other(number string) string { return number[:4] + "9" + number[5:] }

// asked reads a transaction's request into an order. What it checks, and in
// which order, is a choice of ours (§16.2, docs/divergences.md).
func (s *Simulator) asked(req *request, m *Merchant) (*order, *refusal) {
	a := req.authn()
	o := &order{merchant: m, bank: req.at("Issuer/issuerID"), returnURL: req.at("Merchant/merchantReturnURL"), language: req.at("Transaction/language"),
		entrance: req.at("Transaction/entranceCode"), reference: a.SelectAttrValue("ID", ""), request: string(req.doc)}
	o.marker, o.gui = marked(o.entrance)
	if _, ok := bankOf(o.bank); !ok {
		return nil, no("AP1200", "the issuer is not in the directory")
	}
	s.mu.Lock()
	fresh := o.marker != "" || m.use(o.reference)
	o.life = time.Duration(s.settings.Expiration)
	s.mu.Unlock()
	if !fresh {
		return nil, no("AP2620", "this merchantReference was used before")
	}
	if p := req.at("Transaction/expirationPeriod"); p != "" {
		o.life, _ = parseDuration(p) // its form has been checked
	}
	if o.life > 5*time.Minute {
		return nil, no("AP2920", "expirationPeriod is longer than five minutes")
	}
	switch {
	case child(a, "Issuer").Text() != m.ID:
		return nil, unfit("MismatchWithIDx", "saml:Issuer is not the merchantID")
	case a.SelectAttrValue("AssertionConsumerServiceURL", "") != o.returnURL:
		return nil, unfit("MismatchWithIDx", "AssertionConsumerServiceURL is not the merchantReturnURL")
	case a.SelectAttrValue("ProtocolBinding", "") != binding:
		return nil, unfit("MismatchWithIDx", "ProtocolBinding is not "+binding)
	}
	if level := child(child(a, "RequestedAuthnContext"), "AuthnContextClassRef"); level.Text() != loa3 {
		return nil, unfit("RequestUnsupported", "the level of assurance is not "+loa3)
	}
	o.service, _ = strconv.Atoi(a.SelectAttrValue("AttributeConsumingServiceIndex", "")) // its form has been checked
	o.document = documentID(a)
	return o, allowed(o.service, o.document, m)
}

// documentID is what is to be signed; "" for nothing.
func documentID(a *etree.Element) string {
	e := child(a, "Extensions")
	if e == nil {
		return ""
	}
	at := child(e, "Attribute")
	if at.SelectAttrValue("Name", "") != attributeRoot+"merchant.documentID" {
		return "?" // fits no ServiceId: nothing may be asked for by another name
	}
	return child(at, "AttributeValue").Text()
}

// The parts of a ServiceId (§6).
const (
	partBIN, partName, partAddress, partBirth, partAdult = 16384, 4096, 1024, 448, 64
	partGender, partSign, partTelephone, partEmail       = 16, 8, 4, 2
	partBSN                                              = 1
)

// allowed checks a ServiceId: that its parts exist, go together and are in the
// merchant's contract.
func allowed(service int, document string, m *Merchant) *refusal {
	age := service & partBirth
	switch {
	case service&^(AllServices|partBSN) != 0, age != 0 && age != partBirth && age != partAdult:
		return unfit("InvalidAttrNameOrValue", "the ServiceId has parts that are not defined")
	case document == "?":
		return unfit("InvalidAttrNameOrValue", "the extension is not known")
	case service&partSign != 0 && (document == "" || service&partBIN == 0):
		return unfit("InvalidAttrNameOrValue", "to sign needs a documentID and the BIN")
	case service&partSign == 0 && document != "":
		return unfit("InvalidAttrNameOrValue", "a documentID needs the part that signs")
	case service&partBSN != 0:
		return unfit("RequestUnsupported", "the BSN is no longer delivered")
	case service&^m.Services != 0:
		return unfit("RequestDenied", "the ServiceId is not in the merchant's contract")
	}
	return nil
}

// markers are the acquirers' test conventions, found anywhere in the
// entranceCode (§20).
var markers = map[string]sandbox.Outcome{
	"HIO100OIH": sandbox.Approve, "HIO200OIH": sandbox.Cancel, "HIO300OIH": sandbox.Expire, "HIO400OIH": "fail:open", "HIO500OIH": "fail:failure",
	"HIO600OIH": "fail:pending", "HIO701OIH": "fail:IX1100", "HIO702OIH": "fail:SO1100", "HIO703OIH": "fail:SE2700", "HIO704OIH": "fail:BR1200", "HIO705OIH": "fail:AP3000",
}

var markerForm = regexp.MustCompile(`HIO[0-9]{3}OIH`)

// marked reads the marker of an entranceCode. gui asks for the bank's page all
// the same.
func marked(entrance string) (o sandbox.Outcome, gui bool) {
	return markers[markerForm.FindString(entrance)], strings.Contains(entrance, "showConsumerGui")
}

// directory lists the banks.
func (s *Simulator) directory(out *message) {
	out.root("DirectoryRes", "ns3")
	out.leaf("createDateTimestamp", stamp(s.now()))
	out.acquirer()
	out.open("Directory")
	out.leaf("directoryDateTimestamp", "2026-01-15T00:00:00.000Z")
	out.open("Country")
	out.leaf("countryNames", "Nederland")
	for _, b := range banks {
		out.open("Issuer")
		out.leaf("issuerID", b.ID)
		out.leaf("issuerName", b.Name)
		out.close("Issuer")
	}
	out.close("Country")
	out.close("Directory")
}

// status tells how a transaction stands, and a result once. Asking changes no
// status (§16.3).
func (s *Simulator) status(ctx context.Context, out *message, req *request, m *Merchant) *refusal {
	id := req.at("Transaction/transactionID")
	sandbox.Concerns(ctx, id)
	s.mu.Lock()
	o := s.orders[id]
	known := o != nil && o.merchant.ID == m.ID && o.state != refused
	s.mu.Unlock()
	if !known {
		return no("AP2600", "there is no such transaction of this merchant")
	}
	if o.marker != "" && !o.gui { // it needs no browser
		if dec := s.decide(o, ""); dec.Tier == 30 && acts(dec) {
			_ = s.act(o, dec) // a refusal shows in the order
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass(o)
	state := o.told()
	number := o.id
	if faultOf(ctx).Kind == otherNumber {
		number = other(number)
	}
	out.root("AcquirerStatusRes", "awidxma")
	out.leaf("createDateTimestamp", stamp(s.now()))
	out.acquirer()
	out.open("Transaction")
	out.leaf("transactionID", number)
	out.leaf("status", wire[state])
	if final(state) {
		out.leaf("statusDateTimestamp", stamp(o.at))
	}
	s.note(o, state)
	if state == success {
		if err := s.deliver(out, o); err != nil {
			return no("SO1000", "the answer cannot be made")
		}
	}
	out.close("Transaction")
	return nil
}

// words of the refusals by their codes; the first two letters are enough for
// most.
var words = map[string]string{
	"IX1100": "Received XML not valid", "IX1200": "Encoding type not UTF-8", "IX1600": "Mandatory value missing", "IX": "XML problem",
	"SO1100": "Issuer not available", "SO": "System not available",
	"SE2000": "Authentication error", "SE2700": "Invalid electronic signature", "SE": "Security problem",
	"BR1200": "Version number invalid", "BR1210": "Value contains a character that is not permitted", "BR1220": "Value too long",
	"BR1230": "Value too short", "BR1270": "Invalid date or time", "BR1280": "Invalid URL", "BR": "Field not valid",
	"AP1100": "MerchantID unknown", "AP1200": "IssuerID unknown", "AP1300": "SubID unknown", "AP1500": "MerchantID not active",
	"AP2600": "Transaction does not exist", "AP2620": "Transaction already submitted", "AP2920": "Expiration period not valid",
	"AP3000": "Product specific error", "AP": "Application problem",
}

// refuse writes AcquirerErrorRes.
func (s *Simulator) refuse(out *message, req *request, bad *refusal) {
	word := words[bad.code]
	if word == "" && len(bad.code) > 2 {
		word = words[bad.code[:2]]
	}
	if word == "" {
		word = "Problem"
	}
	language, reference := "nl", "unknown"
	if req != nil && req.authn() != nil {
		language, reference = req.at("Transaction/language"), req.authn().SelectAttrValue("ID", "")
	}
	out.root("AcquirerErrorRes", "awidxma")
	out.leaf("createDateTimestamp", stamp(s.now()))
	out.open("Error")
	out.leaf("errorCode", bad.code)
	out.leaf("errorMessage", word)
	out.leaf("errorDetail", bad.detail)
	out.leaf("suggestedAction", "See docs/sandbox.md")
	out.leaf("consumerMessage", consumer(bad.code, language))
	if bad.first != "" {
		out.open("container")
		out.response(s.now(), "RES-"+random(16), reference, Acquirer, bad.first, bad.second, bad.detail, nil)
		out.close("container")
	}
	out.close("Error")
}

// consumer is what a person may be shown (§10.3).
func consumer(code, language string) string {
	later := strings.HasPrefix(code, "SO") || code == "AP1200"
	switch {
	case later && language == "en":
		return "This sandbox bank does not answer. Try another bank, or come back later."
	case later:
		return "Deze sandbox-bank antwoordt niet. Kies een andere bank of kom later terug."
	case language == "en":
		return "This sandbox cannot identify you now. Try another way."
	}
	return "Deze sandbox kan u nu niet identificeren. Kies een andere manier."
}
