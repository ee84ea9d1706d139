package load

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/test/rig"
)

// BenchmarkItsme runs whole logins with itsme over the third generation of the
// ZignSec API: setup, itsme, the return, result, webhook. With keys, two of the
// node's RSA operations sign a request object and an assertion each, and two
// open the ID token and UserInfo. Without JWE it signs an assertion with
// ES256, and nothing is opened.
func BenchmarkItsme(b *testing.B) {
	stores(b, func(b *testing.B, name, store string) {
		bare, signature := around(b), rs256(b)
		sys := rig.New(b, store, sandbox.Approve)
		node := sys.Serve(b, one...)
		p := rig.NewParty(b)
		p.Route(node)
		for _, config := range []string{"", rig.CurveConfig} {
			const logins, at, operations = 1200, 64, 4
			var failed atomic.Int64
			login := func(int) {
				if err := p.LoginV3(b.Context(), sys.Itsme, config); err != nil && failed.Add(1) == 1 {
					b.Error(err)
				}
			}
			run(2*at, at, login)
			asked, before, start := p.Requests.Load()+sys.Itsme.Calls.Load(), node.CPU(b), time.Now()
			run(logins, at, login)
			wall := time.Since(start)
			cpu := (node.CPU(b) - before) / logins
			if config == "" {
				single := (signature + rs256(b)) / 2
				ratio := float64(cpu) / float64(operations*single)
				note("itsme v3, keys, "+name, fmt.Sprintf("%.1f ms of CPU = %.2f x (%d RSA operations of %.2f ms)", ms(cpu), ratio, operations, ms(single)), "<= 1.5 x", ratio <= 1.5)
				continue
			}
			requests := float64(p.Requests.Load()+sys.Itsme.Calls.Load()-asked)/logins + 1 // and the webhook
			ratio, text := bare(requests*logins/wall.Seconds()).compare(cpu, requests)
			note("itsme v3, EC assertion, no JWE, "+name, text, "<= 6 x", ratio <= 6)
		}
		note("itsme v3, "+name, fmt.Sprintf("keys fetched %d times for 2656 logins", sys.Itsme.Keys()), "<= 2", sys.Itsme.Keys() <= 2)
	})
}
