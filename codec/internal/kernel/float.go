package kernel

// Float describes a binary floating-point layout: one sign bit on top, then
// Exp exponent bits, then Mant mantissa bits, in little-endian elements of
// Width bytes. 1 + Exp + Mant is always 8*Width.
type Float struct {
	Width int  // bytes of an element: 1, 2 or 4
	Exp   uint // exponent bits, 4 to 8
	Mant  uint // mantissa bits, 2 to 23
}

// The layouts that the rANS method splits.
var (
	BF16 = Float{Width: 2, Exp: 8, Mant: 7}
	F16  = Float{Width: 2, Exp: 5, Mant: 10}
	F32  = Float{Width: 4, Exp: 8, Mant: 23}
	E4M3 = Float{Width: 1, Exp: 4, Mant: 3}
	E5M2 = Float{Width: 1, Exp: 5, Mant: 2}
)

// MaxTop is the largest number of mantissa bits that a symbol may hold.
const MaxTop = 3

// values is the number of different symbols at MaxTop: 8 exponent bits and 3
// mantissa bits.
const values = 1 << (8 + MaxTop)

// Histogram counts symbols; the index is exponent<<top | top mantissa bits.
type Histogram [values]uint32

// TopLimit is the largest top that layout f allows.
func (f Float) TopLimit() uint { return min(MaxTop, f.Mant) }

// RestBits is the width of what a symbol with top mantissa bits leaves over:
// the sign and the low mantissa bits.
func (f Float) RestBits(top uint) uint { return 1 + f.Mant - top }

// PackedBits and Planes say how the rest of an element is stored: the low
// Planes bytes as byte planes, the remaining PackedBits (0 to 7) bits packed.
func (f Float) PackedBits(top uint) uint { return f.RestBits(top) % 8 }

// Planes is the number of whole byte planes of the rest, 0 to 3.
func (f Float) Planes(top uint) int { return int(f.RestBits(top) / 8) }

// PackedSize is the length in bytes of a plane of n values of bits bits each:
// eight values fill bits bytes, the last group is padded with zero bits.
func PackedSize(n int, bits uint) int { return (n + 7) / 8 * int(bits) }

// Fold halves the resolution of a histogram: it sums a histogram counted with
// from top mantissa bits into one with to, to <= from.
func (h *Histogram) Fold(from, to uint) *Histogram {
	out := new(Histogram)
	shift := from - to
	for i, c := range h {
		if c != 0 {
			out[i>>shift] += c
		}
	}
	return out
}

// Count adds the symbols of src, whole elements of layout f, to h with
// f.TopLimit() top mantissa bits.
func Count(h *Histogram, f Float, src []byte) {
	top := f.TopLimit()
	mask := uint32(1)<<(f.Exp+top) - 1
	shift := f.Mant - top
	// Two tables break the dependence between neighbouring equal symbols.
	var odd Histogram
	switch f.Width {
	case 1:
		for _, b := range src {
			h[uint32(b)>>shift&mask]++
		}
	case 2:
		for ; len(src) >= 8; src = src[8:] {
			v := le64(src)
			h[uint32(v)>>shift&mask&(values-1)]++
			odd[uint32(v>>16)>>shift&mask&(values-1)]++
			h[uint32(v>>32)>>shift&mask&(values-1)]++
			odd[uint32(v>>48)>>shift&mask&(values-1)]++
		}
		for ; len(src) >= 2; src = src[2:] {
			h[uint32(le16(src))>>shift&mask]++
		}
	case 4:
		for ; len(src) >= 8; src = src[8:] {
			v := le64(src)
			h[uint32(v)>>shift&mask&(values-1)]++
			odd[uint32(v>>32)>>shift&mask&(values-1)]++
		}
		for ; len(src) >= 4; src = src[4:] {
			h[le32(src)>>shift&mask]++
		}
	}
	for i, c := range odd {
		h[i] += c
	}
}
