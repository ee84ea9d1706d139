package bankidse

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// TestSignedButWrong has what a key holder really signed, or a responder
// really answered, and what is refused all the same (§15.4, §16). Alterations
// of an honest signature are tried in connector/bankidse. A Verifier that knows
// the bank says the same.
func TestSignedButWrong(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	known := is.warm(t)
	issue := is.issued
	edit := func(old, with string) func(*forgery) { return func(f *forgery) { f.edit(old, with) } }
	insert := func(s string) func(*forgery) { return edit("<srvInfo>", s+"<srvInfo>") }
	respond := func(change func(*x509.Certificate), by *holder) func(*forgery) {
		return func(f *forgery) {
			tmpl := responder()
			change(tmpl)
			f.responder = certify(tmpl, userKey(), by)
		}
	}
	other := certify(ca("Test Bank B Customer CA1"), userKey(), is.bank)
	nonce := func(change func(good pkix.Extension) []pkix.Extension) func(*forgery) {
		return func(f *forgery) {
			good := f.nonce
			f.nonce = func(signature string) []pkix.Extension { return change(good(signature)[0]) }
		}
	}
	for name, c := range map[string]struct {
		change func(*forgery)
		check  string
	}{
		// The text is not the canonical XML whose hash was signed.
		"an unclosed attribute":    {insert(`<a b="></a>`), "shape"},
		"an attribute's bare name": {insert(`<a b></a>`), "shape"},
		"a bare value":             {insert(`<a b=c></a>`), "shape"},
		"an attribute twice":       {insert(`<a b="1" b="1"></a>`), "shape"},
		"attributes out of order":  {insert(`<a c="1" b="1"></a>`), "shape"},
		"two blanks":               {insert(`<a  b="1"></a>`), "shape"},
		"a blank in a tag":         {insert(`<a ></a>`), "shape"},
		"a line end in a value":    {insert("<a b=\"1\n2\"></a>"), "shape"},
		"a tag in a value":         {insert(`<a b="<"></a>`), "shape"},
		"a name of digits":         {insert(`<1a></1a>`), "shape"},
		"a name of other letters":  {insert(`<aé></aé>`), "shape"},
		"an empty tag":             {insert(`<a/>`), "shape"},
		"a prefix":                 {insert(`<x:a></x:a>`), "shape"},
		"a namespace":              {insert(`<a xmlns="urn:x"></a>`), "shape"},
		"an Id":                    {insert(`<a Id="bidKeyInfo"></a>`), "shape"},
		"an id in small letters":   {insert(`<a id="x"></a>`), "shape"},
		"a carriage return":        {edit("<fsib>0", "<fsib>0\r\n"), "shape"},
		"a control character":      {edit("<fsib>0", "<fsib>0\x00"), "shape"},
		"no character at all":      {edit("<fsib>0", "<fsib>0\uFFFF"), "shape"},
		"another encoding":         {edit("<fsib>0", "<fsib>\xe5"), "shape"},
		"an open bracket":          {edit("<fsib>0", "<fsib>0>"), "shape"},
		"crossed tags":             {insert(`<a><b></a></b>`), "shape"},
		"too deep":                 {insert(strings.Repeat("<a>", 8) + strings.Repeat("</a>", 8)), "shape"},
		"too many":                 {insert(strings.Repeat("<a></a>", 256)), "shape"},

		"text between elements": {insert("hello"), ""}, // strange, but what was signed
		"another letter":        {edit("<fsib>0", "<fsib>å"), ""},

		"no srvInfo": {func(f *forgery) {
			f.edit("<srvInfo>", "<other>")
			f.edit("</srvInfo>", "</other>")
		}, "rpName"},
		"two texts":                {insert("<usrVisibleData></usrVisibleData>"), "visibleData"},
		"a text with elements":     {edit(b64("hidden"), b64("hidden")+"<a></a>"), "nonVisibleData"},
		"a text that is no base64": {edit(b64("hidden"), "hidden!"), "nonVisibleData"},
		"a text of another kind":   {edit(`visible="wysiwys"`, `visible="no"`), "format"},
		"a text in Latin-1":        {edit(`charset="UTF-8"`, `charset="Latin1"`), "format"},
		"no function":              {edit("<funcId>Identification</funcId>", ""), "funcId"},
		"two functions":            {edit("<funcId>", "<funcId>Signing</funcId><funcId>"), "funcId"},
		"a function with elements": {edit("Identification</funcId>", "Identification<a></a></funcId>"), "funcId"},
		"an unknown function":      {edit("Identification", "Payment"), "funcId"},
		"what was signed, not who": {edit("Identification", "Signing"), "funcId"}, // by a certificate that may do both
		"no name":                  {edit("<name>"+b64("cn=Example Shop 1,c=SE")+"</name>", ""), "rpName"},
		"two names":                {edit("<name>", "<name></name><name>"), "rpName"},

		"no policy":    {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.Policies = nil }) }, "policy"},
		"two policies": {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.Policies = []x509.OID{mobile, filePol} }) }, "policy"},
		"an unknown policy": {func(f *forgery) {
			issue(f, func(c *x509.Certificate) { c.Policies = []x509.OID{oidOf(1, 2, 3, 4, 6)} })
		}, "policy"},
		"only for signing":      {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }) }, "keyUsage"},
		"no number":             {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.Subject.SerialNumber = "" }) }, "personalNumber"},
		"another number":        {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.Subject.SerialNumber = "199001032391" }) }, "personalNumber"},
		"expired":               {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.NotAfter = signedAt.Add(-time.Second) }) }, "chain"},
		"not yet valid":         {func(f *forgery) { issue(f, func(c *x509.Certificate) { c.NotBefore = signedAt.Add(time.Second) }) }, "chain"},
		"without the bank's CA": {func(f *forgery) { f.certs = f.certs[:2] }, "chain"},
		"the user alone":        {func(f *forgery) { f.certs = f.certs[:1] }, "shape"},
		"five certificates":     {func(f *forgery) { f.certs = append(f.certs, f.certs[1], f.certs[1]) }, "shape"},
		"CAs in another order":  {func(f *forgery) { f.certs[1], f.certs[2] = f.certs[2], f.certs[1] }, "ocspCertificate"},
		"a person as CA":        {func(f *forgery) { f.certs = append(f.certs, f.certs[0]) }, "chain"},
		"a CA that may not certify": {func(f *forgery) {
			tmpl := ca("Test Bank A CA")
			tmpl.KeyUsage = 0 // which leaves open what it may do
			f.certs[2] = certified(tmpl, &is.bank.key.PublicKey, nil, is.root).cert
		}, "chain"},
		"a short key": {func(f *forgery) {
			small := new(rsa.PublicKey)
			small.N, small.E = new(big.Int).SetBit(big.NewInt(1), 1500, 1), 65537
			f.certs[0] = certified(f.user.cert, small, nil, is.customer).cert
		}, "key"},
		"an endless key": {func(f *forgery) {
			large := new(rsa.PublicKey)
			large.N, large.E = new(big.Int).SetBit(big.NewInt(1), 16384, 1), 65537
			f.certs[0] = certified(f.user.cert, large, nil, is.customer).cert
		}, "key"},
		"a CA with an endless key": {func(f *forgery) {
			large := new(rsa.PublicKey)
			large.N, large.E = new(big.Int).SetBit(big.NewInt(1), 16384, 1), 65537
			f.certs[2] = certified(ca("Test Bank A CA"), large, nil, is.root).cert
		}, "key"},

		"revoked":               {func(f *forgery) { f.status = revoked(signedAt) }, "ocspStatus"},
		"unknown":               {func(f *forgery) { f.status = asn1.RawValue{Class: 2, Tag: 2} }, "ocspStatus"},
		"another certificate":   {func(f *forgery) { f.certID.Serial = big.NewInt(1) }, "ocspSignature"},
		"another issuer":        {func(f *forgery) { f.certID = idOf(f.user.cert, other.cert) }, "ocspCertificate"},
		"another issuer's key":  {func(f *forgery) { f.certID.KeyHash = idOf(f.user.cert, other.cert).KeyHash }, "ocspCertificate"},
		"another issuer's name": {func(f *forgery) { f.certID.NameHash = idOf(f.user.cert, other.cert).NameHash }, "ocspCertificate"},
		"another issuer first": {func(f *forgery) {
			f.more = []single{{idOf(f.user.cert, other.cert), f.status, signedAt}}
			f.status = revoked(signedAt)
		}, "ocspCertificate"},
		"two answers": {func(f *forgery) {
			f.more = []single{{f.certID, f.status, signedAt}}
			f.status = revoked(signedAt)
		}, "ocspCertificate"},
		"a hash of another kind":     {func(f *forgery) { f.certID.Algorithm.Algorithm = oidBasic }, "ocspCertificate"},
		"another CA's responder":     {respond(func(*x509.Certificate) {}, other), "ocspResponder"},
		"a person as responder":      {func(f *forgery) { f.responder = f.user }, "ocspResponder"},
		"a responder for other uses": {respond(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, is.customer), "ocspResponder"},
		"a responder that expired":   {respond(func(c *x509.Certificate) { c.NotAfter = signedAt.Add(-time.Second) }, is.customer), "ocspResponder"},
		"a responder with an endless key": {func(f *forgery) {
			large := new(rsa.PublicKey)
			large.N, large.E = new(big.Int).SetBit(big.NewInt(1), 16384, 1), 65537
			f.responder = certified(responder(), large, userKey(), is.customer)
		}, "ocspResponder"},
		"a responder with a short key": {func(f *forgery) {
			small, err := rsa.GenerateKey(rand.Reader, 1024)
			must(err)
			f.responder = certify(responder(), small, is.customer)
		}, "ocspResponder"},
		"a responder not yet valid": {respond(func(c *x509.Certificate) { c.NotBefore = signedAt.Add(time.Second) }, is.customer), "ocspResponder"},
		"a responder that demands something": {respond(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, is.customer), "ocspResponder"},
		"an answer that demands something": {nonce(func(e pkix.Extension) []pkix.Extension {
			return []pkix.Extension{e, {Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), "ocspSignature"},
		"an answer that says more": {nonce(func(e pkix.Extension) []pkix.Extension {
			return []pkix.Extension{e, {Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
		}), ""},
		"no nonce":                  {nonce(func(pkix.Extension) []pkix.Extension { return nil }), "ocspNonce"},
		"two nonces":                {nonce(func(e pkix.Extension) []pkix.Extension { return []pkix.Extension{e, e} }), "ocspNonce"},
		"a short nonce":             {nonce(func(e pkix.Extension) []pkix.Extension { e.Value = e.Value[:19]; return []pkix.Extension{e} }), "ocspNonce"},
		"a nonce of 20 bytes":       {nonce(func(e pkix.Extension) []pkix.Extension { e.Value = e.Value[:20]; return []pkix.Extension{e} }), ""},
		"another signature's nonce": {func(f *forgery) { good := f.nonce; f.nonce = func(s string) []pkix.Extension { return good(s + "\n") } }, "ocspNonce"},
		"a minute before the order": {func(f *forgery) { f.produced = signedAt.Add(-2 * time.Minute) }, ""},
		"longer before the order":   {func(f *forgery) { f.produced = signedAt.Add(-2*time.Minute - time.Second) }, "ocspTime"},
		"a minute after the answer": {func(f *forgery) { f.produced = signedAt.Add(2 * time.Minute) }, ""},
		"longer after the answer":   {func(f *forgery) { f.produced = signedAt.Add(2*time.Minute + time.Second) }, "ocspTime"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := is.forge(Identification)
			c.change(f)
			in := is.input(f)
			judge(t, "a Verifier", known.without, in, c.check)
			v, err := Verify(in)
			if c.check == "" {
				if err != nil || v.PersonalNumber != person {
					t.Errorf("Verify = %v, want success", err)
				}
				return
			}
			var why *VerifyError
			if !errors.As(err, &why) || why.Check != c.check || v != nil {
				t.Errorf("Verify = %v, want %s", err, c.check)
			}
		})
	}
}

// issued gives the user another certificate.
func (is *issuer) issued(f *forgery, change func(*x509.Certificate)) {
	tmpl := user(person)
	change(tmpl)
	f.user = certify(tmpl, userKey(), is.customer)
	f.certs[0], f.certID = f.user.cert, idOf(f.user.cert, is.customer.cert)
}

// TestAlteredAfterwards: the text is changed once it is signed, and the OCSP
// response is that of the change.
func TestAlteredAfterwards(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	known := is.warm(t)
	insert := func(before, s string) func(string) string {
		return func(doc string) string { return strings.Replace(doc, before, s+before, 1) }
	}
	der := base64.StdEncoding.EncodeToString(is.bank.cert.Raw)
	for name, c := range map[string]struct {
		key    *rsa.PrivateKey // that signs; nil for the user's own
		change func(doc string) string
		check  string
	}{
		"nothing":               {nil, func(doc string) string { return doc }, ""},
		"a line end behind":     {nil, func(doc string) string { return doc + "\r\n" }, ""},
		"somebody else's key":   {is.bank.key, func(doc string) string { return doc }, "signature"},
		"a longer value":        {nil, func(doc string) string { return strings.Replace(doc, "<SignatureValue>", "<SignatureValue>AAAA", 1) }, "signature"},
		"another certificate":   {nil, insert("</X509Data>", el("X509Certificate", "", der)), "keyInfoDigest"},
		"another element":       {nil, insert("</clientInfo>", "<a></a>"), "dataDigest"},
		"an element behind":     {nil, func(doc string) string { return doc + "<a></a>" }, "shape"},
		"a megabyte of nothing": {nil, func(doc string) string { return doc + strings.Repeat("\n", maxSignature) }, "shape"},
	} {
		f := is.forge(Identification)
		if c.key != nil {
			f.user = &holder{f.user.cert, c.key}
		}
		in := is.input(f)
		in.Signature = b64(c.change(f.document()))
		in.OCSP = base64.StdEncoding.EncodeToString(f.respond(in.Signature))
		judge(t, name, Verify, in, c.check)
		judge(t, name+", by a Verifier", known.without, in, c.check)
	}
}

// TestSentIsSigned: whether there was a text, and of which kind, is part of
// what was sent.
func TestSentIsSigned(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	for name, c := range map[string]struct {
		change func(*forgery)
		sent   func(*VerifyInput)
		check  string
	}{
		"a text that was not sent":      {func(*forgery) {}, func(in *VerifyInput) { in.NonVisible = "" }, "nonVisibleData"},
		"an empty one":                  {func(f *forgery) { f.edit(b64("hidden"), "") }, func(in *VerifyInput) { in.NonVisible = "" }, "nonVisibleData"},
		"another text":                  {func(*forgery) {}, func(in *VerifyInput) { in.Visible = b64("Pay") }, "visibleData"},
		"a plain text as formatted":     {func(*forgery) {}, func(in *VerifyInput) { in.Format = "" }, "format"},
		"a formatted text as plain":     {func(f *forgery) { f.edit(` format="simpleMarkdownV1"`, "") }, func(*VerifyInput) {}, "format"},
		"a text that is kept otherwise": {func(f *forgery) { f.edit(b64("hidden"), "\n"+b64("hidden")) }, func(*VerifyInput) {}, ""},
	} {
		f := is.forge(Identification)
		c.change(f)
		in := is.input(f)
		c.sent(&in)
		judge(t, name, Verify, in, c.check)
	}
}

func revoked(at time.Time) asn1.RawValue {
	der, err := asn1.MarshalWithParams(struct {
		At time.Time `asn1:"generalized"`
	}{at}, "tag:1")
	must(err)
	return asn1.RawValue{FullBytes: der}
}

// TestSignedInfoHasOneShape: the algorithms and references are part of it.
func TestSignedInfoHasOneShape(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	digest := strings.Repeat("A", 43) + "="
	good := infoHead + digest + infoMid + digest + infoEnd
	for name, info := range map[string]string{
		"exclusive canonicalisation": strings.Replace(good, c14n, "http://www.w3.org/2001/10/xml-exc-c14n#", 1),
		"SHA-1":                      strings.Replace(good, "2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#rsa-sha1", 1),
		"no transform":               strings.Replace(good, `<Transform Algorithm="`+c14n+`"></Transform>`, "", 1),
		"a third reference":          strings.Replace(good, "</SignedInfo>", `<Reference URI=""></Reference></SignedInfo>`, 1),
		"one reference":              infoHead + digest + infoEnd,
		"a digest of other letters":  strings.Replace(good, digest, "_"+digest[1:], 1),
		"a digest in DOS lines":      strings.Replace(good, digest, digest+"\r\n", 1),
	} {
		f := is.forge(Identification)
		f.info = info
		var why *VerifyError
		if _, err := Verify(is.input(f)); !errors.As(err, &why) || why.Check != "shape" {
			t.Errorf("%s: %v, want shape", name, err)
		}
	}
	f := is.forge(Identification)
	f.info = good
	var why *VerifyError
	if _, err := Verify(is.input(f)); !errors.As(err, &why) || why.Check != "dataDigest" {
		t.Errorf("a digest of nothing: %v, want dataDigest", err)
	}
}

// TestOptionalInputs: for archived evidence, what is not asked is not checked;
// each bound of time stands for itself.
func TestOptionalInputs(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	full := is.input(is.forge(Identification))
	least := VerifyInput{Signature: full.Signature, OCSP: full.OCSP, Roots: full.Roots}
	if v, err := Verify(least); err != nil || v.PersonalNumber != person {
		t.Errorf("Verify = %v", err)
	}
	for name, c := range map[string]struct {
		change func(*VerifyInput)
		check  string
	}{
		"start":             {func(in *VerifyInput) { in.Start = signedAt }, ""},
		"a later start":     {func(in *VerifyInput) { in.Start = signedAt.Add(time.Hour) }, "ocspTime"},
		"end":               {func(in *VerifyInput) { in.End = signedAt }, ""},
		"an earlier end":    {func(in *VerifyInput) { in.End = signedAt.Add(-time.Hour) }, "ocspTime"},
		"the policy":        {func(in *VerifyInput) { in.Policies = []string{"1.2.752.78.1.5", "1.2.3.4.25"} }, ""},
		"a pattern":         {func(in *VerifyInput) { in.Policies = []string{"1.2.3.4.*"} }, ""},
		"another pattern":   {func(in *VerifyInput) { in.Policies = []string{"1.2.752.78.*"} }, "policy"},
		"part of a number":  {func(in *VerifyInput) { in.Policies = []string{"1.2.3.4.2"} }, "policy"},
		"no roots":          {func(in *VerifyInput) { in.Roots = x509.NewCertPool() }, "chain"},
		"roots of somebody": {func(in *VerifyInput) { in.Roots = nil }, "chain"},
	} {
		in := least
		c.change(&in)
		_, err := Verify(in)
		var why *VerifyError
		if errors.As(err, &why) != (c.check != "") || c.check != "" && why.Check != c.check {
			t.Errorf("%s: %v, want %q", name, err, c.check)
		}
	}
	narrow := user(person)
	narrow.KeyUsage = x509.KeyUsageDigitalSignature
	for name, c := range map[string]struct {
		op     Operation
		change func(*forgery)
		check  string
	}{
		"a signature": {Signing, func(*forgery) {}, ""},
		"a signature by a certificate that identifies": {Signing, func(f *forgery) {
			f.user = certify(narrow, userKey(), is.customer)
			f.certs[0], f.certID = f.user.cert, idOf(f.user.cert, is.customer.cert)
		}, "keyUsage"},
		"two texts":              {Identification, func(f *forgery) { f.edit("<srvInfo>", "<usrVisibleData></usrVisibleData><srvInfo>") }, "visibleData"},
		"a text of another kind": {Identification, func(f *forgery) { f.edit(`visible="wysiwys"`, `visible="no"`) }, "format"},
		"an unknown function":    {"Payment", func(*forgery) {}, "funcId"},
		"an empty name":          {Identification, func(f *forgery) { f.edit(b64("cn=Example Shop 1,c=SE"), "") }, "rpName"},
		"no number":              {Identification, func(f *forgery) { is.issued(f, func(c *x509.Certificate) { c.Subject.SerialNumber = "" }) }, "personalNumber"},
		"two numbers": {Identification, func(f *forgery) {
			is.issued(f, func(c *x509.Certificate) {
				c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidSerialNumber, Value: "199001032391"}, {Type: oidSerialNumber, Value: person}}
			})
		}, "personalNumber"},
	} {
		f := is.forge(c.op)
		c.change(f)
		in := is.input(f)
		_, err := Verify(VerifyInput{Signature: in.Signature, OCSP: in.OCSP, Roots: in.Roots})
		var why *VerifyError
		if errors.As(err, &why) != (c.check != "") || c.check != "" && why.Check != c.check {
			t.Errorf("%s: %v, want %q", name, err, c.check)
		}
	}
}
