package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

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
