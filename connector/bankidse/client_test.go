package bankidse_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/sandbox"
)

// TestRequirement: the code is asked for where the method says so, and nothing
// is required of anybody where it says anything else (§4.3).
func TestRequirement(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, c := range []struct{ code, want string }{{"true", `{"pinCode":true}`}, {"false", ""}, {"", ""}} {
		s.request.Params = map[string]string{"pin_code": c.code}
		s.begin(t)
		var sent struct{ Requirement json.RawMessage }
		if err := json.Unmarshal([]byte(s.wire.last("auth")), &sent); err != nil || string(sent.Requirement) != c.want {
			t.Errorf("pin_code %q: requirement %s, %v, want %s", c.code, sent.Requirement, err, c.want)
		}
	}
	s.request.Params, s.request.Pinned = map[string]string{"pin_code": "false"}, "199001012385"
	s.begin(t)
	if got := s.wire.last("auth"); !strings.Contains(got, `"requirement":{"personalNumber":"199001012385"}`) {
		t.Errorf("pinned, without a code: sent %s", got)
	}
}

// TestWeb: BankID is told where the browser is only in a form that it takes, since
// it refuses an order for any other (§4.4); and nothing where the person has a
// party's page before them.
func TestWeb(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	long := strings.Repeat("a", 253-len(".example")) + ".example"
	type web struct{ DeviceIdentifier, ReferringDomain, UserAgent string }
	sent := func() *web {
		s.begin(t)
		var got struct{ Web *web }
		if err := json.Unmarshal([]byte(s.wire.last("auth")), &got); err != nil {
			t.Fatal(err)
		}
		return got.Web
	}
	s.request.Browser.ID = "device-1"
	for host, want := range map[string]string{"eid.example.com": "eid.example.com", "EID.Example.COM": "eid.example.com", "a-1.b": "a-1.b", "a.b": "a.b", long: long,
		"": "", "ab": "", "a" + long: "", "eid.example.com:8443": "", "[2001:db8::1]": "", "a_b.example": "", "räksmörgås.example": ""} {
		s.request.Browser.Host = host
		if got := sent(); got == nil || *got != (web{"device-1", want, "test browser"}) {
			t.Errorf("%.30q: sent %+v, want %.30q", host, got, want)
		}
	}
	s.request.Headless = true
	if got := sent(); got != nil {
		t.Errorf("without a page of ours: sent %+v", *got)
	}
	s.request.Headless, s.request.Browser = false, connector.Browser{Addr: s.request.Browser.Addr, ID: "device-1"}
	if got := sent(); got != nil {
		t.Errorf("of a browser without a name: sent %+v", *got)
	}
}

// TestHeadless: where the person has a party's page before them, BankID is asked
// for what the party says, and for nothing that a page of ours would use.
func TestHeadless(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.begin(t)
	for _, member := range []string{`"returnRisk":true`, `"userVisibleData":`} {
		if got := s.wire.last("auth"); !strings.Contains(got, member) {
			t.Errorf("with a page: no %s in %s", member, got)
		}
	}
	s.request.Headless, s.request.Params = true, map[string]string{"end_user_ip": "203.0.113.24", "ask_personal_number": "true"}
	if _, waits := s.begin(t).Step.(connector.Wait); !waits || s.wire.last("auth") != `{"endUserIp":"203.0.113.24"}` {
		t.Errorf("headless: sent %s", s.wire.last("auth"))
	}
	s.request.Headless, s.request.Params, s.request.Party = false, nil, ""
	if s.begin(t); strings.Contains(s.wire.last("auth"), "userVisibleData") {
		t.Errorf("a login to nobody: sent %s", s.wire.last("auth"))
	}
}

// TestStart: what a start commits is looked at again after two seconds, and has no
// code, which is of the moment only. A person who is known is not asked for.
func TestStart(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	s.request.Params, s.request.Pinned = map[string]string{"ask_personal_number": "true"}, "199001012385"
	res := s.begin(t)
	if w, ok := res.Step.(connector.Wait); !ok || w.QR != "" || !res.Due.Equal(s.clock.Now().Add(2*time.Second)) {
		t.Errorf("%#v, next look at %v", res.Step, res.Due)
	}
	if got := s.wire.last("auth"); !strings.Contains(got, `"personalNumber":"199001012385"`) {
		t.Errorf("sent %s", got)
	}
}

// TestWhichDevice: what the person picks counts, then their being on a phone, then
// the method's mode. A code is shown for another device only.
func TestWhichDevice(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for _, c := range []struct {
		mode, picked string
		device       connector.Device
		code         bool
	}{
		{"", "", connector.Desktop, true}, {"", "", connector.IOS, false}, {"", "", connector.Android, false}, {"", "", "", true},
		{"same", "", connector.Desktop, false}, {"other", "", connector.Desktop, true}, {"other", "", connector.IOS, false},
		{"", "same", connector.Desktop, false}, {"", "other", connector.IOS, true}, {"same", "other", connector.Desktop, true},
		{"other", "same", connector.Desktop, false}, {"other", "neither", connector.Desktop, true}, {"", "neither", connector.Android, false},
	} {
		s.request.Mode, s.request.Browser.Device, s.request.Input = c.mode, c.device, url.Values{"device": {c.picked}}
		w, err := s.conn.View(s.begin(t).State, s.clock.Now())
		if err != nil || (w.QR != "") != c.code {
			t.Errorf("%+v: code %q, %v", c, w.QR, err)
		}
	}
}

// TestLaunch: the link opens the app of the device, or what the settings have in
// its place.
func TestLaunch(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	for device, want := range map[connector.Device]string{connector.Desktop: "bankid:///?autostarttoken=", connector.IOS: "https://app.bankid.com/?autostarttoken="} {
		s.request.Browser.Device = device
		if w, ok := s.begin(t).Step.(connector.Wait); !ok || w.Token == "" || w.Launch != want+w.Token {
			t.Errorf("%s: %#v, want the link %s…", device, w, want)
		}
	}
	s.settings(t, func(set *bankidse.Settings) { set.Launch = "https://phone.example/?token=" })
	if w, ok := s.begin(t).Step.(connector.Wait); !ok || w.Launch != "https://phone.example/?token="+w.Token {
		t.Errorf("of the settings: %#v", w)
	}
}

// TestWatch: who watches learns how each request has ended.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Ignore)
	var told []string
	s.conn.Watch = func(operation, result string, _ time.Duration) { told = append(told, operation+" "+result) }
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	res := s.begin(t)
	s.resume(t, res.State, connector.Tick{})
	for _, fault := range []sandbox.Fault{{Kind: "http", Value: "401"}, {Kind: "http", Value: "503"}, {Kind: "reset"}} {
		fault.Target, fault.Times = "bankidse", 1
		s.faults.Add(fault)
		s.begin(t)
	}
	if _, err := s.conn.Begin(over, &s.request); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.Cancel(t.Context(), &s.request, res.State); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(told, ", "), "auth ok, collect ok, auth refused, auth error, auth error, auth timeout, cancel ok"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}
