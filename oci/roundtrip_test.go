package oci

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

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

	models := map[string]modelFiles{
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
	maps.Copy(models, ggufModels(t))
	return models
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
	t.Parallel()
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

// A model as the generator of the end-to-end tests makes it.
func TestGeneratedModel(t *testing.T) {
	t.Parallel()
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
