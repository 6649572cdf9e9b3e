package oci

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWorkDirRemovesOnlyAbandonedOnes(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// What a killed process left, and a directory that is no work directory.
	for _, name := range []string{workPrefix + "DEAD", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	first, err := newWorkDir(root, "A")
	if err != nil {
		t.Fatal(err)
	}
	second, err := newWorkDir(root, "B")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newWorkDir(root, "A"); !errors.Is(err, errBusy) {
		t.Errorf("a second one of the same name: %v", err)
	}
	want := map[string]bool{workPrefix + "DEAD": false, "other": true, first.name: true, second.name: true}
	for name, stays := range want {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: stays %v, want %v", name, err == nil, stays)
		}
	}
	first.remove()
	second.remove()
	if left, _ := filepath.Glob(filepath.Join(dir, workPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A work directory that was kept is taken over with what is in it, unless somebody
// else could have put something there.
func TestWorkDirTakenOver(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  os.FileMode
		stays bool
	}{{"ours", 0o700, true}, {"open to others", 0o770, false}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			first, err := newWorkDir(root, "A")
			if err != nil {
				t.Fatal(err)
			}
			writeFileT(t, filepath.Join(dir, first.name, "part"), "x")
			first.keep()
			if err := os.Chmod(filepath.Join(dir, first.name), tt.mode); err != nil {
				t.Fatal(err)
			}
			second, err := newWorkDir(root, "A")
			if err != nil {
				t.Fatal(err)
			}
			defer second.remove()
			if _, err := second.Stat("part"); (err == nil) != tt.stays {
				t.Errorf("what was left: %v, want it to stay: %v", err, tt.stays)
			}
		})
	}
}
