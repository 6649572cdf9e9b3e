package codec

import (
	"slices"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// FORMAT.md, "Payload": classes of stripes.
const (
	// classElements is the number of elements from which classes are tried:
	// below, the tables cost more than they gain.
	classElements = 32 << 10
	// defaultStripe is the length of a stripe, in elements, where rows do not
	// give one.
	defaultStripe = 1024
	// maxStripes bounds the search.
	maxStripes = 4096
)

// plan finds a model for src in layout id: one table, or tables for classes of
// stripes of a similar scale.
func (e *Encoder) plan(id layoutID, src []byte, g Geometry) coding {
	f := layoutTable[id]
	n := f.Elements(len(src))
	sample := n >= sampled && f.Sign == 1
	clear(e.hist[:])
	e.samples[0] = appendSample(e.samples[0][:0], src, 0, sample)
	kernel.Count(&e.hist, f, e.samples[0])
	model, cost := chooseModel(&e.hist, f, n, sample)
	s := segment{elements: n, id: -1}
	best := coding{layout: id, size: ransSize(cost, n)}
	for _, m := range divisions(f, n, g) {
		tables, cost := e.classTables(&m, f, src, model.top, sample)
		if tables == nil {
			continue
		}
		cost += int64(len(m.Classes)*classBits(len(tables))+5*8)*costOne + int64(n)*int64(f.RestBits(model.top))*costOne
		if size := ransSize(cost, n); size < best.size {
			m.Tables = tables
			s.model, best.size = m, size
		}
	}
	if s.model.Tables == nil {
		s.model.Tables = []*kernel.Table{model.table()}
	}
	best.segs = []segment{s}
	return best
}

// divisions are the ways in which n elements may be divided in stripes: models
// without tables and classes.
func divisions(f kernel.Layout, n int, g Geometry) []kernel.Model {
	if n < classElements || f.Sign == 0 {
		return nil
	}
	m := kernel.Model{Stripe: defaultStripe}
	if g.Cols > 0 && g.Cols%stripeUnit == 0 && g.First%stripeUnit == 0 && g.Cols < stripeUnit<<16 {
		m.Stripe, m.Skip = g.Cols, g.First%g.Cols
	}
	for (n+m.Skip)/m.Stripe > maxStripes {
		m.Stripe, m.Skip = 2*m.Stripe, 0
	}
	if f.Bits() == 8 && n/stripeUnit <= maxStripes {
		// Blocks of 128 columns often have a scale of their own.
		return []kernel.Model{m, {Stripe: stripeUnit}}
	}
	return []kernel.Model{m}
}

// classTables puts the stripes of m into classes by scale and makes a table for
// each. It returns them and the cost of coding src with them, or no tables if all
// stripes have about the same scale.
func (e *Encoder) classTables(m *kernel.Model, f kernel.Layout, src []byte, top uint, sample bool) (tables []*kernel.Table, cost int64) {
	n := f.Elements(len(src))
	e.scales = resize(e.scales, (n+m.Skip+m.Stripe-1)/m.Stripe)
	for i := range e.scales {
		part := stripe(m, f, src, i)
		e.scales[i] = int(e.impl.Sum(f, part)) * scaleOne / f.Elements(len(part))
	}
	classes, count := classify(e.scales)
	if count < 2 {
		return nil, 0
	}
	m.Classes = classes
	for c := range e.samples[:count] {
		e.samples[c] = e.samples[c][:0]
	}
	for i, c := range classes {
		e.samples[c] = appendSample(e.samples[c], stripe(m, f, src, i), i, sample)
	}
	var sum candidate
	for c := range e.samples[:count] {
		clear(e.hist[:])
		kernel.Count(&e.hist, f, e.samples[c])
		if len(e.samples[c]) == 0 { // too rare for the sample: code what may come
			e.hist[0]++
		}
		t := chooseSymbols(e.hist.Fold(f.TopLimit(), top), top, sample)
		tables = append(tables, t.table())
		sum.total += t.total
		sum.bits += t.bits
		sum.side += t.side
	}
	return tables, sum.cost(n)
}

// sampled is the number of elements from which only an eighth of them is counted:
// a table of 30 symbols is known well enough from it.
const sampled = largeElements

// appendSample appends src, which is the i-th of its kind, or with sample an
// eighth of it.
func appendSample(dst, src []byte, i int, sample bool) []byte {
	if !sample {
		return append(dst, src...)
	}
	const piece = 128 // bytes
	for k := 0; ; k++ {
		// Which of eight pieces varies, since columns are not alike.
		at := (8*k + (i+k)*3%8) * piece
		if at >= len(src) {
			return dst
		}
		dst = append(dst, src[at:min(at+piece, len(src))]...)
	}
}

// stripe is the part of src that is stripe i.
func stripe(m *kernel.Model, f kernel.Layout, src []byte, i int) []byte {
	return src[f.Size(max(0, i*m.Stripe-m.Skip)):min(len(src), f.Size((i+1)*m.Stripe-m.Skip))]
}

// scaleOne is the unit of a scale, the mean of exponent and three top mantissa bits
// (nearly that of the logarithms): about an eighth of an octave has this many.
const scaleOne = 64

// classify divides scales into at most 8 classes of neighbouring values, by
// Lloyd's algorithm. It returns the class of each and the number of classes, 1 if
// they are all alike.
func classify(scales []int) (classes []uint8, count int) {
	sorted := slices.Sorted(slices.Values(scales))
	low, high := sorted[len(sorted)/50], sorted[len(sorted)-1-len(sorted)/50]
	want := min((high-low)/scaleOne+1, 8)
	if want < 2 {
		return nil, 1
	}
	var centers []int
	for i := range want {
		centers = append(centers, low+(high-low)*(2*i+1)/(2*want))
	}
	classes = make([]uint8, len(scales))
	for range 4 {
		var sum, n [8]int
		for i, s := range scales {
			c := nearest(centers, s)
			classes[i] = c
			sum[c] += s
			n[c]++
		}
		for c := range centers {
			if n[c] > 0 {
				centers[c] = sum[c] / n[c]
			}
		}
	}
	return compact(classes)
}

// nearest is the index of the center nearest to s.
func nearest(centers []int, s int) (best uint8) {
	for c := range centers {
		if abs(centers[c]-s) < abs(centers[best]-s) {
			best = uint8(c)
		}
	}
	return best
}

func abs(x int) int { return max(x, -x) }

// compact renumbers classes so that each number below their count occurs.
func compact(classes []uint8) ([]uint8, int) {
	var number [8]uint8
	count := 0
	for i, c := range classes {
		if number[c] == 0 {
			count++
			number[c] = uint8(count)
		}
		classes[i] = number[c] - 1
	}
	return classes, count
}
