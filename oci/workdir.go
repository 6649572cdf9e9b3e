package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// workPrefix starts the name of the directory, inside the target of a pull, in
// which files are written until all are whole.
const workPrefix = ".oras-bsm-"

// inWorkDir reports whether a file lies in a directory that a pull would take for
// one of its own, on a file system that ignores case, too.
func inWorkDir(path string) bool {
	parts := strings.Split(strings.ToLower(path), "/")
	return slices.ContainsFunc(parts[:len(parts)-1], func(s string) bool { return strings.HasPrefix(s, workPrefix) })
}

// workDir is such a directory. Its owner holds a lock on it, so that what a
// killed process left can be told from what another process is writing. It stays
// when a pull is interrupted, for the next one of the same name to go on.
type workDir struct {
	*os.Root
	parent *os.Root
	name   string
	lock   *os.File
}

var (
	errBusy = errors.New("another pull of this model is writing there")
	errGone = errors.New("it is a link, or was removed meanwhile")
)

// newWorkDir makes the work directory of that id in parent, or takes over one that
// was left, and removes those of others.
func newWorkDir(parent *os.Root, id string) (*workDir, error) {
	entries, err := fs.ReadDir(parent.FS(), ".")
	if err != nil {
		return nil, err
	}
	w := &workDir{parent: parent, name: workPrefix + id}
	for _, e := range entries {
		info, err := e.Info()
		if !strings.HasPrefix(e.Name(), workPrefix) || err != nil || e.Name() == w.name && ours(info) {
			continue
		}
		if err := removeWorkDir(parent, e); err != nil {
			return nil, err
		}
	}
	if w.lock, err = makeLocked(parent, w.name); err != nil {
		return nil, err
	}
	if w.Root, err = parent.OpenRoot(w.name); err != nil {
		return nil, errors.Join(err, w.lock.Close())
	}
	if err := w.check(); err != nil {
		return nil, errors.Join(err, w.Close(), w.lock.Close())
	}
	return w, nil
}

// makeLocked makes a directory if it is not there, and locks it.
func makeLocked(parent *os.Root, name string) (lock *os.File, err error) {
	for range 10 { // another pull may remove it before it is locked
		if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		lock, err = lockDir(parent, name)
		if !errors.Is(err, errGone) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errBusy
	}
	if err != nil {
		return nil, fmt.Errorf("work directory %s: %w", name, err)
	}
	return lock, nil
}

// check looks whether what was opened is what is locked, and nobody else's.
func (w *workDir) check() error {
	locked, err := w.lock.Stat()
	if err != nil {
		return err
	}
	opened, err := w.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(locked, opened) || !ours(opened) {
		return fmt.Errorf("work directory %s: others can write there: remove it", w.name)
	}
	return nil
}

// ours reports whether info is of a directory into which nobody else can have put
// anything.
func ours(info fs.FileInfo) bool {
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
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
	err = parent.RemoveAll(e.Name())
	if errors.Is(err, fs.ErrPermission) {
		err = nil // it is another's
	}
	return errors.Join(err, lock.Close())
}

// lockDir locks a directory, or fails if another process holds the lock. While it is
// held, nobody who asks for it first removes the directory.
func lockDir(parent *os.Root, name string) (*os.File, error) {
	d, err := parent.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = stillNamed(parent, name, d)
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// stillNamed reports whether d is what name names: between its opening and its lock
// who held the lock may have removed it.
func stillNamed(parent *os.Root, name string, d *os.File) error {
	now, err := parent.Lstat(name)
	if err != nil {
		return err
	}
	locked, err := d.Stat()
	if err == nil && !os.SameFile(now, locked) {
		err = errGone
	}
	return err
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
