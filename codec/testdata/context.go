package main

import (
	"log"
	"math/rand/v2"
	"slices"
)

// contextModel is what a context payload says about its elements, besides them:
// FORMAT.md, "The context method".
type contextModel struct {
	layout            layout
	groups            int
	signs             bool // coded
	first, extra      int
	cell              int
	weights           []byte
	columns, skip     int
	rows, cols, sides []byte
	needless          bool // escape every 16th element, whatever it is
}

// cellCount is the number of cells.
const cellCount = 1055

// shares is the part of quarter c of an octave that has the top mantissa bits m.
var shares = [4][8]uint64{
	{43296, 22240, 0, 0, 0, 0, 0, 0},
	{0, 17707, 36408, 11421, 0, 0, 0, 0},
	{0, 0, 0, 21011, 30615, 13910, 0, 0},
	{0, 0, 0, 0, 0, 14048, 25744, 25744},
}

// minority is the probability of the less likely sign, in 1/256.
var minority = [32]int{
	128, 126, 125, 125, 124, 123, 122, 121, 120, 119, 117, 115, 112, 109, 106, 101,
	97, 91, 85, 77, 69, 60, 50, 40, 31, 22, 14, 9, 5, 2, 1, 1,
}

func (m contextModel) top() int { return min(3, m.layout.mant) }

// symbols is the number of symbols besides the escape.
func (m contextModel) symbols() int {
	return min(255>>m.top(), 1<<m.layout.exp-m.first) << m.top()
}

// weightOf is the weight that a byte stands for.
func weightOf(b byte) uint64 {
	if b == 0 {
		return 0
	}
	return uint64(16+b%16) << (b / 16)
}

// cells are the weights of all cells.
func (m contextModel) cells() []uint64 {
	h := make([]uint64, cellCount)
	for i, b := range m.weights {
		if m.cell+i < cellCount { // a case has more
			h[m.cell+i] = weightOf(b)
		}
	}
	for i := min(m.cell, cellCount-4) - 1; i >= 0; i-- {
		h[i] = h[i+4] / 2
	}
	return h
}

// mass is that of an exponent and top mantissa bits in a class.
func (m contextModel) mass(h []uint64, class, exp, mant int) (sum uint64) {
	if exp == 0 {
		for _, w := range h[:4+31-class] {
			sum += w
		}
		return sum << 16 >> m.top()
	}
	for c, share := range shares {
		part := share[mant]
		if m.top() == 2 {
			part = share[2*mant] + share[2*mant+1]
		}
		sum += part * h[4*exp+c+31-class]
	}
	return sum
}

// frequencies are those of all symbols in a class, the escape's first.
func (m contextModel) frequencies(class int) []int {
	h := m.cells()
	total, inside := uint64(0), uint64(0)
	for _, w := range h {
		total += w << 16
	}
	masses := make([]uint64, 1+m.symbols())
	for s := 1; s < len(masses); s++ {
		value := m.first<<m.top() + s - 1
		mass := m.mass(h, class, value>>m.top(), value&(1<<m.top()-1))
		if 4096*mass >= total {
			masses[s] = mass
			inside += mass
		}
	}
	if inside == 0 {
		log.Panicf("class %d has no symbol", class)
	}
	f := make([]int, len(masses))
	f[0] = min(max(int(((total-inside)*2048+total/2)/total)+m.extra, 1), 2047)
	left := 2048 - uint64(f[0])
	for s, mass := range masses {
		if mass == 0 {
			continue
		}
		n := (mass*left + inside/2) / inside
		f[s] = int(n)
		left -= n
		inside -= mass
	}
	return f
}

// class is the class of an element.
func (m contextModel) class(i int) int {
	return min(31, int(m.rows[(m.skip+i)/m.columns])+int(m.cols[(m.skip+i)%m.columns]))
}

// symbol is the symbol of an element whose class has these frequencies.
func (m contextModel) symbol(i int, w uint64, f []int) int {
	s := m.layout.symbol(w, m.top()) - m.first<<m.top() + 1
	if s < 1 || s >= len(f) || f[s] == 0 || m.needless && i%16 == 0 {
		return 0
	}
	return s
}

// sign returns frequency and first slot of the sign of an element.
func (m contextModel) sign(i int, w uint64, symbol int) (freq, start int) {
	side := m.sides[(m.skip+i)%m.columns]
	j := (symbol-1)>>(m.top()-2) - m.class(i) + 31 - int(side&127)
	p := minority[min(max(j, 0), 31)]
	if minus := w>>(m.layout.exp+m.layout.mant)&1 == 1; minus == (side&128 == 0) {
		return p, 0
	}
	return 256 - p, p
}

// plane is a plane as it is stored.
type plane struct {
	mode byte
	b    []byte
}

// store changes how a plane is stored that was stored as it is.
func (p *plane) store(mode byte) {
	content := p.b
	same := len(slices.Compact(slices.Clone(content))) == 1
	p.mode = mode
	switch {
	case mode == 1 && same:
		p.b = content[:1]
	case mode == 2:
		z := stored(content)
		if same {
			z = sum(frame{single: true, size: uint64(len(content)), blocks: block(true, 1, len(content), content[0])}.bytes())
		}
		p.b = append(le.AppendUint32(nil, uint32(len(z))), z...)
	default:
		log.Fatalf("mode %d for a plane", mode)
	}
}

// contextPayload is a context payload in its parts, for a case to change.
type contextPayload struct {
	layout, groups, flags     byte
	first, extra              byte
	cell                      int
	columns, skip             uint32
	extraWeights              int // added to the sizes
	extraStream, extraEscapes int
	escapes                   int
	weights                   []byte
	rows, cols, sides         plane
	states                    []uint32
	stream                    []uint16
	exps                      plane
	mants                     []byte // of the escapes, packed
	packed                    plane  // of the rest, then its byte planes
	planes                    []plane
	modes                     [2]byte // added
	cut                       []byte  // takes the place of all of them
}

func (p contextPayload) bytes() []byte {
	if p.cut != nil {
		return p.cut
	}
	rest := p.packed.mode
	for i, pl := range p.planes {
		rest |= pl.mode << (2 + 2*i)
	}
	b := []byte{
		p.layout, p.groups, rest | p.modes[0],
		p.rows.mode | p.cols.mode<<2 | p.sides.mode<<4 | p.exps.mode<<6 | p.modes[1],
		p.flags, p.first, p.extra, byte(len(p.weights) + p.extraWeights),
	}
	b = le.AppendUint16(b, uint16(p.cell))
	for _, x := range []uint32{p.columns, p.skip, uint32(2*len(p.stream) + p.extraStream), uint32(p.escapes + p.extraEscapes)} {
		b = le.AppendUint32(b, x)
	}
	b = slices.Concat(b, p.weights, p.rows.b, p.cols.b, p.sides.b)
	for _, x := range p.states {
		b = le.AppendUint32(b, x)
	}
	for _, x := range p.stream {
		b = le.AppendUint16(b, x)
	}
	b = slices.Concat(b, p.exps.b, p.mants, p.packed.b)
	for _, pl := range p.planes {
		b = append(b, pl.b...)
	}
	return b
}

// put encodes a symbol of 2^bits slots, of which it has freq from start on.
func (p *contextPayload) put(lane, freq, start, bits int) {
	x, f := uint64(p.states[lane]), uint64(freq)
	if x >= f<<(32-bits) {
		p.stream = append(p.stream, uint16(x))
		x >>= 16
	}
	p.states[lane] = uint32(x/f<<bits | x%f + uint64(start))
}

// encode makes a payload whose planes are stored as they are.
func (m contextModel) encode(elements []uint64) contextPayload {
	lanes := 32 * m.groups
	p := contextPayload{
		layout: m.layout.id, groups: byte(m.groups), first: byte(m.first), extra: byte(m.extra),
		cell: m.cell, columns: uint32(m.columns), skip: uint32(m.skip), weights: m.weights,
		rows: plane{b: m.rows}, cols: plane{b: m.cols}, states: slices.Repeat([]uint32{1 << 16}, lanes),
	}
	rest := m.layout
	if m.signs {
		p.flags, p.sides.b, rest.sign = 1, m.sides, 0
	}
	var tables [32][]int
	symbols := make([]int, len(elements))
	for i, w := range elements {
		k := m.class(i)
		if tables[k] == nil {
			tables[k] = m.frequencies(k)
		}
		symbols[i] = m.symbol(i, w, tables[k])
	}
	for from := (len(elements) - 1) / lanes * lanes; from >= 0; from -= lanes {
		to := min(from+lanes, len(elements))
		for i := to - 1; m.signs && i >= from; i-- {
			freq, start := m.sign(i, elements[i], symbols[i])
			p.put(i-from, freq, start, 8)
		}
		for i := to - 1; i >= from; i-- {
			f, start := tables[m.class(i)], 0
			for _, g := range f[:symbols[i]] {
				start += g
			}
			p.put(i-from, f[symbols[i]], start, 11)
		}
	}
	slices.Reverse(p.stream)
	p.escape(m, symbols, elements)
	packed, planes := restOf(rest, m.top(), elements)
	p.packed.b = packed
	for _, b := range planes {
		p.planes = append(p.planes, plane{b: b})
	}
	return p
}

// escape lists the elements whose symbol is 0.
func (p *contextPayload) escape(m contextModel, symbols []int, elements []uint64) {
	var mants []uint64
	for i, s := range symbols {
		if s == 0 {
			value := m.layout.symbol(elements[i], m.top())
			p.exps.b = append(p.exps.b, byte(value>>m.top()))
			mants = append(mants, uint64(value&(1<<m.top()-1)))
		}
	}
	p.escapes = len(mants)
	p.mants, _ = restOf(layout{mant: m.top()}, 0, mants)
}

// contextOf makes a model of n elements in rows of so many columns, without a
// shape. It has the classes 0 to 8.
func contextOf(f layout, n, columns, skip int) contextModel {
	m := contextModel{layout: f, groups: 1, columns: columns, skip: skip, sides: make([]byte, columns)}
	for i := range (skip+n-1)/columns + 1 {
		m.rows = append(m.rows, byte((i*i+i)/2%5))
	}
	for i := range columns {
		m.cols = append(m.cols, byte(i*3%5))
	}
	for i := range columns {
		m.sides[i] = byte(i/2%2) << 7
	}
	return m
}

// draw makes n elements, an eighth of them of the less likely sign of their column.
func (m contextModel) draw(n int, seed uint64) []uint64 {
	r := rand.New(rand.NewPCG(seed, 2))
	list := make([]uint64, n)
	top, low := m.top(), m.layout.mant-m.top()
	for i := range list {
		quarter := 4*(1<<(m.layout.exp-1)-2) + m.class(i)
		for quarter > 0 && r.IntN(4) != 0 {
			quarter--
		}
		value := quarter<<(top-2) | r.IntN(1<<(top-2))
		sign := uint64(m.sides[(m.skip+i)%m.columns] >> 7) // the likely one
		if r.IntN(8) == 0 {
			sign ^= 1
		}
		list[i] = sign<<(m.layout.exp+m.layout.mant) | uint64(value)<<low | r.Uint64()&(1<<low-1)
	}
	return list
}

// fit gives a model the shape of the elements, the exponents that end with the
// largest, and sides whose distances differ.
func (m *contextModel) fit(elements []uint64) {
	counts := make([]int, cellCount)
	largest := 0
	for i, w := range elements {
		value := m.layout.symbol(w, m.top())
		largest = max(largest, value>>m.top())
		if value>>m.top() > 0 {
			counts[value>>(m.top()-2)+31-m.class(i)]++
		}
	}
	end := cellCount
	for counts[end-1] == 0 {
		end--
	}
	m.cell = max(0, end-128)
	for counts[m.cell] == 0 {
		m.cell++
	}
	m.weights = nil
	for _, n := range counts[m.cell:end] {
		b := byte(0)
		for n > 0 && b < 255 && weightOf(b) < uint64(64*n) {
			b++
		}
		m.weights = append(m.weights, b)
	}
	m.first = max(0, largest+1-255>>m.top())
	for i := range m.sides {
		m.sides[i] = m.sides[i]&128 | byte(min(127, max(0, 4*(largest-m.first)-4+i*7%32)))
	}
}

// fitted is a model of elements drawn from it.
func fitted(f layout, n, columns, skip int, change func(m *contextModel)) (contextModel, []uint64) {
	m := contextOf(f, n, columns, skip)
	if change != nil {
		change(&m)
	}
	elements := m.draw(n, uint64(n*columns+skip))
	m.fit(elements)
	return m, elements
}
