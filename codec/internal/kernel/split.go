package kernel

import "encoding/binary"

// layout is how an element divides into symbol and rest for one Float and top.
type layout struct {
	width  int
	low    uint   // mantissa bits that are not in the symbol
	sign   uint   // position of the sign
	bits   uint   // PackedBits
	planes int    // Planes
	symbol uint32 // mask of the symbol, shifted down by low
}

func layoutOf(f Float, top uint) layout {
	return layout{
		width: f.Width, low: f.Mant - top, sign: uint(8*f.Width - 1),
		bits: f.PackedBits(top), planes: f.Planes(top), symbol: 1<<(f.Exp+top) - 1,
	}
}

// Split takes the elements of src apart: vals[i] is the symbol of element i with
// top mantissa bits, packed and planes its rest. len(vals) is the number of
// elements; packed is PackedSize(len(vals), f.PackedBits(top)) long and each of
// the f.Planes(top) planes len(vals).
func Split(vals []uint16, packed []byte, planes [][]byte, f Float, top uint, src []byte) {
	done := 0
	if f == BF16 && top == 1 {
		done = splitBF16(vals, packed, src)
	}
	y := layoutOf(f, top)
	var group [32]byte
	var p [3]uint64
	for i := done; i < len(vals); i += 8 {
		n := min(8, len(vals)-i)
		from := src[i*y.width:]
		if n < 8 { // the last group, padded
			clear(group[:])
			copy(group[:], from)
			from = group[:]
		}
		var out [8]uint16
		g := y.splitGroup(&out, &p, from)
		copy(vals[i:], out[:])
		putPart(packed[i/8*int(y.bits):][:y.bits], g)
		for k := range y.planes {
			if n == 8 {
				binary.LittleEndian.PutUint64(planes[k][i:], p[k])
			} else {
				putPart(planes[k][i:i+n], p[k])
			}
		}
	}
}

// splitGroup splits eight elements. It returns the packed bits of their rests and
// puts the bytes of plane k into p[k].
func (y *layout) splitGroup(vals *[8]uint16, p *[3]uint64, src []byte) (packed uint64) {
	var w [8]uint32
	switch y.width {
	case 1:
		for j, b := range (*[8]byte)(src) {
			w[j] = uint32(b)
		}
	case 2:
		for j := range w {
			w[j] = uint32(le16(src[2*j : 2*j+2]))
		}
	default:
		for j := range w {
			w[j] = le32(src[4*j : 4*j+4])
		}
	}
	// In variables of their own, with ranges the compiler knows, they stay in
	// registers and shift without checks.
	low, sign, bits, shift := y.low&31, y.sign&31, y.bits&7, uint(8*y.planes)&31
	lowMask, symbol := uint32(1)<<low-1, y.symbol
	var p0, p1, p2 uint64
	for j := len(w) - 1; j >= 0; j-- {
		e := w[j]
		vals[j] = uint16(e >> low & symbol)
		rest := e>>sign<<low | e&lowMask
		packed = packed<<bits | uint64(rest>>shift)
		p0 = p0<<8 | uint64(rest&255)
		p1 = p1<<8 | uint64(rest>>8&255)
		p2 = p2<<8 | uint64(rest>>16&255)
	}
	p[0], p[1], p[2] = p0, p1, p2
	return packed
}

// Merge is the inverse of Split: it writes len(vals) finished elements to dst.
// Slices are as for Split; a plane and packed may also be longer.
func Merge(dst []byte, f Float, top uint, vals []uint16, packed []byte, planes [][]byte) {
	done := 0
	if f == BF16 && top == 1 {
		done = mergeBF16(dst, vals, packed)
	}
	y := layoutOf(f, top)
	var group [32]byte
	for i := done; i < len(vals); i += 8 {
		n := min(8, len(vals)-i)
		g := lePart(packed[i/8*int(y.bits):][:y.bits])
		var p [3]uint64
		for k := range y.planes {
			p[k] = lePart(planes[k][i:])
		}
		if n == 8 {
			y.mergeGroup(dst[i*y.width:], (*[8]uint16)(vals[i:]), &p, g)
			continue
		}
		var last [8]uint16
		copy(last[:], vals[i:])
		y.mergeGroup(group[:], &last, &p, g)
		copy(dst[i*y.width:], group[:n*y.width])
	}
}

// mergeGroup merges eight elements: the inverse of splitGroup.
func (y *layout) mergeGroup(dst []byte, vals *[8]uint16, p *[3]uint64, packed uint64) {
	low, sign, bits, shift := y.low&31, y.sign&31, y.bits&7, uint(8*y.planes)&31
	lowMask, mask := uint32(1)<<low-1, uint64(1)<<bits-1
	p0, p1, p2 := p[0], p[1], p[2]
	var w [8]uint32
	for j := range w {
		rest := uint32(packed&mask)<<shift | uint32(p0&255) | uint32(p1&255)<<8 | uint32(p2&255)<<16
		packed, p0, p1, p2 = packed>>bits, p0>>8, p1>>8, p2>>8
		w[j] = uint32(vals[j])<<low | rest&lowMask | rest>>low<<sign
	}
	switch y.width {
	case 1:
		for j := range (*[8]byte)(dst) {
			dst[j] = byte(w[j])
		}
	case 2:
		for j := range w {
			binary.LittleEndian.PutUint16(dst[2*j:2*j+2], uint16(w[j]))
		}
	default:
		for j := range w {
			binary.LittleEndian.PutUint32(dst[4*j:4*j+4], w[j])
		}
	}
}

// splitBF16 is Split for the case that most weights are: BF16 with one mantissa
// bit in the symbol, seven bits of rest. It takes four elements at a time in the
// 16-bit lanes of a word. It returns how many elements it did; a multiple of
// eight.
func splitBF16(vals []uint16, packed, src []byte) int {
	i := 0
	for ; i+16 <= len(vals); i += 8 {
		v, s := (*[8]uint16)(vals[i:]), (*[16]byte)(src[2*i:])
		a, b := le64(s[:8]), le64(s[8:])
		rest := restBF16(a) | restBF16(b)<<28
		a, b = a>>6, b>>6
		v[0], v[1], v[2], v[3] = uint16(a)&0x1ff, uint16(a>>16)&0x1ff, uint16(a>>32)&0x1ff, uint16(a>>48)&0x1ff
		v[4], v[5], v[6], v[7] = uint16(b)&0x1ff, uint16(b>>16)&0x1ff, uint16(b>>32)&0x1ff, uint16(b>>48)&0x1ff
		// The eighth byte is written again by the next group, or by Split.
		binary.LittleEndian.PutUint64(packed[i/8*7:], rest)
	}
	return i
}

// restBF16 packs the rests of four elements into 28 bits.
func restBF16(w uint64) uint64 {
	r := w&0x003f003f003f003f | w>>9&0x0040004000400040
	r = r&0x0000007f0000007f | r>>9&0x00003f8000003f80 // pairs
	return r&0x3fff | r>>18&0x0fffc000
}

// mergeBF16 is Merge for the case that most weights are: BF16 with one mantissa
// bit in the symbol, seven bits of rest. It returns how many elements it did; a
// multiple of eight.
func mergeBF16(dst []byte, vals []uint16, packed []byte) int {
	i := 0
	// An eight-byte load takes the seven bytes of a group and one of the next.
	for ; i+16 <= len(vals); i += 8 {
		v, r := (*[8]uint16)(vals[i:]), le64(packed[i/8*7:])
		d := (*[16]byte)(dst[2*i:])
		binary.LittleEndian.PutUint64(d[:8], bf16(v[0], r)|bf16(v[1], r>>7)<<16|bf16(v[2], r>>14)<<32|bf16(v[3], r>>21)<<48)
		binary.LittleEndian.PutUint64(d[8:], bf16(v[4], r>>28)|bf16(v[5], r>>35)<<16|bf16(v[6], r>>42)<<32|bf16(v[7], r>>49)<<48)
	}
	return i
}

func bf16(sym uint16, rest uint64) uint64 {
	return uint64(sym)<<6 | rest&0x3f | rest&0x40<<9
}
