package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	registries "github.com/oras-bsm/oras-bsm/e2e/registry"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// hasty is patience for tests: the same attempts without the pauses.
var hasty = patience{tries: 3, delay: time.Microsecond, idle: time.Minute}

// thing is a blob or manifest with its descriptor.
type thing struct {
	ocispec.Descriptor
	raw []byte
}

func newThing(mediaType string, raw []byte) thing {
	return thing{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw}
}

func randomThing(mediaType string, seed uint64, size int) thing {
	raw := make([]byte, size)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = src.Read(raw)
	return newThing(mediaType, raw)
}

func jsonThing(t testing.TB, mediaType string, doc any) thing {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return newThing(mediaType, raw)
}

// model is an artifact as oras-bsm makes it: two manifests over the same
// layers, the index layer last.
type model struct {
	index     thing
	manifests []thing
	configs   []thing
	layers    []thing
}

func newModel(t testing.TB, seed uint64) model {
	var m model
	var layers []ocispec.Descriptor
	for i, mt := range []string{mediatypes.BlockLayer, mediatypes.BlockLayer, mediatypes.FilesLayer, mediatypes.IndexLayer} {
		l := randomThing(mt, seed*16+uint64(i), 1000+i)
		m.layers = append(m.layers, l)
		layers = append(layers, l.Descriptor)
	}
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: mediatypes.ArtifactType}
	for _, arch := range []string{"amd64", "arm64"} {
		config := newThing(ocispec.MediaTypeImageConfig, fmt.Appendf(nil, `{"architecture":%q,"os":"linux","seed":%d}`, arch, seed))
		manifest := jsonThing(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			ArtifactType: mediatypes.ArtifactType, Config: config.Descriptor, Layers: layers,
		})
		m.configs = append(m.configs, config)
		m.manifests = append(m.manifests, manifest)
		x.Manifests = append(x.Manifests, manifest.Descriptor)
	}
	m.index = jsonThing(t, ocispec.MediaTypeImageIndex, x)
	return m
}

func (m model) blobs() []thing { return append(append([]thing{}, m.layers...), m.configs...) }

// put writes all of the model but its tag.
func (m model) put(t testing.TB, target Target) {
	t.Helper()
	for _, b := range m.blobs() {
		commit(t, target, b)
	}
	for _, x := range append(append([]thing{}, m.manifests...), m.index) {
		if err := target.PutManifest(t.Context(), x.Descriptor, x.raw); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t testing.TB, target Target, b thing) {
	t.Helper()
	w, err := target.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	half := len(b.raw) / 2
	for _, p := range [][]byte{b.raw[:half], b.raw[half:]} {
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Fatalf("Write gives %d, %v", n, err)
		}
	}
	if err := w.Commit(t.Context(), b.Descriptor); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatalf("Abort after Commit: %v", err)
	}
}

// publish writes the whole model to ref.
func (m model) publish(t testing.TB, ref Reference) {
	t.Helper()
	target := openTarget(t, ref)
	m.put(t, target)
	if err := target.Publish(t.Context(), m.index.Descriptor); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

func parseRef(t testing.TB, s string) Reference {
	t.Helper()
	r, err := ParseReference(s, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openTarget(t testing.TB, ref Reference) Target {
	t.Helper()
	target, err := OpenTarget(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func openSource(t testing.TB, ref Reference) Source {
	t.Helper()
	s, err := OpenSource(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// resolve opens ref anew and resolves it.
func resolve(ctx context.Context, ref Reference) (ocispec.Descriptor, error) {
	s, err := OpenSource(ctx, ref, nil)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := s.Resolve(ctx)
	return d, errors.Join(err, s.Close())
}

// startRegistry runs a registry and returns its HOST:PORT.
func startRegistry(t testing.TB) string {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	s := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// startReal runs the registry that clusters run, where that is installed.
func startReal(t *testing.T) string {
	t.Helper()
	if !registries.Installed() {
		t.Skip(registries.Program + " is not installed")
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	s, err := registries.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s.Addr
}

// TestStores runs one suite over every kind of store. where returns a new,
// empty place as a reference without tag.
func TestStores(t *testing.T) {
	for _, tt := range []struct {
		name  string
		where func(t *testing.T) string
	}{
		{"layout", func(t *testing.T) string { return "oci:" + filepath.Join(t.TempDir(), "new", "layout") }},
		{"archive", func(t *testing.T) string { return "oci-archive:" + filepath.Join(t.TempDir(), "m.tar") }},
		{"registry", func(t *testing.T) string { return startRegistry(t) + "/org/model" }},
		{"docker-registry", func(t *testing.T) string { return startReal(t) + "/org/model" }},
	} {
		t.Run(tt.name, func(t *testing.T) { testStore(t, tt.where) })
	}
}

func testStore(t *testing.T, where func(t *testing.T) string) {
	t.Run("round trip", func(t *testing.T) { testRoundTrip(t, where(t)) })
	t.Run("ranges", func(t *testing.T) { testRanges(t, where(t)) })
	t.Run("wrong", func(t *testing.T) { testWrong(t, where(t)) })
	t.Run("unpublished", func(t *testing.T) { testUnpublished(t, where(t)) })
	t.Run("digest", func(t *testing.T) { testByDigest(t, where(t)) })
	t.Run("canceled", func(t *testing.T) { testCanceled(t, where(t)) })
}

func testRoundTrip(t *testing.T, where string) {
	ref := parseRef(t, where+":v1")
	m := newModel(t, 1)
	target := openTarget(t, ref)
	for _, b := range m.blobs() {
		if ok, err := target.Has(t.Context(), b.Descriptor); ok || err != nil {
			t.Fatalf("Has before: %v, %v", ok, err)
		}
	}
	m.put(t, target)
	commit(t, target, m.layers[0]) // again: no harm
	for _, b := range append(m.blobs(), m.index, m.manifests[0]) {
		if ok, err := target.Has(t.Context(), b.Descriptor); !ok || err != nil {
			t.Fatalf("Has after: %v, %v", ok, err)
		}
	}
	if err := target.Publish(t.Context(), m.index.Descriptor); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}

	readsBack(t, ref, m)
	if _, err := resolve(t.Context(), parseRef(t, where+":v2")); !errors.Is(err, ErrNotFound) {
		t.Errorf("another tag: %v", err)
	}
}

// readsBack checks that ref gives all of m.
func readsBack(t *testing.T, ref Reference, m model) {
	t.Helper()
	s := openSource(t, ref)
	d, err := s.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Annotations = nil
	if diff := cmp.Diff(m.index.Descriptor, d); diff != "" {
		t.Fatalf("resolved (-want +got):\n%s", diff)
	}
	for _, x := range append(m.manifests, m.index) {
		raw, err := s.Manifest(t.Context(), x.Descriptor)
		if err != nil || !bytes.Equal(raw, x.raw) {
			t.Fatalf("Manifest: %d bytes, %v", len(raw), err)
		}
	}
	for _, b := range m.blobs() {
		if got := readBlob(t, s, b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) {
			t.Fatalf("blob %s differs", b.Digest)
		}
	}
}

func readBlob(t testing.TB, s Source, d ocispec.Descriptor, off, n int64) []byte {
	t.Helper()
	r, err := s.Blob(t.Context(), d, off, n)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return raw
}

func testRanges(t *testing.T, where string) {
	ref := parseRef(t, where+":v1")
	m := newModel(t, 2)
	m.publish(t, ref)
	readsRanges(t, openSource(t, ref), m)
}

// readsRanges checks what s gives and refuses of a blob of m.
func readsRanges(t *testing.T, s Source, m model) {
	t.Helper()
	b := m.layers[0]
	size := b.Size
	for _, tt := range []struct{ off, n, end int64 }{
		{0, 1, 1},
		{size - 1, 1, size},
		{10, 500, 510},
		{0, size, size},
		{7, -1, size},
		{0, -1, size},
		{size, -1, size},
		{5, 0, 5},
	} {
		if got := readBlob(t, s, b.Descriptor, tt.off, tt.n); !bytes.Equal(got, b.raw[tt.off:tt.end]) {
			t.Errorf("[%d,+%d): wrong bytes, %d of them", tt.off, tt.n, len(got))
		}
	}
	for _, tt := range []struct{ off, n int64 }{{-1, 1}, {size + 1, -1}, {0, size + 1}, {size, 1}, {1, 1<<63 - 1}} {
		if _, err := s.Blob(t.Context(), b.Descriptor, tt.off, tt.n); err == nil {
			t.Errorf("[%d,+%d): no error", tt.off, tt.n)
		}
	}
	missing := randomThing(mediatypes.BlockLayer, 999, 10)
	if _, err := s.Blob(t.Context(), missing.Descriptor, 0, -1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing blob: %v", err)
	}
	short := b.Descriptor
	short.Size--
	if _, err := s.Blob(t.Context(), short, 0, -1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a blob of another size: %v", err)
	}
}

func testWrong(t *testing.T, where string) {
	target := openTarget(t, parseRef(t, where+":v1"))
	good := randomThing(mediatypes.BlockLayer, 3, 100)
	damage := func(f func(d *ocispec.Descriptor)) ocispec.Descriptor { d := good.Descriptor; f(&d); return d }
	for name, d := range map[string]ocispec.Descriptor{
		"digest":    damage(func(d *ocispec.Descriptor) { d.Digest = digest.FromString("other") }),
		"longer":    damage(func(d *ocispec.Descriptor) { d.Size++ }),
		"shorter":   damage(func(d *ocispec.Descriptor) { d.Size-- }),
		"negative":  damage(func(d *ocispec.Descriptor) { d.Size = -5 }),
		"traversal": damage(func(d *ocispec.Descriptor) { d.Digest = "sha256:../../../x" }),
		"sha1":      damage(func(d *ocispec.Descriptor) { d.Digest = digest.Digest("sha1:" + strings.Repeat("ab", 20)) }),
		"case":      damage(func(d *ocispec.Descriptor) { d.Digest = digest.Digest(strings.ToUpper(d.Digest.String())) }),
	} {
		w, err := target.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(good.raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), d); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Commit gives %v", name, err)
		}
		if err := w.Commit(t.Context(), good.Descriptor); err == nil {
			t.Errorf("%s: a second Commit succeeds", name)
		}
		if err := target.PutManifest(t.Context(), d, good.raw); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: PutManifest gives %v", name, err)
		}
	}
	if ok, err := target.Has(t.Context(), good.Descriptor); ok || err != nil {
		t.Errorf("Has: %v, %v", ok, err)
	}
	m := newModel(t, 4)
	if err := target.Publish(t.Context(), m.index.Descriptor); !errors.Is(err, ErrNotFound) {
		t.Errorf("publishing what was not put: %v", err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

// testUnpublished checks that nothing is visible under a tag before Publish and
// after a target that never came to it, and that a published one stays.
func testUnpublished(t *testing.T, where string) {
	ref := parseRef(t, where+":v1")
	m := newModel(t, 5)
	target := openTarget(t, ref)
	m.put(t, target)
	if d, err := resolve(t.Context(), ref); !errors.Is(err, ErrNotFound) {
		t.Fatalf("before Publish: %v, %v", d, err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err := resolve(t.Context(), ref); !errors.Is(err, ErrNotFound) {
		t.Fatalf("after Close: %v, %v", d, err)
	}
	m.publish(t, ref)
	other := openTarget(t, ref)
	newModel(t, 6).put(t, other)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err := resolve(t.Context(), ref); err != nil || d.Digest != m.index.Digest {
		t.Fatalf("after an unpublished second: %v, %v", d, err)
	}
}

func testByDigest(t *testing.T, where string) {
	m := newModel(t, 7)
	m.publish(t, parseRef(t, where+"@"+m.index.Digest.String()))
	for _, x := range []thing{m.index, m.manifests[1]} {
		d, err := resolve(t.Context(), parseRef(t, where+"@"+x.Digest.String()))
		if err != nil || d.Digest != x.Digest || d.Size != x.Size || d.MediaType != x.MediaType {
			t.Errorf("%s: %v, %v", x.Digest, d, err)
		}
	}
	if _, err := resolve(t.Context(), parseRef(t, where+"@"+newModel(t, 8).index.Digest.String())); !errors.Is(err, ErrNotFound) {
		t.Errorf("another digest: %v", err)
	}
	other := openTarget(t, parseRef(t, where+"@"+digest.FromString("x").String()))
	m.put(t, other)
	if err := other.Publish(t.Context(), m.index.Descriptor); err == nil {
		t.Error("published under a digest that is another's")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
}

func testCanceled(t *testing.T, where string) {
	ref := parseRef(t, where+":v1")
	m := newModel(t, 9)
	m.publish(t, ref)
	s := openSource(t, ref)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Resolve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve: %v", err)
	}
	if _, err := s.Blob(ctx, m.layers[0].Descriptor, 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("Blob: %v", err)
	}
	target := openTarget(t, ref)
	w, err := target.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := randomThing(mediatypes.BlockLayer, 77, 10)
	if _, err := w.Write(b.raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx, b.Descriptor); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	if err := target.Publish(ctx, m.index.Descriptor); err == nil {
		t.Error("Publish succeeds")
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
