package oci

import (
	"archive/tar"
	"bytes"
	"cmp"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// This file says where what stands in an archive: mediatypes/ARTIFACT.md,
// "Archives". The same artifact gives the same bytes, and all places are known
// before the first blob is at hand.

const (
	tarBlock = 512
	tarEnd   = 2 * tarBlock // zeros after the last entry
)

// A tarRange is a range of an archive: known bytes, or a blob.
type tarRange struct {
	off, size int64
	data      []byte              // of known bytes
	blob      *ocispec.Descriptor // or nil
}

// layOut returns the ranges of the archive that holds t, whose root d is tagged
// with tag if that is not "", and the size of the archive.
func (t *closure) layOut(d ocispec.Descriptor, tag string) ([]tarRange, int64, error) {
	index, err := t.archiveIndex(d, tag)
	if err != nil {
		return nil, 0, err
	}
	var l tarLayout
	l.file(ocispec.ImageLayoutFile, []byte(layoutFile))
	l.file(ocispec.ImageIndexFile, index)
	for _, m := range t.manifests {
		l.file(blobPath(m.Digest), m.raw)
	}
	for _, b := range t.blobs() {
		l.blob(b)
	}
	all, size := l.end()
	return all, size, l.err
}

// archiveIndex returns the index.json of an archive: the artifact comes first,
// then its referrers in the order of their tags, if they have any, and digests.
func (t *closure) archiveIndex(d ocispec.Descriptor, tag string) ([]byte, error) {
	x := newIndexFile()
	if err := x.set(ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, tag); err != nil {
		return nil, err
	}
	rest := slices.SortedFunc(slices.Values(t.referrers), func(a, b referrer) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.Digest, b.Digest))
	})
	for _, r := range rest {
		if err := x.set(r.entry(), r.tag); err != nil {
			return nil, err
		}
	}
	return x.encode()
}

// tarLayout collects the entries of a tar. Its first error stays.
type tarLayout struct {
	all   []tarRange
	known []byte // since the last blob
	off   int64  // where they start
	err   error
}

func (l *tarLayout) header(name string, size int64) {
	h, err := tarHeader(name, size)
	l.err = cmp.Or(l.err, err)
	l.known = append(l.known, h...)
}

// pad fills up the block after an entry of size bytes.
func (l *tarLayout) pad(size int64) {
	l.known = append(l.known, make([]byte, padded(size)-size)...)
}

func (l *tarLayout) file(name string, data []byte) {
	l.header(name, int64(len(data)))
	l.known = append(l.known, data...)
	l.pad(int64(len(data)))
}

func (l *tarLayout) blob(d ocispec.Descriptor) {
	l.header(blobPath(d.Digest), d.Size)
	l.flush()
	l.all = append(l.all, tarRange{off: l.off, size: d.Size, blob: &d})
	l.off += d.Size
	l.pad(d.Size)
}

// flush makes a tarRange of the known bytes.
func (l *tarLayout) flush() {
	n := int64(len(l.known))
	l.all = append(l.all, tarRange{off: l.off, size: n, data: l.known})
	l.known, l.off = nil, l.off+n
}

func (l *tarLayout) end() ([]tarRange, int64) {
	l.known = append(l.known, make([]byte, tarEnd)...)
	l.flush()
	return l.all, l.off
}

// padded is the space that a file of size bytes takes in a tar.
func padded(size int64) int64 { return (size + tarBlock - 1) &^ (tarBlock - 1) }

// tarHeader returns all that comes before the bytes of a file in a tar.
func tarHeader(name string, size int64) ([]byte, error) {
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
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(hdr)
	return b.Bytes(), err
}
