package signicat

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/internal/golden"
)

// banks are as a directory has them, in no order.
var banks = &connector.List{Changed: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Groups: []connector.Group{
	{Name: "Nederland", Entries: []connector.Entry{{ID: "RABONL2U", Name: "Rabobank"}, {ID: "ABNANL2A", Name: "ABN AMRO"}, {ID: "TESTNL2A", Name: "Bank <&> Co"}}},
	{Name: "België/Belgique", Entries: []connector.Entry{{ID: "TESTBE2A", Name: "Proefbank"}}},
	{Name: "Deutschland"},
}}

// A party answers by the host that a story asks for.
func party(_ context.Context, r *http.Request) (Banks, error) {
	switch r.Host {
	case "eid.example.com":
		return Banks{"contract", banks}, nil
	case "new.example.com":
		return Banks{}, broker.ErrNotFound
	case "broken.example.com":
		return Banks{}, errors.New("the disk is full")
	}
	return Banks{}, ErrNoIDIN
}

func newAPI(log *bytes.Buffer) http.Handler {
	a := New(Config{Banks: party, Log: slog.New(slog.NewTextHandler(log, nil))})
	return http.HandlerFunc(a.Issuers)
}

func TestConversations(t *testing.T) {
	t.Parallel()
	golden.Talks(t, "testdata/*.txtar", func(*testing.T) http.Handler { return newAPI(&bytes.Buffer{}) })
}

// Only what an operator must see to is logged.
func TestLog(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"eid.example.com": false, "new.example.com": false, "none.example.com": false, "broken.example.com": true} {
		var log bytes.Buffer
		newAPI(&log).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://"+host+IssuersPath, nil))
		if got := log.Len() > 0; got != want {
			t.Errorf("%s: log %q", host, log.String())
		}
	}
}

// A list is written once for each change, whoever reads it anew, and lists of
// two contracts do not meet.
func TestWrittenOnce(t *testing.T) {
	t.Parallel()
	var now Banks
	a := New(Config{Banks: func(context.Context, *http.Request) (Banks, error) {
		l := *now.List // as a store reads it: another value each time
		return Banks{now.Contract, &l}, nil
	}})
	get := func(b Banks) *body {
		t.Helper()
		now = b
		got, err := a.banks(httptest.NewRequest("GET", IssuersPath, nil))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := get(Banks{"a", banks})
	if again := get(Banks{"a", banks}); again != first {
		t.Error("an unchanged list is written again")
	}
	next := &connector.List{Changed: banks.Changed.Add(time.Hour), Groups: banks.Groups[:1]}
	if b := get(Banks{"a", next}); b == first || b.tag == first.tag || strings.Contains(string(b.text), "Proefbank") {
		t.Errorf("a changed list is not written: %s", b.text)
	}
	other := &connector.List{Changed: next.Changed, Groups: banks.Groups[1:2]}
	if b := get(Banks{"b", other}); !strings.Contains(string(b.text), "Proefbank") {
		t.Errorf("another contract's list: %s", b.text)
	}
}

func TestRefusalsHaveNoBodyForHEAD(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"none.example.com", "new.example.com"} {
		rec := httptest.NewRecorder()
		newAPI(&bytes.Buffer{}).ServeHTTP(rec, httptest.NewRequest("HEAD", "https://"+host+IssuersPath, nil))
		if rec.Code < 400 || rec.Body.Len() > 0 {
			t.Errorf("%s: %d with %q", host, rec.Code, rec.Body)
		}
	}
}

// The manual shows what is answered, and has each section that is cited.
func TestManual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/apis/signicat.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(manual)
	b, err := write(&connector.List{Groups: []connector.Group{{Name: "Nederland",
		Entries: []connector.Entry{{ID: "ABNANL2A", Name: "ABN AMRO"}, {ID: "RABONL2U", Name: "Rabobank"}}}}})
	if err != nil || shown == nil || !bytes.Equal(shown[1], b.text) {
		t.Errorf("the manual shows %q, the answer is %q, %v", shown, b.text, err)
	}
	source, err := os.ReadFile("signicat.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`§(\d+)`).FindAllSubmatch(source, -1) {
		if !bytes.Contains(manual, []byte("\n## §"+string(m[1])+" ")) {
			t.Errorf("no section %s", m[1])
		}
	}
}
