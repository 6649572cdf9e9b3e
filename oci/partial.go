package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	// partSuffix ends the name of every partial of an upload, so that abandoned ones
	// are found.
	partSuffix = ".part"
	// partAge is how long a partial of an upload that nobody writes is kept.
	partAge = 7 * 24 * time.Hour
)

// errInUse says that a file is being written by another process, or by another
// writer of this one; errMoved that it was given another name before it was locked.
var (
	errInUse = errors.New("another process is writing it")
	errMoved = errors.New("moved by another process")
)

// partial is a spool file for a blob of known digest that outlives its process:
// the next partial of the same name goes on where this one ended. Its owner
// holds a lock on the file until it is closed.
type partial struct {
	*spool
	root *os.Root // not owned
	name string
}

// openPartial opens the file of that name in root, or creates it, for the blob d.
// What is there already is read again to be hashed; good, if it is not nil, says how
// many bytes of it may stay. The error is errInUse where another writer has the
// file. Whoever can write to root is trusted.
func openPartial(ctx context.Context, root *os.Root, name string, d ocispec.Descriptor, good func(r io.ReaderAt, size int64) int64) (*partial, error) {
	f, err := lockPartial(root, name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	p := &partial{spool: newSpool(f, d.Digest.Algorithm()), root: root, name: name}
	if err := p.resume(ctx, d, good); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// resume keeps what can be the beginning of d and drops the rest.
func (p *partial) resume(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) error {
	fi, err := p.f.Stat()
	if err != nil {
		return err
	}
	have := fi.Size()
	if have > d.Size { // of what else it may be nothing is known
		have = 0
	}
	if good != nil && have > 0 {
		have = min(max(good(p.f, have), 0), have)
	}
	if err := copyTo(ctx, p.hash, p.f, 0, have, noProgress{}); err != nil {
		return err
	}
	if have == d.Size && p.Digest() != d.Digest {
		p.hash.Reset()
		have = 0
	}
	if err := p.f.Truncate(have); err != nil {
		return err
	}
	p.n, err = p.f.Seek(have, io.SeekStart)
	return err
}

// end lets go of the file. If keep says so, and there is something in it, it stays
// for the next attempt.
func (p *partial) end(keep bool) error {
	if keep && p.n > 0 {
		return p.f.Close()
	}
	// Removed before it is closed, which lets go of the lock.
	return errors.Join(p.root.Remove(p.name), p.f.Close())
}

// lockPartial opens a regular file and locks it. The lock ends with the file, or
// with the process.
func lockPartial(root *os.Root, name string, flag int) (*os.File, error) {
	const tries = 10 // its owner may remove it in between, but not for ever
	for range tries {
		fi, err := root.Lstat(name)
		if err == nil && !fi.Mode().IsRegular() { // such as a link
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file: remove it")}
		}
		// Without O_NONBLOCK a pipe that is put in its place hangs open.
		f, err := root.OpenFile(name, flag|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		err = lockNamed(f, func() (fs.FileInfo, error) { return root.Lstat(name) })
		if err == nil {
			return f, nil
		}
		if err := errors.Join(err, f.Close()); !errors.Is(err, errMoved) {
			return nil, err
		}
	}
	return nil, errInUse
}

// lockNamed locks f for this open file alone. The error is errInUse if somebody
// else has it locked. look tells what has the file's name now: if that is not f,
// the lock is worthless, and the error is errMoved.
func lockNamed(f *os.File, look func() (fs.FileInfo, error)) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errInUse
	}
	if err != nil {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := look()
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, named) {
		return errMoved
	}
	return err
}

// sweepPartials removes the partials in root that nobody has written for age.
func sweepPartials(root *os.Root, age time.Duration) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), partSuffix) || !e.Type().IsRegular() {
			continue
		}
		fi, ierr := e.Info()
		if ierr != nil || time.Since(fi.ModTime()) < age {
			continue
		}
		f, lerr := lockPartial(root, e.Name(), os.O_RDWR)
		if lerr != nil { // in use, or gone by now
			continue
		}
		err = errors.Join(err, root.Remove(e.Name()), f.Close())
	}
	return err
}
