package bankidse_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/internal/golden"
	"eidgate/protocol/bankidse"
)

const (
	orderRef = "3f6f4b6a-3c1b-4d5a-9a3f-0c6b1f5f8a11"
	started  = `{"orderRef":"` + orderRef + `","autoStartToken":"c0f9a9d4-5a52-4b8c-8d0f-6d6a1f0e7b33",` +
		`"qrStartToken":"67df3917-fa0d-44e5-b327-edcc928297f8","qrStartSecret":"d28db9a7-4cde-429e-a983-359be676944c"}`
)

// rpCertificate is an RP certificate in the order of the real ones (§2.4).
func rpCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var name pkix.RDNSequence
	for _, a := range []pkix.AttributeTypeAndValue{
		{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: "SE"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "Example Bank AB (publ)"},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: "5566304928"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 41}, Value: "Example Shop"},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "Example Shop 1"},
	} {
		name = append(name, pkix.RelativeDistinguishedNameSET{a})
	}
	subject, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), RawSubject: subject, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// An api is BankID's side of the wire: it lets in who presents the right
// certificate and answers with handler.
type api struct {
	*bankidse.Client
	transport *http.Transport
	cert      tls.Certificate
}

func newAPI(t *testing.T, handler http.HandlerFunc) *api {
	t.Helper()
	a := &api{cert: rpCertificate(t)}
	known := x509.NewCertPool()
	known.AddCert(a.cert.Leaf)
	srv := httptest.NewUnstartedServer(handler)
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = quiet()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	trust := x509.NewCertPool()
	trust.AddCert(srv.Certificate())
	a.transport = bankidse.Transport(a.cert, trust)
	t.Cleanup(a.transport.CloseIdleConnections)
	a.Client = &bankidse.Client{Base: srv.URL + "/rp/v6.0", HTTP: &http.Client{Transport: a.transport}}
	return a
}

// says answers every call alike.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client may have had enough
	}
}

// calls are all that a client can ask, so that what holds for one is tried on each.
func calls(c *bankidse.Client) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"auth": func(ctx context.Context) error {
			_, err := c.Auth(ctx, bankidse.AuthRequest{EndUserIP: "203.0.113.24"})
			return err
		},
		"sign": func(ctx context.Context) error {
			_, err := c.Sign(ctx, bankidse.SignRequest{EndUserIP: "203.0.113.24", UserVisibleData: "aGVsbG8="})
			return err
		},
		"collect": func(ctx context.Context) error {
			_, err := c.Collect(ctx, orderRef)
			return err
		},
		"cancel": func(ctx context.Context) error { return c.Cancel(ctx, orderRef) },
		"ping":   func(ctx context.Context) error { return c.Ping(ctx) },
	}
}

// TestRequests compares each call's request, headers and body, with a file.
func TestRequests(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(context.Context, *bankidse.Client) error{
		"auth-least": func(ctx context.Context, c *bankidse.Client) error {
			_, err := c.Auth(ctx, bankidse.AuthRequest{EndUserIP: "2001:db8::1"})
			return err
		},
		"auth": func(ctx context.Context, c *bankidse.Client) error {
			_, err := c.Auth(ctx, bankidse.AuthRequest{EndUserIP: "203.0.113.24", ReturnRisk: true,
				UserVisibleData: "TG9nIGluIHRvICpFeGFtcGxlIFNob3Aq", UserVisibleDataFormat: bankidse.Markdown,
				ReturnURL: "https://broker.example/s/5f0c7b52#nonce=Qm8tN2d3c1k",
				Web:       &bankidse.Web{DeviceIdentifier: "b7c1f0a2d9e84d31a0", ReferringDomain: "shop.example", UserAgent: "Mozilla/5.0 (iPhone; …)"}})
			return err
		},
		"sign": func(ctx context.Context, c *bankidse.Client) error {
			_, err := c.Sign(ctx, bankidse.SignRequest{EndUserIP: "203.0.113.24", UserVisibleData: "IyBMb2FuCgpJIGJvcnJvdyAqMSAwMDAgU0VLKi4=",
				UserVisibleDataFormat: bankidse.Markdown, UserNonVisibleData: "c2hhMjU2PTllMTA3ZDlk",
				Requirement: &bankidse.Requirement{PinCode: true, MRTD: true, CertificatePolicies: []string{"1.2.752.78.1.5"}, PersonalNumber: "199001012385"}})
			return err
		},
		"collect": func(ctx context.Context, c *bankidse.Client) error { _, err := c.Collect(ctx, orderRef); return err },
		"cancel":  func(ctx context.Context, c *bankidse.Client) error { return c.Cancel(ctx, orderRef) },
		"ping":    func(ctx context.Context, c *bankidse.Client) error { return c.Ping(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(&got, "%s %s %s\n", r.Method, r.URL, r.Proto)
				for _, h := range slices.Sorted(maps.Keys(r.Header)) {
					fmt.Fprintf(&got, "%s: %s\n", h, strings.Join(r.Header[h], ", "))
				}
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(&got, "\n%s\n", body)
				switch {
				case r.Method == http.MethodGet:
					says(405, "application/json", `{"errorCode":"methodNotAllowed","details":""}`)(w, r)
				case strings.HasSuffix(r.URL.Path, "/collect"):
					says(200, "application/json", `{"orderRef":"`+orderRef+`","status":"pending","hintCode":"userSign"}`)(w, r)
				case strings.HasSuffix(r.URL.Path, "/cancel"):
					says(200, "application/json", `{}`)(w, r)
				default:
					says(200, "application/json", started)(w, r)
				}
			})
			if err := call(t.Context(), a.Client); err != nil {
				t.Fatal(err)
			}
			golden.File(t, "testdata/requests/"+name+".http", got.Bytes())
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	answer := started
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) { says(200, "application/json", answer)(w, r) })
	o, err := a.Auth(t.Context(), bankidse.AuthRequest{EndUserIP: "203.0.113.24"})
	if want := (bankidse.Order{OrderRef: orderRef, AutoStartToken: "c0f9a9d4-5a52-4b8c-8d0f-6d6a1f0e7b33",
		QRStartToken: "67df3917-fa0d-44e5-b327-edcc928297f8", QRStartSecret: "d28db9a7-4cde-429e-a983-359be676944c"}); err != nil || o != want {
		t.Errorf("Auth = %#v, %v", o, err)
	}
	answer = `{"orderRef":"` + orderRef + `","status":"complete","news":{"a":[1]},"completionData":{` +
		`"user":{"personalNumber":"199001012385","name":"Ada Test","givenName":"Ada","surname":"Test","more":1},` +
		`"device":{"ipAddress":"203.0.113.24","uhi":"OZvYM9VvyiAmG7NA5jU5zqGcVpo="},"bankIdIssueDate":"2024-02-01Z",` +
		`"stepUp":{"mrtd":true},"signature":"PD94","ocspResponse":"MIIH","risk":"low"}}`
	got, err := a.Collect(t.Context(), orderRef)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Completion
	if got.Status != bankidse.Complete || c.User.PersonalNumber != "199001012385" || c.User.Surname != "Test" || c.Device.IPAddress != "203.0.113.24" ||
		c.StepUp == nil || !c.StepUp.MRTD || c.Signature != "PD94" || c.OCSPResponse != "MIIH" || c.Risk != "low" ||
		!c.Issued().Equal(time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("Collect = %#v", c)
	}
	for _, hint := range []string{"userSign", "somethingNobodyHasSeen"} {
		answer = `{"orderRef":"` + orderRef + `","status":"pending","hintCode":"` + hint + `"}`
		if got, err := a.Collect(t.Context(), orderRef); err != nil || got.Status != bankidse.Pending || got.HintCode != hint {
			t.Errorf("Collect = %+v, %v", got, err)
		}
	}
	for _, empty := range []string{"", "{}"} {
		answer = empty
		if err := a.Cancel(t.Context(), orderRef); err != nil {
			t.Errorf("Cancel answered with %q: %v", empty, err)
		}
	}
}

// TestUnusableAnswers: status 200 with anything else than what was asked for
// is an error, and not a refusal by BankID.
func TestUnusableAnswers(t *testing.T) {
	t.Parallel()
	const done = `{"orderRef":"` + orderRef + `","status":"complete"`
	for name, c := range map[string]struct{ contentType, body, calls string }{
		"nothing":             {"application/json", "", "auth sign collect"},
		"garbage":             {"application/json", "<<<not json>>>", "auth sign collect"},
		"a page":              {"text/html", "<html><body>Wartung 199001012385</body></html>", "auth sign collect"},
		"a list":              {"application/json", "[]", "auth sign collect"},
		"half an answer":      {"application/json", `{"orderRef":"` + orderRef, "auth sign collect"},
		"two answers":         {"application/json", started + started, "auth sign collect"},
		"too long":            {"application/json", `{"orderRef":"` + strings.Repeat("a", 1<<20) + `"}`, "auth sign collect cancel"},
		"an order with holes": {"application/json", `{"orderRef":"` + orderRef + `"}`, "auth sign"},
		"no order":            {"application/json", strings.Replace(started, "orderRef", "other", 1), "auth sign"},
		"no autoStartToken":   {"application/json", strings.Replace(started, "autoStartToken", "other", 1), "auth sign"},
		"no qrStartToken":     {"application/json", strings.Replace(started, "qrStartToken", "other", 1), "auth sign"},
		"no qrStartSecret":    {"application/json", strings.Replace(started, "qrStartSecret", "other", 1), "auth sign"},
		"complete without":    {"application/json", done + `}`, "collect"},
		"another type":        {"application/json", done + `,"completionData":{"user":"199001012385"}}`, "collect"},
		"another order's":     {"application/json", strings.Replace(done, "3f6f", "4a4a", 1) + `,"completionData":{}}`, "collect"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, says(200, c.contentType, c.body))
			for call, f := range calls(a.Client) {
				if !slices.Contains(strings.Fields(c.calls), call) {
					continue
				}
				err := f(t.Context())
				var e *bankidse.Error
				if err == nil || errors.As(err, &e) {
					t.Errorf("%s: %v, want an error that is no answer of BankID's", call, err)
				}
				if err != nil && strings.Contains(err.Error(), "199001012385") {
					t.Errorf("%s: the error repeats the answer: %v", call, err)
				}
			}
		})
	}
}

// TestErrorCodes has every documented refusal (§7).
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
	}{
		{400, "alreadyInProgress"}, {400, "invalidParameters"}, {400, "verificationFailed"}, {400, "unauthorized"}, {401, "unauthorized"},
		{403, "unauthorized"}, {404, "notFound"}, {405, "methodNotAllowed"}, {408, "requestTimeout"}, {415, "unsupportedMediaType"},
		{429, "tooManyRequests"}, {500, "internalError"}, {503, "maintenance"}, {503, "Maintenance"}, {400, "canceled"}, {400, "somethingNew"},
	} {
		t.Run(fmt.Sprint(c.status, c.code), func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, says(c.status, "application/json", `{"errorCode":"`+c.code+`","details":"No such order 199001012385"}`))
			for call, f := range calls(a.Client) {
				err := f(t.Context())
				if call == "cancel" && c.code == "invalidParameters" || call == "ping" && c.status == 405 {
					if err != nil {
						t.Errorf("%s: %v, want none", call, err)
					}
					continue
				}
				var e *bankidse.Error
				if !errors.As(err, &e) || e.Status != c.status || e.Code != c.code || e.Details != "No such order 199001012385" {
					t.Errorf("%s: %#v", call, err)
					continue
				}
				if !e.Has(strings.ToUpper(c.code)) || e.Has("other") {
					t.Errorf("%s: Has compares wrongly", call)
				}
				if want := fmt.Sprintf("BankID answers %d %s", c.status, c.code); err.Error() != want {
					t.Errorf("%s: says %q, want %q", call, err, want)
				}
			}
		})
	}
}

// TestErrorsWithoutCode: the front of the API answers with pages (§2.2), and
// what claims to be a code is shown only if it looks like one.
func TestErrorsWithoutCode(t *testing.T) {
	t.Parallel()
	const page = "<html><body><h1>Forbidden 199001012385</h1></body></html>"
	for name, c := range map[string]struct {
		status            int
		contentType, body string
		want              string
	}{
		"front 403":      {403, "text/html", page, "BankID refuses the RP certificate (status 403)"},
		"front 400":      {400, "text/html", page, "BankID refuses the RP certificate (status 400)"},
		"gateway":        {502, "text/html", page, "BankID answers 502"},
		"maintenance":    {503, "text/html", page, "BankID answers 503"},
		"empty":          {500, "application/json", "", "BankID answers 500"},
		"cut off":        {500, "application/json", `{"errorCode":"internalErr`, "BankID answers 500"},
		"too long":       {500, "application/json", `{"errorCode":"a","details":"` + strings.Repeat("x", 64<<10) + `"}`, "BankID answers 500"},
		"another type":   {500, "application/json", `{"errorCode":7}`, "BankID answers 500"},
		"code of lines":  {500, "application/json", `{"errorCode":"a\nb=199001012385"}`, "BankID answers 500"},
		"code of length": {500, "application/json", `{"errorCode":"` + strings.Repeat("a", 1000) + `"}`, "BankID answers 500"},
		"code of digits": {500, "application/json", `{"errorCode":"199001012385"}`, "BankID answers 500"},
		"other success":  {202, "application/json", started, "BankID answers 202"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, says(c.status, c.contentType, c.body))
			for call, f := range calls(a.Client) {
				err := f(t.Context())
				var e *bankidse.Error
				if !errors.As(err, &e) || e.Status != c.status || e.Code != "" || err.Error() != c.want {
					t.Errorf("%s: %v, want %s", call, err, c.want)
				}
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, value string
		want          time.Duration
	}{
		{"RateLimit-Reset", "7", 7 * time.Second}, {"Retry-After", "9", 9 * time.Second}, {"RateLimit-Reset", "soon", 0},
		{"RateLimit-Reset", "-1", 0}, {"Retry-After", "999999999999999999999", 0}, {"RateLimit-Reset", "86400", time.Hour},
	} {
		a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(c.header, c.value)
			says(429, "application/json", `{"errorCode":"tooManyRequests"}`)(w, r)
		})
		_, err := a.Collect(t.Context(), orderRef)
		var e *bankidse.Error
		if !errors.As(err, &e) || e.RetryAfter != c.want {
			t.Errorf("%s: %s: %#v, want %s", c.header, c.value, err, c.want)
		}
	}
}

// TestRedirectIsNotFollowed: a request names a person and goes to BankID only.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				t.Errorf("%s %s went on with %q", r.Method, r.URL, body)
			}))
			t.Cleanup(elsewhere.Close)
			a := newAPI(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL+"/taken", status) })
			for call, f := range calls(a.Client) {
				var e *bankidse.Error
				if err := f(t.Context()); !errors.As(err, &e) || e.Status != status {
					t.Errorf("%s: %v, want status %d", call, err, status)
				}
			}
			if a.HTTP.CheckRedirect != nil {
				t.Error("the caller's http.Client was altered")
			}
		})
	}
}

// TestBrokenConnections: an answer that breaks off, a call that is given up
// before and amid the answer, and a server that never answers.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	t.Run("breaks off", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, `{"orderRef":"`)
		})
		if _, err := a.Collect(t.Context(), orderRef); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Collect = %v, want %v", err, io.ErrUnexpectedEOF)
		}
	})
	for _, amid := range []bool{false, true} {
		t.Run(fmt.Sprint("given up, amid the answer: ", amid), func(t *testing.T) {
			t.Parallel()
			ctx, giveUp := context.WithCancel(t.Context())
			a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
				if amid {
					w.Header().Set("Content-Length", "500")
					_, _ = io.WriteString(w, `{"orderRef":"`)
					_ = http.NewResponseController(w).Flush()
				}
				_, _ = io.Copy(io.Discard, r.Body) // so that the server notices that the client has gone
				giveUp()
				<-r.Context().Done()
			})
			if _, err := a.Collect(ctx, orderRef); !errors.Is(err, context.Canceled) {
				t.Errorf("Collect = %v, want %v", err, context.Canceled)
			}
		})
	}
	t.Run("never answers", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		a.transport.ResponseHeaderTimeout = time.Millisecond
		var e net.Error
		if _, err := a.Collect(t.Context(), orderRef); !errors.As(err, &e) || !e.Timeout() {
			t.Errorf("Collect = %v, want a timeout", err)
		}
	})
}

// TestTrust: neither side goes on with somebody whom it does not know (§2.3).
func TestTrust(t *testing.T) {
	t.Parallel()
	ok := says(200, "application/json", started)
	auth := func(c *bankidse.Client) error {
		_, err := c.Auth(t.Context(), bankidse.AuthRequest{EndUserIP: "203.0.113.24"})
		return err
	}
	t.Run("the server's root", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t, ok)
		root, err := bankidse.Roots("test-tls")
		if err != nil {
			t.Fatal(err)
		}
		a.transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		a.transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(root))
		var unknown x509.UnknownAuthorityError
		if err := auth(a.Client); !errors.As(err, &unknown) {
			t.Errorf("Auth = %v, want %T", err, unknown)
		}
	})
	t.Run("the client's certificate", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t, ok)
		a.transport.TLSClientConfig.Certificates = []tls.Certificate{rpCertificate(t)}
		if err := auth(a.Client); err == nil {
			t.Error("a certificate that the server does not know was let in")
		}
	})
	t.Run("an old protocol", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t, ok)
		srv := httptest.NewUnstartedServer(ok)
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // what must be refused
		srv.Config.ErrorLog = quiet()
		srv.StartTLS()
		t.Cleanup(srv.Close)
		a.transport.TLSClientConfig.RootCAs.AddCert(srv.Certificate())
		a.Base = srv.URL
		if err := auth(a.Client); err == nil {
			t.Error("TLS 1.1 was spoken")
		}
	})
	t.Run("the certificate arrives", func(t *testing.T) {
		t.Parallel()
		var seen []byte
		a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
			seen = r.TLS.PeerCertificates[0].Raw
			ok(w, r)
		})
		if err := auth(a.Client); err != nil || !bytes.Equal(seen, a.cert.Leaf.Raw) {
			t.Errorf("Auth = %v", err)
		}
	})
}

// TestRequestsThatAreNotSent: what BankID would refuse anyway never leaves
// (§4.2, §4.3), under one error that names the member and not its content.
func TestRequestsThatAreNotSent(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was called", r.URL) })
	text := func(n int) string { return strings.Repeat("QUFB", n/4) + strings.Repeat("A", n%4) }
	for name, r := range map[string]bankidse.StartRequest{
		"endUserIp":                      {},
		"endUserIp with a zone":          {EndUserIP: "fe80::1%eth0"},
		"endUserIp as a name":            {EndUserIP: "localhost"},
		"userVisibleData too long":       {EndUserIP: "::1", UserVisibleData: text(40_004)},
		"userVisibleData as text":        {EndUserIP: "::1", UserVisibleData: "hello world"},
		"userVisibleData in lines":       {EndUserIP: "::1", UserVisibleData: "QUFB\nQUFB"},
		"userVisibleData as bytes":       {EndUserIP: "::1", UserVisibleData: "//8="},
		"userNonVisibleData too long":    {EndUserIP: "::1", UserVisibleData: "QUFB", UserNonVisibleData: text(200_004)},
		"userNonVisibleData as text":     {EndUserIP: "::1", UserVisibleData: "QUFB", UserNonVisibleData: "hello world"},
		"returnUrl":                      {EndUserIP: "::1", UserVisibleData: "QUFB", ReturnURL: strings.Repeat("a", 513)},
		"personalNumber of ten digits":   {EndUserIP: "::1", UserVisibleData: "QUFB", Requirement: &bankidse.Requirement{PersonalNumber: "9001012385"}},
		"personalNumber of other digits": {EndUserIP: "::1", UserVisibleData: "QUFB", Requirement: &bankidse.Requirement{PersonalNumber: "19900101238５"}},
	} {
		_, auth := a.Auth(t.Context(), bankidse.AuthRequest(r))
		_, sign := a.Sign(t.Context(), bankidse.SignRequest(r))
		member, _, _ := strings.Cut(name, " ")
		for _, err := range []error{auth, sign} {
			if !errors.Is(err, bankidse.ErrRequest) || !strings.Contains(err.Error(), member) || strings.Contains(err.Error(), "9001012385") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := a.Sign(t.Context(), bankidse.SignRequest{EndUserIP: "::1"}); !errors.Is(err, bankidse.ErrRequest) {
		t.Errorf("a signature of nothing: %v", err)
	}
	for name, r := range map[string]bankidse.AuthRequest{
		"visible": {EndUserIP: "::1", UserVisibleData: text(1504)}, "hidden": {EndUserIP: "::1", UserNonVisibleData: text(1504)},
	} {
		if _, err := a.Auth(t.Context(), r); !errors.Is(err, bankidse.ErrRequest) {
			t.Errorf("an identification with 1504 characters %s: %v", name, err)
		}
	}
}

// TestLongestTexts: the limits themselves pass (§4.2).
func TestLongestTexts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, says(200, "application/json", started))
	text := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("a"), n/4*3)) }
	if _, err := a.Sign(t.Context(), bankidse.SignRequest{EndUserIP: "::1", UserVisibleData: text(40_000), UserNonVisibleData: text(200_000)}); err != nil {
		t.Errorf("Sign = %v", err)
	}
	if _, err := a.Auth(t.Context(), bankidse.AuthRequest{EndUserIP: "::1", UserVisibleData: text(1500), UserNonVisibleData: text(1500)}); err != nil {
		t.Errorf("Auth = %v", err)
	}
}

// TestBrowserFactsAreCut: BankID refuses an order for a browser with a long
// name (§4.4), and a name cut amid a letter is longer than it was.
func TestBrowserFactsAreCut(t *testing.T) {
	t.Parallel()
	var got string
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		says(200, "application/json", started)(w, r)
	})
	for name, c := range map[string]struct{ agent, id, want string }{
		"long":         {strings.Repeat("a", 300), strings.Repeat("b", 70), `"web":{"deviceIdentifier":"` + strings.Repeat("b", 64) + `","userAgent":"` + strings.Repeat("a", 256) + `"}`},
		"amid":         {strings.Repeat("a", 255) + "åä", "", `"web":{"userAgent":"` + strings.Repeat("a", 255) + `"}`},
		"Latin-1":      {"Opera \xe5", "", `"web":{"userAgent":"Opera "}`},
		"nothing":      {"", "", ``},
		"nothing left": {"\xe5", "", ``},
	} {
		web := &bankidse.Web{UserAgent: c.agent, DeviceIdentifier: c.id}
		if _, err := a.Auth(t.Context(), bankidse.AuthRequest{EndUserIP: "::1", Web: web}); err != nil {
			t.Fatal(err)
		}
		want := `{"endUserIp":"::1"`
		if c.want != "" {
			want += "," + c.want
		}
		if got != want+"}" {
			t.Errorf("%s: sent %s, want %s}", name, got, want)
		}
		if web.UserAgent != c.agent {
			t.Errorf("%s: the caller's value was altered", name)
		}
	}
}

func TestLaunchURL(t *testing.T) {
	t.Parallel()
	for p, want := range map[bankidse.Platform]string{
		"ios": "https://app.bankid.com/?autostarttoken=t", "android": "https://app.bankid.com/?autostarttoken=t",
		"desktop": "bankid:///?autostarttoken=t", "": "bankid:///?autostarttoken=t",
	} {
		if got := bankidse.LaunchURL(p, "t"); got != want {
			t.Errorf("LaunchURL(%q) = %s, want %s", p, got, want)
		}
	}
}

func TestIssued(t *testing.T) {
	t.Parallel()
	day := time.Date(2023, 11, 29, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"2023-11-29": day, "2023-11-29Z": day, "2023-11-29+01:00": day, "": {}, "2023": {}, "2023-13-29": {}} {
		if got := (bankidse.Completion{BankIDIssueDate: text}).Issued(); !got.Equal(want) {
			t.Errorf("Issued(%q) = %s, want %s", text, got, want)
		}
	}
}
