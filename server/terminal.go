package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"eidgate/broker"
	"eidgate/eid"
)

// A terminal tells the person in front of it, or the program behind it, what
// the sandbox is doing. People read err, programs read out.
type terminal struct {
	out, err io.Writer
	json     bool
	quiet    bool
	color    bool
	now      func() time.Time

	mu    sync.Mutex
	last  string // the last line, so that repeats are folded
	times int
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	plain = "\x1b[0m"
)

func (t *terminal) paint(code, s string) string {
	if !t.color {
		return s
	}
	return code + s + plain
}

// screen prints what to click, then what to paste, then facts.
func (t *terminal) screen(r *ready, eids, data string, took time.Duration) {
	if t.quiet || t.json {
		return
	}
	u, a := r.URLs, r.Accounts[0]
	var b strings.Builder
	line := func(name, value, note string) {
		s := fmt.Sprintf("  %-13s %s", name, t.paint(bold, value))
		if note != "" {
			s = fmt.Sprintf("  %-13s %s%s  %s", name, t.paint(bold, value), strings.Repeat(" ", max(0, 26-len(value))), note)
		}
		b.WriteString(s + "\n")
	}
	fmt.Fprintf(&b, "\n  eidgate %s   %s\n\n", r.Version, t.paint(bold, "SANDBOX: nothing here is real and nobody is identified"))
	line("Start here", u["public"], "")
	line("Demo shop", u["demo"], "log in as a test person")
	line("Phone", u["control"]+"/phone", "approve, cancel, or do nothing")
	b.WriteString("\n")
	line("API key", a.Key, "")
	line("Webhooks", a.WebhookSecret, "")
	fmt.Fprintf(&b, "  %-13s (same values on every computer; a live server refuses them)\n\n", "")
	line("eIDs", eids, "")
	line("Data", data, "")
	line("Ready", fmt.Sprintf("in %.1f s", took.Seconds()), "")
	fmt.Fprintf(&b, "\n  Try   curl -s %s/v2/eid/sbid-another \\\n             -H 'Authorization: %s' \\\n             -d target=%s/done\n",
		strings.TrimPrefix(u["public"], "http://"), a.Key, u["demo"])
	b.WriteString("\n  Ctrl-C stops. Logins appear below.\n\n")
	t.write(b.String())
}

func (t *terminal) write(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.err, s) // a closed terminal is no reason to stop
}

// event prints one JSON object to out.
func (t *terminal) event(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.out.Write(append(raw, '\n')) // as above
}

// login tells that a session has started or ended.
func (t *terminal) login(o broker.Observation, party string) {
	s := o.Session
	switch o.Kind {
	case "started", "ended":
	default:
		return
	}
	id, state, note := s.ID[:8], "started", party
	if o.Kind == "ended" {
		state = string(s.State)
		note = fmt.Sprintf("%s, %d s", party, int(o.Took.Seconds()))
		if s.State == broker.Failed {
			note = strings.TrimSpace(string(s.Reason) + " " + s.Code)
		}
	}
	if t.json {
		t.event(map[string]any{"event": "session." + state, "id": s.ID, "ref": s.Ref(), "eid": s.EID,
			"reason": s.Reason, "at": t.now().UTC().Format(time.RFC3339Nano)})
		return
	}
	color := dim
	switch s.State {
	case broker.Finished:
		color = green
	case broker.Failed:
		color = red
	}
	t.line(fmt.Sprintf("%s  %s  %-12s  %s", id, t.paint(color, fmt.Sprintf("%-8s", state)), eidName(s.EID), note))
}

// eidName tells two eIDs of one name apart.
func eidName(e eid.EID) string {
	switch e {
	case eid.BankIDSE:
		return "BankID SE"
	case eid.BankIDNO:
		return "BankID NO"
	case eid.IDINAge:
		return "iDIN age"
	default:
		return e.Name()
	}
}

// refusal tells a developer why a request was refused.
func (t *terminal) refusal(r *http.Request, status int, h http.Header, docs string) {
	code := h.Get("X-Eidgate-Error")
	if status < 400 || code == "" {
		return
	}
	if t.json {
		t.event(map[string]any{"event": "refused", "method": r.Method, "path": r.URL.Path, "status": status, "code": code})
		return
	}
	t.line(fmt.Sprintf("%s %s  %s\n          %s", r.Method, clean(r.URL.Path), t.paint(red, fmt.Sprintf("%d %s", status, clean(code))), docs))
}

// line prints a line with the time; a repeat is counted instead.
func (t *terminal) line(s string) {
	if t.quiet {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == t.last {
		t.times++
		if t.times == 2 || t.times%10 == 0 {
			fmt.Fprintf(t.err, "          (x%d)\n", t.times)
		}
		return
	}
	t.last, t.times = s, 1
	fmt.Fprintf(t.err, "%s  %s\n", t.now().Format("15:04:05"), s)
}

// ready is what "eidgate dev" promises to programs.
type ready struct {
	Event    string            `json:"event"`
	Version  string            `json:"version"`
	URLs     map[string]string `json:"urls"`
	Accounts []readyAccount    `json:"accounts"`
}

type readyAccount struct {
	Name          string `json:"name"`
	ID            string `json:"id"`
	Key           string `json:"key"`
	WebhookSecret string `json:"webhook_secret"`
}
