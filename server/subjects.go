package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"eidgate/api/claims"
	"eidgate/api/oidc"
	"eidgate/store"
)

// SubjectKey is the key of claims.Subject, 32 bytes, for whoever leaves and
// must go on computing names.
func SubjectKey(ctx context.Context, c *Config) ([]byte, error) {
	s, err := c.openCurrent(ctx) // another master key would make names that nobody has
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return oidc.SubjectKey(s.Secret(store.Provider))
}

// A SubjectImport is a list of persons whom an account has known before.
type SubjectImport struct {
	Account string
	List    io.Reader // CSV with the header idp,person,sub; read twice where it can be, else kept in memory
	Replace bool      // a person who is stored gets the list's name
	DryRun  bool      // look only
}

// SubjectCount is what an import has done, or with DryRun would do.
type SubjectCount struct {
	Written int
	Same    int // were stored just so
}

// ErrNoAccount means that the configuration has no such account.
var ErrNoAccount = errors.New("no such account")

// A SubjectProblem is what is wrong with one line of a list. It says nothing of
// what stands there.
type SubjectProblem struct {
	Line int
	Text string
}

// SubjectProblems are all problems of a list, of which nothing was written.
type SubjectProblems struct {
	List []SubjectProblem // by line, at most 1000
	More int              // that are not in List
}

func (e *SubjectProblems) Error() string {
	return fmt.Sprintf("%d problems, nothing was written", len(e.List)+e.More)
}

func (e *SubjectProblems) add(line int, format string, args ...any) {
	if len(e.List) >= 1000 {
		e.More++
		return
	}
	e.List = append(e.List, SubjectProblem{line, fmt.Sprintf(format, args...)})
}

const (
	subjectRows  = 1_000_000 // of one list
	subjectBatch = 500       // rows in one transaction
	subjectBytes = 128 << 20 // of a list that can be read only once
	maxSub       = 255       // characters (OpenID Connect Core 1.0 §2)
)

// ImportSubjects gives persons the sub that an account has called them by. A
// list with problems changes nothing: *SubjectProblems. One that was written in
// part, since somebody stopped it, can be imported again.
//
// The list is read twice, once to look and once to write, and of each row 16
// bytes of two hashes are kept between, so that no two persons get one name.
func ImportSubjects(ctx context.Context, c *Config, in SubjectImport) (n SubjectCount, err error) {
	if !slices.ContainsFunc(c.Accounts, func(a AccountConfig) bool { return a.ID == in.Account }) {
		return n, ErrNoAccount
	}
	open := c.openToWrite
	if in.DryRun {
		open = c.openCurrent
	}
	s, err := open(ctx)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	list, err := rereadable(in.List, subjectBytes)
	if err != nil {
		return n, err
	}
	l := &subjectList{SubjectImport: in, store: s, rows: subjectRows, persons: map[mark]subjectMark{}, subs: map[mark]int32{}}
	if err := l.check(ctx, list); err != nil {
		return n, err
	}
	if in.DryRun {
		return SubjectCount{Written: len(l.persons) - l.same, Same: l.same}, nil
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return n, fmt.Errorf("read list again: %w", err)
	}
	return l.write(ctx, list)
}

// rereadable keeps what comes through a pipe in memory: personal data are not
// put on a disk for this.
func rereadable(r io.Reader, most int) (io.ReadSeeker, error) {
	if s, ok := r.(io.ReadSeeker); ok {
		if _, err := s.Seek(0, io.SeekCurrent); err == nil {
			return s, nil
		}
	}
	all, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read list: %w", err)
	case len(all) > most:
		return nil, fmt.Errorf("the list is longer than the %d bytes that are read from a pipe; name a file", most)
	}
	return bytes.NewReader(all), nil
}

// A mark tells persons or names of a list apart: half of a hash, since a list
// is long.
type mark [16]byte

// A subjectMark is what is kept of a row.
type subjectMark struct {
	sub  mark
	line int32
	same bool // stored just so
}

func markOf(sub string) mark {
	h := sha256.Sum256([]byte(sub))
	return mark(h[:16])
}

// A subjectList is one import.
type subjectList struct {
	SubjectImport
	store   *store.Store
	rows    int // at most
	persons map[mark]subjectMark
	subs    map[mark]int32 // line
	same    int
}

func (l *subjectList) person(n store.Subject) mark {
	h := l.store.Person(l.Account, n.IDP, n.Person)
	return mark(h[:16])
}

// check looks for problems in the list, and between it and what is stored.
func (l *subjectList) check(ctx context.Context, list io.Reader) error {
	all := &SubjectProblems{}
	count := 0
	for r, err := range subjectRowsOf(list, time.Now()) {
		if err != nil {
			return err
		}
		for _, text := range r.wrong {
			all.add(r.line, "%s", text)
		}
		if len(r.wrong) > 0 {
			continue
		}
		if count++; count > l.rows {
			all.add(r.line, "a list has at most %d rows; import it in parts", l.rows)
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		person, sub := l.person(r.Subject), markOf(r.Sub)
		had, again := l.persons[person]
		line, taken := l.subs[sub]
		switch {
		case again:
			all.add(r.line, "person: stands in line %d already", had.line)
		case taken:
			all.add(r.line, "sub: is that of another person in line %d", line)
		default:
			l.persons[person], l.subs[sub] = subjectMark{sub: sub, line: int32(r.line)}, int32(r.line) //nolint:gosec // rows are few enough
		}
	}
	err := l.store.Subjects(ctx, l.Account, func(h [sha256.Size]byte, name string) error {
		person, sub := mark(h[:16]), markOf(name)
		had, listed := l.persons[person]
		line, taken := l.subs[sub]
		switch {
		case listed && had.sub == sub:
			had.same = true
			l.persons[person] = had
			l.same++
		case listed && !l.Replace:
			all.add(int(had.line), "sub: the person is stored with another one; --replace takes this one")
		case !listed && taken:
			all.add(int(line), "sub: is that of another person who is stored")
		}
		return nil
	})
	if err != nil || len(all.List) == 0 {
		return err
	}
	slices.SortStableFunc(all.List, func(a, b SubjectProblem) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

var errChanged = errors.New("the list has changed while it was read; import it again")

// write writes what is not stored already, in batches.
func (l *subjectList) write(ctx context.Context, list io.Reader) (n SubjectCount, err error) {
	var batch []store.Subject
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := l.store.PutSubjects(ctx, l.Account, batch...); err != nil {
			return fmt.Errorf("%d were written: %w", n.Written, err)
		}
		n.Written += len(batch)
		batch = batch[:0]
		return nil
	}
	for r, err := range subjectRowsOf(list, time.Now()) {
		if err != nil {
			return n, err
		}
		had, ok := l.persons[l.person(r.Subject)]
		switch {
		case len(r.wrong) > 0 || !ok || had.sub != markOf(r.Sub):
			return n, errChanged
		case had.same:
			n.Same++
			continue
		}
		if batch = append(batch, r.Subject); len(batch) == subjectBatch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	if err := flush(); err != nil {
		return n, err
	}
	if n.Written+n.Same != len(l.persons) {
		return n, errChanged
	}
	return n, nil
}

// A subjectRow is a row as logins see it, or what is wrong with it.
type subjectRow struct {
	store.Subject
	line  int
	wrong []string
}

// subjectHeader are the columns.
var subjectHeader = []string{"idp", "person", "sub"}

// subjectRowsOf reads a list. An error means that it cannot be read on.
func subjectRowsOf(list io.Reader, now time.Time) iter.Seq2[subjectRow, error] {
	return func(yield func(subjectRow, error) bool) {
		in := &short{r: list}
		r := csv.NewReader(in)
		r.FieldsPerRecord, r.ReuseRecord = len(subjectHeader), true
		last := 0 // line
		for header := true; ; header = false {
			in.left = longestRow
			fields, err := r.Read()
			var bad *csv.ParseError
			row := subjectRow{}
			switch {
			case errors.Is(err, io.EOF) && !header:
				return
			case header && (errors.Is(err, io.EOF) || errors.As(err, &bad) || err == nil && !isSubjectHeader(fields)):
				yield(subjectRow{line: 1, wrong: []string{"must be the header " + strings.Join(subjectHeader, ",")}}, nil)
				return
			case header && err == nil:
				last = 1
				continue
			case errors.Is(err, errLong):
				yield(subjectRow{line: last + 1, wrong: []string{"is longer than any row can be; is a quotation mark not closed?"}}, nil)
				return
			case errors.As(err, &bad):
				row.line, row.wrong = bad.StartLine, []string{"quotation marks do not match"}
				if errors.Is(err, csv.ErrFieldCount) {
					row.wrong[0] = "does not have the three columns " + strings.Join(subjectHeader, ",")
				}
			case err != nil:
				yield(row, fmt.Errorf("read list: %w", err))
				return
			default:
				row.line, _ = r.FieldPos(0)
				row.read(fields, now)
			}
			if last = row.line; !yield(row, nil) {
				return
			}
		}
	}
}

// isSubjectHeader knows the header with the mark, too, that spreadsheets put
// before the text.
func isSubjectHeader(fields []string) bool {
	first := strings.TrimPrefix(fields[0], "\ufeff")
	return first == subjectHeader[0] && slices.Equal(fields[1:], subjectHeader[1:])
}

func (r *subjectRow) read(fields []string, now time.Time) {
	r.IDP, r.Sub = fields[0], fields[2]
	e, ok := claims.EID(r.IDP)
	if !ok {
		r.wrong = append(r.wrong, "idp: must be a code of acr_values, such as sbid or idin")
	} else if name, err := claims.Person(e, fields[1], now); err != nil {
		r.wrong = append(r.wrong, "person: "+err.Error())
	} else {
		r.Person = name
	}
	if r.Sub == "" || len(r.Sub) > maxSub || strings.ContainsFunc(r.Sub, func(c rune) bool { return c < ' ' || c > '~' }) || strings.TrimSpace(r.Sub) != r.Sub {
		r.wrong = append(r.wrong, fmt.Sprintf("sub: must be 1 to %d characters of ASCII, with no blank at an end", maxSub))
	}
}

// longestRow is what may be read for one row: more than any has, since reading
// goes ahead.
const longestRow = 8192 // bytes

var errLong = errors.New("a row is too long")

// A short reads only so much before somebody sets left anew, so that a row
// that never ends does not fill the memory.
type short struct {
	r    io.Reader
	left int // bytes
}

func (s *short) Read(b []byte) (int, error) {
	if s.left <= 0 {
		return 0, errLong
	}
	n, err := s.r.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}
