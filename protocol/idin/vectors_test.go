package idin_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/protocol/idin"
)

// testdata holds messages that libraries of the scheme have read, with
// throw-away keys (§21).

func vector(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func certificate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(vector(t, name))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// vectorMerchant is the merchant of the vectors.
func vectorMerchant(t testing.TB) *idin.Merchant {
	t.Helper()
	block, _ := pem.Decode(vector(t, "merchant.key"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	m := &idin.Merchant{ID: "1234000001", LegalID: "NL99ZZZ123456780000",
		DirectoryURL: "https://rs.example/idin", TransactionURL: "https://rs.example/idin", StatusURL: "https://rs.example/idin",
		Certificate: certificate(t, "merchant.pem"), Key: key.(crypto.Signer), Decryption: []crypto.Decrypter{key.(crypto.Decrypter)},
		Routing: []*x509.Certificate{certificate(t, "routing.pem")}}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

var (
	vectorNow  = time.Date(2030, 1, 2, 10, 0, 5, 0, time.UTC)
	vectorWant = idin.Expected{TransactionID: "1234000000000042", Reference: "Mref0000000001", Issuer: "BANKNL2Y", Service: idin.BIN | idin.Name}
)

// vectorTransaction is what request.xml asks.
func vectorTransaction() idin.Transaction {
	return idin.Transaction{Issuer: "BANKNL2Y", ReturnURL: "https://broker.example/idin/return?s=1&t=2", EntranceCode: "Ec0000000001",
		Reference: "Mref0000000001", Language: "nl", Service: idin.BIN | idin.Name, Now: time.Date(2030, 1, 2, 9, 59, 0, 0, time.UTC)}
}

func TestVectorRequest(t *testing.T) {
	t.Parallel()
	got := sent(t, vectorMerchant(t), func(c *idin.Client) error {
		_, err := c.Start(t.Context(), vectorTransaction())
		return err
	})
	if diff := cmp.Diff(string(vector(t, "request.xml")), string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestVectorSuccess(t *testing.T) {
	t.Parallel()
	s, err := vectorMerchant(t).ReadStatus(vector(t, "success.xml"), vectorWant, vectorNow)
	if err != nil {
		t.Fatal(err)
	}
	if s.State != idin.Success || s.Incomplete || s.Delivered != 20480 || s.Missing != 0 || len(s.Notes) > 0 ||
		fingerprint(s.Bank) != "737460FE1C6C4DACCEF3C106523DD77F90CF3441" ||
		!s.NotBefore.Equal(vectorNow.Add(-5*time.Second)) || !s.NotAfter.Equal(vectorNow.Add(25*time.Second)) {
		t.Errorf("%+v", *s)
	}
	p, err := s.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(idin.Person{BIN: "NLBANKvector0001", Initials: "VJ", LegalLastName: "Vri\xc3\xabs", Other: map[string]string{}},
		*p); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestVectorOpen(t *testing.T) {
	t.Parallel()
	s, err := vectorMerchant(t).ReadStatus(vector(t, "open.xml"), vectorWant, vectorNow)
	if err != nil || s.State != idin.Open || s.TransactionID != vectorWant.TransactionID || len(s.Notes) > 0 {
		t.Errorf("%v, %v", s, err)
	}
}

func TestVectorError(t *testing.T) {
	t.Parallel()
	m, raw := vectorMerchant(t), vector(t, "ap3000.xml")
	want := idin.Error{Code: "AP3000", Message: "constructed", Detail: "detail", Action: "retry", Consumer: "Try again later.",
		SAML: idin.SAMLStatus{First: "Requester", Second: "MismatchWithIDx", Message: "constructed"}}
	_, asStatus := m.ReadStatus(raw, vectorWant, vectorNow)
	_, asStarted := m.ReadStarted(raw, vectorNow)
	_, asDirectory := m.ReadDirectory(raw, vectorNow)
	for name, err := range map[string]error{"status": asStatus, "started": asStarted, "directory": asDirectory} {
		var got *idin.Error
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	if got, want := asStatus.Error(), "iDIN answers AP3000 SAML status Requester/MismatchWithIDx"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

// TestVectorRefusals alters the vectors, as they say they must be refused.
func TestVectorRefusals(t *testing.T) {
	t.Parallel()
	late := vectorNow.Add(31 * time.Second)
	swapped := func(raw []byte) []byte {
		raw = replace(`NotBefore="2030-01-02T10:00:00.000Z" NotOnOrAfter="2030-01-02T10:00:30.000Z"`,
			`NotBefore="2030-01-02T10:00:30.000Z" NotOnOrAfter="2030-01-02T10:00:00.000Z"`)(raw)
		return raw
	}
	moved := func(raw []byte) []byte {
		doc := parse(t, string(raw))
		a := doc.FindElement("//Assertion")
		a.Parent().RemoveChild(a)
		doc.Root().AddChild(a)
		out, _ := doc.WriteToBytes()
		return out
	}
	for name, v := range map[string]struct {
		alter  func([]byte) []byte
		keys   []crypto.Decrypter
		at     time.Time
		part   idin.Part
		reason idin.Reason
	}{
		"delivered altered":    {replace(">20480<", ">20481<"), nil, vectorNow, idin.Message, "digest"},
		"status altered":       {replace("<status>Success", "<status>Failure"), nil, vectorNow, idin.Message, "digest"},
		"timestamps swapped":   {swapped, nil, vectorNow, idin.Message, "digest"},
		"assertion moved":      {moved, nil, vectorNow, idin.Message, "digest"},
		"late":                 {nil, nil, late, idin.Assertion, idin.ReasonLate},
		"other decryption key": {nil, []crypto.Decrypter{stranger().key}, vectorNow, idin.Contents, idin.ReasonDecrypt},
	} {
		m, raw := vectorMerchant(t), vector(t, "success.xml")
		if v.alter != nil {
			raw = v.alter(raw)
		}
		if v.keys != nil {
			m.Decryption = v.keys
		}
		s, err := m.ReadStatus(raw, vectorWant, v.at)
		if err == nil {
			_, err = s.Open(t.Context(), nil)
		}
		var got *idin.RefusedError
		if !errors.As(err, &got) || got.Part != v.part || got.Reason != v.reason {
			t.Errorf("%s: %v, want %s of the %s", name, err, v.reason, v.part)
		}
	}
}
