package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// cargo is an artifact with all that refers to it, in memory. As a Source it can
// be made to fail.
type cargo struct {
	root      ocispec.Descriptor
	things    map[digest.Digest]thing
	referrers map[digest.Digest][]ocispec.Descriptor

	mu     sync.Mutex
	left   int64 // bytes of blobs until the connection is lost; negative: never
	served int64
	spoil  int   // how many of the next blobs have a wrong byte
	short  int64 // how many bytes the end of each blob lacks
}

var errLost = errors.New("connection lost")

func (c *cargo) Resolve(context.Context) (ocispec.Descriptor, error) { return c.root, nil }

func (c *cargo) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	x, ok := c.things[d.Digest]
	if !ok {
		return nil, fail("reading manifest", d.Digest.String(), ErrNotFound)
	}
	return x.raw, checkManifest(d, x.raw)
}

func (c *cargo) Blob(_ context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	x, ok := c.things[d.Digest]
	if !ok {
		return nil, ErrNotFound
	}
	end, err := blobRange(d, off, n)
	if err != nil {
		return nil, err
	}
	raw := bytes.Clone(x.raw[off : end-c.short])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spoil > 0 {
		c.spoil--
		raw[len(raw)/2] ^= 1
	}
	return io.NopCloser(&cargoReader{c, bytes.NewReader(raw)}), nil
}

func (c *cargo) Referrers(_ context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return c.referrers[d.Digest], nil
}

func (c *cargo) Close() error { return nil }

type cargoReader struct {
	c *cargo
	r io.Reader
}

func (r *cargoReader) Read(p []byte) (int, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.c.left == 0 {
		return 0, errLost
	}
	if r.c.left > 0 {
		p = p[:min(int64(len(p)), r.c.left)]
	}
	n, err := r.r.Read(p)
	r.c.served += int64(n)
	if r.c.left > 0 {
		r.c.left -= int64(n)
	}
	return n, err
}

func (c *cargo) add(things ...thing) {
	for _, x := range things {
		c.things[x.Digest] = x
	}
}

// attach makes a manifest of one blob that refers to subject, by its subject field
// or by tag.
func (c *cargo) attach(t testing.TB, subject thing, kind, tag string) thing {
	t.Helper()
	config := newThing("application/vnd.oci.empty.v1+json", []byte("{}"))
	blob := newThing("application/vnd.example."+kind, []byte(kind+" of "+subject.Digest.String()))
	doc := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example." + kind, Config: config.Descriptor, Layers: []ocispec.Descriptor{blob.Descriptor},
		Annotations: map[string]string{"example.kind": kind},
	}
	if tag == "" {
		d := subject.Descriptor
		doc.Subject = &d
	}
	m := jsonThing(t, ocispec.MediaTypeImageManifest, doc)
	c.add(config, blob, m)
	d := m.Descriptor
	if tag != "" {
		d = tagged(d, tag)
	}
	c.referrers[subject.Digest] = append(c.referrers[subject.Digest], d)
	return m
}

// newCargo returns a model that is signed in every way: by a referrer that is
// signed itself, by one of a platform's manifest, and by cosign's tag.
func newCargo(t testing.TB, seed uint64) (*cargo, model) {
	t.Helper()
	m := newModel(t, seed)
	c := &cargo{root: m.index.Descriptor, things: map[digest.Digest]thing{}, referrers: map[digest.Digest][]ocispec.Descriptor{}, left: -1}
	c.add(append(append(m.blobs(), m.manifests...), m.index)...)
	sbom := c.attach(t, m.index, "sbom", "")
	c.attach(t, sbom, "signature", "")
	c.attach(t, m.manifests[1], "signature", "")
	c.attach(t, m.index, "cosign", cosignTags(m.index.Digest)[0])
	return c, m
}

// newImage returns a signed image of layers that are not ours.
func newImage(t testing.TB, seed uint64) *cargo {
	t.Helper()
	config := newThing(ocispec.MediaTypeImageConfig, fmt.Appendf(nil, `{"seed":%d}`, seed))
	doc := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config.Descriptor,
	}
	c := &cargo{things: map[digest.Digest]thing{}, referrers: map[digest.Digest][]ocispec.Descriptor{}, left: -1}
	for i := range 5 {
		layer := randomThing(ocispec.MediaTypeImageLayer, seed*16+uint64(i), 700+300*i)
		c.add(layer)
		doc.Layers = append(doc.Layers, layer.Descriptor)
	}
	m := jsonThing(t, ocispec.MediaTypeImageManifest, doc)
	c.root = m.Descriptor
	c.add(config, m)
	c.attach(t, m, "sbom", "")
	c.attach(t, m, "cosign", cosignTags(m.Digest)[0])
	return c
}

// size is the size of all blobs.
func (c *cargo) size() (n int64) {
	for _, x := range c.things {
		if !isManifest(x.MediaType) {
			n += x.Size
		}
	}
	return n
}

// copyTo copies the cargo.
func (c *cargo) copyTo(ctx context.Context, ref Reference, o *CopyOptions) (*CopyResult, error) {
	k := &copier{src: c, to: ref, opts: o.withDefaults(), part: o.PartSize}
	return k.run(ctx)
}

// check compares what ref names, and all that refers to it, with the cargo.
func (c *cargo) check(t testing.TB, ref Reference) {
	t.Helper()
	s := openSource(t, ref)
	d, err := s.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != c.root.Digest {
		t.Fatalf("resolved to %s", d.Digest)
	}
	for _, x := range c.things {
		if isManifest(x.MediaType) {
			if raw, err := s.Manifest(t.Context(), x.Descriptor); err != nil || !bytes.Equal(raw, x.raw) {
				t.Errorf("manifest: %d bytes, %v", len(raw), err)
			}
		} else if got := readBlob(t, s, x.Descriptor, 0, -1); !bytes.Equal(got, x.raw) {
			t.Errorf("blob %s differs", x.Digest)
		}
		got, err := s.Referrers(t.Context(), x.Descriptor)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(refs(c.referrers[x.Digest]), refs(got)); diff != "" {
			t.Errorf("referrers of %s (-want +got):\n%s", x.Digest, diff)
		}
	}
}

// refs lists digests, and tags where there are some, in order.
func refs(list []ocispec.Descriptor) (out []string) {
	for _, d := range list {
		out = append(out, d.Digest.String()+" "+d.Annotations[ocispec.AnnotationRefName])
	}
	slices.Sort(out)
	return slices.Compact(out)
}
