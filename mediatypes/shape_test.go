package mediatypes

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// A shape describes a model without its weights.
type shape struct {
	blocks   int
	tensors  func(block int) []shapeTensor // of one block
	loose    []shapeTensor                 // of no block
	shards   int
	layerCap int64 // most decoded bytes of a layer
	chunk    int   // decoded bytes of a full chunk
}

type shapeTensor struct {
	name  string
	dtype string
	shape []int64
	size  int64
}

func bf16(name string, dims ...int64) shapeTensor {
	return shapeTensor{name, "BF16", dims, 2 * product(dims)}
}

func product(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

// shape70B is a dense model: 80 blocks, 723 tensors, 30 shards, 141 GB.
func shape70B() shape {
	const hidden, ffn, kv, vocab = 8192, 28672, 1024, 128256
	return shape{
		blocks: 80,
		tensors: func(b int) []shapeTensor {
			p := fmt.Sprintf("model.layers.%d.", b)
			return []shapeTensor{
				bf16(p+"input_layernorm.weight", hidden),
				bf16(p+"mlp.down_proj.weight", hidden, ffn),
				bf16(p+"mlp.gate_proj.weight", ffn, hidden),
				bf16(p+"mlp.up_proj.weight", ffn, hidden),
				bf16(p+"post_attention_layernorm.weight", hidden),
				bf16(p+"self_attn.k_proj.weight", kv, hidden),
				bf16(p+"self_attn.o_proj.weight", hidden, hidden),
				bf16(p+"self_attn.q_proj.weight", hidden, hidden),
				bf16(p+"self_attn.v_proj.weight", kv, hidden),
			}
		},
		loose: []shapeTensor{
			bf16("model.embed_tokens.weight", vocab, hidden),
			bf16("model.norm.weight", hidden),
			bf16("lm_head.weight", vocab, hidden),
		},
		shards: 30, layerCap: 3 << 30, chunk: 2 << 20,
	}
}

// shapeMoE is a mixture of experts: 61 blocks of 256 experts, 94k tensors, 160
// shards, 801 GB.
func shapeMoE() shape {
	const hidden, ffn, experts, vocab = 7168, 2392, 256, 129280
	return shape{
		blocks: 61,
		tensors: func(b int) []shapeTensor {
			p := fmt.Sprintf("model.layers.%d.", b)
			var list []shapeTensor
			for e := range experts {
				for _, proj := range []string{"down_proj", "gate_proj", "up_proj"} {
					q := fmt.Sprintf("%smlp.experts.%d.%s.", p, e, proj)
					list = append(list,
						shapeTensor{q + "weight", "F8_E4M3", []int64{ffn, hidden}, ffn * hidden},
						shapeTensor{q + "weight_scale_inv", "F32", []int64{19, 56}, 19 * 56 * 4})
				}
			}
			return append(list, bf16(p+"input_layernorm.weight", hidden), bf16(p+"self_attn.o_proj.weight", hidden, 16384))
		},
		loose: []shapeTensor{
			bf16("model.embed_tokens.weight", vocab, hidden),
			bf16("model.norm.weight", hidden),
			bf16("lm_head.weight", vocab, hidden),
		},
		shards: 160, layerCap: 2 << 30, chunk: 2 << 20,
	}
}

// build lays the tensors out in shards and in layers, as push does: the index
// of a model of this shape, and its chunks.
func (s shape) build() (*Index, [][]Chunk) {
	x := &Index{Version: IndexVersion, Level: "default", Layers: []Layer{}, Files: []File{}, Tensors: []Tensor{}}
	type placed struct {
		shapeTensor
		block int // -1: none
	}
	all := []placed{}
	for _, t := range s.loose {
		all = append(all, placed{t, -1})
	}
	for b := range s.blocks {
		for _, t := range s.tensors(b) {
			all = append(all, placed{t, b})
		}
	}
	var total int64
	for _, t := range all {
		total += t.size
	}

	current := map[int]int{} // the open layer of each block
	headers := []Segment{}
	file := -1
	for _, t := range all {
		if file < 0 || x.Files[file].Size >= total/int64(s.shards) && file < s.shards-1 {
			file++
			x.Files = append(x.Files, File{
				Path: fmt.Sprintf("model-%05d-of-%05d.safetensors", file+1, s.shards),
				Mode: 0o644, SHA256: testHash(file), Format: "safetensors", Size: 40 << 10,
			})
			headers = append(headers, Segment{0, int64(file) * 40 << 10, 40 << 10})
		}
		l, open := current[t.block]
		if !open || x.Layers[l].Decoded+t.size > s.layerCap {
			l = len(x.Layers)
			current[t.block] = l
			layer := Layer{MediaType: BlockLayer}
			if t.block >= 0 {
				layer.Stack, layer.Block = "model.layers", new(int)
				*layer.Block = t.block
			}
			x.Layers = append(x.Layers, layer)
		}
		f := &x.Files[file]
		sum := md5.Sum([]byte(t.name))
		x.Tensors = append(x.Tensors, Tensor{
			Name: t.name, Dtype: t.dtype, Shape: t.shape, File: file, Offset: f.Size, Length: t.size,
			MD5: hex.EncodeToString(sum[:]), SHA256: testHash(t.name),
		})
		if n := len(f.Segments); n > 0 && f.Segments[n-1].Layer == l {
			f.Segments[n-1].Length += t.size
		} else {
			f.Segments = append(f.Segments, Segment{l, x.Layers[l].Decoded, t.size})
		}
		f.Size += t.size
		x.Layers[l].Decoded += t.size
	}

	// The headers of the shards are in the layer of files, which comes last.
	x.Layers = append(x.Layers, Layer{MediaType: FilesLayer, Decoded: int64(len(headers)) * 40 << 10})
	for i := range x.Files {
		headers[i].Layer = len(x.Layers) - 1
		x.Files[i].Segments = slices.Insert(x.Files[i].Segments, 0, headers[i])
	}
	chunks := make([][]Chunk, len(x.Layers))
	for i := range x.Layers {
		chunks[i] = x.Layers[i].cut(i, s.chunk)
	}
	return x, chunks
}

// cut fills in what depends on the chunks, all of size bytes but the last, and
// returns them.
func (l *Layer) cut(number, size int) []Chunk {
	var chunks []Chunk
	at, done := int64(64), int64(0)
	for done < l.Decoded {
		c := Chunk{Offset: at, Decoded: int(min(int64(size), l.Decoded-done)), DecodedOffset: done}
		c.Encoded = c.Decoded*2/3 + 32
		c.SHA256 = sha256.Sum256(fmt.Append(nil, number, len(chunks)))
		chunks = append(chunks, c)
		at += int64(c.Encoded)
		done += int64(c.Decoded)
	}
	l.Encoded, l.Chunks = at+32, len(chunks)
	l.Digest = digest.FromString(fmt.Sprint("layer ", number))
	l.Prologue = testHash(fmt.Sprint("prologue ", number))
	return chunks
}

// testHash is some SHA-256, in hex.
func testHash(v any) string {
	sum := sha256.Sum256(fmt.Append(nil, v))
	return hex.EncodeToString(sum[:])
}

// smallModel has everything an index can say, in little space: two blocks, a
// shared tensor, a scalar, an empty tensor and file, and an opaque file.
func smallModel() (*Index, [][]Chunk) {
	zero, one, shared := 0, 1, 0
	tensor := func(name, content string, file int, offset, length int64, dims ...int64) Tensor {
		sum := md5.Sum([]byte(content))
		if dims == nil {
			dims = []int64{}
		}
		return Tensor{
			Name: name, Dtype: "BF16", Shape: dims, File: file, Offset: offset, Length: length,
			MD5: hex.EncodeToString(sum[:]), SHA256: testHash(content),
		}
	}
	x := &Index{
		Version: IndexVersion, Level: "max",
		Layers: []Layer{
			{MediaType: BlockLayer, Decoded: 24, Stack: "model.layers", Block: &zero},
			{MediaType: BlockLayer, Decoded: 6, Stack: "model.layers", Block: &one},
			{MediaType: FilesLayer, Decoded: 30},
		},
		Files: []File{
			{Path: "model-00001-of-00002.safetensors", Size: 34, Mode: 0o644, SHA256: testHash(0), Format: "safetensors", Segments: []Segment{{2, 0, 10}, {0, 0, 24}}},
			{Path: "model-00002-of-00002.safetensors", Size: 40, Mode: 0o644, SHA256: testHash(1), Format: "safetensors", Segments: []Segment{{2, 10, 10}, {0, 0, 24}, {1, 0, 6}}},
			{Path: "bin/start.sh", Size: 10, Mode: 0o755, SHA256: testHash(2), Segments: []Segment{{2, 20, 10}}},
			{Path: "bin/nothing", Size: 0, Mode: 0o644, SHA256: testHash(""), Segments: []Segment{}},
		},
		Tensors: []Tensor{
			tensor("model.layers.0.weight", "a", 0, 10, 24, 3, 4),
			tensor("model.layers.0.none", "", 0, 34, 0, 0, 4),
			tensor("model.layers.1.twin", "a", 1, 10, 24, 12),
			tensor("model.layers.1.\x1b[31m\u202escalar", "b", 1, 34, 2),
			tensor("model.layers.1.bias", "c", 1, 36, 4, 2),
		},
	}
	x.Tensors[2].SharedWith = &shared
	chunks := make([][]Chunk, len(x.Layers))
	for i := range x.Layers {
		chunks[i] = x.Layers[i].cut(i, 16)
	}
	return x, chunks
}

// ggufModel is one GGUF file: tensors of two types with padding between them,
// and one of a type that is not known.
func ggufModel() (*Index, [][]Chunk) {
	zero := 0
	tensor := func(name, dtype string, offset, length int64, dims ...int64) Tensor {
		sum := md5.Sum([]byte(name))
		return Tensor{
			Name: name, Dtype: dtype, Shape: dims, Offset: offset, Length: length,
			MD5: hex.EncodeToString(sum[:]), SHA256: testHash(name),
		}
	}
	x := &Index{
		Version: IndexVersion, Level: "default",
		Layers: []Layer{
			{MediaType: BlockLayer, Decoded: 34 + 18 + 7, Stack: "blk", Block: &zero},
			{MediaType: FilesLayer, Decoded: 64 + 30 + 14},
		},
		Files: []File{{
			Path: "model.gguf", Size: 167, Mode: 0o644, SHA256: testHash(0), Format: FormatGGUF,
			Segments: []Segment{{1, 0, 64}, {0, 0, 34}, {1, 64, 30}, {0, 34, 18}, {1, 94, 14}, {0, 52, 7}},
		}},
		Tensors: []Tensor{
			tensor("blk.0.ffn_up.weight", "Q8_0", 64, 34, 1, 32),
			tensor("blk.0.ffn_down.weight", "Q4_0", 128, 18, 32),
			tensor("blk.0.new", "GGML_99", 160, 7, 5),
		},
	}
	chunks := make([][]Chunk, len(x.Layers))
	for i := range x.Layers {
		chunks[i] = x.Layers[i].cut(i, 16)
	}
	return x, chunks
}
