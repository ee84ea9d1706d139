package server

import (
	"fmt"
	"slices"
	"testing"

	"eidgate/eid"
	"eidgate/sandbox"
	"eidgate/web/site"
)

// What the start page offers can be queued, and is shown as it was offered.
func TestOutcomesOfTheStartPage(t *testing.T) {
	t.Parallel()
	for _, o := range site.Outcomes {
		q, err := readQueued(o.Value)
		if err != nil || queuedText(q) != o.Value {
			t.Errorf("%s: %+v is shown as %s, %v", o.Label, q, queuedText(q), err)
		}
		if _, err := sandbox.NewPeople().Get(q.Person); q.Person != "" && err != nil {
			t.Errorf("%s: %v", o.Label, err)
		}
		if e := q.Match.EID; e != "" && !slices.Contains([]eid.EID{eid.BankIDSE, eid.IDIN, eid.IDINAge}, eid.EID(e)) {
			t.Errorf("%s is about %s", o.Label, e)
		}
	}
	for _, bad := range []string{"", "win", "approve;times=3", ";eid=idin"} {
		if q, err := readQueued(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, q)
		}
	}
}

// The page offers what is played.
func TestTriesOfTheStartPage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		eids []eid.EID
		want int
	}{{nil, 11}, {[]eid.EID{eid.Itsme}, 1}, {[]eid.EID{eid.BankIDSE}, 4}, {[]eid.EID{eid.IDINAge}, 2}} {
		if got := tries("http://localhost:8704", (&DevOptions{EIDs: c.eids}).plays); len(got) != c.want {
			t.Errorf("%s: %v", fmt.Sprint(c.eids), got)
		}
	}
}
