package idin_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	cidin "eidgate/connector/idin"
	"eidgate/eid"
	"eidgate/protocol/idinqr"
)

// counter is a point of service with a code on its screen.
func counter(t *testing.T) (*service, connector.Result) {
	t.Helper()
	s := newService(t)
	s.set.QR = pointOfService(s.who)
	s.request.Settings = wrap(t, s.set)
	s.request.Settings.Key = "counter"
	s.request.Input = map[string][]string{"choose": {"code"}}
	res, err := s.conn.Begin(t.Context(), &s.request)
	if err != nil {
		t.Fatal(err)
	}
	w, ok := res.Step.(connector.Wait)
	if !ok || !strings.HasPrefix(w.Image, "data:image/png;base64,") || len(w.Choose) != 1 {
		t.Fatalf("step %#v", res.Step)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.Image, "data:image/png;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return s, res
}

// call is the back-end's, about a code.
func (s *service) call(t *testing.T, res connector.Result, change func(*http.Header, map[string]string)) connector.Called {
	t.Helper()
	id := strings.TrimPrefix(string(res.Refs[0]), "qr:")
	body := map[string]string{"qr_id": id, "issuer_id": "BANKNL2Y", "merchant_token": s.who.QRMerchantToken}
	h := http.Header{}
	if change != nil {
		change(&h, body)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if h.Get(idinqr.HashHeader) == "" {
		key, err := idinqr.ParseKey(s.who.QRSigningKey, idinqr.UTF8)
		if err != nil {
			t.Fatal(err)
		}
		h.Set(idinqr.HashHeader, key.Hash(raw))
	}
	in := connector.Inbound{Method: http.MethodPost, Path: "qr", Header: h, Body: raw}
	if ref, err := s.conn.Locate(in); err == nil && ref != res.Refs[0] && body["qr_id"] == id {
		t.Errorf("located %q", ref)
	}
	return connector.Called{In: in}
}

func replied(t *testing.T, res connector.Result, status int) {
	t.Helper()
	if res.Reply == nil || res.Reply.Status != status {
		t.Errorf("reply %+v, want %d", res.Reply, status)
	}
}

func TestCounter(t *testing.T) {
	t.Parallel()
	s, shown := counter(t)
	began := s.resume(t, shown.State, s.call(t, shown, nil))
	replied(t, began, http.StatusOK)
	var answer struct {
		URL string `json:"issuer_authentication_url"`
		ID  string `json:"transaction_id"`
	}
	if err := json.Unmarshal(began.Reply.Body, &answer); err != nil || answer.URL == "" || connector.Ref(answer.ID) != began.Refs[0] {
		t.Fatalf("answer %s, %v", began.Reply.Body, err)
	}
	if w, ok := began.Step.(connector.Wait); !ok || w.Hint != "idin.qr.scanned" || w.Image != "" {
		t.Errorf("the screen shows %#v", began.Step)
	}
	// The same call again, and another scan, while the first one runs.
	second := s.resume(t, began.State, s.call(t, shown, nil))
	replied(t, second, http.StatusConflict)
	s.act(t, began, "approve", "vries")
	back := s.back(t, began.Refs[0])
	back.Foreign = true // the phone has no cookie of ours
	end := s.resume(t, second.State, back)
	if id := done(t, end); id.Name != "VJ de Vries" || end.Binding != "" {
		t.Errorf("binding %q", end.Binding)
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	t.Parallel()
	s, shown := counter(t)
	for name, c := range map[string]struct {
		change func(*http.Header, map[string]string)
		status int
	}{
		"wrong hash": {func(h *http.Header, _ map[string]string) { h.Set(idinqr.HashHeader, strings.Repeat("0", 64)) }, http.StatusUnauthorized},
		"no hash":    {func(h *http.Header, _ map[string]string) { h.Set(idinqr.HashHeader, " ") }, http.StatusUnauthorized},
		"another token": {func(_ *http.Header, b map[string]string) {
			b["merchant_token"] = "4f9a1b1e-0000-4000-8000-000000000000"
		}, http.StatusNotFound},
		"another code":        {func(_ *http.Header, b map[string]string) { b["qr_id"] = "4f9a1b1e-0000-4000-8000-000000000000" }, http.StatusNotFound},
		"a bank that is down": {func(_ *http.Header, b map[string]string) { b["issuer_id"] = "DICHNL2A" }, http.StatusServiceUnavailable},
		"no BIC":              {func(_ *http.Header, b map[string]string) { b["issuer_id"] = "bank" }, http.StatusBadRequest},
	} {
		call := s.call(t, shown, c.change)
		screened := s.conn.Screen(s.request.Settings, shown.State, call.In)
		if (screened != nil) != (c.status == http.StatusUnauthorized) || screened != nil && screened.Status != c.status {
			t.Errorf("%s: screened %+v", name, screened)
		}
		res := s.resume(t, shown.State, call)
		if res.Reply == nil || res.Reply.Status != c.status {
			t.Errorf("%s: %+v, want %d", name, res.Reply, c.status)
		}
		if w, ok := res.Step.(connector.Wait); !ok || w.Image == "" {
			t.Errorf("%s: the screen loses its code: %#v", name, res.Step)
		}
	}
	s.clock.Advance(15 * minute)
	replied(t, s.resume(t, shown.State, s.call(t, shown, nil)), http.StatusGone)
	if s.calls.Load() != 1 { // that of the bank that is down
		t.Errorf("%d calls of the routing service", s.calls.Load())
	}
}

func TestCodeThatExpires(t *testing.T) {
	t.Parallel()
	s, shown := counter(t)
	s.clock.Advance(shown.Due.Sub(s.clock.Now()) - time.Second)
	if w, ok := s.resume(t, shown.State, connector.Tick{}).Step.(connector.Wait); !ok || w.Rests {
		t.Error("the code is over too soon")
	}
	s.clock.Advance(time.Second)
	over := s.resume(t, shown.State, connector.Tick{})
	if w, ok := over.Step.(connector.Wait); !ok || !w.Rests || w.Image != "" || w.Hint != "idin.qr.over" {
		t.Fatalf("step %#v", over.Step)
	}
	next := s.resume(t, over.State, connector.Submitted{Values: map[string][]string{"renew": {"1"}}})
	if w, ok := next.Step.(connector.Wait); !ok || w.Image == "" || len(next.Refs) != 1 || next.Refs[0] == shown.Refs[0] {
		t.Errorf("no new code: %#v %v", next.Step, next.Refs)
	}
}

// The list of banks stays within reach of the counter's page, and the code of
// the list.
func TestBanksBesideTheCode(t *testing.T) {
	t.Parallel()
	s, shown := counter(t)
	say := func(state []byte, name, value string) connector.Result {
		return s.resume(t, state, connector.Submitted{Values: map[string][]string{name: {value}}})
	}
	banks := say(shown.State, "choose", "banks")
	ask, ok := banks.Step.(connector.Ask)
	if !ok || ask.Auto || len(ask.Form.Fields) != 2 || len(ask.Form.Fields[0].Options) == 0 {
		t.Fatalf("step %#v", banks.Step)
	}
	if w, ok := say(banks.State, "choose", "code").Step.(connector.Wait); !ok || w.Image == "" {
		t.Error("no way back to the code")
	}
	there := say(banks.State, "issuer", "BANKNL2Y")
	if _, ok := there.Step.(connector.Redirect); !ok {
		t.Fatalf("step %#v", there.Step)
	}
	replied(t, s.resume(t, there.State, s.call(t, shown, nil)), http.StatusNotFound) // the code is of no use any more
	scanned := s.resume(t, banks.State, s.call(t, shown, nil))                       // but is while the list is open
	replied(t, scanned, http.StatusOK)
	if f := say(banks.State, "issuer", "XXXXNL2A"); f.Step != nil {
		fail(t, f, eid.Unavailable, "unknown_bank")
	}
}

func TestNoCode(t *testing.T) {
	t.Parallel()
	s, shown := counter(t)
	s.set.QR.Token = "4f9a1b1e-0000-4000-8000-000000000000" // that the back-end does not know
	s.request.Settings = wrap(t, s.set)
	s.request.Settings.Key = "unknown"
	res, err := s.conn.Begin(t.Context(), &s.request)
	if err != nil {
		t.Fatal(err)
	}
	fail(t, res, eid.Unavailable, "no_code")
	_ = shown
	without := newService(t)
	without.request.Input = map[string][]string{"choose": {"code"}}
	res, err = without.conn.Begin(t.Context(), &without.request)
	if err != nil {
		t.Fatal(err)
	}
	fail(t, res, eid.BadRequest, "no_bank") // not a point of service
}

// Settings that cannot be used are said so before anybody waits.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for name, change := range map[string]func(*cidin.Settings){
		"no certificate":      func(c *cidin.Settings) { c.Certificate = "" },
		"another key":         func(c *cidin.Settings) { c.Key = c.Decryption[0] },
		"no routing":          func(c *cidin.Settings) { c.Routing = "" },
		"a number too short":  func(c *cidin.Settings) { c.MerchantID = "123" },
		"http in production":  func(c *cidin.Settings) { c.AllowHTTP = false },
		"a policy of its own": func(c *cidin.Settings) { c.Incomplete = "perhaps" },
		"a pin that is none":  func(c *cidin.Settings) { c.Pins = map[string][]string{"BANKNL2Y": {"12"}} },
		"a code without key":  func(c *cidin.Settings) { c.QR = &cidin.QR{Backend: "https://qr.example", Token: s.who.QRMerchantToken} },
		"a token that is none": func(c *cidin.Settings) {
			c.QR = pointOfService(s.who)
			c.QR.Token = "token"
		},
	} {
		set := s.set
		change(&set)
		if err := set.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "PRIVATE") || strings.Contains(err.Error(), s.who.QRSigningKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.set.Check(); err != nil {
		t.Error(err)
	}
}
