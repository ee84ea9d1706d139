package relying

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A CertificateName is what the certificate of a client must say (RFC 8705,
// section 2.1.2); exactly one of the names is set.
type CertificateName struct {
	Subject string `json:"tls_client_auth_subject_dn,omitempty"` // as RFC 4514 writes it
	DNS     string `json:"tls_client_auth_san_dns,omitempty"`
	URI     string `json:"tls_client_auth_san_uri,omitempty"`
	IP      string `json:"tls_client_auth_san_ip,omitempty"`
	Email   string `json:"tls_client_auth_san_email,omitempty"`
	Roots   string `json:"roots,omitempty"` // who may have issued it, in PEM; "" leaves that to the server
}

// Names says whether a certificate has the name. Nothing else of it is looked
// at. A subject is compared as what it says, part by part and to the letter,
// not as it is written; of names beside it one must be equal, where only hosts
// have no case. A wildcard stands for nothing.
func (n CertificateName) Names(c *x509.Certificate) bool {
	if n.Subject != "" {
		want, err := parseSubject(n.Subject)
		if err != nil {
			return false
		}
		have, err := readSubject(c.RawSubject)
		return err == nil && slices.EqualFunc(want, have, slices.Equal)
	}
	for _, e := range c.Extensions {
		var all []asn1.RawValue
		if !e.Id.Equal(alternativeNames) {
			continue
		}
		if rest, err := asn1.Unmarshal(e.Value, &all); err != nil || len(rest) > 0 {
			return false
		}
		if slices.ContainsFunc(all, n.alternative) {
			return true
		}
	}
	return false
}

var alternativeNames = asn1.ObjectIdentifier{2, 5, 29, 17}

// Kinds of alternative names (RFC 5280, section 4.2.1.6).
const (
	kindEmail = 1
	kindDNS   = 2
	kindURI   = 6
	kindIP    = 7
)

func (n CertificateName) alternative(v asn1.RawValue) bool {
	text := string(v.Bytes)
	switch {
	case v.Class != asn1.ClassContextSpecific:
		return false
	case v.Tag == kindDNS && n.DNS != "":
		return strings.EqualFold(text, n.DNS)
	case v.Tag == kindURI && n.URI != "":
		return text == n.URI
	case v.Tag == kindEmail && n.Email != "":
		user, host, _ := strings.Cut(text, "@")
		wantUser, wantHost, _ := strings.Cut(n.Email, "@")
		return user == wantUser && strings.EqualFold(host, wantHost)
	case v.Tag == kindIP && n.IP != "":
		have, ok := netip.AddrFromSlice(v.Bytes)
		want, err := netip.ParseAddr(n.IP)
		return ok && err == nil && have == want
	}
	return false
}

// Pool is the roots of the client's own; nil where it has none.
func (n CertificateName) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(n.Roots)) {
		return nil
	}
	return pool
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

func (n CertificateName) check(all *problems, needed bool) {
	count := 0
	for _, s := range []string{n.Subject, n.DNS, n.URI, n.IP, n.Email} {
		if s != "" {
			count++
		}
	}
	all.add(count == 1 || !needed, "certificate", "must have exactly one name for %s", TLS)
	all.add(needed || n == CertificateName{}, "certificate", "is for %s only", TLS)
	if n.Subject != "" {
		_, err := parseSubject(n.Subject)
		all.add(err == nil, "certificate.tls_client_auth_subject_dn", "%v; openssl x509 -noout -subject -nameopt RFC2253 shows it", err)
	}
	all.add(n.DNS == "" || hostName.MatchString(n.DNS), "certificate.tls_client_auth_san_dns", "must be the name of a host, without a wildcard")
	u, err := url.Parse(n.URI)
	all.add(n.URI == "" || err == nil && u.Scheme != "", "certificate.tls_client_auth_san_uri", "must be an address with a scheme")
	ip, err := netip.ParseAddr(n.IP)
	all.add(n.IP == "" || err == nil && ip.Zone() == "" && !ip.Is4In6(), "certificate.tls_client_auth_san_ip", "must be an IP address")
	user, host, _ := strings.Cut(n.Email, "@")
	all.add(n.Email == "" || user != "" && hostName.MatchString(host), "certificate.tls_client_auth_san_email", "must be an e-mail address")
	all.add(n.Roots == "" || n.Pool() != nil, "certificate.roots", "must hold certificates in PEM")
}

// attributes are the names by which parts of a subject go: those that RFC 4514
// has, and those that OpenSSL writes for what issuers put there too.
var attributes = map[string]string{
	"CN": "2.5.4.3", "SN": "2.5.4.4", "SURNAME": "2.5.4.4", "SERIALNUMBER": "2.5.4.5", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8",
	"STREET": "2.5.4.9", "O": "2.5.4.10", "OU": "2.5.4.11", "TITLE": "2.5.4.12", "DESCRIPTION": "2.5.4.13", "BUSINESSCATEGORY": "2.5.4.15",
	"POSTALCODE": "2.5.4.17", "NAME": "2.5.4.41", "GN": "2.5.4.42", "GIVENNAME": "2.5.4.42", "INITIALS": "2.5.4.43", "DNQUALIFIER": "2.5.4.46",
	"PSEUDONYM": "2.5.4.65", "ORGANIZATIONIDENTIFIER": "2.5.4.97", "UID": "0.9.2342.19200300.100.1.1", "DC": "0.9.2342.19200300.100.1.25",
	"E": "1.2.840.113549.1.9.1", "EMAILADDRESS": "1.2.840.113549.1.9.1", "JURISDICTIONL": "1.3.6.1.4.1.311.60.2.1.1",
	"JURISDICTIONST": "1.3.6.1.4.1.311.60.2.1.2", "JURISDICTIONC": "1.3.6.1.4.1.311.60.2.1.3",
}

var numericOID = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]*))+$`)

// A subject is a sequence of sets of attributes, first the one that a
// certificate has first. An attribute is its type and its value, in a form in
// which equal ones are equal texts.
type subject [][]string

func (s subject) sorted() subject {
	for _, set := range s {
		slices.Sort(set)
	}
	return s
}

// attribute is the form of one: of a text, of whatever kind, what it says, and of
// another value its encoding.
func attribute(oid string, der []byte) (string, error) {
	var raw asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &raw); err != nil || len(rest) > 0 {
		return "", errors.New("has a value that is not ASN.1")
	}
	var text string
	if _, err := asn1.Unmarshal(der, &text); err == nil {
		return oid + "=" + text, nil
	}
	return oid + "#" + hex.EncodeToString(der), nil
}

// readSubject reads the subject of a certificate.
func readSubject(der []byte) (subject, error) {
	type attributeSET []struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	var in []attributeSET
	if rest, err := asn1.Unmarshal(der, &in); err != nil || len(rest) > 0 {
		return nil, errors.New("is no name in ASN.1")
	}
	var out subject
	for _, set := range in {
		var all []string
		for _, a := range set {
			text, err := attribute(a.Type.String(), a.Value.FullBytes)
			if err != nil {
				return nil, err
			}
			all = append(all, text)
		}
		out = append(out, all)
	}
	return out.sorted(), nil
}

// parseSubject reads a subject as RFC 4514 writes it, beginning with what a
// certificate has last. No other form is taken: who writes it otherwise may mean
// another one.
func parseSubject(text string) (subject, error) {
	var out subject
	set := []string{}
	for {
		name, rest, _ := strings.Cut(text, "=")
		oid := attributes[strings.ToUpper(name)]
		if numericOID.MatchString(name) {
			oid = name
		}
		if oid == "" {
			return nil, errors.New("must be a subject as RFC 4514 writes it, such as CN=client,O=Shop")
		}
		value, rest, err := cutValue(oid, rest)
		if err != nil {
			return nil, err
		}
		set = append(set, value)
		if rest == "" {
			break
		}
		if rest[0] == ',' {
			out, set = append(out, set), []string{}
		}
		text = rest[1:]
	}
	out = append(out, set)
	slices.Reverse(out)
	return out.sorted(), nil
}

// cutValue reads the value of an attribute, up to a comma or plus or the end.
func cutValue(oid, s string) (value, rest string, err error) {
	if strings.HasPrefix(s, "#") {
		end := len(s)
		if i := strings.IndexAny(s, ",+"); i >= 0 {
			end = i
		}
		der, err := hex.DecodeString(s[1:end])
		if err != nil {
			return "", "", errors.New("has a value that begins with # and is not hexadecimal")
		}
		value, err := attribute(oid, der)
		return value, s[end:], err
	}
	var out []byte
	i, blank := 0, false
	for i < len(s) && s[i] != ',' && s[i] != '+' {
		c, n := s[i], 1
		blank = c == ' '
		switch {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\"+,;<> #=`, s[i+1]) >= 0:
			c, n = s[i+1], 2
		case c == '\\' && i+2 < len(s):
			octet, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return "", "", errors.New("escapes what cannot be escaped")
			}
			c, n = octet[0], 3
		case strings.IndexByte("\\\";<>\x00", c) >= 0 || blank && i == 0:
			return "", "", errors.New("has a character or a blank that must be escaped")
		}
		out, i = append(out, c), i+n
	}
	if len(out) == 0 || blank || !utf8.Valid(out) {
		return "", "", errors.New("has a value that is empty, ends with a blank, or is not UTF-8")
	}
	return oid + "=" + string(out), s[i:], nil
}
