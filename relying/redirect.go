package relying

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"eidgate/eid"
)

// Redirect says whether a login may end at an address: one that is registered,
// byte for byte. Apps may choose the port of a loopback address anew each time
// (RFC 8252).
func (c *Client) Redirect(uri string) bool {
	if slices.Contains(c.Redirects, uri) || c.anyLoopback(uri) {
		return true
	}
	if !c.Native {
		return false
	}
	host, rest, ok := cutLoopback(uri)
	return ok && slices.ContainsFunc(c.Redirects, func(r string) bool {
		h, known, ok := cutLoopback(r)
		return ok && h == host && known == rest
	})
}

// Logout says whether a browser may be sent to an address after a logout.
func (c *Client) Logout(uri string) bool {
	return slices.Contains(c.Logouts, uri) || c.anyLoopback(uri)
}

func (c *Client) anyLoopback(uri string) bool {
	rest, secure := strings.CutPrefix(uri, "https:")
	return c.SandboxReturn && c.Environment == eid.Test && (loopback(uri) || secure && loopback("http:"+rest))
}

// loopback says whether an address of this machine is acceptable at all.
func loopback(uri string) bool {
	_, _, ok := cutLoopback(uri)
	return ok && web(uri, "http") == ""
}

var loopbacks = []string{"http://localhost", "http://127.0.0.1", "http://[::1]"}

// cutLoopback takes the port out of a loopback address: before it, and after it.
func cutLoopback(uri string) (host, rest string, ok bool) {
	for _, host := range loopbacks {
		rest, found := strings.CutPrefix(uri, host)
		if !found {
			continue
		}
		if digits, found := strings.CutPrefix(rest, ":"); found {
			end := len(digits) - len(strings.TrimLeft(digits, "0123456789"))
			if !isPort(digits[:end]) {
				return "", "", false
			}
			rest = digits[end:]
		}
		return host, rest, rest == "" || rest[0] == '/' || rest[0] == '?'
	}
	return "", "", false
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil && s[0] != '0'
}

// address names the rule that an address to register breaks, "" if none. What
// browsers would write in another way is refused, for it could never match.
func (c *Client) address(uri string) string {
	scheme, _, _ := strings.Cut(uri, ":")
	switch {
	case scheme == "https":
		return web(uri, "https")
	case scheme == "http":
		if _, _, ok := cutLoopback(uri); !ok {
			return "must be https; http is for localhost, 127.0.0.1 and [::1]"
		}
		if !c.Policy().Schemes && !c.Native {
			return "must be https: the profile knows loopback for apps only"
		}
		return web(uri, "http")
	case !c.Native:
		return "must be an absolute https address; schemes of their own are for apps"
	case !c.Policy().Schemes:
		return "must be https or loopback: the profile knows no schemes of apps"
	case !strings.Contains(scheme, ".") || strings.ToLower(scheme) != scheme:
		return `must have a scheme that is a domain turned round, "com.example.app", in small letters`
	}
	return text(uri)
}

// text names the rule that any address breaks.
func text(uri string) string {
	switch u, err := url.Parse(uri); {
	case len(uri) > 2048:
		return "must have 2048 bytes at most"
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\\\"<>^`{|}", r) }):
		return "must be written in ASCII, without blanks and characters that are to be escaped"
	case strings.Contains(uri, "#"):
		return "must have no fragment"
	case err != nil || u.Scheme == "" || u.User != nil:
		return "must be an absolute address without a user"
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }):
		return "must have no dots as a part of its path"
	}
	return ""
}

// web names the rule that an address of a web server breaks.
func web(uri, scheme string) string {
	if rule := text(uri); rule != "" {
		return rule
	}
	u, err := url.Parse(uri)
	if err != nil || !strings.HasPrefix(uri, scheme+"://"+u.Host) {
		return "must begin with " + scheme + ":// and a host"
	}
	host := u.Hostname()
	_, plain := netip.ParseAddr(host)
	switch {
	case host == "" || strings.HasSuffix(host, ".") || strings.ContainsAny(host, "*%_~!$&'()+,;="):
		return "must name a host, without a dot at its end and without wildcards"
	case strings.Contains(host, ":") && plain != nil:
		return "must have a host that is a name or an address"
	case strings.ToLower(host) != host:
		return "must have its host in small letters"
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()):
		return "must have a port from 1 to 65535, or none"
	}
	return ""
}

// origin says whether a text is one, as browsers write it.
func origin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" && web(s, "https") == "" || loopback(s)) && s == u.Scheme+"://"+u.Host
}
