// Package golden compares what code produces with files that a person has
// read. GOLDEN=update in the environment rewrites the files instead; the diff
// is read before it is committed.
package golden

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// File compares got with the file at path, byte for byte.
func File(t testing.TB, path string, got []byte) {
	t.Helper()
	if update() {
		write(t, path, got)
		return
	}
	want, err := os.ReadFile(path) // #nosec G304 -- tests name their own files
	if err != nil {
		t.Fatalf("%v (GOLDEN=update writes it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (GOLDEN=update rewrites it)\n%s", path, firstDifference(string(got), string(want)))
	}
}

func update() bool { return os.Getenv("GOLDEN") == "update" }

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil { // #nosec G306 -- read by everybody who reads the source
		t.Fatal(err)
	}
}

// firstDifference shows the first line that is not the same, with what cannot
// be seen made visible.
func firstDifference(got, want string) string {
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range max(len(g), len(w)) {
		if i < len(g) && i < len(w) && g[i] == w[i] {
			continue
		}
		line := func(list []string) string {
			if i >= len(list) {
				return "(end)"
			}
			return strconv.Quote(list[i])
		}
		return "line " + strconv.Itoa(i+1) + "\n got " + line(g) + "\nwant " + line(w)
	}
	return ""
}
