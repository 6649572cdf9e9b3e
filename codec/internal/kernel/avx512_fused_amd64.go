//go:build !purego

package kernel

import (
	"sync"
	"unsafe"
)

// fusedArgs is what a fused decoder works on. The addresses that it steps are no
// pointers: they end up behind their slices, where the garbage collector must not
// see one. The decoder and its model, which are in the heap, keep the memory.
type fusedArgs struct {
	d                   *Decoder
	t                   *Table
	k                   *fusedTable
	dst                 *byte
	rows                int     // of d.lanes elements in this stripe, at least one; left at the end
	left                int     // rows in the stripes that follow
	stripe              int     // rows of a stripe
	classes             uintptr // of the stripes that follow
	tables              **Table
	stream              uintptr // where the next row starts
	last                *byte   // the last place where one may
	escapes, escapesEnd *byte   // low bytes of the words of escapes
	toHigh              int     // from there to the high bytes
	found               int     // escapes
	top, plane0, plane1 *byte
}

// A fusedTable says where the bits of a rest go, for one shape; see GROUP16 and
// the others in avx512_fused_amd64.s.
type fusedTable struct {
	decode     [3]func(*fusedArgs) // four groups, four groups past the caches, one group
	size       uint64              // bytes that 64 elements take in the top plane
	top        vector              // lookup of them
	shiftLow   vector              // of the top plane, in bits of each 64
	shiftHigh  vector
	maskLow    vector
	maskHigh   vector
	interleave [2]vector // that of constants
	words      [2]vector // makes 32 elements of 32 bits of their low and high words
}

//go:noescape
func fused16x4(a *fusedArgs)

//go:noescape
func fused16x4p(a *fusedArgs)

//go:noescape
func fused16x1(a *fusedArgs)

//go:noescape
func fused16Bx4(a *fusedArgs)

//go:noescape
func fused16Bx4p(a *fusedArgs)

//go:noescape
func fused16Bx1(a *fusedArgs)

//go:noescape
func fused16Cx4(a *fusedArgs)

//go:noescape
func fused16Cx4p(a *fusedArgs)

//go:noescape
func fused16Cx1(a *fusedArgs)

//go:noescape
func fused32x4(a *fusedArgs)

//go:noescape
func fused32x4p(a *fusedArgs)

//go:noescape
func fused32x1(a *fusedArgs)

//go:noescape
func fused8x4(a *fusedArgs)

//go:noescape
func fused8x4p(a *fusedArgs)

//go:noescape
func fused8x1(a *fusedArgs)

// fusedTables has the table of each layout and top; nil where there is none.
var fusedTables = sync.OnceValue(func() map[shape]*fusedTable {
	tables := map[shape]*fusedTable{}
	for _, f := range []Layout{BF16, F16, F32, E4M3, E5M2, Byte} {
		for top := range f.TopLimit() + 1 {
			if s := shapeOf(f, top); s.packed+uint(s.planes) > 0 && s.planes < 3 {
				tables[s] = newFusedTable(&s)
			}
		}
	}
	return tables
})

func newFusedTable(s *shape) *fusedTable {
	b := int(s.packed)
	k := &fusedTable{size: 8 * uint64(b), interleave: avx512Constants.interleave}
	mantissa := uint8(1)<<(int(s.low)%8) - 1 // mantissa bits in the top plane
	sign := uint8(s.sign() << 7)
	for i := range k.top {
		k.top[i] = uint8(i/8*b + i%8)
		first, last := uint8(i%8*b), uint8((i%8+1)*b-8) // rotates: 64 bits
		k.shiftLow[i], k.maskLow[i] = first, mantissa
		k.shiftHigh[i], k.maskHigh[i] = last, sign
		if i%2 == 0 {
			k.words[0][i], k.words[1][i] = uint8(i/4+i/2%2*32), uint8(16+i/4+i/2%2*32)
		}
	}
	switch {
	case s.bits == 32:
		k.decode = [3]func(*fusedArgs){fused32x4, fused32x4p, fused32x1}
	case s.bits == 8:
		k.decode = [3]func(*fusedArgs){fused8x4, fused8x4p, fused8x1}
	case s.planes == 0:
		k.decode = [3]func(*fusedArgs){fused16x4, fused16x4p, fused16x1}
	case s.packed == 0:
		k.decode = [3]func(*fusedArgs){fused16Bx4, fused16Bx4p, fused16Bx1}
	default:
		k.decode = [3]func(*fusedArgs){fused16Cx4, fused16Cx4p, fused16Cx1}
	}
	return k
}

// fusedAVX512 is Impl.fused.
func fusedAVX512(d *Decoder, x *elements, i int) int {
	s := &x.shape
	k := fusedTables()[*s]
	if k == nil || len(d.stream) < d.lanes {
		return i
	}
	stream := uintptr(unsafe.Pointer(&d.stream[0]))
	a := fusedArgs{d: d, k: k, stream: stream, last: &d.stream[len(d.stream)-d.lanes]}
	list := len(d.low) - GroupLanes // escapes
	a.escapes, a.escapesEnd = &d.low[min(d.next, list)], &d.low[list]
	a.toHigh = int(uintptr(unsafe.Pointer(&d.high[0])) - uintptr(unsafe.Pointer(&d.low[0])))
	decode := k.decode[0]
	switch {
	case d.lanes == GroupLanes:
		decode = k.decode[2]
	case x.past && uintptr(unsafe.Pointer(&x.dst[0]))%64 == 0:
		decode = k.decode[1]
	}
	m := x.model
	t, n := m.run(i, x.n-i)
	rows := (x.n - i) / d.lanes
	a.t, a.rows = t, min(n/d.lanes, rows)
	if a.rows == 0 { // an incomplete row is the last of its stripe
		return i
	}
	if a.left = rows - a.rows; a.left > 0 {
		next := (i+m.Skip)/m.Stripe + 1
		a.stripe, a.classes, a.tables = m.Stripe/d.lanes, uintptr(unsafe.Pointer(&m.Classes[next])), &m.Tables[0]
	}
	whole := rows * d.lanes
	a.dst = &x.dst[i*int(s.bits)/8:][:whole*int(s.bits)/8][0]
	if s.packed > 0 {
		a.top = &x.packed[i/8*int(s.packed):][:whole/8*int(s.packed)][0]
	}
	if s.planes > 0 {
		a.plane0 = &x.planes[0][i:][:whole][0]
	}
	if s.planes > 1 {
		a.plane1 = &x.planes[1][i:][:whole][0]
	}
	decode(&a)
	i += whole - (a.rows+a.left)*d.lanes
	if x.past {
		fence()
	}
	d.stream = d.stream[a.stream-stream:]
	d.next += a.found
	return i
}

// fence makes stores past the caches visible before all that follow.
//
//go:noescape
func fence()
