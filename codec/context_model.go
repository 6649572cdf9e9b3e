package codec

import (
	"math/bits"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Constants of the model of a context payload: FORMAT.md, "Contexts".
const (
	// contextCells is the number of cells: quarters of an octave from the smallest
	// exponent in the highest class to the largest in the lowest.
	contextCells = 4*256 + kernel.ContextClasses - 1
	// contextWeights is the largest number of cells whose weight is on the wire.
	contextWeights = 128
	// contextShare is the unit of contextShares.
	contextShare = 1 << 16
)

// contextShares is the share of quarter c of an octave, which begins at 2^(c/4),
// in eighth m of the mantissas, which begins at 1 + m/8, if its elements are
// spread evenly.
var contextShares = [8][4]uint64{
	{43296, 0, 0, 0},
	{22240, 17707, 0, 0},
	{0, 36408, 0, 0},
	{0, 11421, 21011, 0},
	{0, 0, 30615, 0},
	{0, 0, 13910, 14048},
	{0, 0, 0, 25744},
	{0, 0, 0, 25744},
}

// contextModel is the model of a context payload.
type contextModel struct {
	layout kernel.Layout
	first  int // exponent of the first symbols
	extra  int // slots that every class gives the escape besides

	cell    int     // the first that has a weight
	weights []uint8 // of cell and those that follow

	// Element i is in row (skip+i)/cols and column (skip+i)%cols. Its class is the
	// sum of that of its row and of its column, both below ContextClasses, but at
	// most ContextClasses-1.
	cols, skip    int
	rows, columns []uint8
	sides         []uint8 // of each column; nil: signs are in the rest
}

// contextTop is how many mantissa bits the symbols of layout f have.
func contextTop(f kernel.Layout) uint { return f.TopLimit() }

// rest is the layout that says what the symbols leave over.
func (m *contextModel) rest() kernel.Layout {
	if m.sides != nil {
		return m.layout.Signed()
	}
	return m.layout
}

// shape is what the kernel needs to know.
func (m *contextModel) shape() kernel.ContextShape {
	return kernel.ContextOf(m.layout, contextTop(m.layout), m.first, m.sides != nil)
}

// contextWeight is what the byte w of a weight stands for: a mantissa of four bits
// and an exponent.
func contextWeight(w uint8) uint64 {
	if w == 0 {
		return 0
	}
	return uint64(16|w&15) << (w >> 4)
}

// toWeight is the nearest byte for a weight of at most 31<<15.
func toWeight(x uint64) uint8 {
	exp := max(0, bits.Len64(x)-5)
	mant := (x + 1<<exp>>1) >> exp
	switch {
	case mant == 32:
		return uint8(exp+1) << 4
	case mant > 16 || mant == 16 && exp > 0:
		return uint8(exp)<<4 | uint8(mant&15)
	case mant > 8:
		return 1
	}
	return 0
}

// cells is a shape: how common magnitudes are, in quarters of an octave.
type cells struct {
	weight [contextCells + 3]uint64 // and none beyond
	below  [contextCells + 1]uint64 // sum of the weights of all cells below
}

// expand sets s to the shape that m describes. Below its first cell the magnitudes
// are spread evenly, as they are near zero.
func (m *contextModel) expand(s *cells) {
	clear(s.weight[:])
	for i, w := range m.weights {
		s.weight[m.cell+i] = contextWeight(w)
	}
	for i := m.cell - 1; i >= 0; i-- {
		s.weight[i] = s.weight[i+4] / 2
	}
	for i, w := range s.weight[:contextCells] {
		s.below[i+1] = s.below[i] + w
	}
}

// mass is the weight, in contextShare, that class gives to exponent exp and top
// mantissa bits tops.
func (s *cells) mass(class, exp, tops int, top uint) uint64 {
	at := 4*exp + kernel.ContextClasses - 1 - class
	if exp == 0 { // zero and denormal numbers
		return s.below[at+4] * contextShare >> top
	}
	var sum uint64
	for m := tops << (3 - top); m < (tops+1)<<(3-top); m++ {
		for c, share := range contextShares[m] {
			sum += share * s.weight[at+c]
		}
	}
	return sum
}

// octave is at least the mass of all of exp together.
func (s *cells) octave(class, exp int) uint64 {
	at := 4*exp + kernel.ContextClasses - 1 - class
	if exp == 0 {
		return s.below[at+4] * contextShare
	}
	return (s.below[at+4] - s.below[at]) * contextShare
}

// freqs sets f to the frequencies of the symbols of class. It reports whether any
// but the escape has one.
func (m *contextModel) freqs(s *cells, class int, f *[kernel.ContextSymbols]uint16) bool {
	const all = 1 << kernel.ContextBits
	clear(f[:])
	top := contextTop(m.layout)
	n := min(kernel.ContextSymbols-1, (1<<m.layout.Exp-m.first)<<top) >> top << top
	var masses [kernel.ContextSymbols]uint64
	total, in := s.below[contextCells]*contextShare, uint64(0)
	for i := 0; i < n; i += 1 << top {
		exp := m.first + i>>top
		if s.octave(class, exp)*2*all < total {
			continue
		}
		for j := range 1 << top {
			// What has less than half a slot is rarer than a slot makes it.
			if mass := s.mass(class, exp, j, top); mass*2*all >= total {
				masses[i+j] = mass
				in += mass
			}
		}
	}
	if in == 0 {
		return false
	}
	escape := ((total-in)*all+total/2)/total + uint64(m.extra)
	escape = min(max(escape, 1), all-1)
	f[0] = uint16(escape)
	left := all - escape
	for i, mass := range masses[:n] {
		if mass > 0 {
			freq := (mass*left + in/2) / in
			f[1+i] = uint16(freq)
			left, in = left-freq, in-mass
		}
	}
	return true
}

// classes sets dst to the classes of the elements from i on, and sides, if signs
// are coded, to the sides of their columns.
func (m *contextModel) classes(im *kernel.Impl, dst, sides []uint8, i int) {
	row, col := (m.skip+i)/m.cols, (m.skip+i)%m.cols
	for at := 0; at < len(dst); {
		n := min(m.cols-col, len(dst)-at)
		im.AddClasses(dst[at:at+n], m.columns[col:], m.rows[row])
		if m.sides != nil {
			copy(sides[at:at+n], m.sides[col:])
		}
		at, row, col = at+n, row+1, 0
	}
}
