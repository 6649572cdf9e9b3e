package main

import (
	"log"
	"math/rand/v2"
	"slices"
)

// layout is a row of FORMAT.md, "Layouts".
type layout struct {
	id              byte
	name            string
	sign, exp, mant int
}

var (
	asBF16   = layout{1, "bf16", 1, 8, 7}
	asF16    = layout{2, "f16", 1, 5, 10}
	asF32    = layout{3, "f32", 1, 8, 23}
	asE4M3   = layout{4, "e4m3", 1, 4, 3}
	asE5M2   = layout{5, "e5m2", 1, 5, 2}
	asByte   = layout{6, "byte", 0, 5, 3}
	asNibble = layout{7, "nibble", 0, 4, 0}

	layouts = []layout{asBF16, asF16, asF32, asE4M3, asE5M2, asByte, asNibble}
)

func (f layout) bits() int { return f.sign + f.exp + f.mant }

// symbol is the symbol of an element.
func (f layout) symbol(w uint64, top int) int { return int(w>>(f.mant-top)) & (1<<(f.exp+top) - 1) }

// symbol is a symbol of a table other than the escape.
type symbol struct{ exp, mant, freq int }

// table is a table of FORMAT.md, "Tables".
type table struct {
	top, escape int
	symbols     []symbol
}

func (t table) bytes() []byte {
	var entries []byte
	k, per := 0, 1<<t.top
	last := -1
	for _, s := range t.symbols {
		if s.exp != last || k == 0 {
			entries = append(entries, byte(s.exp))
			entries = append(entries, make([]byte, per)...)
			k++
			last = s.exp
		}
		entries[len(entries)-per+s.mant] = byte(s.freq)
	}
	return append([]byte{byte(k), byte(t.escape)}, entries...)
}

// shared is t as a shared table.
func (t table) shared(f layout) []byte { return append([]byte{f.id, byte(t.top)}, t.bytes()...) }

// find returns frequency and first slot of a value; ok is false for an escape.
func (t table) find(exp, mant int) (freq, start int, ok bool) {
	start = t.escape
	for _, s := range t.symbols {
		if s.exp == exp && s.mant == mant {
			return s.freq, start, true
		}
		start += s.freq
	}
	return t.escape, 0, false
}

// tableOf makes a table that fits the elements: at most most symbols, the escape
// included. The escape has frequency 0 where nothing needs it.
func tableOf(f layout, top, most int, elements []uint64) table {
	counts := map[int]int{}
	for _, w := range elements {
		counts[f.symbol(w, top)]++
	}
	var values []int
	for v := range counts {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b int) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return a - b
	})
	escaped := len(values) > most-1
	values = values[:min(len(values), most-1)]
	slices.Sort(values)
	t := table{top: top}
	left := 256
	if escaped || len(values) == 1 {
		t.escape = 1
		left--
	}
	for i, v := range values {
		freq := left
		if i < len(values)-1 {
			freq = max(1, min(left-(len(values)-1-i), counts[v]*250/len(elements)))
		}
		left -= freq
		t.symbols = append(t.symbols, symbol{v >> top, v & (1<<top - 1), freq})
	}
	return t
}

// payload is a rANS payload in its parts, for a case to change.
type payload struct {
	layout, top, groups, modes, model byte
	extraStream, extraEscapes         int // added to the sizes
	tables                            []byte
	states                            []byte
	stream                            []byte
	exps, mants                       []byte // of the escapes; mants are the bit planes
	rest                              []byte
}

func (p payload) bytes() []byte {
	b := []byte{p.layout, p.top | p.groups<<4, p.modes, p.model}
	b = le.AppendUint32(b, uint32(len(p.stream)+p.extraStream))
	b = le.AppendUint32(b, uint32(len(p.exps)+p.extraEscapes))
	return slices.Concat(b, p.tables, p.states, p.stream, p.exps, p.mants, p.rest)
}

// run is elements with one table that begin at lane 0.
type run struct {
	n     int
	table table
}

// inline makes a payload of model 0.
func inline(f layout, groups int, t table, elements []uint64) payload {
	p := encode(f, groups, []run{{len(elements), t}}, elements)
	p.tables = t.bytes()
	return p
}

// segment is a run whose table has this id in the prologue.
type segment struct {
	run
	id int
}

// segmented makes a payload of model 1.
func segmented(f layout, groups int, segments []segment, elements []uint64) payload {
	var runs []run
	tables := le.AppendUint32(nil, uint32(len(segments)))
	for _, s := range segments {
		runs = append(runs, s.run)
		tables = le.AppendUint32(tables, uint32(s.n))
		tables = append(tables, byte(s.id))
	}
	p := encode(f, groups, runs, elements)
	p.model, p.tables = 1, tables
	return p
}

// encode makes a payload, without its tables.
func encode(f layout, groups int, runs []run, elements []uint64) payload {
	top := runs[0].table.top
	p := payload{layout: f.id, top: byte(top), groups: byte(groups)}
	lanes := 64 * groups
	states := slices.Repeat([]int{256}, lanes)
	var mants []int
	end := len(elements)
	for _, r := range slices.Backward(runs) {
		begin := end - r.n
		for i := r.n - 1; i >= 0; i-- {
			value := f.symbol(elements[begin+i], top)
			exp, mant := value>>top, value&(1<<top-1)
			freq, start, ok := r.table.find(exp, mant)
			if freq == 0 {
				log.Fatalf("exponent %d needs an escape that the table lacks", exp)
			}
			if !ok {
				p.exps = append(p.exps, byte(exp))
				mants = append(mants, mant)
			}
			x := &states[i%lanes]
			for *x >= freq*256 {
				p.stream = append(p.stream, byte(*x%256))
				*x /= 256
			}
			*x = *x/freq*256 + *x%freq + start
		}
		end = begin
	}
	if end != 0 {
		log.Fatalf("runs leave out %d elements", end)
	}
	slices.Reverse(p.stream)
	slices.Reverse(p.exps)
	slices.Reverse(mants)
	p.mants = mantissaPlanes(mants, top)
	for _, x := range states {
		p.states = append(p.states, byte(x%256))
	}
	for _, x := range states {
		p.states = append(p.states, byte(x/256))
	}
	packed, planes := restOf(f, top, elements)
	p.rest = slices.Concat(append([][]byte{packed}, planes...)...)
	return p
}

// mantissaPlanes lays out the top mantissa bits of escapes.
func mantissaPlanes(mants []int, top int) []byte {
	size := (len(mants) + 7) / 8
	b := make([]byte, top*size)
	for i, m := range mants {
		for k := range top {
			b[k*size+i/8] |= byte(m>>k&1) << (i % 8)
		}
	}
	return b
}

// restOf returns the packed plane, empty if there is none, and the byte planes.
func restOf(f layout, top int, elements []uint64) (packed []byte, planes [][]byte) {
	low := f.mant - top
	bits, count := (f.sign+low)%8, (f.sign+low)/8
	planes = make([][]byte, count)
	packed = make([]byte, (len(elements)+7)/8*bits)
	at := 0
	for _, w := range elements {
		rest := w>>(f.exp+f.mant)<<low | w&(1<<low-1)
		if f.sign == 0 {
			rest = w & (1<<low - 1)
		}
		for p := range count {
			planes[p] = append(planes[p], byte(rest>>(8*p)))
		}
		for k := range bits {
			packed[at/8] |= byte(rest>>(8*count+k)&1) << (at % 8)
			at++
		}
	}
	return packed, planes
}

// bytesOf lays elements out in memory.
func bytesOf(f layout, elements []uint64) (b []byte) {
	if f.bits() == 4 {
		for pair := range slices.Chunk(elements, 2) {
			b = append(b, byte(pair[0]|pair[1]<<4))
		}
		return b
	}
	for _, w := range elements {
		for k := range f.bits() / 8 {
			b = append(b, byte(w>>(8*k)))
		}
	}
	return b
}

// weights makes n elements of a few exponents, with random signs and mantissas.
func weights(f layout, n int, seed uint64) []uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([]uint64, n)
	for i := range list {
		exp := 1<<(f.exp-1) - 2
		for exp > 1 && r.IntN(2) == 0 {
			exp--
		}
		list[i] = uint64(exp)<<f.mant | r.Uint64()&(1<<f.mant-1) | r.Uint64()&(1<<f.sign-1)<<(f.exp+f.mant)
	}
	return list
}
