package oci

import (
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
	first, err := newWorkDir(root)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newWorkDir(root)
	if err != nil {
		t.Fatal(err)
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
