package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// skewed returns n elements of layout f whose symbols, with top mantissa bits,
// are those of tables, by model; and what Elements needs to give them back.
func skewed(f Layout, top uint, m *Model, n, lanes int, r *rand.Rand) (src []byte, c coded, x taken) {
	src = noise(f.Size(n), r.Uint64())
	x = refSplit(f, top, src)
	for i := range x.vals {
		t, _ := m.run(i, 1)
		x.vals[i] = draw(t, 1, r)[0] & (1<<(f.Exp+top) - 1)
	}
	im := &goImpl
	im.Merge(src, f, top, x.words(f, top), x.packed, x.planes)
	return src, encode(im, []part{{x.vals, m}}, lanes), x
}

// tablesFor are tables of values that layout f has.
func tablesFor(f Layout, top uint) (list []*Table) {
	most := 1<<(f.Exp+top) - 1
	for _, n := range []int{2, 5, min(most, 15), min(most, 31)} {
		t := spread(top, n, 1+n%3)
		for i := range t.Values[1:t.N] {
			t.Values[i+1] = uint16(most - t.N + 2 + i)
		}
		t.InitDecode(f)
		t.InitEncode()
		list = append(list, t)
	}
	return list
}

// elementsBench is where Elements works: every slice touches a guard page.
type elementsBench struct{ stream, dst, packed, p0, p1, p2 *arena }

func newElementsBench(t testing.TB) *elementsBench {
	a := func() *arena { return newArena(t, 4*9000) }
	return &elementsBench{a(), a(), a(), a(), a(), a()}
}

func (b *elementsBench) decode(im *Impl, f Layout, top uint, m *Model, n int, c coded, x taken, start, past bool) ([]byte, error) {
	var d Decoder
	if err := d.Reset(im, f, top, c.states, b.stream.hold(c.stream, start), bytes.Clone(c.escapes), c.n); err != nil {
		return nil, err
	}
	planes := [][]byte{}
	for p, a := range []*arena{b.p0, b.p1, b.p2}[:len(x.planes)] {
		planes = append(planes, a.hold(x.planes[p], start))
	}
	dst := b.dst.room(f.Size(n), start)
	if err := d.Elements(dst, f, m, b.packed.hold(x.packed, start), planes, past); err != nil {
		return nil, err
	}
	return dst, d.Close()
}

// TestElements: every implementation gives back what was encoded, in any layout,
// and for what is damaged the same bytes or the same error.
func TestElements(t *testing.T) {
	b := newElementsBench(t)
	for name, f := range layouts {
		if f.Exp+f.TopLimit() > 11 {
			continue // more symbols than a Table codes
		}
		for top := range f.TopLimit() + 1 {
			t.Run(fmt.Sprintf("%s/top=%d", name, top), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(top), 11))
				for _, lanes := range []int{GroupLanes, MaxLanes} {
					for _, n := range []int{2, 64, 256, 258, 700, 1024, 2048, 4096, 8200, 8998} {
						b.check(t, f, top, n, lanes, r)
					}
				}
			})
		}
	}
}

func (b *elementsBench) check(t *testing.T, f Layout, top uint, n, lanes int, r *rand.Rand) {
	t.Helper()
	m := &Model{Tables: tablesFor(f, top), Stripe: 512, Skip: 256}
	for i := 0; i < n+m.Skip; i += m.Stripe {
		m.Classes = append(m.Classes, uint8(r.IntN(len(m.Tables))))
	}
	if n%3 == 0 {
		m = &Model{Tables: m.Tables[n%4:]}
	}
	src, c, x := skewed(f, top, m, n, lanes, r)
	bad := []coded{c}
	for range 12 {
		bad = append(bad, damage(c, top, r))
	}
	for k, c := range bad {
		var want []byte
		var wantErr error
		for i, im := range slices.Backward(Impls()) { // plain Go first
			for _, past := range []bool{false, true} {
				got, err := b.decode(im, f, top, m, n, c, x, k%2 == 1, past)
				if i == len(Impls())-1 && !past {
					want, wantErr = bytes.Clone(got), err
				}
				if !errors.Is(err, wantErr) || err == nil && !bytes.Equal(got, want) {
					t.Fatalf("%s: %d elements, %d lanes, damage %d: %v, plain Go says %v", im.Name, n, lanes, k, err, wantErr)
				}
			}
		}
		if k == 0 && (wantErr != nil || !bytes.Equal(want, src)) {
			t.Fatalf("%d elements, %d lanes do not survive: %v", n, lanes, wantErr)
		}
	}
}
