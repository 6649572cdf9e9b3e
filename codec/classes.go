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
	var all candidate // one table for all; no bits yet
	best := coding{layout: id, segs: []segment{{elements: n, id: -1}}}
	for _, m := range divisions(f, n, g) {
		hists := e.classes(&m, f, src, sample)
		if hists == nil {
			continue
		}
		if all.total == 0 {
			sum := new(kernel.Histogram)
			for i := range hists {
				for v, c := range hists[i] {
					sum[v] += c
				}
			}
			all, best.size = oneTable(sum, f, n, sample)
		}
		tables, sum := classTables(hists, f, all.top, sample)
		cost := sum.cost(n) + int64(len(m.Classes)*classBits(len(tables))+5*8)*costOne + int64(n)*int64(f.RestBits(all.top))*costOne
		if size := ransSize(cost, n); size < best.size {
			m.Tables = tables
			best.segs[0].model, best.size = m, size
		}
	}
	if all.total == 0 {
		e.samples[0] = appendSample(e.samples[0][:0], src, 0, sample)
		h := new(kernel.Histogram)
		kernel.Count(h, f, e.samples[0])
		all, best.size = oneTable(h, f, n, sample)
	}
	if best.segs[0].model.Tables == nil {
		best.segs[0].model.Tables = []*kernel.Table{all.table()}
	}
	return best
}

// oneTable is the best table for what is counted in h, and the size of n elements
// that are coded with it.
func oneTable(h *kernel.Histogram, f kernel.Layout, n int, sample bool) (candidate, int) {
	c, cost := chooseModel(h, f, n, sample)
	return c, ransSize(cost, n)
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

// classes puts the stripes of m into classes by scale and counts the symbols of
// each. It returns no histograms if all stripes have about the same scale.
func (e *Encoder) classes(m *kernel.Model, f kernel.Layout, src []byte, sample bool) []kernel.Histogram {
	n := f.Elements(len(src))
	e.scales = resize(e.scales, (n+m.Skip+m.Stripe-1)/m.Stripe)
	for i := range e.scales {
		part := stripe(m, f, src, i)
		e.scales[i] = int(e.impl.Sum(f, part)) * scaleOne / f.Elements(len(part))
	}
	classes, count := classify(e.scales)
	if count < 2 {
		return nil
	}
	m.Classes = classes
	for c := range e.samples[:count] {
		e.samples[c] = e.samples[c][:0]
	}
	for i, c := range classes {
		e.samples[c] = appendSample(e.samples[c], stripe(m, f, src, i), i, sample)
	}
	hists := e.hists[:count]
	for c := range hists {
		clear(hists[c][:])
		kernel.Count(&hists[c], f, e.samples[c])
		if len(e.samples[c]) == 0 { // too rare for the sample: code what may come
			hists[c][0]++
		}
	}
	return hists
}

// classTables makes a table for each histogram, and says what they cost together.
func classTables(hists []kernel.Histogram, f kernel.Layout, top uint, sample bool) (tables []*kernel.Table, cost candidate) {
	for i := range hists {
		t := chooseSymbols(hists[i].Fold(f.TopLimit(), top), top, sample)
		tables = append(tables, t.table())
		cost.total += t.total
		cost.bits += t.bits
		cost.side += t.side
	}
	return tables, cost
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
