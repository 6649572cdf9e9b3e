package codec

import (
	"cmp"
	"math"
	"slices"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Costs are in units of 1/costOne bit, as integers: floating-point sums could
// differ between CPUs (fused multiply-add), and with them the encoder's choices.
const costOne = 1 << 16

// costOf[f] is the cost of a symbol of probability f/256. costOf[0] is never
// summed.
var costOf = func() (c [257]int64) {
	for f := 1; f <= 256; f++ {
		// No value lies near a rounding boundary, so every math library
		// gives the same integers.
		c[f] = int64(math.Round((8 - math.Log2(float64(f))) * costOne))
	}
	return c
}()

// symbolCount is a symbol value and how often it occurs.
type symbolCount struct {
	value int
	count int64
}

// occurring lists the values that occur, in order.
func occurring(h *kernel.Histogram) (list []symbolCount) {
	for v, c := range h {
		if c != 0 {
			list = append(list, symbolCount{v, int64(c)})
		}
	}
	return list
}

// folded returns list, which is in order, with shift bits taken off the values.
func folded(list []symbolCount, shift uint) (out []symbolCount) {
	for _, s := range list {
		s.value >>= shift
		if n := len(out); n > 0 && out[n-1].value == s.value {
			out[n-1].count += s.count
		} else {
			out = append(out, s)
		}
	}
	return out
}

// byCount lists the values that occur, most frequent first.
func byCount(h *kernel.Histogram) (list []symbolCount, total int64) {
	list = occurring(h)
	for _, s := range list {
		total += s.count
	}
	slices.SortFunc(list, func(a, b symbolCount) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.value, b.value))
	})
	return list, total
}

// normalize sets freqs, one per count, so that they sum to 256, every non-zero
// count has at least 1 and none has 256. It needs at least two counts, of which
// at least one is not zero, and keeps near the least total cost.
func normalize(freqs []int, counts []int64) {
	var total int64
	for _, c := range counts {
		total += c
	}
	sum := 0
	for i, c := range counts {
		freqs[i] = 0
		if c > 0 {
			freqs[i] = max(1, min(255, int((c*256+total/2)/total)))
		}
		sum += freqs[i]
	}
	for sum != 256 {
		best, bestGain := -1, int64(math.MinInt64)
		for i, c := range counts {
			var gain int64
			switch f := freqs[i]; {
			case sum < 256 && f > 0 && f < 255:
				gain = c * (costOf[f] - costOf[f+1])
			case sum < 256 && f == 0 && i == 0: // the escape can take slots that nothing needs
				gain = -1
			case sum > 256 && f > 1:
				gain = c * (costOf[f] - costOf[f-1])
			default:
				continue
			}
			if gain > bestGain {
				best, bestGain = i, gain
			}
		}
		if sum < 256 {
			freqs[best]++
			sum++
		} else {
			freqs[best]--
			sum--
		}
	}
}

// escapeBits is the cost in bits of the value of an escaped symbol.
func escapeBits(top uint) int64 { return 8 + int64(top) }

// escapeTime is what an escape costs besides, in bits: a vector of elements that has
// one takes twice as long to decode. It is worth 0.04 % of the size of BF16 to have
// half as many.
const escapeTime = 12

// candidate is a model for a histogram under consideration.
type candidate struct {
	top   uint
	syms  []symbolCount // the coded symbols
	freqs []int         // of the escape, then of syms
	total int64         // elements counted
	bits  int64         // cost of the symbols and escapes that were counted, not of the rest
	side  int64         // cost of the table
}

// cost is what c costs for n elements like those that were counted.
func (c *candidate) cost(n int) int64 {
	return c.bits>>8*int64(n)/c.total<<8 + c.side
}

// chooseSymbols finds a cheap model of h, counted with top mantissa bits, by
// trying how many of the most frequent symbols to code; the others escape. With
// escape, the model can code values that were not counted.
func chooseSymbols(h *kernel.Histogram, top uint, escape bool) candidate {
	list, total := byCount(h)
	most := min(len(list), kernel.MaxSymbols-1)
	// Below 1/4096 a symbol costs the others more than an escape costs it.
	least := 1
	for least < most && list[least].count*200 >= total {
		least++
	}
	for most > least && list[most-1].count*4096 < total {
		most--
	}
	var best candidate
	counts := make([]int64, most+1)
	freqs := make([]int, most+1)
	for n := least; n <= most; n++ {
		counts[0] = total
		for i, s := range list[:n] {
			counts[i+1] = s.count
			counts[0] -= s.count
		}
		if escape {
			counts[0] = max(counts[0], 1)
		}
		normalize(freqs[:n+1], counts[:n+1])
		bits := counts[0] * (escapeBits(top) + escapeTime) * costOne
		for i, c := range counts[:n+1] {
			if c > 0 {
				bits += c * costOf[freqs[i]]
			}
		}
		side := tableBytes(list[:n], top) * 8 * costOne
		if best.freqs == nil || bits+side < best.bits+best.side {
			best = candidate{top, list[:n], slices.Clone(freqs[:n+1]), total, bits, side}
		}
	}
	return best
}

// tableBytes is the size of a table of these symbols.
func tableBytes(syms []symbolCount, top uint) int64 {
	var seen [256]bool
	n := int64(0)
	for _, s := range syms {
		if e := s.value >> top; !seen[e] {
			seen[e] = true
			n++
		}
	}
	return tableHeader + n*(1+1<<top)
}

// chooseModel finds the number of top mantissa bits and the model that make the
// elements like those counted in h (with f.TopLimit() bits) smallest; cost
// includes the rest.
func chooseModel(h *kernel.Histogram, f kernel.Layout, elements int, escape bool) (candidate, int64) {
	var best candidate
	bestCost := int64(math.MaxInt64)
	for top := range f.TopLimit() + 1 {
		c := chooseSymbols(h.Fold(f.TopLimit(), top), top, escape)
		if cost := c.cost(elements) + int64(elements)*int64(f.RestBits(top))*costOne; cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best, bestCost
}

// table turns a candidate into a table, for encoding.
func (c *candidate) table() *kernel.Table {
	t := &kernel.Table{Top: c.top, N: 1 + len(c.syms)}
	t.Freqs[0] = uint8(c.freqs[0])
	order := make([]int, len(c.syms))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(c.syms[a].value, c.syms[b].value) })
	for i, o := range order {
		t.Values[i+1] = uint16(c.syms[o].value)
		t.Freqs[i+1] = uint8(c.freqs[o+1])
	}
	t.InitEncode()
	return t
}

// tableHeader is the part of a table before its entries.
const tableHeader = 2

// appendTable appends t in wire form: FORMAT.md, "Tables".
func appendTable(dst []byte, t *kernel.Table) []byte {
	at := len(dst)
	dst = append(dst, 0, t.Freqs[0])
	per := 1 << t.Top
	for s := 1; s < t.N; {
		exp := t.Values[s] >> t.Top
		entry := len(dst)
		dst = append(dst, byte(exp))
		dst = append(dst, make([]byte, per)...)
		for ; s < t.N && t.Values[s]>>t.Top == exp; s++ {
			dst[entry+1+int(t.Values[s])&(per-1)] = t.Freqs[s]
		}
		dst[at]++
	}
	return dst
}

// parseTable reads a table with top mantissa bits for layout f from the start of
// b to t and returns its length. Only the one encoding that appendTable gives is
// accepted.
func parseTable(t *kernel.Table, b []byte, f kernel.Layout, top uint) (int, error) {
	per := 1 << top
	if len(b) < tableHeader {
		return 0, corrupt(0, "table ends early")
	}
	size := tableHeader + int(b[0])*(1+per)
	if b[0] == 0 || size > len(b) {
		return 0, corrupt(0, "table of %d exponents in %d bytes", b[0], len(b))
	}
	*t = kernel.Table{Top: top, N: 1}
	t.Freqs[0] = b[1]
	sum, last := int(b[1]), -1
	for p := tableHeader; p < size; p += 1 + per {
		exp, before := int(b[p]), t.N
		if exp <= last || exp >= 1<<f.Exp {
			return 0, corrupt(int64(p), "table has exponent %d after %d", exp, last)
		}
		last = exp
		for m, freq := range b[p+1 : p+1+per] {
			if freq == 0 {
				continue
			}
			if t.N == kernel.MaxSymbols {
				return 0, corrupt(int64(p), "table has more than %d symbols", kernel.MaxSymbols)
			}
			t.Values[t.N], t.Freqs[t.N] = uint16(exp<<top|m), freq
			t.N++
			sum += int(freq)
		}
		if t.N == before {
			return 0, corrupt(int64(p), "table has an exponent without symbols")
		}
	}
	if sum != 256 {
		return 0, corrupt(0, "table frequencies sum to %d", sum)
	}
	t.InitDecode(f)
	return size, nil
}
