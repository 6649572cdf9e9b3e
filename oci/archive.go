package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxEntries is the most entries of an archive.
	maxEntries = 100_000
	// ustarMax is the first size that a USTAR header cannot hold.
	ustarMax = 8 << 30
	// dockerArchive is the file that marks what docker save once wrote.
	dockerArchive = "manifest.json"

	archiveTemp = "archive.tar"
	archiveLock = "archive.lock"
)

// span is the place of a file in an archive.
type span struct{ off, size int64 }

// tarFiles is the file tree of a layout in a tar.
type tarFiles struct {
	f     *os.File
	spans map[string]span
}

func (t *tarFiles) open(name string) (section, error) {
	s, ok := t.spans[name]
	if !ok {
		return section{}, fmt.Errorf("%w: no file %s", ErrNotFound, name)
	}
	return section{io.NewSectionReader(t.f, s.off, s.size), io.NopCloser(nil), s.size}, nil
}

func (t *tarFiles) Close() error { return t.f.Close() }

func openArchiveSource(ref Reference) (Source, error) {
	// Without O_NONBLOCK a pipe hangs open.
	f, err := os.OpenFile(ref.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no file %s", ErrNotFound, ref.path)
	}
	if err != nil {
		return nil, err
	}
	t := &tarFiles{f: f}
	if err := t.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &layoutSource{files: t, ref: ref}, nil
}

func (t *tarFiles) read() error {
	fi, err := t.f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return errors.New("not a regular file: an archive is read out of order")
	}
	if t.spans, err = readArchive(t.f, fi.Size()); err != nil {
		return err
	}
	return checkLayoutFile(t)
}

// readArchive finds the files in a tar of size bytes, by name. It reads the
// headers and none of the data, and refuses what a layout never holds: links,
// devices, sparse files, a name twice, a name that leads out.
func readArchive(r io.ReaderAt, size int64) (map[string]span, error) {
	if err := refuseCompressed(r); err != nil {
		return nil, err
	}
	sr := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(sr)
	spans, dirs := map[string]span{}, map[string]bool{}
	for entries := 0; ; entries++ {
		pos, _ := sr.Seek(0, io.SeekCurrent) // a SectionReader knows its place
		bad := func(err error) error {
			return &Error{Op: "reading", Object: "tar header", Offset: pos, Err: fmt.Errorf("%w: %w", ErrCorrupt, err)}
		}
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, bad(err)
		}
		if entries == maxEntries {
			return nil, bad(fmt.Errorf("more than %d entries", maxEntries))
		}
		name, err := entryName(hdr)
		if err != nil {
			return nil, bad(err)
		}
		_, twice := spans[name]
		if hdr.Typeflag == tar.TypeDir {
			if twice {
				return nil, bad(fmt.Errorf("%.200q is both a file and a directory", name))
			}
			dirs[name] = true
			continue
		}
		if twice || dirs[name] {
			return nil, bad(fmt.Errorf("%.200q stands twice", name))
		}
		off, _ := sr.Seek(0, io.SeekCurrent)
		if hdr.Size < 0 || hdr.Size > size-off {
			return nil, bad(fmt.Errorf("%.200q is cut off: %d of %d bytes", name, size-off, hdr.Size))
		}
		spans[name] = span{off, hdr.Size}
	}
	_, docker := spans[dockerArchive]
	if _, ok := spans[ocispec.ImageIndexFile]; !ok && docker {
		return nil, fmt.Errorf("%w: this is a docker-archive: convert it with skopeo copy docker-archive:FILE oci-archive:FILE", ErrNotModel)
	}
	return spans, nil
}

// entryName checks an entry of a tar and returns its name, clean.
func entryName(hdr *tar.Header) (string, error) {
	for k := range hdr.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return "", fmt.Errorf("%.200q is a sparse file", hdr.Name)
		}
	}
	if hdr.Typeflag != tar.TypeReg && hdr.Typeflag != tar.TypeDir {
		return "", fmt.Errorf("%.200q is neither file nor directory", hdr.Name)
	}
	name := strings.TrimPrefix(hdr.Name, "./")
	if hdr.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
		if name == "" {
			name = "."
		}
	}
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
		return "", fmt.Errorf("%.200q is not a clean relative path", hdr.Name)
	}
	return name, nil
}

// refuseCompressed names the tool that undoes what hides the tar.
func refuseCompressed(r io.ReaderAt) error {
	var magic [4]byte
	n, err := r.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	for _, c := range []struct{ magic, tool string }{
		{"\x1f\x8b", "gunzip"},
		{"\x28\xb5\x2f\xfd", "unzstd"},
	} {
		if bytes.HasPrefix(magic[:n], []byte(c.magic)) {
			return fmt.Errorf("%w: the archive is compressed: run %s on it first", ErrNotModel, c.tool)
		}
	}
	return nil
}

// archiveTarget builds a layout in a directory beside the archive, and makes
// the archive of it when it is published.
type archiveTarget struct {
	*layoutTarget
	ref       Reference
	dir       string
	lock      *flock.Flock
	published bool
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
	src, err := openArchiveSource(ref)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the file exists and is no archive to replace: remove it, or choose another name: %v", err) //nolint:errorlint // its kind would say that a model is damaged
	}
	defer src.Close()
	x, err := readIndexFile(src.(*layoutSource).files)
	if err != nil {
		return fmt.Errorf("the file exists and is no archive to replace: remove it, or choose another name: %v", err) //nolint:errorlint // its kind would say that a model is damaged
	}
	for _, d := range x.entries {
		if tag := d.Annotations[ocispec.AnnotationRefName]; tag != ref.tag {
			return fmt.Errorf("the archive holds %q, and a push replaces it: choose another file for %q", plainText(tag), ref.tag)
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
	blobs, err := reachable(ctx, t, d)
	if err != nil {
		return err
	}
	index, err := (&indexFile{SchemaVersion: 2, MediaType: ocispec.MediaTypeImageIndex}).with(d, t.ref.tag)
	if err != nil {
		return err
	}
	t.published = true
	temp := filepath.Join(t.dir, archiveTemp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = t.write(ctx, f, index, blobs)
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

// write writes the tar: the same blobs give the same bytes.
func (t *archiveTarget) write(ctx context.Context, f io.Writer, index []byte, blobs []ocispec.Descriptor) error {
	tw := tar.NewWriter(f)
	buf := make([]byte, 1<<20)
	for _, e := range []struct{ name, data string }{
		{ocispec.ImageLayoutFile, layoutFile},
		{ocispec.ImageIndexFile, string(index)},
	} {
		if err := appendFile(tw, e.name, int64(len(e.data)), strings.NewReader(e.data), buf); err != nil {
			return err
		}
	}
	for _, d := range blobs {
		name := blobPath(d.Digest)
		s, err := t.open(name)
		if err != nil {
			return err
		}
		r := &fileRange{ctx: ctx, r: io.NewSectionReader(s, 0, d.Size), left: d.Size, Closer: s}
		err = errors.Join(appendFile(tw, name, d.Size, r, buf), s.Close())
		if err != nil {
			return err
		}
		if err := t.root.Remove(name); err != nil {
			return err
		}
	}
	return tw.Close()
}

func appendFile(tw *tar.Writer, name string, size int64, r io.Reader, buf []byte) error {
	hdr := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     name,
		Size:     size,
		Mode:     0o644,
		ModTime:  time.Unix(0, 0),
		Format:   tar.FormatUSTAR,
	}
	if size >= ustarMax {
		hdr.Format = tar.FormatPAX
	}
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	// The writer alone, lest CopyBuffer finds another way past the buffer.
	_, err := io.CopyBuffer(struct{ io.Writer }{tw}, r, buf)
	return err
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
