package rig

import (
	"net"
	"strconv"
	"testing"
)

// TestFreePort: the kernel must not lend a free port to a connection before its
// process listens there, and nobody is named one twice.
func TestFreePort(t *testing.T) {
	t.Parallel()
	lent := 1 << 16
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		lent = min(lent, l.Addr().(*net.TCPAddr).Port)
	}
	seen := map[string]bool{}
	for range 50 {
		port := FreePort(t)
		if n, err := strconv.Atoi(port); err != nil || n >= lent || seen[port] {
			t.Errorf("port %s (%v): the kernel lends from %d on, named before: %v", port, err, lent, seen[port])
		}
		seen[port] = true
	}
}
