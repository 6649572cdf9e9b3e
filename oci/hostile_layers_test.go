package oci

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// hostileLayers are artifacts whose layers are forged.
var hostileLayers = []hostile{
	{"chunk of other bytes", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].table = func(c []mediatypes.Chunk) { c[bigChunk].SHA256[0] ^= 1 }
	}},
	{"chunks swapped in the layer", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].table = func(c []mediatypes.Chunk) {
			c[bigChunk].SHA256, c[bigChunk2].SHA256 = c[bigChunk2].SHA256, c[bigChunk].SHA256
		}
	}},
	{"chunks swapped in layer and index", byVerify, `tensor "model.layers.0.`, nil, func(t testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk], l.chunks[bigChunk2] = l.chunks[bigChunk2], l.chunks[bigChunk]
	}},
	{"chunk repeated", byVerify, `tensor "model.layers.0.`, nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].chunks[bigChunk2] = f.layers[block0].chunks[bigChunk]
	}},
	{"chunk of another layer", byVerify, `tensor "model.layers.0.`, nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].chunks[bigChunk] = f.layers[block1].chunks[bigChunk]
	}},
	{"chunk of an opaque file swapped", byPull, "merges.txt", nil, func(_ testing.TB, f *forgery) {
		l := &f.layers[filesLayer]
		c := bytes.Clone(bytes.Repeat([]byte("h t\n"), 1<<18))
		out, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, c, codec.Geometry{})
		if err != nil {
			panic(err)
		}
		l.chunks[1] = out
	}},
	{"wrong xxh3", byPull, "decoding layer 0", nil, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = resign(l.chunks[bigChunk], func(h []byte) { h[12] ^= 1 })
	}},
	{"wrong check sum of the header", byPull, "decoding layer 0", nil, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = bytes.Clone(l.chunks[bigChunk])
		l.chunks[bigChunk][20] ^= 1
	}},
	{"payload with a flipped bit", byPull, "decoding layer 0", nil, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = bytes.Clone(l.chunks[bigChunk])
		l.chunks[bigChunk][500] ^= 4
	}},
	{"unknown method", byPull, "layer 0", codec.ErrUnsupported, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = resign(l.chunks[bigChunk], func(h []byte) { h[0] = 99 })
	}},
	{"difference from a base", byPull, "layer 0", codec.ErrUnsupported, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = resign(l.chunks[bigChunk], func(h []byte) { h[2] = 1 })
	}},
	{"trailer in the place of a chunk", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = resign(l.chunks[bigChunk], func(h []byte) { h[0] = 255 })
	}},
	{"payload size beyond the chunk", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		l := &f.layers[block0]
		l.chunks[bigChunk] = resign(l.chunks[bigChunk], func(h []byte) { binary.LittleEndian.PutUint32(h[4:], 131_000) })
	}},
	{"decoded size in index and chunk differ", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].table = func(c []mediatypes.Chunk) { c[bigChunk].Decoded -= 2; c[bigChunk2].Decoded += 2 }
	}},
	{"magic of the layer", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].prologue = append([]byte("\x1f\x8b"), f.layers[block0].prologue[2:]...)
	}},
	{"newer version of the layer", byPull, "layer 0", codec.ErrUnsupported, func(_ testing.TB, f *forgery) {
		p := bytes.Clone(f.layers[block0].prologue)
		p[8] = 77
		binary.LittleEndian.PutUint64(p[len(p)-8:], xxh3.Hash(p[:len(p)-8]))
		f.layers[block0].prologue = p
	}},
	{"wrong hash of the prologue", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		p := bytes.Clone(f.layers[block0].prologue)
		p[len(p)-1] ^= 1
		f.layers[block0].prologue = p
	}},
	{"bytes between prologue and chunk", byPull, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].prologue = append(bytes.Clone(f.layers[block0].prologue), "hidden"...)
	}},
	{"huge prologue", byPull, "prologue of", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].prologue = append(bytes.Clone(f.layers[block0].prologue), make([]byte, codec.MaxPrologue)...)
	}},
	{"trailer of another layer", byWhole, "layer 0", nil, func(_ testing.TB, f *forgery) {
		blob, table := f.layers[block1].assemble()
		end := table[len(table)-1].Offset + int64(table[len(table)-1].Encoded)
		f.layers[block0].trailer = blob[end:]
	}},
	{"trailer with a wrong hash", byWhole, "layer 0", nil, func(_ testing.TB, f *forgery) {
		blob, table := f.layers[block0].assemble()
		end := table[len(table)-1].Offset + int64(table[len(table)-1].Encoded)
		f.layers[block0].trailer = bytes.Clone(blob[end:])
		f.layers[block0].trailer[30] ^= 1
	}},
	{"bytes after the trailer", byWhole, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].edit = func(b []byte) []byte { return append(b, "PK\x03\x04"...) }
	}},
	{"layer under another digest", byWhole, "its digest is", nil, func(t testing.TB, f *forgery) {
		f.redigest(t, block1, func([]byte) digest.Digest { return digest.FromString("other") })
	}},
	{"no trailer", byWhole, "layer 0", nil, func(_ testing.TB, f *forgery) { f.layers[block0].trailer = []byte{} }},
	{"missing chunk", byOpen, "index document", nil, func(t testing.TB, f *forgery) {
		// The index counts one chunk more than its table has.
		f.editDoc = func(doc []byte) []byte { return sameLength(t, doc, `"chunks":4`, `"chunks":5`) }
	}},
	{"layer shorter than the index says", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["layers"].([]any)[0] = shorter(m["layers"].([]any)[0]) }
	}},
	{"chunks used beyond reason", byPull, "more than", nil, func(t testing.TB, f *forgery) { manyUses(t, f, 4096, 2000) }},
}

// shorter returns a layer's descriptor with a smaller size.
func shorter(v any) map[string]any {
	d := maps.Clone(v.(map[string]any))
	d["size"] = d["size"].(int) - 1
	return d
}

// manyUses adds a file of tensors that is times times the same n chunks of one
// byte.
func manyUses(t testing.TB, f *forgery, n, times int) {
	chunk, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, []byte{7}, codec.Geometry{})
	if err != nil {
		t.Fatal(err)
	}
	f.addLayer(forgedLayer{chunks: slices.Repeat([][]byte{chunk}, n)})
	file, size, sum := len(f.index.Files), int64(n)*int64(times), strings.Repeat("0", 64)
	x := mediatypes.File{Path: "z.safetensors", Format: "safetensors", Size: size, Mode: 0o644, SHA256: sum}
	for range times {
		x.Segments = append(x.Segments, mediatypes.Segment{Layer: len(f.layers) - 1, Length: int64(n)})
	}
	f.index.Files = append(f.index.Files, x)
	const tensors = 16
	for i := range int64(tensors) {
		f.index.Tensors = append(f.index.Tensors, mediatypes.Tensor{
			Name: fmt.Sprint("t", i), Dtype: "U8", Shape: []int64{size / tensors}, File: file,
			Offset: i * (size / tensors), Length: size / tensors, MD5: sum[:32], SHA256: sum,
		})
	}
}
