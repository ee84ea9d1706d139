package server

import (
	"context"
	"time"

	"eidgate/broker"
	"eidgate/sandbox"
	"eidgate/store"
	"eidgate/web/site"
)

// startPage is what the start page shows of the sandbox and does to it: the
// same that the control API does. opened answers with the store, once there is
// one.
func (s *simulators) startPage(urls map[string]string, version string, opened func() *store.Store) *site.Sandbox {
	return &site.Sandbox{Public: urls["public"], Demo: urls["demo"], Phone: urls["control"] + "/phone", Control: urls["control"],
		Key: sandboxKey, Secret: sandboxSecret, Version: version,
		Recent: func() []site.Login { return recentLogins(opened()) },
		Queued: func() (out []string) {
			for _, q := range s.decisions.Queue() {
				for range q.Times {
					out = append(out, string(q.Outcome))
				}
			}
			return out
		},
		Enqueue: func(outcome string) error {
			o, err := sandbox.ParseOutcome(outcome)
			if err == nil {
				s.decisions.Enqueue(sandbox.Queued{Outcome: o})
			}
			return err
		},
		Forget: s.decisions.Unqueue}
}

// recentLogins are the latest sessions, without anything personal. Where they
// cannot be read the list is empty: the page is of use without it.
func recentLogins(s *store.Store) []site.Login {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	all, err := s.List(ctx, "", "", 10)
	if err != nil {
		return nil
	}
	var out []site.Login
	for _, n := range all {
		outcome := string(n.State)
		if n.State == broker.Failed || n.State == broker.Erased && n.Reason != "" {
			outcome = string(n.Reason)
		}
		out = append(out, site.Login{At: n.Created, ID: n.ID, Ref: n.Ref(), EID: eidName(n.EID), Outcome: outcome})
	}
	return out
}
