package relying_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"eidgate/internal/need"
	"eidgate/relying"
)

// A part is an attribute of a subject.
func part(oid asn1.ObjectIdentifier, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}
}

var (
	cn    = asn1.ObjectIdentifier{2, 5, 4, 3}
	org   = asn1.ObjectIdentifier{2, 5, 4, 10}
	orgID = asn1.ObjectIdentifier{2, 5, 4, 97}
	own   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	dc    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	email = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// subjected is a certificate of which nothing but the subject is there.
func subjected(t testing.TB, sets ...[]pkix.AttributeTypeAndValue) *x509.Certificate {
	t.Helper()
	var seq pkix.RDNSequence
	for _, s := range sets {
		seq = append(seq, s)
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		t.Fatal(err)
	}
	return &x509.Certificate{RawSubject: der}
}

func one(oid asn1.ObjectIdentifier, value any) []pkix.AttributeTypeAndValue {
	return []pkix.AttributeTypeAndValue{part(oid, value)}
}

// TestSubject holds when a subject is the registered one: when it says the same,
// in the same order, however it is written.
func TestSubject(t *testing.T) {
	t.Parallel()
	shop := subjected(t, one(org, "Shop"), one(cn, "client"))
	both := subjected(t, one(org, "Shop"), []pkix.AttributeTypeAndValue{part(cn, "client"), part(orgID, "NTRSE-5566304928")})
	utf := subjected(t, one(org, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte("Shop")}), one(cn, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte("client")}))
	wide := subjected(t, one(org, asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte("\x00S\x00h\x00o\x00p")}), one(cn, "client"))
	odd := subjected(t, one(org, `Sue, Grabbit + Runn`), one(cn, "#1 \"<Åsa>\";\\ "))
	number := subjected(t, one(own, 42), one(cn, "client"))
	null := subjected(t, one(org, "Shop"), one(cn, "client\x00.evil"))
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		text string
		want bool
	}{
		{"as registered", shop, "CN=client,O=Shop", true},
		{"the case of names of parts", shop, "cn=client,o=Shop", true},
		{"numbers for names", shop, "2.5.4.3=client,2.5.4.10=Shop", true},
		{"an encoding for a text", shop, "CN=#1306636c69656e74,O=#0c0453686f70", true},
		{"letters escaped", shop, `CN=cl\69ent,O=\53hop`, true},
		{"another kind of text", utf, "CN=client,O=Shop", true},
		{"text of two octets a letter", wide, "CN=client,O=Shop", true},
		{"two parts in one set", both, "CN=client+organizationIdentifier=NTRSE-5566304928,O=Shop", true},
		{"in the other order", both, "2.5.4.97=NTRSE-5566304928+CN=client,O=Shop", true},
		{"escapes", odd, `CN=\#1 \"\<Åsa\>\"\;\\\ ,O=Sue\, Grabbit \+ Runn`, true},
		{"octets", odd, `CN=\231 \22\3C\C3\85sa\3E\22\3B\5C\20,O=Sue\2C Grabbit \2B Runn`, true},
		{"no text", number, "CN=client,1.3.6.1.4.1.99999.1=#02012a", true},
		{"parts of a domain, and an address", subjected(t, one(dc, "example"), one(dc, "shop"), one(email, "a@b.example")), "emailAddress=a@b.example,DC=shop,DC=example", true},
		{"an equals sign", subjected(t, one(cn, "a=b")), "CN=a=b", true},

		{"the order turned round", shop, "O=Shop,CN=client", false},
		{"one set for two", shop, "CN=client+O=Shop", false},
		{"two sets for one", both, "CN=client,organizationIdentifier=NTRSE-5566304928,O=Shop", false},
		{"less", both, "CN=client,O=Shop", false},
		{"more", shop, "CN=client,O=Shop,C=SE", false},
		{"more before", shop, "UID=1,CN=client,O=Shop", false},
		{"the case of a value", shop, "CN=Client,O=Shop", false},
		{"a part at another place", shop, "O=client,CN=Shop", false},
		{"a prefix", shop, "CN=clien,O=Shop", false},
		{"a comma that is in the value", subjected(t, one(cn, "client,O=Shop")), "CN=client,O=Shop", false},
		{"a plus that is in the value", subjected(t, one(org, "Shop"), one(cn, "client+2.5.4.97=NTRSE-5566304928")), "CN=client+organizationIdentifier=NTRSE-5566304928,O=Shop", false},
		{"a null in it", null, "CN=client,O=Shop", false},
		{"a number for a text", subjected(t, one(cn, 42)), "CN=42", false},
		{"a text for its encoding", subjected(t, one(cn, "#02012a")), "CN=#02012a", false},
		{"no subject", subjected(t), "CN=client", false},
		{"no ASN.1", &x509.Certificate{RawSubject: []byte("CN=client")}, "CN=client", false},
		{"something behind it", &x509.Certificate{RawSubject: append(shop.RawSubject[:len(shop.RawSubject):len(shop.RawSubject)], 5, 0)}, "CN=client,O=Shop", false},
	} {
		n := relying.CertificateName{Subject: c.text}
		if got := n.Names(c.cert); got != c.want {
			t.Errorf("%s: %q: %t", c.name, c.text, got)
		}
		k := certified(n)
		if err := k.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// certified is a client whose certificate has a name.
func certified(n relying.CertificateName) *relying.Client {
	c := shop()
	c.Auth, c.Secrets, c.Certificate = relying.TLS, nil, n
	return c
}

// TestAlternativeNames holds that of a certificate's other names one must be the
// registered one, of the same kind, and that a wildcard is nobody's.
func TestAlternativeNames(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse("https://shop.example/client?a=%41")
	if err != nil {
		t.Fatal(err)
	}
	in := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cn.example"}, DNSNames: []string{"other.example", "shop.example", "*.wild.example", "192.0.2.7", "a.nu"},
		URIs: []*url.URL{uri}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}, EmailAddresses: []string{"Ops@Shop.example", "text.example"},
		NotBefore: now, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, in, in, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[relying.CertificateName]bool{
		{DNS: "shop.example"}:                      true,
		{DNS: "SHOP.example"}:                      true,
		{URI: "https://shop.example/client?a=%41"}: true,
		{IP: "192.0.2.1"}:                          true,
		{IP: "2001:DB8:0::1"}:                      true,
		{Email: "Ops@shop.EXAMPLE"}:                true,

		{DNS: "cn.example"}:                        false,
		{DNS: "text.example"}:                      false,
		{DNS: "a.wild.example"}:                    false,
		{DNS: "shop.example."}:                     false,
		{DNS: "a.shop.example"}:                    false,
		{URI: "https://shop.example/client?a=A"}:   false,
		{URI: "https://SHOP.example/client?a=%41"}: false,
		{URI: "shop.example"}:                      false,
		{IP: "192.0.2.7"}:                          false,
		{IP: "192.0.2.2"}:                          false,
		{IP: "::ffff:192.0.2.1"}:                   false,
		{IP: "97.46.110.117"}:                      false, // the octets of "a.nu"
		{Email: "ops@shop.example"}:                false,
		{Email: "shop.example"}:                    false,
		{}:                                         false,
	} {
		if got := n.Names(c); got != want {
			t.Errorf("%+v: %t", n, got)
		}
	}
	listed := func(names ...asn1.RawValue) []byte {
		der, err := asn1.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	name := func(class, kind int, text string) asn1.RawValue {
		return asn1.RawValue{Class: class, Tag: kind, Bytes: []byte(text)}
	}
	const context, host = asn1.ClassContextSpecific, "shop.example"
	good := listed(name(context, 2, host))
	alternative, issuers := asn1.ObjectIdentifier{2, 5, 29, 17}, asn1.ObjectIdentifier{2, 5, 29, 18}
	var empty []asn1.RawValue
	for _, kind := range []int{1, 2, 6, 7} {
		empty = append(empty, name(context, kind, ""))
	}
	for _, v := range []struct {
		what string
		id   asn1.ObjectIdentifier
		der  []byte
		want bool
	}{
		{"one", alternative, good, true},
		{"no ASN.1", alternative, []byte(host), false},
		{"something behind it", alternative, append(good[:len(good):len(good)], 5, 0), false},
		{"another class", alternative, listed(name(asn1.ClassApplication, 2, host)), false},
		{"of the issuer", issuers, good, false},
		{"empty ones", alternative, listed(empty...), false},
	} {
		c := &x509.Certificate{Extensions: []pkix.Extension{{Id: v.id, Value: v.der}}}
		for _, n := range []relying.CertificateName{{DNS: host}, {URI: "urn:a"}, {IP: "192.0.2.1"}, {Email: "a@" + host}} {
			if got, want := n.Names(c), v.want && n.DNS != ""; got != want {
				t.Errorf("%s: %+v: %t", v.what, n, got)
			}
		}
	}
}

// TestNamesThatCannotBe holds what is refused when a client is set up.
func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"client", "CN", "CN=", "CN= a", "CN=a ", "CN=a, O=b", "CN=a,", "CN=a+", ",CN=a", "CN=a;O=b", `CN="a"`, `CN=a\`, `CN=a\g`, `CN=a\4`, `CN=\ff`, "CN=a<b",
		"CN=a\x00", "CN=#", "CN=#0", "CN=#zz", "CN=#0c04", "CN=#0c01610000", "NOSUCH=a", "1=a", "1.02=a", "1.2.=a", "CN = client, O = Shop", "/O=Shop/CN=client"} {
		if got := members(t, certified(relying.CertificateName{Subject: text}).Check()); got != "certificate.tls_client_auth_subject_dn" {
			t.Errorf("%q: %q", text, got)
		}
	}
	for want, bad := range map[string][]relying.CertificateName{
		"certificate.tls_client_auth_san_dns":   {{DNS: "*.shop.example"}, {DNS: "shop.example."}, {DNS: "https://shop.example"}, {DNS: "-a"}},
		"certificate.tls_client_auth_san_uri":   {{URI: "shop.example"}, {URI: "%"}},
		"certificate.tls_client_auth_san_ip":    {{IP: "192.0.2"}, {IP: "fe80::1%eth0"}, {IP: "::ffff:192.0.2.1"}},
		"certificate.tls_client_auth_san_email": {{Email: "shop.example"}, {Email: "@shop.example"}, {Email: "a@"}, {Email: "a@b@c"}},
		"certificate.roots":                     {{DNS: "shop.example", Roots: "no certificate"}},
		"certificate":                           {{}, {DNS: "a", IP: "192.0.2.1"}},
	} {
		for _, n := range bad {
			if got := members(t, certified(n).Check()); got != want {
				t.Errorf("%+v: %q, want %q", n, got, want)
			}
		}
	}
}

// TestSubjectOfOpenSSL lets OpenSSL make certificates and say what their
// subject is: that, registered as it is, must be theirs.
func TestSubjectOfOpenSSL(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	dir := t.TempDir()
	for i, subject := range []string{
		"/C=SE/ST=Skåne/L=Lund/O=Shop, Inc. + \\/ sons/OU= a /CN=client#1 \"x\"<y>;z=1\\\\",
		"/DC=example/DC=shop/UID=7/emailAddress=ops@shop.example/serialNumber=5566304928/GN=Ada/SN=Test/title=CTO",
		"/O=Shop+organizationIdentifier=NTRSE-5566304928/CN=b+street=Main 1+postalCode=1+businessCategory=x/jurisdictionC=SE/pseudonym=p/initials=A/dnQualifier=q/name=n/description=d",
		"/1.3.6.1.4.1.99999.1=a text/CN=#client",
	} {
		file := filepath.Join(dir, string(rune('a'+i)))
		if out, err := exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file+".key",
			"-out", file, "-utf8", "-subj", subject).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), "openssl", "x509", "-in", file, "-noout", "-subject", "-nameopt", "RFC2253").Output()
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(strings.TrimPrefix(string(out), "subject="), "\n")
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(raw)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		n := relying.CertificateName{Subject: text}
		if err := certified(n).Check(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if !n.Names(c) {
			t.Errorf("%s is not what its own certificate says", text)
		}
		if n.Subject = text + ",C=NO"; n.Names(c) {
			t.Errorf("%s is what the certificate says", n.Subject)
		}
	}
}

// FuzzSubject holds that what Go writes for a subject is read as the same one,
// and that nothing makes the reader panic.
func FuzzSubject(f *testing.F) {
	for _, c := range []*x509.Certificate{subjected(f, one(org, "Shop"), one(cn, "client")), subjected(f, one(cn, "#a, b+c\\ ")), subjected(f, one(own, 42)), subjected(f, one(orgID, "Åsa"))} {
		f.Add(c.RawSubject, "CN=client,O=Shop")
	}
	f.Add([]byte{0x30, 0}, `CN=\23#\,+2.5.4.97=#0c0161`)
	f.Fuzz(func(t *testing.T, der []byte, text string) {
		relying.CertificateName{Subject: text}.Names(&x509.Certificate{RawSubject: der})
		var seq pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 || len(seq) == 0 {
			return
		}
		for _, set := range seq {
			for _, a := range set {
				s, ok := a.Value.(string)
				if !ok || s == "" || !utf8.ValidString(s) || strings.Contains(s, "\x00") {
					return // Go does not write these so that they could be read
				}
			}
			if len(set) == 0 {
				return
			}
		}
		if n := (relying.CertificateName{Subject: seq.String()}); !n.Names(&x509.Certificate{RawSubject: der}) {
			t.Errorf("%q is not the subject that it was written from", n.Subject)
		}
	})
}
