package kernel

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The benchmarks work on memSize bytes of finished elements, in memory that was
// touched before. Next to bytes per second they report xmemcpy: their speed as a
// multiple of that of the fastest copy of as much memory, measured alternately; both
// are medians.
const (
	memSize    = 256 << 20
	benchChunk = 1 << 20 // elements of a chunk
	benchCopy  = 2 << 20
)

var benchCases = []struct {
	name string
	f    Layout
	top  uint
	std  float64 // of the weights
}{
	{"bf16", BF16, 1, 0.02},
	{"bf16-top0", BF16, 0, 0.02},
	{"f16", F16, 1, 0.02},
	{"f32", F32, 1, 0.02},
	{"e4m3", E4M3, 1, 100},
	{"e5m2", E5M2, 1, 100},
	{"byte", Byte, 1, 0},
	{"nibble", Nibble, 0, 0},
}

// memory returns size bytes on large pages, touched.
func memory(b *testing.B, size int) []byte {
	b.Helper()
	const large = 2 << 20
	all, err := unix.Mmap(-1, 0, size+large, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Munmap(all) })
	const hugePages = 14             // MADV_HUGEPAGE, of Linux only
	_ = unix.Madvise(all, hugePages) // slower without
	skip := -uintptr(unsafe.Pointer(&all[0])) & (large - 1)
	return fill(all[skip:][:size:size], 1)
}

// weights returns n elements: Gaussian weights whose rows differ in scale.
func weights(f Layout, n int, std float64, r *rand.Rand) []byte {
	out := make([]byte, f.Size(n))
	scale := 0.0
	for i := range n {
		if i%2048 == 0 {
			scale = std * math.Exp(0.2*r.NormFloat64())
		}
		w := quantize(f, scale*r.NormFloat64())
		if f.Sign == 0 { // integers around the middle
			w = uint32(max(0, min(1<<f.Bits()-1, int(float64(uint(1)<<f.Bits())*(0.5+r.NormFloat64()/8)))))
		}
		for k := range max(1, f.Bits()/8) {
			out[f.Size(i)+int(k)] |= byte(w >> (8 * k) << (uint(i) % 2 * (f.Bits() & 4)))
		}
	}
	return out
}

// quantize returns v, rounded towards zero and no denormal, as a float of layout f.
func quantize(f Layout, v float64) uint32 {
	frac, exp := math.Frexp(math.Abs(v))
	e := exp - 1 + 1<<(f.Exp-1) - 1
	if e < 1 {
		return 0
	}
	e = min(e, 1<<f.Exp-1)
	m := uint32((frac*2 - 1) * float64(uint(1)<<f.Mant))
	w := uint32(e)<<f.Mant | m
	if v < 0 {
		w |= 1 << (f.Bits() - 1)
	}
	return w
}

// fit makes a table for the elements of src: its frequencies are what they have
// there, as far as 256 slots and MaxSymbols symbols go.
func fit(f Layout, top uint, src []byte) *Table {
	var h Histogram
	Count(&h, f, src)
	counts, n := h.Fold(f.TopLimit(), top), f.Elements(len(src))
	var vals []uint16
	for v, c := range counts {
		if 5000*int(c) >= n {
			vals = append(vals, uint16(v))
		}
	}
	slices.SortFunc(vals, func(a, b uint16) int { return cmp.Compare(counts[b], counts[a]) })
	vals = vals[:min(len(vals), MaxSymbols-1)]
	t := &Table{Top: top, N: len(vals) + 1}
	most := vals[0]
	slices.Sort(vals)
	copy(t.Values[1:], vals)
	left := 255
	t.Freqs[0] = 1
	for i, v := range vals {
		t.Freqs[i+1] = uint8(max(1, int(counts[v])*255/n))
		left -= int(t.Freqs[i+1])
	}
	t.Freqs[1+slices.Index(vals, most)] += uint8(left)
	t.InitDecode(f)
	t.InitEncode()
	return t
}

// benchData is a chunk, taken apart and encoded.
type benchData struct {
	src   []byte
	table *Table
	taken
	coded
}

func newBenchData(f Layout, top uint, std float64, seed uint64) *benchData {
	d := &benchData{src: weights(f, benchChunk, std, rand.New(rand.NewPCG(seed, seed)))}
	d.table = fit(f, top, d.src)
	d.vals, d.packed = make([]uint16, benchChunk), make([]byte, PackedSize(benchChunk, f.PackedBits(top)))
	for range f.Planes(top) {
		d.planes = append(d.planes, make([]byte, benchChunk))
	}
	Best().Split(d.vals, d.packed, d.planes, f, top, d.src)
	d.coded = encode(Best(), []part{of(d.vals, d.table)}, MaxLanes)
	return d
}

// place copies what a decoder reads to mem, and returns the rest of mem.
func (c *benchData) place(mem []byte) (*benchData, []byte) {
	out := *c
	put := func(b []byte) []byte {
		n := copy(mem, b)
		part := mem[:n:n]
		mem = mem[n:]
		return part
	}
	out.stream, out.packed, out.planes = put(c.stream), put(c.packed), nil
	for _, p := range c.planes {
		out.planes = append(out.planes, put(p))
	}
	return &out, mem
}

// times are those of several passes over memory.
type times []time.Duration

// pass calls f for every chunk of size bytes.
func (t *times) pass(size int, f func(i int)) {
	start := time.Now()
	for i := range memSize / size {
		f(i)
	}
	*t = append(*t, time.Since(start))
}

// median is in seconds.
func (t times) median() float64 {
	slices.Sort(t)
	return t[len(t)/2].Seconds()
}

// run reports f, which makes a chunk of size bytes, against a copy of src to dst
// in such chunks.
func run(b *testing.B, dst, src []byte, size int, f func(i int)) {
	var own times
	copies := make([]times, len(Impls()))
	b.SetBytes(memSize)
	for b.Loop() {
		b.StopTimer()
		for k, im := range Impls() {
			copies[k].pass(size, func(i int) { im.Copy(dst[i*size:][:size], src[i*size:][:size]) })
		}
		b.StartTimer()
		own.pass(size, f)
	}
	best := math.Inf(1)
	for _, t := range copies {
		best = min(best, t.median())
	}
	b.ReportMetric(best/own.median(), "xmemcpy")
	b.ReportMetric(memSize/own.median()/1e9, "median-GB/s")
}

// A target is where decoded elements go.
const (
	toMemory  = "memory"  // to memory, past the caches
	toDirect  = "direct"  // to memory
	toScratch = "scratch" // to a buffer of a chunk's size
)

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchCases {
		b.Run("dtype="+c.name, func(b *testing.B) {
			dst, src, in := memory(b, memSize), memory(b, memSize), memory(b, memSize)
			var chunks []*benchData
			var first [4]*benchData
			for i := range first {
				first[i] = newBenchData(c.f, c.top, c.std, uint64(i))
			}
			for i, mem := 0, in; i < memSize/c.f.Size(benchChunk); i++ {
				var d *benchData
				d, mem = first[i%len(first)].place(mem)
				chunks = append(chunks, d)
			}
			for _, im := range Impls() {
				for _, to := range []string{toMemory, toDirect, toScratch} {
					b.Run(fmt.Sprintf("to=%s/impl=%s", to, im.Name), func(b *testing.B) {
						var d Decoder
						size := c.f.Size(benchChunk)
						scratch := make([]byte, size)
						run(b, dst, src, size, func(i int) {
							chunks[i].decode(b, &d, im, dst[i*size:][:size], scratch, c.f, to)
						})
						b.ReportMetric(float64(first[0].table.N), "symbols")
						b.ReportMetric(100*float64(first[0].n)/benchChunk, "%escapes")
					})
				}
			}
		})
	}
}

// decode decodes a chunk to dst.
func (c *benchData) decode(b *testing.B, d *Decoder, im *Impl, dst, scratch []byte, f Layout, to string) {
	if err := d.Reset(im, f, c.table.Top, c.states, c.stream, c.escapes, c.n); err != nil {
		b.Fatal(err)
	}
	if to == toScratch {
		dst = scratch[:len(dst)]
	}
	if err := d.Elements(dst, f, &Model{Tables: []*Table{c.table}}, c.packed, c.planes, to == toMemory); err != nil {
		b.Fatal(err)
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range benchCases {
		b.Run("dtype="+c.name, func(b *testing.B) {
			dst, src := memory(b, memSize), memory(b, memSize)
			data := newBenchData(c.f, c.top, c.std, 1)
			for at := 0; at < len(src); at += len(data.src) {
				copy(src[at:], data.src)
			}
			for _, im := range Impls() {
				b.Run("impl="+im.Name, func(b *testing.B) {
					var e Encoder
					model := &Model{Tables: []*Table{data.table}}
					size := len(data.src)
					run(b, dst, src, size, func(i int) {
						im.Split(data.vals, data.packed, data.planes, c.f, c.top, src[i*size:][:size])
						e.Reset(im, len(data.vals), MaxLanes)
						e.Encode(data.vals, model)
					})
				})
			}
		})
	}
}

func BenchmarkCopy(b *testing.B) {
	dst, src := memory(b, memSize), memory(b, memSize)
	for _, im := range Impls() {
		b.Run("impl="+im.Name, func(b *testing.B) {
			run(b, dst, src, benchCopy, func(i int) {
				im.Copy(dst[i*benchCopy:][:benchCopy], src[i*benchCopy:][:benchCopy])
			})
		})
	}
}

func BenchmarkCount(b *testing.B) {
	for _, c := range benchCases {
		b.Run("dtype="+c.name, func(b *testing.B) {
			src := weights(c.f, 4<<20, c.std, rand.New(rand.NewPCG(1, 1)))
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				var h Histogram
				Count(&h, c.f, src)
			}
		})
	}
}
