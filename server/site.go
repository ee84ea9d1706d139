package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/sandbox"
	"eidgate/store"
	"eidgate/web/site"
)

// startPage is what the start page shows of the sandbox and does to it: the
// same that the control API does. opened answers with the store, once there is
// one.
func (s *simulators) startPage(urls map[string]string, version string, plays func(eid.EID) bool, opened func() *store.Store) *site.Sandbox {
	return &site.Sandbox{Public: urls["public"], Demo: urls["demo"], Phone: urls["control"] + "/phone", Control: urls["control"],
		Key: sandboxKey, Secret: sandboxSecret, Client: sandboxClient, ClientSecret: sandboxClientSecret, Version: version, Tries: tries(urls["demo"], plays),
		Recent: func() []site.Login { return recentLogins(opened()) },
		Queued: func() (out []string) {
			for _, q := range s.decisions.Queue() {
				for range q.Times {
					out = append(out, queuedText(q))
				}
			}
			return out
		},
		Faults: s.active,
		Enqueue: func(text string) error {
			q, err := readQueued(text)
			if err == nil {
				s.decisions.Enqueue(q)
			}
			return err
		},
		Forget: s.decisions.Unqueue}
}

// active are the faults that are on: target, kind and value.
func (s *simulators) active() (out []string) {
	for _, f := range s.faults.List() {
		out = append(out, strings.TrimSpace(f.Target+" "+f.Kind+" "+f.Value))
	}
	return out
}

// tries are the logins of the demo shop whose eIDs are played.
func tries(demo string, plays func(eid.EID) bool) (out []site.Try) {
	for _, t := range []struct {
		eid          eid.EID
		label, query string
	}{
		{eid.BankIDSE, "Swedish BankID", "method=sbid-another"}, {eid.BankIDSE, "BankID on this device", "method=sbid"},
		{eid.BankIDSE, "Sign a text", "method=sbid-another#form-title"},
		{eid.IDIN, "iDIN", "method=idin"}, {eid.IDINAge, "iDIN: 18 or older", "method=idin_age"},
		{eid.IDINAge, "Age check by AgeChecked", "method=idin_age&configid=" + ageConfig},
		{eid.Itsme, "itsme", "method=itsme"}, {eid.BankIDNO, "Norwegian BankID", "method=nbid_oidc"}, {eid.MitID, "MitID", "method=mitid"},
		{eid.IDIN, "iDIN at a counter", "method=idin&configid=" + counterConfig}, {eid.BankIDSE, "Let me choose", "method=se"},
	} {
		if plays(t.eid) {
			out = append(out, site.Try{Label: t.label, URL: demo + "/?" + t.query})
		}
	}
	return out
}

// queuedText is what waits in the queue as the start page has it.
func queuedText(q sandbox.Queued) string {
	text := string(q.Outcome)
	if q.Match.EID != "" {
		text += ";eid=" + q.Match.EID
	}
	if q.Person != "" {
		text += ";person=" + q.Person
	}
	return text
}

// readQueued is the opposite.
func readQueued(text string) (q sandbox.Queued, err error) {
	word, rest, _ := strings.Cut(text, ";")
	if q.Outcome, err = sandbox.ParseOutcome(word); err != nil || rest == "" {
		return q, err
	}
	for part := range strings.SplitSeq(rest, ";") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "eid":
			q.Match.EID = value
		case "person":
			q.Person = value
		default:
			return q, fmt.Errorf("%.20q is nothing of an outcome", name)
		}
	}
	return q, nil
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
