package rig

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// OnOneCore calls start such that the process which it starts, and returns, stays
// on one core of the machine: the last of those that this process may use. Others may run there
// too.
func OnOneCore[P any](t testing.TB, start func() P) P {
	t.Helper()
	runtime.LockOSThread() // a process inherits from the thread that starts it
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 64*len(all) - 1; cpu >= 0; cpu-- {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			t.Error(err)
		}
	}()
	return start()
}
