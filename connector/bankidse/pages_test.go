package bankidse_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/sandbox"
)

// TestMessages: which sentence a waiting page shows, and whether it has a code
// and a link (§6.1, §19).
func TestMessages(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, c := range []struct{ device, system, hint, want string }{
		{"other", "desktop", "", "rfa1"}, {"other", "desktop", "outstandingTransaction", "rfa1"}, {"other", "ios", "noClient", "rfa1"},
		{"same", "ios", "", "rfa13"}, {"same", "desktop", "outstandingTransaction", "rfa13"}, {"same", "desktop", "noClient", "rfa13"},
		{"same", "desktop", "started", "rfa15a"}, {"same", "", "started", "rfa15a"}, {"same", "ios", "started", "rfa15b"}, {"other", "android", "started", "rfa15b"},
		{"other", "desktop", "userMrtd", "rfa23"}, {"other", "desktop", "userCallConfirm", "x1"}, {"same", "ios", "userSign", "rfa9"},
		{"other", "desktop", "processing", "rfa21"}, {"other", "desktop", "userStepUp", "rfa25"}, {"other", "desktop", "userFace", "rfa24"},
		{"other", "desktop", "somethingNew", "rfa21"}, {"same", "desktop", "somethingNew", "rfa21"},
	} {
		unpicked := c.hint == "" || c.hint == "outstandingTransaction" || c.hint == "noClient"
		raw, err := json.Marshal(map[string]any{"ref": "r", "token": "t", "device": c.device, "system": c.system, "hint": c.hint,
			"scanned": !unpicked, "launch": "bankid:///?autostarttoken="})
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.conn.View(raw, s.clock.Now())
		if err != nil || w.Hint != "bankidse."+c.want || w.Code != c.hint || (w.Launch != "") != unpicked || (w.QR != "") != (unpicked && c.device == "other") {
			t.Errorf("%+v: View = %+v, %v", c, w, err)
		}
	}
	w, err := s.conn.View([]byte(`{"ref":"r","token":"t","hint":"startFailed","rests":true}`), s.clock.Now())
	if want := (connector.Wait{Hint: "bankidse.rfa17b", Code: "startFailed", Rests: true}); err != nil || !reflect.DeepEqual(w, want) {
		t.Errorf("at rest: View = %+v, %v, want %+v", w, err, want)
	}
}

// TestReturnAddress: what brings the browser of each iPhone to the front
// (§12.1). Only its own address carries the nonce.
func TestReturnAddress(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	const phone, safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) ", "Mobile/15E148 Safari/604.1"
	for name, c := range map[string]struct {
		mode   string
		device connector.Device
		agent  string
		want   string
	}{
		"Safari":          {"same", connector.IOS, phone + "Version/17.0 " + safari, `"returnUrl":"https://eid.example.com/s/#nonce=`},
		"Chrome":          {"same", connector.IOS, phone + "CriOS/120.0 " + safari, `"returnUrl":"googlechromes://"`},
		"Firefox":         {"same", connector.IOS, phone + "FxiOS/120.0 " + safari, `"returnUrl":"firefox://"`},
		"Edge":            {"same", connector.IOS, phone + "Version/17.0 EdgiOS/120.0 " + safari, `"returnUrl":"null"`},
		"Facebook":        {"same", connector.IOS, phone + "Mobile/15E148 [FBAN/FBIOS]", `"returnUrl":"fb://"`},
		"Facebook's own":  {"same", connector.IOS, phone + "Version/17.0 " + safari + " [FBAV/1.0]", `"returnUrl":"fb://"`},
		"Instagram":       {"same", connector.IOS, phone + "Mobile/15E148 Instagram 300.0 " + safari, `"returnUrl":"instagram://"`},
		"Opera":           {"same", connector.IOS, phone + "Version/17.0 " + safari + " OPT/4.0", `"returnUrl":"null"`},
		"Opera Mini":      {"same", connector.IOS, phone + "OPiOS/16.0 " + safari, `"returnUrl":"null"`},
		"DuckDuckGo":      {"same", connector.IOS, phone + "Version/17.0 " + safari + " DuckDuckGo/7", `"returnUrl":"null"`},
		"somebody's app":  {"same", connector.IOS, phone + "Mobile/15E148", `"returnUrl":"null"`},
		"Android":         {"same", connector.Android, "Mozilla/5.0 (Linux; Android 14) Safari/537.36", `"returnUrl":"null"`},
		"computer":        {"same", connector.Desktop, "Mozilla/5.0 (Macintosh) Safari/605.1.15", `"returnUrl":"null"`},
		"another device":  {"other", connector.Desktop, "Mozilla/5.0 (Macintosh) Safari/605.1.15", ``},
		"a party's pages": {"headless", "", "", ``},
	} {
		r := s.request
		r.Mode, r.Browser.Device, r.Browser.Agent = c.mode, c.device, c.agent
		if c.mode == "headless" {
			r.Mode, r.Headless = "same", true
		}
		if _, err := s.conn.Begin(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		got := s.wire.last("auth")
		if c.want == "" && strings.Contains(got, "returnUrl") || !strings.Contains(got, c.want) {
			t.Errorf("%s: sent %s, want %s", name, got, c.want)
		}
	}
}

// TestFront: what is asked before an order exists, and what is in front.
func TestFront(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for name, c := range map[string]struct {
		mode    string
		device  connector.Device
		purpose eid.Purpose
		ask     bool
		pinned  eid.Number
		fields  string
		choices string
		auto    bool
	}{
		"a computer":           {"", connector.Desktop, eid.Identify, false, "", "device", "other same", true},
		"a phone":              {"", connector.IOS, eid.Identify, false, "", "device", "same other", true},
		"this device only":     {"same", connector.Desktop, eid.Identify, false, "", "device", "same", true},
		"another, on a phone":  {"other", connector.Android, eid.Identify, false, "", "device", "same other", true},
		"who knows":            {"", "", eid.Identify, false, "", "device", "other same", false},
		"a signature":          {"", connector.IOS, eid.Sign, false, "", "device", "same other", false},
		"a number to ask":      {"", connector.IOS, eid.Identify, true, "", "personalnumber device", "same other", false},
		"a number that's told": {"", connector.IOS, eid.Identify, true, "199001012385", "device", "same other", true},
	} {
		r := s.request
		r.Mode, r.Browser.Device, r.Purpose, r.Pinned = c.mode, c.device, c.purpose, c.pinned
		if c.ask {
			r.Params = map[string]string{"ask_personal_number": "1"}
		}
		a := s.conn.Front(&r)
		var fields, choices []string
		for _, f := range a.Form.Fields {
			fields = append(fields, f.Name)
			for _, o := range f.Options {
				choices = append(choices, o.Value)
			}
		}
		if strings.Join(fields, " ") != c.fields || strings.Join(choices, " ") != c.choices || a.Auto != c.auto {
			t.Errorf("%s: %v with %v, auto %v", name, fields, choices, a.Auto)
		}
	}
}
