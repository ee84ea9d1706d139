package golden

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Talks runs a conversation for each file that matches pattern, each with a
// handler of its own: fresh, with a fixed clock and fixed ids.
func Talks(t *testing.T, pattern string, handler func(t *testing.T) http.Handler) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no conversations at %s: %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			Talk(t, path, handler(t))
		})
	}
}

// Talk plays the requests N.request of a txtar file in their order and compares
// each answer with N.response, byte for byte; nothing is scrubbed. A request is
// what goes over the wire, with lines that may end in LF and without
// Content-Length, which is added. An answer is its status line, its headers in
// the order of their names without Content-Length, which is checked, and its
// body. The comment before the first file
// says what the story is.
func Talk(t testing.TB, path string, h http.Handler) {
	t.Helper()
	text, err := os.ReadFile(path) // #nosec G304 -- tests name their own files
	if err != nil {
		t.Fatal(err)
	}
	story := parseArchive(text)
	played := archive{comment: story.comment}
	count := 0
	for _, f := range story.files {
		n, isRequest := strings.CutSuffix(f.name, ".request")
		if !isRequest {
			if !strings.HasSuffix(f.name, ".response") {
				t.Fatalf("%s: file %q is neither N.request nor N.response", path, f.name)
			}
			continue
		}
		count++
		if n != strconv.Itoa(count) {
			t.Fatalf("%s: %q stands where %d.request is expected", path, f.name, count)
		}
		answer, err := play(h, f.data)
		if err != nil {
			t.Fatalf("%s: %s: %v", path, f.name, err)
		}
		played.files = append(played.files, f, file{name: n + ".response", data: answer})
	}
	if count == 0 {
		t.Fatalf("%s: no requests", path)
	}
	File(t, path, played.format())
}

// play sends one request. The archive's newline at the end of a body is not
// part of it.
func play(h http.Handler, raw []byte) ([]byte, error) {
	wire, err := complete(raw)
	if err != nil {
		return nil, err
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	req.RemoteAddr = "192.0.2.1:1234"
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	res := rec.Result()
	res.Request = req
	defer func() { _ = res.Body.Close() }()
	return print(res)
}

// complete ends header lines in CRLF and states the length of the body, where
// the request does not say it in another way.
func complete(raw []byte) ([]byte, error) {
	head, body, found := strings.Cut(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n\n")
	if !found {
		head, body = strings.TrimSuffix(head, "\n"), ""
	}
	body = strings.TrimSuffix(body, "\n")
	if head == "" {
		return nil, fmt.Errorf("empty request")
	}
	lower := strings.ToLower(head)
	if body != "" && !strings.Contains(lower, "\ncontent-length:") && !strings.Contains(lower, "\ntransfer-encoding:") {
		head += "\nContent-Length: " + strconv.Itoa(len(body))
	}
	return []byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body), nil
}

func print(res *http.Response) ([]byte, error) {
	var b bytes.Buffer
	said := res.Header.Get("Content-Length")
	res.Header.Del("Content-Length")
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\n", res.StatusCode, http.StatusText(res.StatusCode))
	names := make([]string, 0, len(res.Header))
	for name := range res.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range res.Header[name] {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	b.WriteByte('\n')
	n, err := io.Copy(&b, res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if said != "" && said != strconv.FormatInt(n, 10) && res.Request.Method != http.MethodHead {
		return nil, fmt.Errorf("an answer of %d bytes says that it has %s", n, said)
	}
	if n > 0 {
		b.WriteByte('\n') // the archive's: a body that ends in one shows an empty line
	}
	return b.Bytes(), nil
}
