package rig

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"eidgate/internal/need"
)

// NPM puts a folder's scripts and locked npm packages into a folder of the
// test's own.
func NPM(ctx context.Context, t testing.TB, name string, scripts ...string) (dir string) {
	t.Helper()
	need.Program(t, "node")
	need.Program(t, "npm")
	dir = t.TempDir()
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
		need.Absent(t, "npm ci: %v\n%s", err, out)
	}
	return dir
}
