// Package bankidse plays the Swedish BankID service for the sandbox: its API
// with client certificates, its orders and their clocks, and the signatures
// and OCSP answers of people's apps, on keys that are new at every start.
// docs/protocols/bankidse.md describes the service; § in comments refers to
// that file. Where the description leaves room, it is docs/sandbox.md that
// says what this simulator does.
package bankidse

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
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

// Handler is the API below /rp/v6.0.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/rp/v6.0/auth", s.post(func(who rp, b []byte) (any, *refusal) { return s.begin(who, b, false) }))
	mux.HandleFunc("/rp/v6.0/sign", s.post(func(who rp, b []byte) (any, *refusal) { return s.begin(who, b, true) }))
	mux.HandleFunc("/rp/v6.0/collect", s.post(s.collect))
	mux.HandleFunc("/rp/v6.0/cancel", s.post(s.cancel))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 404, map[string]string{"errorCode": "notFound", "details": "No such resource"})
	})
	return mux
}

// An rp is who calls: what its certificate says.
type rp struct{ subject, name, display string }

const frontPage = "<html><head><title>403 Forbidden</title></head><body><h1>Forbidden</h1></body></html>\n"

// post is what every call has in common (§2.2, §22.1).
func (s *Simulator) post(call func(rp, []byte) (any, *refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.caller(r)
		if !ok {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, frontPage) // the client has gone
			return
		}
		if f, hit := s.faults.Take("bankidse"); hit && f.Apply(w, "before") {
			return
		}
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
		out, no := call(who, body)
		if no != nil {
			refuse(w, no)
			return
		}
		answer(w, 200, out)
	}
}

func refuse(w http.ResponseWriter, r *refusal) {
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

// caller reads the client certificate, which must be one that we issued.
func (s *Simulator) caller(r *http.Request) (rp, bool) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return rp{}, false
	}
	c := r.TLS.PeerCertificates[0]
	pool := x509.NewCertPool()
	pool.AddCert(s.pki.rpCA().cert)
	if _, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: c.NotBefore.Add(time.Minute), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
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

type startBody struct {
	EndUserIP      *string         `json:"endUserIp"`
	Visible        *string         `json:"userVisibleData"`
	Hidden         *string         `json:"userNonVisibleData"`
	Format         string          `json:"userVisibleDataFormat"`
	ReturnURL      *string         `json:"returnUrl"`
	ReturnRisk     bool            `json:"returnRisk"`
	Web            json.RawMessage `json:"web"`
	App            json.RawMessage `json:"app"`
	PersonalNumber json.RawMessage `json:"personalNumber"`
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
	if n := b.Requirement.PersonalNumber; n != nil && (len(*n) != 12 || strings.Trim(*n, "0123456789") != "") {
		return nil, invalid("Incorrect personalNumber")
	}
	if b.PersonalNumber != nil { // a start by number no longer exists
		return nil, badRequest
	}
	if c := b.Requirement.CardReader; c != "" && c != "class1" && c != "class2" {
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
		pinCode: b.Requirement.PinCode, address: *b.EndUserIP, risk: b.ReturnRisk}
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

// checkTexts checks presence, base64 and limits (§4.2).
func checkTexts(b *startBody, sign bool) *refusal {
	visible, hidden := 1500, 1500
	if sign {
		visible, hidden = 40_000, 200_000
	}
	if sign && b.Visible == nil {
		return invalid("Invalid userVisibleData")
	}
	if v := b.Visible; v != nil {
		raw, err := base64.StdEncoding.DecodeString(*v)
		if err != nil || len(*v) == 0 || len(*v) > visible || !utf8.Valid(raw) {
			return invalid("Invalid userVisibleData")
		}
		if b.Format == "simpleMarkdownV1" {
			if why := markdown(string(raw)); why != "" {
				return invalid(why)
			}
		}
	}
	if h := b.Hidden; h != nil {
		if _, err := base64.StdEncoding.DecodeString(*h); err != nil || len(*h) == 0 || len(*h) > hidden {
			return invalid("Invalid userNonVisibleData")
		}
	}
	if b.Format != "" && b.Format != "plaintext" && b.Format != "simpleMarkdownV1" {
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
	defer s.mu.Unlock()
	o, no := s.known(who, body)
	if no != nil {
		return nil, no
	}
	if o.state == complete || o.state == failed {
		return nil, noOrder
	}
	delete(s.orders, o.Ref)
	s.wake()
	return struct{}{}, nil
}

// collect tells the order's state, and a result once (§8). An undecided order
// asks the ladder how it goes on.
func (s *Simulator) collect(who rp, body []byte) (any, *refusal) {
	ref := func() string {
		var b struct{ OrderRef string }
		_ = json.Unmarshal(body, &b) // known says what is wrong with it
		return b.OrderRef
	}()
	s.mu.Lock()
	o, no := s.known(who, body)
	s.mu.Unlock()
	if no != nil {
		return nil, no
	}
	// Outside the lock: the ladder asks the broker's store.
	dec := s.decisions.Decide(sandbox.Subject{EID: "bankidse", Ref: ref, Person: s.asked(o)})
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, no = s.known(who, body); no != nil {
		return nil, no
	}
	out := map[string]any{"orderRef": o.Ref}
	switch o.state {
	case complete:
		delete(s.orders, o.Ref)
		out["status"], out["completionData"] = "complete", o.completed
	case failed:
		delete(s.orders, o.Ref)
		out["status"], out["hintCode"] = "failed", o.hint
	default:
		out["status"], out["hintCode"] = "pending", o.hint
		o.collects++
		s.act(o, dec)
		if o.state == complete || o.state == failed { // tell it with the next collect
			return out, nil
		}
	}
	return out, nil
}

// asked is the person who is known before anybody acts.
func (s *Simulator) asked(o *order) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.person == "" && o.pinned == "" {
		return ""
	}
	return s.whose(o)
}

// act does what the ladder says, one step a collect.
func (s *Simulator) act(o *order, d sandbox.Decision) {
	switch {
	case d.Outcome == sandbox.Ignore:
		return
	case d.Outcome == sandbox.Approve && o.state == outstanding:
		_, _ = s.event(o, "open", d.Person) // a refusal shows in the order's state
	default:
		_, _ = s.event(o, string(d.Outcome), d.Person) // the same
	}
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
	Issued string `json:"bankIdIssueDate"`
	StepUp struct {
		MRTD bool `json:"mrtd"`
	} `json:"stepUp"`
	Signature string `json:"signature"`
	OCSP      string `json:"ocspResponse"`
	Risk      string `json:"risk,omitempty"`
}

func (s *Simulator) completion(o *order, p sandbox.Person) (*completion, error) {
	sig, resp, err := s.pki.sign(o, p, o.kind, s.clock.Now())
	if err != nil {
		return nil, err
	}
	if f, hit := s.faults.Take("bankidse.result"); hit {
		sig, resp = f.Spoil(sig, resp)
	}
	c := &completion{Issued: s.clock.Now().AddDate(-1, 0, 0).Format(time.DateOnly), Signature: sig, OCSP: resp}
	c.User.PersonalNumber, c.User.Name, c.User.GivenName, c.User.Surname = p.Number, p.Name, p.Given, p.Family
	c.Device.IPAddress, c.Device.UHI = o.address, uhi
	if o.risk {
		c.Risk = "low"
	}
	return c, nil
}
