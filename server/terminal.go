package server

import (
	"cmp"
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
	live     bool // err is a screen, where a line can be written over
	now      func() time.Time
	docs     string // address of the documentation

	mu    sync.Mutex
	last  string // the last entry, so that repeats are folded
	times int
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	plain = "\x1b[0m"
	above = "\x1b[1A\x1b[2K" // to the line above, and clear it
	after = "          "     // below the text of an entry
	width = 80
)

func (t *terminal) paint(code, s string) string {
	if !t.color {
		return s
	}
	return code + s + plain
}

// screen prints what to click, then what to paste, then facts.
func (t *terminal) screen(r *ready, eids, data string, took time.Duration, notes []string) {
	if t.quiet || t.json {
		return
	}
	u, a := r.URLs, r.Accounts[0]
	var b strings.Builder
	line := func(name, value, note string) {
		s := fmt.Sprintf("  %-13s %s", name, t.paint(bold, value))
		if note != "" {
			s += strings.Repeat(" ", max(2, 30-len(value))) + note
		}
		b.WriteString(s + "\n")
	}
	fmt.Fprintf(&b, "\n  eidgate %s   %s\n\n", r.Version, t.paint(bold, "SANDBOX: nothing here is real and nobody is identified"))
	line("Start here", u["public"], "")
	line("Demo shop", u["demo"], "log in as a test person")
	line("Phone", u["control"]+"/phone", "approve, cancel, do nothing")
	line("Docs", u["public"]+"/docs", "")
	b.WriteString("\n")
	line("API key", a.Key, "")
	line("Webhooks", a.WebhookSecret, "")
	line("OpenID issuer", a.OIDC.Issuer, "")
	line("client_id", a.OIDC.Client, "")
	line("client_secret", a.OIDC.Secret, "")
	fmt.Fprintf(&b, "  %-13s (same values on every computer; a live server refuses them)\n\n", "")
	line("eIDs", eids, "")
	line("Data", data, "")
	line("Ready", fmt.Sprintf("in %.1f s", took.Seconds()), "")
	curl := "curl -s " + strings.TrimPrefix(u["public"], "http://")
	if r.CA != "" {
		file := cmp.Or(r.CAFile, caFile)
		trust := file
		if r.CAFile == "" {
			trust = "curl -sk " + u["control"] + "/sandbox/v1/ca.pem >" + file
		}
		line("Trust", trust, "")
		curl = "curl -s --cacert " + file + " \\\n             " + u["public"]
	}
	fmt.Fprintf(&b, "\n  Try   %s/v2/eid/sbid-another \\\n             -H 'Authorization: %s' \\\n             -d target=%s/done\n",
		curl, a.Key, u["demo"])
	for _, n := range notes {
		b.WriteString("\n")
		for _, l := range wrap(n, width-2) {
			b.WriteString("  " + t.paint(bold, l) + "\n")
		}
	}
	b.WriteString("\n  Ctrl-C stops. Logins appear below.\n\n")
	t.write(b.String())
}

// wrap breaks a text at blanks. A longer word has a line of its own.
func wrap(s string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
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

// login tells that a session has started or ended. person is the key of the
// test person who acted, "" for nobody.
func (t *terminal) login(o broker.Observation, party, person string) {
	s := o.Session
	state, notes := "started", []string{party}
	switch o.Kind {
	case "started":
	case "ended":
		state = string(s.State)
		if s.State == broker.Failed {
			notes = []string{strings.TrimSpace(string(s.Reason) + " " + s.Code)}
		}
		if person != "" {
			notes = append(notes, "person "+person)
		}
		notes = append(notes, fmt.Sprintf("%d s", int(o.Took.Seconds())))
	default:
		return
	}
	if t.json {
		t.event(struct {
			Event  string     `json:"event"`
			ID     string     `json:"id"`
			Ref    string     `json:"ref"`
			EID    eid.EID    `json:"eid"`
			Reason eid.Reason `json:"reason,omitempty"`
			Person string     `json:"person,omitempty"`
			At     string     `json:"at"`
		}{"session." + state, s.ID, s.Ref(), s.EID, s.Reason, person, t.now().UTC().Format(time.RFC3339Nano)})
		return
	}
	color := dim
	switch s.State {
	case broker.Finished:
		color = green
	case broker.Failed:
		color = red
	default: // it goes on
	}
	t.line(fmt.Sprintf("%s  %s  %-12s  %s", s.ID[:8], t.paint(color, fmt.Sprintf("%-8s", state)), eidName(s.EID), strings.Join(notes, ", ")))
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

// refusal tells a developer that the API refused a request, and why. answer is
// the beginning of its body; the texts in it are ours.
func (t *terminal) refusal(r *http.Request, status int, h http.Header, answer []byte) {
	code := h.Get("X-Eidgate-Error")
	if code == "" {
		return
	}
	var body struct {
		Errors []struct{ Description string }
		Text   string `json:"error_description"` // of OAuth
	}
	cause := ""
	if json.Unmarshal(answer, &body) == nil {
		if cause = body.Text; len(body.Errors) > 0 {
			cause = body.Errors[0].Description
		}
	}
	if t.json {
		t.event(struct {
			Event  string `json:"event"`
			Method string `json:"method"`
			Path   string `json:"path"`
			Status int    `json:"status"`
			Code   string `json:"code"`
			Cause  string `json:"cause,omitempty"`
			At     string `json:"at"`
		}{"refused", r.Method, clean(r.URL.Path), status, code, cause, t.now().UTC().Format(time.RFC3339Nano)})
		return
	}
	text := fmt.Sprintf("%s %s  %s", r.Method, clean(r.URL.Path), t.paint(red, fmt.Sprintf("%d %s", status, clean(code))))
	for _, l := range append(wrap(cause, width-len(after)), t.docs+"/errors/"+clean(code)) {
		text += "\n" + after + l
	}
	t.line(text)
}

// line prints an entry with the time. Repeats are counted: on a screen in
// place, elsewhere when something else is said.
func (t *terminal) line(s string) {
	if t.quiet {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s != t.last {
		t.fold()
		t.last, t.times = s, 1
		fmt.Fprintf(t.err, "%s  %s\n", t.now().Format("15:04:05"), s)
		return
	}
	t.times++
	if t.live {
		if t.times > 2 {
			_, _ = io.WriteString(t.err, above) // as in write
		}
		fmt.Fprintf(t.err, "%s×%d\n", after, t.times)
	}
}

// fold says how often the last entry came, if that was not said yet.
func (t *terminal) fold() {
	if !t.live && t.times > 1 {
		fmt.Fprintf(t.err, "%s×%d\n", after, t.times)
	}
	t.last, t.times = "", 0
}

// close says what is left to say.
func (t *terminal) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fold()
}

// ready is what "eidgate dev" promises to programs.
type ready struct {
	Event    string            `json:"event"`
	Version  string            `json:"version"`
	URLs     map[string]string `json:"urls"`
	CA       string            `json:"ca,omitempty"`      // of https, PEM
	CAFile   string            `json:"ca_file,omitempty"` // where it is kept
	Accounts []readyAccount    `json:"accounts"`
}

type readyAccount struct {
	Name          string    `json:"name"`
	ID            string    `json:"id"`
	Key           string    `json:"key"`
	WebhookSecret string    `json:"webhook_secret"`
	OIDC          readyOIDC `json:"oidc"`
}

type readyOIDC struct {
	Issuer string `json:"issuer"`
	Client string `json:"client_id"`
	Secret string `json:"client_secret"`
}
