package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// gaussian returns n numbers of deviation 0.02.
func gaussian(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(0.02 * r.NormFloat64())
	}
	return w
}

// elements makes n elements of dtype d from w, cut off rather than rounded.
func elements(d Dtype, w []float32) []byte {
	var b []byte
	for _, x := range w {
		u := math.Float32bits(x)
		switch d {
		case F32:
			b = binary.LittleEndian.AppendUint32(b, u)
		case BF16:
			b = binary.LittleEndian.AppendUint16(b, uint16(u>>16))
		case F16:
			e := int(u>>23&255) - 127 + 15
			b = binary.LittleEndian.AppendUint16(b, uint16(u>>31<<15)|uint16(max(e, 0)<<10)|uint16(u>>13&1023))
		case F8_E4M3, F8_E4M3FNUZ:
			b = append(b, byte(u>>31<<7)|byte(min(15, max(0, int(u>>23&255)-127+15))<<3)|byte(u>>20&7))
		case F8_E5M2, F8_E5M2FNUZ:
			b = append(b, byte(u>>31<<7)|byte(max(0, int(u>>23&255)-127+15)<<2)|byte(u>>21&3))
		case F64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(x)))
		default:
			for range d.Width() {
				b = append(b, byte(x*1000))
			}
		}
	}
	return b
}

// data is one case of decoded bytes.
type data struct {
	name string
	d    Dtype
	b    []byte
}

func testData() (list []data) {
	r := rand.New(rand.NewPCG(7, 7))
	noise := make([]byte, 10_000*300)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for d := range dtypes {
		w := d.Width()
		if w > 8 { // blocks of noise
			for _, n := range []int{1, 2, 3, 4, 5, 100, 1001} {
				list = append(list, data{fmt.Sprintf("%v/noise/%d", d, n), d, noise[:n*w]})
			}
			list = append(list, data{fmt.Sprintf("%v/zero", d), d, make([]byte, 500*w)})
			continue
		}
		for _, n := range []int{1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 40_000} {
			list = append(list, data{fmt.Sprintf("%v/gauss/%d", d, n), d, elements(d, gaussian(n, uint64(n)))})
		}
		list = append(list,
			data{fmt.Sprintf("%v/zero", d), d, make([]byte, 5000*w)},
			data{fmt.Sprintf("%v/noise", d), d, noise[:10_000*w]},
			data{fmt.Sprintf("%v/text", d), d, bytes.Repeat([]byte("weights "), 1000*w)})
	}
	wide := make([]byte, 0, 1<<20)
	for _, x := range gaussian(1<<18, 3) {
		wide = binary.LittleEndian.AppendUint32(wide, math.Float32bits(x)&^0xffff)
	}
	sparse := elements(BF16, gaussian(1<<17, 4))
	for i := 0; i < len(sparse); i += 2 {
		if r.IntN(3) > 0 {
			sparse[i], sparse[i+1] = 0, 0
		}
	}
	all := make([]byte, 0, 2<<16)
	for i := range 1 << 16 {
		all = binary.LittleEndian.AppendUint16(all, uint16(i))
	}
	return append(list,
		data{"F32/widened", F32, wide},
		data{"F32/of F16", F32, convert(F16, F32, all)},
		data{"F32/of F16 of BF16", F32, convert(F16, F32, halves(elements(BF16, gaussian(1<<15, 3))))},
		data{"F16/of BF16", F16, halves(elements(BF16, gaussian(1<<17, 3)))},
		data{"F64/of F32", F64, convert(F32, F64, elements(F32, gaussian(1<<15, 3)))},
		data{"I64/small", I64, small(8)},
		data{"I16/small", I16, small(2)},
		data{"BF16/sparse", BF16, sparse},
		data{"BF16/every value", BF16, all},
		data{"F16/every value", F16, all},
		data{"BF16/few lanes", BF16, elements(BF16, gaussian(largeElements-1, 8))},
		data{"BF16/all lanes", BF16, elements(BF16, gaussian(largeElements, 8))},
		data{"F32/all lanes, half a row", F32, elements(F32, gaussian(largeElements+77, 8))},
		data{"BF16/largest", BF16, elements(BF16, gaussian(1<<20, 5))},
		data{"F32/largest", F32, elements(F32, gaussian(1<<20, 6))},
	)
}

// convert widens elements of dtype from.
func convert(from, to Dtype, b []byte) (out []byte) {
	for _, w := range widenings {
		if w.narrow != from || w.wide != to {
			continue
		}
		out = make([]byte, len(b)/from.Width()*to.Width())
		if w.up(out, b) >= 0 {
			panic("an element that does not widen")
		}
	}
	return out
}

// halves converts BF16 elements to F16, those that it can.
func halves(b []byte) (out []byte) {
	for ; len(b) > 0; b = b[2:] {
		x := make([]byte, 2)
		if upBF16F16(x, b[:2]) < 0 {
			out = append(out, x...)
		}
	}
	return out
}

func appendElement(dst []byte, x uint64, width int) []byte {
	return append(dst, binary.LittleEndian.AppendUint64(nil, x)[:width]...)
}

// TestWidenings: every narrow element that has a wide one comes back, and a wide
// one that none has is refused.
func TestWidenings(t *testing.T) {
	for _, w := range widenings {
		r := rand.New(rand.NewPCG(1, uint64(w.wide)))
		nw, ww, widens := w.narrow.Width(), w.wide.Width(), 0
		for i := range 1 << 17 {
			x := uint64(i)
			if i >= 1<<16 {
				x = r.Uint64() >> r.IntN(8) // of which the low bytes are taken
			}
			narrow, wide := appendElement(nil, x, nw), make([]byte, ww)
			if w.up(wide, narrow) >= 0 {
				continue
			}
			widens++
			if got, ok := w.down(nil, wide); !ok || !bytes.Equal(got, narrow) {
				t.Fatalf("%v %x widens to %v %x, which gives back %x, %v", w.narrow, narrow, w.wide, wide, got, ok)
			}
			wide[r.IntN(2)] ^= 1 << r.IntN(3)
			if got, ok := w.down(nil, wide); ok {
				again := make([]byte, ww)
				if w.up(again, got) >= 0 || !bytes.Equal(again, wide) {
					t.Fatalf("%v %x narrows to %x, which widens to %x", w.wide, wide, got, again)
				}
			}
		}
		if widens < 1<<10 {
			t.Errorf("%v: only %d elements widen", w.narrow, widens)
		}
	}
	// IEEE 754 conversions of the language are the reference.
	r := rand.New(rand.NewPCG(2, 2))
	for range 1 << 16 {
		f := math.Float32frombits(r.Uint32())
		if math.IsNaN(float64(f)) {
			continue
		}
		if got := widen(uint64(math.Float32bits(f)), floatF32, floatF64); got != math.Float64bits(float64(f)) {
			t.Fatalf("%v widens to %x", f, got)
		}
	}
}

// small makes integers of a byte in a wider type.
func small(width int) (out []byte) {
	for i := range 1 << 15 {
		out = appendElement(out, uint64(i*i%101), width)
	}
	return out
}

func encode(t testing.TB, level Level, d Dtype, src []byte) []byte {
	t.Helper()
	b, err := NewEncoder(level).Encode(nil, d, src, Geometry{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// geometries are rows of whole units of 256 elements and others, of one element
// and of more than a chunk, from their start and from within.
var geometries = []Geometry{{256, 0}, {1000, 37}, {1024, 512}, {4096, 300}, {77, 76}, {1, 0}, {2048, 0}, {1 << 30, 1 << 29}}

func TestRoundTrip(t *testing.T) {
	seen := map[Method]int{}
	for level := range levels {
		var pairs []pair
		for _, impl := range Implementations() {
			pairs = append(pairs, newPair(t, level, impl))
		}
		for i, c := range testData() {
			seen[roundTrip(t, pairs, c, Geometry{})]++
			seen[roundTrip(t, pairs, c, geometries[i%len(geometries)])]++
		}
		// Rows and columns of different scale, from the second row on, and from within it.
		const cols = 2048
		matrix := model.BF16(model.Matrix(512, cols, 1))
		for _, first := range []int{0, cols / 2, 300} {
			seen[roundTrip(t, pairs, data{"BF16/matrix", BF16, matrix[2*first:]}, Geometry{cols, first})]++
		}
	}
	for m, decode := range methods {
		if decode != nil && seen[Method(m)] == 0 {
			t.Errorf("no case used method %d", m)
		}
	}
}

// pair is an encoder and a decoder of one implementation.
type pair struct {
	impl string
	enc  *Encoder
	dec  *Decoder
}

func newPair(t testing.TB, level Level, impl string) pair {
	t.Helper()
	p := pair{impl, NewEncoder(level), NewDecoder(&Prologue{tables: &Tables{}})}
	if err := errors.Join(p.enc.Use(impl), p.dec.Use(impl)); err != nil {
		t.Fatal(err)
	}
	return p
}

// roundTrip encodes and decodes c with each implementation, which must all give
// the same chunk. It returns its method.
func roundTrip(t *testing.T, pairs []pair, c data, g Geometry) Method {
	t.Helper()
	src := bytes.Clone(c.b)
	want, err := NewEncoder(pairs[0].enc.level).Encode(nil, c.d, c.b, g)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if len(want) > HeaderSize+len(c.b) {
		t.Errorf("%s: %d bytes became %d", c.name, len(c.b), len(want))
	}
	for _, p := range pairs {
		chunk, err := p.enc.Encode([]byte("before"), c.d, c.b, g)
		if err != nil || !bytes.Equal(chunk, append([]byte("before"), want...)) {
			t.Fatalf("%s, %v: a used encoder, of %s, gives other bytes than a new one: %v", c.name, g, p.impl, err)
		}
		if !bytes.Equal(src, c.b) {
			t.Fatalf("%s: encoding changed its input", c.name)
		}
		got := make([]byte, len(c.b))
		if err := p.dec.Decode(got, want); err != nil || !bytes.Equal(got, c.b) {
			t.Fatalf("%s, %v: %s does not decode what was encoded: %v", c.name, g, p.impl, err)
		}
	}
	h, err := ParseChunk(want)
	if err != nil {
		t.Fatal(err)
	}
	return h.Method
}

func TestSizes(t *testing.T) {
	w := gaussian(1<<20, 1)
	wide := elements(F32, w)
	for i := 0; i < len(wide); i += 4 {
		wide[i], wide[i+1] = 0, 0
	}
	for _, c := range []struct {
		name string
		d    Dtype
		b    []byte
		most float64 // of the decoded size
	}{
		{"BF16", BF16, elements(BF16, w), 0.660},
		{"F16", F16, elements(F16, w), 0.848},
		{"F32", F32, elements(F32, w), 0.830},
		{"F32 of BF16", F32, wide, 0.331},
		{"E4M3", F8_E4M3, elements(F8_E4M3, w), 0.82},
		{"E5M2", F8_E5M2, elements(F8_E5M2, w), 0.70},
		{"zeros", BF16, make([]byte, 2<<20), 0.0001},
		{"mask", BOOL, bytes.Repeat(append(make([]byte, 500), bytes.Repeat([]byte{1}, 524)...), 1000), 0.001},
	} {
		got := float64(len(encode(t, Default, c.d, c.b))) / float64(len(c.b))
		if got > c.most {
			t.Errorf("%s: encoded to %.4f of its size, want at most %.4f", c.name, got, c.most)
		}
	}
}

// layer encodes a layer of the testData of at most limit bytes, after a chunk of
// small tensors that share tables.
func layer(t testing.TB, limit int) (encoded, decoded []byte) {
	t.Helper()
	var tensors [][]byte
	var b TableBuilder
	for i := range 40 {
		x := elements(BF16, gaussian(100+37*i, uint64(i)))
		tensors = append(tensors, x)
		b.Add(BF16, x)
	}
	tables := b.Build()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, tables)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, x := range tensors {
		sizes = append(sizes, len(x))
	}
	enc, small := NewEncoder(Default), bytes.Join(tensors, nil)
	shared, err := enc.EncodeShared(nil, BF16, small, sizes, tables)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteChunk(shared); err != nil {
		t.Fatal(err)
	}
	decoded = append(decoded, small...)
	for _, c := range testData() {
		if len(c.b) > limit || len(c.b) < 60 {
			continue
		}
		if err := w.WriteChunk(encode(t, Default, c.d, c.b)); err != nil {
			t.Fatal(err)
		}
		decoded = append(decoded, c.b...)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteChunk(shared); err == nil {
		t.Error("a closed layer takes a chunk")
	}
	return buf.Bytes(), decoded
}

// readAll reads a layer front to back.
func readAll(r io.Reader) (decoded []byte, err error) {
	return readWith(Implementations()[0], r, math.MaxInt)
}

func TestReaders(t *testing.T) {
	encoded, want := layer(t, 200<<10)
	for name, r := range map[string]io.Reader{
		"whole":        bytes.NewReader(encoded),
		"in place":     bytes.NewBuffer(bytes.Clone(encoded)),
		"byte a time":  iotest.OneByteReader(bytes.NewReader(encoded)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(encoded)),
	} {
		got, err := readAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: read %d bytes of %d: %v", name, len(got), len(want), err)
		}
	}
	l, err := OpenLayer(bytes.NewReader(encoded), int64(len(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	if l.Size() != int64(len(want)) {
		t.Fatalf("decoded size %d, want %d", l.Size(), len(want))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		off := r.IntN(len(want))
		p := make([]byte, r.IntN(min(len(want)-off, 300<<10))+1)
		if n, err := l.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+n]) {
			t.Fatalf("ReadAt(%d, %d) = %d, %v", len(p), off, n, err)
		}
	}
	if n, err := l.ReadAt(make([]byte, 10), l.Size()-3); n != 3 || !errors.Is(err, io.EOF) {
		t.Errorf("reading past the end: %d, %v", n, err)
	}
	if err := iotest.TestReader(io.NewSectionReader(l, 0, 20_000), want[:20_000]); err != nil {
		t.Error(err)
	}
}

func TestSharedTablesPay(t *testing.T) {
	// Forty small tensors of four scales: one chunk with tables for each scale
	// must be smaller than one table for all, and than a chunk for each tensor.
	var b TableBuilder
	var all []byte
	var sizes []int
	alone := 0
	for i := range 40 {
		w := gaussian(1000, uint64(i))
		for j := range w {
			w[j] *= float32(math.Pow(8, float64(i%4)))
		}
		x := elements(BF16, w)
		b.Add(BF16, x)
		all, sizes = append(all, x...), append(sizes, len(x))
		alone += len(encode(t, Default, BF16, x))
	}
	tables := b.Build()
	shared, err := NewEncoder(Default).EncodeShared(nil, BF16, all, sizes, tables)
	if err != nil {
		t.Fatal(err)
	}
	size := len(shared) + len(tables.append(nil))
	if one := len(encode(t, Default, BF16, all)); size >= one || size >= alone {
		t.Errorf("shared tables: %d bytes; one table: %d; chunks of their own: %d", size, one, alone)
	}
}

func TestEncoderRefuses(t *testing.T) {
	e := NewEncoder(Default)
	for _, c := range []data{
		{"empty", BF16, nil},
		{"half an element", BF16, make([]byte, 3)},
		{"too long", U8, make([]byte, 1<<20+1)},
		{"dtype", dtypes, make([]byte, 4)},
	} {
		if _, err := e.Encode(nil, c.d, c.b, Geometry{}); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	var b TableBuilder
	b.Add(BF16, make([]byte, 100))
	src := elements(BF16, gaussian(50, 1))
	for _, sizes := range [][]int{{98}, {101}, {-2, 102}, {33, 67}, {102}} {
		if _, err := e.EncodeShared(nil, BF16, src, sizes, b.Build()); err == nil {
			t.Errorf("sizes %v: no error", sizes)
		}
	}
}

// TestCorruption changes every bit of the first 4 KiB of a layer and 10,000
// others: each must be an error, and what was decoded before it must be right.
func TestCorruption(t *testing.T) {
	encoded, want := layer(t, 300)
	r := rand.New(rand.NewPCG(5, 5))
	flip := func(bit int) {
		bad := bytes.Clone(encoded)
		bad[bit/8] ^= 1 << (bit % 8)
		got, err := readAll(bytes.NewReader(bad))
		if err == nil {
			t.Fatalf("bit %d of byte %d flipped: no error", bit%8, bit/8)
		}
		if !bytes.HasPrefix(want, got) {
			t.Fatalf("bit %d of byte %d flipped: wrong bytes before %v", bit%8, bit/8, err)
		}
		var c *CorruptError
		if !errors.As(err, &c) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("bit %d of byte %d flipped: %T: %v", bit%8, bit/8, err, err)
		}
	}
	step, random := 1, 10_000
	if testing.Short() {
		step, random = 7, 1000
	}
	for bit := 0; bit < 4096*8; bit += step {
		flip(bit)
	}
	for range random {
		flip(r.IntN(len(encoded) * 8))
	}
}

func TestTruncation(t *testing.T) {
	encoded, want := layer(t, 300)
	l, err := OpenLayer(bytes.NewReader(encoded), int64(len(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	cuts := []int{0, 1, 23, 24, len(encoded) - 1}
	for _, c := range l.Chunks() {
		cuts = append(cuts, int(c.Offset)-1, int(c.Offset), int(c.Offset)+1, int(c.Offset)+HeaderSize)
	}
	for _, cut := range cuts {
		got, err := readAll(bytes.NewReader(encoded[:cut]))
		var c *CorruptError
		if !errors.As(err, &c) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if !bytes.HasPrefix(want, got) {
			t.Fatalf("cut at %d: wrong bytes", cut)
		}
		if _, err := OpenLayer(bytes.NewReader(encoded[:cut]), int64(cut)); err == nil {
			t.Fatalf("cut at %d: OpenLayer finds nothing wrong", cut)
		}
	}
	if _, err := readAll(bytes.NewReader(append(bytes.Clone(encoded), 0))); err == nil {
		t.Error("a byte after the trailer: no error")
	}
}
