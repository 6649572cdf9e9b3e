package oci

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The files that a layout holds beside those of the image-layout spec.
const (
	// indexLock is held while index.json is replaced.
	indexLock = ".oras-bsm.lock"
	// writersLock is held shared by every open target. Who gets it for itself
	// alone knows that no temporary file is in use.
	writersLock = ".oras-bsm.writers"
	tempPrefix  = ".tmp-"
	partPrefix  = ".part-" // before the hex digits of a blob that is not whole yet
	blobDir     = "blobs/sha256"
)

const lockPoll = 50 * time.Millisecond

// dirFiles is the file tree of a layout in a directory. Nothing is followed
// out of the directory.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (section, error) {
	// Without O_NONBLOCK a pipe planted under the name of a blob hangs open.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return section{}, fmt.Errorf("%w: no file %s", ErrNotFound, name)
	}
	if err != nil {
		return section{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, name)
	}
	if err != nil {
		return section{}, errors.Join(err, f.Close())
	}
	return section{f, f, fi.Size()}, nil
}

func (d dirFiles) Close() error { return d.root.Close() }

func openLayoutSource(ref Reference) (Source, error) {
	root, err := os.OpenRoot(ref.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no directory %s", ErrNotFound, ref.path)
	}
	if err != nil {
		return nil, err
	}
	files := dirFiles{root}
	if err := checkLayoutFile(files); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &layoutSource{files: files, ref: ref}, nil
}

// layoutTarget writes into an OCI image layout. A blob appears under its digest
// when it is whole, checked and on disk; index.json is replaced in one step.
// So a process killed at any point leaves a layout without its tag, or, if there
// was none and it had just begun, a directory that the next push completes.
type layoutTarget struct {
	dirFiles
	path    string
	ref     Reference
	durable bool // fsync before a name appears
	writers *flock.Flock
}

func openLayoutTarget(ref Reference) (Target, error) {
	return newLayoutTarget(ref, true)
}

func newLayoutTarget(ref Reference, durable bool) (_ *layoutTarget, err error) {
	if err := os.MkdirAll(ref.path, 0o755); err != nil {
		return nil, err
	}
	// An absolute path: the lock files are opened by path, later.
	path, err := filepath.Abs(ref.path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	t := &layoutTarget{dirFiles: dirFiles{root}, path: path, ref: ref, durable: durable}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.writers, err = t.lockFile(writersLock); err != nil {
		return nil, err
	}
	alone, err := t.writers.TryLock()
	if err != nil {
		return nil, err
	}
	if alone {
		// Files that a killed writer left. The lock is let go before it is taken
		// shared; who cleans up in between finds no file of ours yet.
		err = errors.Join(t.sweep("."), t.sweep(blobDir), t.writers.Unlock())
		if err != nil {
			return nil, err
		}
	}
	if err := t.writers.RLock(); err != nil {
		return nil, err
	}
	if err := t.locked(context.Background(), t.init); err != nil {
		return nil, err
	}
	return t, nil
}

// lockFile returns the lock of that name. A link in its place is refused.
func (t *layoutTarget) lockFile(name string) (*flock.Flock, error) {
	if fi, err := t.root.Lstat(name); err == nil && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return flock.New(filepath.Join(t.path, name), flock.SetPermissions(0o644)), nil
}

// locked runs f while no other process or target changes index.json.
func (t *layoutTarget) locked(ctx context.Context, f func() error) error {
	lock, err := t.lockFile(indexLock)
	if err != nil {
		return err
	}
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return err
	}
	return errors.Join(f(), lock.Unlock())
}

// sweep removes the temporary files in dir.
func (t *layoutTarget) sweep(dir string) error {
	entries, err := fs.ReadDir(t.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) && e.Type().IsRegular() {
			err = errors.Join(err, t.root.Remove(dir+"/"+e.Name()))
		}
	}
	return err
}

// init makes an empty directory a layout, and refuses to mix one with files of
// another kind.
func (t *layoutTarget) init() error {
	err := checkLayoutFile(t)
	if err == nil {
		return t.root.MkdirAll(blobDir, 0o755)
	}
	if _, lerr := t.root.Lstat(ocispec.ImageLayoutFile); !errors.Is(lerr, fs.ErrNotExist) {
		return err
	}
	entries, err := fs.ReadDir(t.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != ocispec.ImageBlobsDir && !strings.HasPrefix(e.Name(), ".") {
			return fmt.Errorf("%s holds %q and is not an OCI image layout: name an empty directory or a new one", t.path, e.Name())
		}
	}
	if err := t.root.MkdirAll(blobDir, 0o755); err != nil {
		return err
	}
	if t.durable {
		err := errors.Join(syncDir(t.root.Open(ocispec.ImageBlobsDir)), syncDir(os.Open(filepath.Dir(t.path))))
		if err != nil {
			return err
		}
	}
	return t.writeFile(ocispec.ImageLayoutFile, []byte(layoutFile))
}

// writeFile puts a small file in the root of the layout, in one step.
func (t *layoutTarget) writeFile(name string, data []byte) error {
	temp := tempPrefix + rand.Text()
	f, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err != nil {
		return errors.Join(err, f.Close(), t.root.Remove(temp))
	}
	return t.install(f, temp, name)
}

// install gives the whole temporary file f its name and closes it, in that order:
// a lock on it is held until it has its name. On an error the file is gone: after
// a failed fsync its pages may be lost, and a second fsync would not say so.
func (t *layoutTarget) install(f *os.File, temp, name string) error {
	err := f.Chmod(0o644)
	if err == nil && t.durable {
		err = f.Sync()
	}
	if err == nil {
		err = t.root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, t.root.Remove(temp), f.Close())
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, t.root.Remove(name))
	}
	if !t.durable {
		return nil
	}
	return syncDir(t.root.Open(filepath.Dir(name)))
}

// syncDir makes the names in a directory, just opened, outlive a power cut.
func syncDir(d *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Has implements Target.
func (t *layoutTarget) Has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if err := errors.Join(ctx.Err(), checkDescriptor(d)); err != nil {
		return false, fail("looking for", d.Digest.String(), err)
	}
	fi, err := t.root.Lstat(blobPath(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fail("looking for", d.Digest.String(), err)
	}
	return fi.Mode().IsRegular() && fi.Size() == d.Size, nil
}

// Create implements Target.
func (t *layoutTarget) Create(ctx context.Context) (BlobWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.create(digest.SHA256)
}

// Mount implements Target.
func (t *layoutTarget) Mount(context.Context, ocispec.Descriptor, Reference) (bool, error) {
	return false, nil
}

// PutManifest implements Target.
func (t *layoutTarget) PutManifest(ctx context.Context, d ocispec.Descriptor, raw []byte) error {
	err := checkManifest(d, raw)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fail("storing manifest", d.Digest.String(), err)
	}
	w, err := t.create(d.Digest.Algorithm())
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit(ctx, d)
}

// Publish implements Target. It refuses to name what is not whole.
func (t *layoutTarget) Publish(ctx context.Context, d ocispec.Descriptor) error {
	err := t.ref.checkPublished(d)
	if err == nil {
		_, err = reachable(ctx, t, d)
	}
	if err == nil {
		err = t.locked(ctx, func() error {
			old, err := readIndexFile(t)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			raw, err := old.with(d, t.ref.tag)
			if err != nil {
				return err
			}
			return t.writeFile(ocispec.ImageIndexFile, raw)
		})
	}
	return fail("publishing", t.ref.String(), err)
}

// Close implements Target. Blobs that were committed stay: another writer may
// have seen them and left out its own.
func (t *layoutTarget) Close() error {
	var err error
	if t.writers != nil {
		err = t.writers.Unlock()
	}
	return errors.Join(err, t.root.Close())
}
