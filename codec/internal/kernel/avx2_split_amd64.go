//go:build !purego

package kernel

// splitArgs are the arguments of the loops that split.
type splitArgs struct {
	src    *byte
	vals   *uint16
	packed *byte   // eight bytes of it are written for eight elements
	p0, p1 *byte   // byte planes of the lower half
	n      int     // elements; a multiple of 32
	bits   int     // of a rest, to pack
	none   [8]byte // what is packed where there are no bits

	// Powers of two whose products with a word have in the upper half the value,
	// and the sign above the low mantissa bits; and masks of the value, of that
	// sign and of those bits.
	valScale, signScale, val, sign, mant uint16

	// How rests of these bits are packed: see PACK.
	pair  [2]uint16 // 1, 2^bits
	align [2]uint32 // 32 - 2*bits, 0
	down  uint64    // 32 - 2*bits
	up    uint64    // 4*bits
}

// splitAVX2 is Impl.split.
func splitAVX2(vals []uint16, packed []byte, planes [][]byte, s *shape, src []byte) int {
	n := min(len(vals), len(src)*8/int(s.bits))
	for _, p := range planes[:s.planes] {
		n = min(n, len(p))
	}
	w := s.word()
	bits := int(s.packed)
	if bits > 0 {
		// The last group of eight elements is stored with what follows it.
		n = min(n, (len(packed)-8)/bits*8+8)
	}
	n &^= 31
	if n <= 0 {
		return 0
	}
	a := splitArgs{
		src: &src[0], vals: &vals[0], n: n, bits: bits,
		valScale: 1 << (16 - w.low), signScale: 1 << (w.low + 1),
		val: uint16(s.mask), sign: uint16(w.sign << w.low), mant: 1<<w.low - 1,
		pair: [2]uint16{1, 1 << bits}, align: [2]uint32{uint32(32 - 2*bits)},
		down: uint64(32 - 2*bits), up: uint64(4 * bits),
	}
	a.packed = &a.none[0]
	if bits > 0 {
		a.packed = &packed[0]
	}
	switch {
	case s.bits == 4:
		split4AVX2(&a)
	case s.bits == 8:
		split8AVX2(&a)
	case s.bits == 32:
		a.p0, a.p1 = &planes[0][0], &planes[1][0]
		if s.planes == 3 {
			a.packed = &planes[2][0]
			split32PlaneAVX2(&a)
		} else {
			split32AVX2(&a)
		}
	case s.planes == 1:
		a.p0 = &planes[0][0]
		splitPlaneAVX2(&a)
	default:
		splitWordAVX2(&a)
	}
	return n
}

// splitWordAVX2 is for words without a lower byte plane, splitPlaneAVX2 for words
// with one.
//
//go:noescape
func splitWordAVX2(a *splitArgs)

//go:noescape
func splitPlaneAVX2(a *splitArgs)

//go:noescape
func split4AVX2(a *splitArgs)

//go:noescape
func split8AVX2(a *splitArgs)

// split32AVX2 packs the rest of the upper half, split32PlaneAVX2 stores it as a
// byte plane.
//
//go:noescape
func split32AVX2(a *splitArgs)

//go:noescape
func split32PlaneAVX2(a *splitArgs)
