// Package bankidse plays the Swedish BankID service for the sandbox: its API
// with client certificates, its orders and their clocks, and the signatures
// and OCSP answers of people's apps, on keys that are new at every start.
// docs/protocols/bankidse.md describes the service; § in comments refers to
// that file. Where the description leaves room, it is docs/sandbox.md that
// says what this simulator does.
package bankidse

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"eidgate/sandbox"
)

var loopback = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}

// A refusal is an error answer of the service (§7).
type refusal struct {
	status        int
	code, details string
}

var (
	noOrder    = &refusal{400, "invalidParameters", "No such order"}
	badRequest = &refusal{400, "invalidParameters", "Invalid request"}
)

// An endpoint is one address of the service and how near we are to it.
type endpoint struct {
	path    string
	call    func(*Simulator, rp, []byte) (any, *refusal) // nil: not simulated
	because string
}

// endpoints are all addresses that the service has.
var endpoints = []endpoint{
	{"/rp/v6.0/auth", func(s *Simulator, who rp, b []byte) (any, *refusal) { return s.begin(who, b, false) }, ""},
	{"/rp/v6.0/sign", func(s *Simulator, who rp, b []byte) (any, *refusal) { return s.begin(who, b, true) }, ""},
	{"/rp/v6.0/collect", (*Simulator).collect, ""},
	{"/rp/v6.0/cancel", (*Simulator).cancel, ""},
	{"/rp/v6.0/phone/auth", nil, "orders for a person on the phone are not played"},
	{"/rp/v6.0/phone/sign", nil, "orders for a person on the phone are not played"},
	{"/rp/v6.0/payment", nil, "payments need an agreement of their own"},
	{"/rp/v6.0/other/payment", nil, "payments need an agreement of their own"},
	{"/rp/v5.1/", nil, "version 5.1 has been closed"},
	{"/rp/v1/verify", nil, "the check of the digital ID card is another service"},
}

// differences are what is not an endpoint.
var differences = []sandbox.Fidelity{
	{What: "client certificates: 403 in HTML without one, orders belong to their subject", State: sandbox.Exact},
	{What: "order and texts of the refusals", State: sandbox.Exact},
	{What: "windows, one-time results, alreadyInProgress", State: sandbox.Exact},
	{What: "animated code: HMAC and time", State: sandbox.Exact},
	{What: "XML signature, chain, OCSP answer with nonce", State: sandbox.Exact},
	{What: "keys", State: sandbox.Differs, Because: "RSA-2048 in the whole signature chain, ECDSA for TLS, and all people share one key"},
	{What: "issuers of BankIDs", State: sandbox.Differs, Because: "there is one bank, and one certificate for identification and signature"},
	{What: "simpleMarkdownV1", State: sandbox.Differs, Because: "characters, escapes and unclosed bold are checked, tables and lists are not"},
	{What: "rate limit", State: sandbox.Differs, Because: "off until it is switched on, and counted for each order"},
	{What: "app", State: sandbox.Differs, Because: "it is a page or a call of the control API, and the code is 123456"},
	{What: "risk", State: sandbox.Differs, Because: "low unless the event says otherwise"},
}

// Fidelity says how near the simulator is, from what it is made of.
func Fidelity() []sandbox.Fidelity {
	var out []sandbox.Fidelity
	for _, e := range endpoints {
		f := sandbox.Fidelity{Upstream: "bankidse", What: "POST " + e.path, State: sandbox.Exact, Because: e.because}
		if e.call == nil {
			f.State = sandbox.NotSimulated
		}
		out = append(out, f)
	}
	for _, f := range differences {
		f.Upstream = "bankidse"
		out = append(out, f)
	}
	return out
}

// Faults are the kinds of faults that each target knows.
func Faults() map[string][]string {
	calls := []string{sandbox.Delay, sandbox.Status, sandbox.HTML, sandbox.Reset, sandbox.Garbage, sandbox.Truncate}
	out := map[string][]string{"bankidse": append(calls, sandbox.Skew),
		"bankidse.result": {badSignature, certExpired, sandbox.Garbage, sandbox.Truncate, replay, ocspRevoked, ocspNonce}}
	for _, e := range endpoints {
		if e.call != nil {
			out["bankidse."+path.Base(e.path)] = calls
		}
	}
	return out
}

// Handler is the API below /rp/v6.0.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, e := range endpoints {
		mux.HandleFunc(e.path, s.post(e))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, &refusal{404, "notFound", "No such resource"}) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		if _, ok := s.caller(r); !ok {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, frontPage) // the client has gone
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// An rp is who calls: what its certificate says.
type rp struct{ subject, name, display string }

const frontPage = "<html><head><title>403 Forbidden</title></head><body><h1>Forbidden</h1></body></html>\n"

// post is what every call has in common (§2.2, §22.1).
func (s *Simulator) post(e endpoint) http.HandlerFunc {
	if e.call == nil {
		return func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, &refusal{501, "notImplemented", "Not simulated: " + e.because + ". See /fidelity of the control listener."})
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		call := func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, e) }
		if f, hit := s.faults.Take("bankidse", "bankidse."+path.Base(e.path)); hit {
			f.Apply(w, r, call)
			return
		}
		call(w, r)
	}
}

func (s *Simulator) serve(w http.ResponseWriter, r *http.Request, e endpoint) {
	who, _ := s.caller(r) // Handler has looked
	ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		refuse(w, &refusal{405, "methodNotAllowed", "Method not allowed"})
		return
	case ct != "application/json":
		refuse(w, &refusal{415, "unsupportedMediaType", "Unsupported media type"})
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 300<<10+1))
	if err != nil || len(body) > 300<<10 {
		refuse(w, badRequest)
		return
	}
	out, no := e.call(s, who, body)
	if no != nil {
		refuse(w, no)
		return
	}
	answer(w, 200, out)
}

func refuse(w http.ResponseWriter, r *refusal) {
	if r.status == http.StatusTooManyRequests { // names with these letters, not Go's
		h := w.Header()
		h["RateLimit-Limit"], h["RateLimit-Remaining"], h["RateLimit-Reset"] = []string{"1"}, []string{"0"}, []string{"1"}
	}
	answer(w, r.status, map[string]string{"errorCode": r.code, "details": r.details})
}

func answer(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		status, raw = 500, []byte(`{"errorCode":"internalError","details":"Internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client has gone
}

// caller reads the client certificate, which must be one that we issued or
// know, or any, as the switches say.
func (s *Simulator) caller(r *http.Request) (rp, bool) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return rp{}, false
	}
	c := r.TLS.PeerCertificates[0]
	if !s.admits(c) {
		return rp{}, false
	}
	out := rp{subject: string(c.RawSubject), display: c.Subject.CommonName}
	labels := map[string]string{"2.5.4.3": "cn", "2.5.4.41": "name", "2.5.4.5": "serialNumber", "2.5.4.10": "o", "2.5.4.6": "c"}
	var parts []string
	for _, a := range c.Subject.Names {
		v, ok := a.Value.(string)
		if k := labels[a.Type.String()]; k != "" && ok {
			parts = append([]string{k + "=" + v}, parts...)
			if k == "name" {
				out.display = v
			}
		}
	}
	out.name = strings.Join(parts, ",")
	return out, true
}

func (s *Simulator) admits(c *x509.Certificate) bool {
	s.mu.Lock()
	kind, registered := s.certificates, s.registered
	s.mu.Unlock()
	sum := sha256.Sum256(c.Raw)
	if kind == "any" || slices.Contains(registered, hex.EncodeToString(sum[:])) {
		return true
	}
	ours, known := s.issued.Get(sum)
	if !known {
		pool := x509.NewCertPool()
		pool.AddCert(s.pki.rpCA().cert)
		_, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: c.NotBefore.Add(time.Minute), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		ours = err == nil
		s.issued.Put(sum, ours)
	}
	return ours
}

type startBody struct {
	EndUserIP      *string         `json:"endUserIp"`
	Visible        *string         `json:"userVisibleData"`
	Hidden         *string         `json:"userNonVisibleData"`
	Format         string          `json:"userVisibleDataFormat"`
	ReturnURL      *string         `json:"returnUrl"`
	ReturnRisk     bool            `json:"returnRisk"`
	Web            json.RawMessage `json:"web"`
	App            json.RawMessage `json:"app"`
	PersonalNumber *string         `json:"personalNumber"`
	Requirement    struct {
		PinCode             bool     `json:"pinCode"`
		MRTD                bool     `json:"mrtd"`
		CardReader          string   `json:"cardReader"`
		CertificatePolicies []string `json:"certificatePolicies"`
		PersonalNumber      *string  `json:"personalNumber"`
	} `json:"requirement"`
}

func invalid(details string) *refusal { return &refusal{400, "invalidParameters", details} }

// begin checks a start in the service's order (§7, §22.1) and makes the order.
func (s *Simulator) begin(who rp, body []byte, sign bool) (any, *refusal) {
	var b startBody
	if json.Unmarshal(body, &b) != nil {
		return nil, badRequest
	}
	if b.EndUserIP == nil {
		return nil, invalid("Invalid endUserIp")
	}
	if _, err := netip.ParseAddr(*b.EndUserIP); err != nil {
		return nil, invalid("Invalid endUserIp")
	}
	for _, n := range []*string{b.PersonalNumber, b.Requirement.PersonalNumber} {
		if n != nil && (len(*n) != 12 || strings.Trim(*n, "0123456789") != "") {
			return nil, invalid("Incorrect personalNumber")
		}
	}
	if b.PersonalNumber != nil { // a start by number no longer exists
		return nil, badRequest
	}
	if c := b.Requirement.CardReader; c != "" && c != "class1" && c != "class2" || !policiesOK(b.Requirement.CertificatePolicies) {
		return nil, invalid("Invalid requirement")
	}
	if no := checkTexts(&b, sign); no != nil {
		return nil, no
	}
	if u := b.ReturnURL; u != nil && (len(*u) == 0 || len(*u) > 512) {
		return nil, invalid("Invalid returnUrl")
	}
	if len(b.Web) > 0 && len(b.App) > 0 || !webOK(b.Web) {
		return nil, badRequest
	}
	o := &order{client: who.subject, rpName: who.name, rpDisplay: who.display, sign: sign, format: b.Format,
		pinCode: b.Requirement.PinCode, mrtd: b.Requirement.MRTD, policies: b.Requirement.CertificatePolicies, address: *b.EndUserIP,
		risk: b.ReturnRisk, asked: json.RawMessage(body)}
	for to, from := range map[*string]*string{&o.visible: b.Visible, &o.hidden: b.Hidden, &o.returnURL: b.ReturnURL, &o.pinned: b.Requirement.PersonalNumber} {
		if from != nil {
			*to = *from
		}
	}
	if s.start(o) {
		return nil, &refusal{400, "alreadyInProgress", "Order already in progress for pno"}
	}
	return map[string]string{"orderRef": o.Ref, "autoStartToken": o.token, "qrStartToken": o.qrToken, "qrStartSecret": o.qrSecret}, nil
}

// policiesOK keeps the list to what an OID, perhaps with a star, is made of:
// it becomes part of the signature.
func policiesOK(all []string) bool {
	return len(all) <= 20 && !slices.ContainsFunc(all, func(p string) bool { return p == "" || len(p) > 64 || strings.Trim(p, "0123456789.*") != "" })
}

// checkTexts checks presence, base64 and limits (§4.2).
func checkTexts(b *startBody, sign bool) *refusal {
	visible, hidden := 1500, 1500
	if sign {
		visible, hidden = 40_000, 200_000
	}
	if sign && b.Visible == nil {
		return invalid("Invalid userVisibleData")
	}
	var text []byte
	if v := b.Visible; v != nil {
		var err error
		if text, err = base64.StdEncoding.DecodeString(*v); err != nil || len(*v) == 0 || len(*v) > visible || !utf8.Valid(text) {
			return invalid("Invalid userVisibleData")
		}
	}
	if h := b.Hidden; h != nil {
		if _, err := base64.StdEncoding.DecodeString(*h); err != nil || len(*h) == 0 || len(*h) > hidden {
			return invalid("Invalid userNonVisibleData")
		}
	}
	switch b.Format {
	case "", "plaintext":
	case "simpleMarkdownV1":
		if why := markdown(string(text)); why != "" {
			return invalid(why)
		}
	default:
		return badRequest
	}
	return nil
}

// markdown finds the first thing that simpleMarkdownV1 forbids and that has
// no use in it at all: characters and escapes (§14).
func markdown(s string) string {
	runes := []rune(s)
	for i, r := range runes {
		ok := r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0x7e || r >= 0xa0 && r <= 0xffef
		escape := r != '\\' || i+1 < len(runes) && strings.ContainsRune(`#+|*-\`, runes[i+1]) || i > 0 && runes[i-1] == '\\'
		if !ok || !escape {
			return "At (1, 1): invalid character"
		}
	}
	if (strings.Count(s, "*")-strings.Count(s, `\*`))%2 != 0 {
		return "At (1, 1): bold is not closed"
	}
	return ""
}

func webOK(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	var w struct{ DeviceIdentifier, ReferringDomain, UserAgent string }
	if json.Unmarshal(raw, &w) != nil || len(w.UserAgent) > 256 || len(w.DeviceIdentifier) > 64 || len(w.ReferringDomain) > 253 {
		return false
	}
	return w.UserAgent != "" || w.DeviceIdentifier != "" || w.ReferringDomain != ""
}

func (s *Simulator) known(who rp, body []byte) (*order, *refusal) {
	var b struct{ OrderRef string }
	if json.Unmarshal(body, &b) != nil || b.OrderRef == "" {
		return nil, badRequest
	}
	o, err := s.find(b.OrderRef)
	if err != nil || o.client != who.subject {
		return nil, noOrder
	}
	return o, nil
}

func (s *Simulator) cancel(who rp, body []byte) (any, *refusal) {
	s.mu.Lock()
	o, no := s.known(who, body)
	if no == nil && !o.pending() {
		no = noOrder
	}
	if no != nil {
		s.mu.Unlock()
		return nil, no
	}
	ref, person := o.Ref, s.asks(o)
	o.by = "the relying party, which cancelled it"
	s.forget(o)
	s.mu.Unlock()
	s.ladder(ref, person)
	return struct{}{}, nil
}

// asks is the person who is known before anybody acts; "" for nobody.
func (s *Simulator) asks(o *order) string {
	if o.person == "" && o.pinned == "" {
		return ""
	}
	return s.whose(o)
}

// ladder asks who decides an order. The lock is not held: the ladder asks the
// broker's store.
func (s *Simulator) ladder(ref, person string) sandbox.Decision {
	return s.decisions.Decide(sandbox.Subject{EID: "bankidse", Ref: ref, Person: person})
}

// collect tells the order's state, and a result once (§8). An undecided order
// asks the ladder how it goes on.
func (s *Simulator) collect(who rp, body []byte) (any, *refusal) {
	s.mu.Lock()
	o, no := s.known(who, body)
	if no == nil && s.tooSoon(o) {
		no = &refusal{429, "tooManyRequests", "Too many requests"}
	}
	if no != nil {
		s.mu.Unlock()
		return nil, no
	}
	ref, person, pending := o.Ref, s.asks(o), o.pending()
	s.mu.Unlock()
	var dec sandbox.Decision
	if _, explained := s.decisions.Explain(ref); pending || !explained {
		dec = s.ladder(ref, person)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, no = s.known(who, body); no != nil {
		return nil, no
	}
	s.script(o, dec)
	o.collects++
	out := map[string]any{"orderRef": o.Ref}
	switch o.state {
	case complete:
		out["status"], out["completionData"] = "complete", o.completed
		s.forget(o)
	case failed:
		out["status"], out["hintCode"] = "failed", o.hint
		s.forget(o)
	default:
		out["status"], out["hintCode"] = "pending", o.hint
		s.act(o, dec) // shows at the next collect
	}
	return out, nil
}

// tooSoon counts collects that come faster than one a second; the eleventh
// is refused, where that is switched on (§22.1).
func (s *Simulator) tooSoon(o *order) bool {
	now := s.now()
	hasty := !o.last.IsZero() && now.Sub(o.last) < time.Second
	o.last = now
	if !s.rateLimit || !hasty {
		return false
	}
	o.hasty++
	return o.hasty > 10
}

type completion struct {
	User struct {
		PersonalNumber string `json:"personalNumber"`
		Name           string `json:"name"`
		GivenName      string `json:"givenName"`
		Surname        string `json:"surname"`
	} `json:"user"`
	Device struct {
		IPAddress string `json:"ipAddress"`
		UHI       string `json:"uhi"`
	} `json:"device"`
	Issued    string `json:"bankIdIssueDate"`
	StepUp    stepUp `json:"stepUp"`
	Signature string `json:"signature,omitempty"`
	OCSP      string `json:"ocspResponse,omitempty"`
	Risk      string `json:"risk,omitempty"`
}

// told is what completing an order returns, unsigned.
func (s *Simulator) told(o *order, p sandbox.Person) *completion {
	c := &completion{Issued: s.now().AddDate(-1, 0, 0).Format(time.DateOnly)}
	c.User.PersonalNumber, c.User.Name, c.User.GivenName, c.User.Surname = p.Number, p.Name, p.Given, p.Family
	c.Device.IPAddress, c.Device.UHI, c.StepUp.MRTD = o.address, uhi, o.read
	if o.risk {
		c.Risk = "low"
	}
	d := o.data
	for to, from := range map[*string]string{&c.User.Name: d.Name, &c.User.GivenName: d.GivenName, &c.User.Surname: d.Surname,
		&c.Issued: d.Issued, &c.Device.IPAddress: d.IPAddress, &c.Device.UHI: d.UHI} {
		if from != "" {
			*to = from
		}
	}
	if d.Risk != "" && o.risk {
		c.Risk = d.Risk
	}
	if d.StepUp != nil {
		c.StepUp = *d.StepUp
	}
	return c
}

// completion is the same with its proof, which a fault may spoil.
func (s *Simulator) completion(o *order, p sandbox.Person) (*completion, error) {
	c := s.told(o, p)
	p.Name, p.Given, p.Family = c.User.Name, c.User.GivenName, c.User.Surname
	f, _ := s.faults.Take("bankidse.result")
	var err error
	c.Signature, c.OCSP, err = s.pki.sign(o, p, signing{kind: o.kind, uhi: c.Device.UHI, at: s.now(), fault: f.Kind})
	return c, err
}
