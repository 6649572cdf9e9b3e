package codec

import (
	"cmp"
	"math"
	"slices"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Limits of shared tables: FORMAT.md, "Limits".
const (
	maxTables     = 255
	maxTableBytes = 64 << 10
	// maxPerDtype is the largest number of tables that are made for a dtype:
	// beyond 16, small tensors gain nothing (they would have their own).
	maxPerDtype = 16
	// maxSamples bounds the memory of a TableBuilder; tensors beyond it use the
	// tables made for the others.
	maxSamples = 4096
)

// Tables are probability tables that the small tensors of one layer share. They
// are written once, in the prologue. A nil *Tables holds none.
type Tables struct{ list []sharedTable }

type sharedTable struct {
	dtype Dtype
	table *kernel.Table
}

// of returns the ids of the tables for dtype d.
func (t *Tables) of(d Dtype) (ids []int) {
	if t == nil {
		return nil
	}
	for i, s := range t.list {
		if s.dtype == d {
			ids = append(ids, i)
		}
	}
	return ids
}

// append appends t in wire form: FORMAT.md, "Prologue".
func (t *Tables) append(dst []byte) []byte {
	for _, s := range t.list {
		dst = append(dst, byte(s.dtype), byte(s.table.Top))
		dst = appendTable(dst, s.table)
	}
	return dst
}

func parseTables(b []byte, count int) (*Tables, error) {
	t, offset := &Tables{}, 0
	for range count {
		if len(b)-offset < 2 {
			return nil, corrupt(int64(offset), "shared table ends early")
		}
		d, top := Dtype(b[offset]), uint(b[offset+1])
		if d >= dtypes || dtypeTable[d].float == nil || top > dtypeTable[d].float.TopLimit() {
			return nil, corrupt(int64(offset), "shared table of dtype %v with %d mantissa bits", d, top)
		}
		table, size, err := parseTable(b[offset+2:], *dtypeTable[d].float, top)
		if err != nil {
			return nil, at(int64(offset+2), err)
		}
		t.list = append(t.list, sharedTable{d, table})
		offset += 2 + size
	}
	if offset != len(b) {
		return nil, corrupt(int64(offset), "%d bytes follow the last shared table", len(b)-offset)
	}
	return t, nil
}

// TableBuilder makes the shared tables of a layer from its small tensors.
type TableBuilder struct {
	samples [dtypes][]sample
	hist    kernel.Histogram
}

// sample is the histogram of a tensor, without the values that do not occur.
type sample struct {
	syms  []symbolCount
	mean  int64 // of the values, weighted; orders the first guess
	count int64
}

// Add takes one small tensor of dtype d into account. It does not keep src.
func (b *TableBuilder) Add(d Dtype, src []byte) {
	f := dtypeTable[d].float
	if f == nil || len(src) == 0 || len(b.samples[d]) == maxSamples {
		return
	}
	clear(b.hist[:])
	kernel.Count(&b.hist, *f, src)
	s := sample{syms: occurring(&b.hist)}
	for _, c := range s.syms {
		s.mean += int64(c.value) * c.count
		s.count += c.count
	}
	s.mean /= s.count
	b.samples[d] = append(b.samples[d], s)
}

// Build makes the tables. The result depends on the tensors and their order
// alone.
func (b *TableBuilder) Build() *Tables {
	t := &Tables{}
	for d, samples := range b.samples {
		if len(samples) == 0 {
			continue
		}
		for _, table := range cluster(samples, *dtypeTable[d].float) {
			t.list = append(t.list, sharedTable{Dtype(d), table})
		}
	}
	if len(t.list) > maxTables || len(t.append(nil)) > maxTableBytes {
		panic("codec: internal error: more shared tables than a prologue holds")
	}
	return t
}

// cluster finds the number of tables, the mantissa bits in their symbols and the
// tables that code all samples in the fewest bits, tables included.
func cluster(samples []sample, f kernel.Float) []*kernel.Table {
	order := slices.Clone(samples)
	slices.SortStableFunc(order, func(a, b sample) int { return cmp.Compare(a.mean, b.mean) })
	var best []*kernel.Table
	bestCost := int64(math.MaxInt64)
	for top := range min(2, f.TopLimit()) + 1 {
		coarse := slices.Clone(order)
		for i := range coarse {
			coarse[i].syms = folded(coarse[i].syms, f.TopLimit()-top)
		}
		for k := 1; k <= min(maxPerDtype, len(order)); k *= 2 {
			tables, cost := lloyd(coarse, k, top, f.RestBits(top))
			if cost < bestCost {
				best, bestCost = tables, cost
			}
		}
	}
	return best
}

// rounds of Lloyd's algorithm; later ones gain next to nothing.
const rounds = 6

// lloyd makes k tables for the samples, which are sorted by their mean, by Lloyd's
// algorithm with the cost of coding as distance. It returns the tables that are
// used and the total cost, the rest of the elements included.
func lloyd(samples []sample, k int, top, rest uint) ([]*kernel.Table, int64) {
	class := make([]int, len(samples))
	for i := range class {
		class[i] = i * k / len(samples)
	}
	var tables []*kernel.Table
	var total int64
	for range rounds {
		tables, total = nil, 0
		for c := range k {
			if t, cost := classTable(samples, class, c, top); t != nil {
				tables = append(tables, t)
				total += cost
			}
		}
		changed := false
		for i, s := range samples {
			best, bestCost := 0, int64(math.MaxInt64)
			for c, t := range tables {
				if cost := tableCost(t, s.syms); cost < bestCost {
					best, bestCost = c, cost
				}
			}
			changed = changed || class[i] != best
			class[i] = best
			total += bestCost + s.count*int64(rest)*costOne
		}
		if !changed {
			break
		}
	}
	return tables, total
}

// classTable makes the table of one class, and returns its size as a cost.
func classTable(samples []sample, class []int, c int, top uint) (*kernel.Table, int64) {
	sum, empty := new(kernel.Histogram), true
	for i, s := range samples {
		if class[i] == c {
			empty = false
			for _, v := range s.syms {
				sum[v.value] += uint32(v.count)
			}
		}
	}
	if empty {
		return nil, 0
	}
	model := chooseSymbols(sum, top)
	if model.freqs[0] == 0 { // a shared table must code what its makers did not have
		most := 1
		for i := range model.freqs {
			if model.freqs[i] > model.freqs[most] {
				most = i
			}
		}
		model.freqs[most]--
		model.freqs[0] = 1
	}
	return model.table(), (2 + tableBytes(model.syms, top)) * 8 * costOne
}
