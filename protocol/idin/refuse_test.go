package idin_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	_ "crypto/md5" // what must be refused
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/beevik/etree"

	"eidgate/protocol/idin"
)

// A trick is one way in which an answer is not what it seems. The answer is
// otherwise good, with good signatures unless the trick is about them.
type trick struct {
	name   string
	part   idin.Part
	reason string
	alter  func(*answer)
	raw    func([]byte) []byte  // of the finished message
	trust  func(*idin.Merchant) // settings of who reads
	now    time.Time            // of who reads
}

func (k trick) check(t *testing.T) {
	a, m, at := success(), merchant(), now
	if k.alter != nil {
		k.alter(&a)
	}
	if k.trust != nil {
		k.trust(m)
	}
	if !k.now.IsZero() {
		at = k.now
	}
	raw := a.raw(t)
	if k.raw != nil {
		raw = k.raw(raw)
	}
	s, err := m.ReadStatus(raw, want, at)
	if err == nil {
		_, err = s.Open(t.Context(), nil)
	}
	if k.reason == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var refused *idin.RefusedError
	if !errors.As(err, &refused) || refused.Part != k.part || string(refused.Reason) != k.reason {
		t.Fatalf("error %v, want %s of the %s", err, k.reason, k.part)
	}
	for _, secret := range []string{"NLBANK0001", "Vriës", "EVIL", want.TransactionID} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in the error: %v", secret, err)
		}
	}
}

// TestRefusals: every reason, for both ways to write the answer where the
// trick knows both.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, k := range slices.Concat(documents(), signatures(), wrappings(), messages(), assertions(), contents()) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			k.check(t)
		})
	}
}

func replace(from, to string) func([]byte) []byte {
	return func(raw []byte) []byte {
		out := bytes.Replace(raw, []byte(from), []byte(to), 1)
		if bytes.Equal(out, raw) {
			panic("the trick changes nothing: " + from)
		}
		return out
	}
}

// text replaces once, all everywhere.
func text(from, to string) func(string) string {
	return func(s string) string { return string(replace(from, to)([]byte(s))) }
}

func all(pairs ...string) func(string) string {
	return func(s string) string {
		out := strings.NewReplacer(pairs...).Replace(s)
		if out == s {
			panic("the trick changes nothing: " + pairs[0])
		}
		return out
	}
}

// documents are tricks of XML, which must be refused before a signature is
// looked at.
func documents() []trick {
	const m = idin.Message
	return []trick{
		{name: "nothing", part: m, reason: "malformed", raw: func([]byte) []byte { return nil }},
		{name: "no XML", part: m, reason: "malformed", raw: func([]byte) []byte { return []byte("<html>Bad gateway") }},
		{name: "cut off", part: m, reason: "malformed", raw: func(b []byte) []byte { return b[:len(b)/2] }},
		{name: "two roots", part: m, reason: "malformed", raw: func(b []byte) []byte { return append(b, "<x/>"...) }},
		{name: "ten megabytes of text", part: m, reason: "size", raw: replace("<status>", "<status>"+strings.Repeat("x", 10<<20))},
		{name: "ten megabytes of space at the end", part: m, reason: "size", raw: func(b []byte) []byte {
			return append(b, bytes.Repeat([]byte(" "), 10<<20)...)
		}},
		{name: "a million nested tags", part: m, reason: "size", raw: func([]byte) []byte { return bytes.Repeat([]byte("<a>"), 1e6) }},
		{name: "deep nesting", part: m, reason: "depth", raw: func([]byte) []byte { return bytes.Repeat([]byte("<a>"), 1000) }},
		{name: "entity expansion", part: m, reason: "doctype", raw: replace("<AcquirerStatusRes",
			`<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><AcquirerStatusRes`)},
		{name: "external entity", part: m, reason: "doctype", raw: replace("<AcquirerStatusRes",
			`<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><AcquirerStatusRes`)},
		{name: "undeclared entity", part: m, reason: "entity", raw: replace("<status>", "<status>&a;")},
		{name: "processing instruction", part: m, reason: "instruction", raw: replace("<status>", `<?x y?><status>`)},
		{name: "comment inside a value", part: m, reason: "comment", raw: replace("<status>Success", "<status>Succ<!-- -->ess")},
		{name: "CDATA inside a value", part: m, reason: "cdata", raw: replace("<status>Success", "<status><![CDATA[Success]]>")},
		{name: "UTF-16", part: m, reason: "encoding", raw: func(b []byte) []byte {
			out := []byte{0xff, 0xfe}
			for _, u := range utf16.Encode([]rune(string(b))) {
				out = append(out, byte(u), byte(u>>8))
			}
			return out
		}},
		{name: "UTF-7 declared", part: m, reason: "encoding", raw: replace("UTF-8", "UTF-7")},
		{name: "NUL", part: m, reason: "malformed", raw: replace("<status>", "<status>\x00")},
		{name: "id twice", part: m, reason: "ids", raw: replace("<AcquirerStatusRes", `<AcquirerStatusRes Id="`+assertionID+`"`)},
	}
}

// outer changes the message's own signature, which is the last one.
func outer(change func(sig *etree.Element)) func([]byte) []byte {
	return func(raw []byte) []byte {
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(raw); err != nil {
			panic(err)
		}
		change(doc.Root().SelectElement("Signature"))
		out, err := doc.WriteToBytes()
		if err != nil {
			panic(err)
		}
		return out
	}
}

// resigned changes SignedInfo of the message and signs it again, by sum.
func resigned(change func(info *etree.Element), sum func(canonical []byte) []byte) func([]byte) []byte {
	return outer(func(sig *etree.Element) {
		info := sig.SelectElement("SignedInfo")
		change(info)
		sig.SelectElement("SignatureValue").SetText(base64.StdEncoding.EncodeToString(sum(c14n(noTest{}, info, ""))))
	})
}

func algorithm(path, uri string) func(*etree.Element) {
	return func(info *etree.Element) { info.FindElement(path).CreateAttr("Algorithm", uri) }
}

// by signs octets with a key and a hash.
func by(key *rsa.PrivateKey, h crypto.Hash) func([]byte) []byte {
	return func(octets []byte) []byte {
		sum := h.New()
		sum.Write(octets)
		value, err := rsa.SignPKCS1v15(rand.Reader, key, h, sum.Sum(nil))
		if err != nil {
			panic(err)
		}
		return value
	}
}

// signatures are tricks with the signature of the message (§11.1).
func signatures() []trick {
	const m = idin.Message
	sha256By := by(rs().key, crypto.SHA256)
	hmacBy := func(octets []byte) []byte {
		der, _ := x509.MarshalPKIXPublicKey(&rs().key.PublicKey)
		mac := hmac.New(sha256.New, der)
		mac.Write(octets)
		return mac.Sum(nil)
	}
	return []trick{
		{name: "no signature", part: m, reason: "no_signature", raw: outer(func(sig *etree.Element) { sig.Parent().RemoveChild(sig) })},
		{name: "two signatures", part: m, reason: "signatures", raw: outer(func(sig *etree.Element) { sig.Parent().AddChild(sig.Copy()) })},
		{name: "three signatures", part: m, reason: "signatures",
			raw: outer(func(sig *etree.Element) { sig.Parent().SelectElement("Acquirer").AddChild(sig.Copy()) })},
		{name: "value altered", part: m, reason: "digest", raw: replace(">20544<", ">20545<")},
		{name: "status altered", part: m, reason: "digest", raw: replace(">Success<", ">Open<")},
		{name: "attribute added", part: m, reason: "digest", raw: replace("<AcquirerStatusRes ", `<AcquirerStatusRes x="y" `)},
		{name: "signature altered", part: m, reason: "signature", raw: outer(func(sig *etree.Element) {
			sig.SelectElement("SignatureValue").SetText(base64.StdEncoding.EncodeToString(make([]byte, 256)))
		})},
		{name: "wrong reference", part: m, reason: "reference",
			raw: resigned(func(info *etree.Element) { info.SelectElement("Reference").CreateAttr("URI", "#"+assertionID) }, sha256By)},
		{name: "two references", part: m, reason: "reference",
			raw: resigned(func(info *etree.Element) { info.AddChild(info.SelectElement("Reference").Copy()) }, sha256By)},
		{name: "second SignedInfo", part: m, reason: "structure", raw: outer(func(sig *etree.Element) {
			sig.InsertChildAt(1, sig.SelectElement("SignedInfo").Copy())
		})},
		{name: "SHA-1 signature", part: m, reason: "algorithm", raw: resigned(algorithm("SignatureMethod", ds+"rsa-sha1"), by(rs().key, crypto.SHA1))},
		{name: "SHA-1 digest", part: m, reason: "algorithm", raw: resigned(algorithm("Reference/DigestMethod", ds+"sha1"), sha256By)},
		{name: "MD5 signature", part: m, reason: "algorithm",
			raw: resigned(algorithm("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"), by(rs().key, crypto.MD5))},
		{name: "HMAC with the public key", part: m, reason: "algorithm",
			raw: resigned(algorithm("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"), hmacBy)},
		{name: "C14N with comments", part: m, reason: "transform",
			raw: resigned(algorithm("Reference/Transforms/Transform[2]", excC14N+"WithComments"), sha256By)},
		{name: "XSLT transform", part: m, reason: "transform",
			raw: resigned(algorithm("Reference/Transforms/Transform[1]", "http://www.w3.org/TR/1999/REC-xslt-19991116"), sha256By)},
		{name: "XPath transform", part: m, reason: "transform",
			raw: resigned(algorithm("Reference/Transforms/Transform[1]", "http://www.w3.org/TR/1999/REC-xpath-19991116"), sha256By)},
		{name: "comment in DigestValue", part: m, reason: "comment", raw: replace("<ds:DigestValue>", "<ds:DigestValue><!-- -->")},
		{name: "foreign certificate", part: m, reason: "key", alter: func(a *answer) { a.message, a.keyName = stranger(), fingerprint(stranger().cert) }},
		{name: "foreign key under our name", part: m, reason: "signature", alter: func(a *answer) { a.message = stranger() }},
		{name: "foreign certificate enclosed", part: m, reason: "key",
			alter: func(a *answer) { a.message = stranger() }, raw: outer(func(sig *etree.Element) {
				info := sig.SelectElement("KeyInfo")
				info.RemoveChildAt(0)
				info.CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").SetText(base64.StdEncoding.EncodeToString(stranger().cert.Raw))
			})},
		{name: "no KeyInfo", part: m, reason: "key", raw: outer(func(sig *etree.Element) { sig.RemoveChild(sig.SelectElement("KeyInfo")) })},
		{name: "expired certificate", part: m, reason: "expired", alter: func(a *answer) { a.keyName = fingerprint(expired().cert) },
			trust: func(m *idin.Merchant) { m.Routing = []*x509.Certificate{expired().cert} }},
		{name: "alternate certificate", alter: func(a *answer) { a.message, a.keyName = stranger(), strings.ToLower(fingerprint(stranger().cert)) },
			trust: func(m *idin.Merchant) { m.Routing = append(m.Routing, stranger().cert) }},
	}
}

// expired is the routing service with a certificate that ended a year ago.
var expired = sync.OnceValue(func() party { return certify(rs().key, "routing service", year2028, year2029) })

// evil is a copy of the assertion with another person in it, and no signature.
func evil(original *etree.Element, id string) *etree.Element {
	e := original.Copy()
	e.CreateAttr("ID", id)
	e.SelectElement("Issuer").SetText("EVILNL2A")
	if sig := e.SelectElement("Signature"); sig != nil {
		e.RemoveChild(sig)
	}
	return e
}

// wrap rearranges the assertion after the bank has signed it, and before the
// message is signed: a routing service that has been taken over.
func wrap(change func(response, original, sig *etree.Element)) func(*answer) {
	return func(a *answer) {
		a.between = func(doc *etree.Document) {
			original := doc.FindElement("//Assertion")
			change(original.Parent(), original, original.SelectElement("Signature"))
		}
	}
}

// whole wraps the finished message into a forged one, whose signature is the
// original one.
func whole(change func(forged, original, sig *etree.Element)) func([]byte) []byte {
	return func(raw []byte) []byte {
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(raw); err != nil {
			panic(err)
		}
		original := doc.Root()
		forged := original.Copy()
		forged.FindElement("//Assertion/Issuer").SetText("EVILNL2A")
		sig := forged.SelectElement("Signature")
		original.RemoveChild(original.SelectElement("Signature"))
		change(forged, original, sig)
		doc.SetRoot(forged)
		out, err := doc.WriteToBytes()
		if err != nil {
			panic(err)
		}
		return out
	}
}

// wrappings are the known ways to have one thing verified and another one read:
// XSW1 and XSW2 with the message, all eight with the assertion.
func wrappings() []trick {
	const m = idin.Message
	object := func(sig, content *etree.Element) { sig.CreateElement("ds:Object").AddChild(content) }
	anonymous := func(original *etree.Element) *etree.Element { // ids may not stand twice
		original.RemoveAttr("ID")
		for _, el := range original.FindElements("//*[@ID]") {
			el.RemoveAttr("ID")
		}
		return original
	}
	return []trick{
		{name: "message, XSW1: original inside the signature", part: m, reason: "ids",
			raw: whole(func(_, original, sig *etree.Element) {
				sig.AddChild(original)
			})},
		{name: "message, XSW1 without ids", part: m, reason: "signatures",
			raw: whole(func(_, original, sig *etree.Element) {
				sig.AddChild(anonymous(original))
			})},
		{name: "message, XSW2: original before the signature", part: m, reason: "ids", raw: whole(func(forged, original, sig *etree.Element) {
			forged.InsertChildAt(sig.Index(), original)
		})},
		{name: "message, original in an Object", part: m, reason: "signatures", raw: whole(func(_, original, sig *etree.Element) {
			object(sig, anonymous(original))
		})},
		{name: "message, forged one around", part: m, reason: "no_signature", raw: func(raw []byte) []byte {
			_, body, _ := bytes.Cut(raw, []byte("?>"))
			return []byte(`<AcquirerStatusRes xmlns="` + iDX + `">` + string(body) + `</AcquirerStatusRes>`)
		}},
		{name: "assertion, XSW1: original response inside the signature", part: m, reason: "assertion",
			alter: wrap(func(response, original, sig *etree.Element) {
				sig.AddChild(anonymous(evil(original, "evil")))
			})},
		{name: "assertion, XSW2: original response before the signature", part: m, reason: "assertion",
			alter: wrap(func(response, original, sig *etree.Element) {
				original.InsertChildAt(sig.Index(), evil(original, "evil"))
			})},
		{name: "assertion, XSW3: evil one before", part: m, reason: "assertion", alter: wrap(func(response, original, _ *etree.Element) {
			response.InsertChildAt(original.Index(), evil(original, "evil"))
		})},
		{name: "assertion, XSW3 with one id", part: m, reason: "ids", alter: wrap(func(response, original, _ *etree.Element) {
			response.InsertChildAt(original.Index(), evil(original, assertionID))
		})},
		{name: "assertion, evil one after", part: m, reason: "assertion",
			alter: wrap(func(response, original, _ *etree.Element) {
				response.AddChild(evil(original, "evil"))
			})},
		{name: "assertion, XSW4: evil one around", part: m, reason: "assertion", alter: wrap(func(response, original, _ *etree.Element) {
			e := evil(original, "evil")
			response.RemoveChild(original)
			e.AddChild(original)
			response.AddChild(e)
		})},
		{name: "assertion, XSW5: signature in the evil one, original at the end", part: m, reason: "assertion",
			alter: wrap(func(response, original, sig *etree.Element) {
				e := evil(original, "evil")
				response.InsertChildAt(original.Index(), e)
				e.InsertChildAt(1, sig)
			})},
		{name: "assertion, XSW6: original inside the evil one's signature", part: m, reason: "assertion",
			alter: wrap(func(response, original, sig *etree.Element) {
				e := evil(original, "evil")
				response.AddChild(e)
				e.InsertChildAt(1, sig)
				sig.AddChild(original)
			})},
		{name: "assertion, XSW7: evil one in Extensions", part: m, reason: "assertion", alter: wrap(func(response, original, _ *etree.Element) {
			extensions := etree.NewElement("samlp:Extensions")
			extensions.AddChild(evil(original, "evil"))
			response.InsertChildAt(original.Index(), extensions)
		})},
		{name: "assertion, XSW8: original in an Object of the evil one's signature", part: m, reason: "assertion",
			alter: wrap(func(response, original, sig *etree.Element) {
				e := evil(original, "evil")
				response.AddChild(e)
				e.InsertChildAt(1, sig)
				object(sig, original)
			})},
		{name: "assertion, evil one takes the signature", part: idin.Assertion, reason: "reference",
			alter: wrap(func(response, original, sig *etree.Element) {
				e := evil(original, "evil")
				response.RemoveChild(original)
				response.AddChild(e)
				e.InsertChildAt(1, sig)
			})},
		{name: "assertion, signed one moved elsewhere", part: m, reason: "assertion", alter: wrap(func(response, original, _ *etree.Element) {
			response.RemoveChild(original)
			response.CreateElement("samlp:Extensions").AddChild(original)
		})},
		{name: "assertion, signature beside", part: idin.Assertion, reason: "no_signature", alter: wrap(func(response, _, sig *etree.Element) {
			sig.Parent().RemoveChild(sig)
			response.AddChild(sig)
		})},
		{name: "assertion, evil one encrypted beside", part: m, reason: "assertion", alter: wrap(func(response, _, _ *etree.Element) {
			response.CreateElement("saml:EncryptedAssertion").CreateAttr("xmlns:saml", saml)
		})},
	}
}

// messages are good signatures on a message that is not the one asked for.
func messages() []trick {
	const m = idin.Message
	inAll := func(pairs ...string) func(*answer) { return func(a *answer) { a.inAll = all(pairs...) } }
	response := func(pairs ...string) func(*answer) { return func(a *answer) { a.container = all(pairs...) } }
	return []trick{
		{name: "another message", part: m, reason: "root", raw: func([]byte) []byte { return signed(noTest{}, "DirectoryRes", created()) }},
		{name: "another namespace", part: m, reason: "root", alter: inAll(iDX, "http://www.idealdesk.com/ideal/messages/mer-acq/3.3.1")},
		{name: "another version", part: m, reason: "version", alter: inAll(`version="1.0.0"`, `version="2.0.0"`)},
		{name: "old", part: m, reason: "stale", alter: func(a *answer) { a.created = now.Add(-5*time.Minute - time.Millisecond) }},
		{name: "from the future", part: m, reason: "stale", alter: func(a *answer) { a.created = now.Add(5*time.Minute + time.Millisecond) }},
		{name: "time without zone", part: m, reason: "time", alter: inAll(stamp(now)+"</createDateTimestamp>",
			"2030-01-02T10:00:05</createDateTimestamp>")},
		{name: "time that is none", part: m, reason: "time", alter: inAll(stamp(now.Add(-5*time.Second))+"</statusDateTimestamp>",
			"yesterday</statusDateTimestamp>")},
		{name: "another acquirer", part: m, reason: "acquirer", alter: func(a *answer) { a.acquirer = "0030" }},
		{name: "another transaction", part: m, reason: "transaction", alter: func(a *answer) { a.transaction = "1234000000000043" }},
		{name: "transaction with a suffix", part: m, reason: "transaction", alter: func(a *answer) { a.transaction += " " }},
		{name: "transaction twice", part: m, reason: "shape", alter: inAll("<status>", "<transactionID>1234000000000042</transactionID><status>")},
		{name: "no transaction", part: m, reason: "shape", alter: inAll("<Transaction>", "<Transakcja>", "</Transaction>", "</Transakcja>")},
		{name: "elements inside a value", part: m, reason: "shape", alter: inAll("Success</status>", "Succ<x/>ess</status>")},
		{name: "unknown state", part: m, reason: "status", alter: func(a *answer) { a.state, a.container = "Ready", keep }},
		{name: "open with an assertion", part: m, reason: "assertion", alter: func(a *answer) { a.state, a.container = "Open", keep }},
		{name: "cancelled with an assertion", part: m, reason: "assertion", alter: func(a *answer) { a.state, a.container = "Cancelled", keep }},
		{name: "wrong InResponseTo", part: m, reason: "request", alter: func(a *answer) { a.reference = "Mref0000000002" }},
		{name: "no InResponseTo", part: m, reason: "shape", alter: response(`InResponseTo="Mref0000000001" `, "")},
		{name: "two responses", part: m, reason: "shape", alter: func(a *answer) {
			a.container = func(r string) string { return r + `<samlp:Response xmlns:samlp="` + samlp + `"/>` }
		}},
		{name: "a response and more", part: m, reason: "shape", alter: func(a *answer) { a.container = func(r string) string { return r + `<x/>` } }},
		{name: "two containers", part: m, reason: "shape", alter: inAll("</container>", "</container><container/>")},
		{name: "second level contradicts", part: m, reason: "status", alter: func(a *answer) { a.second = "AuthnFailed" }},
		{name: "no SAML status", part: m, reason: "shape", alter: response("samlp:Status>", "samlp:State>")},
	}
}

// keep leaves the response as it is: also beside a state that has none.
func keep(response string) string { return response }

// assertions are tricks with what the bank signed, inside a good message.
func assertions() []trick {
	const p = idin.Assertion
	inside := func(pairs ...string) func(*answer) { return func(a *answer) { a.inAssertion = all(pairs...) } }
	after := func(change func(assertion *etree.Element)) func(*answer) {
		return func(a *answer) { a.between = func(doc *etree.Document) { change(doc.FindElement("//Assertion")) } }
	}
	issuerIs := func(bic string) func(*answer) { return func(a *answer) { a.issuer, a.authority = bic, bic } }
	window := func(from, until time.Duration) func(*answer) {
		return func(a *answer) { a.from, a.until = now.Add(from), now.Add(until) }
	}
	subject := func(attr string) func(*answer) {
		return inside("</saml:EncryptedID>", "</saml:EncryptedID><saml:SubjectConfirmation><saml:SubjectConfirmationData "+attr+
			"/></saml:SubjectConfirmation>")
	}
	return []trick{
		{name: "assertion altered", part: p, reason: "digest", alter: after(func(a *etree.Element) { a.SelectElement("Issuer").SetText("EVILNL2A") })},
		{name: "assertion without signature", part: p, reason: "no_signature",
			alter: after(func(a *etree.Element) { a.RemoveChild(a.SelectElement("Signature")) })},
		{name: "assertion signed twice", part: idin.Message, reason: "signatures",
			alter: after(func(a *etree.Element) { a.AddChild(a.SelectElement("Signature").Copy()) })},
		{name: "assertion signed for the whole document", part: p, reason: "reference", alter: after(func(a *etree.Element) {
			info := a.FindElement("Signature/SignedInfo")
			info.SelectElement("Reference").CreateAttr("URI", "")
		})},
		{name: "assertion with two certificates", part: p, reason: "key", alter: after(func(a *etree.Element) {
			x := a.FindElement("Signature/KeyInfo/X509Data")
			x.AddChild(x.ChildElements()[0].Copy())
		})},
		{name: "assertion with KeyName", part: p, reason: "key", alter: after(func(a *etree.Element) {
			x := a.FindElement("Signature/KeyInfo")
			x.RemoveChild(x.SelectElement("X509Data"))
			x.CreateElement("ds:KeyName").SetText(fingerprint(vs().cert))
		})},
		{name: "assertion by a key that is not pinned", part: p, reason: "pin", trust: pins(stranger())},
		{name: "assertion by a pinned key", trust: pins(stranger(), vs())},
		{name: "assertion by a stranger, no pin for this bank", alter: func(a *answer) { a.assertion = stranger() },
			trust: func(m *idin.Merchant) { m.Pins = map[string][]string{"CURRNL2A": {strings.Repeat("00", 32)}} }},
		{name: "assertion with an expired certificate", part: p, reason: "expired", alter: func(a *answer) {
			a.assertion = certify(vs().key, "bank", year2028, year2029)
		},
			trust: func(m *idin.Merchant) { m.IssuerDates = true }},
		{name: "assertion with an expired certificate, dates not configured", alter: func(a *answer) {
			a.assertion = certify(vs().key, "bank", year2028, year2029)
		}},
		{name: "another bank", part: p, reason: "issuer", alter: issuerIs("CURRNL2A")},
		{name: "another bank that may", alter: issuerIs("CURRNL2A"),
			trust: func(m *idin.Merchant) { m.Aliases = map[string][]string{want.Issuer: {"CURRNL2A"}} }},
		{name: "another bank that may for another", part: p, reason: "issuer", alter: issuerIs("CURRNL2A"),
			trust: func(m *idin.Merchant) { m.Aliases = map[string][]string{"CURRNL2A": {want.Issuer}} }},
		{name: "no bank", part: p, reason: "shape", alter: inside("<saml:Issuer>BANKNL2Y</saml:Issuer>", "<saml:Emitent/>")},

		{name: "early by the tolerance", alter: window(5*time.Second, time.Minute)},
		{name: "early by more", part: p, reason: "early", alter: window(5*time.Second+time.Millisecond, time.Minute)},
		{name: "late by less than the tolerance", alter: window(-time.Minute, -5*time.Second+time.Millisecond)},
		{name: "late by the tolerance", part: p, reason: "late", alter: window(-time.Minute, -5*time.Second)},
		{name: "late, larger tolerance", alter: window(-time.Minute, -5*time.Second), trust: func(m *idin.Merchant) { m.Skew = time.Minute }},
		{name: "stored too long", part: p, reason: "late", now: now.Add(30 * time.Second)},
		{name: "stored just long enough", now: now.Add(30*time.Second - time.Millisecond)},
		{name: "late in the subject", part: p, reason: "late", alter: subject(`NotOnOrAfter="2030-01-02T09:59:00.000Z"`)},
		{name: "early in the subject", part: p, reason: "early", alter: subject(`NotBefore="2030-01-02T10:01:00.000Z"`)},
		{name: "late session", part: p, reason: "late", alter: inside("<saml:AuthnStatement ",
			`<saml:AuthnStatement SessionNotOnOrAfter="2030-01-02T09:59:00.000Z" `)},
		{name: "time without zone in the subject", part: p, reason: "time", alter: subject(`NotOnOrAfter="2030-01-02T12:00:00"`)},
		{name: "timestamps swapped", part: p, reason: "early", alter: window(25*time.Second, -5*time.Second)},
		{name: "no limits", part: p, reason: "shape", alter: inside("NotOnOrAfter=", "NotAfter=")},
		{name: "no conditions", part: p, reason: "shape", alter: inside("saml:Conditions", "saml:Advice")},

		{name: "wrong audience", part: p, reason: "audience", alter: func(a *answer) { a.audience = "NL00ZZZ876543210000" }},
		{name: "audience with a suffix", part: p, reason: "audience", alter: func(a *answer) { a.audience += " " }},
		{name: "wrong audience, none configured", alter: func(a *answer) { a.audience = "NL00ZZZ876543210000" },
			trust: func(m *idin.Merchant) { m.LegalID = "" }},
		{name: "no audience", part: p, reason: "audience", alter: inside("saml:AudienceRestriction", "saml:ProxyRestriction")},
		{name: "audience among others", alter: inside("<saml:Audience>", "<saml:Audience>NL00ZZZ876543210000</saml:Audience><saml:Audience>")},
		{name: "a second restriction to others", part: p, reason: "audience", alter: inside("</saml:AudienceRestriction>",
			"</saml:AudienceRestriction><saml:AudienceRestriction><saml:Audience>NL00ZZZ876543210000</saml:Audience></saml:AudienceRestriction>")},

		{name: "lower level", part: p, reason: "level", alter: func(a *answer) { a.level = "nl:bvn:bankid:1.0:loa2" }},
		{name: "delivered is a word", part: p, reason: "delivered", alter: func(a *answer) { a.delivered = "all" }},
		{name: "delivered is too high", part: p, reason: "delivered", alter: func(a *answer) { a.delivered = "65536" }},
		{name: "delivered is negative", part: p, reason: "delivered", alter: func(a *answer) { a.delivered = "-1" }},
		{name: "delivered is missing", part: p, reason: "delivered", alter: func(a *answer) {
			a.statement = text("bankid.deliveredserviceid", "bankid.other")
		}},
		{name: "delivered is there twice", part: p, reason: "delivered", alter: func(a *answer) {
			a.statement = func(s string) string {
				_, rest, _ := strings.Cut(s, "<saml:EncryptedAttribute>")
				return strings.TrimSuffix(s, "<saml:EncryptedAttribute>"+rest) + s
			}
		}},
		{name: "strange element among the attributes", part: p, reason: "shape",
			alter: func(a *answer) { a.statement = func(s string) string { return s + "<saml:Other/>" } }},
		{name: "foreign element among the attributes", part: p, reason: "shape",
			alter: func(a *answer) { a.statement = func(s string) string { return s + "<other/>" } }},
		{name: "more to decrypt than there are attributes", part: p, reason: "shape", alter: func(a *answer) {
			a.statement = func(s string) string { return s + strings.Repeat("<saml:EncryptedAttribute/>", 62) }
		}},
		{name: "person in clear", part: p, reason: "shape", alter: inside("saml:EncryptedID>", "saml:NameID>")},
	}
}

func pins(parties ...party) func(*idin.Merchant) {
	return func(m *idin.Merchant) {
		m.Pins = map[string][]string{}
		for _, p := range parties {
			sum := sha256.Sum256(p.cert.RawSubjectPublicKeyInfo)
			m.Pins[want.Issuer] = append(m.Pins[want.Issuer], hex.EncodeToString(sum[:]))
		}
	}
}

// contents are tricks with what is encrypted. Everything that decrypts wrongly
// has one reason: to tell more would help who tries.
func contents() []trick {
	const p = idin.Contents
	cipherText := func(change func([]byte) []byte) func(*answer) {
		return func(a *answer) {
			a.statement = func(s string) string {
				i := strings.LastIndex(s, "<xenc:CipherValue>") + len("<xenc:CipherValue>")
				j := i + strings.Index(s[i:], "<")
				octets, err := base64.StdEncoding.DecodeString(s[i:j])
				if err != nil {
					panic(err)
				}
				return s[:i] + base64.StdEncoding.EncodeToString(change(octets)) + s[j:]
			}
		}
	}
	with := func(attributes ...[2]string) func(*answer) {
		return func(a *answer) { a.attributes = append(a.attributes, attributes...) }
	}
	plain := func(pairs ...string) func(*answer) {
		return func(a *answer) {
			change, to := all(pairs...), a.sealedFor
			a.seal = func(s string) string {
				if strings.Contains(s, pairs[0]) {
					s = change(s)
				}
				return encrypt(noTest{}, s, to)
			}
		}
	}
	return []trick{
		{name: "ciphertext cut off in a block", part: p, reason: "decrypt", alter: cipherText(func(b []byte) []byte { return b[:len(b)-1] })},
		{name: "ciphertext cut off after a block", part: p, reason: "decrypt", alter: cipherText(func(b []byte) []byte { return b[:len(b)-16] })},
		{name: "ciphertext without a block", part: p, reason: "decrypt", alter: cipherText(func(b []byte) []byte { return b[:16] })},
		{name: "ciphertext empty", part: p, reason: "structure", alter: cipherText(func([]byte) []byte { return nil })},
		{name: "ciphertext altered", part: p, reason: "decrypt", alter: cipherText(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })},
		{name: "wrong recipient key", part: p, reason: "decrypt", alter: func(a *answer) { a.sealedFor = &stranger().key.PublicKey }},
		{name: "previous recipient key", alter: func(a *answer) { a.sealedFor = &stranger().key.PublicKey },
			trust: func(m *idin.Merchant) { m.Decryption = append(m.Decryption, stranger().key) }},
		{name: "RSA1_5", part: p, reason: "algorithm", alter: func(a *answer) { a.statement = text("rsa-oaep-mgf1p", "rsa-1_5") }},
		{name: "3DES", part: p, reason: "algorithm", alter: func(a *answer) { a.statement = text("aes256-cbc", "tripledes-cbc") }},
		{name: "no key", part: p, reason: "structure", alter: func(a *answer) { a.statement = all("xenc:EncryptedKey", "xenc:OtherKey") }},

		{name: "transient number for a BIN", part: p, reason: "subject", alter: func(a *answer) { a.nameID = "TRANS0123456789" }},
		{name: "transient number in small letters for a BIN", part: p, reason: "subject", alter: func(a *answer) { a.nameID = "transX" }},
		{name: "empty number", part: p, reason: "subject", alter: func(a *answer) { a.nameID = "" }},
		{name: "number in another element", part: p, reason: "subject", alter: plain("saml:NameID", "saml:Identity")},
		{name: "number in another namespace", part: p, reason: "subject", alter: plain(`<saml:NameID xmlns:saml="`+saml,
			`<saml:NameID xmlns:saml="`+samlp)},
		{name: "number with elements", part: p, reason: "subject", alter: plain("NLBANK0001", "NLBANK<b/>0001")},
		{name: "DTD inside", part: p, reason: "decrypt", alter: plain("<saml:NameID", "<!DOCTYPE x><saml:NameID")},
		{name: "comment inside", part: p, reason: "decrypt", alter: plain("NLBANK0001", "NLBANK<!-- -->0001")},

		{name: "attribute without value", part: p, reason: "attribute", alter: plain("<saml:AttributeValue>VJ</saml:AttributeValue>", "")},
		{name: "attribute with two values", part: p, reason: "attribute", alter: plain("</saml:AttributeValue>",
			"</saml:AttributeValue><saml:AttributeValue>x</saml:AttributeValue>")},
		{name: "attribute without name", part: p, reason: "attribute", alter: plain(`Name="`, `Title="`)},
		{name: "attribute in another element", part: p, reason: "attribute", alter: plain("saml:Attribute ", "saml:Claim ", "saml:Attribute>",
			"saml:Claim>")},
		{name: "attribute twice", part: p, reason: "duplicate", alter: with([2]string{"initials", "XX"})},
		{name: "attribute twice, once in clear", part: p, reason: "duplicate", alter: func(a *answer) {
			a.statement = func(s string) string {
				return s + strings.Replace(attribute("initials", "XX", ""), ` xmlns:saml="`+saml+`"`, "", 1)
			}
		}},
		{name: "both spellings of 18+", part: p, reason: "duplicate", alter: with([2]string{"18orolder", "false"})},
		{name: "unknown attribute twice", part: p, reason: "duplicate", alter: with([2]string{"shoesize", "43"}, [2]string{"shoesize", "44"})},
		{name: "unknown attribute", alter: with([2]string{"shoesize", "43"})},
	}
}
