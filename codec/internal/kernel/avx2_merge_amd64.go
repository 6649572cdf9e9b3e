//go:build !purego

package kernel

// The loops that split and merge take elements in vectors of 16 words. An
// element of 32 bits is a word, its upper half, and two byte planes, its lower;
// an element of 8 bits is the upper half of a word. So in a word there are, from
// the top, a sign bit or none, a symbol, and low mantissa bits. Sign and mantissa
// bits are the rest: up to 8 bits, or the lower byte and up to 4 bits.

// wordShape is how a word divides.
type wordShape struct {
	low  uint // mantissa bits that are not in the symbol
	sign uint // 0 or 1
	bits uint // of the rest above a lower byte; 8 if they are a byte plane
}

func (s *shape) word() wordShape {
	w := wordShape{low: s.low, sign: s.packed + uint(8*s.planes) - s.low, bits: s.packed}
	switch s.bits {
	case 8:
		w.low += 8
	case 32:
		w.low -= 16
	}
	if w.low+w.sign == 8 && s.bits > 8 {
		w.bits = 8
	}
	return w
}

// unpackAVX2 says how to get 16 rests of some number of bits out of 16 bytes,
// which are in both halves of a vector: the bytes that hold the rest of each
// word, and the power of two that moves it to the top of the word.
type unpackAVX2 struct {
	from  [32]uint8
	scale [16]uint16
}

// unpacksAVX2 is by the number of bits.
var unpacksAVX2 = func() (list [9]unpackAVX2) {
	for bits := 1; bits < len(list); bits++ {
		u := &list[bits]
		for i := range u.scale {
			at, shift := i*bits/8, i*bits%8
			u.from[2*i], u.from[2*i+1] = uint8(at), uint8(at+1)
			if shift+bits <= 8 {
				u.from[2*i+1] = 0x80 // none
			}
			u.scale[i] = 1 << (16 - bits - shift)
		}
	}
	return list
}()

// mergeArgs are the arguments of the loops that merge.
type mergeArgs struct {
	dst    *byte
	words  *uint16
	packed *byte // 16 bytes of it are read for 16 elements
	p0, p1 *byte // byte planes of the lower half
	n      int   // elements; a multiple of 32
	step   int   // bytes of packed for 16 elements
	unpack *unpackAVX2
	scale  uint16 // moves the mantissa bits of an unpacked rest to their place
	mant   uint16 // mask of that place
	sign   uint16 // mask of the sign
}

// mergeAVX2 is Impl.merge.
func mergeAVX2(dst []byte, s *shape, words []uint16, packed []byte, planes [][]byte) int {
	n := min(len(words), len(dst)*8/int(s.bits))
	for _, p := range planes[:s.planes] {
		n = min(n, len(p))
	}
	w := s.word()
	if w.bits == 8 {
		packed = planes[s.planes-1]
	}
	if w.bits > 0 {
		n = min(n, (len(packed)-16)/int(w.bits)*8+16)
	}
	n &^= 31
	if n <= 0 {
		return 0
	}
	u := &unpacksAVX2[w.bits]
	a := mergeArgs{
		dst: &dst[0], words: &words[0], packed: &u.from[0], n: n, step: int(2 * w.bits), unpack: u,
		scale: 1 << w.bits, mant: 1<<w.low - 1, sign: uint16(w.sign << 15),
	}
	if w.bits > 0 {
		a.packed = &packed[0]
	}
	if w.low >= 8 {
		a.scale <<= 8
		a.mant &= 0xff00
	}
	switch {
	case s.bits == 4:
		merge4AVX2(&a)
	case s.bits == 8:
		merge8AVX2(&a)
	case s.bits == 32:
		a.p0, a.p1 = &planes[0][0], &planes[1][0]
		merge32AVX2(&a)
	case w.low >= 8:
		a.p0 = &planes[0][0]
		mergePlaneAVX2(&a)
	default:
		mergeWordAVX2(&a)
	}
	return n
}

// mergeWordAVX2 is for words without a lower byte plane, mergePlaneAVX2 for words
// with one.
//
//go:noescape
func mergeWordAVX2(a *mergeArgs)

//go:noescape
func mergePlaneAVX2(a *mergeArgs)

//go:noescape
func merge4AVX2(a *mergeArgs)

//go:noescape
func merge8AVX2(a *mergeArgs)

//go:noescape
func merge32AVX2(a *mergeArgs)

// copyAVX2 is Impl.copy: all but what is left behind the last whole 128 bytes.
//
//go:noescape
func copyAVX2(dst, src []byte) (n int)
