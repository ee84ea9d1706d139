package idin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/protocol/idin"
)

// later are the times after the bank's own at which a transaction that nobody
// finished is asked for (docs/protocols/idin.md §12). After the last one it is
// given up.
var later = func() []time.Duration {
	all := []time.Duration{10 * time.Second, time.Hour}
	for day := range 7 {
		all = append(all, time.Hour+time.Duration(day+1)*24*time.Hour)
	}
	return all
}()

// Duty implements connector.Collector: a transaction whose final status nobody
// has seen.
func (*Connector) Duty(raw []byte, now time.Time) *connector.Duty {
	s, err := readState(raw)
	if err != nil || s.ID == "" || s.Phase == asks || s.Phase == answered && s.Answer == nil {
		return nil
	}
	d := &debt{s.ID, s.Reference, s.Issuer, s.Service, s.Until, 0}
	if !now.Before(s.last()) {
		d.Asked = 1 // that one was the order's own
	}
	return d.next()
}

// next is the debt until the next time to ask; nil when it is given up.
func (d *debt) next() *connector.Duty {
	if d.Asked >= len(later) {
		return nil
	}
	return d.duty(d.Until.Add(later[d.Asked]))
}

// Collect implements connector.Collector. Its word is that of the status, or
// connector.GivenUp when the scheme never got one.
func (c *Connector) Collect(ctx context.Context, set connector.Settings, raw []byte, now time.Time) (*connector.Duty, string) {
	var d debt
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, "unreadable"
	}
	d.Asked++
	word := "unreachable"
	if cl, err := c.client(set); err == nil {
		start := time.Now()
		answer, err := cl.api.Status(ctx, d.ID)
		c.watch("status", start, err)
		if err == nil {
			var final bool
			if word, final = settled(cl.merchant, answer, &d, now); final {
				return nil, word
			}
		}
	}
	if next := d.next(); next != nil {
		return next, word
	}
	return nil, connector.GivenUp
}

// settled reads a status for its state alone: nothing is opened.
func settled(m *idin.Merchant, answer []byte, d *debt, now time.Time) (word string, final bool) {
	st, err := m.ReadStatus(answer, idin.Expected{TransactionID: d.ID, Reference: d.Reference, Issuer: d.Issuer, Service: d.Service}, now)
	if e, ok := errors.AsType[*idin.Error](err); ok {
		return "error", e.Retry() == idin.RetryNever
	}
	if e, ok := errors.AsType[*idin.RefusedError](err); ok {
		return "refused", e.Part != idin.Message // the message is the routing service's, and its state counts
	}
	switch {
	case errors.Is(err, idin.ErrNoData):
		return "success", true
	case err != nil:
		return "unreadable", false
	}
	return strings.ToLower(string(st.State)), st.State.Final()
}
