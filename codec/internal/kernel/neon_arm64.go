//go:build !purego

package kernel

import "math/bits"

// neonImpl is for every arm64 CPU. It has passed its tests on an emulator and was
// never timed. What is in vectors is what should gain most by them; the rest is
// plain Go, and the runtime's memmove.
var neonImpl = Impl{
	Name:   "neon",
	decode: decodeNEON,
	encode: encodeGo,
	merge:  mergeNEON,
	split:  splitGo,
	sum:    sumGo,
	copy:   goImpl.copy,
}

// expansion spreads bytes of the stream over the lanes that are due for one,
// eight lanes at a time: which lanes are, is a mask of eight bits.
type expansion struct {
	ranks   [256][8]uint8 // by mask: for each lane that is due, how many before it are
	counts  [256]uint8    // by mask: how many are
	weights [16]uint8     // the bits of two masks
	upper   [16]uint8     // 0 in the first eight lanes, 8 in the others: see ranks
}

var neonExpansion = newExpansion()

func newExpansion() *expansion {
	e := new(expansion)
	for mask := range e.ranks {
		for l := range e.ranks[mask] {
			e.ranks[mask][l] = uint8(bits.OnesCount8(uint8(mask) << (8 - l)))
		}
		e.counts[mask] = uint8(bits.OnesCount8(uint8(mask)))
	}
	for l := range e.weights {
		e.weights[l], e.upper[l] = 1<<(l%8), uint8(l/8*8)
	}
	return e
}

func decodeNEON(d *Decoder, words []uint16, t *Table, base int) int {
	have := len(d.escaped)
	room := d.escaped[have:cap(d.escaped)]
	rows := min(len(words), len(room)) / d.lanes
	if rows == 0 || len(d.stream) < d.lanes {
		return 0
	}
	n, used, found := decodeRowsNEON(d, t, neonExpansion, words[:rows*d.lanes], d.stream, room, base)
	d.stream, d.escaped = d.stream[used:], d.escaped[:have+found]
	return n
}

// decodeRowsNEON decodes rows, words having a whole number of them and at least
// one, until fewer than d.lanes bytes of the stream are left. It puts base plus
// the index of each escape in escaped, which is at least as long as words, and
// returns the symbols it decoded, the bytes it used and the escapes it found.
//
//go:noescape
func decodeRowsNEON(d *Decoder, t *Table, x *expansion, words []uint16, stream []byte, escaped []uint16, base int) (n, used, found int)

// restTable says where the bits of a rest are and where they belong, for eight
// elements of 16 bits or the upper halves of such of 32 bits.
type restTable struct {
	index     [8][2]uint8 // two bytes of the top plane with the bits of an element
	shift     [8]int16    // that brings them to bit 0
	mask      [8]uint16   // of as many bits
	low, sign [8]uint16   // masks of the mantissa and the sign, which may be 0
	up        [8]int16    // shift of the sign to bit 15
}

func newRestTable(s *shape, width uint) (r restTable) {
	below := s.bits - 16 // bits of the lower half
	low, sign, up := s.masks(below, 16, 1)
	for l := range uint(8) {
		at := l * width
		r.index[l] = [2]uint8{uint8(at / 8), uint8(at/8 + 1)}
		r.shift[l], r.mask[l] = -int16(at%8), 1<<width-1
		r.low[l], r.sign[l], r.up[l] = uint16(low), uint16(sign), int16(up)
	}
	return r
}

func mergeNEON(dst []byte, s *shape, words []uint16, packed []byte, planes [][]byte) int {
	if s.bits < 16 {
		return mergeGo(dst, s, words, packed, planes)
	}
	top, width, planes := s.topPlane(packed, planes)
	// Eight bytes of the top plane are read for eight elements, whatever they need.
	if len(top) < 8 {
		return 0
	}
	n := min(len(words)/8, (len(top)-8)/int(width)+1) * 8
	if n == 0 {
		return 0
	}
	dst = dst[:n*int(s.bits)/8]
	r := newRestTable(s, width)
	switch len(planes) {
	case 0:
		merge16NEON(&r, &dst[0], &words[0], &top[0], int(width), n)
	case 1:
		merge16PlaneNEON(&r, &dst[0], &words[0], &top[0], &planes[0][:n][0], int(width), n)
	default:
		merge32NEON(&r, &dst[0], &words[0], &top[0], &planes[0][:n][0], &planes[1][:n][0], int(width), n)
	}
	return n
}

// merge16NEON merges n > 0 elements of 16 bits, n a multiple of eight, whose
// rests are in a top plane of width bits per element.
//
//go:noescape
func merge16NEON(r *restTable, dst *byte, words *uint16, top *byte, width, n int)

// merge16PlaneNEON is merge16NEON for rests with a byte plane besides.
//
//go:noescape
func merge16PlaneNEON(r *restTable, dst *byte, words *uint16, top, plane *byte, width, n int)

// merge32NEON is merge16NEON for elements of 32 bits with two byte planes
// besides.
//
//go:noescape
func merge32NEON(r *restTable, dst *byte, words *uint16, top, plane0, plane1 *byte, width, n int)
