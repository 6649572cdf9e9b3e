//go:build ignore

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
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"
)

var le = binary.LittleEndian

// The ids of FORMAT.md that the cases use.
const (
	raw, constant, zstd, rans, trailerID = 0, 1, 2, 3, 255

	bytesType, u8, e4m3, e5m2, f16, bf16, u32, f32, f64 = 0, 2, 4, 5, 9, 10, 12, 13, 16
)

// dtype is a row of the table of dtypes; mant is 0 for one without a layout.
type dtype struct {
	name             string
	width, exp, mant int
}

var dtypes = map[byte]dtype{
	bytesType: {"bytes", 1, 0, 0},
	u8:        {"U8", 1, 0, 0},
	e4m3:      {"F8_E4M3", 1, 4, 3},
	e5m2:      {"F8_E5M2", 1, 5, 2},
	f16:       {"F16", 2, 5, 10},
	bf16:      {"BF16", 2, 8, 7},
	u32:       {"U32", 4, 0, 0},
	f32:       {"F32", 4, 8, 23},
	f64:       {"F64", 8, 0, 0},
	21:        {"F8_E4M3FNUZ", 1, 4, 3},
	22:        {"F8_E5M2FNUZ", 1, 5, 2},
}

// layer is a layer before it is put together. The zero value is an empty layer.
type layer struct {
	version, flags, bases uint16
	reserved              uint32
	tables                [][]byte
	tableBytes            int // added to the size of the tables
	tableCount            int // added to their number
	chunks                [][]byte
	trailer               func(t *trailer) // changes the trailer
	noTrailer             bool
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
	b = le.AppendUint16(b, l.version)
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
	return slices.Concat(b, hb, p)
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

// symbol is a symbol of a table other than the escape.
type symbol struct{ exp, mant, freq int }

// table is a table of FORMAT.md, "Tables".
type table struct {
	top, escape int
	symbols     []symbol
}

func (t table) bytes() []byte {
	var entries []byte
	k, per := 0, 1<<t.top
	last := -1
	for _, s := range t.symbols {
		if s.exp != last || k == 0 {
			entries = append(entries, byte(s.exp))
			entries = append(entries, make([]byte, per)...)
			k++
			last = s.exp
		}
		entries[len(entries)-per+s.mant] = byte(s.freq)
	}
	return append([]byte{byte(k), byte(t.escape)}, entries...)
}

// shared is t as a shared table.
func (t table) shared(d byte) []byte { return append([]byte{d, byte(t.top)}, t.bytes()...) }

// find returns frequency and first slot of a value; ok is false for an escape.
func (t table) find(exp, mant int) (freq, start int, ok bool) {
	start = t.escape
	for _, s := range t.symbols {
		if s.exp == exp && s.mant == mant {
			return s.freq, start, true
		}
		start += s.freq
	}
	return t.escape, 0, false
}

// tableOf makes a table that fits the elements: at most most symbols, the escape
// included. The escape has frequency 0 where nothing needs it.
func tableOf(d dtype, top, most int, elements []uint64) table {
	counts := map[int]int{}
	for _, w := range elements {
		counts[int(w>>(d.mant-top))&(1<<(d.exp+top)-1)]++
	}
	var values []int
	for v := range counts {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b int) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return a - b
	})
	escaped := len(values) > most-1
	values = values[:min(len(values), most-1)]
	slices.Sort(values)
	t := table{top: top}
	left := 256
	if escaped || len(values) == 1 {
		t.escape = 1
		left--
	}
	for i, v := range values {
		f := 1
		if i == len(values)-1 {
			f = left
		} else {
			f = max(1, min(left-(len(values)-1-i), counts[v]*250/len(elements)))
		}
		left -= f
		t.symbols = append(t.symbols, symbol{v >> top, v & (1<<top - 1), f})
	}
	return t
}

// payload is a rANS payload in its parts, for a case to change.
type payload struct {
	top, groups, modes, model byte
	extraStream, extraEscapes int // added to the sizes
	tables                    []byte
	states                    []byte
	stream                    []byte
	exps, mants               []byte // of the escapes; mants are the bit planes
	rest                      []byte
}

func (p payload) bytes() []byte {
	b := []byte{p.top, p.groups, p.modes, p.model}
	b = le.AppendUint32(b, uint32(len(p.stream)+p.extraStream))
	b = le.AppendUint32(b, uint32(len(p.exps)+p.extraEscapes))
	return slices.Concat(b, p.tables, p.states, p.stream, p.exps, p.mants, p.rest)
}

// segment is a run of elements with one table; id is its id in the prologue.
type segment struct {
	n, id int
	table table
}

// encode makes a payload. Without ids (one segment, id < 0) the table is inline.
func encode(d dtype, groups int, segments []segment, elements []uint64) payload {
	top := segments[0].table.top
	p := payload{top: byte(top), groups: byte(groups)}
	if segments[0].id < 0 {
		p.tables = segments[0].table.bytes()
	} else {
		p.model = 1
		p.tables = le.AppendUint32(nil, uint32(len(segments)))
		for _, s := range segments {
			p.tables = le.AppendUint32(p.tables, uint32(s.n))
			p.tables = append(p.tables, byte(s.id))
		}
	}
	lanes := 64 * groups
	states := slices.Repeat([]int{256}, lanes)
	var mants []int
	low := d.mant - top
	end := len(elements)
	for _, s := range slices.Backward(segments) {
		begin := end - s.n
		for i := s.n - 1; i >= 0; i-- {
			w := elements[begin+i]
			exp, mant := int(w>>d.mant)&(1<<d.exp-1), int(w>>low)&(1<<top-1)
			f, start, ok := s.table.find(exp, mant)
			if f == 0 {
				log.Fatalf("exponent %d needs an escape that the table lacks", exp)
			}
			if !ok {
				p.exps = append(p.exps, byte(exp))
				mants = append(mants, mant)
			}
			x := &states[i%lanes]
			for *x >= f*256 {
				p.stream = append(p.stream, byte(*x%256))
				*x /= 256
			}
			*x = *x/f*256 + *x%f + start
		}
		end = begin
	}
	slices.Reverse(p.stream)
	slices.Reverse(p.exps)
	slices.Reverse(mants)
	p.mants = mantissaPlanes(mants, top)
	for _, x := range states {
		p.states = append(p.states, byte(x%256))
	}
	for _, x := range states {
		p.states = append(p.states, byte(x/256))
	}
	packed, planes := restOf(d, top, elements)
	p.rest = slices.Concat(append([][]byte{packed}, planes...)...)
	return p
}

// mantissaPlanes lays out the top mantissa bits of escapes.
func mantissaPlanes(mants []int, top int) []byte {
	size := (len(mants) + 7) / 8
	b := make([]byte, top*size)
	for i, m := range mants {
		for k := range top {
			b[k*size+i/8] |= byte(m>>k&1) << (i % 8)
		}
	}
	return b
}

// restOf returns the packed plane, nil if there is none, and the byte planes.
func restOf(d dtype, top int, elements []uint64) (packed []byte, planes [][]byte) {
	low := d.mant - top
	bits, count := (low+1)%8, (low+1)/8
	planes = make([][]byte, count)
	packed = make([]byte, (len(elements)+7)/8*bits)
	at := 0
	for _, w := range elements {
		rest := w>>(8*d.width-1)<<low | w&(1<<low-1)
		for p := range count {
			planes[p] = append(planes[p], byte(rest>>(8*p)))
		}
		for k := range bits {
			packed[at/8] |= byte(rest>>(8*count+k)&1) << (at % 8)
			at++
		}
	}
	return packed, planes
}

// bytesOf lays elements out in memory.
func bytesOf(d dtype, elements []uint64) (b []byte) {
	for _, w := range elements {
		for k := range d.width {
			b = append(b, byte(w>>(8*k)))
		}
	}
	return b
}

// weights makes n elements of a few exponents, with random signs and mantissas.
func weights(d dtype, n int, seed uint64) []uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([]uint64, n)
	for i := range list {
		exp := 1<<(d.exp-1) - 2
		for exp > 1 && r.IntN(2) == 0 {
			exp--
		}
		list[i] = r.Uint64()&1<<(d.exp+d.mant) | uint64(exp)<<d.mant | r.Uint64()&(1<<d.mant-1)
	}
	return list
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
