package idin_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"eidgate/internal/xmldsig"
	"eidgate/protocol/idin"
)

// Vectors are messages that libraries of the scheme have read, with throw-away
// keys (§21).

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
	return &idin.Merchant{ID: "1234000001", LegalID: "NL99ZZZ123456780000", AllowHTTP: true,
		DirectoryURL: "https://rs.example/idin", TransactionURL: "https://rs.example/idin", StatusURL: "https://rs.example/idin",
		Certificate: certificate(t, "merchant.pem"), Key: key.(crypto.Signer), Decryption: []crypto.Decrypter{key.(crypto.Decrypter)},
		Routing: []*x509.Certificate{certificate(t, "routing.pem")}}
}

var (
	vectorNow  = time.Date(2030, 1, 2, 10, 0, 5, 0, time.UTC)
	vectorWant = idin.Expected{TransactionID: "1234000000000042", Reference: "Mref0000000001", Issuer: "BANKNL2Y", Service: idin.BIN | idin.Name}
)

func TestVectorRequest(t *testing.T) {
	t.Parallel()
	var got []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	m := vectorMerchant(t)
	m.TransactionURL = srv.URL
	_, err := idin.NewClient(m).Start(context.Background(), idin.Transaction{Issuer: "BANKNL2Y", ReturnURL: "https://broker.example/idin/return?s=1&t=2",
		EntranceCode: "Ec0000000001", Reference: "Mref0000000001", Language: "nl", Service: idin.BIN | idin.Name,
		Now: time.Date(2030, 1, 2, 9, 59, 0, 0, time.UTC)})
	if err == nil {
		t.Error("an empty answer is read")
	}
	if want := vector(t, "request.xml"); !bytes.Equal(got, want) {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

func TestVectorSuccess(t *testing.T) {
	t.Parallel()
	s, err := vectorMerchant(t).ReadStatus(vector(t, "success.xml"), vectorWant, vectorNow)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.BIN != "NLBANKvector0001" || p.Initials != "VJ" || p.LegalLastName != "Vri\xc3\xabs" || len(p.Other) > 0 || len(p.Notes) > 0 || len(s.Notes) > 0 {
		t.Errorf("person %q %q %q, notes %v %v", p.BIN, p.Initials, p.LegalLastName, s.Notes, p.Notes)
	}
	_ = xmldsig.Fingerprint
}
