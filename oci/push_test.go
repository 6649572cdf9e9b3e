package oci

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
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
	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/codec"
	weightgen "github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// inShards cuts tensors into files at the given numbers of tensors.
func inShards(t testing.TB, tensors []tensorData, borders ...int) modelFiles {
	t.Helper()
	m := modelFiles{}
	borders = append(borders, len(tensors))
	from := 0
	for i, to := range borders {
		m[fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(borders))] = tensorFile(t, tensors[from:to]...)
		from = to
	}
	return m
}

// roundTrips are models for which every byte and mode must come back.
func roundTrips(t testing.TB) map[string]modelFiles {
	t.Helper()
	embed := weight("model.embed_tokens.weight", "BF16", 70_000, 1)
	tied := embed
	tied.name = "lm_head.weight"
	flat := tied
	flat.name, flat.shape = "lm_head.flat", []int64{700, 100}
	tensors := []tensorData{embed}
	for i := range 3 {
		tensors = append(tensors, blockTensors("model.layers", i, 40)...)
	}
	norm := weight("model.norm.weight", "BF16", 300, 2)

	var every []tensorData
	for i, d := range dtypes {
		for _, n := range []int{64, 70_000} {
			x := weight(fmt.Sprintf("layers.%d.%s.%d", i%3, d, n), d, n, uint64(i))
			x.shape = []int64{2, int64(n / 2)}
			every = append(every, x)
		}
	}

	borders := modelFiles{}
	for _, n := range []int{1, 7, 8, 255, 256, 65_535, 65_536, 1<<20 - 1, 1 << 20, 1<<20 + 1, 2<<20 + 1} {
		borders[fmt.Sprintf("opaque/%d.bin", n)] = bytes.Repeat([]byte("opaque bytes "), n/13+1)[:n]
	}
	var edge []tensorData
	for _, n := range []int{1, 2, 65_535, 65_536, 65_537, 1<<20 - 1, 1 << 20, 1<<20 + 1} {
		edge = append(edge, weight(fmt.Sprintf("layers.0.w%d", n), "U8", n, uint64(n)), weight(fmt.Sprintf("layers.0.b%d", n), "BF16", n, uint64(n)))
	}
	borders["model.safetensors"] = tensorFile(t, edge...)

	return map[string]modelFiles{
		"small": smallModel(t),
		"shards": func() modelFiles {
			// Both borders cut a block.
			m := inShards(t, append(slices.Clone(tensors), tied, norm), 3, 8)
			m["model.safetensors.index.json"] = []byte(`{"weight_map":{}}`)
			return m
		}(),
		"folders": {
			"unet/diffusion_pytorch_model.safetensors":      tensorFile(t, blockTensors("down_blocks", 0, 60)...),
			"vae/diffusion_pytorch_model.safetensors":       tensorFile(t, blockTensors("down_blocks", 0, 60)...), // as in unet
			"text_encoder/model.safetensors":                tensorFile(t, blockTensors("down_blocks", 0, 90)...),
			"unet/config.json":                              []byte("{}"),
			"model_index.json":                              []byte("{}"),
			"deep/" + strings.Repeat("d/", 20) + "file.txt": []byte("deep"),
		},
		"tied": {
			"a.safetensors": tensorFile(t, embed, norm, tied, flat),
			"b.safetensors": tensorFile(t, tied),
			"c.safetensors": tensorFile(t, norm),
		},
		"dtypes":  {"model.safetensors": tensorFile(t, every...)},
		"borders": borders,
		"nothing inside": {
			"scalars.safetensors": tensorFile(t,
				tensorData{"step", "I64", nil, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
				tensorData{"model.layers.0.scale", "F32", []int64{}, []byte{0, 0, 128, 63}},
				tensorData{"model.layers.1.scale", "F32", []int64{}, []byte{0, 0, 128, 63}}, // a layer like the other's
				tensorData{"none", "BF16", []int64{0, 4096}, nil},
				tensorData{"none.too", "F32", []int64{3, 0}, nil}),
			"no-tensors.safetensors": tensorFile(t),
			"empty.safetensors":      {},
			"empty.bin":              {},
			"sub/__init__.py":        {},
		},
		"only empty files": {"a": {}, "b/c": {}},
		"opaque files": {
			"model.gguf":               append([]byte("GGUF\x03\x00\x00\x00"), noise(5000, 3)...),
			"pytorch_model.bin":        noise(100_000, 4),
			"merges.txt":               []byte(strings.Repeat("t h\nth e\n", 9000)),
			"merges copy.txt":          []byte(strings.Repeat("t h\nth e\n", 9000)),
			"zeros":                    make([]byte, 3<<20),
			"run*":                     []byte("#!/bin/sh\nexit 0\n"),
			"Ünïcode/文件.json":          []byte("[]"),
			"UPPER.SAFETENSORS":        tensorFile(t, norm),
			"notes.safetensors.json":   []byte("{}"),
			"broken/model.safetensors": []byte("no safetensors at all"),
		},
	}
}

func TestRoundTrip(t *testing.T) {
	registry := startRegistry(t)
	for name, files := range roundTrips(t) {
		t.Run(name, func(t *testing.T) {
			dir := files.write(t)
			temp := t.TempDir()
			digests := map[digest.Digest]bool{}
			for _, where := range []string{
				"oci:" + filepath.Join(temp, "layout") + ":v1",
				"oci-archive:" + filepath.Join(temp, "model.tar"),
				registry + "/org/" + strings.ReplaceAll(name, " ", "-") + ":v1",
			} {
				ref := parseRef(t, where)
				pushed, err := Push(t.Context(), ref, dir, nil)
				if err != nil {
					t.Fatal(err)
				}
				digests[pushed.Digest] = true
				sameFiles(t, dir, pullNew(t, ref, &PullOptions{Verify: true}))
				sameFiles(t, dir, pullNew(t, ref, &PullOptions{Options: Options{Jobs: 1}}))
				verified, err := Verify(t.Context(), ref, nil)
				if err != nil {
					t.Fatal(err)
				}
				r := report(t, ref)
				if verified.Digest != pushed.Digest || r.Digest != pushed.Digest || r.Encoded != pushed.Encoded ||
					r.Decoded != pushed.Decoded || r.Blocks != pushed.Blocks || len(r.Layers) != pushed.Layers ||
					verified.Layers != pushed.Layers || verified.Tensors != len(r.Tensors) || verified.Files != len(files) ||
					verified.Decoded != pushed.Decoded || cmp.Diff(r.Manifests, pushed.Manifests) != "" {
					r.Layers, r.Tensors = nil, nil
					t.Errorf("pushed %+v,\nverified %+v,\ninspected %+v", pushed, verified, r)
				}
			}
			if len(digests) != 1 {
				t.Errorf("three stores, %d digests", len(digests))
			}
		})
	}
}

// Layers so small that a block spans several, with tensors cut by their borders.
func TestSmallLayers(t *testing.T) {
	block := append(blockTensors("model.layers", 0, 5), weight("model.layers.0.big", "BF16", 3<<20, 6))
	for i := range 60 { // small tensors that fill more than one chunk
		block = append(block, weight(fmt.Sprintf("model.layers.0.small%d", i), "BF16", 60_000, uint64(i)))
	}
	dir := modelFiles{"model.safetensors": tensorFile(t, block...), "big.bin": noise(3<<20, 2)}.write(t)
	for _, size := range []int64{1, 100_000, 2 << 20} {
		ref, res := pushLayout(t, dir, &PushOptions{LayerSize: size})
		sameFiles(t, dir, pullNew(t, ref, &PullOptions{Verify: true}))
		if _, err := Verify(t.Context(), ref, nil); err != nil {
			t.Error(err)
		}
		r := report(t, ref)
		layers := 0
		for _, l := range r.Layers {
			if l.Block != nil {
				layers++
			}
			if l.Encoded > max(size, 2<<20+100) && l.MediaType != mediatypes.IndexLayer {
				t.Errorf("layer size %d: a layer has %d bytes", size, l.Encoded)
			}
		}
		if res.Blocks != 1 || layers < 3 {
			t.Errorf("layer size %d: block in %d layers, %d blocks", size, layers, res.Blocks)
		}
		if big := tensorReport(t, r, "model.safetensors", "model.layers.0.big"); size < 2<<20 && len(big.Segments) < 3 {
			t.Errorf("layer size %d: the large tensor is %d segments", size, len(big.Segments))
		}
	}
}

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

// A model as the generator of the end-to-end tests makes it.
func TestGeneratedModel(t *testing.T) {
	dir := t.TempDir()
	if err := weightgen.Generate(dir, weightgen.Options{Size: 8 << 20, Shards: 3, Layers: 4, Tied: true}); err != nil {
		t.Fatal(err)
	}
	for _, level := range []codec.Level{codec.Default, codec.Max} {
		ref, res := pushLayout(t, dir, &PushOptions{Level: level})
		if res.Blocks != 4 {
			t.Errorf("%d blocks, want 4", res.Blocks)
		}
		if ratio := float64(res.Encoded) / float64(res.Decoded); ratio > 0.69 {
			t.Errorf("level %s: ratio %.4f", level, ratio)
		}
		if r := report(t, ref); r.Level != level.String() {
			t.Errorf("level %s, want %s", r.Level, level)
		}
		sameFiles(t, dir, pullNew(t, ref, nil))
	}
}

func TestDeterminism(t *testing.T) {
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

// badFiles are safetensors files that the strict parser refuses.
func badFiles(t testing.TB) map[string][]byte {
	t.Helper()
	header := func(json string, data int) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(json)))
		return append(append(b, json...), noise(data, 5)...)
	}
	length := func(n uint64) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}} `...)
	}
	good := tensorFile(t, weight("w", "BF16", 100, 1))
	return map[string][]byte{
		"1 short":             {1, 2, 3, 4, 5, 6, 7},
		"2 zero header":       length(0),
		"3 header past end":   length(1000),
		"4 header 2^63":       length(1 << 63),
		"4 header 2^64-1":     length(1<<64 - 1),
		"5 header 100000001":  length(100_000_001),
		"6 not UTF-8":         header("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1),
		"7 not an object":     header(`[]`, 0),
		"7 white space":       header(` {}`, 0),
		"8 NUL padding":       header("{}\x00\x00", 0),
		"9 duplicate name":    header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2),
		"10 DTYPE twin":       header(`{"a":{"dtype":"U8","DTYPE":"I8","shape":[1],"data_offsets":[0,1]}}`, 1),
		"11 overlap":          header(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3),
		"12 hole":             header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3),
		"13 end before start": header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1),
		"14 end past data":    header(`{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`, 1),
		"15 trailing bytes":   append(bytes.Clone(good), "PK\x03\x04"...),
		"16 shape overflows":  header(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0),
		"17 size of shape":    header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4),
		"18 unknown dtype":    header(`{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}}`, 16),
		"19 half a byte":      header(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2),
		"20 one offset":       header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1),
		"20 three offsets":    header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1),
		"20 float":            header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}}`, 1),
		"20 negative":         header(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1),
		"20 exponent":         header(`{"a":{"dtype":"U8","shape":[1000],"data_offsets":[0,1e3]}}`, 1000),
		"21 nested":           header(strings.Repeat(`{"a":`, 20_000)+"1"+strings.Repeat("}", 20_000), 0),
		"24 metadata":         header(`{"__metadata__":{"a":1}}`, 0),
		"truncated":           good[:len(good)-1],
		"25 lfs pointer":      []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"),
	}
}

func TestBadSafetensors(t *testing.T) {
	files := modelFiles{"good.safetensors": tensorFile(t, weight("w", "BF16", 100, 1))}
	bad := badFiles(t)
	for name, data := range bad {
		files["sub/"+name+".safetensors"] = data
	}
	dir := files.write(t)
	warned := map[string]string{}
	ref, _ := pushLayout(t, dir, &PushOptions{Options: Options{Warn: func(msg string) {
		name, why, _ := strings.Cut(msg, " is stored as opaque bytes: ")
		warned[name] = why
	}}})
	for name := range bad {
		why := warned["sub/"+name+".safetensors"]
		if why == "" {
			t.Errorf("no warning about %q", name)
		}
		if lfs := strings.Contains(why, "Git LFS pointer"); lfs != (name == "25 lfs pointer") {
			t.Errorf("%q: %s", name, why)
		}
	}
	if len(warned) != len(bad) {
		t.Errorf("%d warnings, want %d: %v", len(warned), len(bad), warned)
	}
	r := report(t, ref)
	for _, f := range r.Files {
		if (f.Format == "safetensors") != (f.Path == "good.safetensors") {
			t.Errorf("%s is of format %q", f.Path, f.Format)
		}
	}
	if len(r.Tensors) != 1 {
		t.Errorf("%d tensors", len(r.Tensors))
	}
	sameFiles(t, dir, pullNew(t, ref, nil))
}

// A sparse file with a header length over the limit costs no memory.
func TestSparseSafetensors(t *testing.T) {
	dir := modelFiles{"model.safetensors": binary.LittleEndian.AppendUint64(nil, 100_000_001)}.write(t)
	if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 64<<20); err != nil {
		t.Fatal(err)
	}
	ref, res := pushLayout(t, dir, nil)
	if res.Encoded > 64<<10 {
		t.Errorf("64 MiB of zeros take %d bytes", res.Encoded)
	}
	sameFiles(t, dir, pullNew(t, ref, nil))
}

// A file that another program writes to while it is pushed.
func TestFileChanges(t *testing.T) {
	edit := func(f func(w *os.File) error) func(t *testing.T, name string) {
		return func(t *testing.T, name string) {
			w, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f(w), w.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(off int64, s string) func(t *testing.T, name string) {
		return edit(func(w *os.File) error { _, err := w.WriteAt([]byte(s), off); return err })
	}
	for _, tt := range []struct {
		name, phase, file string
		change            func(t *testing.T, name string)
		want              error
	}{
		{"opaque shrinks", "encoding", "tokenizer.json", edit(func(w *os.File) error { return w.Truncate(100) }), errChanged},
		{"opaque grows", "encoding", "tokenizer.json", write(44_000, "more"), errChanged},
		{"opaque changes", "encoding", "tokenizer.json", write(20_000, "other"), errChanged},
		{"empty grows", "encoding", "unet/empty/.gitignore", write(0, "*"), errChanged},
		{"small one changes", "encoding", "config.json", write(0, "["), errChanged},
		{"header changes", "encoding", "model.safetensors", write(20, "?"), errChanged},
		{"tensor changes", "encoding", "model.safetensors", write(300_000, "!!!!"), errChanged},
		{"tensors shrink", "encoding", "model.safetensors", edit(func(w *os.File) error { return w.Truncate(300_000) }), errChanged},
		{"tensors end early", "encoding", "model.safetensors", edit(func(w *os.File) error { return w.Truncate(300) }), errChanged},
		{"tensors grow", "encoding", "model.safetensors", write(2<<20, "more"), errChanged},
		{"shrinks before hashing", "hashing", "model.safetensors", edit(func(w *os.File) error { return w.Truncate(300_000) }), errChanged},
		{"removed", "encoding", "model.safetensors", func(t *testing.T, name string) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}, os.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallModel(t).write(t)
			ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
			changed := false
			_, err := Push(t.Context(), ref, dir, &PushOptions{Options: Options{Progress: at(tt.phase, func() {
				changed = true
				tt.change(t, filepath.Join(dir, tt.file))
			})}})
			if !changed || !errors.Is(err, tt.want) {
				t.Fatalf("changed %t, error %v", changed, err)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Object != tt.file {
				t.Errorf("error does not name the file: %v", err)
			}
			notTagged(t, ref)
		})
	}
}

func TestScanRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		make       func(dir string) error
	}{
		{"link out", "escapes", func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, "link.json")) }},
		{"relative link out", "escapes", func(dir string) error { return os.Symlink("../../../etc/hostname", filepath.Join(dir, "link.json")) }},
		{"almost a hub link", "escapes", func(dir string) error {
			return os.Symlink("../../blobs/../../../etc/hostname", filepath.Join(dir, "link.json"))
		}},
		{"link to a directory", "regular files", func(dir string) error { return os.Symlink("onnx", filepath.Join(dir, "link")) }},
		{"dangling link", "no such file", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "link")) }},
		{"FIFO", "regular files", func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600) }},
		{"link to a FIFO", "regular files", func(dir string) error {
			return errors.Join(unix.Mkfifo(filepath.Join(dir, "z"), 0o600), os.Symlink("z", filepath.Join(dir, "a")))
		}},
		{"socket", "regular files", func(dir string) error {
			return unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0)
		}},
		{"case twins", "case", func(dir string) error { return os.WriteFile(filepath.Join(dir, "CONFIG.json"), nil, 0o600) }},
		{"backslash", "backslash", func(dir string) error { return os.WriteFile(filepath.Join(dir, `a\b`), nil, 0o600) }},
		{"trailing dot", "dot", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a."), nil, 0o600) }},
		{"control character", "", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600) }},
		{"not UTF-8", "UTF-8", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\xffb"), nil, 0o600) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallModel(t).write(t)
			if err := tt.make(dir); err != nil {
				t.Skip(err) // the file system does not take such a name
			}
			ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
			_, err := Push(t.Context(), ref, dir, nil)
			if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
			if errors.Is(err, ErrCorrupt) {
				t.Errorf("a fault of the directory is not corruption: %v", err)
			}
			notTagged(t, ref)
		})
	}
	for name, dir := range map[string]string{"missing": "/nowhere/at/all", "a file": "push_test.go", "empty": t.TempDir()} {
		ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
		if _, err := Push(t.Context(), ref, dir, nil); err == nil {
			t.Errorf("%s directory was pushed", name)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s directory: error %v", name, err)
		}
	}
}

// Files that tools leave in a directory are no part of the model.
func TestScanSkips(t *testing.T) {
	files := modelFiles{
		"config.json":                       []byte("{}"),
		".gitattributes":                    []byte("*.safetensors filter=lfs"),
		".cache/other":                      []byte("kept"),
		"sub/huggingface/x":                 []byte("kept"),
		".git/HEAD":                         []byte("ref: refs/heads/main"),
		"sub/.git/HEAD":                     []byte("ref: refs/heads/main"),
		".cache/huggingface/download/x":     []byte("1"),
		"sub/.cache/huggingface/download/x": []byte("1"),
	}
	ref, _ := pushLayout(t, files.write(t), nil)
	var got []string
	for _, f := range report(t, ref).Files {
		got = append(got, f.Path)
	}
	want := []string{".cache/other", ".gitattributes", "config.json", "sub/huggingface/x"}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A snapshot of the Hugging Face cache is links into a directory of blobs
// beside it.
func TestHubCache(t *testing.T) {
	cache := t.TempDir()
	files := smallModel(t)
	plain := modelFiles{}
	i := 0
	for name, data := range files {
		name = strings.TrimSuffix(name, "*") // the cache has no modes
		plain[name] = data
		i++
		blob := fmt.Sprintf("%040x", i)
		if i%2 == 0 {
			blob = digest.FromBytes(data).Encoded()
		}
		link := filepath.Join(cache, "snapshots", "main", name)
		for _, d := range []string{filepath.Dir(link), filepath.Join(cache, "blobs")} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(cache, "blobs", blob), data, 0o644); err != nil {
			t.Fatal(err)
		}
		up := strings.Repeat("../", 2+strings.Count(name, "/"))
		if err := os.Symlink(up+"blobs/"+blob, link); err != nil {
			t.Fatal(err)
		}
	}
	want := plain.write(t)
	_, plainRes := pushLayout(t, want, nil)
	ref, res := pushLayout(t, filepath.Join(cache, "snapshots", "main"), nil)
	sameFiles(t, want, pullNew(t, ref, nil))
	if res.Digest != plainRes.Digest {
		t.Error("a model in the cache has another digest than the same files elsewhere")
	}

	// Who made the blob a link does not get to choose the file that is pushed.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	blob := strings.Repeat("a", 40)
	err := errors.Join(os.Symlink(secret, filepath.Join(cache, "blobs", blob)),
		os.Symlink("../../blobs/"+blob, filepath.Join(cache, "snapshots", "main", "innocent.json")))
	if err != nil {
		t.Fatal(err)
	}
	other := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	if _, err := Push(t.Context(), other, filepath.Join(cache, "snapshots", "main"), nil); err == nil {
		t.Error("a link to a link out of the cache was followed")
	}
	notTagged(t, other)
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
