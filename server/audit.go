package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"eidgate/internal/audit"
	"eidgate/store"
)

const (
	sealEvery   = time.Minute
	sealApart   = sealEvery / 2 // so that several nodes do together what one would
	sealLast    = time.Second   // how long a stop may take to seal what is left
	verifyEvery = time.Hour
	verifyOld   = 16384 // segments of the old part that are verified in one round: 16.8 million rows
	verifyShare = 10    // a round works for one part of its time in so many
)

// A trail keeps the audit trail of a running node sealed, and looks whether it
// still is. Each node looks for itself, and remembers itself what it has seen:
// who can write into the database cannot change that.
type trail struct {
	store   *store.Store
	metrics *metrics
	log     *slog.Logger

	seen audit.Segment // the newest one; Number and Hash count
	next int64         // first segment of the old part that comes next
	bad  int64         // segment that something is wrong with; 0 for none
}

// seal seals what has settled, until ctx ends.
func (t *trail) seal(ctx context.Context) error {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.once(ctx, store.AuditSettled, sealApart)
		}
	}
}

func (t *trail) once(ctx context.Context, settled, apart time.Duration) {
	switch _, err := t.store.Seal(ctx, settled, apart); {
	case err == nil:
		t.metrics.sealed.SetToCurrentTime()
	case ctx.Err() == nil:
		t.log.ErrorContext(ctx, "the audit trail cannot be sealed", "error", err)
	}
}

// last seals at a stop: everything, where nobody else writes.
func (t *trail) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sealLast)
	defer cancel()
	settled := store.AuditSettled
	if t.store.Sole() {
		settled = 0
	}
	t.once(ctx, settled, 0)
}

// watch verifies at the start and once an hour, until ctx ends.
func (t *trail) watch(ctx context.Context) error {
	tick := time.NewTicker(verifyEvery)
	defer tick.Stop()
	for {
		t.tell(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tell verifies once, and says what has come of it.
func (t *trail) tell(ctx context.Context) {
	found, err := t.round(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		t.log.WarnContext(ctx, "the audit trail cannot be verified", "error", err)
	case len(found) == 0:
		t.metrics.verified.SetToCurrentTime()
	}
	if len(found) > 0 { // before an error, too
		t.metrics.alarm("audit_failure")
	}
	for _, f := range found {
		t.log.ErrorContext(ctx, "the audit trail was tampered with", "segment", f.Segment, "row", f.Row, "kind", f.Kind)
	}
}

// round verifies what was sealed since the last round, part of what is older,
// so that each segment has its turn, and what was wrong the last time.
func (t *trail) round(ctx context.Context) (found []audit.Finding, err error) {
	head, err := t.store.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := t.store.AuditVerifiers(ctx) // after the head, whose key is made before it
	if err != nil {
		return nil, err
	}
	part := func(from, most int64, known ...audit.Segment) error {
		more, err := verifyPart(ctx, t.store, keys, from, most, known)
		found = append(found, more...)
		return err
	}
	if t.bad > 0 {
		if err := part(max(t.bad-1, 1), 3); err != nil {
			return found, err
		}
	}
	var known []audit.Segment
	from := max(head.Number-verifyOld, 1)
	if t.seen.Number > 0 {
		from, known = t.seen.Number, []audit.Segment{t.seen}
	}
	if err := part(from, head.Number-from+1, known...); err != nil {
		return found, err
	}
	if t.next = max(t.next, 1); t.next < from {
		if err := part(t.next, min(verifyOld, from-t.next)+1); err != nil { // with the next part's first, or nobody would miss the last
			return found, err
		}
	}
	if t.next += verifyOld; t.next >= from {
		t.next = 1
	}
	t.bad = 0
	for _, f := range found {
		if f.Kind == audit.Cut || f.Kind == audit.Replaced {
			return found, nil // what was seen stays what must be there
		}
		t.bad = f.Segment
	}
	t.seen = head
	return found, nil
}

// verifyPart verifies at most so many segments from a number on. With an error
// comes what was found before it.
func verifyPart(ctx context.Context, s *store.Store, keys []string, from, most int64, known []audit.Segment) ([]audit.Finding, error) {
	verifiers, err := audit.Verifiers(keys...)
	if err != nil {
		return nil, err
	}
	v := audit.Verifier{Keys: verifiers, Begin: from, Known: known}
	begun := time.Now()
	for one, err := range s.AuditTrail(ctx, from) {
		if err != nil {
			return v.Findings, err
		}
		if one.Number >= from+most {
			break
		}
		v.Add(one)
		if !pause(ctx, (verifyShare-1)*time.Since(begun)) {
			return v.Findings, ctx.Err()
		}
		begun = time.Now()
	}
	return v.End().Findings, nil
}

// pause waits; false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// An AuditCheck is what a verification of the audit trail is held against.
type AuditCheck struct {
	Checkpoint string   // a signed note that was kept elsewhere; "" for none
	Keys       []string // verifier keys; none for those of the database
}

// verifier is what goes over the segments.
func (c *AuditCheck) verifier() (*audit.Verifier, error) {
	keys, err := audit.Verifiers(c.Keys...)
	if err != nil {
		return nil, err
	}
	v := &audit.Verifier{Keys: keys}
	if c.Checkpoint != "" {
		known, err := audit.Checkpoint(c.Checkpoint, keys)
		if err != nil {
			return nil, &Unmet{err.Error(), []string{"is it a checkpoint of this trail?", "name the key that was kept with it:  --key KEY"}}
		}
		v.Known = append(v.Known, known)
	}
	return v, nil
}

// VerifyAudit verifies the audit trail of the configured store: all of it that
// is sealed. That it was read is written into it.
func VerifyAudit(ctx context.Context, c *Config, check AuditCheck) (*audit.Report, error) {
	s, err := c.openAudit(ctx, "audit.verify")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }() // only read from
	if len(check.Keys) == 0 {
		if check.Keys, err = s.AuditVerifiers(ctx); err != nil {
			return nil, err
		}
	}
	v, err := check.verifier()
	if err != nil {
		return nil, err
	}
	v.Begin = 1
	for one, err := range s.AuditTrail(ctx, 1) {
		if err != nil {
			return nil, err
		}
		v.Add(one)
	}
	return v.End(), nil
}

// VerifyAuditFile verifies an export, which may begin with any segment. It asks
// no database.
func VerifyAuditFile(path string, check AuditCheck) (*audit.Report, error) {
	f, err := os.Open(path) //nolint:gosec // named by the user
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	v, err := check.verifier()
	if err != nil {
		return nil, err
	}
	for one, err := range audit.Read(f) {
		if err != nil {
			return nil, err
		}
		v.Add(one)
	}
	if v.Last == 0 {
		return nil, &Unmet{"the export is empty", []string{"eidgate audit export >" + path}}
	}
	return v.End(), nil
}

// openAudit opens the store to read the audit trail, and writes there that it
// does; not for what tells nothing of it, with "".
func (c *Config) openAudit(ctx context.Context, action string) (*store.Store, error) {
	s, err := c.openCurrent(ctx)
	if err != nil || action == "" {
		return s, err
	}
	if err := s.RecordAudit(ctx, action); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ExportAudit writes the segments after a number, with their rows, a line of
// JSON for each.
func ExportAudit(ctx context.Context, c *Config, after int64, out io.Writer) (err error) {
	s, err := c.openAudit(ctx, "audit.export")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	to := json.NewEncoder(out)
	for one, err := range s.AuditTrail(ctx, after+1) {
		if err == nil {
			err = to.Encode(one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// AuditCheckpoint is the newest checkpoint, to be kept elsewhere; "" if there is
// none yet.
func AuditCheckpoint(ctx context.Context, c *Config) (_ string, err error) {
	s, err := c.openAudit(ctx, "audit.export")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	head, err := s.AuditHead(ctx)
	return head.Note, err
}

// AuditKeys are the verifier keys, oldest first.
func AuditKeys(ctx context.Context, c *Config) (_ []string, err error) {
	s, err := c.openAudit(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.AuditVerifiers(ctx)
}
