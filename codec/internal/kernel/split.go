package kernel

import "encoding/binary"

// shape is how an element divides into symbol and rest for one Layout and top.
type shape struct {
	bits   uint   // of an element
	low    uint   // mantissa bits that are not in the symbol
	packed uint   // Layout.PackedBits
	planes int    // Layout.Planes
	symbol uint   // bits of the symbol
	mask   uint32 // of the symbol, shifted down by low
}

func shapeOf(f Layout, top uint) shape {
	return shape{
		bits: f.Bits(), low: f.Mant - top,
		packed: f.PackedBits(top), planes: f.Planes(top), symbol: f.Exp + top, mask: 1<<(f.Exp+top) - 1,
	}
}

// Split takes the elements of src apart: vals[i] is the symbol of element i with
// top mantissa bits, packed and planes its rest. len(vals) is the number of
// elements; packed is PackedSize(len(vals), f.PackedBits(top)) long and each of
// the f.Planes(top) planes len(vals).
func (im *Impl) Split(vals []uint16, packed []byte, planes [][]byte, f Layout, top uint, src []byte) {
	s := shapeOf(f, top)
	n := im.split(vals, packed, planes, &s, src)
	n += splitGo(vals[n:], packed[n/8*int(s.packed):], after(planes, n), &s, src[f.Size(n):])
	// The last few, in groups with room for all that splitGo touches.
	for ; n < len(vals); n += 8 {
		var g group
		copy(g.elements[:], src[f.Size(n):])
		splitGo(g.words[:], g.packed[:], g.slices(len(planes)), &s, g.elements[:])
		copy(vals[n:], g.words[:])
		copy(packed[n/8*int(s.packed):], g.packed[:s.packed])
		for k := range planes {
			copy(planes[k][n:], g.planes[k][:])
		}
	}
}

// Merge writes the elements whose words and rests these are to dst: the inverse
// of Split. packed and the planes begin with the first element, and may be
// longer; len(words) is a multiple of eight unless these are the last elements.
func (im *Impl) Merge(dst []byte, f Layout, top uint, words []uint16, packed []byte, planes [][]byte) {
	s := shapeOf(f, top)
	n := im.merge(dst, &s, words, packed, planes)
	n += mergeGo(dst[f.Size(n):], &s, words[n:], packed[n/8*int(s.packed):], after(planes, n))
	for ; n < len(words); n += 8 {
		var g group
		copy(g.words[:], words[n:])
		copy(g.packed[:s.packed], packed[n/8*int(s.packed):])
		for k := range planes {
			copy(g.planes[k][:], planes[k][n:])
		}
		mergeGo(g.elements[:], &s, g.words[:], g.packed[:], g.slices(len(planes)))
		copy(dst[f.Size(n):], g.elements[:f.Size(min(8, len(words)-n))])
	}
}

// after returns planes from element n on.
func after(planes [][]byte, n int) [][]byte {
	var list [3][]byte
	for k := range planes {
		list[k] = planes[k][n:]
	}
	return list[:len(planes)]
}

// group is eight elements, whole and taken apart.
type group struct {
	elements [32]byte
	words    [8]uint16
	packed   [8]byte
	planes   [3][8]byte
}

func (g *group) slices(n int) [][]byte {
	return [][]byte{g.planes[0][:], g.planes[1][:], g.planes[2][:]}[:n]
}

// topPlane returns what holds the highest bits of the rests: the packed plane or,
// if there is none, the last byte plane; how many bits of a rest are there; and
// the other planes.
func (s *shape) topPlane(packed []byte, planes [][]byte) (top []byte, width uint, others [][]byte) {
	if s.packed > 0 || s.planes == 0 {
		return packed, s.packed, planes
	}
	last := s.planes - 1
	return planes[last], 8, planes[:last]
}

// splitGo is Impl.split. Like mergeGo, it takes groups of eight elements, and
// touches eight bytes of the top plane for each: it stops short of the end if a
// group has fewer.
func splitGo(vals []uint16, packed []byte, planes [][]byte, s *shape, src []byte) int {
	top, width, planes := s.topPlane(packed, planes)
	switch {
	case s.bits == 4:
		return splitNibbles(vals, src)
	case s.bits == 8:
		return s.split8(vals, top, src)
	case s.bits == 32:
		return s.split32(vals, top, width, planes[0], planes[1], src)
	case s.low == 6 && width == 7:
		return splitBF16(vals, top, src)
	case len(planes) == 0:
		return s.split16(vals, top, width, nil, src)
	}
	return s.split16(vals, top, width, planes[0], src)
}

// mergeGo is Impl.merge.
func mergeGo(dst []byte, s *shape, words []uint16, packed []byte, planes [][]byte) int {
	top, width, planes := s.topPlane(packed, planes)
	switch {
	case s.bits == 4:
		return mergeNibbles(dst, words)
	case s.bits == 8:
		return s.merge8(dst, words, top)
	case s.bits == 32:
		return s.merge32(dst, words, top, width, planes[0], planes[1])
	case s.low == 6 && width == 7:
		return mergeBF16(dst, words, top)
	case len(planes) == 0:
		return s.merge16(dst, words, top, width, nil)
	}
	return s.merge16(dst, words, top, width, planes[0])
}

// In the functions below a uint64 holds several small numbers, the first lowest:
// "lanes" are four of 16 bits, "bytes" are eight. They take eight elements at a
// time.

const (
	eachLane = 0x0001_0001_0001_0001
	eachByte = 0x0101_0101_0101_0101
)

// lanes reads four words.
func lanes(w []uint16) uint64 {
	return uint64(w[0]) | uint64(w[1])<<16 | uint64(w[2])<<32 | uint64(w[3])<<48
}

// putLanes writes four words.
func putLanes(w []uint16, v uint64) {
	_ = w[3]
	w[0], w[1], w[2], w[3] = uint16(v), uint16(v>>16), uint16(v>>32), uint16(v>>48)
}

func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

// widen makes lanes of the lower four bytes.
func widen(v uint64) uint64 {
	v = v&0xffff | v<<16&0xffff_0000_0000
	return v&0x0000_00ff_0000_00ff | v<<8&0x00ff_0000_00ff_0000
}

// narrow makes bytes of the low halves of eight lanes.
func narrow(a, b uint64) uint64 {
	a = a&0x0000_00ff_0000_00ff | a>>8&0x0000_ff00_0000_ff00
	b = b&0x0000_00ff_0000_00ff | b>>8&0x0000_ff00_0000_ff00
	return a&0xffff | a>>16&0xffff_0000 | b<<32&0xffff_0000_0000 | b<<16&0xffff_0000_0000_0000
}

// bitRow moves eight numbers of a few bits (at most eight) between a row, where
// they touch, and bytes: in three steps, by halves, quarters and eighths.
type bitRow struct {
	shift     [3]uint
	low, high [3]uint64 // which bits stay and which move, where they come to lie
}

func bitRowOf(bits uint) (r bitRow) {
	for k, each := range [3]uint64{1, 0x0000_0001_0000_0001, eachLane} {
		n, lane := bits*4>>k, uint(32)>>k
		r.shift[k] = (lane - n) & 63
		r.low[k] = (1<<n - 1) * each
		r.high[k] = r.low[k] << lane
	}
	return r
}

func (r *bitRow) spread(v uint64) uint64 {
	v = v&r.low[0] | v<<(r.shift[0]&63)&r.high[0]
	v = v&r.low[1] | v<<(r.shift[1]&63)&r.high[1]
	return v&r.low[2] | v<<(r.shift[2]&63)&r.high[2]
}

func (r *bitRow) gather(v uint64) uint64 {
	v = v&r.low[2] | v&r.high[2]>>(r.shift[2]&63)
	v = v&r.low[1] | v&r.high[1]>>(r.shift[1]&63)
	return v&r.low[0] | v&r.high[0]>>(r.shift[0]&63)
}

// masks returns masks of the mantissa and of the sign (0 if there is none) in
// rests without the lowest below bits, one rest in each field of size bits that
// each has a bit in, and how far the sign is from its place, the highest bit.
func (s *shape) masks(below, size uint, each uint64) (low, sign uint64, up uint) {
	n := (s.low - below) & 63
	sign = uint64(s.bits-s.symbol-s.low) << n
	return (1<<n - 1) * each, sign * each, (size - 1 - n) & 63
}

func (s *shape) split16(vals []uint16, top []byte, width uint, plane, src []byte) int {
	row, mask, shift := bitRowOf(width), uint64(s.mask)*eachLane, s.low&63
	low, sign, up := s.masks(0, 16, eachLane)
	i, at := 0, 0
	for ; i+8 <= len(vals) && 2*i+16 <= len(src) && at+8 <= len(top); i, at = i+8, at+int(width) {
		a, b := le64(src[2*i:2*i+8]), le64(src[2*i+8:2*i+16])
		putLanes(vals[i:i+4], a>>shift&mask)
		putLanes(vals[i+4:i+8], b>>shift&mask)
		a, b = a&low|a>>up&sign, b&low|b>>up&sign
		if i+8 <= len(plane) {
			put64(plane[i:i+8], narrow(a, b))
			a, b = a>>8, b>>8
		}
		put64(top[at:at+8], row.gather(narrow(a, b)))
	}
	return i
}

func (s *shape) merge16(dst []byte, words []uint16, top []byte, width uint, plane []byte) int {
	row := bitRowOf(width)
	low, sign, up := s.masks(0, 16, eachLane)
	i, at := 0, 0
	for ; i+8 <= len(words) && 2*i+16 <= len(dst) && at+8 <= len(top); i, at = i+8, at+int(width) {
		r := row.spread(le64(top[at : at+8]))
		a, b := widen(r), widen(r>>32)
		if i+8 <= len(plane) {
			p := le64(plane[i : i+8])
			a, b = a<<8|widen(p), b<<8|widen(p>>32)
		}
		put64(dst[2*i:2*i+8], lanes(words[i:i+4])|a&low|a&sign<<up)
		put64(dst[2*i+8:2*i+16], lanes(words[i+4:i+8])|b&low|b&sign<<up)
	}
	return i
}

// splitBF16 is split16 for the case that most weights are: BF16 with one mantissa
// bit in the symbol, seven bits of rest.
func splitBF16(vals []uint16, top, src []byte) int {
	i, at := 0, 0
	for ; i+8 <= len(vals) && 2*i+16 <= len(src) && at+8 <= len(top); i, at = i+8, at+7 {
		a, b := le64(src[2*i:2*i+8]), le64(src[2*i+8:2*i+16])
		putLanes(vals[i:i+4], a>>6&0x01ff_01ff_01ff_01ff)
		putLanes(vals[i+4:i+8], b>>6&0x01ff_01ff_01ff_01ff)
		put64(top[at:at+8], gatherBF16(a)|gatherBF16(b)<<28)
	}
	return i
}

// gatherBF16 packs the rests of four elements.
func gatherBF16(v uint64) uint64 {
	v = v&0x003f_003f_003f_003f | v>>9&0x0040_0040_0040_0040
	v = v&0x0000_007f_0000_007f | v>>9&0x0000_3f80_0000_3f80
	return v&0x3fff | v>>18&0x0fff_c000
}

// mergeBF16 is merge16 for the same case.
func mergeBF16(dst []byte, words []uint16, top []byte) int {
	i, at := 0, 0
	for ; i+8 <= len(words) && 2*i+16 <= len(dst) && at+8 <= len(top); i, at = i+8, at+7 {
		r := le64(top[at : at+8])
		put64(dst[2*i:2*i+8], lanes(words[i:i+4])|spreadBF16(r))
		put64(dst[2*i+8:2*i+16], lanes(words[i+4:i+8])|spreadBF16(r>>28))
	}
	return i
}

// spreadBF16 is the inverse of gatherBF16.
func spreadBF16(v uint64) uint64 {
	v = v&0x3fff | v<<18&0x3fff_0000_0000
	v = v&0x0000_007f_0000_007f | v<<9&0x007f_0000_007f_0000
	return v&0x003f_003f_003f_003f | v&0x0040_0040_0040_0040<<9
}

// split32 takes the upper halves of elements as split16 does; the lower are two
// planes.
func (s *shape) split32(vals []uint16, top []byte, width uint, plane0, plane1, src []byte) int {
	row, mask, shift := bitRowOf(width), uint64(s.mask)*eachLane, (s.low-16)&63
	low, sign, up := s.masks(16, 16, eachLane)
	i, at := 0, 0
	for ; i+8 <= len(vals) && 4*i+32 <= len(src) && at+8 <= len(top); i, at = i+8, at+int(width) {
		e := (*[32]byte)(src[4*i : 4*i+32])
		a, b, c, d := le64(e[:8]), le64(e[8:16]), le64(e[16:24]), le64(e[24:])
		lower0, lower1 := halves(a, b), halves(c, d)
		put64(plane0[i:i+8], narrow(lower0, lower1))
		put64(plane1[i:i+8], narrow(lower0>>8, lower1>>8))
		a, b = halves(a>>16, b>>16), halves(c>>16, d>>16)
		putLanes(vals[i:i+4], a>>shift&mask)
		putLanes(vals[i+4:i+8], b>>shift&mask)
		put64(top[at:at+8], row.gather(narrow(a&low|a>>up&sign, b&low|b>>up&sign)))
	}
	return i
}

// halves makes lanes of the lower halves of four elements of 32 bits.
func halves(a, b uint64) uint64 {
	return a&0xffff | a>>16&0xffff_0000 | b<<32&0xffff_0000_0000 | b<<16&0xffff_0000_0000_0000
}

func (s *shape) merge32(dst []byte, words []uint16, top []byte, width uint, plane0, plane1 []byte) int {
	row := bitRowOf(width)
	low, sign, up := s.masks(16, 16, eachLane)
	i, at := 0, 0
	for ; i+8 <= len(words) && 4*i+32 <= len(dst) && at+8 <= len(top); i, at = i+8, at+int(width) {
		r, p, q := row.spread(le64(top[at:at+8])), le64(plane0[i:i+8]), le64(plane1[i:i+8])
		a, b := widen(r), widen(r>>32)
		a = lanes(words[i:i+4]) | a&low | a&sign<<up
		b = lanes(words[i+4:i+8]) | b&low | b&sign<<up
		d := (*[32]byte)(dst[4*i : 4*i+32])
		putHalves((*[16]byte)(d[:16]), widen(p)|widen(q)<<8, a)
		putHalves((*[16]byte)(d[16:]), widen(p>>32)|widen(q>>32)<<8, b)
	}
	return i
}

// putHalves writes four elements whose lower and upper halves are lanes.
func putHalves(d *[16]byte, lower, upper uint64) {
	put64(d[:8], lower&0xffff|lower<<16&0xffff_0000_0000|upper<<16&0xffff_0000|upper<<32&0xffff_0000_0000_0000)
	lower, upper = lower>>32, upper>>32
	put64(d[8:], lower&0xffff|lower<<16&0xffff_0000_0000|upper<<16&0xffff_0000|upper<<32&0xffff_0000_0000_0000)
}

func (s *shape) split8(vals []uint16, top, src []byte) int {
	row, mask, shift := bitRowOf(s.packed), uint64(s.mask)*eachByte, s.low&63
	low, sign, up := s.masks(0, 8, eachByte)
	i, at := 0, 0
	for ; i+8 <= len(vals) && i+8 <= len(src) && at+8 <= len(top); i, at = i+8, at+int(s.packed) {
		e := le64(src[i : i+8])
		v := e >> shift & mask
		putLanes(vals[i:i+4], widen(v))
		putLanes(vals[i+4:i+8], widen(v>>32))
		put64(top[at:at+8], row.gather(e&low|e>>up&sign))
	}
	return i
}

func (s *shape) merge8(dst []byte, words []uint16, top []byte) int {
	row := bitRowOf(s.packed)
	low, sign, up := s.masks(0, 8, eachByte)
	i, at := 0, 0
	for ; i+8 <= len(words) && i+8 <= len(dst) && at+8 <= len(top); i, at = i+8, at+int(s.packed) {
		r := row.spread(le64(top[at : at+8]))
		v := narrow(lanes(words[i:i+4])>>8, lanes(words[i+4:i+8])>>8)
		put64(dst[i:i+8], v|r&low|r&sign<<up)
	}
	return i
}

// splitNibbles is for elements that are all symbol.
func splitNibbles(vals []uint16, src []byte) int {
	i := 0
	for ; i+8 <= len(vals) && i/2+4 <= len(src); i += 8 {
		v := widen(uint64(le32(src[i/2 : i/2+4])))
		v = v&(15*eachLane) | v<<4&(15<<8*eachLane)
		putLanes(vals[i:i+4], widen(v))
		putLanes(vals[i+4:i+8], widen(v>>32))
	}
	return i
}

func mergeNibbles(dst []byte, words []uint16) int {
	i := 0
	for ; i+8 <= len(words) && i/2+4 <= len(dst); i += 8 {
		v := narrow(lanes(words[i:i+4])>>12, lanes(words[i+4:i+8])>>12)
		v = v&(15*eachLane) | v>>4&(15<<4*eachLane)
		binary.LittleEndian.PutUint32(dst[i/2:i/2+4], uint32(narrow(v, 0)))
	}
	return i
}
