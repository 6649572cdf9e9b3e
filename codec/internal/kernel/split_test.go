package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

var layouts = map[string]Float{"BF16": BF16, "F16": F16, "F32": F32, "E4M3": E4M3, "E5M2": E5M2}

// lengths are 0 to 300, then a sample up to 4200 with what is near a multiple of
// 256.
func lengths() (list []int) {
	for n := range 4201 {
		if n <= 300 || n%61 == 0 || (n+1)%256 <= 2 {
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

// guarded returns a slice of n bytes and a function that tells whether the bytes
// on either side of it are as they were.
func guarded(n int) (b []byte, intact func() bool) {
	const guard = 64
	all := bytes.Repeat([]byte{0xa5}, n+2*guard)
	want := bytes.Repeat([]byte{0xa5}, guard)
	return all[guard : guard+n], func() bool {
		return bytes.Equal(all[:guard], want) && bytes.Equal(all[guard+n:], want)
	}
}

// refSplit is Split, an element and a bit at a time, from FORMAT.md.
func refSplit(f Float, top uint, src []byte) (vals []uint16, packed []byte, planes [][]byte) {
	n := len(src) / f.Width
	low := f.Mant - top
	bits, count := (low+1)%8, int(low+1)/8
	packed, planes = make([]byte, (n+7)/8*int(bits)), make([][]byte, count)
	for i := range n {
		var w uint64
		for k := range f.Width {
			w |= uint64(src[i*f.Width+k]) << (8 * k)
		}
		vals = append(vals, uint16(w>>low%(1<<(f.Exp+top))))
		rest := w>>(8*f.Width-1)<<low | w%(1<<low)
		for p := range planes {
			planes[p] = append(planes[p], byte(rest>>(8*p)))
		}
		for k := range int(bits) {
			at := i*int(bits) + k
			packed[at/8] |= byte(rest>>(8*count+k)&1) << (at % 8)
		}
	}
	return vals, packed, planes
}

func TestSplitMerge(t *testing.T) {
	for name, f := range layouts {
		for top := range f.TopLimit() + 1 {
			t.Run(fmt.Sprintf("%s/top=%d", name, top), func(t *testing.T) {
				for _, n := range lengths() {
					testSplitMerge(t, f, top, noise(n*f.Width, uint64(n)))
				}
			})
		}
	}
}

func testSplitMerge(t *testing.T, f Float, top uint, src []byte) {
	t.Helper()
	n := len(src) / f.Width
	vals := make([]uint16, n)
	packed, packedIntact := guarded(PackedSize(n, f.PackedBits(top)))
	planes := make([][]byte, f.Planes(top))
	for p := range planes {
		planes[p] = make([]byte, n)
	}
	Split(vals, packed, planes, f, top, src)
	if !packedIntact() {
		t.Fatalf("%d elements: Split writes outside of the packed plane", n)
	}
	wantVals, wantPacked, wantPlanes := refSplit(f, top, src)
	for i, v := range wantVals {
		if vals[i] != v {
			t.Fatalf("%d elements: value %d is %#x, want %#x", n, i, vals[i], v)
		}
	}
	if !bytes.Equal(packed, wantPacked) {
		t.Fatalf("%d elements: packed plane differs from the specification", n)
	}
	for p := range planes {
		if n > 0 && !bytes.Equal(planes[p], wantPlanes[p]) {
			t.Fatalf("%d elements: plane %d differs from the specification", n, p)
		}
	}
	// The inputs of Merge are copied, so that reads beyond them are caught by
	// the race and bounds checks of the slice's capacity.
	dst, intact := guarded(len(src))
	Merge(dst, f, top, vals, bytes.Clone(packed), planes)
	if !intact() {
		t.Fatalf("%d elements: Merge writes outside of dst", n)
	}
	if !bytes.Equal(dst, src) {
		t.Fatalf("%d elements: Merge is not the inverse of Split", n)
	}
}

// TestMergeLongPlanes: planes may be longer than the values, as they are when a
// chunk is merged in batches.
func TestMergeLongPlanes(t *testing.T) {
	for name, f := range layouts {
		for top := range f.TopLimit() + 1 {
			src := noise(1000*f.Width, 9)
			vals, packed, planes := refSplit(f, top, src)
			dst, intact := guarded(len(src))
			for from := 0; from < 1000; from += 256 {
				n := min(256, 1000-from)
				cut := make([][]byte, len(planes))
				for p := range planes {
					cut[p] = planes[p][from:]
				}
				Merge(dst[from*f.Width:], f, top, vals[from:from+n], packed[from/8*int(f.PackedBits(top)):], cut)
			}
			if !bytes.Equal(dst, src) || !intact() {
				t.Errorf("%s with top %d: merged batches differ", name, top)
			}
		}
	}
}

func TestCount(t *testing.T) {
	for name, f := range layouts {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 1000, 1001, 1002, 1003} {
			src := noise(n*f.Width, uint64(n))
			var got, want Histogram
			Count(&got, f, src)
			vals, _, _ := refSplit(f, f.TopLimit(), src)
			for _, v := range vals {
				want[v]++
			}
			if got != want {
				t.Errorf("%s: counts of %d elements differ", name, n)
			}
			for top := range f.TopLimit() + 1 {
				var coarse Histogram
				vals, _, _ := refSplit(f, top, src)
				for _, v := range vals {
					coarse[v]++
				}
				if *got.Fold(f.TopLimit(), top) != coarse {
					t.Errorf("%s: counts of %d elements folded to top %d differ", name, n, top)
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
