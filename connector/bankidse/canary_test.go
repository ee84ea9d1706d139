package bankidse_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/connector/bankidse"
	"eidgate/eid"
	"eidgate/sandbox"
)

// TestNothingPersonalComesOut goes through all ends of an order, at a BankID
// that names the person in every error, and logs what a broker would: errors,
// how it ended, notes, references, and the values themselves. None of it says
// who the person is, what they signed, or a secret.
func TestNothingPersonalComesOut(t *testing.T) {
	t.Parallel()
	s := newService(t, sandbox.Approve)
	s.telltale()
	var out bytes.Buffer
	logs := []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))}
	tell := func(res connector.Result, err error) {
		end, _ := res.Step.(connector.Fail)
		attrs := []any{"error", err, "text", fmt.Sprint(err), "step", connector.StepName(res.Step), "end", end, "notes", res.Notes, "refs", res.Refs,
			"settings", s.set, "pointer", &s.set}
		if res.Confirmed != nil {
			attrs = append(attrs, "identity", *res.Confirmed)
		}
		for _, e := range res.Evidence {
			attrs = append(attrs, "evidence", e)
		}
		for _, l := range logs {
			l.InfoContext(t.Context(), "step", attrs...)
		}
	}
	flow := func(name string, change func(*connector.Request), events ...connector.Event) {
		r := s.request
		r.Texts = visible("I, Ada Test, agree")
		if change != nil {
			change(&r)
		}
		res, err := s.conn.Begin(t.Context(), &r)
		tell(res, err)
		for range 8 {
			if _, waits := res.Step.(connector.Wait); !waits && len(res.State) == 0 || err != nil {
				break
			}
			e := connector.Event(connector.Tick{})
			if len(events) > 0 {
				e, events = events[0], events[1:]
			}
			s.clock.Advance(2 * time.Second)
			state := res.State
			res, err = s.conn.Resume(t.Context(), &r, state, e)
			tell(res, err)
			unknown := strings.Replace(string(state), `"ref":"`, `"ref":"x`, 1) // so that the order goes on
			tell(connector.Result{}, s.conn.Cancel(t.Context(), &r, []byte(unknown)))
		}
		if out.Len() == 0 {
			t.Errorf("%s: nothing was logged", name)
		}
		for _, canary := range []string{"199001012385", "19900101", "Ada", "I, ", "PRIVATE", s.secret()} {
			if strings.Contains(out.String(), canary) {
				t.Errorf("%s: %q came out:\n%s", name, canary, &out)
			}
		}
		out.Reset()
		s.faults.Clear()
		s.decisions.Clear()
		s.Clear()
	}
	pinned := func(r *connector.Request) { r.Pinned = "199001012385" }
	flow("approve", pinned)
	flow("sign", func(r *connector.Request) { r.Purpose = eid.Sign })
	for _, outcome := range []sandbox.Outcome{"cancel", "decline", "expire", "ignore", "fail:certificateErr", "fail:cancelled", "fail:startFailed", "fail:new_code"} {
		s.decisions.Enqueue(sandbox.Queued{Outcome: outcome})
		flow(string(outcome), pinned)
	}
	for _, kind := range []string{"http:400", "http:401", "http:403", "http:408", "http:429", "http:500", "http:502", "http:503", "garbage", "truncate", "reset"} {
		word, value, _ := strings.Cut(kind, ":")
		s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: word, Value: value})
		flow("start "+kind, pinned)
		s.faults.Add(sandbox.Fault{Target: "bankidse", Kind: word, Value: value, Probability: 0.5})
		flow("now and then "+kind, pinned)
	}
	for _, kind := range []string{"bad_signature", "truncate", "garbage", "replay"} {
		s.faults.Add(sandbox.Fault{Target: "bankidse.result", Kind: kind})
		flow("result "+kind, pinned)
	}
	flow("already in progress", func(r *connector.Request) {
		pinned(r)
		tell(s.conn.Begin(t.Context(), r))
	})
	flow("over", pinned, connector.Expired{})
	flow("a text in Latin-1", func(r *connector.Request) { r.Texts = visible("Ada Test\xe5") })
	flow("a long text", func(r *connector.Request) { r.Texts = visible("Ada Test" + strings.Repeat(" ", 1200)) })
	flow("a number in another form", func(r *connector.Request) { r.Pinned = "19900101-2385" })
	flow("a number as address", func(r *connector.Request) { r.Params = map[string]string{"end_user_ip": "199001012385"} })
	flow("a number that was mistyped", func(r *connector.Request) {
		r.Params, r.Input = map[string]string{"ask_personal_number": "1"}, url.Values{"personalnumber": {"19900101-238X"}}
	})
	flow("settings that nobody can read", func(r *connector.Request) {
		r.Settings = connector.Settings{Key: "odd", Data: json.RawMessage(`{"key":"PRIVATE"`)}
	})
	flow("a certificate that is none", func(r *connector.Request) {
		r.Settings = connector.Settings{Key: "none", Data: json.RawMessage(`{"key":"PRIVATE","certificate":"PRIVATE"}`)}
	})
	for name, state := range map[string]string{"no state": ``, "half a state": `{"pinned":"199001012385`, "another state": `{"pinned":["199001012385"]}`,
		"half an answer": "{\"ref\":\"r\"}\n{\"completionData\":{\"user\":\"199001012385 Ada\"}}"} {
		tell(s.conn.Resume(t.Context(), &s.request, []byte(state), connector.Tick{}))
		_, err := s.conn.View([]byte(state), s.clock.Now())
		tell(connector.Result{}, err)
		flow(name, nil)
	}
	s.settings(t, func(set *bankidse.Settings) { set.StoreOnly = true })
	for name, body := range map[string]string{
		"another person": `{"status":"complete","completionData":{"user":{"personalNumber":"199001012385","name":"Ada Test"}}}`,
		"another type":   `{"status":"complete","completionData":{"user":"199001012385 Ada"}}`,
		"a hint":         `{"status":"pending","hintCode":"Ada Test 199001012385"}`,
		"garbage":        `199001012385 Ada`,
	} {
		s.replaced(body)
		flow(name, func(r *connector.Request) { r.Pinned = "199001032391" })
	}
}

// telltale puts the person into every error of the service.
func (s *service) telltale() {
	s.wire.set(func(service http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			service.ServeHTTP(rec, r)
			maps.Copy(w.Header(), rec.Header())
			body := rec.Body.String()
			if rec.Code >= 400 {
				body = strings.Replace(body, `"details":"`, `"details":"Ada Test 199001012385 `, 1)
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write([]byte(body)) // the client has gone
		})
	})
}

// secret is the middle of the RP's key.
func (s *service) secret() string {
	_, key, _ := strings.Cut(s.set.Key, "\n")
	return key[:40]
}
