package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// part is a run of values coded with one model.
type part struct {
	vals  []uint16
	model *Model
}

// of returns a part of vals with one table.
func of(vals []uint16, t *Table) part { return part{vals, &Model{Tables: []*Table{t}}} }

// coded is the wire form of the symbols of a chunk.
type coded struct {
	states, stream, escapes []byte
	n                       int // escapes
}

func encode(im *Impl, parts []part, lanes int) coded {
	var e Encoder
	n := 0
	for _, p := range parts {
		n += len(p.vals)
	}
	e.Reset(im, n, lanes)
	for _, p := range slices.Backward(parts) {
		e.Encode(p.vals, p.model)
	}
	return coded{e.AppendStates(nil), bytes.Clone(e.Stream()), e.AppendEscapes(nil, parts[0].top()), e.Escapes()}
}

func (p part) top() uint { return p.model.Tables[0].Top }

// bench is where the tests decode: its streams and words touch guard pages.
type bench struct{ stream, words *arena }

func newBench(t testing.TB) *bench { return &bench{newArena(t, 1<<18), newArena(t, 2*Batch)} }

// decode decodes with the code under test, in batches. The lengths of parts say
// how much.
func (b *bench) decode(im *Impl, c coded, parts []part) ([]uint16, error) {
	var d Decoder
	stream := b.stream.end(len(c.stream), 0)
	copy(stream, c.stream)
	if err := d.Reset(im, BF16, parts[0].top(), c.states, stream, bytes.Clone(c.escapes), c.n); err != nil {
		return nil, err
	}
	var all []uint16
	for k, p := range parts {
		for i := 0; i < len(p.vals); i += Batch {
			n := min(Batch, len(p.vals)-i)
			out := words(b.words.end(2*n, 0xa5))
			if k%2 == 1 {
				out = words(b.words.start(2*n, 0xa5))
			}
			if err := d.Decode(out, p.model, i); err != nil {
				return nil, err
			}
			for _, w := range out {
				all = append(all, w>>BF16.shift(p.top()))
			}
		}
	}
	return all, d.Close()
}

// refDecode is decode, a symbol at a time, from FORMAT.md.
func refDecode(c coded, parts []part) ([]uint16, error) {
	lanes := len(c.states) / 2
	x := make([]int, lanes)
	for l := range x {
		if x[l] = int(c.states[l]) + 256*int(c.states[lanes+l]); x[l] < 256 {
			return nil, ErrState
		}
	}
	stream, escape, missing := c.stream, 0, false
	var all []uint16
	for _, p := range parts {
		for i := 0; i < len(p.vals); i += lanes {
			row := make([]uint16, min(lanes, len(p.vals)-i))
			var escaped []int
			for l := range row {
				t, _ := p.model.run(i+l, 1)
				s, f, start := refSymbol(t, x[l]%256)
				x[l] = f*(x[l]/256) + x[l]%256 - start
				if x[l] < 256 {
					if len(stream) == 0 {
						return nil, ErrStream
					}
					x[l], stream = x[l]*256+int(stream[0]), stream[1:]
				}
				if row[l] = t.Values[s]; s == 0 {
					escaped = append(escaped, l)
				}
			}
			for _, l := range escaped {
				if escape == c.n {
					missing = true
					continue
				}
				row[l] = uint16(c.escapes[escape]) << p.top()
				for b := range int(p.top()) {
					at := c.n + (c.n+7)/8*b + escape/8
					row[l] |= uint16(c.escapes[at]>>(escape%8)&1) << b
				}
				escape++
			}
			all = append(all, row...)
		}
	}
	if missing {
		return nil, ErrEscapes
	}
	if len(stream) != 0 || escape != c.n || slices.ContainsFunc(x, func(x int) bool { return x != 256 }) {
		return nil, ErrFinal
	}
	return all, nil
}

// refSymbol finds whose slot it is.
func refSymbol(t *Table, slot int) (symbol, freq, start int) {
	for s := range t.N {
		f := int(t.Freqs[s])
		if slot < start+f {
			return s, f, start
		}
		start += f
	}
	panic("table does not sum to 256")
}

// newTable makes a table of these values and frequencies; the escape's is first.
func newTable(top uint, values []uint16, freqs ...int) *Table {
	t := &Table{Top: top, N: len(freqs)}
	copy(t.Values[1:], values)
	for i, f := range freqs {
		t.Freqs[i] = uint8(f)
	}
	t.InitDecode(BF16)
	t.InitEncode()
	return t
}

// spread makes a table of n symbols besides the escape, each half as likely as
// the one before, down to 1.
func spread(top uint, n, escape int) *Table {
	freqs, left := []int{escape}, 256-escape
	var values []uint16
	for i := range n {
		f := max(1, min(255, left/2-(n-i)))
		if i == n-1 {
			f = left
		}
		freqs, left = append(freqs, f), left-f
		values = append(values, uint16(100+3*i))
	}
	return newTable(top, values, freqs...)
}

// draw draws n values from t, by its frequencies. An escape becomes any value
// that t lacks.
func draw(t *Table, n int, r *rand.Rand) []uint16 {
	vals := make([]uint16, n)
	for i := range vals {
		s, _, _ := refSymbol(t, r.IntN(256))
		vals[i] = t.Values[s]
		for s == 0 && (vals[i] == 0 || slices.Contains(t.Values[1:t.N], vals[i])) {
			vals[i] = uint16(r.IntN(256 << t.Top))
		}
	}
	return vals
}

var testTables = map[string]*Table{
	"even":      newTable(0, []uint16{1, 2, 3, 255}, 0, 64, 64, 64, 64),
	"two":       newTable(1, []uint16{7, 500}, 0, 1, 255),
	"one":       newTable(0, []uint16{120}, 1, 255),
	"rare":      newTable(0, []uint16{120}, 255, 1),
	"spread":    spread(1, 14, 3),
	"most":      spread(3, 31, 2),
	"escapes":   newTable(2, []uint16{480, 481}, 200, 50, 6),
	"no escape": spread(3, 20, 0),
}

func testLengths() (list []int) {
	for n := range 521 {
		list = append(list, n)
	}
	for _, n := range []int{768, 1024, 2048, 4096, 40960} {
		list = append(list, n-1, n, n+1)
	}
	return list
}

func TestRANS(t *testing.T) {
	b := newBench(t)
	for name, table := range testTables {
		for _, lanes := range []int{GroupLanes, MaxLanes} {
			t.Run(fmt.Sprintf("%s/lanes=%d", name, lanes), func(t *testing.T) {
				r := rand.New(rand.NewPCG(2, 2))
				for _, n := range testLengths() {
					checkRANS(t, b, []part{of(draw(table, n, r), table)}, lanes)
				}
			})
		}
	}
}

// TestRANSUnlikely codes what a table did not expect: long runs of its rarest
// symbol make most lanes take a byte in every row.
func TestRANSUnlikely(t *testing.T) {
	b := newBench(t)
	for name, table := range testTables {
		for s := range table.N {
			if table.Freqs[s] == 0 {
				continue
			}
			v := table.Values[s]
			if s == 0 {
				v = 0xff << table.Top
			}
			for _, lanes := range []int{GroupLanes, MaxLanes} {
				t.Run(fmt.Sprintf("%s/symbol=%d/lanes=%d", name, s, lanes), func(t *testing.T) {
					checkRANS(t, b, []part{of(slices.Repeat([]uint16{v}, 3000), table)}, lanes)
				})
			}
		}
	}
}

func TestRANSParts(t *testing.T) {
	tables := []*Table{spread(1, 14, 3), newTable(1, []uint16{7, 500}, 1, 100, 155), spread(1, 31, 1)}
	r := rand.New(rand.NewPCG(4, 4))
	b := newBench(t)
	for _, lanes := range []int{GroupLanes, MaxLanes} {
		for range 200 {
			var parts []part
			for range 1 + r.IntN(9) {
				table := tables[r.IntN(len(tables))]
				parts = append(parts, of(draw(table, 1+r.IntN(1+r.IntN(700)), r), table))
			}
			checkRANS(t, b, parts, lanes)
		}
	}
}

// TestRANSClasses: stripes of elements have tables of their own.
func TestRANSClasses(t *testing.T) {
	tables := []*Table{spread(1, 14, 3), spread(1, 20, 1), newTable(1, []uint16{100, 103}, 1, 100, 155), spread(1, 31, 1)}
	r := rand.New(rand.NewPCG(5, 5))
	b := newBench(t)
	for _, stripe := range []int{MaxLanes, 2 * MaxLanes, 2 * Batch} {
		for _, n := range []int{1, 255, 256, 257, 511, 3000, 4096, 5000, 9001, 30000} {
			m := &Model{Tables: tables, Stripe: stripe}
			var vals []uint16
			for i := 0; i < n; i += stripe {
				m.Classes = append(m.Classes, uint8(r.IntN(len(tables))))
				vals = append(vals, draw(tables[m.Classes[len(m.Classes)-1]], min(stripe, n-i), r)...)
			}
			for _, lanes := range []int{GroupLanes, MaxLanes} {
				checkRANS(t, b, []part{{vals, m}}, lanes)
			}
		}
	}
}

// checkRANS checks that parts survive, in the layout of the specification.
func checkRANS(t *testing.T, b *bench, parts []part, lanes int) {
	t.Helper()
	c := encode(&goImpl, parts, lanes)
	var want []uint16
	for _, p := range parts {
		want = append(want, p.vals...)
	}
	if len(c.stream) > len(want) {
		t.Fatalf("stream of %d bytes for %d symbols", len(c.stream), len(want))
	}
	if got, err := refDecode(c, parts); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d values do not decode by the specification: %v", len(want), err)
	}
	for _, im := range Impls() {
		if got, err := b.decode(im, c, parts); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: %d values do not survive: %v", im.Name, len(want), err)
		}
		if o := encode(im, parts, lanes); !bytes.Equal(o.states, c.states) || !bytes.Equal(o.stream, c.stream) || !bytes.Equal(o.escapes, c.escapes) {
			t.Fatalf("%s: %d values are encoded in another way than plain Go does", im.Name, len(want))
		}
	}
}

// TestRANSCorrupt: a damaged chunk gives the values or the error that the
// specification gives, whatever the implementation.
func TestRANSCorrupt(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(6, 6))
	seen := map[error]int{}
	for name, table := range testTables {
		for _, lanes := range []int{GroupLanes, MaxLanes} {
			for _, n := range []int{40, 256, 300, 3000} {
				parts := []part{of(draw(table, n, r), table)}
				good := encode(&goImpl, parts, lanes)
				for range 60 {
					bad := damage(good, table.Top, r)
					want, wantErr := refDecode(bad, parts)
					for _, im := range Impls() {
						got, err := b.decode(im, bad, parts)
						if !errors.Is(err, wantErr) || err == nil && !slices.Equal(got, want) {
							t.Fatalf("%s: %s, %d lanes, %d values: %v, want %v", im.Name, name, lanes, n, err, wantErr)
						}
					}
					seen[wantErr]++
				}
			}
		}
	}
	for _, err := range []error{ErrState, ErrStream, ErrEscapes, ErrFinal} {
		if seen[err] < 10 {
			t.Errorf("%d cases of %v", seen[err], err)
		}
	}
}

// damage returns c with one thing wrong.
func damage(c coded, top uint, r *rand.Rand) coded {
	c = coded{bytes.Clone(c.states), bytes.Clone(c.stream), bytes.Clone(c.escapes), c.n}
	switch r.IntN(6) {
	case 0: // any state
		c.states[r.IntN(len(c.states))] ^= 1 << r.IntN(8)
	case 1: // a state out of range
		c.states[len(c.states)/2+r.IntN(len(c.states)/2)] = 0
	case 2:
		c.stream = c.stream[:r.IntN(len(c.stream)+1)]
	case 3:
		c.stream = append(c.stream, noise(1+r.IntN(300), r.Uint64())...)
	case 4:
		if len(c.stream) > 0 {
			c.stream[r.IntN(len(c.stream))] ^= 1 << r.IntN(8)
		}
	case 5: // more or fewer escapes, of any value
		c.n = max(0, c.n+r.IntN(5)-2)
		c.escapes = noise(EscapeSize(c.n, top), r.Uint64())
	}
	return c
}

// FuzzDecode decodes any stream with any table, and compares with the
// specification: neither may panic, and they must agree.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, table := range testTables {
		for _, lanes := range []int{1, 4} {
			c := encode(&goImpl, []part{of(draw(table, 700, r), table)}, lanes*GroupLanes)
			f.Add(uint8(table.Top), lanes == 4, uint16(700), table.Freqs[:table.N], c.states, c.stream, c.escapes)
		}
	}
	b, e := newBench(f), newElementsBench(f)
	f.Fuzz(func(t *testing.T, top uint8, all bool, n uint16, weights, states, stream, escapes []byte) {
		table := anyTable(uint(top)%(MaxTop+1), weights)
		lanes := GroupLanes
		if all {
			lanes = MaxLanes
		}
		c := coded{append(states, make([]byte, 2*lanes)...)[:2*lanes], stream, nil, 0}
		for EscapeSize(c.n+1, table.Top) <= len(escapes) {
			c.n++
		}
		c.escapes = escapes[:EscapeSize(c.n, table.Top)]
		parts := []part{of(make([]uint16, n/2), table), of(make([]uint16, n-n/2), table)}
		want, wantErr := refDecode(c, parts)
		for _, im := range Impls() {
			got, err := b.decode(im, c, parts)
			if !errors.Is(err, wantErr) || err == nil && !slices.Equal(got, want) {
				t.Fatalf("%s: %d values, %v; by the specification %d, %v", im.Name, len(got), err, len(want), wantErr)
			}
			fuzzElements(t, e, im, c, parts[0])
		}
	})
}

// fuzzElements compares Elements with plain Go.
func fuzzElements(t *testing.T, b *elementsBench, im *Impl, c coded, p part) {
	n := min(len(p.vals), 9000)
	x := taken{packed: noise(PackedSize(n, BF16.PackedBits(p.top())), 1), planes: [][]byte{noise(n, 2)}[:BF16.Planes(p.top())]}
	want, wantErr := b.decode(&goImpl, BF16, p.top(), p.model, n, c, x, false, false)
	want = bytes.Clone(want)
	got, err := b.decode(im, BF16, p.top(), p.model, n, c, x, n%2 == 1, n%3 == 1)
	if !errors.Is(err, wantErr) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%s: %d elements, %v; plain Go says %v", im.Name, n, err, wantErr)
	}
}

// anyTable makes a valid table whose frequencies are like weights.
func anyTable(top uint, weights []byte) *Table {
	weights = append(weights[:min(len(weights), MaxSymbols):min(len(weights), MaxSymbols)], 1, 1)[:max(2, min(len(weights), MaxSymbols))]
	freqs, left := make([]int, len(weights)), 256
	var values []uint16
	for i, w := range weights {
		least := len(weights) - 1 - i // what the others need
		freqs[i] = max(min(i, 1), min(int(w), left-least, 255))
		if i == len(weights)-1 {
			freqs[i] = left
		}
		left -= freqs[i]
		if i > 0 {
			values = append(values, uint16(8*i)<<top>>1)
		}
	}
	if last := len(freqs) - 1; freqs[last] == 256 {
		freqs[0], freqs[last] = 1, 255
	}
	return newTable(top, values, freqs...)
}
