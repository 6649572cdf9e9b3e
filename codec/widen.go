package codec

import (
	"encoding/binary"
	"math/bits"
)

// A widening says that elements of one dtype were made from a narrower one,
// exactly. The values are wire values: FORMAT.md, "The widened payload".
type widening struct {
	wide, narrow Dtype

	// down converts an element; ok says whether up gives it back.
	down func(w uint64) (n uint64, ok bool)
	// up is the inverse; ok is false for an n that down never gives.
	up func(n uint64) (w uint64, ok bool)
}

// widenings by wire value.
var widenings = [...]widening{
	{F32, F16, f32ToF16, f16ToF32},
	{F16, BF16, f16ToBF16, bf16ToF16},
	{F64, F32, f64ToF32, f32ToF64},
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

func f32ToF16(w uint64) (uint64, bool) { return narrow(w, floatF32, floatF16) }
func f16ToF32(n uint64) (uint64, bool) { return widen(n, floatF16, floatF32), true }
func f64ToF32(w uint64) (uint64, bool) { return narrow(w, floatF64, floatF32) }
func f32ToF64(n uint64) (uint64, bool) { return widen(n, floatF32, floatF64), true }

// F16 has more mantissa bits than BF16, and fewer exponent bits; both fit in F32.
func f16ToBF16(w uint64) (uint64, bool) {
	x := widen(w, floatF16, floatF32)
	return x >> 16, x&0xffff == 0
}

func bf16ToF16(n uint64) (uint64, bool) { return narrow(n<<16, floatF32, floatF16) }

// appendWidened appends the payload of src as a widened narrower dtype; ok is
// false if its elements were not all made from one.
func (e *Encoder) appendWidened(dst []byte, d Dtype, src []byte, g Geometry) (out []byte, ok bool) {
	for kind := range widenings {
		w := &widenings[kind]
		if w.wide != d {
			continue
		}
		b := e.narrowed(w, src)
		if b == nil {
			continue
		}
		at := len(dst)
		dst = append(dst, byte(kind), 0)
		var method Method
		if constant(b, w.narrow.Width()) {
			method, dst = Constant, append(dst, b[:w.narrow.Width()]...)
		} else {
			method, dst = e.appendSmallest(dst, b, e.coding(dtypeTable[w.narrow].try, b, g))
		}
		dst[at+1] = byte(method)
		return dst, true
	}
	return dst, false
}

// narrowed converts src, or returns nil if an element does not convert.
func (e *Encoder) narrowed(w *widening, src []byte) []byte {
	ww, nw := w.wide.Width(), w.narrow.Width()
	out := e.narrow[:0]
	for i := 0; i < len(src); i += ww {
		n, ok := w.down(element(src[i:], ww))
		if !ok {
			return nil
		}
		out = appendElement(out, n, nw)
	}
	e.narrow = out
	return out
}

func element(b []byte, width int) uint64 {
	switch width {
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func appendElement(dst []byte, x uint64, width int) []byte {
	switch width {
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(x))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(x))
	}
	return binary.LittleEndian.AppendUint64(dst, x)
}

func decodeWidened(d *Decoder, dst []byte, width int, b []byte) error {
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
	out := dst[:0]
	for i := 0; i < len(d.inner); i += nw {
		x, ok := w.up(element(d.inner[i:], nw))
		if !ok {
			return corrupt(2, "element %d does not widen to %v", i/nw, w.wide)
		}
		out = appendElement(out, x, ww)
	}
	return nil
}
