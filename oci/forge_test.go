package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

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
