package codec

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// A widening says that elements of one dtype were made from a narrower one,
// exactly. The values are wire values: FORMAT.md, "The widened payload".
type widening struct {
	wide, narrow Dtype

	// down appends the narrow elements that src was made from; ok is false if
	// there is an element that was not.
	down func(dst, src []byte) (out []byte, ok bool)
	// up fills dst with the wide elements made from src, and returns the index of
	// one that down never gives, or -1.
	up func(dst, src []byte) int
}

// widenings by wire value.
var widenings = [...]widening{
	{F32, F16, downF32F16, upF16F32},
	{F16, BF16, downF16BF16, upBF16F16},
	{F64, F32, downF64F32, upF32F64},
}

// float is the layout of an IEEE 754 number, or of one like it.
type float struct{ exp, mant uint }

// widen converts the bits of a number of layout from to layout to, which has at
// least as many exponent and mantissa bits: exactly, NaNs with their payload.
func widen(x uint64, from, to float) uint64 {
	sign := x >> (from.exp + from.mant)
	e, m := x>>from.mant&(1<<from.exp-1), x&(1<<from.mant-1)
	bias := uint64(1)<<(to.exp-1) - uint64(1)<<(from.exp-1)
	switch {
	case e == 1<<from.exp-1:
		e = 1<<to.exp - 1
	case from.exp == to.exp:
	case e != 0:
		e += bias
	case m != 0: // subnormal: normal in the wider one
		up := from.mant + 1 - uint(bits.Len64(m))
		m = m << up & (1<<from.mant - 1)
		e = bias + 1 - uint64(up)
	}
	return sign<<(to.exp+to.mant) | e<<to.mant | m<<(to.mant-from.mant)
}

// narrow is the inverse of widen; ok is false if no number widens to x.
func narrow(x uint64, from, to float) (y uint64, ok bool) {
	e, m := x>>from.mant&(1<<from.exp-1), x&(1<<from.mant-1)
	sign := x >> (from.exp + from.mant) << (to.exp + to.mant)
	drop := from.mant - to.mant
	bias := int(1)<<(from.exp-1) - int(1)<<(to.exp-1)
	switch small := int(e) - bias; {
	case m&(1<<drop-1) != 0:
		return 0, false
	case e == 1<<from.exp-1:
		y = sign | (1<<to.exp-1)<<to.mant | m>>drop
	case from.exp == to.exp || e == 0 && m == 0:
		y = sign | e<<to.mant | m>>drop
	case small >= 1 && small < 1<<to.exp-1:
		y = sign | uint64(small)<<to.mant | m>>drop
	case small <= 0 && small > -int(to.mant):
		y = sign | (m|1<<from.mant)>>drop>>uint(1-small)
	default:
		return 0, false
	}
	return y, widen(y, to, from) == x
}

var (
	floatF16 = float{5, 10}
	floatF32 = float{8, 23}
	floatF64 = float{11, 52}
)

// The elements of 16 bits are few: tables have what each converts to.
var (
	tableF16F32 = sync.OnceValue(func() *[1 << 16]uint32 {
		t := new([1 << 16]uint32)
		for x := range t {
			t[x] = uint32(widen(uint64(x), floatF16, floatF32))
		}
		return t
	})
	tableBF16F16 = sync.OnceValue(func() *[1 << 16]uint32 { // noF16 where there is none
		t := new([1 << 16]uint32)
		for x := range t {
			y, ok := narrow(uint64(x)<<16, floatF32, floatF16)
			if t[x] = uint32(y); !ok {
				t[x] = noF16
			}
		}
		return t
	})
)

const noF16 = 1 << 16

func downF32F16(dst, src []byte) (out []byte, ok bool) {
	for ; len(src) >= 4; src = src[4:] {
		x := binary.LittleEndian.Uint32(src)
		// Most are normal numbers, and this is what narrow makes of them.
		e, y := x>>23&255, uint64(x>>31<<15|(x>>23&255-112)&31<<10|x>>13&1023)
		if x&0x1fff != 0 {
			return dst, false
		}
		if e < 113 || e > 142 {
			if y, ok = narrow(uint64(x), floatF32, floatF16); !ok {
				return dst, false
			}
		}
		dst = binary.LittleEndian.AppendUint16(dst, uint16(y))
	}
	return dst, true
}

func upF16F32(dst, src []byte) int {
	t := tableF16F32()
	for len(src) >= 2 && len(dst) >= 4 {
		binary.LittleEndian.PutUint32(dst, t[binary.LittleEndian.Uint16(src)])
		dst, src = dst[4:], src[2:]
	}
	return -1
}

// F16 has more mantissa bits than BF16, and fewer exponent bits; both fit in F32.
func downF16BF16(dst, src []byte) (out []byte, ok bool) {
	t := tableF16F32()
	for ; len(src) >= 2; src = src[2:] {
		x := t[binary.LittleEndian.Uint16(src)]
		if x&0xffff != 0 {
			return dst, false
		}
		dst = binary.LittleEndian.AppendUint16(dst, uint16(x>>16))
	}
	return dst, true
}

func upBF16F16(dst, src []byte) int {
	t := tableBF16F16()
	for i := 0; len(src) >= 2 && len(dst) >= 2; i++ {
		x := t[binary.LittleEndian.Uint16(src)]
		if x == noF16 {
			return i
		}
		binary.LittleEndian.PutUint16(dst, uint16(x))
		dst, src = dst[2:], src[2:]
	}
	return -1
}

func downF64F32(dst, src []byte) (out []byte, ok bool) {
	for ; len(src) >= 8; src = src[8:] {
		y, ok := narrow(binary.LittleEndian.Uint64(src), floatF64, floatF32)
		if !ok {
			return dst, false
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(y))
	}
	return dst, true
}

func upF32F64(dst, src []byte) int {
	for len(src) >= 4 && len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, widen(uint64(binary.LittleEndian.Uint32(src)), floatF32, floatF64))
		dst, src = dst[8:], src[4:]
	}
	return -1
}

// appendWidened appends the payload of src, which is not constant, as a widened
// narrower dtype; ok is false if its elements were not all made from one.
func (e *Encoder) appendWidened(dst []byte, d Dtype, src []byte, g Geometry) (out []byte, ok bool) {
	for kind := range widenings {
		w := &widenings[kind]
		if w.wide != d {
			continue
		}
		var b []byte
		if b, ok = w.down(e.narrow[:0], src); !ok {
			continue
		}
		e.narrow = b
		at := len(dst)
		dst = append(dst, byte(kind), 0)
		method, dst := e.appendSmallest(dst, b, e.coding(dtypeTable[w.narrow].try, b, g), g)
		dst[at+1] = byte(method)
		return dst, true
	}
	return dst, false
}

func decodeWidened(d *Decoder, dst []byte, _ int, b []byte) error {
	if len(b) < 2 {
		return corrupt(0, "widened payload of %d bytes", len(b))
	}
	if int(b[0]) >= len(widenings) {
		return unsupported("widening %d", b[0])
	}
	w := &widenings[b[0]]
	ww, nw := w.wide.Width(), w.narrow.Width()
	if len(dst)%ww != 0 {
		return corrupt(0, "elements of %d bytes in %d", ww, len(dst))
	}
	d.inner = resize(d.inner, len(dst)/ww*nw)
	if err := d.decodeInner(d.inner, Method(b[1]), nw, b[2:]); err != nil {
		return at(2, err)
	}
	if i := w.up(dst, d.inner); i >= 0 {
		return corrupt(2, "element %d does not widen to %v", i, w.wide)
	}
	return nil
}
