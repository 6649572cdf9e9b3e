package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/mediatypes"
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

// places are the stores that can be copied to.
var places = []struct {
	name  string
	where func(t *testing.T) string
	part  int64
}{
	{"layout", func(t *testing.T) string { return "oci:" + filepath.Join(t.TempDir(), "layout") + ":v1" }, 0},
	{"archive", func(t *testing.T) string { return "oci-archive:" + filepath.Join(t.TempDir(), "m.tar") + ":v1" }, 0},
	{"parts", func(t *testing.T) string { return "oci-archive:" + filepath.Join(t.TempDir(), "m.tar") + ":v1" }, 3000},
	{"registry", func(t *testing.T) string { return startRegistry(t) + "/org/model:v1" }, 0},
}

// TestCopyAnyToAny copies a signed model from each kind of store to each, twice:
// everything arrives, and the second copy moves nothing.
func TestCopyAnyToAny(t *testing.T) {
	for _, from := range places {
		for _, to := range places {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				c, _ := newCargo(t, 200)
				src, dst := parseRef(t, from.where(t)), parseRef(t, to.where(t))
				if _, err := c.copyTo(t.Context(), src, &CopyOptions{PartSize: from.part}); err != nil {
					t.Fatal(err)
				}
				c.check(t, src)
				for i, want := range []int64{c.size(), 0} {
					r, err := Copy(t.Context(), src, dst, &CopyOptions{PartSize: to.part})
					if err != nil {
						t.Fatal(err)
					}
					if r.Digest != c.root.Digest || r.Size != c.size() || r.Copied != want || r.Copied+r.Present+r.Mounted != r.Size {
						t.Errorf("copy %d: %+v, want %d bytes moved of %d", i, r, want, c.size())
					}
					if r.Referrers != 4 || r.Manifests != 7 {
						t.Errorf("copy %d: %d referrers, %d manifests", i, r.Referrers, r.Manifests)
					}
				}
				c.check(t, dst)
			})
		}
	}
}

// TestCopyGoesOn loses the connection at every blob and in the middle of each: the
// next copy moves only what is missing, and nothing is visible before the last.
func TestCopyGoesOn(t *testing.T) {
	for _, to := range places[:3] {
		t.Run(to.name, func(t *testing.T) {
			c := newImage(t, 201)
			dst := parseRef(t, to.where(t))
			opts := &CopyOptions{PartSize: to.part}
			for runs := 0; ; runs++ {
				c.left = 333
				r, err := c.copyTo(t.Context(), dst, opts)
				if err == nil {
					if r.Copied+r.Present != r.Size {
						t.Errorf("%+v", r)
					}
					break
				}
				if !errors.Is(err, errLost) || runs > 100 {
					t.Fatal(err)
				}
				if d, err := resolve(t.Context(), dst); err == nil {
					t.Fatalf("after a broken copy: %v", d)
				}
			}
			if c.served != c.size() {
				t.Errorf("%d bytes were moved, of %d", c.served, c.size())
			}
			c.check(t, dst)
			for _, name := range tree(t, filepath.Dir(dst.path)) {
				if strings.Contains(name, "part") {
					t.Errorf("left over: %s", name)
				}
			}
		})
	}
}

// TestCopyWrongBytes proves that a wrong byte costs a second try, and a source that
// has no others an error and no artifact.
func TestCopyWrongBytes(t *testing.T) {
	for _, to := range places {
		t.Run(to.name, func(t *testing.T) {
			c, _ := newCargo(t, 202)
			dst := parseRef(t, to.where(t))
			opts := &CopyOptions{PartSize: to.part}
			c.spoil = 1000
			if _, err := c.copyTo(t.Context(), dst, opts); !errors.Is(err, ErrCorrupt) {
				t.Errorf("wrong bytes: %v", err)
			}
			c.spoil = 0
			c.short = 1
			if _, err := c.copyTo(t.Context(), dst, opts); !errors.Is(err, ErrCorrupt) {
				t.Errorf("short blobs: %v", err)
			}
			c.short = 0
			if d, err := resolve(t.Context(), dst); err == nil {
				t.Errorf("it resolves to %v", d)
			}
			c.spoil = 1
			if _, err := c.copyTo(t.Context(), dst, opts); err != nil {
				t.Errorf("one wrong byte: %v", err)
			}
			c.check(t, dst)
		})
	}
}

// TestCopyDamagedPart leaves damaged parts of all blobs: they are not gone on with
// to a wrong end.
func TestCopyDamagedPart(t *testing.T) {
	c, m := newCargo(t, 203)
	dir := t.TempDir()
	dst := parseRef(t, "oci:"+dir+":v1")
	if err := os.MkdirAll(filepath.Join(dir, blobDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, b := range m.blobs() {
		left := bytes.Clone(b.raw[:len(b.raw)/2])
		left[3] ^= 1
		if i == 1 {
			left = append(bytes.Clone(b.raw), "and more"...)
		}
		if err := os.WriteFile(filepath.Join(dir, blobDir, partPrefix+b.Digest.Encoded()), left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.copyTo(t.Context(), dst, &CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	c.check(t, dst)
}

// TestReceiveShared opens the same blob twice: the second writer does not touch the
// file of the first, and both store it.
func TestReceiveShared(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 204, 1000)
	dir := t.TempDir()
	var writers []BlobWriter
	for range 2 {
		target := openTarget(t, parseRef(t, "oci:"+dir+":v1"))
		defer target.Close()
		w, have, err := target.Receive(t.Context(), b.Descriptor, nil)
		if err != nil || have != 0 {
			t.Fatal(have, err)
		}
		if _, err := w.Write(b.raw[:500]); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	for _, w := range writers {
		if _, err := w.Write(b.raw[500:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), b.Descriptor); err != nil {
			t.Fatal(err)
		}
	}
	if got := readFileT(t, filepath.Join(dir, blobPath(b.Digest))); got != string(b.raw) {
		t.Error("the blob differs")
	}
}

// TestReceiveFollowsNoLink plants a link where a part would be.
func TestReceiveFollowsNoLink(t *testing.T) {
	b, dir := randomThing(mediatypes.BlockLayer, 205, 10), t.TempDir()
	target := openTarget(t, parseRef(t, "oci:"+dir+":v1"))
	defer target.Close()
	if err := os.Symlink("victim", filepath.Join(dir, blobDir, partPrefix+b.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := target.Receive(t.Context(), b.Descriptor, nil); err == nil {
		t.Error("no error")
	}
	if _, err := os.Lstat(filepath.Join(dir, blobDir, "victim")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the link was followed")
	}
}

// TestReceiveSHA512 stores a blob under a digest of the other algorithm.
func TestReceiveSHA512(t *testing.T) {
	b, dir := randomThing(mediatypes.BlockLayer, 206, 10), t.TempDir()
	b.Digest = digest.SHA512.FromBytes(b.raw)
	target := openTarget(t, parseRef(t, "oci:"+dir+":v1"))
	defer target.Close()
	w, _, err := target.Receive(t.Context(), b.Descriptor, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(b.raw)
	if err := errors.Join(err, w.Commit(t.Context(), b.Descriptor)); err != nil {
		t.Fatal(err)
	}
	if ok, err := target.Has(t.Context(), b.Descriptor); !ok || err != nil {
		t.Error(ok, err)
	}
}

// TestCopyKeepsIntactChunks damages the third chunk of what is left of a layer:
// the chunks before it stay, and nothing else.
func TestCopyKeepsIntactChunks(t *testing.T) {
	src, _ := pushLayout(t, smallModel(t).write(t), nil)
	a, err := Open(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := &copier{src: a.src, opts: (&Options{}).withDefaults(), closure: newClosure(a.src.Manifest)}
	if err := c.closure.add(t.Context(), a.Descriptor); err != nil {
		t.Fatal(err)
	}
	c.models = func() (map[digest.Digest]modelLayer, error) { return c.readModels(t.Context()) }
	tried := 0
	for i := range a.Index.Layers {
		chunks, err := a.Index.ChunkTable(i)
		if err != nil {
			t.Fatal(err)
		}
		raw := readBlob(t, a.src, a.Layers[i], 0, -1)
		good := c.good(a.Layers[i])
		end := int64(len(raw)) - chunks[len(chunks)-1].Offset - int64(chunks[len(chunks)-1].Encoded)
		if got, want := good(bytes.NewReader(raw), int64(len(raw))), int64(len(raw))-end; got != want {
			t.Errorf("layer %d, whole: %d, want %d", i, got, want)
		}
		for n, chunk := range chunks {
			tried++
			bad := bytes.Clone(raw)
			bad[chunk.Offset+int64(chunk.Encoded)/2] ^= 1
			if got := good(bytes.NewReader(bad), int64(len(bad))); got != chunk.Offset {
				t.Errorf("layer %d, chunk %d damaged: %d, want %d", i, n, got, chunk.Offset)
			}
			if got := good(bytes.NewReader(raw), chunk.Offset+int64(chunk.Encoded)-1); got != chunk.Offset {
				t.Errorf("layer %d, chunk %d cut: %d, want %d", i, n, got, chunk.Offset)
			}
		}
		bad := bytes.Clone(raw)
		bad[0] ^= 1
		if got := good(bytes.NewReader(bad), int64(len(bad))); got != 0 {
			t.Errorf("layer %d, prologue damaged: %d", i, got)
		}
	}
	if tried < 2 {
		t.Fatalf("only %d chunks", tried)
	}
}

// mounting is a target that takes over blobs from elsewhere, or fails to.
type mounting struct {
	Target
	err     error
	mounted int
}

func (m *mounting) Mount(_ context.Context, _ ocispec.Descriptor, _ Reference) (bool, error) {
	m.mounted++
	return m.err == nil, m.err
}

// TestCopyMounts proves that within a registry blobs are taken over, and that their
// bytes are sent where it does not grant that.
func TestCopyMounts(t *testing.T) {
	c, m := newCargo(t, 207)
	for _, tt := range []struct {
		from, to string
		err      error
		mounts   int
		copied   int64
	}{
		{"localhost:5000/a:v1", "localhost:5000/b:v1", nil, 1, 0},
		{"localhost:5000/a:v1", "localhost:5000/b:v1", ErrUnauthorized, 1, m.layers[0].Size},
		{"localhost:5001/a:v1", "localhost:5000/b:v1", nil, 0, m.layers[0].Size},
		{"oci:dir:v1", "localhost:5000/b:v1", nil, 0, m.layers[0].Size},
	} {
		target := &mounting{Target: openTarget(t, parseRef(t, "oci:"+t.TempDir()+":v1")), err: tt.err}
		k := &copier{src: c, from: parseRef(t, tt.from), to: parseRef(t, tt.to), opts: (&Options{}).withDefaults(), bar: noProgress{}}
		if err := k.writeBlob(t.Context(), target, m.layers[0].Descriptor); err != nil {
			t.Fatal(err)
		}
		if target.mounted != tt.mounts || k.res.Copied != tt.copied || k.res.Copied+k.res.Mounted != m.layers[0].Size {
			t.Errorf("%s to %s: %d mounts, %+v", tt.from, tt.to, target.mounted, k.res)
		}
		target.Close()
	}
}

// TestCopyChecksSpace copies a layer that no disk holds.
func TestCopyChecksSpace(t *testing.T) {
	c, m := newCargo(t, 208)
	var doc ocispec.Manifest
	if err := json.Unmarshal(m.manifests[0].raw, &doc); err != nil {
		t.Fatal(err)
	}
	doc.Layers[0].Size = 1 << 60
	doc.Layers[0].Digest = digest.FromString("large")
	big := jsonThing(t, ocispec.MediaTypeImageManifest, doc)
	c.add(big)
	c.root = big.Descriptor
	c.referrers = nil
	for _, to := range places[:3] {
		dst := parseRef(t, to.where(t))
		opts := &CopyOptions{PartSize: to.part << 48}
		if _, err := c.copyTo(t.Context(), dst, opts); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", to.name, err)
		}
	}
	if c.served != 0 {
		t.Errorf("%d bytes were fetched", c.served)
	}
	// Parts are carried away as they come.
	var warned []string
	opts := &CopyOptions{PartSize: 1 << 50}
	opts.Warn = func(msg string) { warned = append(warned, msg) }
	if _, err := c.copyTo(t.Context(), parseRef(t, places[2].where(t)), opts); err == nil || len(warned) > 0 {
		t.Errorf("parts too large: %v, %q", err, warned)
	}
}

// TestCopyForeign copies what is no model: an image of Docker's types, an image
// index of layers, an artifact without layers.
func TestCopyForeign(t *testing.T) {
	config := newThing("application/vnd.docker.container.image.v1+json", []byte(`{"os":"linux"}`))
	layer := randomThing("application/vnd.docker.image.rootfs.diff.tar.gzip", 209, 5000)
	type d = ocispec.Descriptor
	image := jsonThing(t, dockerManifest, map[string]any{
		"schemaVersion": 2, "mediaType": dockerManifest, "config": config.Descriptor, "layers": []d{layer.Descriptor},
	})
	list := jsonThing(t, dockerManifestList, map[string]any{
		"schemaVersion": 2, "mediaType": dockerManifestList, "manifests": []d{image.Descriptor},
	})
	nested := jsonThing(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []d{list.Descriptor, layer.Descriptor},
	})
	bare := jsonThing(t, ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": config.Descriptor, "layers": []d{},
	})
	for name, root := range map[string]thing{"image": image, "list": list, "nested": nested, "bare": bare} {
		c := &cargo{root: root.Descriptor, things: map[digest.Digest]thing{}, left: -1}
		c.add(config, root)
		if name != "bare" {
			c.add(layer, image)
		}
		if name == "nested" {
			c.add(list)
		}
		for _, to := range places[:3] {
			dst := parseRef(t, to.where(t))
			if _, err := c.copyTo(t.Context(), dst, &CopyOptions{PartSize: to.part}); err != nil {
				t.Errorf("%s to %s: %v", name, to.name, err)
				continue
			}
			c.check(t, dst)
		}
	}
}

// TestCopyRefuses lists what is refused before a byte of a blob is moved.
func TestCopyRefuses(t *testing.T) {
	config := newThing(ocispec.MediaTypeImageConfig, []byte("{}"))
	layer := randomThing("application/vnd.oci.image.layer.v1.tar", 210, 100)
	manifest := func(change func(*ocispec.Manifest)) thing {
		m := ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: config.Descriptor, Layers: []ocispec.Descriptor{layer.Descriptor},
		}
		change(&m)
		return jsonThing(t, m.MediaType, m)
	}
	deep := manifest(func(*ocispec.Manifest) {})
	all := []thing{config, layer, deep}
	for range maxDepth + 1 {
		deep = jsonThing(t, ocispec.MediaTypeImageIndex, ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{deep.Descriptor},
		})
		all = append(all, deep)
	}
	for name, root := range map[string]thing{
		"urls":      manifest(func(m *ocispec.Manifest) { m.Layers[0].URLs = []string{"https://example.com/x"} }),
		"sha1":      manifest(func(m *ocispec.Manifest) { m.Layers[0].Digest = "sha1:ba7816bf8f01cfea414140de5dae2223b00361a3" }),
		"negative":  manifest(func(m *ocispec.Manifest) { m.Layers[0].Size = -5 }),
		"two sizes": manifest(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]); m.Layers[1].Size++ }),
		"deep":      deep,
		"both":      newThing(ocispec.MediaTypeImageManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"a/b","digest":%q,"size":2},"layers":[],"manifests":[]}`, ocispec.MediaTypeImageManifest, config.Digest)),
	} {
		c := &cargo{root: root.Descriptor, things: map[digest.Digest]thing{}, left: -1}
		c.add(append(all, root)...)
		dst := parseRef(t, places[0].where(t))
		if _, err := c.copyTo(t.Context(), dst, &CopyOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if c.served != 0 {
			t.Errorf("%s: %d bytes were fetched", name, c.served)
		}
	}
	if _, err := Copy(t.Context(), parseRef(t, "oci:x:v1"), parseRef(t, "oci:y:v1"), &CopyOptions{PartSize: 10}); err == nil {
		t.Error("a layout in parts")
	}
}
