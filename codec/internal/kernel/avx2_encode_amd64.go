//go:build !purego

package kernel

import "bytes"

// packAVX2 has a shuffle for each set of lanes in a group of eight that moves the
// bytes of the set to the end of the group, in order.
var packAVX2 = func() (x groupShuffles) {
	for half := range x {
		for set := range x[half] {
			next := 8
			for lane := 7; lane >= 0; lane-- {
				if set>>lane&1 != 0 {
					next--
					x[half][set][next] = uint8(8*half + lane)
				}
			}
		}
	}
	return x
}()

// symbolBlock is how many values are looked up before they are encoded.
const symbolBlock = 4 * MaxLanes

// encodeAVX2 is Impl.encode.
func encodeAVX2(e *Encoder, vals []uint16, t *Table) int {
	var syms [symbolBlock]uint8
	near, isNear := nearOf(t)
	left := vals
	for len(left) > 0 {
		n := min(len(left), symbolBlock)
		if e.free < n+8 {
			break // not as many as Reset made room for
		}
		block := left[len(left)-n:]
		if isNear {
			nearSymbolsAVX2(&syms[0], &block[0], n, &near)
		} else {
			symbolsAVX2(&syms[0], &block[0], n, t.index)
		}
		e.free = encodeRowsAVX2(e, &syms[0], n, t, &packAVX2)
		if bytes.IndexByte(syms[:n], 0) >= 0 {
			e.escapesIn(block, syms[:n], t)
		}
		left = left[:len(left)-n]
	}
	return len(vals) - len(left)
}

// nearValues has the symbols of values from least on; the last is the escape, for
// all other values.
type nearValues struct {
	symbols [64]uint8
	least   uint16
}

// nearOf returns the values of t as nearValues, and whether they are near enough.
func nearOf(t *Table) (v nearValues, ok bool) {
	v.least = t.Values[1]
	if int(t.Values[t.N-1]-v.least) >= len(v.symbols)-1 {
		return v, false
	}
	for s := 1; s < t.N; s++ {
		v.symbols[t.Values[s]-v.least] = uint8(s)
	}
	return v, true
}

// escapesIn appends the escapes among vals, those of symbol 0, the last first.
func (e *Encoder) escapesIn(vals []uint16, syms []uint8, t *Table) {
	var at [symbolBlock]uint16
	n := 0
	for from := 0; ; n++ {
		i := bytes.IndexByte(syms[from:], 0)
		if i < 0 {
			break
		}
		at[n] = uint16(from + i)
		from += i + 1
	}
	for ; n > 0; n-- {
		e.escape(vals[at[n-1]], t)
	}
}

// symbolsAVX2 looks up the symbols of n values, n a multiple of eight.
//
//go:noescape
func symbolsAVX2(syms *uint8, vals *uint16, n int, index *[values]uint8)

// nearSymbolsAVX2 is symbolsAVX2 for a table with nearValues, n a multiple of 32.
//
//go:noescape
func nearSymbolsAVX2(syms *uint8, vals *uint16, n int, near *nearValues)

// encodeRowsAVX2 encodes n symbols, whole rows, and returns e.free as it then is. It
// writes up to eight bytes in front of that.
//
//go:noescape
func encodeRowsAVX2(e *Encoder, syms *uint8, n int, t *Table, pack *groupShuffles) (free int)
