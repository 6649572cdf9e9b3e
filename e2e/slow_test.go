package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// slow skips tests that take minutes and gigabytes.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("BSM_SLOW") == "" {
		t.Skip("slow: BSM_SLOW=1 runs it")
	}
}

// TestPeakMemory pushes and pulls a model ten times as large as the memory that
// each may use.
func TestPeakMemory(t *testing.T) {
	slow(t)
	needs(t, registry.Program)
	const (
		size  = 4 << 30
		limit = 400 << 20
	)
	dir := filepath.Join(t.TempDir(), "model")
	if err := model.Generate(dir, model.Options{Size: size}); err != nil {
		t.Fatal(err)
	}
	s, u := newRegistry(t, nil), newUser(t)
	ref := s.Addr + "/org/model:v1"
	out := filepath.Join(t.TempDir(), "out")
	for _, verb := range [][]string{
		{"push", ref, dir},
		{"verify", ref},
		{"pull", ref, "-o", out},
		{"pull", "--verify", ref, "-o", out},
	} {
		r := u.tool(verb...)
		t.Logf("%s: at most %d MiB resident, %.1f s, %.3f GB/s", verb[:len(verb)-1], r.Peak>>20, r.Took.Seconds(), size/1e9/r.Took.Seconds())
		if r.Peak > limit {
			t.Errorf("%s: %d bytes were resident, want at most %d", verb, r.Peak, limit)
		}
		if r.AtMost {
			t.Logf("that is what this test itself has used")
		}
	}
	if err := harness.Compare(dir, out); err != nil {
		t.Error(err)
	}
}
