package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	archiveTemp = "archive.tar"
	archiveLock = "archive.lock"
)

// archiveTarget builds a layout in a directory beside the archive, and makes
// the archive of it when it is published.
type archiveTarget struct {
	*layoutTarget
	ref       Reference
	dir       string
	lock      *flock.Flock
	published bool

	mu        sync.Mutex
	referrers []referrer
}

func openArchiveTarget(ref Reference) (Target, error) {
	file, err := filepath.Abs(ref.path)
	if err != nil {
		return nil, err
	}
	if fi, err := os.Stat(file); err == nil && !fi.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	ref.path = file
	if err := replaceable(ref); err != nil {
		return nil, err
	}
	parent, pattern := filepath.Dir(file), "."+filepath.Base(file)+tempPrefix
	sweepArchives(parent, pattern)
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return nil, err
	}
	t := &archiveTarget{ref: ref, dir: dir}
	if err := t.start(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// replaceable reports whether the file that ref names, if there is one, holds
// nothing but an artifact of the same tag: whatever else it is, it is not to be
// lost.
func replaceable(ref Reference) error {
	b, size, err := openTar(ref.path)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var x *indexFile
	src, err := newArchiveSource(ref, b, size)
	if err == nil {
		defer src.Close()
		x, err = readIndexFile(src.(*layoutSource).files)
	}
	if err != nil {
		return fmt.Errorf("the file exists and is no archive to replace: remove it, or choose another name: %v", err) //nolint:errorlint // its kind would say that a model is damaged
	}
	for i, d := range x.entries {
		tag := d.Annotations[ocispec.AnnotationRefName]
		if isReferrer := i > 0 && (tag == "" || isCosignTag(tag)); tag != ref.tag && !isReferrer {
			return fmt.Errorf("the archive holds %q, and would be replaced: choose another file for %q", plainText(tag), ref.tag)
		}
	}
	return nil
}

func (t *archiveTarget) start() error {
	// The lock is held before it has its name, so whoever finds the name and
	// gets the lock knows that its owner has died.
	lock := flock.New(filepath.Join(t.dir, archiveLock+".new"))
	if err := lock.Lock(); err != nil {
		return err
	}
	t.lock = lock
	if err := os.Rename(lock.Path(), filepath.Join(t.dir, archiveLock)); err != nil {
		return err
	}
	inner := t.ref
	inner.path = filepath.Join(t.dir, "layout")
	// Nothing in there outlives this process: only the archive is synced.
	layout, err := newLayoutTarget(inner, false)
	if err != nil {
		return err
	}
	t.layoutTarget = layout
	return nil
}

// sweepArchives removes the directories of targets that were killed. What it
// cannot remove is left for the next time.
func sweepArchives(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		name := filepath.Join(dir, archiveLock)
		if fi, err := os.Lstat(name); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		lock := flock.New(name, flock.SetFlag(os.O_RDONLY))
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = os.RemoveAll(dir)
			_ = lock.Unlock()
		}
	}
}

// Publish implements Target. The blobs move into the archive one by one, so the
// disk holds little more than one copy; therefore it works only once.
func (t *archiveTarget) Publish(ctx context.Context, d ocispec.Descriptor) error {
	err := t.ref.checkPublished(d)
	if err == nil && t.published {
		err = errors.New("published already")
	}
	if err == nil {
		err = t.publish(ctx, d)
	}
	return fail("publishing", t.ref.String(), err)
}

func (t *archiveTarget) publish(ctx context.Context, d ocispec.Descriptor) error {
	tr, err := reachable(ctx, t, d)
	if err != nil {
		return err
	}
	for _, r := range t.referrers {
		if err := tr.add(ctx, r.Descriptor); err != nil {
			return err
		}
	}
	tr.referrers = t.referrers
	all, _, err := tr.layOut(d, t.ref.tag)
	if err != nil {
		return err
	}
	t.published = true
	temp := filepath.Join(t.dir, archiveTemp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = t.write(ctx, f, all)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp, t.ref.path); err != nil {
		return err
	}
	return syncDir(os.Open(filepath.Dir(t.ref.path)))
}

// attach implements Target.
func (t *archiveTarget) attach(ctx context.Context, r referrer, raw []byte) (warning string, err error) {
	if err := t.PutManifest(ctx, r.Descriptor, raw); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.referrers = append(t.referrers, r)
	return "", nil
}

// write writes the tar, and removes the blobs that are in it.
func (t *archiveTarget) write(ctx context.Context, f *os.File, all []tarRange) error {
	for _, p := range all {
		if p.blob == nil {
			if _, err := f.Write(p.data); err != nil {
				return err
			}
			continue
		}
		name := blobPath(p.blob.Digest)
		s, err := t.open(name)
		if err != nil {
			return err
		}
		err = errors.Join(copyTo(ctx, f, s, 0, p.size, noProgress{}), s.Close())
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if err := t.root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Close implements Target: it removes all but the published archive.
func (t *archiveTarget) Close() error {
	var err error
	if t.layoutTarget != nil {
		err = t.layoutTarget.Close()
	}
	err = errors.Join(err, os.RemoveAll(t.dir))
	if t.lock != nil {
		err = errors.Join(err, t.lock.Unlock())
	}
	return err
}
