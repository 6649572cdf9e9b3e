package kernel

import "math/bits"

// tree is a table for vectors that look up 16 entries at a time (AVX2): a search
// by halving for the symbol of a slot, and the symbols' numbers by what it finds.
//
// A node tests a symbol: slots below the first of the symbol go to the left, from
// node i to 2*i, the others to the right, to 2*i+1. A node holds the last slot
// that goes to the left, its highest bit inverted, because bytes compare as
// signed. Only the root, which tests symbol 16, is not in nodes: from there it
// is 3 on the left and 2 on the right. Modulo 16, 16 to 31 are the leaves: pairs
// of symbols, which nodes[16:] tell apart.
//
// A table of at most narrowSymbols symbols has a root that tests symbol 8, and
// ends one level earlier, with leaves that are symbols.
type tree struct {
	nodes [32]uint8
	// By leaf: frequency, first slot (inverted as above), low and high byte of the
	// word. Of pairs, first those of the even symbols, then of the odd.
	freq, start, wlow, whigh [32]uint8

	root    uint8
	escapes uint8 // the number of slots of the escape, inverted
}

// narrowSymbols is how many symbols a table may have for a search one level
// shorter.
const narrowSymbols = 16

const signBit = 0x80

// initTree sets t.tree from the tables by symbol.
func (t *Table) initTree() {
	r, width := &t.tree, MaxSymbols
	if t.N <= narrowSymbols {
		width = narrowSymbols
	}
	r.root, r.escapes = t.lastBefore(width/2), t.freq[0]^signBit
	for i := 2; i < width; i++ {
		half := 1 << bits.Len(uint(i)) / 4 // of the nodes of this level
		r.nodes[i] = t.lastBefore((2*(i-2*half^half) + 1) * width / (4 * half))
	}
	for i := range t.N {
		at := i ^ narrowSymbols/2
		if width == MaxSymbols {
			at = i/2 ^ narrowSymbols/2 + i%2*narrowSymbols
		}
		s := i
		if t.freq[i] == 0 {
			s = 1 // no slot is before symbol 1, so a search for it ends on its left
		}
		r.freq[at], r.start[at] = t.freq[s], t.start[s]^signBit
		r.wlow[at], r.whigh[at] = t.wlow[s], t.whigh[s]
	}
}

// lastBefore returns the last slot before those of symbol m, inverted: the last of
// all if there is no symbol m, or nothing before it.
func (t *Table) lastBefore(m int) uint8 {
	if m >= t.N || t.start[m] == 0 {
		return 255 ^ signBit
	}
	return (t.start[m] - 1) ^ signBit
}
