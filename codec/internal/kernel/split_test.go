package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

var layouts = map[string]Layout{
	"BF16": BF16, "F16": F16, "F32": F32, "E4M3": E4M3, "E5M2": E5M2,
	"Byte": Byte, "Nibble": Nibble,
	// Where the sign is part of the symbol.
	"BF16 signed": BF16.Signed(), "F16 signed": F16.Signed(), "F32 signed": F32.Signed(), "E4M3 signed": E4M3.Signed(), "E5M2 signed": E5M2.Signed(),
}

// lengths are 0 to 300, then a sample up to 4200 with what is near a multiple of
// 256; in a long test, all.
func lengths() (list []int) {
	for n := range 4201 {
		if n <= 300 || n%61 == 0 || (n+1)%256 <= 2 || slow {
			list = append(list, n)
		}
	}
	return list
}

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// taken is elements taken apart.
type taken struct {
	vals   []uint16
	packed []byte
	planes [][]byte
}

// refSplit is Split, an element and a bit at a time, from FORMAT.md.
func refSplit(f Layout, top uint, src []byte) (t taken) {
	n, size := f.Elements(len(src)), int(f.Bits())
	low := f.Mant - top
	bits, count := (low+f.Sign)%8, int(low+f.Sign)/8
	t.packed, t.planes = make([]byte, (n+7)/8*int(bits)), make([][]byte, count)
	for i := range n {
		var w uint64
		for k := range size {
			at := i*size + k
			w |= uint64(src[at/8]>>(at%8)&1) << k
		}
		t.vals = append(t.vals, uint16(w>>low%(1<<(f.Exp+top))))
		rest := w % (1 << low)
		if f.Sign == 1 {
			rest |= w >> (size - 1) << low
		}
		for p := range t.planes {
			t.planes[p] = append(t.planes[p], byte(rest>>(8*p)))
		}
		for k := range int(bits) {
			at := i*int(bits) + k
			t.packed[at/8] |= byte(rest>>(8*count+k)&1) << (at % 8)
		}
	}
	return t
}

// wordsOf is the words that decoding gives for vals.
func (t taken) words(f Layout, top uint) (list []uint16) {
	for _, v := range t.vals {
		list = append(list, v<<f.shift(top))
	}
	return list
}

// splitBench is where Split and Merge work: every slice touches a guard page.
type splitBench struct{ src, dst, words, packed, p0, p1, p2 *arena }

func newSplitBench(t testing.TB) *splitBench {
	a := func() *arena { return newArena(t, 4*4300) }
	return &splitBench{a(), a(), a(), a(), a(), a(), a()}
}

func (a *arena) hold(b []byte, start bool) []byte {
	out := a.end(len(b), 0)
	if start {
		out = a.start(len(b), 0)
	}
	copy(out, b)
	return out
}

func (a *arena) room(n int, start bool) []byte {
	if start {
		return a.start(n, 0xa5)
	}
	return a.end(n, 0xa5)
}

func TestSplitMerge(t *testing.T) {
	b := newSplitBench(t)
	for name, f := range layouts {
		for top := range f.TopLimit() + 1 {
			t.Run(fmt.Sprintf("%s/top=%d", name, top), func(t *testing.T) {
				for _, n := range lengths() {
					if f.Bits() == 4 {
						n = n / 2 * 2
					}
					src := noise(f.Size(n), uint64(n))
					want := refSplit(f, top, src)
					for _, im := range Impls() {
						b.split(t, im, f, top, src, want, n%3 == 0)
						b.merge(t, im, f, top, src, want, n%3 == 0)
					}
				}
			})
		}
	}
}

func (b *splitBench) split(t *testing.T, im *Impl, f Layout, top uint, src []byte, want taken, start bool) {
	t.Helper()
	n := f.Elements(len(src))
	vals, packed := words(b.words.room(2*n, start)), b.packed.room(len(want.packed), start)
	planes := [][]byte{b.p0.room(n, start), b.p1.room(n, start), b.p2.room(n, start)}[:len(want.planes)]
	im.Split(vals, packed, planes, f, top, b.src.hold(src, start))
	for i, v := range want.vals {
		if vals[i] != v {
			t.Fatalf("%s: %d elements: value %d is %#x, want %#x", im.Name, n, i, vals[i], v)
		}
	}
	if !bytes.Equal(packed, want.packed) {
		t.Fatalf("%s: %d elements: packed plane differs from the specification", im.Name, n)
	}
	for p := range planes {
		if !bytes.Equal(planes[p], want.planes[p]) {
			t.Fatalf("%s: %d elements: plane %d differs from the specification", im.Name, n, p)
		}
	}
}

func (b *splitBench) merge(t *testing.T, im *Impl, f Layout, top uint, src []byte, x taken, start bool) {
	t.Helper()
	n := len(x.vals)
	w := words(b.words.room(2*n, start))
	copy(w, x.words(f, top))
	planes := [][]byte{}
	for p, a := range []*arena{b.p0, b.p1, b.p2}[:len(x.planes)] {
		planes = append(planes, a.hold(x.planes[p], start))
	}
	dst := b.dst.room(len(src), start)
	im.Merge(dst, f, top, w, b.packed.hold(x.packed, start), planes)
	if !bytes.Equal(dst, src) {
		t.Fatalf("%s: %d elements: Merge is not the inverse of Split", im.Name, n)
	}
}

// TestMergeLongPlanes: planes may be longer than the words, as they are when a
// chunk is merged in batches.
func TestMergeLongPlanes(t *testing.T) {
	for name, f := range layouts {
		for top := range f.TopLimit() + 1 {
			src := noise(f.Size(1000), 9)
			x := refSplit(f, top, src)
			w := x.words(f, top)
			for _, im := range Impls() {
				dst := make([]byte, len(src)+64)
				fill(dst, 0xa5)
				for from := 0; from < 1000; from += 256 {
					n := min(256, 1000-from)
					cut := make([][]byte, len(x.planes))
					for p := range cut {
						cut[p] = x.planes[p][from:]
					}
					im.Merge(dst[f.Size(from):], f, top, w[from:from+n], x.packed[from/8*int(f.PackedBits(top)):], cut)
				}
				if !bytes.Equal(dst[:len(src)], src) || dst[len(src)] != 0xa5 {
					t.Errorf("%s: %s with top %d: merged batches differ", im.Name, name, top)
				}
			}
		}
	}
}

func TestCopy(t *testing.T) {
	from, to := newArena(t, 1<<17), newArena(t, 1<<17)
	for _, n := range append(lengths(), 1<<16, 1<<16+1, 100_003) {
		src := from.hold(noise(n, 3), n%2 == 0)
		for _, im := range Impls() {
			for _, start := range []bool{true, false} {
				dst := to.room(n, start)
				if im.Copy(dst, src); !bytes.Equal(dst, src) {
					t.Fatalf("%s: copy of %d bytes differs", im.Name, n)
				}
			}
		}
	}
}

func TestCount(t *testing.T) {
	for name, f := range layouts {
		if f.Exp+f.TopLimit() > 11 {
			continue // more symbols than a Histogram has
		}
		for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 1000, 1001, 1002, 1003} {
			if f.Bits() == 4 {
				n *= 2
			}
			src := noise(f.Size(n), uint64(n))
			var got, want Histogram
			Count(&got, f, src)
			for _, v := range refSplit(f, f.TopLimit(), src).vals {
				want[v]++
			}
			if got != want {
				t.Errorf("%s: counts of %d elements differ", name, n)
			}
			for top := range f.TopLimit() + 1 {
				var coarse Histogram
				for _, v := range refSplit(f, top, src).vals {
					coarse[v]++
				}
				if *got.Fold(f.TopLimit(), top) != coarse {
					t.Errorf("%s: counts of %d elements folded to top %d differ", name, n, top)
				}
			}
			for _, im := range Impls() {
				sum := uint64(0)
				for v, c := range want {
					sum += uint64(v) * uint64(c)
				}
				if s := im.Sum(f, src); s != sum {
					t.Errorf("%s: %s: sum of %d elements is %d, want %d", im.Name, name, n, s, sum)
				}
			}
			Count(&got, f, src)
			if sum := total(&got); sum != 2*n {
				t.Errorf("%s: counting %d elements twice gives %d", name, n, sum)
			}
		}
	}
}

func total(h *Histogram) (n int) {
	for _, c := range h {
		n += int(c)
	}
	return n
}
