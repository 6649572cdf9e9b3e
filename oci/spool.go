package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	// partSuffix ends the name of every partial, so that abandoned ones are found.
	partSuffix = ".part"
	// partAge is how long a partial that nobody writes is kept.
	partAge = 7 * 24 * time.Hour
)

// errInUse says that a partial is being written by another process, or by
// another writer of this one.
var errInUse = errors.New("another process is writing it")

// partial is a spool file for a blob of known digest that outlives its process:
// the next partial of the same name goes on where this one ended. Its owner
// holds a lock on the file. It belongs to one goroutine.
type partial struct {
	*spool
	root *os.Root // not owned
	name string
}

// openPartial opens the file of that name in root, or creates it, for the blob d
// and returns how many bytes are there already, which are read again to be hashed.
// good, if it is not nil, says how many of them may stay. The error is errInUse
// where another writer has the file. Whoever can write to root is trusted.
func openPartial(ctx context.Context, root *os.Root, name string, d ocispec.Descriptor, good func(r io.ReaderAt, size int64) int64) (_ *partial, have int64, err error) {
	f, err := lockPartial(root, name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, 0, err
	}
	p := &partial{spool: newSpool(f), root: root, name: name}
	if err := p.resume(ctx, d, good); err != nil {
		return nil, 0, errors.Join(err, p.close())
	}
	return p, p.n, nil
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
	const stretch = 4 << 20 // between two looks at ctx
	for r := io.NewSectionReader(p.f, 0, have); p.n < have; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(p.hash, r, min(stretch, have-p.n))
		if p.n += n; err != nil {
			return err
		}
	}
	if p.n == d.Size && p.Digest() != d.Digest {
		p.hash.Reset()
		p.n = 0
	}
	if err := p.f.Truncate(p.n); err != nil {
		return err
	}
	_, err = p.f.Seek(p.n, io.SeekStart)
	return err
}

// close lets go of the file, which stays for the next attempt.
func (p *partial) close() error { return p.f.Close() }

// drop removes the file.
func (p *partial) drop() error { return errors.Join(p.root.Remove(p.name), p.f.Close()) }

// lockPartial opens a regular file and locks it. The lock ends with the file, or
// with the process.
func lockPartial(root *os.Root, name string, flag int) (*os.File, error) {
	const tries = 10 // its owner may remove it in between, but not for ever
	for range tries {
		// Without O_NONBLOCK a pipe in its place hangs open.
		f, err := root.OpenFile(name, flag|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		still, err := lockAs(f, root, name)
		if err == nil && still {
			return f, nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return nil, errInUse
}

// lockAs locks f and reports whether it is still what root has under name.
func lockAs(f *os.File, root *os.Root, name string) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, errInUse
	}
	if err != nil {
		return false, err
	}
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !named.Mode().IsRegular(): // such as a link
		return false, fmt.Errorf("%s is not a regular file: remove it", f.Name())
	}
	return os.SameFile(is, named), nil
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

// privateDir opens a directory below temp, or below os.TempDir() if that is "",
// that belongs to this user alone: everybody may write to /tmp, and nobody else
// is to choose what a resumed file begins with.
func privateDir(temp string) (_ *os.Root, err error) {
	if temp == "" {
		temp = os.TempDir()
	}
	parent, err := os.OpenRoot(temp)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	name := "oras-bsm-" + strconv.Itoa(os.Geteuid())
	if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// What is looked at is what is opened: a link in its place is not followed.
	fi, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || fi.Mode().Perm() != 0o700 || int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s/%s is not a directory that you alone may use: remove it, or name another place in TMPDIR", temp, name)
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if is, err := root.Stat("."); err != nil || !os.SameFile(is, fi) {
		return nil, errors.Join(err, fmt.Errorf("%s/%s is being replaced: name another place in TMPDIR", temp, name), root.Close())
	}
	return root, nil
}
