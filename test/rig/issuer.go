package rig

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/bankidse"
)

// An Issuer is the simulator of Swedish BankID in this process, apart from
// the nodes that use it.
type Issuer struct {
	*bankidse.Simulator
	Calls atomic.Int64 // requests answered
	URL   string

	mu       sync.Mutex
	watching bool
	last     map[string]time.Time // order → its latest collect
	gaps     []time.Duration
}

// NewIssuer starts a simulator whose people do at once what auto says, and
// writes the files that a configuration names into dir.
func NewIssuer(t testing.TB, dir string, auto sandbox.Outcome) *Issuer {
	t.Helper()
	people := sandbox.NewPeople()
	i := &Issuer{last: map[string]time.Time{}, Simulator: bankidse.New(bankidse.Config{Clock: sandbox.NewClock(false), People: people,
		Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1)})}
	cert, err := i.RPCertificate("Load shop", "5566304928")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := bankidse.PEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"rp.pem": certPEM + keyPEM, "tls-root.pem": i.TLSRoot(), "signature-root.pem": i.SignatureRoot()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: i.count(i.Handler()), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0)} // clients that are killed in the middle of a handshake
	go func() { _ = srv.Serve(tls.NewListener(l, i.TLSConfig())) }() // until it is closed
	t.Cleanup(func() { _ = srv.Close() })                            // the test is over
	i.URL = "https://" + l.Addr().String()
	return i
}

// count counts requests and, while somebody watches, the time between two
// collects of an order.
func (i *Issuer) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.Calls.Add(1)
		if r.URL.Path == "/rp/v6.0/collect" {
			now := time.Now()
			body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
			var in struct{ OrderRef string }
			if err == nil && json.Unmarshal(body, &in) == nil {
				i.saw(in.OrderRef, now)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(w, r)
	})
}

func (i *Issuer) saw(ref string, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.watching {
		return
	}
	if was, ok := i.last[ref]; ok {
		i.gaps = append(i.gaps, now.Sub(was))
	}
	i.last[ref] = now
}

// Gaps watches collects for a while: the times between two of the same order.
func (i *Issuer) Gaps(d time.Duration) []time.Duration {
	i.watch(true)
	<-time.After(d)
	i.watch(false)
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gaps
}

func (i *Issuer) watch(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watching = on
}
