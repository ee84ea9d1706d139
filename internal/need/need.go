// Package need says what a test needs that may not be there. It is skipped then,
// and fails where everything must run: EIDGATE_REQUIRE_TOOLS=1.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Program is where a program is.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Absent(t, "%s is not installed", name)
	}
	return path
}

// Absent ends a test: what it needs is not there.
func Absent(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("EIDGATE_REQUIRE_TOOLS") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
