package server

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func TestAddressForAPhone(t *testing.T) {
	t.Parallel()
	parse := func(texts ...string) (out []netip.Prefix) {
		for _, s := range texts {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for _, c := range []struct {
		own  []netip.Prefix
		want string
	}{
		{parse("127.0.0.1/32", "::1/128", "192.168.1.20/32"), "192.168.1.20"},
		{parse("203.0.113.9/32", "fd00::1/128", "10.1.2.3/32"), "10.1.2.3"},
		{parse("127.0.0.1/32", "203.0.113.9/32"), "invalid IP"},
		{nil, "invalid IP"},
	} {
		got, err := lanAddress(c.own)
		if got.String() != c.want || (err == nil) != got.IsValid() {
			t.Errorf("lanAddress(%v) = %s, %v; want %s", c.own, got, err, c.want)
		}
	}
	for _, p := range ownAddresses() {
		if p.Bits() != p.Addr().BitLen() {
			t.Errorf("%s is a network, not an address", p)
		}
	}
}

// TestWhoHoldsAPort holds that only a program of ours is named.
func TestWhoHoldsAPort(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"version":"1.0.0","command":"serve","process":4123}`:          `"eidgate serve", process 4123`,
		`{"version":"1.0.0","command":"\u001b[2Jserve","process":4123}`: `"eidgate [2Jserve", process 4123`,
		`{"version":"of something else"}`:                               "",
		`no json`:                                                       "",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		_, text, err := net.SplitHostPort(strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := holderOf(t.Context(), port); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
		srv.Close()
	}
	if got := (&PortInUse{Port: 8700}).Error(); got != "port 8700 is already in use" {
		t.Error(got)
	}
}

// TestNamesOfTheSandbox holds which hosts are answered.
func TestNamesOfTheSandbox(t *testing.T) {
	t.Parallel()
	sandbox, live := newNames("http://localhost:8700", true, "eid.test"), newNames("https://eid.example.com", false)
	for host, want := range map[string][2]bool{ // sandbox, live
		"localhost:8700":            {true, false},
		"LOCALHOST":                 {true, false},
		"shop.localhost:1":          {true, false},
		"127.0.0.1:8700":            {true, false},
		"[::1]:8700":                {true, false},
		"host.docker.internal:8700": {true, false},
		"eid.test":                  {true, false},
		"eid.example.com":           {false, true},
		"EID.example.com:443":       {false, true},
		"eid.example.com.evil.test": {false, false},
		"localhost.evil.test":       {false, false},
		"10.99.99.99":               {false, false},
		"":                          {false, false},
	} {
		if got := [2]bool{sandbox.know(host), live.know(host)}; got != want {
			t.Errorf("%q: sandbox and live %v, want %v", host, got, want)
		}
	}
}
