package load

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/test/rig"
)

// BenchmarkIDIN runs whole logins at a bank: setup, page with the banks, the
// choice, the bank, the return, result, webhook. Of the node's RSA operations
// two sign a request each, one opens the person's number, and one each
// attribute.
func BenchmarkIDIN(b *testing.B) {
	single := startBare(b).rs256(b)
	stores(b, func(b *testing.B, name, store string) {
		sys := rig.New(b, store, sandbox.Approve)
		node := serve(b, sys)
		p := rig.NewParty(b)
		p.Route(node)
		for _, c := range []struct {
			selector   string
			attributes int // that the usual person's bank tells
		}{{"idin", 9}, {"idin_age", 1}} {
			const logins, at = 600, 16
			login := func(failed *atomic.Int64) func(int) {
				return func(int) {
					if _, err := p.Identify(b.Context(), sys.Bank, c.selector); err != nil && failed.Add(1) == 1 {
						b.Error(err)
					}
				}
			}
			var failed atomic.Int64
			run(50, at, login(&failed))
			before := node.CPU(b)
			run(logins, at, login(&failed))
			cpu := (node.CPU(b) - before) / logins
			operations := 2 + 1 + c.attributes
			ratio := float64(cpu) / float64(time.Duration(operations)*single)
			note(c.selector+", "+name, fmt.Sprintf("%.1f ms of CPU = %.2f x (%d RSA operations of %.2f ms: 2 signatures, 1 number, %d attributes)",
				ms(cpu), ratio, operations, ms(single), c.attributes), "<= 1.5 x", ratio <= 1.5)
		}
	})
}
