package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// This file reads the tree of files that the image-layout spec v1.1 defines,
// whether it lies in a directory or in a tar.

const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`

// maxDepth is how deep image indexes may nest.
const maxDepth = 3

// files is the tree of files of a layout, by slash-separated name.
type files interface {
	// open returns a regular file; errors.Is(err, ErrNotFound) where there is
	// none.
	open(name string) (section, error)
	io.Closer
}

// section is an open file.
type section struct {
	io.ReaderAt
	io.Closer
	size int64
}

// blobPath is the file name of a blob. The digest has been checked.
func blobPath(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// readFile reads a file of at most limit bytes.
func readFile(f files, name string, limit int64) ([]byte, error) {
	s, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.size > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, the most is %d", ErrCorrupt, name, s.size, limit)
	}
	raw := make([]byte, s.size)
	if _, err := io.ReadFull(io.NewSectionReader(s, 0, s.size), raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}

// checkLayoutFile refuses a tree that is not a layout or is of a later version.
func checkLayoutFile(f files) error {
	raw, err := readFile(f, ocispec.ImageLayoutFile, 4096)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: not an OCI image layout: no %s file", ErrNotModel, ocispec.ImageLayoutFile)
	}
	if err != nil {
		return err
	}
	var doc ocispec.ImageLayout
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, ocispec.ImageLayoutFile, err)
	}
	if doc.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("%w: image layout version %.20q, want %s", ErrNotModel, doc.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

// indexFile is index.json. What is not ours to change is kept as it was read.
type indexFile struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType,omitempty"`
	Manifests     []jsontext.Value `json:"manifests"`
	Rest          jsontext.Value   `json:",embed"`

	entries []ocispec.Descriptor // Manifests, decoded
}

func newIndexFile() *indexFile {
	return &indexFile{SchemaVersion: 2, MediaType: ocispec.MediaTypeImageIndex}
}

// readIndexFile reads index.json. Where there is none the result is an empty
// one, beside ErrNotFound.
func readIndexFile(f files) (*indexFile, error) {
	x := newIndexFile()
	raw, err := readFile(f, ocispec.ImageIndexFile, mediatypes.MaxManifestSize)
	if err != nil {
		return x, err
	}
	return parseIndexFile(raw)
}

// parseIndexFile reads what is written like an index.json.
func parseIndexFile(raw []byte) (*indexFile, error) {
	x := &indexFile{}
	if err := json.Unmarshal(raw, x); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ocispec.ImageIndexFile, err)
	}
	if x.SchemaVersion != 2 {
		return nil, fmt.Errorf("%w: %s: schema version %d, want 2", ErrCorrupt, ocispec.ImageIndexFile, x.SchemaVersion)
	}
	x.entries = make([]ocispec.Descriptor, len(x.Manifests))
	for i, m := range x.Manifests {
		err := json.Unmarshal(m, &x.entries[i])
		if err == nil {
			err = checkDescriptor(x.entries[i])
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: entry %d: %w", ErrCorrupt, ocispec.ImageIndexFile, i, err)
		}
	}
	return x, nil
}

// find returns the one entry that ref names.
func (x *indexFile) find(ref Reference) (ocispec.Descriptor, error) {
	if !ref.tagged && ref.digest == "" && len(x.entries) == 1 && x.entries[0].Annotations[ocispec.AnnotationRefName] == "" {
		return x.entries[0], nil // as skopeo and crane write a single image
	}
	var found *ocispec.Descriptor
	var names []string
	for i, d := range x.entries {
		n := d.Annotations[ocispec.AnnotationRefName]
		if n != "" && len(names) < 10 {
			names = append(names, plainText(n))
		}
		if ref.digest != "" && d.Digest != ref.digest || ref.digest == "" && n != ref.tag {
			continue
		}
		if found != nil && found.Digest != d.Digest {
			return d, fmt.Errorf("%w: tag %q names both %s and %s", ErrCorrupt, ref.tag, found.Digest, d.Digest)
		}
		found = &x.entries[i]
	}
	if found != nil {
		return *found, nil
	}
	if d, ok := x.only(); ok && ref.kind == kindArchive && !ref.tagged && ref.digest == "" {
		return d, nil
	}
	if ref.digest != "" {
		return ocispec.Descriptor{}, ErrNotFound
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: no tag %q; there are: %s", ErrNotFound, ref.tag, strings.Join(names, ", "))
}

// only returns the one artifact of an archive, which is its first entry: what
// follows are its referrers, without a tag or with one of cosign's.
func (x *indexFile) only() (ocispec.Descriptor, bool) {
	for i, d := range x.entries {
		if n := d.Annotations[ocispec.AnnotationRefName]; i > 0 && n != "" && !isCosignTag(n) {
			return d, false
		}
	}
	if len(x.entries) == 0 {
		return ocispec.Descriptor{}, false
	}
	return x.entries[0], true
}

// with returns index.json with d under tag. An empty tag adds d by its digest.
func (x *indexFile) with(d ocispec.Descriptor, tag string) ([]byte, error) {
	y := *x
	y.Manifests, y.entries = slices.Clone(x.Manifests), slices.Clone(x.entries)
	if err := y.set(d, tag); err != nil {
		return nil, err
	}
	return y.encode()
}

// set puts d under tag. An empty tag adds d by its digest.
func (x *indexFile) set(d ocispec.Descriptor, tag string) error {
	annotations := map[string]string{}
	for k, v := range d.Annotations {
		annotations[k] = v
	}
	delete(annotations, ocispec.AnnotationRefName)
	if tag != "" {
		annotations[ocispec.AnnotationRefName] = tag
	}
	d.Annotations = annotations
	raw, err := json.Marshal(d, json.Deterministic(true))
	if err != nil {
		return err
	}
	same := func(e ocispec.Descriptor) bool {
		if tag == "" {
			return e.Digest == d.Digest
		}
		return e.Annotations[ocispec.AnnotationRefName] == tag
	}
	if i := slices.IndexFunc(x.entries, same); i < 0 {
		x.Manifests, x.entries = append(x.Manifests, raw), append(x.entries, d)
	} else if tag != "" {
		x.Manifests[i], x.entries[i] = raw, d
	}
	return nil
}

// encode returns the bytes of index.json.
func (x *indexFile) encode() ([]byte, error) {
	doc, err := json.Marshal(x, json.Deterministic(true))
	if err == nil && len(doc) > mediatypes.MaxManifestSize {
		err = fmt.Errorf("%s would have %d bytes, the most is %d: remove entries", ocispec.ImageIndexFile, len(doc), mediatypes.MaxManifestSize)
	}
	return doc, err
}

// checkPublished refuses to publish d under another digest.
func (r Reference) checkPublished(d ocispec.Descriptor) error {
	if err := checkDescriptor(d); err != nil {
		return err
	}
	if r.digest != "" && r.digest != d.Digest {
		return fmt.Errorf("the artifact's digest is %s: name it by a tag", d.Digest)
	}
	return nil
}

// layoutSource reads one artifact of a layout.
type layoutSource struct {
	files
	ref Reference

	mu        sync.Mutex
	desc      ocispec.Descriptor // once resolved
	referrers *subjects          // once listed
}

// Resolve implements Source.
func (s *layoutSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.desc.Digest != "" {
		return s.desc, nil
	}
	d, err := s.resolve(ctx)
	if err != nil {
		return ocispec.Descriptor{}, fail("resolving", s.ref.String(), err)
	}
	s.desc = d
	return d, nil
}

func (s *layoutSource) resolve(ctx context.Context) (ocispec.Descriptor, error) {
	var d ocispec.Descriptor
	if err := ctx.Err(); err != nil {
		return d, err
	}
	x, err := readIndexFile(s.files)
	if err == nil {
		d, err = x.find(s.ref)
	}
	if err == nil || s.ref.digest == "" || !errors.Is(err, ErrNotFound) {
		return d, err
	}
	// A manifest that another one names has no entry of its own.
	raw, err := readFile(s.files, blobPath(s.ref.digest), mediatypes.MaxManifestSize)
	if err != nil {
		return d, err
	}
	d.Digest, d.Size = s.ref.digest, int64(len(raw))
	d.MediaType, err = manifestType("", raw)
	return d, err
}

// Manifest implements Source.
func (s *layoutSource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fail("reading manifest", d.Digest.String(), err)
	}
	raw, err := readManifest(s.files, d)
	return raw, fail("reading manifest", d.Digest.String(), err)
}

func readManifest(f files, d ocispec.Descriptor) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	raw, err := readFile(f, blobPath(d.Digest), mediatypes.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	if err := checkManifest(d, raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// Blob implements Source.
func (s *layoutSource) Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	r, err := s.blob(ctx, d, off, n)
	if err != nil {
		return nil, &Error{Op: "reading blob", Object: d.Digest.String(), Offset: off, Err: err}
	}
	return r, nil
}

func (s *layoutSource) blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	end, err := blobRange(d, off, n)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := s.open(blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if f.size != d.Size {
		err := fmt.Errorf("%w: the blob has %d bytes, want %d", ErrCorrupt, f.size, d.Size)
		return nil, errors.Join(err, f.Close())
	}
	return &fileRange{ctx: ctx, r: io.NewSectionReader(f, off, end-off), left: end - off, Closer: f}, nil
}

// fileRange reads a range of a file, until its context ends. A file that turns
// out shorter than it was is an error and not an early end.
type fileRange struct {
	ctx  context.Context
	r    io.Reader
	left int64
	io.Closer
}

func (f *fileRange) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := f.r.Read(p)
	f.left -= int64(n)
	if err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
