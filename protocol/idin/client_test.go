package idin_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/protocol/idin"
)

// sent is the message that a call sends, answered by nothing that can be read.
func sent(t testing.TB, m *idin.Merchant, call func(*idin.Client) error) []byte {
	t.Helper()
	var got []byte
	_, c := service(t, m, func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "text/xml; charset=utf-8" || int64(len(got)) != r.ContentLength {
			t.Errorf("%s %v, %d bytes", r.Method, r.Header, len(got))
		}
	})
	if err := call(c); err != nil {
		if refused := (*idin.RefusedError)(nil); !errors.As(err, &refused) {
			t.Fatal(err)
		}
	}
	return got
}

// service is a routing service, and a client for it.
func service(t testing.TB, m *idin.Merchant, h http.HandlerFunc) (*httptest.Server, *idin.Client) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	to := *m
	to.DirectoryURL, to.TransactionURL, to.StatusURL = srv.URL+"/d", srv.URL+"/t", srv.URL+"/s"
	return srv, idin.NewClient(&to, idin.WithTransport(srv.Client().Transport), idin.WithClock(func() time.Time { return now }))
}

func answers(raw []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) }
}

// calls are all that a client can ask, so that what holds for one is tried on each.
var calls = map[string]func(context.Context, *idin.Client) error{
	"directory": func(ctx context.Context, c *idin.Client) error { _, err := c.Directory(ctx); return err },
	"start": func(ctx context.Context, c *idin.Client) error {
		_, err := c.Start(ctx, vectorTransaction())
		return err
	},
	"status": func(ctx context.Context, c *idin.Client) error {
		_, err := c.Status(ctx, want.TransactionID)
		return err
	},
}

func TestCalls(t *testing.T) {
	t.Parallel()
	directory := signed(t, "DirectoryRes", created()+`<Acquirer><acquirerID>1234</acquirerID></Acquirer><Directory>`+
		`<directoryDateTimestamp>2029-12-20T00:00:00.000Z</directoryDateTimestamp><Country><countryNames>Nederland</countryNames>`+
		`<Issuer><issuerID>BANKNL2Y</issuerID><issuerName>Bank &amp; Zoon</issuerName></Issuer></Country></Directory>`)
	started := signed(t, "AcquirerTrxRes", created()+`<Acquirer><acquirerID>1234</acquirerID></Acquirer>`+
		`<Issuer><issuerAuthenticationURL>https://bank.example/idin?a=1&amp;b=2</issuerAuthenticationURL></Issuer><Transaction>`+
		`<transactionID>1234000000000042</transactionID><transactionCreateDateTimestamp>2030-01-02T10:00:04Z</transactionCreateDateTimestamp></Transaction>`)
	status := success().raw(t)
	paths := map[string]string{}
	_, c := service(t, merchant(), func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		root := parse(t, string(body)).Root()
		paths[r.URL.Path] = root.Tag
		_, _ = w.Write(map[string][]byte{"/d": directory, "/t": started, "/s": status}[r.URL.Path])
	})
	d, err := c.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&idin.Directory{At: time.Date(2029, 12, 20, 0, 0, 0, 0, time.UTC),
		Countries: []idin.Country{{Name: "Nederland", Issuers: []idin.Issuer{{ID: "BANKNL2Y", Name: "Bank & Zoon"}}}}}, d); diff != "" {
		t.Errorf("directory (-want +got)\n%s", diff)
	}
	s, err := c.Start(t.Context(), vectorTransaction())
	if err != nil {
		t.Fatal(err)
	}
	wanted := &idin.Started{TransactionID: "1234000000000042", URL: "https://bank.example/idin?a=1&b=2", At: now.Add(-time.Second)}
	if diff := cmp.Diff(wanted, s); diff != "" {
		t.Errorf("started (-want +got)\n%s", diff)
	}
	if raw, err := c.Status(t.Context(), want.TransactionID); err != nil || string(raw) != string(status) {
		t.Errorf("the status is not what came: %v\n%s", err, raw)
	}
	if diff := cmp.Diff(map[string]string{"/d": "DirectoryReq", "/t": "AcquirerTrxReq", "/s": "AcquirerStatusReq"}, paths); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTransport: an answer that is none, and whether the message was sent (§2).
func TestTransport(t *testing.T) {
	t.Parallel()
	says := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write(success().raw(t))
		}
	}
	for name, v := range map[string]struct {
		handler http.HandlerFunc
		status  int
	}{
		"redirect": {says(http.StatusTemporaryRedirect), 307},
		"accepted": {says(http.StatusAccepted), 202},
		"refused":  {says(http.StatusForbidden), 403},
		"broken":   {says(http.StatusInternalServerError), 500},
		"hang-up":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		"half": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("<x"))
		}, 200},
		"256 KiB and 1": {answers([]byte(strings.Repeat(" ", 256<<10+1))), 200},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}, 200},
	} {
		seen := 0
		_, c := service(t, merchant(), func(w http.ResponseWriter, r *http.Request) { seen++; v.handler(w, r) })
		for call, do := range calls {
			before := seen
			err := do(t.Context(), c)
			var got *idin.TransportError
			if !errors.As(err, &got) || !errors.Is(err, idin.ErrTransport) || !got.Sent || got.Status != v.status {
				t.Errorf("%s, %s: %v", name, call, err)
			}
			if seen != before+1 {
				t.Errorf("%s, %s: called %d times", name, call, seen-before)
			}
		}
	}
}

func TestTransportNotSent(t *testing.T) {
	t.Parallel()
	srv, c := service(t, merchant(), answers(nil))
	untrusting := *merchant()
	untrusting.DirectoryURL, untrusting.TransactionURL, untrusting.StatusURL = srv.URL, srv.URL, srv.URL
	clients := map[string]*idin.Client{"no trust": idin.NewClient(&untrusting), "nobody there": c}
	for call, do := range calls {
		var got *idin.TransportError
		if err := do(t.Context(), clients["no trust"]); !errors.As(err, &got) || got.Sent || got.Status != 0 {
			t.Errorf("no trust, %s: %v", call, err)
		}
	}
	srv.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for call, do := range calls {
		var got *idin.TransportError
		if err := do(t.Context(), c); !errors.As(err, &got) || got.Sent || got.Status != 0 {
			t.Errorf("nobody there, %s: %v", call, err)
		}
		if err := do(gone, c); !errors.As(err, &got) || got.Sent || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled, %s: %v", call, err)
		}
	}
}

// TestSentThenGone: once the routing service has the message, a caller who
// leaves must not believe that nothing happened.
func TestSentThenGone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	_, c := service(t, merchant(), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	var got *idin.TransportError
	if _, err := c.Status(ctx, want.TransactionID); !errors.As(err, &got) || !got.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
