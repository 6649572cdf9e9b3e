package oci

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

func TestTooManyLayers(t *testing.T) {
	w := &layerWriter{layers: make([]*layer, mediatypes.MaxLayers-1)}
	if err := w.begin(t.Context(), &group{}, nil); err == nil || !strings.Contains(err.Error(), "larger layer size") {
		t.Errorf("error %v: no way out is named", err)
	}
}

func TestShared(t *testing.T) {
	ref, _ := pushLayout(t, roundTrips(t)["tied"].write(t), nil)
	r := report(t, ref)
	for _, tt := range []struct{ file, name, with string }{
		{"a.safetensors", "model.embed_tokens.weight", ""},
		{"a.safetensors", "lm_head.weight", "model.embed_tokens.weight"},
		{"a.safetensors", "lm_head.flat", "model.embed_tokens.weight"}, // of another shape
		{"b.safetensors", "lm_head.weight", "model.embed_tokens.weight"},
		{"a.safetensors", "model.norm.weight", ""},
		{"c.safetensors", "model.norm.weight", "model.norm.weight"},
	} {
		x := tensorReport(t, r, tt.file, tt.name)
		switch {
		case tt.with == "" && (x.SharedWith != nil || x.Encoded == 0):
			t.Errorf("%s of %s is shared, or takes no room: %+v", tt.name, tt.file, x)
		case tt.with != "" && (x.SharedWith == nil || *x.SharedWith != tt.with || x.Encoded != 0):
			t.Errorf("%s of %s is not shared with %s: %+v", tt.name, tt.file, tt.with, x)
		}
	}
	stored := int64(0)
	for _, l := range r.Layers {
		if l.MediaType == mediatypes.BlockLayer {
			stored += l.Decoded
		}
	}
	if want := int64(2*70_000 + 2*300); stored != want {
		t.Errorf("block layers decode to %d bytes, want %d: each tensor once", stored, want)
	}
	for _, d := range r.Dtypes {
		if d.Dtype == "BF16" && (d.Tensors != 6 || d.Decoded != 4*2*70_000+2*2*300) {
			t.Errorf("sum of BF16 is %+v", d)
		}
	}
}

func TestDeterminism(t *testing.T) {
	t.Parallel()
	files := smallModel(t)
	maps.Copy(files, roundTrips(t)["shards"])
	dir := files.write(t)
	_, first := pushLayout(t, dir, nil)
	for _, jobs := range []int{1, 2, 7} {
		if _, res := pushLayout(t, dir, &PushOptions{Options: Options{Jobs: jobs}}); res.Digest != first.Digest {
			t.Errorf("%d jobs give another digest", jobs)
		}
	}
	old := time.Unix(1_000_000_000, 0)
	for name := range files {
		if err := os.Chtimes(filepath.Join(dir, strings.TrimSuffix(name, "*")), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, res := pushLayout(t, dir, nil); res.Digest != first.Digest {
		t.Error("the digest depends on the time of the files")
	}
	if _, res := pushLayout(t, files.write(t), nil); res.Digest != first.Digest {
		t.Error("the digest depends on the directory")
	}
	if err := os.Chmod(filepath.Join(dir, "config.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, res := pushLayout(t, dir, nil); res.Digest == first.Digest {
		t.Error("the digest does not depend on the mode of a file")
	}
}

// layersOf maps blocks to the digests of their layers.
func layersOf(r *Report) map[string][]digest.Digest {
	out := map[string][]digest.Digest{}
	for _, l := range r.Layers {
		name := l.MediaType
		if l.Block != nil {
			name = fmt.Sprintf("%s.%d", l.Stack, *l.Block)
		}
		out[name] = append(out[name], l.Digest)
	}
	return out
}

// An unchanged block of a fine-tune is the same layer, in other shards too.
func TestFineTuneSharesLayers(t *testing.T) {
	tensors := []tensorData{weight("model.embed_tokens.weight", "BF16", 70_000, 1)}
	for i := range 4 {
		tensors = append(tensors, blockTensors("model.layers", i, 40)...)
	}
	base, _ := pushLayout(t, inShards(t, tensors, 7, 11).write(t), nil)

	tuned := slices.Clone(tensors)
	changed := &tuned[1+2*4+1] // a large tensor of block 2
	changed.data = bytes.Clone(changed.data)
	changed.data[1000] ^= 1
	other, _ := pushLayout(t, inShards(t, tuned, 5).write(t), nil)

	want, got := layersOf(report(t, base)), layersOf(report(t, other))
	for i := range 4 {
		name := fmt.Sprintf("model.layers.%d", i)
		if same := slices.Equal(want[name], got[name]); same != (i != 2) {
			t.Errorf("block %d is the same layer: %t", i, same)
		}
	}
	if !slices.Equal(want[mediatypes.BlockLayer], got[mediatypes.BlockLayer]) {
		t.Error("the embedding is another layer")
	}
}

// The layers, read through their own trailers, hold every tensor and file where
// the index says, without the code of pull.
func TestIndexFindsEverything(t *testing.T) {
	files := smallModel(t)
	maps.Copy(files, roundTrips(t)["tied"])
	ref, _ := pushLayout(t, files.write(t), &PushOptions{LayerSize: 100_000})
	a := openArtifact(t, ref)
	r := report(t, ref)
	var layers []*codec.Layer
	for i, d := range a.Layers {
		blob := readBlob(t, a.src, d, 0, -1)
		l, err := codec.OpenLayer(bytes.NewReader(blob), int64(len(blob)))
		if err != nil {
			t.Fatal(err)
		}
		if l.Size() != r.Layers[i].Decoded {
			t.Errorf("layer %d decodes to %d bytes, not %d", i, l.Size(), r.Layers[i].Decoded)
		}
		layers = append(layers, l)
	}
	read := func(layer int, offset, n int64) []byte {
		b := make([]byte, n)
		if _, err := layers[layer].ReadAt(b, offset); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for i, x := range r.Tensors {
		var b []byte
		for _, s := range x.Segments {
			b = append(b, read(s.Layer, s.Offset, s.Length)...)
		}
		if sum := fmt.Sprintf("%x", md5.Sum(b)); int64(len(b)) != x.Decoded || sum != x.MD5 {
			t.Errorf("%s of %s: %d bytes of MD5 %s, want %d of %s", x.Name, x.File, len(b), sum, x.Decoded, x.MD5)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(b)); sum != a.Index.Tensors[i].SHA256 {
			t.Errorf("%s of %s: sha256 %s", x.Name, x.File, sum)
		}
	}
	if len(a.Index.Files) != len(files) {
		t.Errorf("%d files, want %d", len(a.Index.Files), len(files))
	}
	for _, x := range a.Index.Files {
		want, executable := files[x.Path+"*"]
		if !executable {
			want = files[x.Path]
		}
		var b []byte
		for _, s := range x.Segments {
			b = append(b, read(s.Layer, s.Offset, s.Length)...)
		}
		if !bytes.Equal(b, want) || executable != (x.Mode == 0o755) || fmt.Sprintf("%x", sha256.Sum256(want)) != x.SHA256 {
			t.Errorf("%s: %d bytes, mode %o; want %d", x.Path, len(b), x.Mode, len(want))
		}
	}
	var sum int64
	for _, d := range r.Dtypes {
		sum += d.Encoded
	}
	if sum != r.Encoded {
		t.Errorf("the dtypes add up to %d bytes, want %d", sum, r.Encoded)
	}
}

// mediatypes/ARTIFACT.md, "Manifests" and "Annotations".
func TestManifests(t *testing.T) {
	dir := smallModel(t).write(t)
	ref, res := pushLayout(t, dir, nil)
	src := openSource(t, ref)
	a := openArtifact(t, ref)
	raw, err := src.Manifest(t.Context(), a.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	index, err := mediatypes.ParseManifestIndex(raw, a.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	if a.Descriptor.MediaType != ocispec.MediaTypeImageIndex || a.Descriptor.Digest != res.Digest ||
		index.ArtifactType != "" || index.SchemaVersion != 2 || index.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("the tag names %+v: %+v", a.Descriptor, index)
	}
	if len(index.Manifests) != 2 {
		t.Fatalf("%d manifests", len(index.Manifests))
	}
	var layers []ocispec.Descriptor
	for i, arch := range []string{"amd64", "arm64"} {
		d := index.Manifests[i]
		if d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture != arch || d.ArtifactType != "" {
			t.Errorf("descriptor %d is %+v", i, d)
		}
		raw, err := src.Manifest(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mediatypes.ParseManifest(raw, d)
		if err != nil {
			t.Fatal(err)
		}
		if m.ArtifactType != mediatypes.ArtifactType || m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest || m.Annotations != nil {
			t.Errorf("manifest %d is %+v", i, m)
		}
		config, err := mediatypes.ParseConfig(readBlob(t, src, m.Config, 0, -1), m.Config)
		if err != nil {
			t.Fatal(err)
		}
		if config.OS != "linux" || config.Architecture != arch || config.Created != nil || config.RootFS.Type != "layers" || len(config.History) > 0 {
			t.Errorf("config %d is %+v", i, config)
		}
		var digests []digest.Digest
		for _, l := range m.Layers {
			digests = append(digests, l.Digest)
		}
		if !slices.Equal(config.RootFS.DiffIDs, digests) {
			t.Errorf("diff_ids of %s are not the layers", arch)
		}
		if i > 0 && cmp.Diff(layers, m.Layers) != "" {
			t.Error("the platforms have other layers")
		}
		layers = m.Layers
	}
	titles := map[string]bool{}
	for i, l := range layers {
		title := l.Annotations[ocispec.AnnotationTitle]
		if title == "" || titles[title] || !strings.HasPrefix(title, fmt.Sprintf("%04d-", i)) {
			t.Errorf("layer %d has the title %q", i, title)
		}
		titles[title] = true
		if (l.MediaType == mediatypes.IndexLayer) != (i == len(layers)-1) {
			t.Errorf("layer %d is a %s", i, l.MediaType)
		}
	}
	got, err := json.Marshal(layers[1].Annotations)
	want := `{"org.opencontainers.image.title":"0001-block.bsm","org.oras-bsm.block.number":"0","org.oras-bsm.block.stack":"model.layers",` +
		`"org.oras-bsm.decoded.size":"273540","org.oras-bsm.dtypes":"BF16,F32"}`
	if err != nil || string(got) != want {
		t.Errorf("annotations of block 0:\n%s\nwant\n%s", got, want)
	}
}

func TestPushCanceled(t *testing.T) {
	dir := smallModel(t).write(t)
	registry := startRegistry(t)
	for _, phase := range []string{"", "hashing", "encoding", "bytes"} {
		for i, where := range []string{"oci:" + filepath.Join(t.TempDir(), "layout"), "oci-archive:" + filepath.Join(t.TempDir(), "m.tar"), registry + "/org/canceled" + phase} {
			ctx, cancel := context.WithCancel(t.Context())
			if phase == "" {
				cancel()
			}
			ref := parseRef(t, where)
			progress := at(phase, cancel)
			if phase == "bytes" {
				progress = firstBytes{f: cancel}
			}
			_, err := Push(ctx, ref, dir, &PushOptions{Options: Options{Progress: progress}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("store %d canceled at %q: error %v", i, phase, err)
			}
			notTagged(t, ref)
			cancel()
		}
	}
}

// An archive or a layout that cannot be written is an error of the machine, and
// leaves no tag.
func TestPushTargetFails(t *testing.T) {
	dir := smallModel(t).write(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"oci:" + file, "oci:" + file + "/layout", "oci-archive:" + file + "/m.tar"} {
		if _, err := Push(t.Context(), parseRef(t, where), dir, nil); err == nil {
			t.Errorf("pushed to %s", where)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: error %v", where, err)
		}
	}
}

// TestDecodesTo proves that push would notice an index layer that does not give
// back what it was made from.
func TestDecodesTo(t *testing.T) {
	want := bytes.Repeat([]byte("index"), 1000)
	var b bytes.Buffer
	if err := encodeBytes(&b, codec.Default, want); err != nil {
		t.Fatal(err)
	}
	if err := decodesTo(b.Bytes(), want); err != nil {
		t.Error(err)
	}
	damaged := bytes.Clone(b.Bytes())
	damaged[len(damaged)/2] ^= 1
	other := bytes.Clone(want)
	other[0] ^= 1
	for name, err := range map[string]error{
		"damaged": decodesTo(damaged, want), "other bytes": decodesTo(b.Bytes(), other), "fewer bytes": decodesTo(b.Bytes(), want[1:]),
	} {
		if !errors.Is(err, errLossy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
