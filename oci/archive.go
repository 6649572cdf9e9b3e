package oci

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxEntries is the most entries of an archive.
	maxEntries = 100_000
	// ustarMax is the first size that a USTAR header cannot hold.
	ustarMax = 8 << 30
	// dockerArchive is the file that marks what docker save once wrote.
	dockerArchive = "manifest.json"
)

// span is the place of a file in an archive.
type span struct{ off, size int64 }

// tarFiles is the file tree of a layout in a tar.
type tarFiles struct {
	tarBytes
	spans map[string]span
}

// tarBytes are the bytes of a tar, in one file or several.
type tarBytes interface {
	io.ReaderAt
	io.Closer
	// short says what is missing from a tar that has no end, or nil.
	short() error
}

func (t *tarFiles) open(name string) (section, error) {
	s, ok := t.spans[name]
	if !ok {
		return section{}, fmt.Errorf("%w: no file %s", ErrNotFound, name)
	}
	return section{io.NewSectionReader(t, s.off, s.size), io.NopCloser(nil), s.size}, nil
}

// openArchiveSource opens the file that ref names or, where there is none, the
// parts of it.
func openArchiveSource(ref Reference) (Source, error) {
	b, size, err := openTar(ref.path)
	if errors.Is(err, ErrNotFound) {
		var perr error
		if b, size, perr = openParts(ref.path); !errors.Is(perr, errNoParts) {
			err = perr
		}
	}
	if err != nil {
		return nil, err
	}
	return newArchiveSource(ref, b, size)
}

// newArchiveSource reads the headers of the archive b of size bytes, which it
// closes if it fails.
func newArchiveSource(ref Reference, b tarBytes, size int64) (Source, error) {
	spans, err := readArchive(b, size)
	t := &tarFiles{b, spans}
	var end int64
	for _, s := range spans {
		end = max(end, s.off+padded(s.size))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && end+tarEnd > size {
		err = cmp.Or(b.short(), err)
	}
	if err == nil {
		err = checkLayoutFile(t)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &layoutSource{files: t, ref: ref}, nil
}

// tarFile is a tar in one file.
type tarFile struct{ *os.File }

func (tarFile) short() error { return nil }

// openTar opens a tar that is one file and returns its size.
func openTar(path string) (tarBytes, int64, error) {
	f, size, err := openRegular(path)
	return tarFile{f}, size, err
}

// openRegular opens a file that can be read out of order, and returns its size.
func openRegular(path string) (*os.File, int64, error) {
	// Without O_NONBLOCK a pipe hangs open.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: no file %s", ErrNotFound, path)
	}
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file: an archive is read out of order", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, fi.Size(), nil
}

// readArchive finds the files in a tar of size bytes, by name. It reads the
// headers and none of the data, and refuses what a layout never holds: links,
// devices, sparse files, a name twice, a name that leads out. Beside an error are the
// files before the place where it was found.
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
			return spans, bad(err)
		}
		if entries == maxEntries {
			return spans, bad(fmt.Errorf("more than %d entries", maxEntries))
		}
		name, err := entryName(hdr)
		if err != nil {
			return spans, bad(err)
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
			return spans, bad(fmt.Errorf("%.200q is cut off: %d of %d bytes: %w", name, size-off, hdr.Size, io.ErrUnexpectedEOF))
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
