package oci

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
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

// What somebody planted under the name of a work directory is not gone on with, and
// no pull hangs on it.
func TestWorkDirPlanted(t *testing.T) {
	for name, plant := range map[string]func(dir, name string) error{
		"link": func(dir, name string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "sub"), 0o700), os.Symlink("sub", name))
		},
		"dangling link": func(_, name string) error { return os.Symlink("none", name) },
		"FIFO":          func(_, name string) error { return unix.Mkfifo(name, 0o600) },
		"file":          func(_, name string) error { return os.WriteFile(name, nil, 0o600) },
	} {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if err := plant(dir, filepath.Join(dir, workPrefix+"A")); err != nil {
			t.Fatal(err)
		}
		if w, err := newWorkDir(root, "A"); err == nil {
			t.Errorf("%s: it is used", name)
			w.keep()
		}
	}
}

// Many pulls of one model into one directory: each has the work directory for itself
// or is told that it is busy, however often others remove it.
func TestWorkDirRace(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var held atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				w, err := newWorkDir(root, "A")
				if err != nil {
					if !errors.Is(err, errBusy) {
						t.Error(err)
						return
					}
					continue
				}
				if n := held.Add(1); n != 1 {
					t.Errorf("%d hold it", n)
				}
				if err := w.Mkdir("part", 0o700); err != nil {
					t.Error(err)
				}
				held.Add(-1)
				w.remove()
			}
		})
	}
	all.Wait()
}
