package idin

import (
	"context"
	"errors"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/natid"
	"eidgate/protocol/idin"
)

// EvidenceName is that of the bank's answer as it came, with the person's data
// still encrypted in it.
const EvidenceName = "idin.response"

// read verifies the stored answer, opens it, and says what it comes to.
func (c *Connector) read(ctx context.Context, cl *client, r *connector.Request, s *state) (connector.Result, error) {
	at, raw := s.Got, s.Answer
	s.Answer = nil
	st, err := cl.merchant.ReadStatus(raw, s.expected(), at)
	if err != nil {
		return c.unread(s, err), nil
	}
	switch st.State {
	case idin.Open, idin.Pending:
		return c.still(cl, r, s), nil
	case idin.Cancelled:
		return connector.Result{Step: connector.Fail{Reason: eid.Cancelled, Code: string(st.State)}}, nil
	case idin.Expired:
		return connector.Result{Step: connector.Fail{Reason: eid.Expired, Code: string(st.State)}}, nil
	case idin.Failure:
		return connector.Result{Step: connector.Fail{Reason: eid.Declined, Code: string(st.State)}}, nil
	case idin.Success:
	}
	if s.Came.IsZero() { // asked for by the clock: nobody is logged in by that, and nothing of the person is opened
		return connector.Result{Step: connector.Fail{Reason: eid.BrowserNotReturned, Code: string(st.State)}, Notes: []string{"confirmed by the bank"}}, nil
	}
	if cl.set.Incomplete == Refuse && (st.Incomplete || st.Missing != 0) {
		return connector.Result{Step: connector.Fail{Reason: eid.Declined, Code: "IncompleteAttributeSet"}}, nil
	}
	p, err := st.Open(ctx, c.cpu)
	if err != nil {
		return c.unread(s, err), nil
	}
	id := identity(st, p, at)
	id.Issuer = s.Issuer
	res := connector.Result{Confirmed: id, Evidence: []eid.Evidence{{Name: EvidenceName, Type: "application/xml", Data: raw}}, Step: connector.Done{}}
	for _, n := range append(st.Notes, p.Notes...) {
		res.Notes = append(res.Notes, string(n))
	}
	if s.Foreign && s.Code == nil {
		s.Phase = asks
		res.Step = s.step()
	}
	res.State = s.bytes()
	return res, nil
}

// unread is the end of an attempt whose answer gives nobody. Where it says
// nothing final that can be believed, the status is still owed.
func (c *Connector) unread(s *state, err error) connector.Result {
	if errors.Is(err, idin.ErrNoData) {
		if s.Came.IsZero() {
			return connector.Result{Step: connector.Fail{Reason: eid.BrowserNotReturned, Code: "no_data"}, Notes: []string{"confirmed by the bank"}}
		}
		return connector.Result{Step: connector.Fail{Reason: eid.OutcomeUnknown, Code: "no_data"}}
	}
	if e, ok := errors.AsType[*idin.RefusedError](err); ok {
		if e.Part == idin.Message {
			s.Phase = open
		}
		return connector.Result{Step: distrusted(e), State: s.bytes(), Notes: []string{"refused: " + string(e.Reason) + " of the " + string(e.Part)}}
	}
	if e, ok := errors.AsType[*idin.Error](err); ok {
		if e.Retry() != idin.RetryNever { // the routing service's trouble; what the bank knows is not lost by that
			s.Phase = open
			return connector.Result{Step: connector.Fail{Reason: eid.OutcomeUnknown, Code: code4(e), Text: e.Consumer}, State: s.bytes()}
		}
		return connector.Result{Step: connector.Fail{Reason: eid.Declined, Code: code4(e), Text: e.Consumer}}
	}
	return connector.Result{Step: connector.Fail{Reason: eid.Internal, Code: "unread"}, State: s.bytes()}
}

// still is a bank without a result: after a return the page waits, and asks
// nothing before the rules allow it; when the time is over for sure the attempt
// ends, and what is owed stays a duty (docs/protocols/idin.md §12).
func (c *Connector) still(cl *client, r *connector.Request, s *state) connector.Result {
	if !c.now().Before(s.last()) {
		s.Phase = open
		return connector.Result{Step: connector.Fail{Reason: eid.Expired, Code: string(idin.Open)}, State: s.bytes()}
	}
	if s.Phase = atBank; !s.Came.IsZero() {
		s.Phase = open
	}
	return c.stay(cl, r, s)
}

// identity is what the bank says, in the broker's words. iDIN knows no first
// names and no citizen number.
func identity(st *idin.Status, p *idin.Person, at time.Time) *eid.Identity {
	id := &eid.Identity{EID: eid.IDIN, At: at, Request: st.TransactionID, Subject: p.BIN, Country: "NL", Level: st.Level, Approved: p.Adult,
		Initials: p.Initials, Legal: eid.LastName{Prefix: p.LegalLastNamePrefix, Name: p.LegalLastName},
		Preferred: eid.LastName{Prefix: p.PreferredLastNamePrefix, Name: p.PreferredLastName},
		Partner:   eid.LastName{Prefix: p.PartnerLastNamePrefix, Name: p.PartnerLastName},
		Sex:       p.Gender, Former: p.FormerBIN, Phone: p.Telephone, Email: p.Email, Partial: st.Incomplete || p.Missing != 0}
	if id.Subject == "" {
		id.Subject = p.Transient
	}
	id.Family = id.Legal.Full()
	id.Name = strings.TrimSpace(id.Initials + " " + id.Family)
	id.Gender = map[string]string{"1": "male", "2": "female"}[p.Gender]
	birth(id, p.BirthDate, at)
	address(id, p)
	return id
}

// birth keeps a date whose month or day is not known as the bank wrote it;
// there is no age to it then.
func birth(id *eid.Identity, text string, at time.Time) {
	id.BirthText = text
	if len(text) != 8 {
		return
	}
	day := text[:4] + "-" + text[4:6] + "-" + text[6:]
	d, err := natid.ParseDate(day)
	if err != nil {
		return
	}
	id.Birth = day
	if age, ok := natid.AgeAt("NL", d, at); ok {
		id.Age = &age
	}
}

func address(id *eid.Identity, p *idin.Person) {
	a := eid.Address{Street: p.Street, Number: p.HouseNumber, Suffix: p.HouseNumberSuffix, Extra: p.AddressExtra, PostalCode: p.PostalCode,
		City: p.City, Country: p.Country}
	for _, line := range p.International {
		if line != "" {
			a.Lines = append(a.Lines, line)
		}
	}
	if a.Street != "" || a.PostalCode != "" || a.City != "" || a.Country != "" || len(a.Lines) > 0 {
		id.Address = &a
	}
}
