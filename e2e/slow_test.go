package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dustin/go-humanize"

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

// peakSize is the size of the model of TestPeakMemory: $BSM_SIZE, such as 20GB. It
// takes three to four times as much of the disk.
func peakSize(t *testing.T) int64 {
	t.Helper()
	s := os.Getenv("BSM_SIZE")
	if s == "" {
		return 4 << 30
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n < 1<<30 || n > 1<<40 {
		t.Fatalf("BSM_SIZE=%s is not a size between 1 GiB and 1 TiB", s)
	}
	return int64(n)
}

// TestPeakMemory moves a model, many times as large as the memory that each verb may
// use, by every verb.
func TestPeakMemory(t *testing.T) {
	slow(t)
	needs(t, registry.Program)
	const limit = 256 << 20
	size := peakSize(t)
	dir := filepath.Join(t.TempDir(), "model")
	if err := model.Generate(dir, model.Options{Size: size}); err != nil {
		t.Fatal(err)
	}
	s, u := newRegistry(t, nil), newUser(t)
	temp := t.TempDir()
	ref, out, file, layout := s.Addr+"/org/model:v1", filepath.Join(temp, "out"), filepath.Join(temp, "model.tar"), filepath.Join(temp, "layout")
	for _, verb := range []struct {
		args []string
		drop string // what is not needed any more, for lack of disks
	}{
		{[]string{"push", ref, dir}, ""},
		{[]string{"verify", ref}, ""},
		{[]string{"pull", ref, "-o", out}, ""},
		{[]string{"pull", "--verify", ref, "-o", out}, out},
		{[]string{"save", ref, file}, ""},
		{[]string{"load", file, "oci:" + layout + ":v1"}, file},
		{[]string{"check", "oci:" + layout}, ""},
		{[]string{"copy", "oci:" + layout + ":v1", s.Addr + "/other/model:v1"}, layout},
	} {
		r := u.tool(verb.args...)
		t.Logf("%s: at most %d MiB resident, %.1f s, %.3f GB/s", verb.args[:len(verb.args)-1], r.Peak>>20, r.Took.Seconds(), float64(size)/1e9/r.Took.Seconds())
		if r.Peak > limit {
			t.Errorf("%s: %d bytes were resident, want at most %d", verb.args, r.Peak, limit)
		}
		if r.AtMost {
			t.Logf("that is what this test itself has used")
		}
		if verb.drop == out {
			if err := harness.Compare(dir, out); err != nil {
				t.Error(err)
			}
		}
		if verb.drop != "" {
			if err := os.RemoveAll(verb.drop); err != nil {
				t.Error(err)
			}
		}
	}
}
