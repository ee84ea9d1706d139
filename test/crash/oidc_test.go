package crash

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/internal/pgtest"
	"eidgate/sandbox"
	"eidgate/test/rig"
)

// TestKillBeforeRedemption kills a node while relying parties have codes that
// they have not redeemed, and tokens that they have not used. What was answered
// counts after that: a code is good once, a token tells whom its ID token told.
func TestKillBeforeRedemption(t *testing.T) {
	sys := rig.New(t, "sqlite:"+t.TempDir()+"/e.db", sandbox.Approve)
	p := rig.NewParty(t)
	node := sys.Serve(t)
	p.Route(node)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	again := patient(ctx, t)
	const logins, at, kills = 60, 20, 6
	var good, unanswered atomic.Int64
	for range kills / 2 { // each time: codes, kill, tokens, kill, persons
		codes, tokens := make([]string, logins), make([]*rig.Tokens, logins)
		each(logins, at, func(i int) { codes[i] = code(ctx, t, p, sys.Bank) })
		stop := make(chan struct{})
		node.Kill() // every code that was answered is unused
		node = sys.Serve(t)
		p.Route(node)
		redeemed := make(chan struct{}, logins)
		var killer sync.WaitGroup
		killer.Go(func() { // and once more while they are redeemed
			for range logins / 3 {
				select {
				case <-redeemed:
				case <-stop:
					return
				}
			}
			node.Kill()
			node = sys.Serve(t)
			p.Route(node)
		})
		each(logins, at, func(i int) {
			if codes[i] == "" {
				return
			}
			lost := false
			again(func() (err error) {
				tokens[i], err = p.Redeem(ctx, codes[i])
				if _, ok := errors.AsType[*rig.Refusal](err); ok {
					tokens[i] = nil
					if !lost { // no answer was under way that could have used it
						t.Errorf("a code that was answered is refused: %v", err)
					}
					unanswered.Add(1)
					return nil
				}
				lost = lost || err != nil
				return err
			})
			redeemed <- struct{}{}
		})
		close(stop)
		killer.Wait()
		each(logins, at, func(i int) {
			if tokens[i] == nil {
				return
			}
			var sub string
			if !again(func() (err error) { sub, err = p.Subject(ctx, tokens[i].Access); return err }) {
				return
			}
			if want := subject(t, tokens[i].ID); sub != want || sub == "" {
				t.Errorf("UserInfo is about %q, the ID token about %q", sub, want)
			}
			_, err := p.Redeem(ctx, codes[i])
			if no, ok := errors.AsType[*rig.Refusal](err); !ok || no.Code != "invalid_grant" {
				t.Errorf("a code a second time: %v", err)
			}
			good.Add(1)
		})
	}
	t.Logf("%d logins whose tokens were used, %d whose answer a kill has cost", good.Load(), unanswered.Load())
	if good.Load() < logins {
		t.Errorf("only %d of %d logins came to their end", good.Load(), 3*logins)
	}
}

// each calls f for 0 to n-1, at of them at the same time.
func each(n, at int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// code is what a whole login at a bank leads to.
func code(ctx context.Context, t *testing.T, p *rig.Party, bank *rig.Bank) string {
	t.Helper()
	v, err := p.Authorize(ctx, "idp:idin")
	if err != nil {
		t.Error(err)
		return ""
	}
	page, err := v.Leave(ctx)
	if err != nil {
		t.Error(err)
		return ""
	}
	back, err := bank.Visit(ctx, page)
	if err != nil {
		t.Error(err)
		return ""
	}
	to, err := v.Return(ctx, back)
	if err != nil {
		t.Error(err)
		return ""
	}
	return codeOf(t, to)
}

func codeOf(t *testing.T, to string) string {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil || u.Host != "localhost" || u.Query().Get("state") != "order-4711" || u.Query().Get("code") == "" {
		t.Errorf("the browser was sent to %q, %v", to, err)
		return ""
	}
	return u.Query().Get("code")
}

// subject is sub of a token whose signature somebody else checks.
func subject(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	var out struct{ Sub string }
	if len(parts) != 3 {
		t.Errorf("%q is no token", token)
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Error(err)
	}
	return out.Sub
}

// TestTwoNodesServeOneFlow lets two nodes on one PostgreSQL answer the requests
// of a login in strict turn: at a bank, and with BankID.
func TestTwoNodesServeOneFlow(t *testing.T) {
	sys := rig.New(t, pgtest.Database(t, pgtest.Options{}), sandbox.Approve)
	p := rig.NewParty(t)
	p.Alternate()
	p.Route(sys.Serve(t), sys.Serve(t))
	finish := func(code string) {
		t.Helper()
		tokens, err := p.Redeem(t.Context(), code)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := p.Subject(t.Context(), tokens.Access)
		if err != nil || sub == "" || sub != subject(t, tokens.ID) {
			t.Errorf("UserInfo is about %q, %v", sub, err)
		}
		if _, err := p.Redeem(t.Context(), code); err == nil {
			t.Error("the other node has redeemed the code again")
		}
		if _, err := p.Subject(t.Context(), tokens.Access); err == nil {
			t.Error("a token whose code came twice is good")
		}
	}
	for range 2 { // an odd number of requests: the second begins at the other node
		if c := code(t.Context(), t, p, sys.Bank); c != "" {
			finish(c)
		}
	}
	v, err := p.Authorize(t.Context(), "idp:sbid")
	if err == nil {
		err = v.Begin(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	var to string
	for to == "" {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the login does not end")
		}
		if to, err = v.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c := codeOf(t, to); c != "" {
		finish(c)
	}
}
