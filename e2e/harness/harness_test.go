package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var t0 = time.Unix(0, 0)

// TestCompare makes one change to a copy of a directory in each case.
func TestCompare(t *testing.T) {
	big := make([]byte, 100<<10)
	for name, c := range map[string]struct {
		change func(dir string) error
		same   bool
	}{
		"nothing":     {func(string) error { return nil }, true},
		"time":        {func(dir string) error { return os.Chtimes(dir+"/big", t0, t0) }, true},
		"last byte":   {func(dir string) error { return os.WriteFile(dir+"/big", append(big[1:], 1), 0o644) }, false},
		"longer":      {func(dir string) error { return os.WriteFile(dir+"/big", append(big, 0), 0o644) }, false},
		"shorter":     {func(dir string) error { return os.Truncate(dir+"/big", 64<<10) }, false},
		"empty":       {func(dir string) error { return os.Truncate(dir+"/big", 0) }, false},
		"mode":        {func(dir string) error { return os.Chmod(dir+"/big", 0o755) }, false},
		"gone":        {func(dir string) error { return os.Remove(dir + "/sub/small") }, false},
		"new":         {func(dir string) error { return os.WriteFile(dir+"/sub/new", nil, 0o644) }, false},
		"empty dir":   {func(dir string) error { return os.Mkdir(dir+"/none", 0o755) }, false},
		"other type":  {func(dir string) error { return os.Symlink("sub", dir+"/link") }, false},
		"no such dir": {os.RemoveAll, false},
	} {
		dirs := [2]string{filepath.Join(t.TempDir(), "want"), filepath.Join(t.TempDir(), "got")}
		for _, dir := range dirs {
			if err := os.MkdirAll(dir+"/sub", 0o755); err != nil {
				t.Fatal(err)
			}
			for file, b := range map[string][]byte{"/big": big, "/sub/small": []byte("small")} {
				if err := os.WriteFile(dir+file, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.change(dirs[1]); err != nil {
			t.Fatal(err)
		}
		if err := Compare(dirs[0], dirs[1]); (err == nil) != c.same {
			t.Errorf("%s: Compare returned %v", name, err)
		}
	}
}

func TestRun(t *testing.T) {
	for script, want := range map[string]Result{
		"echo out; echo err >&2":  {Stdout: "out\n", Stderr: "err\n"},
		"echo out; exit 7":        {Stdout: "out\n", Code: 7},
		"kill -9 $$; echo undead": {Code: -1},
	} {
		got, err := Run(exec.Command("sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		if got.Stdout != want.Stdout || got.Stderr != want.Stderr || got.Code != want.Code {
			t.Errorf("%s: %+v", script, got)
		}
		if got.Took <= 0 || got.Peak <= 0 {
			t.Errorf("%s: took %v, at most %d bytes", script, got.Took, got.Peak)
		}
	}
	if _, err := Run(exec.Command("/no/such/program")); err == nil {
		t.Error("a program that does not exist ran")
	}
}

// TestPeak proves that the peak is that of the program, and that a bound is
// called one: this process has used more than sh by then.
func TestPeak(t *testing.T) {
	const size = 64 << 20
	b := make([]byte, size)
	for i := range b {
		b[i] = 1
	}
	if own := ownPeak(); own < size {
		t.Skipf("this system tells a peak of %d bytes of a process that has %d", own, len(b))
	}
	small, err := Run(exec.Command("sh", "-c", ":"))
	if err != nil {
		t.Fatal(err)
	}
	if !small.AtMost {
		t.Errorf("sh alone has a peak of %d bytes, which is not called a bound", small.Peak)
	}
	large, err := Run(exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"))
	if err != nil {
		t.Fatal(err)
	}
	if large.AtMost || large.Peak < 256<<20 || large.Peak > 300<<20 {
		t.Errorf("a program with a buffer of 256 MiB: %+v", large)
	}
}
