package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"
)

// heapAllocated is the number of bytes allocated so far.
func heapAllocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// repair returns b, as far as it looks like a layer, with check sums and hashes
// that are right, so that changes elsewhere are not found by them.
func repair(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < prologueHeader+8 {
		return b
	}
	at := prologueHeader + int(min(binary.LittleEndian.Uint32(b[12:]), maxTableBytes))
	if at+8 > len(b) {
		return b
	}
	binary.LittleEndian.PutUint64(b[at:], xxh3.Hash(b[:at]))
	p, err := ReadPrologue(bytes.NewReader(b))
	if err != nil {
		return b
	}
	dec := NewDecoder(p)
	for at += 8; len(b)-at >= HeaderSize; {
		h := b[at : at+HeaderSize]
		size := int64(binary.LittleEndian.Uint32(h[4:]))
		if size > int64(len(b)-at-HeaderSize) {
			break
		}
		payload := b[at+HeaderSize:][:size]
		binary.LittleEndian.PutUint32(h[20:], uint32(xxh3.Hash(h[:20])))
		c, err := parseHeader(h)
		if err != nil {
			break
		}
		switch {
		case c.Method == trailerMethod:
			binary.LittleEndian.PutUint64(h[12:], xxh3.Hash(payload))
		case c.Method == Zstd && size >= zstdPrefix:
			binary.LittleEndian.PutUint32(payload, uint32(xxh3.Hash(payload[zstdPrefix:])))
			fallthrough
		default:
			dst := make([]byte, c.Decoded)
			if methods[c.Method](dec, dst, c.Dtype.Width(), payload) == nil {
				binary.LittleEndian.PutUint64(h[12:], xxh3.Hash(dst))
			}
		}
		binary.LittleEndian.PutUint32(h[20:], uint32(xxh3.Hash(h[:20])))
		at += c.Encoded
	}
	return b
}

// FuzzReader reads any bytes: no panic, errors of the documented types only,
// allocation in proportion to input and output, and the same from front to back
// as at random.
func FuzzReader(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.layer)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkReader(t, b)
		checkReader(t, repair(b))
	})
}

// errStop ends reading a layer that decodes to more than a test wants.
var errStop = errors.New("enough")

// readWith reads a layer front to back, and at most limit decoded bytes of it, with
// one of the Implementations.
func readWith(impl string, r io.Reader, limit int) (decoded []byte, err error) {
	l, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	if err := l.dec.Use(impl); err != nil {
		return nil, err
	}
	for {
		c, err := l.Next()
		if errors.Is(err, io.EOF) {
			return decoded, nil
		}
		if err != nil {
			return decoded, err
		}
		if len(decoded)+c.Decoded > limit {
			return decoded, errStop
		}
		n := len(decoded)
		decoded = slices.Grow(decoded, c.Decoded)[:n+c.Decoded]
		if err := l.Decode(decoded[n:]); err != nil {
			return decoded[:n], err
		}
	}
}

func checkReader(t *testing.T, b []byte) {
	t.Helper()
	before := heapAllocated()
	impls := Implementations()
	forward, err := readWith(impls[0], bytes.NewReader(b), 3*MaxChunk)
	// Scratch for a chunk, and what grows with input and output.
	if got, most := heapAllocated()-before, uint64(64<<20+64*len(b)+16*len(forward)); got > most {
		t.Errorf("reading %d bytes, which decode to %d, allocates %d", len(b), len(forward), got)
	}
	for _, impl := range impls[1:] {
		other, otherErr := readWith(impl, bytes.NewBuffer(bytes.Clone(b)), 3*MaxChunk)
		if !bytes.Equal(other, forward) || fmt.Sprint(otherErr) != fmt.Sprint(err) {
			t.Errorf("%s reads %d bytes, %v; %s %d, %v", impl, len(other), otherErr, impls[0], len(forward), err)
		}
	}
	if errors.Is(err, errStop) {
		return
	}
	if got := outcome(err); got != "success" && got != "corrupt" && got != "unsupported" && got != "truncated" {
		t.Errorf("error of another type: %v", err)
	}
	l, openErr := OpenLayer(bytes.NewReader(b), int64(len(b)))
	if openErr != nil {
		if err == nil {
			t.Errorf("Reader reads what OpenLayer refuses: %v", openErr)
		}
		return
	}
	size := l.Size()
	if err != nil { // the trailer may promise any size; a byte more is enough
		size = min(size, int64(len(forward))+1)
	}
	random := make([]byte, size)
	n, randomErr := l.ReadAt(random, 0)
	switch {
	case err == nil && (randomErr != nil || !bytes.Equal(random, forward)):
		t.Errorf("Reader reads %d bytes, ReadAt %d, %v", len(forward), n, randomErr)
	case err != nil && randomErr == nil && n > len(forward):
		t.Errorf("ReadAt reads %d bytes, Reader %d, %v", n, len(forward), err)
	case !bytes.HasPrefix(forward, random[:n]):
		t.Errorf("ReadAt and Reader read different bytes")
	}
}

// tile repeats b to n bytes, a little different each time.
func tile(b []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b[i%len(b)] + byte(i/len(b)*i/1024)
	}
	return out
}

// FuzzRoundTrip encodes and decodes elements of any dtype and bits, of a tensor of
// any shape, with every implementation.
func FuzzRoundTrip(f *testing.F) {
	for _, c := range testData() {
		if len(c.b) <= 10_000 {
			f.Add(uint8(c.d), false, uint8(0), uint32(0), uint32(0), c.b)
		}
	}
	for i, d := range []Dtype{BF16, F32, F8_E5M2, I16, F64, Q4_K} {
		for j, g := range geometries {
			f.Add(uint8(d), (i+j)%2 == 0, uint8(2*j), uint32(g.Cols), uint32(g.First), elements(d, gaussian(9000/d.Width(), uint64(j))))
		}
	}
	var pairs [levels][]pair
	for level := range levels {
		for _, impl := range Implementations() {
			pairs[level] = append(pairs[level], newPair(f, level, impl))
		}
	}
	f.Fuzz(func(t *testing.T, dtype uint8, most bool, again uint8, cols, first uint32, b []byte) {
		d, level := Dtype(dtype%uint8(dtypes)), Default
		if most {
			level = Max
		}
		size := min(d.ChunkSize(), len(b)*(1+int(again))) / d.Width() * d.Width()
		if size == 0 {
			return
		}
		g := Geometry{Cols: int(cols >> 1)}
		if g.Cols > 0 {
			g.First = int(first>>1) % g.Cols
		}
		roundTrip(t, pairs[level], data{d.String(), d, tile(b, size)}, g)
	})
}

// FuzzShared encodes tensors of any sizes with shared tables.
func FuzzShared(f *testing.F) {
	for d := range dtypes {
		if d.shares() {
			f.Add(uint8(d), []byte{100, 0, 3, 250, 250, 250, 1}, elements(d, gaussian(900, uint64(d))))
			f.Add(uint8(d), slices.Repeat([]byte{40}, 9), elements(d, gaussian(90, uint64(d))))
		}
	}
	f.Add(uint8(U8), []byte{9, 9}, []byte("bytes"))
	f.Fuzz(func(t *testing.T, dtype uint8, counts, b []byte) {
		d := Dtype(dtype % uint8(dtypes))
		counts = counts[:min(len(counts), 300)]
		var sizes []int
		total := 0
		for _, c := range counts {
			sizes = append(sizes, int(c)*d.Width())
			total += int(c) * d.Width()
		}
		if total == 0 {
			return
		}
		src := tile(append(b, 0), total)
		// Tables are made of every other tensor: they must do for the rest.
		var builder TableBuilder
		for i, rest := 0, src; i < len(sizes); i++ {
			if i%2 == 0 {
				builder.Add(d, rest[:sizes[i]])
			}
			rest = rest[sizes[i]:]
		}
		impls := Implementations()
		layer := sharedLayer(t, impls[0], d, src, sizes, builder.Build())
		for _, impl := range impls {
			if !bytes.Equal(layer, sharedLayer(t, impl, d, src, sizes, builder.Build())) {
				t.Fatalf("encoding again, with %s, gives different bytes", impl)
			}
		}
		got, err := readAll(bytes.NewReader(layer))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("%d tensors of %v do not survive: %v", len(sizes), d, err)
		}
		checkReader(t, layer)
	})
}

// sharedLayer is a layer of one chunk.
func sharedLayer(t *testing.T, impl string, d Dtype, src []byte, sizes []int, tables *Tables) []byte {
	t.Helper()
	enc := NewEncoder(Default)
	if err := enc.Use(impl); err != nil {
		t.Fatal(err)
	}
	chunk, err := enc.EncodeShared(nil, d, src, sizes, tables)
	if err != nil {
		t.Fatal(err)
	}
	if len(chunk) > HeaderSize+len(src) {
		t.Fatalf("%d bytes became %d", len(src), len(chunk))
	}
	var buf bytes.Buffer
	w, err := NewWriter(&buf, tables)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteChunk(chunk); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
