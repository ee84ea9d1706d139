package idin

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"eidgate/internal/qr"
	"eidgate/sandbox"
)

// hashHeader carries the HMAC of a body from the back-end.
const hashHeader = "x-idin-qr-hash" // these letters, not Go's

// A code is one QR code of a merchant.
type code struct {
	id       string // qr_id
	file     string // of the image: another GUID
	link     string // what the code's link ends with
	merchant *Merchant
	sub      int
	service  int
	size     int // pixels
	useCase  string
	created  time.Time
	until    time.Time
	scans    int
	tickets  []string // of scans, by which their pages are called
	latest   string   // transactionID that the latest scan led to
}

// The use cases and their limits.
var useCases = map[string]struct {
	scans int // 0 for any number
	life  time.Duration
}{"00": {0, 31 * 24 * time.Hour}, "01": {4, 15 * time.Minute}}

// qrBody is a request for a code.
type qrBody struct {
	Token      *string `json:"merchant_token"`
	SubID      *int    `json:"merchant_sub_id"`
	Expiration *string `json:"expiration"`
	Size       *int    `json:"size"`
	Service    *int    `json:"idin_service_id"`
	UseCase    *string `json:"use_case"`
}

// generate makes a code.
func (s *Simulator) generate(w http.ResponseWriter, r *http.Request) {
	kind, _, _ := strings.Cut(strings.ReplaceAll(r.Header.Get("Content-Type"), ",", ";"), ";") // its own guideline writes a comma
	if ct, _, _ := mime.ParseMediaType(kind); ct != "application/json" {
		sayQR(w, http.StatusUnsupportedMediaType, "", map[string]string{"error": "the body must be JSON"})
		return
	}
	var b qrBody
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&b); err != nil {
		sayQR(w, http.StatusBadRequest, "", map[string]string{"error": "the body cannot be read"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.holder(b.Token)
	if m == nil {
		sayQR(w, http.StatusUnauthorized, "", map[string]string{"error": "merchant_token is not known"})
		return
	}
	c, why := s.code(m, b)
	if f := faultOf(r.Context()); f.Kind == sandbox.Refuse {
		why = "a fault is on: " + f.Value
	}
	if why != "" {
		sayQR(w, http.StatusBadRequest, m.qr.secret, map[string]string{"error": why})
		return
	}
	s.codes[c.id] = c
	if s.codeQueue = append(s.codeQueue, c.id); len(s.codeQueue) > maxOrders {
		delete(s.codes, s.codeQueue[0])
		s.codeQueue = s.codeQueue[1:]
	}
	s.wake()
	sandbox.Concerns(r.Context(), c.id)
	secret := m.qr.secret
	if faultOf(r.Context()).Kind == badSignature {
		secret += "?"
	}
	sayQR(w, http.StatusOK, secret, struct {
		ID  string `json:"qr_id"`
		URL string `json:"qr_url"`
	}{c.id, s.Base() + "/idin/qr/code/" + c.file + ".png"})
}

// holder is the merchant of a token. The lock is held.
func (s *Simulator) holder(token *string) *Merchant {
	if token == nil {
		return nil
	}
	for _, m := range s.merchants {
		if m.qr != nil && strings.EqualFold(m.qr.token, *token) {
			return m
		}
	}
	return nil
}

// code checks the fields of a request, and says what is wrong.
func (s *Simulator) code(m *Merchant, b qrBody) (*code, string) {
	now := s.now()
	switch {
	case b.SubID == nil || !slices.Contains(m.SubIDs, *b.SubID):
		return nil, "merchant_sub_id is not known"
	case b.Size == nil || *b.Size < 100 || *b.Size > 2000:
		return nil, "size is from 100 to 2000 pixels"
	case b.Service == nil || allowed(*b.Service, "", m) != nil:
		return nil, "idin_service_id cannot be asked for"
	case b.UseCase == nil || useCases[*b.UseCase].life == 0:
		return nil, "use_case is 00 or 01"
	case b.Expiration == nil:
		return nil, "expiration is missing"
	}
	until, err := time.Parse(time.DateTime, *b.Expiration)
	switch life := useCases[*b.UseCase].life; {
	case err != nil:
		return nil, "expiration is no YYYY-MM-DD HH:MM:SS"
	case !until.After(now):
		return nil, "expiration has passed"
	case until.Sub(now) > life:
		return nil, fmt.Sprintf("expiration is more than %s ahead", life)
	}
	return &code{id: uuid.NewString(), file: uuid.NewString(), link: random(12), merchant: m, sub: *b.SubID, service: *b.Service, size: *b.Size,
		useCase: *b.UseCase, created: now, until: until}, ""
}

// sayQR answers in JSON, with the hash where the other side has a secret.
func sayQR(w http.ResponseWriter, status int, secret string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"error":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	if secret != "" {
		w.Header()[hashHeader] = []string{hash(raw, secret)}
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client has gone
}

// hash is the HMAC of a body; the secret's bytes are those of its text.
func hash(body []byte, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

func (s *Simulator) codeWhere(is func(*code) bool) *code {
	for _, c := range s.codes {
		if is(c) {
			return c
		}
	}
	return nil
}

func (s *Simulator) address(c *code) string { return s.Base() + "/idin/qr/open/" + c.link }

// image draws a code. It is there as long as the code is known: a code that
// has expired says so when it is scanned.
func (s *Simulator) image(w http.ResponseWriter, r *http.Request) {
	file, isPNG := strings.CutSuffix(r.PathValue("name"), ".png")
	s.mu.Lock()
	c := s.codeWhere(func(c *code) bool { return c.file == file })
	s.mu.Unlock()
	if c == nil || !isPNG {
		http.NotFound(w, r)
		return
	}
	sandbox.Concerns(r.Context(), c.id)
	png, err := qr.PNG(s.address(c), max(1, c.size/45)) // modules of such an address, with the border
	if err != nil {
		http.Error(w, "The code cannot be drawn.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(png) // the browser has gone
}

// alive says whether a code can be scanned. The lock is held.
func (s *Simulator) alive(c *code) bool {
	most := useCases[c.useCase].scans
	return s.now().Before(c.until) && (most == 0 || c.scans < most)
}

// scanned is where a code leads: each opening is a scan, which gets a page of
// its own so that loading that again is none.
func (s *Simulator) scanned(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	c := s.codeWhere(func(c *code) bool { return c.link == r.PathValue("link") })
	lang := language(r)
	_, t := wordsOf(lang)
	bankApp := r.URL.Query().Get("role") == "bankapp"
	var ticket, text string
	status := http.StatusOK
	switch {
	case c == nil:
		status, text = http.StatusNotFound, "nocode"
	case bankApp:
		text = "app"
	case !s.now().Before(c.until):
		status, text = http.StatusGone, "old"
	case !s.alive(c):
		status, text = http.StatusGone, "used"
	default:
		ticket = s.scan(c)
	}
	s.mu.Unlock()
	if c != nil {
		sandbox.Concerns(r.Context(), c.id)
	}
	if text != "" {
		s.render(w, status, "notice", &page{Lang: lang, Title: "iDIN QR", Text: t[text]})
		return
	}
	http.Redirect(w, r, s.address(c)+"/"+ticket, http.StatusSeeOther)
}

// scan counts one. The lock is held.
func (s *Simulator) scan(c *code) (ticket string) {
	ticket = random(9)
	c.scans++
	if c.tickets = append(c.tickets, ticket); len(c.tickets) > 1000 {
		c.tickets = c.tickets[1:]
	}
	s.wake()
	return ticket
}

// language is what the phone prefers.
func language(r *http.Request) string {
	if strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), "en") {
		return "en"
	}
	return "nl"
}

// ticket finds the code of a scan's page; nil after the page was told.
func (s *Simulator) ticket(w http.ResponseWriter, r *http.Request) *code {
	s.mu.Lock()
	c := s.codeWhere(func(c *code) bool {
		return c.link == r.PathValue("link") && slices.Contains(c.tickets, r.PathValue("scan"))
	})
	old := c != nil && !s.now().Before(c.until)
	s.mu.Unlock()
	lang := language(r)
	_, t := wordsOf(lang)
	switch {
	case c == nil:
		s.render(w, http.StatusNotFound, "notice", &page{Lang: lang, Title: "iDIN QR", Text: t["nocode"]})
		return nil
	case old:
		s.render(w, http.StatusGone, "notice", &page{Lang: lang, Title: "iDIN QR", Text: t["old"]})
		return nil
	}
	sandbox.Concerns(r.Context(), c.id)
	return c
}

func (s *Simulator) listBanks(w http.ResponseWriter, r *http.Request) {
	if c := s.ticket(w, r); c != nil {
		s.render(w, http.StatusOK, "banks", &page{Lang: language(r), Title: "iDIN QR", RP: c.merchant.Name, Banks: banks})
	}
}

// chooseBank asks the merchant for a transaction, and sends the phone to the
// bank.
func (s *Simulator) chooseBank(w http.ResponseWriter, r *http.Request) {
	c := s.ticket(w, r)
	if c == nil {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	issuer := r.PostFormValue("issuer")
	if _, ok := bankOf(issuer); !ok {
		http.Error(w, "There is no such bank.", http.StatusBadRequest)
		return
	}
	to, err := s.callMerchant(r.Context(), c, issuer)
	if err != nil {
		lang := language(r)
		_, t := wordsOf(lang)
		s.render(w, http.StatusBadGateway, "notice", &page{Lang: lang, Title: "iDIN QR", Error: err.Error(), Text: t["notnow"]})
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// callMerchant makes the signed call to the merchant's Transaction API.
func (s *Simulator) callMerchant(ctx context.Context, c *code, issuer string) (string, error) {
	s.mu.Lock()
	reg := *c.merchant.qr
	s.mu.Unlock()
	if reg.api == "" {
		return "", errors.New("no Transaction API is registered for the merchant")
	}
	body, err := json.Marshal(struct {
		ID     string `json:"qr_id"`
		Issuer string `json:"issuer_id"`
		Token  string `json:"merchant_token"`
	}{c.id, issuer, reg.token})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(sandbox.About(ctx, c.id), http.MethodPost, reg.api, bytes.NewReader(body))
	if err != nil {
		return "", errors.New("the Transaction API's address is none")
	}
	req.Header.Set("Content-Type", "application/json, charset=UTF-8") // with the comma of the guideline
	secret := reg.secret
	if f, hit := s.Faults.Take("idinqr.call"); hit && f.Kind == badSignature {
		secret += "?"
	}
	req.Header[hashHeader] = []string{hash(body, secret)}
	res, err := s.HTTP.Do(req)
	if err != nil {
		return "", errors.New("the Transaction API cannot be reached")
	}
	defer res.Body.Close()
	var out struct {
		URL    string `json:"issuer_authentication_url"`
		Number string `json:"transaction_id"`
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the Transaction API answers %d", res.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&out); err != nil {
		return "", errors.New("the Transaction API's answer cannot be read")
	}
	if u, err := url.Parse(out.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || out.Number == "" {
		return "", errors.New("the Transaction API's answer has no address of a bank, or no transaction")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.latest = out.Number
	s.wake()
	return out.URL, nil
}

// Codes lists codes that can be scanned, newest first.
func (s *Simulator) Codes() []sandbox.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []sandbox.Order{}
	for i := len(s.codeQueue) - 1; i >= 0; i-- {
		if c := s.codes[s.codeQueue[i]]; s.alive(c) {
			out = append(out, s.viewCode(c))
		}
	}
	return out
}

// viewCode is what others may know of a code. The lock is held.
func (s *Simulator) viewCode(c *code) sandbox.Order {
	v := sandbox.Order{Ref: c.id, EID: "idinqr", State: "shown", Next: "a call of its Transaction API, when somebody has scanned the code and chosen a bank",
		RP: c.merchant.Name, Created: c.created, Until: c.until, Left: sandbox.Seconds(s.now(), c.until), Pending: s.alive(c), QR: s.address(c),
		Details: Details{Merchant: c.merchant.ID, Service: c.service, Wants: Groups(c.service), Code: c.id, Scans: c.scans}}
	switch {
	case !s.now().Before(c.until):
		v.State, v.Next = "expired", "nothing"
	case !v.Pending:
		v.State, v.Next = "used", "nothing"
	}
	if c.latest != "" {
		v.Hint = "transaction " + c.latest
	}
	return v
}

// doCode scans a code for the control API: Page of what comes back is where
// the phone's browser chooses its bank. The lock is held.
func (s *Simulator) doCode(c *code, e sandbox.Act) (sandbox.Order, error) {
	switch {
	case e.Event == "expire":
		c.until = s.now()
		s.wake()
	case e.Event != "scan" && e.Event != "open":
		return s.viewCode(c), fmt.Errorf("%w %.40q of a code: it can be scanned, or expire", sandbox.ErrEvent, e.Event)
	case !s.alive(c):
		return s.viewCode(c), sandbox.ErrEnded
	default:
		at := s.address(c) + "/" + s.scan(c)
		v := s.viewCode(c)
		v.Page = at
		return v, nil
	}
	return s.viewCode(c), nil
}
