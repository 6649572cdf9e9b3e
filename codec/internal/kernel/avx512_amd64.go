//go:build !purego

package kernel

import (
	"math/bits"
	"sync"
)

// avx512Impl is for CPUs with AVX-512 VBMI2: Intel from Ice Lake, AMD from Zen 4.
var avx512Impl = Impl{
	Name:   "avx512",
	decode: decodeAVX512,
	fused:  fusedAVX512,
	encode: encodeAVX512,
	merge:  mergeAVX512,
	split:  splitAVX512,
	sum:    sumAVX2,
	copy:   copyAVX512,
}

// vector holds the bytes of one register.
type vector [64]uint8

// constants are vectors that the loops need.
type constants struct {
	// interleave makes 64 words of their low bytes and their high bytes, which
	// are bytes 0 to 63 and 64 to 127 of a lookup in two registers.
	interleave [2]vector
	lowBytes   vector    // takes the low bytes of 64 words, in such a lookup
	ascending  [2]vector // from offset n on, rotates a register by n bytes
	words      vector    // 0, 1, 2, ... in 32 words
}

var avx512Constants = newConstants()

func newConstants() *constants {
	c := new(constants)
	for i := range c.words {
		c.interleave[0][i], c.interleave[1][i] = uint8(i/2+i%2*64), uint8(32+i/2+i%2*64)
		c.lowBytes[i] = uint8(2 * i)
		c.ascending[0][i], c.ascending[1][i] = uint8(i), uint8(64+i)
		if i%2 == 0 {
			c.words[i] = uint8(i / 2)
		}
	}
	return c
}

func decodeAVX512(d *Decoder, words []uint16, t *Table, base int) int {
	if min(len(words), len(d.stream)) < d.lanes { // perhaps nil
		return 0
	}
	have := len(d.escaped)
	room := d.escaped[have:cap(d.escaped)]
	var n, used, found int
	switch d.lanes {
	case GroupLanes:
		n, used, found = decodeRows1(d, t, words, d.stream, room, base, avx512Constants)
	case MaxLanes:
		n, used, found = decodeRows4(d, t, words, d.stream, room, base, avx512Constants)
	}
	d.stream, d.escaped = d.stream[used:], d.escaped[:have+found]
	return n
}

// decodeRows4 decodes whole rows of four groups while words, stream and escaped
// last: it appends base plus the index of each escape to escaped. It returns the
// symbols it decoded, the bytes of the stream it used and the escapes it found.
//
//go:noescape
func decodeRows4(d *Decoder, t *Table, words []uint16, stream []byte, escaped []uint16, base int, k *constants) (n, used, found int)

// decodeRows1 is decodeRows4 for rows of one group.
//
//go:noescape
func decodeRows1(d *Decoder, t *Table, words []uint16, stream []byte, escaped []uint16, base int, k *constants) (n, used, found int)

// encodeBlock is how many symbols encodeAVX512 looks up before it encodes them; a
// multiple of MaxLanes.
const encodeBlock = 1024

func encodeAVX512(e *Encoder, vals []uint16, t *Table) int {
	var syms [encodeBlock]uint8
	var escapes [encodeBlock / 64]uint64 // a bit for each symbol
	for end := len(vals); end > 0; {
		start := max(0, end-encodeBlock)
		block := vals[start:end]
		if window, base := t.window(); window != nil {
			symbolsOf(&syms[0], &escapes[0], &block[0], len(block), window, base, avx512Constants)
		} else {
			t.lookUp(&syms, &escapes, block)
		}
		for g := len(block)/64 - 1; g >= 0; g-- {
			for m := escapes[g]; m != 0; {
				i := bits.Len64(m) - 1
				e.escape(block[64*g+i], t)
				m &^= 1 << i
			}
		}
		// No symbol puts out more than a byte, and a store takes 64.
		free := e.buf[:e.free]
		_ = free[len(block)+streamSlack-1]
		switch e.lanes {
		case GroupLanes:
			e.free -= encodeRows1(e, t, &syms[0], len(block)/GroupLanes, free, avx512Constants)
		case MaxLanes:
			e.free -= encodeRows4(e, t, &syms[0], len(block)/MaxLanes, free, avx512Constants)
		}
		end = start
	}
	return len(vals)
}

// window returns the part of t.index, from base on, that has all symbols in its
// first 255 entries; the last is the escape. It is nil if they are further apart.
func (t *Table) window() (window *[256]uint8, base int) {
	base = min(int(t.Values[1]), len(t.index)-256)
	if t.N < 2 || int(t.Values[t.N-1])-base >= 255 {
		return nil, 0
	}
	return (*[256]uint8)(t.index[base:]), base
}

// lookUp is symbolsOf for a table without a window.
func (t *Table) lookUp(syms *[encodeBlock]uint8, escapes *[encodeBlock / 64]uint64, vals []uint16) {
	clear(escapes[:])
	for i, v := range vals {
		s := t.index[int(v)&(len(t.index)-1)]
		syms[i] = s
		escapes[i/64] |= (uint64(s) - 1) >> 63 << (i % 64)
	}
}

// symbolsOf looks up the symbols of n values, n a multiple of 64 that is not 0.
// Bit i%64 of escapes[i/64] says whether symbol i is an escape.
//
//go:noescape
func symbolsOf(syms *uint8, escapes *uint64, vals *uint16, n int, window *[256]uint8, base int, k *constants)

// encodeRows4 encodes rows rows of four groups, rows > 0, to the end of free,
// which must have room for 64 bytes more than symbols. It returns the length of
// what it wrote.
//
//go:noescape
func encodeRows4(e *Encoder, t *Table, syms *uint8, rows int, free []byte, k *constants) (used int)

// encodeRows1 is encodeRows4 for rows of one group.
//
//go:noescape
func encodeRows1(e *Encoder, t *Table, syms *uint8, rows int, free []byte, k *constants) (used int)

// splitBlock is how many elements splitAVX512 splits before it goes on: each of
// its loops reads them again.
const splitBlock = 4096

func splitAVX512(vals []uint16, packed []byte, planes [][]byte, s *shape, src []byte) int {
	done := 0
	for done < len(vals) {
		n := min(splitBlock, len(vals)-done)
		var cut [3][]byte
		for k, p := range planes[:s.planes] {
			cut[k] = p[done:]
		}
		d := splitPart(vals[done:done+n], packed[done/8*int(s.packed):], cut[:s.planes], s, src[done*int(s.bits)/8:])
		done += d
		if d < splitBlock {
			break
		}
	}
	return done
}

// splitPart splits the first n elements, a multiple of eight.
func splitPart(vals []uint16, packed []byte, planes [][]byte, s *shape, src []byte) int {
	width, low := s.topBits()
	top, n := packed, len(vals)&^31
	if low < s.planes {
		top = planes[low]
	}
	if n == 0 {
		return 0
	}
	_ = src[n*int(s.bits)/8-1]
	switch s.bits {
	case 4:
		values4(&vals[0], &src[0], n, s.low, uint(s.mask))
	case 8:
		values8(&vals[0], &src[0], n, s.low, uint(s.mask))
	case 16:
		values16(&vals[0], &src[0], n, s.low, uint(s.mask))
	case 32:
		values32(&vals[0], &src[0], n, s.low, uint(s.mask))
	}
	switch {
	case s.bits == 16 && low == 1:
		plane16(&planes[0][:n][0], &src[0], n)
	case s.bits == 32:
		planes32(&planes[0][:n][0], &planes[1][:n][0], &src[0], n)
	}
	if width == 0 {
		return n
	}
	// A group is stored as eight bytes, of which the next overwrites some.
	if len(top) < 8 {
		return 0
	}
	n = min(n, (len(top)-8)/int(width)*8+8)
	// The bits of the rest that are not in lower planes.
	mask := (uint64(1)<<s.low-1)>>(8*low)<<(8*low) | uint64(s.sign())<<(s.bits-1)
	switch s.bits {
	case 8:
		pack8(&top[0], &src[0], n, mask*0x0101010101010101, width)
	case 16:
		pack16(&top[0], &src[0], n, mask*0x0001000100010001, width)
	case 32:
		pack32(&top[0], &src[0], n, mask*0x0000000100000001, width)
	}
	return n
}

// values4 and the others set vals to the symbols of n elements, n a multiple of
// 32 that is not 0, of 4 to 32 bits.
//
//go:noescape
func values4(vals *uint16, src *byte, n int, shift, mask uint)

//go:noescape
func values8(vals *uint16, src *byte, n int, shift, mask uint)

//go:noescape
func values16(vals *uint16, src *byte, n int, shift, mask uint)

//go:noescape
func values32(vals *uint16, src *byte, n int, shift, mask uint)

// pack8 and the others pack what mask selects of each 64 bits of n elements, n a
// multiple of eight that is not 0, of 8 to 32 bits. That is bits bits, at most 8, of each. They
// write eight bytes for each eight elements, and overwrite all but the first bits
// bytes of those with the next.
//
//go:noescape
func pack8(top, src *byte, n int, mask uint64, bits uint)

//go:noescape
func pack16(top, src *byte, n int, mask uint64, bits uint)

//go:noescape
func pack32(top, src *byte, n int, mask uint64, bits uint)

// plane16 sets plane to the low bytes of n elements of 16 bits, n a multiple of
// 32 that is not 0.
//
//go:noescape
func plane16(plane, src *byte, n int)

// planes32 sets the planes to the two low bytes of n elements of 32 bits, n a
// multiple of 16 that is not 0.
//
//go:noescape
func planes32(plane0, plane1, src *byte, n int)

// streamCopy is the least that is worth a copy past the caches, in bytes.
const streamCopy = 4 << 10

func copyAVX512(dst, src []byte) int {
	if len(src) < streamCopy {
		return 0
	}
	return copyStream(&dst[:len(src)][0], &src[0], len(src))
}

// copyStream copies some of n bytes, at least all but the last 255, past the
// caches; n is at least 512.
//
//go:noescape
func copyStream(dst, src *byte, n int) (done int)

// A mergeTable says where the bits of a rest go, for one shape. The top plane
// holds the highest bits of the rest: the packed plane or, if there is none, the
// highest byte plane. Elements of 16 bits may have plane 0 besides, those of 32
// bits have planes 0 and 1.
type mergeTable struct {
	size                       uint64    // bytes that 64 elements take in the top plane
	mask, shift, mask2, shift2 vector    // bits and places of the mantissa, and of the sign if that needs others
	top                        [4]vector // lookups in the top plane
	planes                     [4]vector // lookups in planes 0 and 1, for elements of 32 bits
	words                      [2]vector // lookups in 32 words, for elements of 32 bits
	high                       vector    // lookup of the high bytes of 64 words, for elements of 8 bits
}

// mergeTables has a table for each shape: see mergeTableOf.
var mergeTables = sync.OnceValue(func() *[5][24][2]*mergeTable {
	tables := new([5][24][2]*mergeTable)
	for _, f := range []Layout{BF16, F16, F32, E4M3, E5M2, Byte, Nibble} {
		for top := range f.TopLimit() + 1 {
			for _, f := range []Layout{f, f.Signed()} {
				s := shapeOf(f, top)
				*s.find(tables) = newMergeTable(&s)
			}
		}
	}
	return tables
})

// find returns the place of the table of shape s.
func (s *shape) find(tables *[5][24][2]*mergeTable) **mergeTable {
	return &tables[s.bits/8][s.low][s.sign()]
}

// sign is the number of sign bits.
func (s *shape) sign() uint { return s.bits - s.symbol - s.low }

// topBits is the width of the rest of an element in the top plane.
func (s *shape) topBits() (bits uint, planes int) {
	if s.packed == 0 && s.planes > 0 {
		return 8, s.planes - 1
	}
	return s.packed, s.planes
}

func newMergeTable(s *shape) *mergeTable {
	bits, planes := s.topBits()
	m := &mergeTable{size: 8 * uint64(bits)}
	size := int(s.bits / 8) // of an element
	if size == 0 {
		return m // merge4 needs no more
	}
	per := 8 / size              // elements in 64 bits
	low := int(s.low) - 8*planes // mantissa bits in the top plane
	both := size == 2 && planes == 1
	for i := range 4 * len(m.mask) {
		v, l := i/len(m.mask), i%len(m.mask)
		at := i / 8 * per * int(bits) // bits of the top plane before these 64 bits
		m.top[v][l] = uint8(at/8 + i%8)
		if both {
			m.top[v][l] = uint8(64 + i/8*per + i%8)
			if i%8 >= 4 {
				m.top[v][l] = uint8(at/8 + i%8 - 4)
			}
		}
		m.planes[v][l] = uint8(i/4 + i%2*64)
		m.words[v%2][l] = uint8(i/4*2 + i%2)
		m.high[l] = uint8(2*l + 1)
	}
	for i := range m.mask {
		element, part := i%8/size, i%8%size
		from := i/8*per*int(bits)%8 + element*int(bits)
		if both {
			from += 32
		}
		mantissa, sign := uint8(1<<low-1), uint8(s.sign()<<7)
		switch {
		case both && part == 0:
			m.mask[i], m.shift[i] = 0xff, uint8(8*element)
		case part == planes:
			m.mask[i], m.shift[i] = mantissa, uint8(from)
		case part == size-1:
			m.mask[i], m.shift[i] = sign, uint8(from+low-7)
		}
		if part == planes && planes == size-1 {
			m.mask2[i], m.shift2[i] = sign, uint8(from+low-7)
		}
	}
	return m
}

func mergeAVX512(dst []byte, s *shape, words []uint16, packed []byte, planes [][]byte) int {
	n, m := len(words)&^63, *s.find(mergeTables())
	if n == 0 || m == nil {
		return 0
	}
	bits, low := s.topBits()
	top := packed
	if s.packed == 0 && s.planes > 0 {
		top = planes[low]
	}
	// A shape without a rest has no top plane, but a load must not fault.
	var none [1]byte
	if bits == 0 {
		top = none[:]
	}
	dst, top = dst[:n*int(s.bits)/8], top[:max(1, n/8*int(bits))]
	switch s.bits {
	case 4:
		merge4(m, &dst[0], &words[0], n)
	case 8:
		merge8(m, &dst[0], &words[0], &top[0], n)
	case 16:
		if low == 0 {
			merge16(m, &dst[0], &words[0], &top[0], n)
			break
		}
		merge16p(m, &dst[0], &words[0], &top[0], &planes[0][:n][0], n)
	case 32:
		merge32(m, &dst[0], &words[0], &top[0], &planes[0][:n][0], &planes[1][:n][0], n)
	}
	return n
}

// merge4 and the others merge n elements, a multiple of 64 that is not 0, of 4
// to 32 bits.
//
//go:noescape
func merge4(m *mergeTable, dst *byte, words *uint16, n int)

//go:noescape
func merge8(m *mergeTable, dst *byte, words *uint16, top *byte, n int)

//go:noescape
func merge16(m *mergeTable, dst *byte, words *uint16, top *byte, n int)

// merge16p is merge16 with a byte plane besides the top plane.
//
//go:noescape
func merge16p(m *mergeTable, dst *byte, words *uint16, top, plane *byte, n int)

//go:noescape
func merge32(m *mergeTable, dst *byte, words *uint16, top, plane0, plane1 *byte, n int)
