package golden

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func echo(*testing.T) http.Handler {
	count := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count++
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Count", fmt.Sprint(count))
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, "%s %s %s %q %d", r.Method, r.Host, r.URL, body, r.ContentLength)
	})
}

func TestTalks(t *testing.T) {
	t.Parallel()
	Talks(t, "testdata/*.txtar", echo)
}

// A recorder fails instead of its test.
type recorder struct {
	testing.TB
	said string
}

type stop struct{}

func (r *recorder) Helper()                      {}
func (r *recorder) Errorf(f string, args ...any) { r.said += fmt.Sprintf(f, args...) }
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); panic(stop{}) }
func (r *recorder) Fatal(args ...any)            { r.said += fmt.Sprint(args...); panic(stop{}) }

func fails(t *testing.T, name, text, want string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "story.txtar")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != (stop{}) {
				panic(p)
			}
		}()
		Talk(r, path, echo(t))
	}()
	if !strings.Contains(r.said, want) {
		t.Errorf("%s: said %q, want %q", name, r.said, want)
	}
}

func TestTalkFails(t *testing.T) {
	good, err := os.ReadFile("testdata/echo.txtar")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOLDEN", "")
	fails(t, "another body", strings.Replace(string(good), "hello", "Hello", 1), "differs")
	fails(t, "another header", strings.Replace(string(good), "X-Count: 2", "X-Count: 3", 1), `got "X-Count: 2\n"`)
	fails(t, "missing answer", string(good[:strings.Index(string(good), "-- 2.response")]), `line 19`)
	fails(t, "newline more", strings.Replace(string(good), "\"hello\" 5\n", "\"hello\" 5\n\n", 1), "differs")
	fails(t, "wrong number", strings.Replace(string(good), "2.request", "3.request", 1), "2.request is expected")
	fails(t, "unknown file", string(good)+"-- other --\n", "neither")
	fails(t, "nothing to play", "A story.\n", "no requests")
	fails(t, "not HTTP", "-- 1.request --\nhello\n", "read request")
}

func TestArchiveRoundTrip(t *testing.T) {
	t.Parallel()
	const text = "comment\n-- a --\none\n\n-- b c --\n-- x\n-- --\n-- d --\n"
	a := parseArchive([]byte(text))
	if len(a.files) != 3 || string(a.files[0].data) != "one\n\n" || a.files[1].name != "b c" || string(a.files[1].data) != "-- x\n-- --\n" {
		t.Errorf("archive %q", a.files)
	}
	if got := string(a.format()); got != text {
		t.Errorf("format = %q, want %q", got, text)
	}
}
