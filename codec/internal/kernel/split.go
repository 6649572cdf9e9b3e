package kernel

import "encoding/binary"

// Split takes the elements of src apart: vals[i] is the symbol of element i with
// top mantissa bits, packed and planes its rest. len(vals) is the number of
// elements; packed is PackedSize(len(vals), f.PackedBits(top)) long and each of
// the f.Planes(top) planes len(vals).
func Split(vals []uint16, packed []byte, planes [][]byte, f Float, top uint, src []byte) {
	low := f.Mant - top
	lowMask := uint32(1)<<low - 1
	symMask := uint32(1)<<(f.Exp+top) - 1
	bits, nplanes := f.PackedBits(top), f.Planes(top)
	sign := uint(8*f.Width - 1)
	for i := 0; i < len(vals); i += 8 {
		n := min(8, len(vals)-i)
		var group uint64
		for j := range n {
			var w uint32
			switch f.Width {
			case 1:
				w = uint32(src[i+j])
			case 2:
				w = uint32(le16(src[2*(i+j):]))
			default:
				w = le32(src[4*(i+j):])
			}
			vals[i+j] = uint16(w >> low & symMask)
			rest := w>>sign<<low | w&lowMask
			for p := range nplanes {
				planes[p][i+j] = byte(rest)
				rest >>= 8
			}
			group |= uint64(rest) << (uint(j) * bits)
		}
		if bits > 0 {
			at := i / 8 * int(bits)
			putPart(packed[at:at+int(bits)], group)
		}
	}
}

// Merge is the inverse of Split: it writes len(vals) finished elements to dst.
// Slices are as for Split; a plane may also be longer.
func Merge(dst []byte, f Float, top uint, vals []uint16, packed []byte, planes [][]byte) {
	if f == BF16 && top == 1 {
		done := mergeBF16(dst, vals, packed)
		dst, vals, packed = dst[2*done:], vals[done:], packed[done/8*7:]
	}
	low := f.Mant - top
	lowMask := uint32(1)<<low - 1
	bits, nplanes := f.PackedBits(top), f.Planes(top)
	bitMask := uint32(1)<<bits - 1
	sign := uint(8*f.Width - 1)
	for i := 0; i < len(vals); i += 8 {
		n := min(8, len(vals)-i)
		var group uint64
		if bits > 0 {
			at := i / 8 * int(bits)
			group = lePart(packed[at : at+int(bits)])
		}
		for j := range n {
			rest := uint32(group>>(uint(j)*bits)) & bitMask
			for p := nplanes - 1; p >= 0; p-- {
				rest = rest<<8 | uint32(planes[p][i+j])
			}
			w := uint32(vals[i+j])<<low | rest&lowMask | rest>>low<<sign
			switch f.Width {
			case 1:
				dst[i+j] = byte(w)
			case 2:
				binary.LittleEndian.PutUint16(dst[2*(i+j):], uint16(w))
			default:
				binary.LittleEndian.PutUint32(dst[4*(i+j):], w)
			}
		}
	}
}

// mergeBF16 is Merge for the case that most weights are: BF16 with one mantissa
// bit in the symbol, seven bits of rest. It returns how many elements it did; a
// multiple of eight.
func mergeBF16(dst []byte, vals []uint16, packed []byte) int {
	i := 0
	// An eight-byte load takes the seven bytes of a group and one of the next.
	for ; i+16 <= len(vals); i += 8 {
		v, r := vals[i:i+8:i+8], le64(packed[i/8*7:])
		d := dst[2*i : 2*i+16 : 2*i+16]
		binary.LittleEndian.PutUint64(d, bf16(v[0], r)|bf16(v[1], r>>7)<<16|bf16(v[2], r>>14)<<32|bf16(v[3], r>>21)<<48)
		binary.LittleEndian.PutUint64(d[8:], bf16(v[4], r>>28)|bf16(v[5], r>>35)<<16|bf16(v[6], r>>42)<<32|bf16(v[7], r>>49)<<48)
	}
	return i
}

func bf16(sym uint16, rest uint64) uint64 {
	return uint64(sym)<<6 | rest&0x3f | rest&0x40<<9
}
