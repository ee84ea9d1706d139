package rig

import (
	"net"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnOneCore: what was started stays on one core, and this process does not.
func TestOnOneCore(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // the kernel keeps this for each thread
	defer runtime.UnlockOSThread()
	of := func(pid int) (set unix.CPUSet) {
		t.Helper()
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	before := of(0)
	p := OnOneCore(t, func() *Process { return Start(t, nil, "sleep", "60") })
	if child := of(p.cmd.Process.Pid); child.Count() != 1 {
		t.Errorf("the process may run on %d cores", child.Count())
	}
	if after := of(0); after != before {
		t.Errorf("this thread may run on %d cores, before on %d", after.Count(), before.Count())
	}
}

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
