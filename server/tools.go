package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"crypto/x509"

	"eidgate/broker"
	"eidgate/eid"
	"eidgate/protocol/bankidse"
	"eidgate/store"
)

// openStore opens the configured store without anything around it.
func (c *Config) openStore(ctx context.Context, look bool) (*store.Store, error) {
	masters, err := c.Keys.read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	address, err := c.Store.address()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s, err := masters.open(ctx, store.Config{URL: address, Now: time.Now, Log: slog.New(slog.DiscardHandler), Look: look})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s, nil
}

// openCurrent opens the configured store to look at it; ErrBehind, and ErrConfig
// where the master key is another one.
func (c *Config) openCurrent(ctx context.Context) (*store.Store, error) {
	return c.openFitting(ctx, true)
}

// openToWrite opens the configured store for a command that changes what is in it;
// errors as those of openCurrent. A file of SQLite must not be in use.
func (c *Config) openToWrite(ctx context.Context) (*store.Store, error) {
	return c.openFitting(ctx, false)
}

// openFitting opens a store that this version and the master key fit.
func (c *Config) openFitting(ctx context.Context, look bool) (*store.Store, error) {
	s, err := c.openStore(ctx, look)
	if err != nil {
		return nil, err
	}
	behind, err := s.Pending(ctx)
	if err == nil && behind > 0 {
		err = fmt.Errorf("%w: %d changes are not applied", ErrBehind, behind)
	}
	if err == nil {
		err = wrongMaster(s.Begin(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// MigrateStatus tells how many changes of the schema are not applied.
func MigrateStatus(ctx context.Context, c *Config, out io.Writer) error {
	s, err := c.openStore(ctx, true)
	if errors.Is(err, os.ErrNotExist) { // a file of SQLite that nobody has made
		fresh := *c
		fresh.Store = StoreConfig{URL: "memory"}
		s, err = fresh.openStore(ctx, false)
	}
	if err != nil {
		return err
	}
	n, err := s.Pending(ctx)
	if err == nil {
		_, err = fmt.Fprintf(out, "%d changes are not applied\n", n)
	}
	if err == nil && n == 0 {
		_, err = ahead(ctx, s, out)
	}
	return errors.Join(err, s.Close())
}

// ahead says whether the database is ahead of this version, and prints it.
func ahead(ctx context.Context, s *store.Store, out io.Writer) (bool, error) {
	n, err := s.Unknown(ctx)
	if err == nil && n > 0 {
		_, err = fmt.Fprintf(out, "the database is ahead of this version: a newer one has made %d changes\n", n)
	}
	return n > 0, err
}

// MigrateUp applies them.
func MigrateUp(ctx context.Context, c *Config, out io.Writer) error {
	s, err := c.openStore(ctx, false)
	if err != nil {
		return err
	}
	err = s.Migrate(ctx)
	newer := false
	if err == nil {
		newer, err = ahead(ctx, s, out)
	}
	if err == nil && !newer {
		_, err = fmt.Fprintln(out, "the database is up to date")
	}
	return errors.Join(err, s.Close())
}

// A Row is a session as operators see it: nothing personal.
type Row struct {
	ID      string       `json:"id"`
	Ref     string       `json:"ref"`
	Account string       `json:"account"`
	EID     eid.EID      `json:"eid"`
	State   broker.State `json:"state"`
	Reason  eid.Reason   `json:"reason,omitempty"`
	Code    string       `json:"code,omitempty"`
	Created time.Time    `json:"created"`
}

func row(s *broker.Session) Row {
	return Row{s.ID, s.Ref(), s.Account, s.EID, s.State, s.Reason, s.Code, s.Created}
}

// Sessions lists the latest sessions.
func Sessions(ctx context.Context, c *Config, account, state string, limit int) ([]Row, error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.List(ctx, account, state, limit)
	out := []Row{}
	for _, n := range all {
		out = append(out, row(n))
	}
	return out, errors.Join(err, s.Close())
}

// SessionShow finds a session by id or reference, and its timeline.
func SessionShow(ctx context.Context, c *Config, id string) (Row, []broker.Note, error) {
	s, err := c.openCurrent(ctx)
	if err != nil {
		return Row{}, nil, err
	}
	defer func() { _ = s.Close() }() // only read from
	n, err := find(ctx, s, id)
	if err != nil {
		return Row{}, nil, err
	}
	notes, err := s.Notes(ctx, n.ID)
	return row(n), notes, err
}

// ErrAmbiguous means that several sessions have a reference.
var ErrAmbiguous = store.ErrAmbiguous

// find finds a session by its id or its reference: ErrAmbiguous.
func find(ctx context.Context, s *store.Store, id string) (*broker.Session, error) {
	n, err := s.Session(ctx, strings.ToLower(id))
	if errors.Is(err, broker.ErrNotFound) {
		n, err = s.ByRef(ctx, strings.ToUpper(id))
	}
	return n, err
}

// ErrRunning means that a session has not ended.
var ErrRunning = errors.New("it has not ended")

// SessionErase erases what is personal of a session that has ended, found by id or
// reference, before its time: ErrRunning. One that is erased already stays so.
func SessionErase(ctx context.Context, c *Config, id string) (r Row, err error) {
	s, err := c.openToWrite(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n, err := find(ctx, s, id)
	switch {
	case err != nil:
		return r, err
	case n.State == broker.Erased:
		return row(n), nil
	case !n.State.Ended():
		return row(n), ErrRunning
	}
	if _, err := s.AuditHead(ctx); err != nil { // our numbers go on above it
		return r, err
	}
	err = broker.Erase(ctx, s, n, "operator", time.Now())
	return row(n), err
}

// Unmet means that evidence did not verify.
type Unmet struct {
	Check string   // which of the checks failed
	Try   []string // what may be the reason
}

func (u *Unmet) Error() string { return u.Check }

// reasons say what a failed check of a signature may come from.
var reasons = map[string][]string{
	"chain":     {"evidence of BankID's test system:  --roots test", "evidence of eidgate sandbox:  --roots bankid-signature-root.pem"},
	"signature": {"the evidence was altered after it was signed"},
	"shape":     {"is this file a BankID signature?"},
	"encoding":  {"is this file a BankID signature?"},
}

// A Verdict is what valid evidence proves.
type Verdict struct {
	Fields []VerdictField `json:"fields"`
}

// A VerdictField is one fact.
type VerdictField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// VerifySignature checks a BankID signature and its OCSP answer offline. The
// file is XML, its base64 text, or a result with a BankIDSE node. What is
// personal is left out unless it is to be revealed.
func VerifySignature(path, ocspPath, roots string, reveal bool) (*Verdict, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the user
	if err != nil {
		return nil, err
	}
	sig, resp := evidenceOf(raw)
	if ocspPath != "" {
		o, err := os.ReadFile(ocspPath) //nolint:gosec // as above
		if err != nil {
			return nil, err
		}
		if resp = strings.TrimSpace(string(o)); len(o) > 0 && o[0] == 0x30 {
			resp = base64.StdEncoding.EncodeToString(o)
		}
	}
	var text string
	if roots == "live" || roots == "test" {
		text, err = bankidse.Roots(roots + "-signature")
	} else {
		var b []byte
		b, err = os.ReadFile(roots) //nolint:gosec // as above
		text = string(b)
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("the file of roots holds no certificate")
	}
	v, err := bankidse.Verify(bankidse.VerifyInput{Signature: sig, OCSP: resp, Roots: pool})
	var why *bankidse.VerifyError
	isOne := !errors.As(err, &why) || why.Check != "shape" && why.Check != "encoding"
	if resp == "" && isOne {
		return nil, &Unmet{"no OCSP answer, so nobody knows whether the certificate was revoked", []string{"name its file:  --ocsp FILE"}}
	}
	if why != nil {
		return nil, &Unmet{why.Check, reasons[why.Check]}
	}
	if err != nil {
		return nil, err
	}
	person, visible, hidden := v.PersonalNumber+" "+v.Name, printable(v.Visible), printable(v.NonVisible)
	if !reveal {
		person, visible, hidden = mask(person), mask(visible), mask(hidden)
	}
	out := &Verdict{}
	for _, f := range [][2]string{{"signature", "valid"}, {"signed at", v.SignedAt.UTC().Format(time.RFC3339)}, {"operation", string(v.Operation)},
		{"person", person}, {"bankid", v.Kind}, {"issuer", v.Issuer}, {"serial", v.Serial},
		{"relying party", v.RPName}, {"text", visible}, {"hidden text", hidden}} {
		if f[1] != "" {
			out.Fields = append(out.Fields, VerdictField{f[0], f[1]})
		}
	}
	return out, nil
}

// mask leaves nothing of a text but that it is there.
func mask(s string) string {
	if s == "" {
		return ""
	}
	return "•••• (--reveal shows it)"
}

// printable keeps a text on one line and away from the terminal's controls.
func printable(b []byte) string {
	if s := string(b); strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	return string(b)
}

// evidenceOf finds signature and OCSP answer in what a file may be.
func evidenceOf(raw []byte) (sig, resp string) {
	text := strings.TrimSpace(string(raw))
	var result struct {
		BankIDSE struct{ Signature, OCSPResponse string }
	}
	if strings.HasPrefix(text, "{") && json.Unmarshal(raw, &result) == nil {
		return result.BankIDSE.Signature, result.BankIDSE.OCSPResponse
	}
	if strings.HasPrefix(text, "<") {
		return base64.StdEncoding.EncodeToString(raw), ""
	}
	return strings.Join(strings.Fields(text), ""), ""
}
