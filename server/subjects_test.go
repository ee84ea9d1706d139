package server

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"eidgate/api/claims"
	"eidgate/eid"
	"eidgate/internal/need"
	"eidgate/internal/pgtest"
	"eidgate/store"
)

// A mover is an account that moves here: a configuration with a store that is
// ready.
type mover struct {
	t   *testing.T
	cfg *Config
}

func newMover(t *testing.T, url string) *mover {
	t.Helper()
	master := filepath.Join(t.TempDir(), "master")
	if err := os.WriteFile(master, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &mover{t, &Config{Keys: KeysConfig{MasterFile: master}, Store: StoreConfig{URL: url}, Accounts: []AccountConfig{{ID: testAccount}, {ID: "other"}}}}
	if err := MigrateUp(t.Context(), m.cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	return m
}

func sqliteMover(t *testing.T) *mover {
	t.Helper()
	return newMover(t, "sqlite:"+filepath.Join(t.TempDir(), "e.db"))
}

// list is a list with the header.
func list(rows ...string) string { return "idp,person,sub\n" + strings.Join(rows, "\n") + "\n" }

func (m *mover) imports(text string, change ...func(*SubjectImport)) (SubjectCount, error) {
	m.t.Helper()
	in := SubjectImport{Account: testAccount, List: strings.NewReader(text)}
	for _, f := range change {
		f(&in)
	}
	return ImportSubjects(m.t.Context(), m.cfg, in)
}

func (m *mover) writes(text string, want SubjectCount, change ...func(*SubjectImport)) {
	m.t.Helper()
	if got, err := m.imports(text, change...); err != nil || got != want {
		m.t.Errorf("import = %+v, %v; want %+v", got, err, want)
	}
}

// stored is the sub of each person, who stand there as idp/person.
func (m *mover) stored(account string, persons ...string) (out []string) {
	m.t.Helper()
	s, err := m.cfg.openStore(m.t.Context(), true)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, p := range persons {
		idp, person, _ := strings.Cut(p, "/")
		sub, err := s.Subject(m.t.Context(), account, idp, person)
		if err != nil {
			m.t.Error(err)
		}
		out = append(out, sub)
	}
	if err := s.Close(); err != nil {
		m.t.Error(err)
	}
	return out
}

// refused is what stands against a list, a line each.
func refused(t *testing.T, err error) string {
	t.Helper()
	var bad *SubjectProblems
	if !errors.As(err, &bad) {
		t.Fatalf("import: %v, want problems", err)
	}
	var out strings.Builder
	for _, p := range bad.List {
		fmt.Fprintf(&out, "%d %s\n", p.Line, p.Text)
	}
	return out.String()
}

func replace(in *SubjectImport) { in.Replace = true }
func dry(in *SubjectImport)     { in.DryRun = true }

func TestImportSubjects(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "e.db") },
		"postgres": func(t *testing.T) string { return pgtest.Database(t, pgtest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMover(t, url(t))
			both := list(`sbid,19900101-2385,"ada,before"`, "", "idin,NLBANKvector0001,bank before")
			m.writes(both, SubjectCount{Written: 2}, dry)
			if got := m.stored(testAccount, "sbid/199001012385"); got[0] != "" {
				t.Error("a dry run has written")
			}
			m.writes("\ufeff"+strings.ReplaceAll(both, "\n", "\r\n"), SubjectCount{Written: 2})
			m.writes(both, SubjectCount{Same: 2})
			m.writes(both, SubjectCount{Same: 2}, dry)
			want := []string{"ada,before", "bank before", ""}
			if got := m.stored(testAccount, "sbid/199001012385", "idin/NLBANKvector0001", "idin/199001012385"); !slices.Equal(got, want) {
				t.Errorf("stored: %q, want %q", got, want)
			}
			if got := m.stored("other", "sbid/199001012385"); got[0] != "" {
				t.Errorf("another account has %q", got)
			}
			// What another account calls its persons is its own affair.
			m.writes(list("sbid,198001019876,bank before"), SubjectCount{Written: 1}, func(in *SubjectImport) { in.Account = "other" })

			_, err := m.imports(list("idin,new,new", "sbid,199001012385,changed", "idin,taker,bank before"))
			if got, want := refused(t, err), "3 sub: the person is stored with another one; --replace takes this one\n4 sub: is that of another person who is stored\n"; got != want {
				t.Errorf("problems:\n%swant\n%s", got, want)
			}
			if got := m.stored(testAccount, "idin/new"); got[0] != "" {
				t.Error("a list with problems has been written")
			}
			_, err = m.imports(list("idin,taker,bank before"), replace)
			if got, want := refused(t, err), "2 sub: is that of another person who is stored\n"; got != want {
				t.Errorf("problems with --replace:\n%swant\n%s", got, want)
			}
			// A list whose names had slipped by a row is put right.
			swapped := list("sbid,199001012385,bank before", `idin,NLBANKvector0001,"ada,before"`, "idin,third,third")
			m.writes(swapped, SubjectCount{Written: 3}, replace, dry)
			m.writes(swapped, SubjectCount{Written: 3}, replace)
			m.writes(swapped, SubjectCount{Same: 3})
			if got, want := m.stored(testAccount, "sbid/199001012385", "idin/NLBANKvector0001"), []string{"bank before", "ada,before"}; !slices.Equal(got, want) {
				t.Errorf("swapped: %q, want %q", got, want)
			}
		})
	}
}

// TestSubjectProblems: everything that is wrong with a list is told at once, by
// line, and nothing of what stands there.
func TestSubjectProblems(t *testing.T) {
	t.Parallel()
	m := sqliteMover(t)
	long, limit := strings.Repeat("x", 256), strings.Repeat("x", 255)
	rows := []struct{ row, want string }{
		{"sbid,199001012385,one", ""},
		{"idin,NLBANKvector0001," + limit, ""},
		{"SBID,198001019876,a", "idp: must be a code of acr_values, such as sbid or idin"},
		{"sbid,9001012385,b", "person: must be a Swedish personal number in 12 digits"},
		{"idin,TRANS4711,c", "person: is a name that iDIN gives anew at each login"},
		{"idin,,d", "person: must be 1 to 255 characters, none of them a blank"},
		{"idin,e,", "sub: must be 1 to 255 characters of ASCII, with no blank at an end"},
		{"idin,f," + long, "sub: must be 1 to 255 characters of ASCII, with no blank at an end"},
		{"idin,g,bé", "sub: must be 1 to 255 characters of ASCII, with no blank at an end"},
		{"idin,h, blank", "sub: must be 1 to 255 characters of ASCII, with no blank at an end"},
		{"idin,i,nul\x00", "sub: must be 1 to 255 characters of ASCII, with no blank at an end"},
		{"idin,j", "does not have the three columns idp,person,sub"},
		{"idin,k,k,k", "does not have the three columns idp,person,sub"},
		{`idin,l,"l"l`, "quotation marks do not match"},
		{`idin,m,m"`, "quotation marks do not match"},
		{"sbid,19900101-2385,two", "person: stands in line 2 already"},
		{"sbid,198001019876,one", "sub: is that of another person in line 2"},
		{"nosuch,n,", "idp: must be a code of acr_values, such as sbid or idin\n19 sub: must be 1 to 255 characters of ASCII, with no blank at an end"},
		{"idin,o,o", ""},
		{`idin,p,"p`, "quotation marks do not match"},
	}
	var text []string
	want := ""
	for i, r := range rows {
		text = append(text, r.row)
		if r.want != "" {
			want += fmt.Sprintf("%d %s\n", i+2, r.want)
		}
	}
	_, err := m.imports(list(text...))
	if got := refused(t, err); got != want {
		t.Errorf("problems:\n%swant\n%s", got, want)
	}
	if err.Error() != "18 problems, nothing was written" {
		t.Errorf("error: %v", err)
	}
	if got := m.stored(testAccount, "sbid/199001012385"); got[0] != "" {
		t.Error("something was written")
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":          {"", "1 must be the header idp,person,sub\n"},
		"no header":      {"sbid,199001012385,one\n", "1 must be the header idp,person,sub\n"},
		"other columns":  {"idp;person;sub\n", "1 must be the header idp,person,sub\n"},
		"other order":    {"person,idp,sub\n", "1 must be the header idp,person,sub\n"},
		"long row":       {list("sbid,199001012385,one", "idin,"+strings.Repeat("y", 20_000)+",z"), "3 is longer than any row can be; is a quotation mark not closed?\n"},
		"long header":    {strings.Repeat("y", 20_000), "1 is longer than any row can be; is a quotation mark not closed?\n"},
		"quote for ever": {list("sbid,199001012385,one", `"idin,`+strings.Repeat("y\n", 20_000)), "3 is longer than any row can be; is a quotation mark not closed?\n"},
	} {
		_, err := m.imports(c.text)
		if got := refused(t, err); got != c.want {
			t.Errorf("%s:\n%swant\n%s", name, got, c.want)
		}
	}
	_, err = m.imports(list(strings.Repeat("sbid,1,\n", 700)))
	var bad *SubjectProblems
	if !errors.As(err, &bad) || len(bad.List) != 1000 || bad.More != 400 {
		t.Errorf("many problems: %v", err)
	}
}

// TestSubjectListsEnd holds the bounds of what is read, and what a list that
// changes leads to.
func TestSubjectListsEnd(t *testing.T) {
	t.Parallel()
	m := sqliteMover(t)
	s, err := m.cfg.openStore(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // only read from
	fresh := func(rows int) *subjectList {
		return &subjectList{SubjectImport: SubjectImport{Account: testAccount}, store: s, rows: rows, persons: map[mark]subjectMark{}, subs: map[mark]int32{}}
	}
	three := list("idin,a,a", "idin,b,b", "idin,c,c")
	if err := fresh(3).check(t.Context(), strings.NewReader(three)); err != nil {
		t.Errorf("as many rows as may be: %v", err)
	}
	if got := refused(t, fresh(2).check(t.Context(), strings.NewReader(three))); got != "4 a list has at most 2 rows; import it in parts\n" {
		t.Errorf("one row too many: %s", got)
	}
	for name, text := range map[string]string{
		"another sub": list("idin,a,a", "idin,b,x", "idin,c,c"), "another person": list("idin,a,a", "idin,x,b", "idin,c,c"),
		"fewer": list("idin,a,a"), "not a list": "x", "bad row": list("idin,a,a", "idin,b"),
	} {
		l := fresh(3)
		if err := l.check(t.Context(), strings.NewReader(three)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.write(t.Context(), strings.NewReader(text)); !errors.Is(err, errChanged) {
			t.Errorf("%s: %v, want errChanged", name, err)
		}
	}
	broken := errors.New("the disk is gone")
	if err := fresh(3).check(t.Context(), io.MultiReader(strings.NewReader(three), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a list that cannot be read: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := fresh(3).check(ended, strings.NewReader(three)); !errors.Is(err, context.Canceled) {
		t.Errorf("after Ctrl-C: %v", err)
	}
	// What comes through a pipe is kept, up to a bound.
	kept, err := rereadable(io.MultiReader(strings.NewReader(three)), len(three))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(kept); string(got) != three || err != nil {
		t.Errorf("a pipe: %q, %v", got, err)
	}
	if _, err := rereadable(io.MultiReader(strings.NewReader(three)), len(three)-1); err == nil {
		t.Error("a pipe may be longer than its bound")
	}
	if _, err := rereadable(io.MultiReader(iotest.ErrReader(broken)), 1); !errors.Is(err, broken) {
		t.Errorf("a pipe that breaks: %v", err)
	}
}

// TestImportInBatches writes more than one transaction takes.
func TestImportInBatches(t *testing.T) {
	t.Parallel()
	m := sqliteMover(t)
	text := bytes.NewBufferString("idp,person,sub\n")
	for i := range 2*subjectBatch + 7 {
		fmt.Fprintf(text, "idin,person%d,sub%d\n", i, i)
	}
	m.writes(text.String(), SubjectCount{Written: 2*subjectBatch + 7}, func(in *SubjectImport) { in.List = io.MultiReader(in.List) })
	m.writes(text.String()+"idin,late,late\n", SubjectCount{Written: 1, Same: 2*subjectBatch + 7})
	if got, want := m.stored(testAccount, "idin/person0", "idin/person1006", "idin/late"), []string{"sub0", "sub1006", "late"}; !slices.Equal(got, want) {
		t.Errorf("stored: %q, want %q", got, want)
	}
}

func TestImportNeedsItsStore(t *testing.T) {
	t.Parallel()
	m := sqliteMover(t)
	text := list("idin,a,a")
	if _, err := m.imports(text, func(in *SubjectImport) { in.Account = "nosuch" }); !errors.Is(err, ErrNoAccount) {
		t.Errorf("unknown account: %v", err)
	}
	m.writes(text, SubjectCount{Written: 1})
	running, err := m.cfg.openStore(t.Context(), false) // as a server has it
	if err != nil {
		t.Fatal(err)
	}
	m.writes(text, SubjectCount{Same: 1}, dry)
	if _, err := m.imports(text); !errors.Is(err, ErrUnreachable) {
		t.Errorf("beside a server on SQLite: %v, want ErrUnreachable", err)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(m.cfg.Keys.MasterFile, []byte(strings.Repeat("5b", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.imports(list("idin,b,b")); !errors.Is(err, ErrConfig) || !errors.Is(err, store.ErrMaster) {
		t.Errorf("another master key: %v", err)
	}
	empty := *m.cfg
	empty.Store.URL = "sqlite:" + filepath.Join(t.TempDir(), "e.db")
	if _, err := (&mover{t, &empty}).imports(text); !errors.Is(err, ErrBehind) {
		t.Errorf("without a schema: %v, want ErrBehind", err)
	}
}

var bashBlock = regexp.MustCompile("(?s)```bash\n(.*?)```")

// TestSubjectKeyMakesSubjects runs what docs/apis/oidc.md says to whoever
// leaves.
func TestSubjectKeyMakesSubjects(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	key, err := SubjectKey(t.Context(), sqliteMover(t).cfg)
	if err != nil || len(key) != 32 {
		t.Fatalf("%d bytes, %v", len(key), err)
	}
	raw, err := os.ReadFile("../docs/apis/oidc.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := bashBlock.FindAllSubmatch(raw, -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, p := range []struct{ idp, person string }{{"sbid", "199001012385"}, {"idin", "NLBANKvector0001"}} {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", "eidgate() { echo "+hex.EncodeToString(key)+"; }\n"+string(blocks[0][1]))
		cmd.Env = append(os.Environ(), "ACCOUNT="+testAccount, "IDP="+p.idp, "PERSON="+p.person)
		out, err := cmd.CombinedOutput()
		want := claims.Subject(key, testAccount, p.idp, &eid.Identity{Subject: p.person}, nil)
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", p.idp, got, err, want)
		}
	}
}

// FuzzSubjectRows: whatever a list holds, reading it ends, a row has something
// wrong or survives being written and read again, and no problem says more of a
// row than its line.
func FuzzSubjectRows(f *testing.F) {
	for _, seed := range []string{list("sbid,19900101-2385,a", `idin,"b","c""d"`), list("x", `"`, "\x00,\xff,"), "idp,person", "\ufeffidp,person,sub\r\nidin,a,b\r\n\r\n", list(`"` + strings.Repeat("y", 9000))} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		var good [][]string
		last := 0
		for r, err := range subjectRowsOf(strings.NewReader(text), now) {
			if err != nil {
				t.Fatal(err) // nothing here cannot be read
			}
			if r.line <= last {
				t.Errorf("line %d after %d", r.line, last)
			}
			last = r.line
			for _, w := range r.wrong {
				if !told[w] {
					t.Errorf("says %q", w)
				}
			}
			if len(r.wrong) == 0 {
				good = append(good, []string{r.IDP, r.Person, r.Sub})
			}
		}
		var out bytes.Buffer
		w := csv.NewWriter(&out)
		if err := w.WriteAll(append([][]string{subjectHeader}, good...)); err != nil {
			t.Fatal(err)
		}
		i := 0
		for r, err := range subjectRowsOf(&out, now) {
			if err != nil || len(r.wrong) > 0 || i >= len(good) || !slices.Equal([]string{r.IDP, r.Person, r.Sub}, good[i]) {
				t.Fatalf("row %d does not come back: %v %v", i, r.wrong, err)
			}
			i++
		}
		if i != len(good) {
			t.Errorf("%d rows come back of %d", i, len(good))
		}
	})
}

// told are all problems that a row can have by itself.
var told = map[string]bool{
	"must be the header idp,person,sub":                                  true,
	"is longer than any row can be; is a quotation mark not closed?":     true,
	"quotation marks do not match":                                       true,
	"does not have the three columns idp,person,sub":                     true,
	"idp: must be a code of acr_values, such as sbid or idin":            true,
	"person: must be a Swedish personal number in 12 digits":             true,
	"person: is a name that iDIN gives anew at each login":               true,
	"person: must be 1 to 255 characters, none of them a blank":          true,
	"sub: must be 1 to 255 characters of ASCII, with no blank at an end": true,
}
