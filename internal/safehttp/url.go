package safehttp

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"
	"golang.org/x/net/idna"
)

// MaxURL is the greatest length of an address, in bytes.
const MaxURL = 2048

// A Policy says which addresses are acceptable. The zero value is what live
// demands: https to a public host that has a name, at port 443 or 8443.
type Policy struct {
	HTTP     bool           // plain http is acceptable, at port 80
	Literals bool           // a host may be an address instead of a name
	AnyPort  bool           // every port is acceptable: for addresses that browsers are sent to
	Ports    []uint16       // acceptable besides the usual ones
	Loopback bool           // this machine is acceptable, over http and at any port: the sandbox
	Networks []netip.Prefix // private networks that the operator accepts
}

// CheckURL reads an address that came from outside and refuses what the policy
// does not accept, what is longer than MaxURL, and whatever two programs could
// read differently. The host of the result is ASCII and lower case. Errors are
// *Error with Invalid or Blocked; their text says which rule was broken and
// does not repeat the address.
//
// A name is not resolved here: what it resolves to is checked by Client, on the
// connection that is really opened.
func CheckURL(raw string, p Policy) (*url.URL, error) {
	if raw == "" || len(raw) > MaxURL {
		return nil, invalid("address must have 1 to 2048 characters")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd }) {
		return nil, invalid("address has a blank, a control character or a backslash")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, invalid("address cannot be read") // the parser's own error quotes it
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, invalid("address must begin with https:// or http://")
	case u.User != nil:
		return nil, invalid("address must not have a user name or password")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, invalid("address has no host")
	}
	host, addr, err := checkHost(u.Hostname(), strings.HasPrefix(u.Host, "["))
	if err != nil {
		return nil, err
	}
	port, err := portOf(u)
	if err != nil {
		return nil, err
	}
	if err := p.checkTarget(u.Scheme, host, addr, port); err != nil {
		return nil, err
	}
	setHost(u, host)
	return u, nil
}

// checkHost returns the host in ASCII, and its address if it is one. What a
// browser or a resolver may take for an address (decimal, octal, hexadecimal,
// short forms) must be written as one.
func checkHost(host string, bracketed bool) (string, netip.Addr, error) {
	if bracketed {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" || !addr.Is6() {
			return "", netip.Addr{}, invalid("host is not a plain IPv6 address")
		}
		return host, addr.Unmap(), nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || len(ascii) > 253 || strings.Contains("."+ascii+".", "..") { // no empty label, not at the end either
		return "", netip.Addr{}, invalid("host is not a valid name")
	}
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if !numeric(last) {
		return ascii, netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(ascii)
	if err != nil {
		return "", netip.Addr{}, invalid("host is an address in an unusual form")
	}
	return ascii, addr, nil
}

// numeric tells whether a host that ends in this label is an address to a
// browser (URL Standard, "ends in a number").
func numeric(label string) bool {
	if label == "" {
		return false
	}
	if strings.HasPrefix(label, "0x") {
		label = label[2:]
		return strings.Trim(label, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func portOf(u *url.URL) (uint16, error) {
	s := u.Port()
	switch {
	case s != "":
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return 0, invalid("port is not between 1 and 65535")
		}
		return uint16(n), nil
	case strings.HasSuffix(u.Host, ":"):
		return 0, invalid("port is missing after the colon")
	case u.Scheme == "http":
		return 80, nil
	}
	return 443, nil
}

func (p Policy) checkTarget(scheme, host string, addr netip.Addr, port uint16) error {
	if p.Loopback && (isLocalName(host) || addr.IsLoopback()) {
		return nil
	}
	if scheme != "https" && !p.HTTP {
		return invalid("address must begin with https://")
	}
	if isLocalName(host) {
		return blocked("host is not public")
	}
	if addr.IsValid() {
		if !p.Literals {
			return invalid("host must be a name, not an address")
		}
		if p.checkAddr(addr) != nil {
			return blocked("host is not public")
		}
	}
	if !p.acceptsPort(port) {
		return blocked("port is not allowed")
	}
	return nil
}

func isLocalName(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func (p Policy) acceptsPort(port uint16) bool {
	return p.AnyPort || port == 443 || port == 8443 || p.HTTP && port == 80 || slices.Contains(p.Ports, port)
}

// checkAddr refuses every range that is not the public internet, unless the
// policy accepts it. An IPv4 address inside an IPv6 one counts as itself.
func (p Policy) checkAddr(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if p.Loopback && addr.IsLoopback() {
		return nil
	}
	for _, n := range p.Networks {
		if n.Contains(addr) {
			return nil
		}
	}
	if ssrf.New(ssrf.WithAnyPort()).SafeAddr(addr) != nil {
		return errBlocked
	}
	return nil
}

// setHost writes the checked host back; the port stays as it was written.
func setHost(u *url.URL, host string) {
	port := u.Port()
	switch {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"): // an IPv6 address
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
}
