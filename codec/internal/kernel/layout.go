package kernel

// Layout describes the elements that the rANS method cuts in symbol and rest:
// from the top, Sign sign bits, Exp exponent bits, Mant mantissa bits, in
// little-endian elements of 4, 8, 16 or 32 bits. An element of 4 bits is half a
// byte, the low half first. Integers are layouts without a sign: their highest
// bits stand for the exponent.
type Layout struct {
	Sign uint // sign bits, 0 or 1
	Exp  uint // exponent bits, 4 to 8
	Mant uint // mantissa bits, 0 to 23
}

// The layouts: FORMAT.md, "Dtypes".
var (
	BF16   = Layout{1, 8, 7}
	F16    = Layout{1, 5, 10}
	F32    = Layout{1, 8, 23}
	E4M3   = Layout{1, 4, 3}
	E5M2   = Layout{1, 5, 2}
	Byte   = Layout{0, 5, 3}
	Nibble = Layout{0, 4, 0}
)

// MaxTop is the largest number of mantissa bits that a symbol may hold.
const MaxTop = 3

// values is the number of different symbols at MaxTop: 8 exponent bits and 3
// mantissa bits.
const values = 1 << (8 + MaxTop)

// Histogram counts symbols; the index is exponent<<top | top mantissa bits.
type Histogram [values]uint32

// Bits is the size of an element in bits: 4, 8, 16 or 32.
func (f Layout) Bits() uint { return f.Sign + f.Exp + f.Mant }

// Elements is the number of elements in size bytes, whole elements.
func (f Layout) Elements(size int) int { return size * 8 / int(f.Bits()) }

// Size is the number of bytes of n elements; n is even for elements of 4 bits.
func (f Layout) Size(n int) int { return n * int(f.Bits()) / 8 }

// Signed is f with the sign as the highest bit of the symbol, not of the rest.
func (f Layout) Signed() Layout { return Layout{0, f.Sign + f.Exp, f.Mant} }

// TopLimit is the largest top that layout f allows.
func (f Layout) TopLimit() uint { return min(MaxTop, f.Mant) }

// RestBits is the width of what a symbol with top mantissa bits leaves over:
// the sign and the low mantissa bits.
func (f Layout) RestBits(top uint) uint { return f.Sign + f.Mant - top }

// PackedBits and Planes say how the rest of an element is stored: the low
// Planes bytes as byte planes, the remaining PackedBits (0 to 7) bits packed.
func (f Layout) PackedBits(top uint) uint { return f.RestBits(top) % 8 }

// Planes is the number of whole byte planes of the rest, 0 to 3.
func (f Layout) Planes(top uint) int { return int(f.RestBits(top) / 8) }

// shift is the distance from a symbol's value to its place in a word: the word
// of an element is its highest 16 bits (of narrower elements, followed by zeros)
// without the bits of the rest.
func (f Layout) shift(top uint) uint { return 16 - f.Sign - f.Exp - top }

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

// symbols returns how the symbols, with f.TopLimit() top mantissa bits, of as many
// elements as 64 bits hold are taken: shifted down, and masked.
func (f Layout) symbols() (shift, mask uint64) {
	one := uint64(1)<<(f.Exp+f.TopLimit()) - 1
	for at := uint(0); at < 64; at += f.Bits() {
		mask |= one << at
	}
	return uint64(f.Mant - f.TopLimit()), mask
}

// Sum is the sum of the symbols of src, whole elements of layout f, with
// f.TopLimit() top mantissa bits: nearly, but for a factor, the sum of the
// logarithms of the elements.
func (im *Impl) Sum(f Layout, src []byte) uint64 {
	sum, n := im.sum(f, src)
	rest, m := sumGo(f, src[n:])
	shift, mask := f.symbols()
	var last [8]byte
	copy(last[:], src[n+m:])
	return sum + rest + sumWord(le64(last[:])>>shift&mask, f.Bits())
}

// sumGo is Impl.sum.
func sumGo(f Layout, src []byte) (sum uint64, n int) {
	shift, mask := f.symbols()
	for ; n+8 <= len(src); n += 8 {
		sum += sumWord(le64(src[n:])>>(shift&63)&mask, f.Bits())
	}
	return sum, n
}

// sumWord is the sum of the parts of v, of bits bits each, 4 to 32.
func sumWord(v uint64, bits uint) uint64 {
	switch bits {
	case 4:
		v = v&0x0f0f0f0f0f0f0f0f + v>>4&0x0f0f0f0f0f0f0f0f
		fallthrough
	case 8:
		v = v&0x00ff00ff00ff00ff + v>>8&0x00ff00ff00ff00ff
		fallthrough
	case 16:
		v = v&0x0000ffff0000ffff + v>>16&0x0000ffff0000ffff
	}
	return v&0xffffffff + v>>32
}

// Count adds the symbols of src, whole elements of layout f, to h with
// f.TopLimit() top mantissa bits.
func Count(h *Histogram, f Layout, src []byte) {
	shift, mask := (f.Mant-f.TopLimit())&63, uint64(min(uint(1)<<(f.Exp+f.TopLimit()), values)-1)
	// Several tables break the dependence between equal symbols that are near.
	var more [3]Histogram
	a, b, c := &more[0], &more[1], &more[2]
	switch f.Bits() {
	case 16:
		for ; len(src) >= 8; src = src[8:] {
			v := le64(src) >> shift
			h[v&mask]++
			a[v>>16&mask]++
			b[v>>32&mask]++
			c[v>>48&mask]++
		}
	case 32:
		for ; len(src) >= 16; src = src[16:] {
			v, w := le64(src[:8])>>shift, le64(src[8:16])>>shift
			h[v&mask]++
			a[v>>32&mask]++
			b[w&mask]++
			c[w>>32&mask]++
		}
	default:
		size := f.Bits() & 15 // 4 or 8
		for ; len(src) >= 8; src = src[8:] {
			v := le64(src) >> shift
			for range 16 / size {
				h[v&mask]++
				a[v>>size&mask]++
				v = v >> size >> size
				b[v&mask]++
				c[v>>size&mask]++
				v = v >> size >> size
			}
		}
	}
	size := f.Bits() & 63
	for ; len(src) > 0; src = src[min(8, len(src)):] {
		var last [8]byte
		v := uint64(0)
		n := copy(last[:], src)
		for v = le64(last[:]) >> shift; n*8 >= int(size); n -= max(1, int(size)/8) {
			h[v&mask]++
			v >>= size
			if size == 4 {
				h[v&mask]++
				v >>= size
			}
		}
	}
	for i := range h {
		h[i] += a[i] + b[i] + c[i]
	}
}
