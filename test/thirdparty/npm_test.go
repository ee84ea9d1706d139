// Package thirdparty lets programs that none of us wrote use the sandbox, and
// judge what we judge: what they and we understand alike is not merely our own
// reading of a protocol.
package thirdparty

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// absent skips a test whose program is not installed, where that is allowed.
func absent(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("EIDGATE_REQUIRE_TOOLS") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// install puts a folder's scripts and locked npm packages into a folder of the
// test's own.
func install(ctx context.Context, t *testing.T, name string, scripts ...string) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			absent(t, "%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	for _, file := range append(scripts, "package.json", "package-lock.json") {
		text, err := os.ReadFile(filepath.Join(name, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		absent(t, "npm ci: %v\n%s", err, out)
	}
	return dir
}
