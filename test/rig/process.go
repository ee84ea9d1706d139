// Package rig runs the command as its users do, in processes of its own: the
// simulators, one or more nodes, and a relying party that logs people in and
// counts what it gets. Tests that kill and benchmarks that measure share it.
package rig

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var build struct {
	sync.Once
	path string
	err  error
}

// Binary builds the command, once for each test process and without the race
// detector.
func Binary(t testing.TB) string {
	t.Helper()
	build.Do(func() {
		dir, err := os.MkdirTemp("", "eidgate-rig-")
		if err != nil {
			build.err = err
			return
		}
		build.path = filepath.Join(dir, "eidgate")
		cmd := exec.Command("go", "build", "-o", build.path, "eidgate/cmd/eidgate")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Clean removes what Binary has made; for TestMain.
func Clean() {
	if build.path != "" {
		_ = os.RemoveAll(filepath.Dir(build.path)) // it is a temporary folder
	}
}

// A Process is a started program. It ends with the test.
type Process struct {
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
	err  error
}

// Start runs a program. One that ends by itself while the test runs leaves its
// last words in Log.
func Start(t testing.TB, env []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(name, args...), log: &tail{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process at once, as a crash would, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.done
}

// Stop asks the process to end and says how it did.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
		return p.err
	case <-time.After(30 * time.Second):
		p.Kill()
		return fmt.Errorf("process %d does not stop", p.cmd.Process.Pid)
	}
}

// Listens waits until somebody listens at an address, host:port, which the
// process was told to.
func (p *Process) Listens(t testing.TB, addr string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close() // nothing was sent
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens at %s\n%s", addr, p.Log())
		}
		select {
		case <-p.done:
			t.Fatalf("the process ended: %v\n%s", p.err, p.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Log is the end of what the process has written.
func (p *Process) Log() string { return p.log.String() }

// CPU is what the process has used of the processor.
func (p *Process) CPU(t testing.TB) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(raw, []byte(") ")) // the name may hold blanks
	f := strings.Fields(string(rest))
	var ticks int64
	for _, i := range []int{11, 12} { // utime, stime: fields 14 and 15 of proc(5)
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on Linux
}

// RSS is the process's resident memory in bytes.
func (p *Process) RSS(t testing.TB) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// A tail keeps the last 16 KiB of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - 16<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// given are the ports that FreePort has named.
var given sync.Map

// FreePort is a port of the loopback address that nobody listens on now. It
// lies below those that the kernel lends to connections: with hundreds of them
// in a second, one would often take the port before its process listens.
func FreePort(t testing.TB) string {
	t.Helper()
	const from = 10000
	to := 32768 // of Linux, unless it says otherwise
	if raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if f := strings.Fields(string(raw)); len(f) == 2 {
			to, _ = strconv.Atoi(f[0]) // what is no number is too low
		}
	}
	if to <= from {
		t.Fatalf("no ports are left between %d and the first that connections use, %d", from, to)
	}
	for range 100 {
		port := strconv.Itoa(from + rand.N(to-from)) //nolint:gosec // any port will do
		if _, known := given.LoadOrStore(port, true); known {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close() // nothing was accepted
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// answers says whether a GET is answered with 200.
func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
