package bankidse_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"eidgate/protocol/bankidse"
)

// service plays BankID for the examples: somebody scans the code, and cancels.
func service() *httptest.Server {
	answers := []string{`{"status":"pending","hintCode":"outstandingTransaction"}`, `{"status":"pending","hintCode":"userSign"}`, `{"status":"failed","hintCode":"userCancel"}`}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/collect") && len(answers) == 0:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"errorCode":"invalidParameters","details":"No such order"}`)
		case strings.HasSuffix(r.URL.Path, "/collect"):
			fmt.Fprint(w, answers[0])
			answers = answers[1:]
		default:
			fmt.Fprint(w, started)
		}
	}))
}

// A client for BankID's test environment.
func Example() {
	cert, err := os.ReadFile("FPTestcert5_20240610.p12")
	if err != nil {
		log.Fatal(err)
	}
	rp, err := bankidse.LoadPKCS12(cert, "qwerty123")
	if err != nil {
		log.Fatal(err)
	}
	root, err := bankidse.Roots("test-tls")
	if err != nil {
		log.Fatal(err)
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM([]byte(root))
	c := &bankidse.Client{Base: bankidse.TestBase, HTTP: &http.Client{Transport: bankidse.Transport(rp, trust)}}
	if err := c.Ping(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// A login: start an order, show its code, and collect until it ends.
func ExampleClient_Auth() {
	srv := service()
	defer srv.Close()
	c := &bankidse.Client{Base: srv.URL, HTTP: srv.Client()}
	ctx := context.Background()
	order, err := c.Auth(ctx, bankidse.AuthRequest{EndUserIP: "203.0.113.24"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(order.QR(0))
	for {
		got, err := c.Collect(ctx, order.OrderRef) // every two seconds, in earnest
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(got.Status, got.HintCode)
		if got.Status != bankidse.Pending {
			break
		}
	}
	// Output:
	// bankid.67df3917-fa0d-44e5-b327-edcc928297f8.0.dc69358e712458a66a7525beef148ae8526b1c71610eff2c16cdffb4cdac9bf8
	// pending outstandingTransaction
	// pending userSign
	// failed userCancel
}

func ExampleClient_Sign() {
	srv := service()
	defer srv.Close()
	c := &bankidse.Client{Base: srv.URL, HTTP: srv.Client()}
	order, err := c.Sign(context.Background(), bankidse.SignRequest{EndUserIP: "203.0.113.24",
		UserVisibleData: "IyBMb2FuCgpJIGJvcnJvdyAqMSAwMDAgU0VLKi4=", UserVisibleDataFormat: bankidse.Markdown,
		Requirement: &bankidse.Requirement{PersonalNumber: "199001012385"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bankidse.LaunchURL("ios", order.AutoStartToken))
	fmt.Println(order) // which order it is stays out of logs
	// Output:
	// https://app.bankid.com/?autostarttoken=c0f9a9d4-5a52-4b8c-8d0f-6d6a1f0e7b33
	// BankID order
}

// Callers decide by the code, and show nobody the details.
func ExampleError() {
	srv := service()
	defer srv.Close()
	c := &bankidse.Client{Base: srv.URL, HTTP: srv.Client()}
	ctx := context.Background()
	var err error
	for err == nil {
		_, err = c.Collect(ctx, orderRef)
	}
	var refused *bankidse.Error
	if errors.As(err, &refused) && refused.Has("invalidParameters") {
		fmt.Println("the result is gone:", err)
	}
	// Output:
	// the result is gone: BankID answers 400 invalidParameters
}

// What the client can know to be wrong is not sent.
func ExampleClient_Sign_nothing() {
	c := &bankidse.Client{Base: bankidse.TestBase, HTTP: http.DefaultClient}
	_, err := c.Sign(context.Background(), bankidse.SignRequest{EndUserIP: "203.0.113.24"})
	fmt.Println(errors.Is(err, bankidse.ErrRequest), err)
	// Output:
	// true order not sent: userVisibleData is required to sign
}

func ExampleOrder_QR() {
	o := bankidse.Order{QRStartToken: "67df3917-fa0d-44e5-b327-edcc928297f8", QRStartSecret: "d28db9a7-4cde-429e-a983-359be676944c"}
	fmt.Println(o.QR(1900 * time.Millisecond))
	// Output:
	// bankid.67df3917-fa0d-44e5-b327-edcc928297f8.1.949d559bf23403952a94d103e67743126381eda00f0b3cbddbf7c96b1adcbce2
}

// Archived evidence is checked without what was sent: it says itself who
// signed what, for whom, and when.
func ExampleVerify() {
	signature, err := os.ReadFile("testdata/evidence/signature.b64")
	if err != nil {
		log.Fatal(err)
	}
	ocsp, err := os.ReadFile("testdata/evidence/ocsp.b64")
	if err != nil {
		log.Fatal(err)
	}
	root, err := os.ReadFile("testdata/evidence/root.pem") // in earnest: Roots("live-signature")
	if err != nil {
		log.Fatal(err)
	}
	in := bankidse.VerifyInput{Signature: strings.TrimSpace(string(signature)), OCSP: strings.TrimSpace(string(ocsp)), Roots: x509.NewCertPool()}
	in.Roots.AppendCertsFromPEM(root)
	v, err := bankidse.Verify(in)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Operation, v.PersonalNumber, v.Kind, v.SignedAt.Format(time.RFC3339))
	fmt.Printf("%s, %s\n", v.Visible, v.RPName)

	in.PersonalNumber = "199001032391" // somebody else
	_, err = bankidse.Verify(in)
	var why *bankidse.VerifyError
	fmt.Println(errors.As(err, &why), err)
	// Output:
	// Identification 199001012385 mobile 2026-03-01T12:00:00Z
	// Log in to *Example Shop*, cn=Example Shop 1,c=SE
	// true BankID signature refused: personalNumber
}

// Who verifies many signatures keeps a Verifier for each environment.
func ExampleVerifier() {
	root, err := os.ReadFile("testdata/evidence/root.pem") // in earnest: Roots("live-signature")
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := bankidse.NewVerifier(string(root))
	if err != nil {
		log.Fatal(err)
	}
	signature, err := os.ReadFile("testdata/evidence/signature.b64")
	if err != nil {
		log.Fatal(err)
	}
	ocsp, err := os.ReadFile("testdata/evidence/ocsp.b64")
	if err != nil {
		log.Fatal(err)
	}
	in := bankidse.VerifyInput{Signature: strings.TrimSpace(string(signature)), OCSP: strings.TrimSpace(string(ocsp))}
	for range 2 { // the second time the bank is known
		v, err := verifier.Verify(in)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v.Operation, v.PersonalNumber, v.Issuer)
	}
	// Output:
	// Identification 199001012385 Test Bank A Customer CA1
	// Identification 199001012385 Test Bank A Customer CA1
}
