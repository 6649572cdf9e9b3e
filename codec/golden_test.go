package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"testing"
)

// integerFloats makes n elements of a dtype with exponents of geometric
// distribution, with integer arithmetic alone, so that every CPU makes the same.
func integerFloats(d Dtype, n int, seed uint64) []byte {
	f := dtypeTable[d].float
	x := seed*2862933555777941757 + 3037000493
	var b []byte
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		exp := uint64(1)<<(f.Exp-1) - 1 - uint64(min(bits.LeadingZeros64(x|1<<40), 1<<(f.Exp-1)-1))
		w := x>>1&1<<(f.Exp+f.Mant) | exp<<f.Mant | x&(1<<f.Mant-1)
		b = append(b, binary.LittleEndian.AppendUint64(nil, w)[:f.Width]...)
	}
	return b
}

// TestEncodingIsPinned holds the encoder to the bytes it gave when its digests
// were last allowed to change: on every CPU, and after every change. A change
// here changes the digests of all models and belongs into CHANGELOG.md.
func TestEncodingIsPinned(t *testing.T) {
	want := [levels]string{
		Default: "025e5096d025f2a3eaf74f72ad89382a7d75ea49852d7386029a32812b5c94c7",
		Max:     "45d41c97dc9198a19f6656f5c3dd5d3a0eaefefac60248cba29084bc474e082e",
	}
	for level := range levels {
		h := sha256.New()
		enc := NewEncoder(level)
		add := func(chunk []byte, err error) {
			if err != nil {
				t.Fatal(err)
			}
			h.Write(chunk)
		}
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
		h.Write(appendPrologue(nil, shared))
		add(enc.EncodeShared(nil, BF16, bytes.Join(small, nil), sizes, shared))
		for _, d := range []Dtype{BF16, F16, F32, F8_E4M3, F8_E5M2} {
			for _, n := range []int{1000, 70_001, largeElements + 3} {
				add(enc.Encode(nil, d, integerFloats(d, n, uint64(n))))
			}
		}
		add(enc.Encode(nil, Bytes, bytes.Repeat([]byte(`{"weights":"text that repeats",`), 3000)))
		add(enc.Encode(nil, U8, integerFloats(F8_E4M3, 100_000, 9)))
		if got := hex.EncodeToString(h.Sum(nil)); got != want[level] {
			t.Errorf("level %v: the encoding has sha256 %s, it was %s", level, got, want[level])
		}
	}
}
