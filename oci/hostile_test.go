package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A forgery is an artifact that was taken apart. Its parts are changed, then
// write signs what is left to sign, so that all digests but the forged ones are
// right.
type forgery struct {
	t      testing.TB
	index  *mediatypes.Index
	layers []forgedLayer

	editDoc      func(doc []byte) []byte                     // the index document, last
	editIndex    func(blob []byte) []byte                    // the index layer
	editManifest func(platform int, m map[string]any)        // before it is digested
	editConfig   func(platform int, c map[string]any)        // before it is digested
	editImage    func(x map[string]any)                      // the image index
	editLayout   func(blobs map[digest.Digest][]byte)        // after all was digested
	extra        func(put func([]byte) digest.Digest) string // replaces the image index; returns its type
}

type forgedLayer struct {
	mediaType string
	prologue  []byte
	chunks    [][]byte
	trailer   []byte                   // nil: the right one
	table     func([]mediatypes.Chunk) // changes what the index says
	edit      func([]byte) []byte      // changes the blob, before it is digested
}

// takeApart reads the model at ref.
func takeApart(t testing.TB, ref Reference) *forgery {
	t.Helper()
	a := openArtifact(t, ref)
	f := &forgery{t: t, index: a.Index}
	for i, d := range a.Layers[:len(a.Layers)-1] {
		blob := readBlob(t, a.src, d, 0, -1)
		table, err := a.Index.ChunkTable(i)
		if err != nil {
			t.Fatal(err)
		}
		l := forgedLayer{mediaType: d.MediaType, prologue: blob[:table[0].Offset]}
		for _, c := range table {
			l.chunks = append(l.chunks, blob[c.Offset:c.Offset+int64(c.Encoded)])
		}
		f.layers = append(f.layers, l)
	}
	return f
}

// rightTrailer follows codec/FORMAT.md, "Trailer".
func rightTrailer(chunks []mediatypes.Chunk, end int64) []byte {
	var p []byte
	var decoded uint64
	for _, c := range chunks {
		p = binary.LittleEndian.AppendUint64(p, uint64(c.Offset))
		p = binary.LittleEndian.AppendUint32(p, uint32(c.Encoded))
		p = binary.LittleEndian.AppendUint32(p, uint32(c.Decoded))
		decoded += uint64(c.Decoded)
	}
	p = binary.LittleEndian.AppendUint64(p, decoded)
	p = binary.LittleEndian.AppendUint64(p, uint64(end))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(chunks)))
	p = binary.LittleEndian.AppendUint32(p, 0)
	p = append(p, "\x89BSME\r\n\x1a"...)
	h := []byte{255, 0, 0, 0}
	h = binary.LittleEndian.AppendUint32(h, uint32(len(p)))
	h = binary.LittleEndian.AppendUint32(h, 0)
	h = binary.LittleEndian.AppendUint64(h, xxh3.Hash(p))
	return append(signHeader(h), p...)
}

// signHeader gives the first 20 bytes of a chunk their check sum.
func signHeader(h []byte) []byte {
	return binary.LittleEndian.AppendUint32(h[:20:20], uint32(xxh3.Hash(h[:20])))
}

// resign returns a chunk with a changed header.
func resign(chunk []byte, edit func(header []byte)) []byte {
	c := bytes.Clone(chunk)
	edit(c[:20])
	copy(c, signHeader(c))
	return c
}

// assemble returns the blob of a layer and its chunk table.
func (l *forgedLayer) assemble() ([]byte, []mediatypes.Chunk) {
	blob := bytes.Clone(l.prologue)
	var table []mediatypes.Chunk
	var decoded int64
	for _, c := range l.chunks {
		n := int(binary.LittleEndian.Uint32(c[8:]))
		table = append(table, mediatypes.Chunk{Offset: int64(len(blob)), Encoded: len(c), Decoded: n, SHA256: sha256.Sum256(c), DecodedOffset: decoded})
		decoded += int64(n)
		blob = append(blob, c...)
	}
	trailer := l.trailer
	if trailer == nil {
		trailer = rightTrailer(table, int64(len(blob)))
	}
	blob = append(blob, trailer...)
	if l.table != nil {
		l.table(table)
	}
	if l.edit != nil {
		blob = l.edit(blob)
	}
	return blob, table
}

// write signs the artifact and writes it as a layout.
func (f *forgery) write() Reference {
	f.t.Helper()
	blobs := map[digest.Digest][]byte{}
	put := func(b []byte) digest.Digest {
		d := digest.FromBytes(b)
		blobs[d] = b
		return d
	}
	check := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	var layers []any
	var ids []string
	add := func(mediaType string, blob []byte) digest.Digest {
		d := put(blob)
		layers = append(layers, map[string]any{"mediaType": mediaType, "digest": d.String(), "size": len(blob)})
		ids = append(ids, d.String())
		return d
	}
	var tables [][]mediatypes.Chunk
	for i := range f.layers {
		l := &f.layers[i]
		blob, table := l.assemble()
		x := &f.index.Layers[i]
		prologue := sha256.Sum256(l.prologue)
		x.Prologue = hex.EncodeToString(prologue[:])
		x.Digest, x.Encoded, x.Chunks, x.MediaType = add(l.mediaType, blob), int64(len(blob)), len(table), l.mediaType
		tables = append(tables, table)
	}
	doc, err := mediatypes.MarshalIndex(f.index, tables)
	check(err)
	if f.editDoc != nil {
		doc = f.editDoc(doc)
	}
	var index bytes.Buffer
	check(encodeBytes(&index, codec.Default, doc))
	blob := index.Bytes()
	if f.editIndex != nil {
		blob = f.editIndex(blob)
	}
	add(mediatypes.IndexLayer, blob)

	var manifests []any
	for i, arch := range []string{"amd64", "arm64"} {
		c := map[string]any{"os": "linux", "architecture": arch, "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}
		if f.editConfig != nil {
			f.editConfig(i, c)
		}
		raw, err := json.Marshal(c)
		check(err)
		m := map[string]any{
			"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "artifactType": mediatypes.ArtifactType,
			"config": map[string]any{"mediaType": ocispec.MediaTypeImageConfig, "digest": put(raw).String(), "size": len(raw)},
			"layers": slices.Clone(layers),
		}
		if f.editManifest != nil {
			f.editManifest(i, m)
		}
		raw, err = json.Marshal(m)
		check(err)
		manifests = append(manifests, map[string]any{
			"mediaType": ocispec.MediaTypeImageManifest, "digest": put(raw).String(), "size": len(raw),
			"platform": map[string]any{"os": "linux", "architecture": arch},
		})
	}
	x := map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "artifactType": mediatypes.ArtifactType, "manifests": manifests,
	}
	if f.editImage != nil {
		f.editImage(x)
	}
	raw, err := json.Marshal(x)
	check(err)
	top, mediaType := put(raw), ocispec.MediaTypeImageIndex
	if f.extra != nil {
		mediaType = f.extra(func(b []byte) digest.Digest { top, raw = put(b), b; return top })
	}
	if f.editLayout != nil {
		f.editLayout(blobs)
	}
	dir := filepath.Join(f.t.TempDir(), "forged")
	for d, b := range blobs {
		writeFileT(f.t, filepath.Join(dir, filepath.FromSlash(blobPath(d))), string(b))
	}
	writeFileT(f.t, filepath.Join(dir, ocispec.ImageLayoutFile), layoutFile)
	writeFileT(f.t, filepath.Join(dir, ocispec.ImageIndexFile), fmt.Sprintf(
		`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:"latest"}}]}`,
		mediaType, top, len(raw), ocispec.AnnotationRefName))
	return parseRef(f.t, "oci:"+dir)
}

// forgedModel has layers in this order: block 0 (small chunk of BF16, small
// chunk of F32, then two chunks of 65,536 BF16 each), block 1 alike, and files.
func forgedModel(t testing.TB) modelFiles {
	t.Helper()
	var tensors []tensorData
	for i := range 2 {
		name := func(s string) string { return fmt.Sprintf("model.layers.%d.%s.weight", i, s) }
		tensors = append(tensors,
			weight(name("norm"), "BF16", 300, uint64(i)),
			weight(name("up"), "BF16", 65_536, uint64(10+i)),
			weight(name("down"), "BF16", 65_536, uint64(20+i)),
			weight(name("scale"), "F32", 300, uint64(30+i)))
	}
	return modelFiles{
		"config.json":       []byte(`{"architectures":["LlamaForCausalLM"]}`),
		"dir/merges.txt":    bytes.Repeat([]byte("t h\n"), 300_000), // two chunks
		"model.safetensors": tensorFile(t, tensors...),
	}
}

// Layers and chunks of forgedModel.
const (
	block0, block1, filesLayer = 0, 1, 2
	bigChunk, bigChunk2        = 2, 3
)

// When a forgery is found.
const (
	byOpen   = iota // by everything
	byPull          // by pull and verify
	byVerify        // by pull --verify and verify
	byWhole         // by verify alone: pull writes the right bytes
)

// sameLength replaces all old in a document by new of the same length.
func sameLength(t testing.TB, doc []byte, old, new string) []byte {
	t.Helper()
	if len(old) != len(new) || !bytes.Contains(doc, []byte(old)) {
		t.Fatalf("%q cannot replace %q", new, old)
	}
	return bytes.ReplaceAll(doc, []byte(old), []byte(new))
}

type hostile struct {
	name  string
	found int
	want  string // part of the error
	kind  error  // nil: ErrCorrupt
	forge func(t testing.TB, f *forgery)
}

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
		out, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, c)
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
	chunk, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, []byte{7})
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

// Inspect does not walk through all uses of all chunks, of which a small index
// can have more than anyone can wait for, and ends with its context.
func TestInspectManyUses(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	f := takeApart(t, ref)
	const n, times = 1 << 16, 1 << 17
	manyUses(t, f, n, times)
	forged := f.write()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := Inspect(ctx, forged, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	for _, x := range r.Tensors {
		if strings.HasPrefix(x.Name, "t") {
			got += x.Encoded
		}
	}
	if want := int64(times) * n * int64(len(f.layers[len(f.layers)-1].chunks[0])); got != want {
		t.Errorf("the tensors take %d bytes, want %d", got, want)
	}
	a := openArtifact(t, forged)
	cancel()
	if _, err := a.report(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after the context has ended", err)
	}
}

// A segment takes of the layer what its runs of chunks take, one by one.
func TestShareOf(t *testing.T) {
	var chunks []mediatypes.Chunk
	var decoded int64
	offset := int64(40)
	for _, c := range [][2]int{{30, 10}, {7, 3}, {1000, 1}, {50, 20}} {
		chunks = append(chunks, mediatypes.Chunk{Offset: offset, Encoded: c[0], Decoded: c[1], DecodedOffset: decoded})
		offset, decoded = offset+int64(c[0]), decoded+int64(c[1])
	}
	for from := range decoded + 1 {
		for to := from; to <= decoded; to++ {
			s := mediatypes.Segment{Offset: from, Length: to - from}
			var want int64
			for r := range runs(chunks, s) {
				c := chunks[r.chunk]
				want += int64(c.Encoded * r.length / c.Decoded)
			}
			if got := shareOf(chunks, s); got != want {
				t.Errorf("bytes %d to %d take %d, want %d", from, to, got, want)
			}
		}
	}
}

// hostileIndexes are artifacts whose index says what is not so.
var hostileIndexes = []hostile{
	{"sha256 of an opaque file", byPull, `"config.json": corrupt: its sha256`, nil, func(_ testing.TB, f *forgery) {
		f.index.Files[0].SHA256 = strings.Repeat("1", 64)
	}},
	{"sha256 of a file of tensors", byVerify, `"model.safetensors": corrupt: its sha256`, nil, func(_ testing.TB, f *forgery) {
		f.index.Files[2].SHA256 = strings.Repeat("1", 64)
	}},
	{"MD5 of a tensor", byVerify, `tensor "model.layers.1.down.weight" of "model.safetensors"`, nil, func(t testing.TB, f *forgery) {
		i := slices.IndexFunc(f.index.Tensors, func(x mediatypes.Tensor) bool { return x.Name == "model.layers.1.down.weight" })
		f.index.Tensors[i].MD5 = strings.Repeat("2", 32)
	}},
	{"sha256 of a tensor", byWhole, `tensor "model.layers.1.down.weight" of "model.safetensors"`, nil, func(_ testing.TB, f *forgery) {
		i := slices.IndexFunc(f.index.Tensors, func(x mediatypes.Tensor) bool { return x.Name == "model.layers.1.down.weight" })
		f.index.Tensors[i].SHA256 = strings.Repeat("2", 64)
	}},
	{"segments of two files swapped", byPull, "its sha256", nil, func(_ testing.TB, f *forgery) {
		a := &f.index.Files[0].Segments[0]
		a.Offset += 10
	}},
	{"path out of the target", byOpen, "/files/", nil, badPath("../../etc/x")},
	{"path through the parent", byOpen, "/files/", nil, badPath("a/../../../")},
	{"absolute path", byOpen, "/files/", nil, badPath("/etc/passwd")},
	{"drive letter", byOpen, "/files/", nil, badPath("C:/windows1")},
	{"backslashes", byOpen, "/files/", nil, badPath(`..\\..\\abc`)},
	{"dot", byOpen, "/files/", nil, badPath("./onfig.jso")},
	{"empty part", byOpen, "/files/", nil, badPath("aa//bb/cc/d")},
	{"NUL", byOpen, "/files/", nil, badPath(`ab\u0000.jsn`[:11])},
	{"trailing dot", byOpen, "/files/", nil, badPath("config.jso.")},
	{"trailing space", byOpen, "/files/", nil, badPath("config.jso ")},
	{"escape sequence", byOpen, "/files/", nil, badPath(`\u001b[2Jab`)},
	{"text direction", byOpen, "/files/", nil, badPath(`\u202enosjg`)},
	{"duplicate file", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[1].Path = "ZZZZZZ.json"
		f.rename(t, "ZZZZZZ.json", "config.json")
	}},
	{"twins by case", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[1].Path = "ZZZZZZ.json"
		f.rename(t, "ZZZZZZ.json", "CONFIG.json")
	}},
	{"twins by normalisation", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[0].Path, f.index.Files[1].Path = "xxxxxx.json", "yyyyyyy.json"
		f.editDoc = func(doc []byte) []byte {
			return sameLength(t, sameLength(t, doc, "xxxxxx.json", "caf\u00e9z.json"), "yyyyyyy.json", "cafe\u0301z.json")
		}
	}},
	{"file below a file", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[1].Path = "ZZZZZZ.json/a"
		f.rename(t, "ZZZZZZ.json/a", "config.json/a")
	}},
	{"setuid", byOpen, "/mode", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"mode":420`, `"mode":2541`) }
	}},
	{"segment past the layer", byOpen, "/segments", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte {
			return sameLengthN(t, doc, fmt.Sprintf("[%d,0,38]", filesLayer), fmt.Sprintf("[%d,9999999999,38]", filesLayer))
		}
	}},
	{"segment of no layer", byOpen, "/segments", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte {
			return sameLength(t, doc, fmt.Sprintf("[%d,0,38]", filesLayer), "[9,0,38]")
		}
	}},
	{"size of a file", byOpen, "", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"size":38`, `"size":4611686018427387904`) }
	}},
	{"duplicate member", byOpen, "", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"size":38`, `"size":38,"size":38`) }
	}},
	{"twin of a member", byOpen, "", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"size":38`, `"size":38,"SIZE":39`) }
	}},
	{"magic of the document", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return append([]byte("X"), doc[1:]...) }
	}},
	{"newer version of the document", byOpen, "", codec.ErrUnsupported, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { doc[8] = 9; return doc }
	}},
	{"document cut", byOpen, "index document", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return doc[:len(doc)-48] }
	}},
	{"document with more behind it", byOpen, "index document", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return append(doc, make([]byte, 48)...) }
	}},
	{"empty document", byOpen, "index document", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func([]byte) []byte { return nil }
	}},
	{"index layer is no layer", byOpen, "index layer", nil, func(_ testing.TB, f *forgery) {
		f.editIndex = func([]byte) []byte { return []byte(`{"layers":[]}`) }
	}},
	{"index layer cut", byOpen, "index layer", nil, func(_ testing.TB, f *forgery) {
		f.editIndex = func(b []byte) []byte { return b[:len(b)-1] }
	}},
	{"index layer with more behind it", byOpen, "index layer", nil, func(_ testing.TB, f *forgery) {
		f.editIndex = func(b []byte) []byte { return append(b, 0) }
	}},
	{"gap in the chunk table", byPull, "chunk", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].chunks = slices.Clone(f.layers[block0].chunks)
		f.editDoc = func(doc []byte) []byte {
			// The tables end the document: 4 + 4 + the chunks of the files.
			at := len(doc) - 48*(8+len(f.layers[filesLayer].chunks))
			doc[at+48]++
			return doc
		}
	}},
}

// badPath gives the first file, config.json, another path of 11 bytes in JSON.
func badPath(p string) func(testing.TB, *forgery) {
	return func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"config.json"`, `"`+p+`"`) }
	}
}

// rename changes a path in the document to one that MarshalIndex would refuse.
func (f *forgery) rename(t testing.TB, from, to string) {
	f.editDoc = func(doc []byte) []byte { return sameLength(t, doc, `"`+from+`"`, `"`+to+`"`) }
}

// sameLengthN replaces old once by new of any length, and mends the lengths of
// the document.
func sameLengthN(t testing.TB, doc []byte, old, new string) []byte {
	t.Helper()
	n := binary.LittleEndian.Uint32(doc[12:])
	text, tables := doc[24:24+n], doc[(24+n+7)&^7:]
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("no %q in %s", old, text)
	}
	text = bytes.Replace(bytes.Clone(text), []byte(old), []byte(new), 1)
	out := append(bytes.Clone(doc[:24]), text...)
	out = append(out, make([]byte, -len(out)&7)...)
	out = append(out, tables...)
	binary.LittleEndian.PutUint32(out[12:], uint32(len(text)))
	binary.LittleEndian.PutUint64(out[16:], uint64(len(out)))
	return out
}

// hostileManifests are artifacts whose manifests are forged.
var hostileManifests = []hostile{
	{"platforms of different layers", byOpen, "other platform", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(i int, m map[string]any) {
			if l := m["layers"].([]any); i == 1 {
				l[0], l[1] = l[1], l[0]
			}
		}
	}},
	{"second platform has a layer less", byOpen, "other platform", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(i int, m map[string]any) { m["layers"] = m["layers"].([]any)[i:] }
	}},
	{"layers in another order than in the index", byOpen, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { l := m["layers"].([]any); l[0], l[1] = l[1], l[0] }
	}},
	{"layer that the index does not know", byOpen, "layers", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			m["layers"] = slices.Insert(m["layers"].([]any), 0, m["layers"].([]any)[0])
		}
	}},
	{"type of a layer", byOpen, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["layers"].([]any)[0].(map[string]any))
			d["mediaType"] = ocispec.MediaTypeImageLayerGzip
			m["layers"].([]any)[0] = d
		}
	}},
	{"no index layer", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { l := m["layers"].([]any); m["layers"] = l[:len(l)-1] }
	}},
	{"both layers and manifests", byOpen, "manifest", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["manifests"] = []any{} }
	}},
	{"twin of layers", byOpen, "manifest", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["LAYERS"] = m["layers"] }
	}},
	{"urls", byOpen, "urls", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["layers"].([]any)[0].(map[string]any))
			d["urls"] = []string{"http://169.254.169.254/"}
			m["layers"].([]any)[0] = d
		}
	}},
	{"data that does not match", byOpen, "data", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["config"].(map[string]any))
			d["data"] = []byte("something else")
			m["config"] = d
		}
	}},
	{"negative size", byOpen, "size", nil, layerMember("size", -5)},
	{"digest that is a path", byOpen, "digest", nil, layerMember("digest", "sha256:../../../../etc/passwd")},
	{"upper-case digest", byOpen, "digest", nil, layerMember("digest", "sha256:"+strings.Repeat("A", 64))},
	{"sha1", byOpen, "digest", nil, layerMember("digest", "sha1:"+strings.Repeat("a", 40))},
	{"size of 100 GB for the config", byOpen, "config", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["config"].(map[string]any))
			d["size"] = 100_000_000_000
			m["config"] = d
		}
	}},
	{"too many layers", byOpen, "layers", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			m["layers"] = slices.Repeat(m["layers"].([]any)[:1], mediatypes.MaxLayers+1)
		}
	}},
	{"large annotation", byOpen, "annotation", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["annotations"] = map[string]string{"a": strings.Repeat("x", 1<<20)} }
	}},
	{"manifest of 5 MiB", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["x"] = strings.Repeat("x", 5<<20) }
	}},
	{"diff_ids that are not the layers", byPull, "diff_ids", nil, func(_ testing.TB, f *forgery) {
		f.editConfig = func(_ int, c map[string]any) {
			ids := slices.Clone(c["rootfs"].(map[string]any)["diff_ids"].([]string))
			ids[0] = ids[1]
			c["rootfs"] = map[string]any{"type": "layers", "diff_ids": ids}
		}
	}},
	{"config of no platform", byPull, "config", nil, func(_ testing.TB, f *forgery) {
		f.editConfig = func(_ int, c map[string]any) { delete(c, "os") }
	}},
	{"manifest of another artifact", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["artifactType"] = "application/vnd.example" }
	}},
	{"container image", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.editImage = func(x map[string]any) { delete(x, "artifactType") }
		f.editManifest = func(_ int, m map[string]any) { delete(m, "artifactType") }
	}},
	{"single container image", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.extra = func(put func([]byte) digest.Digest) string {
			c := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`)
			d := put(c)
			put(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
				ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, d, len(c), ocispec.MediaTypeImageLayerGzip, d, len(c)))
			return ocispec.MediaTypeImageManifest
		}
	}},
	{"no manifests", byOpen, "0 manifests", nil, func(_ testing.TB, f *forgery) {
		f.editImage = func(x map[string]any) { x["manifests"] = []any{} }
	}},
	{"very many manifests", byOpen, "1000 manifests", nil, func(_ testing.TB, f *forgery) {
		f.editImage = func(x map[string]any) { x["manifests"] = slices.Repeat(x["manifests"].([]any)[:1], 1000) }
	}},
	{"index of an index", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.extra = func(put func([]byte) digest.Digest) string {
			inner := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"manifests":[]}`, ocispec.MediaTypeImageIndex, mediatypes.ArtifactType)
			d := put(inner)
			put(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
				ocispec.MediaTypeImageIndex, mediatypes.ArtifactType, ocispec.MediaTypeImageIndex, d, len(inner)))
			return ocispec.MediaTypeImageIndex
		}
	}},
	{"manifest that says to be an index", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["mediaType"] = ocispec.MediaTypeImageIndex }
	}},
	{"missing layer", byPull, "", ErrNotFound, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) { delete(blobs, f.index.Layers[block1].Digest) }
	}},
	{"missing manifest", byOpen, "", ErrNotFound, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) {
			maps.DeleteFunc(blobs, func(_ digest.Digest, b []byte) bool { return bytes.Contains(b, []byte(`"config":`)) })
		}
	}},
	{"missing config", byPull, "", ErrNotFound, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) {
			maps.DeleteFunc(blobs, func(_ digest.Digest, b []byte) bool { return bytes.Contains(b, []byte(`"diff_ids":`)) })
		}
	}},
	{"layer of another size", byPull, "", nil, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) {
			d := f.index.Layers[block1].Digest
			blobs[d] = blobs[d][:len(blobs[d])-1]
		}
	}},
}

func layerMember(name string, value any) func(testing.TB, *forgery) {
	return func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["layers"].([]any)[0].(map[string]any))
			d[name] = value
			m["layers"].([]any)[0] = d
		}
	}
}

// Whatever an artifact says, the error names what is wrong, nothing is written
// outside the target, and the target stays as it was.
func TestHostileArtifacts(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	for group, list := range map[string][]hostile{"layers": hostileLayers, "index": hostileIndexes, "manifests": hostileManifests} {
		for _, tt := range list {
			t.Run(group+"/"+tt.name, func(t *testing.T) {
				f := takeApart(t, ref)
				tt.forge(t, f)
				testHostile(t, f.write(), &tt)
			})
		}
	}
}

func testHostile(t *testing.T, ref Reference, tt *hostile) {
	top := t.TempDir()
	target := filepath.Join(top, "a", "b", "target")
	writeFileT(t, filepath.Join(target, "config.json"), "old")
	writeFileT(t, filepath.Join(target, "dir", "mine"), "mine")
	before := entries(t, top)
	check := func(what string, fails bool, err error) {
		t.Helper()
		if (err != nil) != fails {
			t.Fatalf("%s: error %v, want one: %t", what, err, fails)
		}
		if err == nil {
			return
		}
		kind := tt.kind
		if kind == nil {
			kind = ErrCorrupt
		}
		e, ok := errors.AsType[*Error](err)
		if !errors.Is(err, kind) || !ok || e.Object == "" || e.Op == "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %v and %q in it", what, err, kind, tt.want)
		}
		if !errors.Is(kind, ErrCorrupt) && errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v is of two kinds", what, err)
		}
		for _, r := range err.Error() {
			if r < ' ' || r == '\u202e' {
				t.Errorf("%s: error %q has control characters", what, err)
			}
		}
	}
	_, err := Inspect(t.Context(), ref, nil)
	// Inspect reads the chunk tables, which pull reads later.
	check("inspect", tt.found == byOpen || strings.HasPrefix(tt.name, "gap"), err)
	_, err = Verify(t.Context(), ref, &Options{Jobs: 2})
	check("verify", true, err)
	_, err = Pull(t.Context(), ref, target, &PullOptions{Options: Options{Jobs: 2}, Verify: true})
	check("pull --verify", tt.found <= byVerify, err)
	if err == nil {
		return // whole: the files are right
	}
	sameTree(t, before, top)
	if tt.found <= byPull {
		_, err = Pull(t.Context(), ref, target, nil)
		check("pull", true, err)
		sameTree(t, before, top)
		_, err = Pull(t.Context(), ref, filepath.Join(top, "new"), nil)
		check("pull to a new directory", true, err)
		if left, err := os.ReadDir(filepath.Join(top, "new")); len(left) != 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the new directory holds %v, error %v", left, err)
		}
	}
}

func sameTree(t *testing.T, before map[string]string, dir string) {
	t.Helper()
	if diff := cmp.Diff(before, entries(t, dir)); diff != "" {
		t.Errorf("files changed:\n%s", diff)
	}
}

// The forger itself makes whole artifacts: what the tests see is what they
// forged.
func TestForgeryOfNothing(t *testing.T) {
	dir := forgedModel(t).write(t)
	ref, res := pushLayout(t, dir, nil)
	f := takeApart(t, ref)
	if len(f.layers) != 3 || len(f.layers[block0].chunks) != 4 || len(f.layers[filesLayer].chunks) < 2 {
		t.Fatalf("%d layers, of %d and %d chunks", len(f.layers), len(f.layers[block0].chunks), len(f.layers[filesLayer].chunks))
	}
	forged := f.write()
	sameFiles(t, dir, pullNew(t, forged, &PullOptions{Verify: true}))
	if _, err := Verify(t.Context(), forged, nil); err != nil {
		t.Error(err)
	}
	r := report(t, forged)
	if r.Encoded != res.Encoded {
		t.Errorf("%d bytes, want %d", r.Encoded, res.Encoded)
	}
}

// redigest names layer i by what to returns for its blob, everywhere.
func (f *forgery) redigest(t testing.TB, i int, to func(blob []byte) digest.Digest) {
	blob, _ := f.layers[i].assemble()
	name := to(blob)
	f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, digest.FromBytes(blob).String(), name.String()) }
	f.editManifest = func(_ int, m map[string]any) {
		d := maps.Clone(m["layers"].([]any)[i].(map[string]any))
		d["digest"] = name.String()
		m["layers"].([]any)[i] = d
	}
	f.editConfig = func(_ int, c map[string]any) {
		c["rootfs"].(map[string]any)["diff_ids"].([]string)[i] = name.String()
	}
	f.editLayout = func(blobs map[digest.Digest][]byte) { blobs[name] = blob }
}

// A manifest may name layers by digests of sha512, though push does not.
func TestSHA512Layers(t *testing.T) {
	dir := forgedModel(t).write(t)
	ref, _ := pushLayout(t, dir, nil)
	f := takeApart(t, ref)
	f.redigest(t, block1, digest.SHA512.FromBytes)
	forged := f.write()
	sameFiles(t, dir, pullNew(t, forged, nil))
	if _, err := Verify(t.Context(), forged, nil); err != nil {
		t.Error(err)
	}
}
