package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// quickstart is the comment before the block of README.md that is run.
const quickstart = "<!-- quickstart -->"

// TestQuickstart runs what README.md tells a new user to type.
func TestQuickstart(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), quickstart)
	if !found {
		t.Fatal("README.md has no " + quickstart)
	}
	block, found := strings.CutPrefix(strings.TrimLeft(rest, "\r\n"), "```sh\n")
	script, _, closed := strings.Cut(block, "\n```")
	if !found || !closed {
		t.Fatalf("no block of sh follows %s", quickstart)
	}
	u, dir := newUser(t), t.TempDir()
	if err := model.Generate(filepath.Join(dir, "model"), model.Options{Layers: 2, Hidden: 64}); err != nil {
		t.Fatal(err)
	}
	cmd := u.command("sh", "-eux")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
