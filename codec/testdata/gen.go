// Gen writes the test vectors of the layer format. It is an encoder of its own,
// written from FORMAT.md: it must not import package codec, so that the vectors
// prove the specification and not the code.
//
// Run it by go generate, from the directory of package codec; an argument names
// another directory to write to.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"
)

var le = binary.LittleEndian

// The ids of methods.
const raw, constant, zstd, rans, fields, context, widened, trailerID = 0, 1, 2, 3, 4, 5, 8, 255

// The ids of the dtypes that cases name.
const (
	bytesType, u8, e4m3, e5m2, i16, f16, bf16, u32, f32, i64, f64, f4 = 0, 2, 4, 5, 7, 9, 10, 12, 13, 14, 16, 17

	q4_0, q4K = 23, 31
)

// dtypes are names and widths by id.
var dtypes = []struct {
	name  string
	width int
}{
	{"bytes", 1},
	{"BOOL", 1},
	{"U8", 1},
	{"I8", 1},
	{"F8_E4M3", 1},
	{"F8_E5M2", 1},
	{"F8_E8M0", 1},
	{"I16", 2},
	{"U16", 2},
	{"F16", 2},
	{"BF16", 2},
	{"I32", 4},
	{"U32", 4},
	{"F32", 4},
	{"I64", 8},
	{"U64", 8},
	{"F64", 8},
	{"F4", 1},
	{"F6_E2M3", 1},
	{"F6_E3M2", 1},
	{"C64", 8},
	{"F8_E4M3FNUZ", 1},
	{"F8_E5M2FNUZ", 1},
	{"Q4_0", 18},
	{"Q4_1", 20},
	{"Q5_0", 22},
	{"Q5_1", 24},
	{"Q8_0", 34},
	{"Q8_1", 36},
	{"Q2_K", 84},
	{"Q3_K", 110},
	{"Q4_K", 144},
	{"Q5_K", 176},
	{"Q6_K", 210},
	{"Q8_K", 292},
	{"IQ2_XXS", 66},
	{"IQ2_XS", 74},
	{"IQ2_S", 82},
	{"IQ3_XXS", 98},
	{"IQ3_S", 110},
	{"IQ1_S", 50},
	{"IQ1_M", 56},
	{"IQ4_NL", 18},
	{"IQ4_XS", 136},
	{"TQ1_0", 54},
	{"TQ2_0", 66},
	{"MXFP4", 17},
	{"NVFP4", 36},
}

// layer is a layer before it is put together. The zero value is an empty layer.
type layer struct {
	version      uint16 // added to the version
	flags, bases uint16
	reserved     uint32
	tables       [][]byte
	tableBytes   int // added to the size of the tables
	tableCount   int // added to their number
	chunks       [][]byte
	trailer      func(t *trailer) // changes the trailer
	noTrailer    bool
}

// trailer is the trailer of a layer before it is put together.
type trailer struct {
	records          [][3]uint64 // offset, encoded, decoded
	decoded, offset  uint64
	count, reserved  uint32
	magic            string
	dtype            byte
	flags            uint16
	headerDecoded    uint32
	hash, headerHash uint64 // XORed in
}

func (l layer) bytes() []byte {
	b := []byte("\x89BSML\r\n\x1a")
	tables := slices.Concat(l.tables...)
	b = le.AppendUint16(b, 1+l.version)
	b = le.AppendUint16(b, l.flags)
	b = le.AppendUint32(b, uint32(len(tables)+l.tableBytes))
	b = le.AppendUint16(b, uint16(len(l.tables)+l.tableCount))
	b = le.AppendUint16(b, l.bases)
	b = le.AppendUint32(b, l.reserved)
	b = append(b, tables...)
	b = append(b, make([]byte, 64*int(l.bases))...)
	b = le.AppendUint64(b, xxh3.Hash(b))

	t := trailer{magic: "\x89BSME\r\n\x1a", count: uint32(len(l.chunks))}
	for _, c := range l.chunks {
		decoded := uint64(le.Uint32(c[8:]))
		t.records = append(t.records, [3]uint64{uint64(len(b)), uint64(len(c)), decoded})
		t.decoded += decoded
		b = append(b, c...)
	}
	if l.noTrailer {
		return b
	}
	t.offset = uint64(len(b))
	if l.trailer != nil {
		l.trailer(&t)
	}
	return append(b, t.bytes()...)
}

func (t trailer) bytes() []byte {
	var p []byte
	for _, r := range t.records {
		p = le.AppendUint64(p, r[0])
		p = le.AppendUint32(p, uint32(r[1]))
		p = le.AppendUint32(p, uint32(r[2]))
	}
	p = le.AppendUint64(p, t.decoded)
	p = le.AppendUint64(p, t.offset)
	p = le.AppendUint32(p, t.count)
	p = le.AppendUint32(p, t.reserved)
	p = append(p, t.magic...)
	h := header{method: trailerID, dtype: t.dtype, flags: t.flags, payload: uint32(len(p)), decoded: t.headerDecoded, hash: xxh3.Hash(p) ^ t.hash}
	hb := h.bytes()
	hb[20] ^= byte(t.headerHash)
	return append(hb, p...)
}

// header is a chunk header.
type header struct {
	method, dtype    byte
	flags            uint16
	payload, decoded uint32
	hash             uint64
}

func (h header) bytes() []byte {
	b := []byte{h.method, h.dtype}
	b = le.AppendUint16(b, h.flags)
	b = le.AppendUint32(b, h.payload)
	b = le.AppendUint32(b, h.decoded)
	b = le.AppendUint64(b, h.hash)
	return le.AppendUint32(b, uint32(xxh3.Hash(b)))
}

// chunk makes a chunk whose header is right for these bytes.
func chunk(method, d byte, payload, decoded []byte) []byte {
	h := header{method, d, 0, uint32(len(payload)), uint32(len(decoded)), xxh3.Hash(decoded)}
	return append(h.bytes(), payload...)
}

// frame is a zstd frame with raw and run-length blocks.
type frame struct {
	single     bool
	window     byte   // descriptor, when not single
	size       uint64 // content size
	dictionary byte   // id, when not 0
	blocks     []byte
}

// block makes a block of kind 0 (raw) or 1 (one byte repeated size times).
func block(last bool, kind, size int, content ...byte) []byte {
	h := size<<3 | kind<<1
	if last {
		h |= 1
	}
	return append([]byte{byte(h), byte(h >> 8), byte(h >> 16)}, content...)
}

func (f frame) bytes() []byte {
	descriptor := byte(2 << 6) // a content size of four bytes
	if f.size >= 1<<32 {
		descriptor = 3 << 6
	}
	if f.single {
		descriptor |= 1 << 5
	}
	if f.dictionary != 0 {
		descriptor |= 1
	}
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, descriptor}
	if !f.single {
		b = append(b, f.window)
	}
	if f.dictionary != 0 {
		b = append(b, f.dictionary)
	}
	if f.size >= 1<<32 {
		b = le.AppendUint64(b, f.size)
	} else {
		b = le.AppendUint32(b, uint32(f.size))
	}
	return append(b, f.blocks...)
}

// sum puts the check sum of a zstd payload before a frame.
func sum(frame []byte) []byte {
	return append(le.AppendUint32(nil, uint32(xxh3.Hash(frame))), frame...)
}

// stored is a zstd payload of b, in one raw block.
func stored(b []byte) []byte {
	return sum(frame{single: true, size: uint64(len(b)), blocks: block(true, 0, len(b), b...)}.bytes())
}

// vector is one file.
type vector struct {
	name, expect, comment string
	dtype                 byte
	layer                 []byte
	released              []byte // decoded bytes before the error
}

func (v vector) write(dir string) error {
	b := fmt.Appendf(nil, "expect: %s\ndtype: %s\nsha256: %x\ncomment: %s\n\n",
		v.expect, dtypes[v.dtype].name, sha256.Sum256(v.released), v.comment)
	text := base64.StdEncoding.EncodeToString(v.layer)
	for len(text) > 76 {
		b = append(append(b, text[:76]...), '\n')
		text = text[76:]
	}
	b = append(append(b, text...), '\n')
	return os.WriteFile(filepath.Join(dir, v.name), b, 0o644)
}

func main() {
	dir := "testdata/vectors"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	seen := map[string]bool{}
	for _, v := range vectors() {
		if seen[v.name] {
			log.Fatalf("two vectors %s", v.name)
		}
		seen[v.name] = true
		if err := v.write(dir); err != nil {
			log.Fatal(err)
		}
	}
}
