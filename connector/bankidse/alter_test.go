package bankidse_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	protocol "eidgate/protocol/bankidse"
	"eidgate/sandbox"
)

// TestEveryAlterationIsRefused takes a valid signature and changes one thing
// at a time: the answer names the duty that the change offends.
func TestEveryAlterationIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	res := s.tick(t, s.begin(t))
	if res.Confirmed == nil {
		t.Fatalf("step = %#v", res.Step)
	}
	sig, resp := string(res.Evidence[0].Data), string(res.Evidence[1].Data)
	raw, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(raw)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.SignatureRoot()))
	visible := base64.StdEncoding.EncodeToString([]byte("I identify myself to Demo shop."))
	good := protocol.VerifyInput{Signature: sig, OCSP: resp, Roots: pool, Operation: protocol.Identification, Visible: visible, Sent: true,
		PersonalNumber: "199001012385", Start: s.clock.Now().Add(-time.Minute), End: s.clock.Now()}
	v, err := protocol.Verify(good)
	if err != nil || v.PersonalNumber != "199001012385" || v.Kind != "mobile" || string(v.Visible) != "I identify myself to Demo shop." {
		t.Fatalf("Verify = %+v, %v", v, err)
	}
	edit := func(old, with string) func(*protocol.VerifyInput) {
		return func(in *protocol.VerifyInput) {
			changed := strings.Replace(doc, old, with, 1)
			if changed == doc {
				t.Fatalf("nothing to change: %q", old)
			}
			in.Signature = base64.StdEncoding.EncodeToString([]byte(changed))
		}
	}
	other := newService(t, sandbox.Approve)
	foreign := x509.NewCertPool()
	foreign.AppendCertsFromPEM([]byte(other.SignatureRoot()))
	for name, c := range map[string]struct {
		change func(*protocol.VerifyInput)
		check  string
	}{
		"not base64":           {func(in *protocol.VerifyInput) { in.Signature = "<" }, "encoding"},
		"not XML":              {func(in *protocol.VerifyInput) { in.Signature = "aGVsbG8=" }, "shape"},
		"a comment":            {edit("<Object>", "<!--x--><Object>"), "shape"},
		"a document type":      {edit("<Signature ", "<!DOCTYPE x><Signature "), "shape"},
		"another algorithm":    {edit("xmldsig-more#rsa-sha256", "xmldsig#rsa-sha1"), "shape"},
		"another reference":    {edit(`URI="#bidKeyInfo"`, `URI="#other"`), "shape"},
		"a second object":      {edit("</Object>", "</Object><Object></Object>"), "shape"},
		"something behind":     {edit("</Signature>", "</Signature><x></x>"), "shape"},
		"an entity":            {edit("<fsib>0", "<fsib>&#48;"), "shape"},
		"a second id":          {edit("<clientInfo>", `<clientInfo Id="bidSignedData">`), "shape"},
		"another function":     {edit("<funcId>Identification", "<funcId>Signing"), "dataDigest"},
		"another certificate":  {edit("<X509Certificate>MII", "<X509Certificate>MIJ"), "keyInfoDigest"},
		"another value":        {edit("<SignatureValue>", "<SignatureValue>AAAA"), "signature"},
		"another root":         {func(in *protocol.VerifyInput) { in.Roots = foreign }, "chain"},
		"no OCSP":              {func(in *protocol.VerifyInput) { in.OCSP = "AAAA" }, "ocspSignature"},
		"OCSP not base64":      {func(in *protocol.VerifyInput) { in.OCSP = "<" }, "ocspEncoding"},
		"wrapped differently":  {func(in *protocol.VerifyInput) { in.Signature = in.Signature[:76] + "\n" + in.Signature[76:] }, "ocspNonce"},
		"outside of the order": {func(in *protocol.VerifyInput) { in.Start, in.End = in.End.Add(time.Hour), in.End.Add(2*time.Hour) }, "ocspTime"},
		"another operation":    {func(in *protocol.VerifyInput) { in.Operation = protocol.Signing }, "funcId"},
		"another person":       {func(in *protocol.VerifyInput) { in.PersonalNumber = "199001032391" }, "personalNumber"},
		"another text":         {func(in *protocol.VerifyInput) { in.Visible = "QUFB" }, "visibleData"},
		"no text":              {func(in *protocol.VerifyInput) { in.Visible = "" }, "visibleData"},
		"a hidden text":        {func(in *protocol.VerifyInput) { in.NonVisible = "QUFB" }, "nonVisibleData"},
		"another format":       {func(in *protocol.VerifyInput) { in.Format = protocol.Markdown }, "format"},
		"another party":        {func(in *protocol.VerifyInput) { in.RPName = "cn=Somebody" }, "rpName"},
		"another kind":         {func(in *protocol.VerifyInput) { in.Policies = []string{"1.2.3.4.10"} }, "policy"},
	} {
		in := good
		c.change(&in)
		_, err := protocol.Verify(in)
		var why *protocol.VerifyError
		if !errors.As(err, &why) || why.Check != c.check {
			t.Errorf("%s: %v, want %s", name, err, c.check)
		}
		if err != nil && strings.Contains(err.Error(), "1990") {
			t.Errorf("%s: the error tells about the person", name)
		}
	}
}
