package oci

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// partTries is how often the part of a blob is opened anew because another writer
// finished it in the meantime.
const partTries = 3

// Receive implements Target. The part lies beside the blobs, under the digest that
// it is to have, and is locked while it is written. Who finds it locked writes a
// file of its own.
func (t *layoutTarget) Receive(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) (BlobWriter, int64, error) {
	w, err := t.receive(ctx, d, good)
	if err != nil {
		return nil, 0, fail("receiving blob", d.Digest.String(), err)
	}
	return w, w.n, nil
}

func (t *layoutTarget) receive(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) (*layoutBlob, error) {
	if err := errors.Join(ctx.Err(), checkDescriptor(d)); err != nil {
		return nil, err
	}
	name := blobDir + "/" + partPrefix + d.Digest.Encoded()
	f, err := t.openPart(name)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return t.create(d.Digest.Algorithm())
	}
	a := d.Digest.Algorithm()
	w := &layoutBlob{t: t, temp: name, part: true, spool: &spool{f: f, algorithm: a, hash: a.Hash()}}
	if w.n, err = resume(ctx, f, w.hash, d.Size, good); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// openPart opens and locks the part of that name. It returns nil if another writer
// has the lock.
func (t *layoutTarget) openPart(name string) (*os.File, error) {
	for range partTries {
		if fi, err := t.root.Lstat(name); err == nil && !fi.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
		}
		f, err := t.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		locked, err := lockNamed(f, func() (fs.FileInfo, error) { return t.root.Lstat(name) })
		if locked {
			return f, nil
		}
		_ = f.Close() // nothing was written
		if !errors.Is(err, errMoved) {
			return nil, err
		}
	}
	return nil, nil
}

// errMoved says that a file was given another name before it was locked.
var errMoved = errors.New("moved by another process")

// lockNamed locks f for this open file alone, if nobody else has it locked. look
// tells what has the file's name now: if that is not f, the lock is worthless, and
// the error is errMoved.
func lockNamed(f *os.File, look func() (fs.FileInfo, error)) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := look()
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, named) {
		return false, errMoved
	}
	return err == nil, err
}

// resume decides how much of f stays of a blob of size bytes, cuts off the rest,
// adds what stays to h and leaves f at its end.
func resume(ctx context.Context, f *os.File, h hash.Hash, size int64, good func(io.ReaderAt, int64) int64) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n := fi.Size()
	if n > size {
		n = 0
	}
	if good != nil && n > 0 {
		n = min(max(good(f, n), 0), n)
	}
	if err := f.Truncate(n); err != nil {
		return 0, err
	}
	if err := copyTo(ctx, h, f, 0, n, noProgress{}); err != nil {
		return 0, err
	}
	_, err = f.Seek(n, io.SeekStart)
	return n, err
}
