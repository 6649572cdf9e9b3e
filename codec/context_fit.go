package codec

import (
	"math/bits"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// The encoder's side of a context model. Everything is in integers: sums of
// floating-point numbers could differ between CPUs, and the model with them.

// contextFit finds the model of a chunk. It is scratch memory of an Encoder.
type contextFit struct {
	impl  *kernel.Impl
	m     contextModel
	cells cells
	freqs [kernel.ContextClasses][kernel.ContextSymbols]uint16
	enc   kernel.ContextEncoder

	values         []uint16 // without signs
	signs          []uint8
	symbols        []uint8
	classes, sides []uint8 // of each element
	known          bool    // whether columns are
	rows, columns  []int   // offsets from the mean, in quarters of an octave

	hist    [kernel.ContextClasses][kernel.ContextSymbols]uint32
	counts  []uint32 // of values
	steps   [kernel.ContextClasses][kernel.ContextSymbols]uint64
	sums    []uint64
	sizes   [kernel.ContextClasses][kernel.ContextSymbols]int32
	squares int64
	leans   []int64
	sideBuf []uint8
	escapes []uint16
}

// model returns the model for values, whose highest bits are signs, of a chunk in
// layout f, and sets what the kernel needs to encode them: values, signs, classes
// and sides. It returns nil if there is none.
func (t *contextFit) model(f kernel.Layout, values []uint16, g Geometry) *contextModel {
	m, n := &t.m, len(values)
	*m = contextModel{layout: f, rows: m.rows, columns: m.columns}
	m.cols, m.skip, t.known = contextGrid(n, g)
	m.rows = resize(m.rows, (m.skip+n-1)/m.cols+1)
	m.columns = resize(m.columns, m.cols)
	t.divide(values)
	if !t.window() {
		return nil
	}
	t.scales()
	t.place()
	t.count()
	for i := range t.cells.weight {
		t.cells.weight[i] = 1 << 12
	}
	if !t.spread(6) || !t.tables() {
		return nil
	}
	for range 2 {
		t.move()
		t.count()
		if !t.spread(3) || !t.tables() {
			return nil
		}
	}
	t.correct()
	if !t.tables() {
		return nil
	}
	t.lean()
	for k := range t.freqs {
		t.enc.SetClass(k, &t.freqs[k])
	}
	return m
}

// contextStripe is the length of a row where the tensor does not say.
const contextStripe = 1024

// contextGrid chooses rows and columns for n elements. Rows of less than 64
// elements are taken several at a time; of rows of which there are few, nothing is
// learned about columns: known is whether there are any.
func contextGrid(n int, g Geometry) (cols, skip int, known bool) {
	if g.Cols < 1 || g.First < 0 || n/g.Cols < 8 {
		return contextStripe, 0, false
	}
	cols = g.Cols
	if cols < 64 {
		cols *= (255 + cols) / cols
	}
	if n/cols < 8 {
		return contextStripe, 0, false
	}
	return cols, g.First % g.Cols, true
}

// divide takes the signs off.
func (t *contextFit) divide(values []uint16) {
	n, sign := len(values), t.m.layout.Exp+contextTop(t.m.layout)
	t.values, t.signs, t.symbols = resize(t.values, n), resize(t.signs, n), resize(t.symbols, n)
	t.classes, t.sides = resize(t.classes, n), resize(t.sides, n)
	t.counts = resize(t.counts, 1<<sign)
	clear(t.counts)
	mask := uint16(1)<<sign - 1
	signs, plain := t.signs[:n], t.values[:n]
	for i, v := range values {
		signs[i] = uint8(v >> sign)
		v &= mask
		plain[i] = v
		t.counts[v]++
	}
}

// window chooses the exponents that have symbols, the most that there are room
// for, and sets symbols.
func (t *contextFit) window() bool {
	m, n, top := &t.m, len(t.values), contextTop(t.m.layout)
	last, rare := len(t.counts)-1, 0
	for last > 0 && rare+int(t.counts[last]) <= n>>14 {
		rare += int(t.counts[last])
		last--
	}
	m.first = max(0, last>>top+1-(kernel.ContextSymbols-1)>>top)
	if last>>top == 0 { // nothing but zeros
		return false
	}
	base := uint(m.first)<<top - 1
	end := min((kernel.ContextSymbols-1)>>top<<top, (1<<m.layout.Exp-m.first)<<top)
	for i, v := range t.values {
		s := uint(v) - base
		if s > uint(end) {
			s = 0
		}
		t.symbols[i] = uint8(s)
	}
	return true
}

// octave is the unit of levels.
const octave = 16

// contextLevels is the logarithm of the middle of each eighth of the mantissas.
var contextLevels = [8]int{1, 4, 6, 8, 10, 12, 14, 15}

// level is the logarithm of a value.
func (t *contextFit) level(v int) int {
	top := contextTop(t.m.layout)
	return v>>top*octave + contextLevels[v&(1<<top-1)<<(3-top)]
}

// scales estimates how rows and columns deviate from the mean of the logarithms,
// and makes classes of it. Both are drawn to the mean by how uncertain they are.
func (t *contextFit) scales() {
	m, n := &t.m, len(t.values)
	mid, half := 0, 0
	for ; half < n/2; mid++ {
		half += int(t.counts[mid])
	}
	median := t.level(mid)
	levels := make([]int32, len(t.counts))
	for v := range levels {
		levels[v] = int32(max(-6*octave, min(t.level(v)-median, 6*octave)))
	}
	rows, cols := make([]int64, len(m.rows)), make([]int64, m.cols)
	sum, squares := int64(0), int64(0)
	for v, c := range t.counts {
		sum += int64(levels[v]) * int64(c)
		squares += int64(levels[v]) * int64(levels[v]) * int64(c)
	}
	at, row := 0, 0
	for col := m.skip; at < n; col, row = 0, row+1 {
		part := t.values[at:min(at+m.cols-col, n)]
		into, s := cols[col:col+len(part)], int64(0)
		for i, v := range part {
			l := int64(levels[v])
			into[i] += l
			s += l
		}
		rows[row] = s
		at += len(part)
	}
	spread := squares/int64(n) - sum/int64(n)*(sum/int64(n))
	t.rows = offsets(t.rows, rows, func(i int) int { return t.inRow(i) }, sum, int64(n), spread)
	t.columns = offsets(t.columns, cols, func(i int) int { return t.inColumn(i) }, sum, int64(n), spread)
	if !t.known {
		clear(t.columns)
	}
	toClasses(m.rows, t.rows)
	toClasses(m.columns, t.columns)
}

// inRow is the number of elements in row i.
func (t *contextFit) inRow(i int) int {
	m := &t.m
	return min((i+1)*m.cols, m.skip+len(t.values)) - max(i*m.cols, m.skip)
}

// inColumn is the number of elements in column i.
func (t *contextFit) inColumn(i int) int {
	m, end := &t.m, t.m.skip+len(t.values)
	n := end / m.cols
	if i < end%m.cols {
		n++
	}
	if i < m.skip {
		n--
	}
	return n
}

// offsets sets out to how far the mean of each of sums is from that of all n
// elements, in quarters of an octave; spread is the variance of an element.
func offsets(out []int, sums []int64, count func(int) int, sum, n, spread int64) []int {
	const one = 64 // of a level
	out = resize(out, len(sums))
	mean := sum * one / n
	var between, groups int64
	for i, s := range sums {
		if c := int64(count(i)); c > 0 {
			d := s*one/c - mean
			between += d*d - spread*one*one/c
			groups++
		}
	}
	between = max(0, between/max(1, groups))
	for i, s := range sums {
		out[i] = 0
		if c := int64(count(i)); c > 0 && between > 0 {
			d := s*one/c - mean
			out[i] = int(rounded(d*between, (between+spread*one*one/c)*one*octave/4))
		}
	}
	return out
}

// rounded is a / b to the nearest integer; b > 0.
func rounded(a, b int64) int64 {
	if a < 0 {
		return -((-a + b/2) / b)
	}
	return (a + b/2) / b
}

// toClasses sets classes to offsets, from 0 on. What is far below the others is
// not followed, so that sums stay in range.
func toClasses(classes []uint8, offsets []int) {
	least := 0
	for _, o := range offsets {
		least = min(least, max(o, -8))
	}
	for i, o := range offsets {
		classes[i] = uint8(min(max(o, -8)-least, kernel.ContextClasses-1))
	}
}

// place sets the class of each element.
func (t *contextFit) place() { t.m.classes(t.impl, t.classes, nil, 0) }

// count counts the symbols of each class.
func (t *contextFit) count() {
	clear(t.hist[:])
	classes := t.classes[:len(t.symbols)]
	for i, s := range t.symbols {
		t.hist[classes[i]&(kernel.ContextClasses-1)][s]++
	}
}

// spread fits the shape to the counts, by rounds of expectation and
// maximisation from where it stands, and sets the weights of the model.
func (t *contextFit) spread(rounds int) bool {
	m, top := &t.m, contextTop(t.m.layout)
	var shares [8][4]uint64
	for i := range 1 << top {
		for j := i << (3 - top); j < (i+1)<<(3-top); j++ {
			for c, s := range contextShares[j] {
				shares[i][c] += s
			}
		}
	}
	for range rounds {
		var next [contextCells + 3]uint64
		for k := range t.hist {
			for s, n := range t.hist[k][1:] {
				exp := m.first + s>>top
				if n == 0 || exp == 0 {
					continue
				}
				at := 4*exp + kernel.ContextClasses - 1 - k
				t.share(next[at:at+4], t.cells.weight[at:at+4], &shares[s&(1<<top-1)], uint64(n))
			}
		}
		var total uint64
		for _, w := range next {
			total += w
		}
		if total == 0 {
			return false
		}
		for i, w := range next {
			hi, lo := bits.Mul64(w, 1<<24)
			t.cells.weight[i], _ = bits.Div64(hi, lo, total)
		}
	}
	t.weigh()
	return true
}

// share shares n elements out over four cells, as likely as weights and share make
// each of them.
func (t *contextFit) share(next, weights []uint64, share *[4]uint64, n uint64) {
	var part [4]uint64
	var all uint64
	for c, s := range share {
		part[c] = s * weights[c]
		all += part[c]
	}
	if all == 0 {
		return
	}
	for c, p := range part {
		if p > 0 {
			next[c] += p * (n << 3) / all
		}
	}
}

// weigh sets the weights of the model from those of the shape, which sum to 2^24.
func (t *contextFit) weigh() {
	const small = 1 << 13
	w, most := &t.cells.weight, 0
	for i := range w {
		if w[i] > w[most] {
			most = i
		}
	}
	first, last := most, most
	for first > 0 && w[first-1] > small {
		first--
	}
	for i := most; i < contextCells && i < first+contextWeights; i++ {
		if w[i] > 1<<5 {
			last = i
		}
	}
	m := &t.m
	m.cell, m.weights = first, m.weights[:0]
	for _, x := range w[first : last+1] {
		m.weights = append(m.weights, toWeight(x*(31<<15)/w[most]))
	}
	for m.weights[len(m.weights)-1] == 0 {
		m.weights = m.weights[:len(m.weights)-1]
	}
}

// tables sets the frequencies of the classes that occur.
func (t *contextFit) tables() bool {
	t.m.expand(&t.cells)
	for k := range t.freqs {
		if t.m.freqs(&t.cells, k, &t.freqs[k]) {
			continue
		}
		for _, n := range t.hist[k] {
			if n > 0 {
				return false
			}
		}
		t.freqs[k] = [kernel.ContextSymbols]uint16{1 << (kernel.ContextBits - 1), 1 << (kernel.ContextBits - 1)}
	}
	return true
}

// cost is what a symbol of class k costs, in 1/64 bit.
func (t *contextFit) cost(k, s int) int {
	if f := t.freqs[k][s]; f > 0 && s > 0 {
		return contextCosts[f]
	}
	return contextCosts[t.freqs[k][0]] + (int(contextTop(t.m.layout))+3)*64
}

// contextCosts is the cost of a symbol by its frequency, in 1/64 bit.
var contextCosts = func() (c [1<<kernel.ContextBits + 1]int) {
	for f := range c[1:] {
		c[1+f] = kernel.ContextBits*64 - logTwo(uint64(1+f))/4
	}
	return c
}()

// logTwo is the binary logarithm of x > 0, in 1/256, rounded down: bit by bit, by
// squaring.
func logTwo(x uint64) int {
	n := bits.Len64(x) - 1
	y := x << (63 - n) >> 32 // in [2^31, 2^32)
	for range 8 {
		y = y * y >> 31
		n = 2*n + int(y>>32)
		y >>= y >> 32
	}
	return n
}

// move lets every row, and then every column, go one class down or up where that
// makes its symbols cheaper.
func (t *contextFit) move() {
	m := &t.m
	t.setSteps()
	t.sums = resize(t.sums, len(m.rows))
	t.eachRow(func(row, _ int, classes, symbols []uint8) {
		sum := uint64(0)
		for i, s := range symbols {
			sum += t.steps[classes[i]&(kernel.ContextClasses-1)][s]
		}
		t.sums[row] = sum
	})
	t.step(m.rows, t.inRow)
	t.place()
	if !t.known {
		return
	}
	t.sums = resize(t.sums, m.cols)
	clear(t.sums)
	t.eachRow(func(_, col int, classes, symbols []uint8) {
		sums := t.sums[col : col+len(symbols)]
		for i, s := range symbols {
			sums[i] += t.steps[classes[i]&(kernel.ContextClasses-1)][s]
		}
	})
	t.step(m.columns, t.inColumn)
	t.place()
}

// eachRow calls f with each row, or the part of it that is there, and its first
// column.
func (t *contextFit) eachRow(f func(row, col int, classes, symbols []uint8)) {
	for i, row, col := 0, 0, t.m.skip; i < len(t.symbols); row, col = row+1, 0 {
		end := min(i+t.m.cols-col, len(t.symbols))
		f(row, col, t.classes[i:end], t.symbols[i:end])
		i = end
	}
}

// step moves the classes of rows or columns by sums, the sums of their steps.
func (t *contextFit) step(classes []uint8, count func(int) int) {
	var have [kernel.ContextClasses + 1]int
	for _, c := range classes {
		have[c]++
	}
	// A class that few have costs more to write down.
	price := func(c uint8) int64 { return -int64(logTwo(uint64(2*have[c]+1)) / 4) }
	for i, c := range classes {
		n := stepBias * int64(count(i))
		best, to := price(c), c
		if p := int64(t.sums[i]>>32) - n; c > 0 && p+price(c-1) < best {
			best, to = p+price(c-1), c-1
		}
		if p := int64(uint32(t.sums[i])) - n; c < kernel.ContextClasses-1 && p+price(c+1) < best {
			to = c + 1
		}
		classes[i] = to
	}
}

// setSteps sets steps: see move.
func (t *contextFit) setSteps() {
	for k := range t.steps {
		for s := range t.steps[k] {
			here := t.cost(k, s)
			down, up := t.cost(max(k-1, 0), s)-here, t.cost(min(k+1, kernel.ContextClasses-1), s)-here
			t.steps[k][s] = uint64(down+stepBias)<<32 | uint64(up+stepBias)
		}
	}
}

// stepBias keeps both halves of a step positive.
const stepBias = 2048

// correct gives the escape the slots that it lacks where more escapes than the
// shape lets expect.
func (t *contextFit) correct() {
	var escapes, slots int64
	for k := range t.hist {
		for s, n := range t.hist[k] {
			if s == 0 || t.freqs[k][s] == 0 {
				escapes += int64(n)
			}
			slots += int64(n) * int64(t.freqs[k][0])
		}
	}
	t.m.extra = int(max(0, min((escapes<<kernel.ContextBits-slots)/int64(len(t.symbols)), 255)))
}
