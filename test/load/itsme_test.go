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
		plain := startBare(b)
		bare := plain.around(b)
		sys := rig.New(b, store, sandbox.Approve)
		node := serve(b, sys)
		p := rig.NewParty(b)
		p.Route(node)
		const turns, logins, at, operations = 5, 1000, 64, 4
		var failed atomic.Int64
		login := func(config string) func(int) {
			return func(int) {
				if err := p.LoginV3(b.Context(), sys.Itsme, config); err != nil && failed.Add(1) == 1 {
					b.Error(err)
				}
			}
		}
		run(2*at, at, login(""))
		run(2*at, at, login(rig.CurveConfig))
		var asked int64
		var wall time.Duration
		cpu := func(config string) time.Duration {
			before, start, sent := node.CPU(b), time.Now(), p.Requests.Load()+sys.Itsme.Calls.Load()
			run(logins, at, login(config))
			if config != "" {
				wall += time.Since(start)
				asked += p.Requests.Load() + sys.Itsme.Calls.Load() - sent
			}
			return (node.CPU(b) - before) / logins
		}
		all := inTurns(turns, func() time.Duration { return cpu("") }, func() time.Duration { return plain.rs256(b) }, func() time.Duration { return cpu(rig.CurveConfig) })
		keys, single, curve := all[0], all[1], all[2]
		ratio := float64(keys) / float64(operations*single)
		note("itsme v3, keys, "+name, fmt.Sprintf("%.1f ms of CPU = %.2f x (%d RSA operations of %.2f ms)", ms(keys), ratio, operations, ms(single)), "<= 1.5 x", ratio <= 1.5)
		requests := float64(asked)/(turns*logins) + 1 // and the webhook
		ratio, text := bare(requests*turns*logins/wall.Seconds()).compare(curve, requests)
		note("itsme v3, EC assertion, no JWE, "+name, text, "<= 6 x", ratio <= 6)
		note("itsme v3, "+name, fmt.Sprintf("keys fetched %d times for %d logins", sys.Itsme.Keys(), 2*(2*at+turns*logins)), "<= 2", sys.Itsme.Keys() <= 2)
	})
}
