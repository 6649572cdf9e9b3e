package codec

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// TestCosts: costs are rounded floating-point numbers, and must be the same
// whatever the CPU; so none may lie near where rounding changes.
func TestCosts(t *testing.T) {
	for f := 1; f <= 256; f++ {
		exact := (8 - math.Log2(float64(f))) * costOne
		if costOf[f] != int64(math.Round(exact)) {
			t.Errorf("cost of frequency %d is %d, want %g", f, costOf[f], exact)
		}
		if _, fraction := math.Modf(exact); math.Abs(fraction-0.5) < 1e-6 {
			t.Errorf("cost of frequency %d, %g, is too near a boundary", f, exact)
		}
	}
}

func TestNormalize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	cases := [][]int64{{0, 1}, {1, 1}, {0, 1 << 30}, {1, 1 << 30}, {1 << 30, 1}, {0, 1, 1}, {0, 1, 0, 0}, slices.Repeat([]int64{1}, 32), {1 << 40, 1, 1, 1}}
	for range 3000 {
		counts := make([]int64, 2+r.IntN(31))
		for i := range counts {
			if counts[i] = int64(r.Uint64() >> (34 + r.IntN(30))); i > 0 {
				counts[i]++
			}
		}
		cases = append(cases, counts)
	}
	for _, counts := range cases {
		freqs, sum := make([]int, len(counts)), 0
		normalize(freqs, counts)
		for i, f := range freqs {
			sum += f
			switch {
			case f < 0 || f > 255:
				t.Fatalf("%v: frequency %d", counts, f)
			case f == 0 && counts[i] > 0:
				t.Fatalf("%v: no slot for what occurs: %v", counts, freqs)
			case f > 0 && counts[i] == 0 && i > 0:
				t.Fatalf("%v: slots for what does not occur: %v", counts, freqs)
			}
		}
		if sum != 256 {
			t.Fatalf("%v: frequencies %v sum to %d", counts, freqs, sum)
		}
	}
}

// TestNormalizeIsNearBest moves one slot from any symbol to any other: none of
// that may make the whole cheaper.
func TestNormalizeIsNearBest(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		counts := make([]int64, 2+r.IntN(20))
		for i := range counts {
			counts[i] = 1 + int64(r.Uint64()>>(44+r.IntN(20)))
		}
		freqs := make([]int, len(counts))
		normalize(freqs, counts)
		for i := range freqs {
			for j := range freqs {
				if i == j || freqs[i] == 1 || freqs[j] == 255 {
					continue
				}
				lost := counts[i] * (costOf[freqs[i]-1] - costOf[freqs[i]])
				won := counts[j] * (costOf[freqs[j]] - costOf[freqs[j]+1])
				if total := cost(counts, freqs); (won-lost)*1000 > total {
					t.Errorf("%v: a slot from %d to %d of %v saves %d of %d", counts, i, j, freqs, won-lost, total)
				}
			}
		}
	}
}

func cost(counts []int64, freqs []int) (sum int64) {
	for i, c := range counts {
		sum += c * costOf[freqs[i]]
	}
	return sum
}

// modelOf is the table that the encoder would use for src.
func modelOf(f kernel.Layout, src []byte) *kernel.Table {
	var h kernel.Histogram
	kernel.Count(&h, f, src)
	model, _ := chooseModel(&h, f, f.Elements(len(src)), false)
	return model.table()
}

// TestTableWire: a table that was written is read as it was, and every shorter
// piece of it is an error.
func TestTableWire(t *testing.T) {
	for _, c := range testData() {
		if !c.d.shares() || len(c.b) > 1<<18 {
			continue
		}
		f := layoutTable[c.d.layout()]
		table := modelOf(f, c.b)
		sum := 0
		for s := range table.N {
			sum += int(table.Freqs[s])
			if s > 1 && table.Values[s] <= table.Values[s-1] {
				t.Fatalf("%s: values do not ascend: %v", c.name, table.Values[:table.N])
			}
		}
		if sum != 256 || table.N > kernel.MaxSymbols {
			t.Fatalf("%s: table of %d symbols, sum %d", c.name, table.N, sum)
		}
		wire := appendTable(nil, table)
		var got, short kernel.Table
		size, err := parseTable(&got, append(bytes.Clone(wire), 1, 2, 3), f, table.Top)
		if err != nil || size != len(wire) {
			t.Fatalf("%s: table of %d bytes reads as %d, %v", c.name, len(wire), size, err)
		}
		if got.Top != table.Top || got.N != table.N || got.Values != table.Values || got.Freqs != table.Freqs {
			t.Fatalf("%s: table is read as another", c.name)
		}
		for n := range wire {
			if _, err := parseTable(&short, wire[:n], f, table.Top); err == nil {
				t.Fatalf("%s: %d bytes of a table of %d are read", c.name, n, len(wire))
			}
		}
	}
}

// TestModelIsNearEntropy: the chosen model may not cost much more than the
// entropy of the symbols that it found best.
func TestModelIsNearEntropy(t *testing.T) {
	for _, d := range []Dtype{BF16, F16, F32, F8_E4M3, F8_E5M2} {
		f := layoutTable[d.layout()]
		src := elements(d, gaussian(1<<18, 1))
		n := f.Elements(len(src))
		var h kernel.Histogram
		kernel.Count(&h, f, src)
		floor := math.Inf(1)
		for top := range f.TopLimit() + 1 {
			bits := float64(n) * float64(f.RestBits(top))
			for _, c := range h.Fold(f.TopLimit(), top) {
				if c > 0 {
					bits -= float64(c) * math.Log2(float64(c)/float64(n))
				}
			}
			floor = min(floor, bits)
		}
		_, cost := chooseModel(&h, f, n, false)
		if got := float64(cost) / costOne; got < floor || got > floor*1.01 {
			t.Errorf("%v: %.0f bits, the entropy is %.0f", d, got, floor)
		}
	}
}

// TestSharedTablesParse: tables survive the prologue, in order.
func TestSharedTablesParse(t *testing.T) {
	var b TableBuilder
	for d := range dtypes {
		for i := range 20 {
			w := gaussian(50+i, uint64(i))
			for j := range w {
				w[j] *= float32(math.Pow(4, float64(i%5)))
			}
			b.Add(d, elements(d, w))
		}
	}
	tables := b.Build()
	p, err := ReadPrologue(bytes.NewReader(appendPrologue(nil, tables)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", p.tables.append(nil)), fmt.Sprintf("%x", tables.append(nil)); got != want {
		t.Errorf("tables read differ from those written:\n%s\n%s", got, want)
	}
	for d := range dtypes {
		if !d.shares() {
			continue
		}
		ids := tables.of(d.layout())
		if len(ids) == 0 || len(ids) > maxPerLayout {
			t.Errorf("%v has %d tables", d, len(ids))
		}
		for _, id := range ids {
			top := tables.list[id].table[0].Top
			if p.table(id, d.layout(), top) == nil || p.table(id, d.layout(), top+1) != nil || p.table(id, layoutNibble, top) != nil {
				t.Errorf("table %d is not for %v alone", id, d)
			}
			if tables.list[id].table[0].Freqs[0] == 0 {
				t.Errorf("table %d of %v cannot escape", id, d)
			}
		}
	}
	if p.table(len(tables.list), layoutBF16, 1) != nil {
		t.Error("a table beyond the last")
	}
}
