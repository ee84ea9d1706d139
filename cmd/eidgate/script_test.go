package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"eidgate": main})
}

// TestScripts plays testdata/*.txtar: each runs the command as a user would,
// in processes of their own.
func TestScripts(t *testing.T) {
	t.Parallel()
	evidence, err := filepath.Abs("../../protocol/bankidse/testdata/evidence")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("EVIDENCE", evidence)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "port": port, "json": jsonValue, "request": request, "until": until, "replace": replace, "stops": stops, "receives": receives,
		},
	})
}

// exits CODE PROGRAM ARG... runs a program that must end with a code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	got := 0
	var e *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &e) {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// port NAME... sets variables to free ports.
func port(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Setenv(name, strconv.Itoa(freePorts(ts)))
	}
}

// freePorts is the first of ten free ports in a row, below those that the
// system gives to whoever asks for any.
func freePorts(ts *testscript.TestScript) int {
	for range 100 {
		first, free := 20000+10*rand.IntN(1000), true
		for p := first; p < first+10 && free; p++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			if free = err == nil; free {
				ts.Check(l.Close())
			}
		}
		if free {
			return first
		}
	}
	ts.Fatalf("no ten ports in a row are free")
	return 0
}

// json FILE NAME KEY... sets a variable to what stands below the keys.
func jsonValue(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for _, key := range args[2:] {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			ts.Check(err)
			if i >= len(in) {
				ts.Fatalf("%s: only %d entries", key, len(in))
			}
			v = in[i]
		default:
			ts.Fatalf("%s: nothing below", key)
		}
	}
	text, ok := v.(string)
	if !ok {
		ts.Fatalf("%v is no text", v)
	}
	ts.Setenv(args[1], text)
}

// receives NAME FILE sets a variable to the address of a server that answers with
// the status that stands in a file, and writes for each request the id and the
// signatures of a notification into the file "received".
func receives(ts *testscript.TestScript, _ bool, args []string) {
	var mu sync.Mutex
	var received strings.Builder
	name, out := ts.MkAbs(args[1]), ts.MkAbs("received")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		raw, _ := os.ReadFile(name) // without one it is no status, which the script sees
		received.WriteString(r.Header.Get("Webhook-Id") + " " + r.Header.Get("Webhook-Signature") + "\n")
		status, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if e := os.WriteFile(out, []byte(received.String()), 0o600); err != nil || e != nil {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
	}))
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}

// until REGEXP REQUEST... makes a request again and again, until its answer
// matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[0])
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		request(ts, false, args[1:])
		if re.MatchString(ts.ReadFile("answer")) {
			return
		}
	}
	ts.Fatalf("never answered like %s:\n%s", args[0], ts.ReadFile("answer"))
}

// request METHOD URL [HEADER: VALUE]... [BODY] writes the answer to the files
// "status" and "answer".
func request(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var body io.Reader
	headers := map[string]string{}
	for _, a := range args[2:] {
		if name, value, ok := strings.Cut(a, ": "); ok && body == nil {
			headers[name] = value
			continue
		}
		body = strings.NewReader(a)
	}
	req, err := http.NewRequestWithContext(ctx, args[0], args[1], body)
	ts.Check(err)
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	if req.Header.Get("Host") != "" {
		req.Host = req.Header.Get("Host")
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("status"), []byte(res.Status+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("answer"), raw, 0o600))
}

// replace FILE TO REGEXP WITH writes TO with every match replaced.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	text := regexp.MustCompile(args[2]).ReplaceAllString(ts.ReadFile(args[0]), args[3])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// stops LIMIT sends SIGTERM to the program in the background; with a limit of
// "3s" it must have ended by then. "wait" reads how.
func stops(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
		for end := time.Now().Add(limit); cmd.Process.Signal(syscall.Signal(0)) == nil; <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				ts.Fatalf("still running %s after SIGTERM", limit)
			}
		}
	}
}
