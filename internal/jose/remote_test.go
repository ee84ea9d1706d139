package jose_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eidgate/internal/jose"
)

// publisher is a party whose key set is behind a URL. Answering takes a second.
type publisher struct {
	mu    sync.Mutex
	set   string
	err   error
	hangs bool

	asked atomic.Int32
}

func (p *publisher) fetch(ctx context.Context, url string) ([]byte, error) {
	p.asked.Add(1)
	p.mu.Lock()
	set, err, hangs := p.set, p.err, p.hangs
	p.mu.Unlock()
	wait := time.Second
	if hangs {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
		return []byte(set), err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// publish makes the set one of keys with these names.
func (p *publisher) publish(t *testing.T, names ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for _, name := range names {
		keys = append(keys, strings.Replace(public(t, curveKey(t, elliptic.P256())), "{", `{"kid":"`+name+`",`, 1))
	}
	p.set, p.err, p.hangs = `{"keys":[`+strings.Join(keys, ",")+`]}`, nil, false
}

func (p *publisher) fail(err error, hangs bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.hangs = err, hangs
}

// look fails unless as many keys are found, and as many requests were made
// since the last look.
func (p *publisher) look(t *testing.T, party jose.Keys, name string, found, asked int) {
	t.Helper()
	keys, err := party.Find(t.Context(), jose.Query{ID: name, Alg: "ES256", Use: "sig"})
	if err != nil || len(keys) != found {
		t.Errorf("%s: found %d, %v, want %d", name, len(keys), err, found)
	}
	synctest.Wait()
	if n := int(p.asked.Swap(0)); n != asked {
		t.Errorf("%s: %d requests, want %d", name, n, asked)
	}
}

// unreachable fails unless the keys cannot be had.
func (p *publisher) unreachable(t *testing.T, party jose.Keys, asked int) {
	t.Helper()
	_, err := party.Find(t.Context(), jose.Query{ID: "a", Alg: "ES256", Use: "sig"})
	wants(t, err, jose.Fetch)
	if n := int(p.asked.Swap(0)); n != asked {
		t.Errorf("%d requests, want %d", n, asked)
	}
}

const address = "https://rp.example/jwks"

// OP-CA-06: a copy for up to 20 minutes, one more request for an unknown name.
func TestRemote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.publish(t, "a")
		remote := jose.NewRemote(p.fetch, time.Now, 10)
		party := remote.Party(address)
		p.look(t, party, "a", 1, 1)
		p.look(t, party, "a", 1, 0)
		if ring, err := remote.Ring(t.Context(), address); err != nil || len(ring.Keys) != 1 || p.asked.Load() != 0 {
			t.Errorf("the whole set: %+v, %v", ring, err)
		}

		p.publish(t, "a", "b") // the party rotates its keys
		p.look(t, party, "b", 1, 1)
		p.publish(t, "c")
		p.look(t, party, "c", 0, 0) // twice within 30 s is too often
		p.look(t, party, "a", 1, 0)
		time.Sleep(28 * time.Second) // the request itself took one
		p.look(t, party, "c", 0, 0)
		time.Sleep(time.Second)
		p.look(t, party, "c", 1, 1)
		p.look(t, party, "a", 0, 0)
		for i := range 100 { // names that somebody invents
			p.look(t, party, fmt.Sprint("x", i), 0, 0)
		}

		time.Sleep(10 * time.Minute) // in use, and renewed meanwhile
		p.publish(t, "c", "d")
		p.look(t, party, "c", 1, 1)
		time.Sleep(time.Second)
		p.look(t, party, "d", 1, 0)

		time.Sleep(20 * time.Minute) // too old
		p.publish(t, "e")
		p.look(t, party, "e", 1, 1)
	})
}

// A party that does not answer loses its copy after 20 minutes, is asked again
// every 5 s, and delays nobody while there is a copy.
func TestRemoteFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		party := jose.NewRemote(p.fetch, time.Now, 10).Party(address)
		p.fail(errors.New("no route"), false)
		p.unreachable(t, party, 1)
		p.unreachable(t, party, 0)
		time.Sleep(5 * time.Second)
		p.unreachable(t, party, 1)
		p.publish(t, "a")
		time.Sleep(5 * time.Second)
		p.look(t, party, "a", 1, 1)

		p.fail(nil, true)
		time.Sleep(10 * time.Minute)
		start := time.Now()
		p.look(t, party, "a", 1, 1)
		p.look(t, party, "a", 1, 0)
		if waited := time.Since(start); waited > 0 {
			t.Errorf("waited %s though there is a copy", waited)
		}
		time.Sleep(time.Minute)
		p.look(t, party, "a", 1, 1)
		time.Sleep(10 * time.Minute)
		start = time.Now()
		p.unreachable(t, party, 1)
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %s for one that never answers", waited)
		}

		time.Sleep(5 * time.Second)
		p.fail(nil, false)
		for _, text := range []string{"<html>", `{"keys":[{"kty":"oct","k":"AA"}]}`, strings.Repeat(" ", 256<<10+1)} {
			p.mu.Lock()
			p.set = text
			p.mu.Unlock()
			p.unreachable(t, party, 1)
			time.Sleep(5 * time.Second)
		}
		p.publish(t, "b")
		p.look(t, party, "b", 1, 1)
	})
}

// The refetch for an unknown name may fail: what is known stays.
func TestRemoteFailsToRefetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.publish(t, "a")
		party := jose.NewRemote(p.fetch, time.Now, 10).Party(address)
		p.look(t, party, "a", 1, 1)
		p.fail(errors.New("no route"), false)
		p.look(t, party, "b", 0, 1)
		p.look(t, party, "a", 1, 0)
	})
}

// Many who ask at once cause one request; one who gives up ends it for nobody.
func TestRemoteAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.publish(t, "a")
		remote := jose.NewRemote(p.fetch, time.Now, 10)
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := remote.Party(address).Find(hasty, jose.Query{ID: "a", Alg: "ES256", Use: "sig"})
			wants(t, err, jose.Fetch)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want the caller's deadline", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				keys, err := remote.Party(address).Find(t.Context(), jose.Query{ID: "a", Alg: "ES256", Use: "sig"})
				if err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			})
		}
		wg.Wait()
		if n := p.asked.Swap(0); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		p.publish(t, "a", "b") // all who bring the new name wait for the one request
		for range 50 {
			wg.Go(func() {
				keys, err := remote.Party(address).Find(t.Context(), jose.Query{ID: "b", Alg: "ES256", Use: "sig"})
				if err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			})
		}
		wg.Wait()
		if n := p.asked.Swap(0); n != 1 {
			t.Errorf("%d requests for a new name, want 1", n)
		}
		time.Sleep(30 * time.Second)
		for i := range 50 {
			wg.Go(func() {
				keys, err := remote.Party(address).Find(t.Context(), jose.Query{ID: fmt.Sprint(i), Alg: "ES256", Use: "sig"})
				if err != nil || len(keys) != 0 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			})
		}
		wg.Wait()
		if n := p.asked.Load(); n != 1 {
			t.Errorf("%d requests for unknown names, want 1", n)
		}
	})
}

// Parties are kept apart, and those that nobody uses any more are forgotten.
func TestRemoteParties(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.publish(t, "a")
		remote := jose.NewRemote(p.fetch, time.Now, 4)
		for _, v := range []struct {
			url   string
			asked int
		}{{"1", 1}, {"2", 1}, {"1", 0}, {"3", 1}, {"4", 1}, {"5", 1}, {"6", 1}, {"7", 1}, {"7", 0}, {"1", 1}} {
			p.look(t, remote.Party(v.url), "a", 1, v.asked)
		}
	})
}
