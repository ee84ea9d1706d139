package safehttp_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"eidgate/internal/safehttp"
)

var (
	live    = safehttp.Policy{}
	test    = safehttp.Policy{HTTP: true, Literals: true}
	sandbox = safehttp.Policy{Loopback: true}
	browser = safehttp.Policy{AnyPort: true}
)

func TestCheckURLAccepts(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		policy    safehttp.Policy
		raw, want string // want "" for the same
	}{
		{live, "https://shop.example/hook?a=b", ""},
		{live, "https://shop.example:8443/", ""},
		{live, "https://shop.example/app#/done", ""},
		{live, "https://SHOP.Example/Path", "https://shop.example/Path"},
		{live, "https://SHOP.Example:8443/Path", "https://shop.example:8443/Path"},
		{test, "https://[2620:FE::FE]/", ""},
		{live, "https://bücher.example/", "https://xn--bcher-kva.example/"},
		{live, "https://0xdeadbeef.example/", ""},
		{live, "https://" + strings.Repeat("a", 10) + ".example/" + strings.Repeat("b", 2048-8-10-9), ""},
		{test, "http://shop.example/", ""},
		{test, "https://9.9.9.9/", ""},
		{test, "https://[2620:fe::fe]:8443/", ""},
		{sandbox, "http://localhost:9000/hook", ""},
		{sandbox, "http://shop.localhost:9000/hook", ""},
		{sandbox, "http://127.0.0.1:9000/hook", ""},
		{sandbox, "http://[::1]:9000/", ""},
		{sandbox, "http://[::1]/", ""},
		{sandbox, "https://shop.example/", ""},
		{browser, "https://shop.example:8080/", ""},
		{safehttp.Policy{Ports: []uint16{9443}}, "https://shop.example:9443/", ""},
		{safehttp.Policy{Literals: true, Networks: prefixes("10.1.0.0/16", "fd12::/16")}, "https://10.1.2.3/", ""},
		{safehttp.Policy{Literals: true, Networks: prefixes("10.1.0.0/16", "fd12::/16")}, "https://[fd12::1]/", ""},
	} {
		if v.want == "" {
			v.want = v.raw
		}
		got, err := safehttp.CheckURL(v.raw, v.policy)
		if err != nil || got.String() != v.want {
			t.Errorf("CheckURL(%q) = %v, %v; want %q", v.raw, got, err, v.want)
		}
	}
}

func TestCheckURLRefuses(t *testing.T) {
	t.Parallel()
	all := safehttp.Policy{HTTP: true, Literals: true, AnyPort: true}
	for _, v := range []struct {
		policy safehttp.Policy
		raw    string
		want   safehttp.Reason
	}{
		{live, "", safehttp.Invalid},
		{live, "#done", safehttp.Invalid},
		{live, "/hook", safehttp.Invalid},
		{live, "//shop.example/", safehttp.Invalid},
		{live, "https:shop.example", safehttp.Invalid},
		{live, "https:///hook", safehttp.Invalid},
		{live, "https://:443/", safehttp.Invalid},
		{live, "https://shop.example:/", safehttp.Invalid},
		{live, "https://shop.example:0/", safehttp.Invalid},
		{live, "https://shop.example:65536/", safehttp.Invalid},
		{live, "https://shop.example:+443/", safehttp.Invalid},
		{live, "ftp://shop.example/", safehttp.Invalid},
		{live, "javascript:alert(1)", safehttp.Invalid},
		{live, "data:text/html,x", safehttp.Invalid},
		{live, "file:///etc/passwd", safehttp.Invalid},
		{live, "http://shop.example/", safehttp.Invalid},
		{live, "https://user@shop.example/", safehttp.Invalid},
		{live, "https://user:pass@shop.example/", safehttp.Invalid},
		{live, "https://@shop.example/", safehttp.Invalid},
		{live, "https://shop.example\\@evil.example/", safehttp.Invalid},
		{live, "https://shop.example/\\evil.example", safehttp.Invalid},
		{test, "ftp://shop.example/", safehttp.Invalid},
		{sandbox, "ftp://localhost/", safehttp.Invalid},
		{test, "http://shop.example:22/", safehttp.Blocked},
		{live, "https://shop.example/\x00", safehttp.Invalid},
		{live, "https://shop.example/\r\nX: y", safehttp.Invalid},
		{live, " https://shop.example/", safehttp.Invalid},
		{live, "https://shop.example/a b", safehttp.Invalid},
		{live, "https://shop.example/\x7f", safehttp.Invalid},
		{live, "https://shop.example/\xff", safehttp.Invalid},
		{live, "https://shop.example./", safehttp.Invalid},
		{live, "https://-shop.example/", safehttp.Invalid},
		{live, "https://shop..example/", safehttp.Invalid},
		{live, "https://9.9.9.9/", safehttp.Invalid},
		{live, "https://shop.example:22/", safehttp.Blocked},
		{live, "https://shop.example:80/", safehttp.Blocked},
		{live, "https://localhost/", safehttp.Blocked},
		{live, "https://a.localhost/", safehttp.Blocked},
		{live, "https://shop.example/" + strings.Repeat("x", 2048), safehttp.Invalid},
		{sandbox, "http://shop.example/", safehttp.Invalid},
		{sandbox, "https://10.0.0.1/", safehttp.Invalid},
		{sandbox, "http://0.0.0.0:9000/", safehttp.Invalid},
		// Ways of writing 127.0.0.1 that some program understands.
		{all, "http://127.0.0.1@evil.example/", safehttp.Invalid},
		{all, "http://evil.example#@127.0.0.1/", ""}, // the host is evil.example: no trick left
		{all, "http://2130706433/", safehttp.Invalid},
		{all, "http://0x7f000001/", safehttp.Invalid},
		{all, "http://017700000001/", safehttp.Invalid},
		{all, "http://0x7f.1/", safehttp.Invalid},
		{all, "http://0177.0.0.1/", safehttp.Invalid},
		{all, "http://127.1/", safehttp.Invalid},
		{all, "http://127.0.0.01/", safehttp.Invalid},
		{all, "http://127.0.0.1./", safehttp.Invalid},
		{all, "http://0x/", safehttp.Invalid},
		{all, "http://１２７.０.０.１/", safehttp.Blocked}, // full-width digits become the address
		{all, "http://127。0。0。1/", safehttp.Blocked},
		{all, "http://[::ffff:7f00:1]/", safehttp.Blocked},
		{all, "http://[::ffff:127.0.0.1]/", safehttp.Blocked},
		{all, "http://[::1%25lo]/", safehttp.Invalid},
		{all, "http://[fe80::1%25eth0]/", safehttp.Invalid},
		{all, "http://[127.0.0.1]/", safehttp.Invalid},
		{all, "http://[::1/", safehttp.Invalid},
	} {
		u, err := safehttp.CheckURL(v.raw, v.policy)
		if v.want == "" {
			if err != nil || u.Host != "evil.example" {
				t.Errorf("CheckURL(%q) = %v, %v", v.raw, u, err)
			}
			continue
		}
		var e *safehttp.Error
		if !errors.As(err, &e) || e.Reason != v.want || u != nil {
			t.Errorf("CheckURL(%q) = %v, %v; want %s", v.raw, u, err, v.want)
			continue
		}
		if strings.Contains(err.Error(), "shop.example") || strings.Contains(err.Error(), "127") {
			t.Errorf("CheckURL(%q): the error repeats the address: %v", v.raw, err)
		}
	}
}

// Every range that is not the public internet, at both ends.
var ranges = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "169.254.169.254/32",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
	"::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32",
	"2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fe80::/10", "ff00::/8", "fec0::/10",
}

func TestRangesAreBlocked(t *testing.T) {
	t.Parallel()
	for _, s := range ranges {
		p := netip.MustParsePrefix(s)
		for _, a := range []netip.Addr{p.Addr(), last(p)} {
			for _, raw := range literals(a) {
				_, err := safehttp.CheckURL(raw, test)
				var e *safehttp.Error
				if !errors.As(err, &e) || e.Reason != safehttp.Blocked {
					t.Errorf("%s: CheckURL(%q): %v, want blocked", s, raw, err)
				}
			}
		}
	}
}

// literals writes an address in each accepted way.
func literals(a netip.Addr) []string {
	if a.Is4() {
		return []string{
			"https://" + a.String() + "/",
			"https://[" + netip.AddrFrom16(a.As16()).String() + "]/",
		}
	}
	return []string{"https://[" + a.String() + "]/", "https://[" + a.StringExpanded() + "]/"}
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// What is accepted reads the same when it is checked again.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://shop.example/a?b#c", "http://[::1]:80/", "https://bücher.example", "http://0x7f.1", "https://a%20b/"} {
		f.Add(s)
	}
	loose := safehttp.Policy{HTTP: true, Literals: true, AnyPort: true, Loopback: true}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := safehttp.CheckURL(raw, loose)
		if err != nil {
			return
		}
		again, err := safehttp.CheckURL(u.String(), loose)
		if len(u.String()) > safehttp.MaxURL {
			return // escaping made it longer
		}
		if err != nil || again.String() != u.String() {
			t.Fatalf("CheckURL(%q) = %q, again %v, %v", raw, u, again, err)
		}
	})
}
