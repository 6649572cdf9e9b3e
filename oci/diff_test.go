package oci

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDiffSame compares a model with itself.
func TestDiffSame(t *testing.T) {
	ref, _ := pushLayout(t, smallModel(t).write(t), nil)
	r, err := Diff(t.Context(), ref, ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Files.Same != 6 || len(r.Files.Added)+len(r.Files.Removed)+len(r.Files.Changed) != 0 ||
		r.Tensors.Same != 10 || len(r.Tensors.Added)+len(r.Tensors.Removed)+len(r.Tensors.Changed) != 0 || r.Fetch != (FetchSize{}) {
		t.Errorf("%+v", r)
	}
	for i, l := range r.Layers {
		if !l.Same {
			t.Errorf("layer %d differs from itself", i)
		}
	}
}

// TestDiff compares a model with a fine-tune of it: one block has other weights, a
// tensor another dtype, one is new, one gone, and a file each.
func TestDiff(t *testing.T) {
	base := forgedModel(t)
	tuned := maps.Clone(base)
	delete(tuned, "dir/merges.txt")
	tuned["new.json"] = []byte(`{"new":true}`)
	var tensors []tensorData
	for i := range 2 {
		for _, x := range []struct {
			name, dtype string
			n           int
			seed        uint64
		}{{"norm", "BF16", 300, 0}, {"up", "BF16", 65_536, 10}, {"down", "BF16", 65_536, 20}, {"scale", "F32", 300, 30}} {
			w := weight("model.layers."+string(rune('0'+i))+"."+x.name+".weight", x.dtype, x.n, x.seed+uint64(i))
			switch {
			case i == 1 && x.name == "up":
				w = weight(w.name, "BF16", x.n, 99)
			case i == 1 && x.name == "scale":
				w = weight(w.name, "F16", x.n, 98)
			case i == 1 && x.name == "norm":
				w.name = "model.layers.1.other.weight"
			}
			tensors = append(tensors, w)
		}
	}
	tuned["model.safetensors"] = tensorFile(t, tensors...)

	a, _ := pushLayout(t, base.write(t), nil)
	b, _ := pushLayout(t, tuned.write(t), nil)
	r, err := Diff(t.Context(), a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(FileDiff{Same: 1, Added: []string{"new.json"}, Removed: []string{"dir/merges.txt"}, Changed: []string{"model.safetensors"}}, r.Files); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	const file = "model.safetensors"
	want := TensorDiff{
		Same:    5,
		Added:   []TensorRef{{"model.layers.1.other.weight", file, "BF16", []int64{300}, 600}},
		Removed: []TensorRef{{"model.layers.1.norm.weight", file, "BF16", []int64{300}, 600}},
		Changed: []TensorChange{
			{TensorRef{"model.layers.1.up.weight", file, "BF16", []int64{65_536}, 131_072}, "BF16", []int64{65_536}, false},
			{TensorRef{"model.layers.1.scale.weight", file, "F16", []int64{300}, 600}, "F32", []int64{300}, false},
		},
	}
	if d := cmp.Diff(want, r.Tensors); d != "" {
		t.Errorf("tensors (-want +got):\n%s", d)
	}
	same := []bool{}
	var differ int64
	for _, l := range r.Layers {
		same = append(same, l.Same)
		if !l.Same {
			differ += l.Encoded
		}
	}
	if !cmp.Equal(same, []bool{true, false, false, false}) {
		t.Errorf("same layers: %v", same)
	}
	if r.Fetch.Layers != differ {
		t.Errorf("in layers %d bytes, want %d", r.Fetch.Layers, differ)
	}

	// What is needed are the chunks of the new weights, the files and the index: not
	// those of down, and of other, which has the bytes that norm had.
	art := openArtifact(t, b)
	chunks, err := art.Index.ChunkTable(1)
	if err != nil {
		t.Fatal(err)
	}
	overhead := int64(0)
	for i := 1; i < 3; i++ {
		table, err := art.Index.ChunkTable(i)
		if err != nil {
			t.Fatal(err)
		}
		overhead += art.Layers[i].Size
		for _, c := range table {
			overhead -= int64(c.Encoded)
		}
	}
	down, other := int64(chunks[len(chunks)-1].Encoded), int64(chunks[0].Encoded)
	if want := differ - overhead - down - other; r.Fetch.Tensors != want {
		t.Errorf("in chunks %d bytes, want %d (of %d)", r.Fetch.Tensors, want, differ)
	}
}

// TestDiffShards proves that to cut a model into other shards changes no tensor,
// and that one tensor in two components is not confused.
func TestDiffShards(t *testing.T) {
	x, y := weight("a.weight", "BF16", 1000, 1), weight("b.weight", "BF16", 1000, 2)
	one, _ := pushLayout(t, modelFiles{"model.safetensors": tensorFile(t, x, y), "vae/model.safetensors": tensorFile(t, x)}.write(t), nil)
	two, _ := pushLayout(t, modelFiles{
		"model-00001-of-00002.safetensors": tensorFile(t, x), "model-00002-of-00002.safetensors": tensorFile(t, y),
		"vae/model.safetensors": tensorFile(t, weight("a.weight", "BF16", 1000, 3)),
	}.write(t), nil)
	r, err := Diff(t.Context(), one, two, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tensors.Same != 2 || len(r.Tensors.Changed) != 1 || r.Tensors.Changed[0].File != "vae/model.safetensors" || len(r.Tensors.Added)+len(r.Tensors.Removed) != 0 {
		t.Errorf("%+v", r.Tensors)
	}
}

// TestDiffNoModel compares with what is none.
func TestDiffNoModel(t *testing.T) {
	ref, _ := pushLayout(t, smallModel(t).write(t), nil)
	dir, _, _ := twoModels(t)
	for _, other := range []string{"oci:" + dir + ":v1", "oci:" + dir + ":v9"} {
		if _, err := Diff(t.Context(), ref, parseRef(t, other), nil); err == nil {
			t.Errorf("%s: no error", other)
		}
	}
}
