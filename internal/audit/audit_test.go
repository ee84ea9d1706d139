package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"eidgate/internal/audit"
	"eidgate/internal/need"
)

var made = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// chain seals segments of so many rows, numbered from 1 on.
func chain(t *testing.T, key *audit.Key, sizes ...int) (all []audit.Sealed) {
	t.Helper()
	var last audit.Segment
	var n int64
	for _, size := range sizes {
		var rows []audit.Row
		for range size {
			n++
			rows = append(rows, audit.Row{N: n, Session: fmt.Sprint("s", n), At: n, Actor: "node", Action: "session.finished", Outcome: "ok"})
		}
		var err error
		if last, err = audit.Seal(last, rows, made, key); err != nil {
			t.Fatal(err)
		}
		all = append(all, audit.Sealed{Segment: last, Rows: rows})
	}
	return all
}

func newKey(t *testing.T) *audit.Key {
	t.Helper()
	key, err := audit.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func verifier(t *testing.T, keys ...*audit.Key) *audit.Verifier {
	t.Helper()
	var names []string
	for _, k := range keys {
		names = append(names, k.Verifier)
	}
	v, err := audit.Verifiers(names...)
	if err != nil {
		t.Fatal(err)
	}
	return &audit.Verifier{Keys: v}
}

func findings(v *audit.Verifier, all ...audit.Sealed) (out []string) {
	for _, s := range all {
		v.Add(s)
	}
	for _, f := range v.End().Findings {
		out = append(out, f.String())
	}
	return out
}

// TestDocumentedForm computes a segment's hash as docs/audit.md says, from
// bytes that are written here.
func TestDocumentedForm(t *testing.T) {
	t.Parallel()
	rows := []audit.Row{{N: 258, Session: "ab", At: 3, Actor: "node", Action: "x", Outcome: ""}, {N: 259, Session: "", At: -1, Actor: "é", Action: "", Outcome: "ok"}}
	const w = "\x00\x00\x00\x00\x00\x00\x00"
	d1 := sha256.Sum256([]byte("eidgate audit row v1\n" + "\x00\x00\x00\x00\x00\x00\x01\x02" + w + "\x03" + w + "\x02ab" + w + "\x04node" + w + "\x01x" + w + "\x00"))
	d2 := sha256.Sum256([]byte("eidgate audit row v1\n" + "\x00\x00\x00\x00\x00\x00\x01\x03" + strings.Repeat("\xff", 8) + w + "\x00" + w + "\x02é" + w + "\x00" + w + "\x02ok"))
	before := audit.Segment{Number: 4, To: 5, Hash: sha256.Sum256([]byte("before"))}
	want := sha256.Sum256(slices.Concat([]byte("eidgate audit segment v1\n"), before.Hash[:],
		[]byte(w+"\x05"+w+"\x05"+"\x00\x00\x00\x00\x00\x00\x01\x03"+w+"\x02"), d1[:], d2[:]))
	s, err := audit.Seal(before, rows, made, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.Hash != want || s.Previous != before.Hash {
		t.Errorf("hash %x, want %x", s.Hash, want)
	}
	if tags := slices.Concat(d1[:8], d2[:8]); !bytes.Equal(s.Tags, tags) {
		t.Errorf("tags %x, want %x", s.Tags, tags)
	}
	text := "eidgate-audit/v1\nsegment 5\nto 259\nhash " + base64.StdEncoding.EncodeToString(want[:]) + "\nmade 2026-01-02T03:04:05.000006Z\n\n— eidgate-audit "
	if !strings.HasPrefix(s.Note, text) {
		t.Errorf("checkpoint:\n%s\nwant:\n%s", s.Note, text)
	}
}

// TestOpenSSLVerifies: a checkpoint is Ed25519 over its text, to others too.
func TestOpenSSLVerifies(t *testing.T) {
	t.Parallel()
	openssl := need.Program(t, "openssl")
	key := newKey(t)
	text, sig, _ := strings.Cut(chain(t, key, 3)[0].Note, "\n\n")
	dir := t.TempDir()
	_, encoded, _ := strings.Cut(strings.TrimSpace(sig), "eidgate-audit ")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != 4+64 {
		t.Fatalf("%d bytes of signature, %v", len(raw), err)
	}
	public, err := base64.StdEncoding.DecodeString(strings.SplitN(key.Verifier, "+", 3)[2])
	if err != nil || len(public) != 1+32 {
		t.Fatalf("%d bytes of key, %v", len(public), err)
	}
	spki := append([]byte{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00}, public[1:]...) // RFC 8410 section 4
	for name, content := range map[string][]byte{"text": []byte(text + "\n"), "other": []byte(text), "sig": raw[4:], "key": spki} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]bool{"text": true, "other": false} {
		cmd := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", file, "-sigfile", "sig")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); (err == nil) != want {
			t.Errorf("openssl about %s: %v\n%s", file, err, out)
		}
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	whole := chain(t, key, 5, 5, 5)
	sealed := func(previous audit.Segment, rows ...audit.Row) []audit.Sealed {
		s, err := audit.Seal(previous, rows, made, key)
		if err != nil {
			t.Fatal(err)
		}
		return []audit.Sealed{{Segment: s, Rows: rows}}
	}
	for name, c := range map[string]struct {
		do   func(all []audit.Sealed) []audit.Sealed
		want []string
	}{
		"nothing": {func(all []audit.Sealed) []audit.Sealed { return all }, nil},
		"changed": {func(all []audit.Sealed) []audit.Sealed { all[1].Rows[2].Actor = "person"; return all },
			[]string{"segment 2, row 8: the row was changed"}},
		"first": {func(all []audit.Sealed) []audit.Sealed { all[0].Rows = all[0].Rows[1:]; return all },
			[]string{"segment 1, row 2: a row was deleted that stood before it"}},
		"two deleted": {func(all []audit.Sealed) []audit.Sealed { all[1].Rows = slices.Delete(all[1].Rows, 1, 3); return all },
			[]string{"segment 2, row 9: a row was deleted that stood before it"}},
		"at the end": {func(all []audit.Sealed) []audit.Sealed { all[1].Rows = all[1].Rows[:4]; return all },
			[]string{"segment 2: a row was deleted at its end"}},
		"all": {func(all []audit.Sealed) []audit.Sealed { all[1].Rows = nil; return all },
			[]string{"segment 2: a row was deleted at its end"}},
		"inserted": {func(all []audit.Sealed) []audit.Sealed {
			all[1].Rows = slices.Insert(all[1].Rows, 1, audit.Row{N: 6, Session: "z"})
			return all
		}, []string{"segment 2, row 6: the row was inserted"}},
		"twice": {func(all []audit.Sealed) []audit.Sealed { all[2].Rows = append(all[2].Rows, all[2].Rows[4]); return all },
			[]string{"segment 3, row 15: the row was inserted"}},
		"reordered": {func(all []audit.Sealed) []audit.Sealed {
			r := all[1].Rows
			r[1], r[3] = r[3], r[1]
			return all
		}, []string{"segment 2, row 9: the row is not where it was"}},
		"segments": {func(all []audit.Sealed) []audit.Sealed { return []audit.Sealed{all[0], all[2], all[1]} },
			[]string{"segment 2: it is missing", "segment 2: it does not follow the segment before it"}},
		"twice the segment": {func(all []audit.Sealed) []audit.Sealed { return []audit.Sealed{all[0], all[0]} },
			[]string{"segment 1: it does not follow the segment before it"}},
		"hash":           {func(all []audit.Sealed) []audit.Sealed { all[2].Hash[0]++; return all }, []string{"segment 3: its record was altered"}},
		"tags":           {func(all []audit.Sealed) []audit.Sealed { all[2].Tags = all[2].Tags[1:]; return all }, []string{"segment 3: its record was altered"}},
		"another's note": {func(all []audit.Sealed) []audit.Sealed { all[2].Note = all[1].Note; return all }, []string{"segment 3: its record was altered"}},
		"no note":        {func(all []audit.Sealed) []audit.Sealed { all[2].Note = ""; return all }, []string{"segment 3: its signature is not that of a known key"}},
		"changed with its tag": {func(all []audit.Sealed) []audit.Sealed { // the hash that is signed remains
			rows := slices.Clone(whole[1].Rows)
			rows[2].Actor = "person"
			all[1].Rows, all[1].Tags = rows, sealed(whole[0].Segment, rows...)[0].Tags
			return all
		}, []string{"segment 2: its record was altered"}},
		"none of it": {func(all []audit.Sealed) []audit.Sealed {
			all[1].Rows, all[1].Tags, all[1].Size = nil, nil, 0
			return all
		}, []string{"segment 2: its record was altered"}},
		"of another trail": {func(all []audit.Sealed) []audit.Sealed { // with the same key and the same numbers
			first := sealed(audit.Segment{}, append([]audit.Row{{N: 1, Session: "another"}}, all[0].Rows[1:]...)...)
			return []audit.Sealed{first[0], all[1]}
		}, []string{"segment 2: it does not follow the segment before it"}},
		"first after something": {func([]audit.Sealed) []audit.Sealed {
			return sealed(audit.Segment{Hash: audit.Hash{1}}, audit.Row{N: 1})
		}, []string{"segment 1: it does not follow the segment before it"}},
		"first that begins late": {func([]audit.Sealed) []audit.Sealed { return sealed(audit.Segment{To: 5}, audit.Row{N: 6}) }, []string{"segment 1: it does not follow the segment before it"}},
		"sealed out of order": {func([]audit.Sealed) []audit.Sealed {
			return sealed(audit.Segment{}, audit.Row{N: 2}, audit.Row{N: 1}, audit.Row{N: 3})
		}, []string{"segment 1, row 1: the row is not where it was"}},
		"sealed twice":          {func([]audit.Sealed) []audit.Sealed { return sealed(audit.Segment{}, audit.Row{N: 1}, audit.Row{N: 1}) }, []string{"segment 1, row 1: the row is not where it was"}},
		"sealed beyond its end": {func([]audit.Sealed) []audit.Sealed { return sealed(audit.Segment{}, audit.Row{N: 2}, audit.Row{N: 1}) }, []string{"segment 1, row 2: the row is not where it was"}},
		"sealed before its begin": {func(all []audit.Sealed) []audit.Sealed {
			return append(all[:1], sealed(all[0].Segment, audit.Row{N: 5}, audit.Row{N: 6})...)
		}, []string{"segment 2, row 5: the row is not where it was"}},
		"another's key": {func([]audit.Sealed) []audit.Sealed { return chain(t, newKey(t), 1) },
			[]string{"segment 1: its signature is not that of a known key"}},
	} {
		var copied []audit.Sealed
		for _, s := range whole {
			s.Rows, s.Tags = slices.Clone(s.Rows), slices.Clone(s.Tags)
			copied = append(copied, s)
		}
		if got := findings(verifier(t, key), c.do(copied)...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestKnownSegments: a checkpoint that was kept elsewhere must be in the trail.
func TestKnownSegments(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	all := chain(t, key, 2, 2, 2)
	other := chain(t, key, 2, 1, 1)
	for name, c := range map[string]struct {
		trail []audit.Sealed
		want  []string
	}{
		"whole":       {all, nil},
		"ends with":   {all[:2], nil},
		"begins with": {all[1:], nil},
		"cut":         {all[:1], []string{"segment 2: the trail ends before it: the newer end was cut off, or an older state was restored"}},
		"nothing":     {nil, []string{"segment 2: the trail ends before it: the newer end was cut off, or an older state was restored"}},
		"another":     {other, []string{"segment 2: it is not the one that was known: the trail was written anew, or an older state was restored"}},
		"begins late": {all[2:], []string{"segment 2: it is missing"}},
	} {
		v := verifier(t, key)
		known, err := audit.Checkpoint(all[1].Note, v.Keys)
		if err != nil || known.Number != 2 || known.Hash != all[1].Hash || known.To != 4 || !known.Made.Equal(made) {
			t.Fatalf("checkpoint: %+v, %v", known, err)
		}
		v.Known = append(v.Known, known)
		if got := findings(v, c.trail...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestManyFindings: a report counts what it does not name.
func TestManyFindings(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	v := verifier(t, newKey(t))
	for _, s := range chain(t, key, slices.Repeat([]int{1}, 103)...) {
		v.Add(s)
	}
	if r := v.End(); len(r.Findings) != 100 || r.More != 3 {
		t.Errorf("%d findings and %d more, want 100 and 3", len(r.Findings), r.More)
	}
}

func TestCheckpointRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	v := verifier(t, key)
	good := chain(t, key, 1)[0].Note
	_, secret, _ := strings.Cut(key.Secret(), "\n")
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(text string) string { // with the key, but of another form
		out, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	says := strings.SplitAfter(good, "\n\n")[0]
	says = says[:len(says)-1]
	if _, err := audit.Checkpoint(signed(says), v.Keys); err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(strings.Split(says, "hash ")[1], "\n")[0]
	for name, text := range map[string]string{
		"prose": signed("hello\n"), "another form": signed(strings.Replace(says, "/v1", "/v2", 1)), "another line": signed(says + "more\n"),
		"a short hash": signed(strings.Replace(says, hash, "AAAA", 1)), "no hash": signed(strings.Replace(says, hash, "!", 1)),
		"no time": signed(strings.Replace(says, "2026", "20x6", 1)),
		"empty":   "", "another number": strings.Replace(good, "segment 1", "segment 2", 1), "more": good + "x", "no signature": strings.SplitAfter(good, "\n\n")[0],
		"another key": chain(t, newKey(t), 1)[0].Note,
	} {
		if _, err := audit.Checkpoint(text, v.Keys); !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := audit.Verifiers("eidgate-audit+00000000+AAAA"); err == nil {
		t.Error("a key that is none was read")
	}
}

// TestKeyIsSilent: the private half reaches no text and no log.
func TestKeyIsSilent(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "pointer", key, "value", *key)
	if text := fmt.Sprintf("%v %+v %s", key, *key, *key) + log.String(); strings.Contains(text, "PRIVATE") {
		t.Errorf("the private half is told: %s", text)
	}
	again, err := audit.ParseKey(key.Secret())
	if err != nil || again.Verifier != key.Verifier {
		t.Errorf("read again: %v, %v", again, err)
	}
	if _, err := audit.ParseKey(key.Verifier); err == nil || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("half a key: %v", err)
	}
}

func TestExportRoundTrip(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	var b bytes.Buffer
	for _, s := range chain(t, key, 3, 1000) {
		if err := json.NewEncoder(&b).Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	v := verifier(t, key)
	for s, err := range audit.Read(bytes.NewReader(b.Bytes())) {
		if err != nil {
			t.Fatal(err)
		}
		v.Add(s)
	}
	if r := v.End(); len(r.Findings) > 0 || r.First != 1 || r.Last != 2 || r.Rows != 1003 {
		t.Errorf("%+v", r)
	}
	for name, text := range map[string]string{"torn": b.String()[:b.Len()-20], "another file": "{}\n", "prose": "hello\n", "a short hash": `{"number":1,"hash":"00"}`,
		"a long line": `{"number":1}` + strings.Repeat(" ", 8<<20)} {
		err := error(nil)
		for _, err = range audit.Read(strings.NewReader(text)) {
		}
		if !errors.Is(err, audit.ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	failed, err := errors.New("disk gone"), error(nil)
	for _, err = range audit.Read(io.MultiReader(bytes.NewReader(b.Bytes()), iotest.ErrReader(failed))) {
	}
	if !errors.Is(err, failed) {
		t.Errorf("a file that cannot be read on: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	key, err := audit.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	rows := []audit.Row{{N: 1, Session: "s", Actor: "node", Action: "x", Outcome: "ok"}}
	s, err := audit.Seal(audit.Segment{}, rows, made, key)
	if err != nil {
		f.Fatal(err)
	}
	line, err := json.Marshal(audit.Sealed{Segment: s, Rows: rows})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"number":1,"size":1,"tags":"AAAAAAAAAAA=","rows":[]}`))
	keys, err := audit.Verifiers(key.Verifier)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := audit.Verifier{Keys: keys}
		for got, err := range audit.Read(bytes.NewReader(raw)) {
			if err != nil {
				return
			}
			v.Add(got)
			if len(v.Findings) == 0 && got.Hash != s.Hash {
				t.Error("a trail that was never signed verifies")
			}
		}
		v.End()
	})
}
