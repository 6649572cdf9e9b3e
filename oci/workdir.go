package oci

import (
	"crypto/rand"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// workPrefix starts the name of the directory, inside the target of a pull, in
// which files are written until all are whole.
const workPrefix = ".oras-bsm-"

// workDir is such a directory. Its owner holds a lock on it, so that what a
// killed process left can be told from what another process is writing.
type workDir struct {
	*os.Root
	parent *os.Root
	name   string
	lock   *os.File
}

// newWorkDir makes a work directory in parent and removes abandoned ones.
func newWorkDir(parent *os.Root) (*workDir, error) {
	entries, err := fs.ReadDir(parent.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), workPrefix) {
			if lock, err := lockDir(parent, e.Name()); err == nil {
				err = parent.RemoveAll(e.Name())
				_ = lock.Close()
				if err != nil {
					return nil, err
				}
			}
		}
	}
	w := &workDir{parent: parent, name: workPrefix + rand.Text()}
	if err := parent.Mkdir(w.name, 0o700); err != nil {
		return nil, err
	}
	if w.lock, err = lockDir(parent, w.name); err != nil {
		return nil, err
	}
	if w.Root, err = parent.OpenRoot(w.name); err != nil {
		_ = w.lock.Close()
		return nil, err
	}
	return w, nil
}

// lockDir locks a directory, or fails if another process holds the lock.
func lockDir(parent *os.Root, name string) (*os.File, error) {
	d, err := parent.Open(name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// remove removes the directory with all that is in it.
func (w *workDir) remove() {
	_ = w.Close()
	_ = w.parent.RemoveAll(w.name) // what stays, the next pull removes
	_ = w.lock.Close()
}
