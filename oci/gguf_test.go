package oci

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-bsm/oras-bsm/codec/gguf"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// ggmlTypes are the ids of all types that the parser knows, and of one that
// nobody does.
var ggmlTypes = map[string]uint32{
	"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q8_1": 9,
	"Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "Q8_K": 15,
	"IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18, "IQ1_S": 19, "IQ4_NL": 20, "IQ3_S": 21, "IQ2_S": 22, "IQ4_XS": 23,
	"I8": 24, "I16": 25, "I32": 26, "I64": 27, "F64": 28, "IQ1_M": 29, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35,
	"MXFP4": 39, "NVFP4": 40, "GGML_99": 99,
}

// ggufFile returns a GGUF file of version 3 with an architecture and a small
// vocabulary.
func ggufFile(tensors ...tensorData) []byte {
	le := binary.LittleEndian
	str := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	const alignment = 32
	pad := func(b []byte) []byte { return append(b, make([]byte, -len(b)&(alignment-1))...) }

	b := append([]byte(gguf.Magic), 3, 0, 0, 0)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, 2)
	b = str(le.AppendUint32(str(b, "general.architecture"), 8), "llama")
	b = le.AppendUint32(le.AppendUint32(str(b, "tokenizer.ggml.tokens"), 9), 8)
	b = le.AppendUint64(b, 1000)
	for i := range 1000 {
		b = str(b, fmt.Sprint("token", i))
	}
	var data []byte
	for _, x := range tensors {
		b = le.AppendUint32(str(b, x.name), uint32(len(x.shape)))
		for _, d := range slices.Backward(x.shape) {
			b = le.AppendUint64(b, uint64(d))
		}
		b = le.AppendUint64(le.AppendUint32(b, ggmlTypes[x.dtype]), uint64(len(data)))
		data = pad(append(data, x.data...))
	}
	return append(pad(b), data...)
}

// blocksOf returns a tensor of rows of blocks of noise.
func blocksOf(name, typ string, rows, blocks int, seed uint64) tensorData {
	size, elements, ok := gguf.Block(typ)
	if !ok {
		size, elements = 1, 1
	}
	return tensorData{name, typ, []int64{int64(rows), int64(blocks * elements)}, noise(rows*blocks*size, seed)}
}

// ggufBlock are the tensors of one block: large, small, and such as need padding.
func ggufBlock(number int) []tensorData {
	name := func(s string) string { return fmt.Sprintf("blk.%d.%s.weight", number, s) }
	seed := uint64(number)*16 + 3000
	return []tensorData{
		weight(name("attn_norm"), "F32", 257, seed),
		blocksOf(name("attn_q"), "Q4_K", 40, 16, seed+1),
		blocksOf(name("attn_v"), "Q6_K", 5, 1, seed+2),
		blocksOf(name("ffn_down"), "Q8_0", 64, 40, seed+3),
		blocksOf(name("ffn_up"), "Q4_0", 33, 3, seed+4),
		blocksOf(name("ffn_gate"), "GGML_99", 31, 3, seed+5), // padding and all
		weight(name("ffn_norm"), "BF16", 70_001, seed+6),
	}
}

// ggufModels are models in GGUF that must come back as they were.
func ggufModels(t testing.TB) map[string]modelFiles {
	embed := blocksOf("token_embd.weight", "Q6_K", 40, 10, 1)
	tied := embed
	tied.name = "output.weight"
	var every []tensorData
	for i, typ := range slices.Sorted(maps.Keys(ggmlTypes)) {
		for _, rows := range []int{1, 700} {
			every = append(every, blocksOf(fmt.Sprintf("blk.%d.%s.%d", i%3, typ, rows), typ, rows, 3, uint64(i)))
		}
	}
	nothing := tensorData{"blk.0.none", "Q4_0", []int64{0, 32}, nil}
	return map[string]modelFiles{
		"gguf": {
			"model-Q4_K_M.gguf": ggufFile(slices.Concat([]tensorData{embed}, ggufBlock(0), ggufBlock(1), []tensorData{tied})...),
			"tokenizer.json":    []byte("{}"),
			// Ollama names its files by their digests.
			"blobs/sha256-6a0746a1ec1aef3e7ec53868f220ff6e389f6f8ef87a01d77c96807de94ca2aa": ggufFile(ggufBlock(7)...),
			"embed.bin": embed.data, // the bytes of a tensor, but none
		},
		"gguf in shards": {
			"m-00001-of-00002.gguf": ggufFile(append([]tensorData{embed}, ggufBlock(0)[:3]...)...),
			"m-00002-of-00002.gguf": ggufFile(append(ggufBlock(0)[3:], ggufBlock(1)...)...),
			"m.safetensors":         tensorFile(t, blockTensors("model.layers", 0, 60)...),
		},
		"gguf of every type": {"model.GGUF": ggufFile(every...)},
		// Blocks of 210 and 34 bytes do not divide what is read at a time.
		"gguf of several chunks": {"big.gguf": ggufFile(
			blocksOf("blk.0.ffn_up.weight", "Q6_K", 100, 460, 9), blocksOf("blk.0.ffn_down.weight", "Q8_0", 401, 700, 10))},
		"gguf of nothing": {
			"no-tensors.gguf":   ggufFile(),
			"unpadded.gguf":     []byte("GGUF\x02\x00\x00\x00" + strings.Repeat("\x00", 16)),
			"empty-tensor.gguf": ggufFile(nothing),
			"gaps.gguf":         append(ggufFile(nothing, blocksOf("a", "I8", 1, 1, 1)), noise(100_000, 8)...),
		},
	}
}

// Every tensor is listed as what it is, of its block, with its own hash.
func TestGGUF(t *testing.T) {
	files := ggufModels(t)["gguf"]
	var warnings []string
	ref, res := pushLayout(t, files.write(t), &PushOptions{Options: Options{Warn: func(s string) { warnings = append(warnings, s) }}})
	if len(warnings) > 0 || res.Blocks != 3 {
		t.Errorf("%d blocks, want 3; warnings %q", res.Blocks, warnings)
	}
	r := report(t, ref)
	for _, f := range r.Files {
		want := ""
		if bytes.HasPrefix(files[f.Path], []byte(gguf.Magic)) {
			want = mediatypes.FormatGGUF
		}
		if f.Format != want {
			t.Errorf("%s is of format %q, want %q", f.Path, f.Format, want)
		}
	}
	if want := 2 + 3*len(ggufBlock(0)); len(r.Tensors) != want {
		t.Errorf("%d tensors, want %d", len(r.Tensors), want)
	}
	for _, want := range ggufBlock(1) {
		x := tensorReport(t, r, "model-Q4_K_M.gguf", want.name)
		data := want.data
		if want.dtype == "GGML_99" {
			data = append(data, make([]byte, -len(data)&31)...)
		}
		if x.Dtype != want.dtype || !slices.Equal(x.Shape, want.shape) || x.MD5 != fmt.Sprintf("%x", md5.Sum(data)) {
			t.Errorf("%s is %+v", want.name, x)
		}
		if l := r.Layers[x.Segments[0].Layer]; l.Block == nil || *l.Block != 1 || l.Stack != "blk" {
			t.Errorf("%s is in layer %+v", want.name, l)
		}
	}
	// The embedding is stored once. The opaque file that happens to hold the
	// same bytes is no tensor, and nothing is shared with it.
	if x := tensorReport(t, r, "model-Q4_K_M.gguf", "output.weight"); x.SharedWith == nil || *x.SharedWith != "token_embd.weight" {
		t.Errorf("output.weight is shared with %v", x.SharedWith)
	}
	if x := tensorReport(t, r, "model-Q4_K_M.gguf", "token_embd.weight"); x.SharedWith != nil {
		t.Errorf("token_embd.weight is shared with %v", *x.SharedWith)
	}
}

// An MD5 that is not that of a GGUF tensor is found by verify and by pull, and
// both say of which tensor.
func TestGGUFWrongMD5(t *testing.T) {
	ref, _ := pushLayout(t, ggufModels(t)["gguf"].write(t), nil)
	f := takeApart(t, ref)
	i := slices.IndexFunc(f.index.Tensors, func(x mediatypes.Tensor) bool { return x.Name == "blk.1.ffn_up.weight" })
	f.index.Tensors[i].MD5 = strings.Repeat("2", 32)
	forged := f.write()
	const object = `tensor "blk.1.ffn_up.weight" of "model-Q4_K_M.gguf"`
	if _, err := Verify(t.Context(), forged, nil); err == nil || !strings.Contains(err.Error(), object) {
		t.Errorf("verify: %v", err)
	}
	if _, err := Pull(t.Context(), forged, t.TempDir()+"/out", &PullOptions{Verify: true}); err == nil || !strings.Contains(err.Error(), object) {
		t.Errorf("pull: %v", err)
	}
}

// badGGUF are files that the strict parser refuses: one of each kind, as the
// parser's own tests have the rest.
func badGGUF() map[string][]byte {
	good := ggufFile(blocksOf("w", "Q8_0", 2, 4, 1))
	at := func(offset int, b ...byte) []byte {
		bad := bytes.Clone(good)
		copy(bad[offset:], b)
		return bad
	}
	most := bytes.Repeat([]byte{0xff}, 8)
	return map[string][]byte{
		"27 magic":           at(0, 'G', 'G', 'M', 'L'),
		"27 magic alone":     []byte(gguf.Magic),
		"27 version 1":       at(4, 1),
		"27 big-endian":      at(4, 0, 0, 0, 3),
		"28 n_tensors":       at(8, most...),
		"28 n_kv":            at(16, most...),
		"29 key past end":    at(24, 0, 0, 1),
		"29 key 2^64-1":      at(24, most...),
		"34 truncated":       good[:len(good)-17],
		"34 header cut":      good[:200],
		"30 array of arrays": bytes.Replace(good, []byte("tokens\x09\x00\x00\x00\x08"), []byte("tokens\x09\x00\x00\x00\x09"), 1),
		"33 twin":            bytes.Replace(ggufFile(blocksOf("v", "I8", 1, 1, 1), blocksOf("w", "I8", 1, 1, 1)), []byte("v\x02\x00\x00\x00"), []byte("w\x02\x00\x00\x00"), 1),
		"36 no dimensions":   ggufFile(tensorData{"w", "F32", nil, make([]byte, 4)}),
		"36 dimensions":      ggufFile(tensorData{"w", "I8", []int64{1, 1, 1, 1, 1}, []byte{1}}),
		"no GGUF":            []byte("this is no GGUF file at all"),
		"empty":              {},
		"25 lfs pointer":     []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"),
	}
}

func TestBadGGUF(t *testing.T) {
	files := modelFiles{"good.gguf": ggufFile(blocksOf("w", "Q8_0", 2, 4, 1))}
	bad := badGGUF()
	for name, data := range bad {
		files["sub/"+name+".gguf"] = data
	}
	dir := files.write(t)
	warned := map[string]string{}
	ref, _ := pushLayout(t, dir, &PushOptions{Options: Options{Warn: func(msg string) {
		name, why, _ := strings.Cut(msg, " is stored as opaque bytes: ")
		warned[name] = why
	}}})
	for name := range bad {
		why := warned["sub/"+name+".gguf"]
		if lfs := strings.Contains(why, "Git LFS pointer"); why == "" || lfs != (name == "25 lfs pointer") {
			t.Errorf("%q: %q", name, why)
		}
	}
	if len(warned) != len(bad) {
		t.Errorf("%d warnings, want %d: %v", len(warned), len(bad), warned)
	}
	r := report(t, ref)
	for _, f := range r.Files {
		if (f.Format != "") != (f.Path == "good.gguf") {
			t.Errorf("%s is of format %q", f.Path, f.Format)
		}
	}
	if len(r.Tensors) != 1 {
		t.Errorf("%d tensors", len(r.Tensors))
	}
	sameFiles(t, dir, pullNew(t, ref, &PullOptions{Verify: true}))
}

// The parser of the files and the parser of the index agree on every type of
// which the blocks are known.
func TestBlocksAgree(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for typ := range ggmlTypes {
		size, elements, ok := gguf.Block(typ)
		if !ok {
			continue
		}
		for _, extra := range []int64{0, 1, int64(size)} {
			length := 6*int64(size) + extra
			x := &mediatypes.Index{
				Level:   "default",
				Layers:  []mediatypes.Layer{{Digest: digest.FromString(""), MediaType: mediatypes.BlockLayer, Encoded: 50, Decoded: length, Chunks: 1, Prologue: sum}},
				Files:   []mediatypes.File{{Path: "m.gguf", Size: length, Mode: 0o644, SHA256: sum, Format: mediatypes.FormatGGUF, Segments: []mediatypes.Segment{{Length: length}}}},
				Tensors: []mediatypes.Tensor{{Name: "t", Dtype: typ, Shape: []int64{3, 2 * int64(elements)}, Length: length, MD5: sum[:32], SHA256: sum}},
			}
			_, err := mediatypes.MarshalIndex(x, [][]mediatypes.Chunk{{{Offset: 20, Encoded: 30, Decoded: int(length)}}})
			if (err == nil) != (extra == 0) {
				t.Errorf("%s of %d bytes: %v", typ, length, err)
			}
		}
	}
}

// What lies around the tensors is cut so that the pieces tile the file.
func TestCutGGUF(t *testing.T) {
	for name, files := range ggufModels(t) {
		dir := files.write(t)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		ins, err := scan(root, dir, func(s string) { t.Error(s) })
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range ins {
			at := int64(0)
			for _, p := range in.pieces {
				if p.offset != at || p.length < 0 || p.length == 0 && p.tensor == nil {
					t.Errorf("%s: %s: piece of %d bytes at %d, want it at %d", name, in.path, p.length, p.offset, at)
				}
				if p.tensor != nil && (p.tensor.Offset != p.offset || p.tensor.Length != p.length) {
					t.Errorf("%s: %s: tensor %+v in a piece of %d bytes at %d", name, in.path, p.tensor, p.length, p.offset)
				}
				at += p.length
			}
			if at != in.size {
				t.Errorf("%s: %s: pieces end at %d of %d", name, in.path, at, in.size)
			}
		}
	}
}
