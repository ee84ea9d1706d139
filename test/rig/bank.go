package rig

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"eidgate/sandbox"
	"eidgate/sandbox/idin"
)

// A Bank is the simulator of iDIN in this process: the routing service and
// the banks behind it.
type Bank struct {
	*idin.Simulator
	Calls  atomic.Int64 // requests of the routing service answered
	config string       // entries of a configuration
	http   *http.Client // of people's browsers, at the bank
}

// NewBank starts a simulator whose people do at once what auto says, and
// writes the files that a configuration names into dir.
func NewBank(t testing.TB, dir string, auto sandbox.Outcome) *Bank {
	t.Helper()
	people := sandbox.NewPeople()
	b := &Bank{http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	var base string
	b.Simulator = idin.New(idin.Config{Clock: sandbox.NewClock(false), People: people, Decisions: sandbox.NewDecisions(people, auto), Faults: sandbox.NewFaults(1),
		Base: func() string { return base }})
	sim := b.Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/idin/rs" {
			b.Calls.Add(1)
		}
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(b.http.CloseIdleConnections)
	base = srv.URL
	c, err := b.Merchant("Load shop")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"idin.pem": c.SigningCertificate + c.SigningKey, "idin-data.key": c.DecryptionKey,
		"idin-routing.pem": c.RoutingCertificate + c.AlternateRoutingCert} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.config = fmt.Sprintf(`  idin: {merchant_id: %q, legal_id: %q, directory_url: %q, certificate: %s/idin.pem, decryption: [%[4]s/idin-data.key], routing: [%[4]s/idin-routing.pem]}
  idin_age: {backend: idin}
`, c.MerchantID, c.LegalID, c.DirectoryURL, dir)
	return b
}

var leaves = regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]+)"`)

// Leave opens the page, chooses a bank, and is where the browser goes then: at
// the bank.
func (v *Visit) Leave(ctx context.Context) (bank string, err error) {
	if _, err := v.page(ctx, http.MethodGet, "", nil); err != nil {
		return "", err
	}
	if _, err := v.page(ctx, http.MethodPost, "start", url.Values{"issuer": {"BANKNL2Y"}}); err != nil {
		return "", err
	}
	_, body, err := v.p.do(ctx, http.MethodGet, v.Page+"?go=1", nil, "Cookie", v.cookie, "User-Agent", agent)
	if err != nil {
		return "", err
	}
	m := leaves.FindSubmatch(body)
	if m == nil {
		return "", errors.New("the page leads to no bank")
	}
	return html.UnescapeString(string(m[1])), nil
}

// Visit opens the bank's page, where people do at once what they do, and is
// where it sends the browser.
func (b *Bank) Visit(ctx context.Context, page string) (back string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	res, err := b.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if back = res.Header.Get("Location"); back == "" {
		return "", fmt.Errorf("the bank answers %s and sends nobody back", res.Status)
	}
	return back, nil
}

// Return comes from the bank, and is where the browser is sent at the end; ""
// while it waits on our page.
func (v *Visit) Return(ctx context.Context, back string) (to string, err error) {
	res, body, err := v.p.do(ctx, http.MethodGet, back, nil, "Cookie", v.cookie, "User-Agent", agent)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusSeeOther {
		return "", fmt.Errorf("return: %s %.300s", res.Status, body)
	}
	if to = res.Header.Get("Location"); strings.HasPrefix(to, "/") || strings.HasPrefix(to, Public) { // still ours
		if res, err = v.page(ctx, http.MethodGet, "", nil); err != nil {
			return "", err
		}
		to = res.Header.Get("Location")
	}
	return to, nil
}

// Identify runs a whole login at a bank, as idin or idin_age.
func (p *Party) Identify(ctx context.Context, b *Bank, selector string) (*Visit, error) {
	v, err := p.SetupFor(ctx, selector)
	if err != nil {
		return nil, err
	}
	page, err := v.Leave(ctx)
	if err != nil {
		return v, err
	}
	back, err := b.Visit(ctx, page)
	if err != nil {
		return v, err
	}
	to, err := v.Return(ctx, back)
	if err != nil {
		return v, err
	}
	if !strings.HasPrefix(to, "http://localhost/done?") {
		return v, fmt.Errorf("the browser was sent to %q", to)
	}
	state, _, err := v.Result(ctx)
	if err == nil && state != "FINISHED" {
		err = fmt.Errorf("result %s", state)
	}
	return v, err
}
