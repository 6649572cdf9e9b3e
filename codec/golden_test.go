package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"testing"
)

// A random is a source of numbers that are the same on every CPU.
type random uint64

func newRandom(seed uint64) *random {
	r := random(seed*2862933555777941757 + 3037000493)
	return &r
}

func (r *random) next() uint64 {
	x := *r
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = x
	return uint64(x)
}

// integerFloats makes n elements of a dtype with exponents of geometric
// distribution, with integer arithmetic alone, so that every CPU makes the same.
func integerFloats(d Dtype, n int, seed uint64) []byte {
	f := layoutTable[d.layout()]
	r := newRandom(seed)
	var b []byte
	for range n {
		x := r.next()
		exp := uint64(1)<<(f.Exp-1) - 1 - uint64(min(bits.LeadingZeros64(x|1<<40), 1<<(f.Exp-1)-1))
		w := x>>1&1<<(f.Exp+f.Mant) | exp<<f.Mant | x&(1<<f.Mant-1)
		b = append(b, binary.LittleEndian.AppendUint64(nil, w)[:d.Width()]...)
	}
	return b
}

// integerMatrix makes rows of BF16 elements; row and column tell the scale.
func integerMatrix(rows, cols int, byRow, byCol uint64) []byte {
	b := integerFloats(BF16, rows*cols, uint64(rows*cols))
	r := newRandom(uint64(cols))
	scales := make([]uint64, rows+cols)
	for i := range scales {
		scales[i] = r.next() >> 32
	}
	for i := range rows * cols {
		b[2*i+1] -= byte(scales[i/cols]%byRow + scales[rows+i%cols]%byCol)
	}
	return b
}

// integerBytes makes n bytes, sums of random bits in each half or in the whole.
func integerBytes(n int, seed uint64, halves bool) []byte {
	r, b := newRandom(seed), make([]byte, n)
	for i := range b {
		if x := r.next(); halves {
			b[i] = byte(bits.OnesCount64(x&0x7f)) | byte(bits.OnesCount64(x&0x7f00))<<4
		} else {
			b[i] = byte(bits.OnesCount64(x)*2 - 64)
		}
	}
	return b
}

// noise is n random bytes.
func noise(n int) []byte {
	r, b := newRandom(11), make([]byte, n)
	for i := range b {
		b[i] = byte(r.next() >> 24)
	}
	return b
}

// integerWords makes n integers of width bytes, small ones of both signs.
func integerWords(n, width int, seed uint64) (b []byte) {
	r := newRandom(seed)
	for range n {
		x := r.next()
		b = append(b, binary.LittleEndian.AppendUint64(nil, uint64(int64(x)>>(48+x%8)))[:width]...)
	}
	return b
}

// integerBlocks makes n blocks of F16 scales, as many as scales, and codes.
func integerBlocks(d Dtype, n, scales int, halves bool) (b []byte) {
	size := d.Width() - 2*scales
	s, codes := integerFloats(F16, n*scales, 3), integerBytes(n*size, 4, halves)
	for i := range n {
		b = append(append(b, s[2*scales*i:][:2*scales]...), codes[size*i:][:size]...)
	}
	return b
}

// golden are chunks of every kind that the encoder makes.
func golden() (list []data) {
	for _, d := range []Dtype{BF16, F16, F32, F8_E4M3, F8_E5M2} {
		for _, n := range []int{1000, 70_001, largeElements + 3} {
			list = append(list, data{"floats", d, integerFloats(d, n, uint64(n))})
		}
	}
	return append(list,
		data{"text", Bytes, bytes.Repeat([]byte(`{"weights":"text that repeats",`), 3000)},
		data{"bytes like floats", U8, integerFloats(F8_E4M3, 100_000, 9)},
		data{"bytes", I8, integerBytes(200_000, 1, false)},
		data{"halves of bytes", U8, integerBytes(200_000, 2, true)},
		data{"halves of words", I32, integerBytes(200_000, 2, true)},
		data{"floats in a file", Bytes, integerFloats(BF16, 100_000, 5)},
		data{"I16", I16, integerWords(50_000, 2, 1)},
		data{"I64", I64, integerWords(50_000, 8, 2)},
		data{"F64", F64, integerFloats64(30_000)},
		data{"F32 of F16", F32, convert(F16, F32, integerFloats(F16, 50_000, 6))},
		data{"F16 of BF16", F16, halves(integerFloats(BF16, 50_000, 7))},
		data{"F64 of F32", F64, convert(F32, F64, integerFloats(F32, 50_000, 8))},
		data{"Q8_0", Q8_0, integerBlocks(Q8_0, 5000, 1, false)},
		data{"Q4_K", Q4_K, integerBlocks(Q4_K, 2000, 2, true)},
		data{"Q6_K", Q6_K, integerBlocks(Q6_K, 1000, 1, false)},
		data{"noise", U8, noise(1000)},
		data{"zero", Q4_0, make([]byte, 18*100)},
	)
}

// integerFloats64 are F64 that F32 cannot hold.
func integerFloats64(n int) []byte {
	b, r := convert(F32, F64, integerFloats(F32, n, 4)), newRandom(5)
	for i := 0; i < len(b); i += 8 {
		b[i], b[i+1] = byte(r.next()>>20), byte(r.next()>>20)
	}
	return b
}

// goldenShared is a prologue and a chunk of small tensors that share its tables.
func goldenShared(enc *Encoder) (prologue, chunk []byte, err error) {
	var small [][]byte
	var sizes []int
	var tables TableBuilder
	for i := range 20 {
		x := integerFloats(BF16, 500+100*i, uint64(i+1))
		for j := 1; j < len(x); j += 2 {
			x[j] -= byte(i % 3) // three scales
		}
		small, sizes = append(small, x), append(sizes, len(x))
		tables.Add(BF16, x)
	}
	shared := tables.Build()
	chunk, err = enc.EncodeShared(nil, BF16, bytes.Join(small, nil), sizes, shared)
	return appendPrologue(nil, shared), chunk, err
}

// TestEncodingIsPinned holds the encoder to the bytes it gave when its digests
// were last allowed to change: on every CPU, and after every change. A change
// here changes the digests of all models and belongs into CHANGELOG.md.
func TestEncodingIsPinned(t *testing.T) {
	want := [levels]string{
		Default: "bfd8ccfa6fea1dbe7edd034a95fd428d77223a50ab5911313e189c7e8b4a80c9",
		Max:     "ed33ae8e1a5cb6391f204e0f36c1517bcc475a0b853ccd30a17f9024d982ad3b",
	}
	for level := range levels {
		h := sha256.New()
		enc := NewEncoder(level)
		var found []string
		add := func(chunk []byte, err error) {
			if err != nil {
				t.Fatal(err)
			}
			h.Write(chunk)
			c, err := ParseChunk(chunk)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, features(&c, chunk)...)
		}
		prologue, chunk, err := goldenShared(enc)
		h.Write(prologue)
		add(chunk, err)
		for _, c := range golden() {
			add(enc.Encode(nil, c.d, c.b, Geometry{}))
		}
		rows, both := integerMatrix(700, 1024, 4, 1), integerMatrix(512, 2048, 4, 3)
		add(enc.Encode(nil, BF16, rows, Geometry{}))
		add(enc.Encode(nil, BF16, rows[2*512:], Geometry{Cols: 1024, First: 512}))
		add(enc.Encode(nil, BF16, both, Geometry{Cols: 2048}))
		for m, decode := range methods {
			if Method(m) == Context && level != Max {
				continue
			}
			if f := fmt.Sprint("method ", m); decode != nil && !slices.Contains(found, f) {
				t.Errorf("level %v: nothing has %s", level, f)
			}
		}
		for _, f := range []string{"model 0", "model 1", "model 2", "1 groups", "4 groups", "layout 6", "layout 7"} {
			if !slices.Contains(found, f) {
				t.Errorf("level %v: nothing has %s", level, f)
			}
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want[level] {
			t.Errorf("level %v: the encoding has sha256 %s, it was %s", level, got, want[level])
		}
	}
}
