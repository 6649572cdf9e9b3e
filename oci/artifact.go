package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// An Artifact is a model in a store, opened for reading: its manifests and its
// index were read and checked, its layers were not.
type Artifact struct {
	Descriptor ocispec.Descriptor   // what the reference names: the image index, or one manifest
	Manifests  []ocispec.Descriptor // of the platforms
	Layers     []ocispec.Descriptor // in manifest order, the index layer last
	Index      *mediatypes.Index

	src          Source
	ref          Reference
	manifests    []*ocispec.Manifest
	indexDecoded int64 // size of the decoded index layer
}

// Open reads the manifests and the index of the model that ref names. The caller
// closes the artifact.
func Open(ctx context.Context, ref Reference, o *Options) (*Artifact, error) {
	src, err := OpenSource(ctx, ref, &o.withDefaults().StoreOptions)
	if err != nil {
		return nil, err
	}
	a := &Artifact{src: src, ref: ref}
	if err := a.open(ctx); err != nil {
		_ = src.Close()
		return nil, a.fault("opening", err)
	}
	return a, nil
}

// fault is the error of a verb that reads a: it names the reference, if err
// names nothing narrower, and what was refused for its bytes is ErrCorrupt.
func (a *Artifact) fault(op string, err error) error {
	return fail(op, a.ref.String(), refusal(err))
}

// Close releases the store.
func (a *Artifact) Close() error { return a.src.Close() }

func (a *Artifact) open(ctx context.Context) error {
	var err error
	if a.Descriptor, err = a.src.Resolve(ctx); err != nil {
		return err
	}
	if err := a.readManifests(ctx); err != nil {
		return err
	}
	first := a.manifests[0]
	a.Layers = first.Layers
	for i, m := range a.manifests[1:] {
		if !sameLayers(m.Layers, first.Layers) {
			return corruptObject("manifest "+a.Manifests[i+1].Digest.String(), "its layers are not those of the other platform")
		}
	}
	if n := len(a.Layers); n == 0 || a.Layers[n-1].MediaType != mediatypes.IndexLayer {
		return fmt.Errorf("%w: the last layer is not an index", ErrNotModel)
	}
	if err := a.readIndex(ctx, a.Layers[len(a.Layers)-1]); err != nil {
		return err
	}
	return a.checkLayers()
}

func corruptObject(object, format string, args ...any) error {
	return &Error{Op: "checking", Object: object, Offset: -1, Err: fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))}
}

// maxPlatforms bounds the manifests of a model, each of which is held in memory.
const maxPlatforms = 16

// readManifests reads what the reference names, and all manifests if that is an
// image index.
func (a *Artifact) readManifests(ctx context.Context) error {
	raw, err := a.src.Manifest(ctx, a.Descriptor)
	if err != nil {
		return err
	}
	switch a.Descriptor.MediaType {
	case ocispec.MediaTypeImageIndex:
		index, err := mediatypes.ParseManifestIndex(raw, a.Descriptor)
		// Without a type of its own, an index is what its manifests are.
		foreign, is := foreignType(raw)
		if is && foreign != "" {
			return notModel(foreign)
		}
		if err != nil {
			return err
		}
		if n := len(index.Manifests); n == 0 || n > maxPlatforms {
			if is {
				return notModel(foreign)
			}
			return corruptObject("image index "+a.Descriptor.Digest.String(), "it has %d manifests, a model 1 to %d", n, maxPlatforms)
		}
		for _, d := range index.Manifests {
			raw, err := a.src.Manifest(ctx, d)
			if err != nil {
				return err
			}
			if err := a.addManifest(raw, d); err != nil {
				return err
			}
		}
		return nil
	case ocispec.MediaTypeImageManifest:
		return a.addManifest(raw, a.Descriptor)
	}
	return notModel(a.Descriptor.MediaType)
}

func notModel(what string) error {
	if what == "" {
		what = "a container image"
	}
	return fmt.Errorf("%w: it is %.200q, not %s", ErrNotModel, what, mediatypes.ArtifactType)
}

// foreignType returns the artifactType of a document that is JSON and has another
// than ours. Whatever else is wrong with it, it is no damaged model.
func foreignType(raw []byte) (string, bool) {
	var doc struct {
		ArtifactType string `json:"artifactType"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return "", false
	}
	return doc.ArtifactType, doc.ArtifactType != mediatypes.ArtifactType
}

func (a *Artifact) addManifest(raw []byte, d ocispec.Descriptor) error {
	m, err := mediatypes.ParseManifest(raw, d)
	if foreign, is := foreignType(raw); is {
		return notModel(foreign)
	}
	if err != nil {
		return err
	}
	a.Manifests, a.manifests = append(a.Manifests, d), append(a.manifests, m)
	return nil
}

func sameLayers(a, b []ocispec.Descriptor) bool {
	return slices.EqualFunc(a, b, func(a, b ocispec.Descriptor) bool {
		return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType
	})
}

// readIndex reads, checks and parses the index layer d.
func (a *Artifact) readIndex(ctx context.Context, d ocispec.Descriptor) error {
	if d.Size > mediatypes.MaxIndexDocument {
		return corruptObject("index layer "+d.Digest.String(), "size %d, the most is %d", d.Size, mediatypes.MaxIndexDocument)
	}
	raw, err := readWhole(ctx, a.src, d)
	if err != nil {
		return fail("reading", "index layer "+d.Digest.String(), err)
	}
	doc, err := decodeBytes(bytes.NewReader(raw), mediatypes.MaxIndexDocument)
	if err != nil {
		return fail("decoding", "index layer "+d.Digest.String(), err)
	}
	a.indexDecoded = int64(len(doc))
	a.Index, err = mediatypes.ParseIndex(doc)
	if errors.Is(err, mediatypes.ErrNewer) {
		return fmt.Errorf("%w: %w", codec.ErrUnsupported, err)
	}
	return err
}

// readWhole reads the blob d, whose size the caller has bounded, and checks its
// digest. Wrong bytes are asked for once more, at another host that has them.
func readWhole(ctx context.Context, src Source, d ocispec.Descriptor) ([]byte, error) {
	raw, err := readOnce(ctx, src, d)
	if other := elsewhere(src); other != src && errors.Is(err, ErrCorrupt) {
		return readOnce(ctx, other, d)
	}
	return raw, err
}

// readOnce is readWhole at one host. Memory grows with what arrives, not with
// what d says.
func readOnce(ctx context.Context, src Source, d ocispec.Descriptor) ([]byte, error) {
	r, err := src.Blob(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, d.Size))
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return nil, fmt.Errorf("%w: its digest is %s", ErrCorrupt, got)
	}
	return raw, nil
}

// decodeBytes decodes a layer of opaque bytes, at most limit of them. It reads r
// to its end.
func decodeBytes(r io.Reader, limit int64) ([]byte, error) {
	lr, err := codec.NewReader(r)
	if err != nil {
		return nil, err
	}
	var doc bytes.Buffer
	for {
		c, err := lr.Next()
		if errors.Is(err, io.EOF) {
			return doc.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		if int64(doc.Len()+c.Decoded) > limit {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrCorrupt, limit)
		}
		doc.Grow(c.Decoded)
		b := doc.AvailableBuffer()[:c.Decoded]
		if err := lr.Decode(b); err != nil {
			return nil, err
		}
		doc.Write(b)
	}
}

// checkLayers compares the layers of the manifest with those of the index.
func (a *Artifact) checkLayers() error {
	if len(a.Index.Layers) != len(a.Layers)-1 {
		return corruptObject("index", "it has %d layers, the manifest %d", len(a.Index.Layers), len(a.Layers)-1)
	}
	for i, l := range a.Index.Layers {
		d := a.Layers[i]
		if l.Digest != d.Digest || l.Encoded != d.Size || l.MediaType != d.MediaType {
			return corruptObject("index", "layer %d is %s of %d bytes, in the manifest %s of %d", i, l.Digest, l.Encoded, d.Digest, d.Size)
		}
	}
	return nil
}

// encodedSize is the size of all layers.
func (a *Artifact) encodedSize() (n int64) {
	for _, d := range a.Layers {
		n += d.Size
	}
	return n
}

// decodedSize is the size of all files.
func (a *Artifact) decodedSize() (n int64) {
	for _, f := range a.Index.Files {
		n += f.Size
	}
	return n
}

// layerFault names layer i and the place in it where err was found.
func (a *Artifact) layerFault(op string, i int, offset int64, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	var c *codec.CorruptError
	if errors.As(err, &c) {
		offset += c.Offset
		err = fmt.Errorf("%w: %s", ErrCorrupt, c.Reason)
		if c.Err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrCorrupt, c.Reason, c.Err)
		}
	}
	return &Error{Op: op, Object: fmt.Sprintf("layer %d (%s)", i, a.Layers[i].Digest), Offset: offset, Err: err}
}
