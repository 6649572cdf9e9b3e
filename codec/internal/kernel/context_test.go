package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// contextCase is a chunk for the context coder.
type contextCase struct {
	shape          ContextShape
	lanes          int
	freqs          map[int]*[ContextSymbols]uint16 // by class
	values         []uint16
	signs          []uint8
	classes, sides []uint8
}

// contextCoded is its wire form.
type contextCoded struct{ states, stream []byte }

// contextFreqs makes frequencies of n symbols besides the escape from first on,
// falling off from the middle.
func contextFreqs(first, n, escape int) *[ContextSymbols]uint16 {
	f := new([ContextSymbols]uint16)
	f[0] = uint16(escape)
	left, sum := contextSlots-escape, 0.0
	weight := func(i int) float64 { return math.Exp(-8 * math.Pow(float64(i)/float64(n)-0.5, 2)) }
	for i := range n {
		sum += weight(i)
	}
	for i := range n {
		w := int(weight(i) / sum * float64(contextSlots-escape))
		f[first+i] = uint16(w)
		left -= w
	}
	f[first+n/2] += uint16(left)
	return f
}

// newContextCase draws n values of the classes, and signs as their columns have
// them.
func newContextCase(s ContextShape, lanes, n int, freqs map[int]*[ContextSymbols]uint16, r *rand.Rand) *contextCase {
	c := &contextCase{shape: s, lanes: lanes, freqs: freqs}
	var known []int
	lookup := map[int][]uint8{}
	for k, f := range freqs {
		known = append(known, k)
		lookup[k] = contextLookup(f)
	}
	slices.Sort(known)
	for range n {
		k := known[r.IntN(len(known))]
		symbol := int(lookup[k][r.IntN(contextSlots)])
		v := uint16(int32(symbol) + s.Base)
		if symbol == 0 { // most values escape
			for i := r.IntN(1 << 11); ; i++ {
				v = uint16(i)
				if at := i - int(s.Base); at < 1 || at >= ContextSymbols || freqs[k][at] == 0 {
					break
				}
			}
		}
		side := uint8(r.Uint32())
		if r.IntN(2) == 0 {
			side = side&0x80 | uint8(r.IntN(80))
		}
		sign := side >> 7
		if p := signOdds(uint8(symbol), uint8(k), side, s.Fine); r.Uint32()&255 < p {
			sign ^= 1
		}
		c.values, c.signs = append(c.values, v), append(c.signs, sign)
		c.classes, c.sides = append(c.classes, uint8(k)), append(c.sides, side)
	}
	return c
}

func (c *contextCase) encode() (out contextCoded, escapes []uint16) {
	e := new(ContextEncoder)
	for k, f := range c.freqs {
		e.SetClass(k, f)
	}
	symbols := make([]uint8, len(c.values))
	for i, v := range c.values {
		if s := int(v) - int(c.shape.Base); s > 0 && s < ContextSymbols {
			symbols[i] = uint8(s)
		}
	}
	escapes = e.Encode(c.shape, c.lanes, c.values, symbols, c.signs, c.classes, c.sides, nil)
	return contextCoded{e.AppendStates(nil), bytes.Clone(e.Stream())}, escapes
}

// want is the words that a decoder makes, and the indices of escapes.
func (c *contextCase) want() (words []uint16, escapes []int) {
	for i, v := range c.values {
		at := int(v) - int(c.shape.Base)
		w := v << c.shape.Shift
		if at < 1 || at >= ContextSymbols || c.freqs[int(c.classes[i])][at] == 0 {
			escapes = append(escapes, i)
			w = 0
		}
		if c.shape.Signed {
			w |= uint16(c.signs[i]) << 15
		}
		words = append(words, w)
	}
	return words, escapes
}

// refContext decodes an element at a time, from FORMAT.md. Words of escapes have
// the sign alone.
func (c *contextCase) refDecode(in contextCoded) (words []uint16, escapes []int, err error) {
	x := make([]uint64, c.lanes)
	for l := range x {
		if x[l] = uint64(binary.LittleEndian.Uint32(in.states[4*l:])); x[l] < 1<<16 {
			return nil, nil, ErrState
		}
	}
	var lookup [ContextClasses][]uint8
	var starts [ContextClasses][ContextSymbols]uint64
	for k, freqs := range c.freqs {
		lookup[k] = contextLookup(freqs)
		for s, f := range freqs[:ContextSymbols-1] {
			starts[k][s+1] = starts[k][s] + uint64(f)
		}
	}
	stream := in.stream
	refill := func(l int) bool {
		if x[l] >= 1<<16 {
			return true
		}
		if len(stream) < 2 {
			return false
		}
		x[l], stream = x[l]<<16|uint64(stream[0])|uint64(stream[1])<<8, stream[2:]
		return true
	}
	n := len(c.values)
	for i := 0; i < n; i += c.lanes {
		row := min(c.lanes, n-i)
		symbols := make([]int, row)
		for g := range row {
			l, k := (i+g)%c.lanes, int(c.classes[i+g])
			slot := x[l] % contextSlots
			s := int(lookup[k][slot])
			symbols[g] = s
			x[l] = uint64(c.freqs[k][s])*(x[l]/contextSlots) + slot - starts[k][s]
			if !refill(l) {
				return nil, nil, ErrStream
			}
			w := uint16((int32(s) + c.shape.Base) << c.shape.Shift)
			if s == 0 {
				w = 0
				escapes = append(escapes, i+g)
			}
			words = append(words, w)
		}
		for g := range row {
			if !c.shape.Signed {
				break
			}
			l := (i + g) % c.lanes
			at := int(math.Floor(float64(symbols[g]-1)/float64(int(1)<<c.shape.Fine))) - int(c.classes[i+g]) + 31 - int(c.sides[i+g]%128)
			p := uint64(contextSign[min(max(at, 0), 31)])
			unlikely := uint16(0)
			if y := x[l] % 256; y < p {
				unlikely, x[l] = 1, p*(x[l]/256)+y
			} else {
				x[l] = (256-p)*(x[l]/256) + y - p
			}
			if !refill(l) {
				return nil, nil, ErrStream
			}
			words[i+g] |= (unlikely ^ uint16(c.sides[i+g]/128)) << 15
		}
	}
	if len(stream) != 0 || slices.ContainsFunc(x, func(x uint64) bool { return x != 1<<16 }) {
		return nil, nil, ErrFinal
	}
	return words, escapes, nil
}

// contextBench is where the tests decode: every slice touches a guard page.
type contextBench struct {
	stream, words, classes, sides *arena
	d                             *ContextDecoder
}

func newContextBench(t testing.TB) *contextBench {
	return &contextBench{newArena(t, 1<<18), newArena(t, 2*Batch), newArena(t, Batch), newArena(t, Batch), new(ContextDecoder)}
}

func (b *contextBench) decode(im *Impl, c *contextCase, in contextCoded) (all []uint16, escapes []int, err error) {
	for k, f := range c.freqs {
		b.d.SetClass(k, f)
	}
	stream := b.stream.end(len(in.stream), 0)
	copy(stream, in.stream)
	if err := b.d.Reset(im, c.shape, in.states, stream); err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(c.values); i += Batch {
		n := min(Batch, len(c.values)-i)
		out := words(b.words.end(2*n, 0xa5))
		classes, sides := b.classes.end(n, 0), b.sides.end(n, 0)
		if i/Batch%2 == 1 {
			out, classes, sides = words(b.words.start(2*n, 0xa5)), b.classes.start(n, 0), b.sides.start(n, 0)
		}
		copy(classes, c.classes[i:])
		copy(sides, c.sides[i:])
		if !c.shape.Signed {
			sides = nil
		}
		list, err := b.d.Decode(out, classes, sides)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range list {
			escapes = append(escapes, i+int(e))
			if out[e] &= 0x8000; !c.shape.Signed {
				out[e] = 0
			}
		}
		all = append(all, out...)
	}
	return all, escapes, b.d.Close()
}

var contextShapes = map[string]ContextShape{
	"BF16":        ContextOf(BF16, 3, 110, false),
	"BF16 signed": ContextOf(BF16, 3, 110, true),
	"F16":         ContextOf(F16, 3, 0, false),
	"F16 signed":  ContextOf(F16, 3, 0, true),
	"F32 signed":  ContextOf(F32, 3, 224, true),
	"E4M3":        ContextOf(E4M3, 3, 0, false),
	"E5M2 signed": ContextOf(E5M2, 2, 0, true),
}

var contextTables = []map[int]*[ContextSymbols]uint16{
	{3: contextFreqs(20, 80, 9)},
	{0: contextFreqs(1, 120, 1), 7: contextFreqs(10, 60, 30), 31: contextFreqs(60, 50, 600)},
	{5: contextFreqs(50, 1, 1), 6: contextFreqs(50, 2, contextSlots-2)},
}

func contextLengths() (list []int) {
	for n := range 36 {
		list = append(list, n)
	}
	for _, n := range []int{64, 96, 128, 192, 1024, 4096, 8192} {
		list = append(list, n-1, n, n+1, n+32)
	}
	return list
}

// contextLookup is by slot the symbol of frequencies.
func contextLookup(freqs *[ContextSymbols]uint16) (symbols []uint8) {
	for s, f := range freqs {
		symbols = append(symbols, bytes.Repeat([]uint8{uint8(s)}, int(f))...)
	}
	return symbols
}

func TestContext(t *testing.T) {
	b := newContextBench(t)
	for name, s := range contextShapes {
		for k, freqs := range contextTables {
			for _, lanes := range []int{ContextLanes / 2, ContextLanes} {
				t.Run(fmt.Sprintf("%s/table=%d/lanes=%d", name, k, lanes), func(t *testing.T) {
					r := rand.New(rand.NewPCG(1, uint64(k)))
					if last := int(s.Base) + 130; last<<s.Shift >= 1<<15 {
						freqs = map[int]*[ContextSymbols]uint16{2: contextFreqs(1, 1<<(15-s.Shift)-1-max(0, int(s.Base)), 3)}
					}
					for _, n := range contextLengths() {
						checkContext(t, b, newContextCase(s, lanes, n, freqs, r))
					}
				})
			}
		}
	}
}

// checkContext checks that a case survives, as the specification has it.
func checkContext(t *testing.T, b *contextBench, c *contextCase) {
	t.Helper()
	coded, list := c.encode()
	want, wantEscapes := c.want()
	words, escapes, err := c.refDecode(coded)
	if err != nil || !slices.Equal(words, want) || !slices.Equal(escapes, wantEscapes) {
		t.Fatalf("%d values do not decode by the specification: %v", len(want), err)
	}
	for i, e := range wantEscapes {
		if v := list[len(list)-1-i]; v != c.values[e] {
			t.Fatalf("escape %d is %d, want %d", i, v, c.values[e])
		}
	}
	for _, im := range Impls() {
		words, escapes, err := b.decode(im, c, coded)
		if err != nil || !slices.Equal(words, want) || !slices.Equal(escapes, wantEscapes) {
			t.Fatalf("%s: %d values do not survive: %v", im.Name, len(want), err)
		}
	}
}

// TestContextCorrupt: a damaged chunk gives the words or the error that the
// specification gives, whatever the implementation.
func TestContextCorrupt(t *testing.T) {
	b := newContextBench(t)
	r := rand.New(rand.NewPCG(3, 3))
	seen := map[error]int{}
	for range 300 {
		s := ContextOf(BF16, 3, 110, r.IntN(2) == 0)
		c := newContextCase(s, ContextLanes>>r.IntN(2), 1+r.IntN(6000), contextTables[r.IntN(len(contextTables))], r)
		bad, _ := c.encode()
		bad.damage(r)
		want, wantEscapes, wantErr := c.refDecode(bad)
		seen[wantErr]++
		for _, im := range Impls() {
			words, escapes, err := b.decode(im, c, bad)
			if !errors.Is(err, wantErr) || err == nil && (!slices.Equal(words, want) || !slices.Equal(escapes, wantEscapes)) {
				t.Fatalf("%s: %d values: %v, want %v", im.Name, len(c.values), err, wantErr)
			}
		}
	}
	for _, err := range []error{ErrState, ErrStream, ErrFinal} {
		if seen[err] < 10 {
			t.Errorf("%d cases of %v", seen[err], err)
		}
	}
}

func (c *contextCoded) damage(r *rand.Rand) {
	switch r.IntN(5) {
	case 0: // any state
		c.states[r.IntN(len(c.states))] ^= 1 << r.IntN(8)
	case 1: // a state out of range
		l := r.IntN(len(c.states) / 4)
		c.states[4*l+2], c.states[4*l+3] = 0, 0
	case 2:
		c.stream = c.stream[:r.IntN(len(c.stream)+1)]
	case 3:
		c.stream = append(c.stream, noise(1+r.IntN(300), r.Uint64())...)
	case 4:
		if len(c.stream) > 0 {
			c.stream[r.IntN(len(c.stream))] ^= 1 << r.IntN(8)
		}
	}
}

// FuzzContext decodes any stream, and compares with the specification: neither
// may panic, and they must agree.
func FuzzContext(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 9))
	for k := range contextTables {
		for _, lanes := range []int{ContextLanes / 2, ContextLanes} {
			c := newContextCase(ContextOf(BF16, 3, 100, k > 0), lanes, 700, contextTables[k], r)
			coded, _ := c.encode()
			f.Add(uint8(k), k > 0, lanes == ContextLanes, c.classes, c.sides, coded.states, coded.stream)
		}
	}
	b := newContextBench(f)
	f.Fuzz(func(t *testing.T, table uint8, signed, all bool, classes, sides, states, stream []byte) {
		c := &contextCase{shape: ContextOf(BF16, 3, 100, signed), lanes: ContextLanes / 2, freqs: contextTables[int(table)%len(contextTables)]}
		if all {
			c.lanes = ContextLanes
		}
		var known []uint8
		for k := range c.freqs {
			known = append(known, uint8(k))
		}
		slices.Sort(known)
		for i, k := range classes {
			c.classes = append(c.classes, known[int(k)%len(known)])
			c.sides = append(c.sides, uint8(i))
		}
		copy(c.sides, sides)
		c.values = make([]uint16, len(classes))
		in := contextCoded{append(states, make([]byte, 4*c.lanes)...)[:4*c.lanes], stream}
		if len(stream) > 1<<18 {
			return
		}
		want, wantEscapes, wantErr := c.refDecode(in)
		for _, im := range Impls() {
			words, escapes, err := b.decode(im, c, in)
			if !errors.Is(err, wantErr) || err == nil && (!slices.Equal(words, want) || !slices.Equal(escapes, wantEscapes)) {
				t.Fatalf("%s: %d values, %v; by the specification %v", im.Name, len(classes), err, wantErr)
			}
		}
	})
}

func TestAddClasses(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	in, out := newArena(t, 1<<10), newArena(t, 1<<10)
	for n := range 300 {
		columns, dst := in.end(n, 0), out.end(n, 0xa5)
		if n%2 == 1 {
			columns, dst = in.start(n, 0), out.start(n, 0xa5)
		}
		row := uint8(r.IntN(ContextClasses))
		want := make([]uint8, n)
		for i := range columns {
			columns[i] = uint8(r.IntN(ContextClasses))
			want[i] = min(columns[i]+row, ContextClasses-1)
		}
		for _, im := range Impls() {
			clear(dst)
			if im.AddClasses(dst, columns, row); !bytes.Equal(dst, want) {
				t.Fatalf("%s: %d classes differ", im.Name, n)
			}
		}
	}
}

// TestContextSign derives contextSign from its formula.
func TestContextSign(t *testing.T) {
	for i, p := range contextSign {
		want := max(1, math.Round(256/(1+math.Exp(math.Exp2(float64(i)/4-5)))))
		if i == 0 {
			want = 128
		}
		if float64(p) != want {
			t.Errorf("index %d: %d, want %v", i, p, want)
		}
	}
}

func BenchmarkContext(b *testing.B) {
	const n = 1 << 18
	freqs := map[int]*[ContextSymbols]uint16{}
	for k := 10; k < 18; k++ {
		freqs[k] = contextFreqs(1+k*2, 120, 8)
	}
	for _, signed := range []bool{false, true} {
		for _, lanes := range []int{ContextLanes / 2, ContextLanes} {
			c := newContextCase(ContextOf(BF16, 3, 100, signed), lanes, n, freqs, rand.New(rand.NewPCG(5, 5)))
			coded, _ := c.encode()
			for _, im := range Impls() {
				b.Run(fmt.Sprintf("signed=%v/lanes=%d/impl=%s", signed, lanes, im.Name), func(b *testing.B) {
					b.SetBytes(2 * n)
					d := new(ContextDecoder)
					for k, f := range freqs {
						d.SetClass(k, f)
					}
					words := make([]uint16, Batch)
					for b.Loop() {
						if err := d.Reset(im, c.shape, coded.states, coded.stream); err != nil {
							b.Fatal(err)
						}
						for i := 0; i < n; i += Batch {
							if _, err := d.Decode(words, c.classes[i:i+Batch], c.sides[i:i+Batch]); err != nil {
								b.Fatal(err)
							}
						}
						if err := d.Close(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
