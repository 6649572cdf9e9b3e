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
	// maxPerLayout is the largest number of tables that are made for a layout:
	// those of all six that share fit in a prologue.
	maxPerLayout = 36
	// maxSamples bounds the memory of a TableBuilder; tensors beyond it use the
	// tables made for the others.
	maxSamples = 4096
)

// Tables are probability tables that the small tensors of one layer share. They
// are written once, in the prologue. A nil *Tables holds none.
type Tables struct{ list []sharedTable }

// sharedTable is a table for one layout; the array has it alone, for a
// kernel.Model.
type sharedTable struct {
	layout layoutID
	table  [1]*kernel.Table
}

// of returns the ids of the tables for a layout.
func (t *Tables) of(id layoutID) (ids []int) {
	if t == nil {
		return nil
	}
	for i, s := range t.list {
		if s.layout == id {
			ids = append(ids, i)
		}
	}
	return ids
}

// append appends t in wire form: FORMAT.md, "Prologue".
func (t *Tables) append(dst []byte) []byte {
	for _, s := range t.list {
		dst = append(dst, byte(s.layout), byte(s.table[0].Top))
		dst = appendTable(dst, s.table[0])
	}
	return dst
}

func parseTables(b []byte, count int) (*Tables, error) {
	t, offset := &Tables{}, 0
	for range count {
		if len(b)-offset < 2 {
			return nil, corrupt(int64(offset), "shared table ends early")
		}
		id, top := layoutID(b[offset]), uint(b[offset+1])
		f, ok := id.kernel()
		if !ok {
			return nil, unsupported("shared table of layout %d", id)
		}
		if top > f.TopLimit() {
			return nil, corrupt(int64(offset), "shared table with %d mantissa bits", top)
		}
		table := new(kernel.Table)
		size, err := parseTable(table, b[offset+2:], f, top)
		if err != nil {
			return nil, at(int64(offset+2), err)
		}
		t.list = append(t.list, sharedTable{id, [1]*kernel.Table{table}})
		offset += 2 + size
	}
	if offset != len(b) {
		return nil, corrupt(int64(offset), "%d bytes follow the last shared table", len(b)-offset)
	}
	return t, nil
}

// TableBuilder makes the shared tables of a layer from its small tensors.
type TableBuilder struct {
	samples [layouts][]sample
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
	if !d.shares() || len(src) == 0 || len(b.samples[d.layout()]) == maxSamples {
		return
	}
	clear(b.hist[:])
	kernel.Count(&b.hist, layoutTable[d.layout()], src)
	s := sample{syms: occurring(&b.hist)}
	for _, c := range s.syms {
		s.mean += int64(c.value) * c.count
		s.count += c.count
	}
	s.mean /= s.count
	b.samples[d.layout()] = append(b.samples[d.layout()], s)
}

// Build makes the tables. The result depends on the tensors and their order
// alone.
func (b *TableBuilder) Build() *Tables {
	t := &Tables{}
	for id, samples := range b.samples {
		if len(samples) == 0 {
			continue
		}
		for _, table := range cluster(samples, layoutTable[id]) {
			t.list = append(t.list, sharedTable{layoutID(id), [1]*kernel.Table{table}})
		}
	}
	if len(t.list) > maxTables || len(t.append(nil)) > maxTableBytes {
		panic("codec: internal error: more shared tables than a prologue holds")
	}
	return t
}

// cluster finds the number of tables, the mantissa bits in their symbols and the
// tables that code all samples in the fewest bits, tables included.
func cluster(samples []sample, f kernel.Layout) []*kernel.Table {
	order := slices.Clone(samples)
	slices.SortStableFunc(order, func(a, b sample) int { return cmp.Compare(a.mean, b.mean) })
	var best []*kernel.Table
	bestCost := int64(math.MaxInt64)
	for top := range f.TopLimit() + 1 {
		coarse := slices.Clone(order)
		for i := range coarse {
			coarse[i].syms = folded(coarse[i].syms, f.TopLimit()-top)
		}
		last := int64(math.MaxInt64)
		for k := 1; k <= min(maxPerLayout, len(order)); k += (k + 1) / 2 {
			tables, cost := lloyd(coarse, k, top, f.RestBits(top))
			if cost < bestCost {
				best, bestCost = tables, cost
			}
			if cost > last { // more of them do not get cheaper again
				break
			}
			last = cost
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
	// A shared table must also code what its makers did not have.
	model := chooseSymbols(sum, top, true)
	return model.table(), (2 + tableBytes(model.syms, top)) * 8 * costOne
}

// cheapest returns which of the tables ids codes the symbols counted in h in the
// fewest bits, and their cost. All of ids have the same Top.
func (t *Tables) cheapest(ids []int, f kernel.Layout, h *kernel.Histogram) (id int, cost int64) {
	syms := folded(occurring(h), f.TopLimit()-t.list[ids[0]].table[0].Top)
	cost = math.MaxInt64
	for _, i := range ids {
		if c := tableCost(t.list[i].table[0], syms); c < cost {
			id, cost = i, c
		}
	}
	return id, cost
}

// tableCost is the cost of coding syms with t; a table that lacks an escape
// cannot code every symbol.
func tableCost(t *kernel.Table, syms []symbolCount) int64 {
	cost := int64(0)
	for _, s := range syms {
		f, escape := t.Freq(s.value)
		if f == 0 {
			return math.MaxInt64
		}
		cost += s.count * costOf[f]
		if escape {
			cost += s.count * escapeBits(t.Top) * costOne
		}
	}
	return cost
}
