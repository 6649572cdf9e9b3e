package oci

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// workPrefix starts the name of the directory, inside the target of a pull, in
// which files are written until all are whole.
const workPrefix = ".oras-bsm-"

// workDir is such a directory. Its owner holds a lock on it, so that what a
// killed process left can be told from what another process is writing. It stays
// when a pull is interrupted, for the next one of the same name to go on.
type workDir struct {
	*os.Root
	parent *os.Root
	name   string
	lock   *os.File
}

var errBusy = errors.New("another pull of this model is writing there")

// newWorkDir makes the work directory of that id in parent, or takes over one that
// was left, and removes those of others.
func newWorkDir(parent *os.Root, id string) (*workDir, error) {
	entries, err := fs.ReadDir(parent.FS(), ".")
	if err != nil {
		return nil, err
	}
	w := &workDir{parent: parent, name: workPrefix + id}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), workPrefix) || e.Name() == w.name && ours(e) {
			continue
		}
		if err := removeWorkDir(parent, e); err != nil {
			return nil, err
		}
	}
	if err := parent.Mkdir(w.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if w.lock, err = lockDir(parent, w.name); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errBusy
	} else if err != nil {
		return nil, err
	}
	if w.Root, err = parent.OpenRoot(w.name); err != nil {
		_ = w.lock.Close()
		return nil, err
	}
	return w, nil
}

// ours reports whether nobody else can have put anything into a directory.
func ours(e fs.DirEntry) bool {
	info, err := e.Info()
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// removeWorkDir removes a work directory that nobody holds.
func removeWorkDir(parent *os.Root, e fs.DirEntry) error {
	if !e.IsDir() {
		return nil
	}
	lock, err := lockDir(parent, e.Name())
	if err != nil {
		return nil //nolint:nilerr // somebody is at work there, or it is another's
	}
	return errors.Join(parent.RemoveAll(e.Name()), lock.Close())
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

// keep leaves the directory for the next pull.
func (w *workDir) keep() {
	_ = w.Close()
	_ = w.lock.Close()
}
