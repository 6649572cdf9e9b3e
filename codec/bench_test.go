package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// Benchmarks are named Encode/dtype=bf16/level=default/impl=avx512, and Decode
// and Reader likewise. Beside the usual speed in decoded bytes they report
//
//	ratio     encoded over decoded size
//	GB/cpu-s  speed by CPU time, in 10^9 decoded bytes a second
//	xmemcpy   the same in multiples of memcpy
//	xsha256   the same in multiples of crypto/sha256
//
// memcpy and sha256 are measured right after, in the same process: multiples can
// be compared between runs, and between machines. CPU time is what is left to
// compare by on a machine that others use, too.

// benchTensor is a tensor of a benchmark. An operation handles all its chunks.
type benchTensor struct {
	dtype Dtype
	cols  int // of its geometry
	b     []byte
}

// benchCase is one or two tensors that models have side by side: codes and their
// scales.
type benchCase struct {
	name    string
	tensors func() []benchTensor
}

const benchRows, benchCols = 4096, 2048

var benchMatrix = sync.OnceValue(func() []float32 { return model.Matrix(benchRows, benchCols, 20260101) })

var benchCases = []benchCase{
	{"bf16", func() []benchTensor { return dense(BF16, model.BF16(benchMatrix())) }},
	{"f32", func() []benchTensor { return dense(F32, model.F32(benchMatrix())) }},
	{"f16", func() []benchTensor { return dense(F16, model.F16(benchMatrix())) }},
	{"fp8", func() []benchTensor {
		codes, scale := model.FP8Tensor(benchMatrix())
		return []benchTensor{{F8_E4M3, benchCols, codes}, {F32, 0, scale}}
	}},
	{"fp8_channel", func() []benchTensor {
		codes, scales := model.FP8(benchMatrix(), benchCols)
		return []benchTensor{{F8_E4M3, benchCols, codes}, {BF16, 1, scales}}
	}},
	{"fp8_block128", func() []benchTensor {
		codes, scales := model.FP8Blocks(benchMatrix(), benchCols)
		return []benchTensor{{F8_E4M3, benchCols, codes}, {F32, benchCols / 128, scales}}
	}},
	{"mxfp4", func() []benchTensor {
		codes, scales := model.MXFP4(benchMatrix(), benchCols)
		return []benchTensor{{U8, benchCols / 2, codes}, {U8, benchCols / 32, scales}}
	}},
	{"nvfp4", func() []benchTensor {
		codes, scales := model.NVFP4(benchMatrix(), benchCols, 1.0/2688)
		return []benchTensor{{U8, benchCols / 2, codes}, {F8_E4M3, benchCols / 16, scales}}
	}},
	{"int4", func() []benchTensor {
		codes, scales := model.INT4(benchMatrix(), benchCols)
		return []benchTensor{{I32, benchCols / 8, codes}, {BF16, benchCols / 128, scales}}
	}},
	{"f32_of_bf16", func() []benchTensor { return dense(F32, model.F32(roundedBF16())) }},
	{"f16_of_bf16", func() []benchTensor { return dense(F16, model.F16(roundedBF16())) }},
	{"i64", func() []benchTensor { return dense(I64, tokenIDs(1<<20)) }},
}

func dense(d Dtype, b []byte) []benchTensor { return []benchTensor{{d, benchCols, b}} }

// roundedBF16 is the matrix after it was stored as BF16 once.
func roundedBF16() []float32 {
	w := make([]float32, benchRows*benchCols)
	b := model.BF16(benchMatrix())
	for i := range w {
		w[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
	}
	return w
}

// tokenIDs is n numbers below 128,000, small ones more often, as in tables of
// tokens.
func tokenIDs(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, 8*n)
	for range n {
		b = binary.LittleEndian.AppendUint64(b, uint64(128_000*r.Float64()*r.Float64()))
	}
	return b
}

// benchChunk is a chunk to encode and the chunk encoded.
type benchChunk struct {
	dtype Dtype
	g     Geometry
	src   []byte
	chunk []byte
}

// chunks cuts the tensors and encodes them.
func (c *benchCase) chunks(b *testing.B, level Level) (list []benchChunk, decoded, encoded int) {
	b.Helper()
	enc := NewEncoder(level)
	for _, t := range c.tensors() {
		at := 0
		for part := range slices.Chunk(t.b, t.dtype.ChunkSize()) {
			x := benchChunk{dtype: t.dtype, src: part}
			if t.cols > 0 {
				x.g = Geometry{Cols: t.cols, First: at / t.dtype.Width() % t.cols}
			}
			var err error
			if x.chunk, err = enc.Encode(nil, x.dtype, part, x.g); err != nil {
				b.Fatal(err)
			}
			at += len(part)
			decoded += len(part)
			encoded += len(x.chunk)
			list = append(list, x)
		}
	}
	return list, decoded, encoded
}

// eachBench measures what f prepares, for all cases, levels and implementations.
// An operation handles the whole list.
func eachBench(b *testing.B, f func(b *testing.B, list []benchChunk, level Level, impl string) (op func() error)) {
	for _, c := range benchCases {
		b.Run("dtype="+c.name, func(b *testing.B) {
			for level := range levels {
				b.Run("level="+level.String(), func(b *testing.B) {
					list, decoded, encoded := c.chunks(b, level)
					for _, impl := range Implementations() {
						b.Run("impl="+impl, func(b *testing.B) {
							op := f(b, list, level, impl)
							start := cpuTime()
							for b.Loop() {
								if err := op(); err != nil {
									b.Fatal(err)
								}
							}
							spent := (cpuTime() - start) / time.Duration(b.N)
							b.ReportMetric(float64(encoded)/float64(decoded), "ratio")
							reportSpeed(b, decoded, spent)
						})
					}
				})
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	eachBench(b, func(b *testing.B, list []benchChunk, level Level, impl string) func() error {
		enc := NewEncoder(level)
		if err := enc.Use(impl); err != nil {
			b.Fatal(err)
		}
		var buf []byte
		return func() (err error) {
			for i := range list {
				if buf, err = enc.Encode(buf[:0], list[i].dtype, list[i].src, list[i].g); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	eachBench(b, func(b *testing.B, list []benchChunk, _ Level, impl string) func() error {
		dec := NewDecoder(&Prologue{tables: &Tables{}})
		if err := dec.Use(impl); err != nil {
			b.Fatal(err)
		}
		scratch := make([]byte, MaxChunk)
		return func() error {
			for i := range list {
				if err := dec.Decode(scratch[:len(list[i].src)], list[i].chunk); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

// BenchmarkReader reads whole layers from memory, chunk by chunk into the same
// memory.
func BenchmarkReader(b *testing.B) {
	scratch := make([]byte, MaxChunk)
	benchReader(b, func(r *Reader, n int) error { return r.Decode(scratch[:n]) })
}

// BenchmarkReaderTo reads whole layers to memory that is not in the caches: as
// that of memcpy is not.
func BenchmarkReaderTo(b *testing.B) {
	dst, at := benchMemory()[1], 0
	benchReader(b, func(r *Reader, n int) error {
		if at+n > len(dst) {
			at = 0
		}
		part := dst[at : at+n]
		at += (n + 63) / 64 * 64
		return r.DecodeTo(part)
	})
}

func benchReader(b *testing.B, decode func(r *Reader, n int) error) {
	eachBench(b, func(b *testing.B, list []benchChunk, _ Level, impl string) func() error {
		layer := benchLayer(b, list)
		return func() error {
			r, err := NewReader(bytes.NewBuffer(layer))
			if err == nil {
				err = r.dec.Use(impl)
			}
			for err == nil {
				var c *Chunk
				if c, err = r.Next(); err == nil {
					err = decode(r, c.Decoded)
				}
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	})
}

func benchLayer(b *testing.B, list []benchChunk) []byte {
	b.Helper()
	var layer bytes.Buffer
	w, err := NewWriter(&layer, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, x := range list {
		if err := w.WriteChunk(x.chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return layer.Bytes()
}

// copySize is how much is copied to measure memcpy: more than caches hold.
const copySize = 256 << 20

// preferHugePages asks the system for them, where that can be done.
var preferHugePages = func([]byte) {}

// benchMemory is memory to copy from and to: all of it present.
var benchMemory = sync.OnceValue(func() (m [2][]byte) {
	for i := range m {
		b, err := unix.Mmap(-1, 0, copySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			panic(fmt.Sprintf("memory to copy: %v", err))
		}
		preferHugePages(b)
		clear(b)
		m[i] = b
	}
	return m
})

// cpuTime is what all threads of this process have used so far.
func cpuTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(fmt.Sprintf("CPU time: %v", err))
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// reportSpeed reports the speed of an operation on n bytes that took spent of CPU
// time, beside those of memcpy and sha256.
func reportSpeed(b *testing.B, n int, spent time.Duration) {
	b.SetBytes(int64(n))
	speed := float64(n) / float64(spent)
	m := benchMemory()
	plain := medianSpeed(copySize, func() { copy(m[1], m[0]) })
	past := medianSpeed(copySize, func() { Copy(m[1], m[0]) })
	b.ReportMetric(speed, "GB/cpu-s")
	b.ReportMetric(speed/max(plain, past), "xmemcpy")
	const hashed = 8 << 20
	b.ReportMetric(speed/medianSpeed(hashed, func() { sha256.Sum256(m[0][:hashed]) }), "xsha256")
}

// medianSpeed is the speed of f, which handles n bytes, in GB a second of CPU
// time.
func medianSpeed(n int, f func()) float64 {
	var speeds [3]float64
	for i := range speeds {
		start := cpuTime()
		f()
		speeds[i] = float64(n) / float64(max(cpuTime()-start, 1))
	}
	slices.Sort(speeds[:])
	return speeds[1]
}

// BenchmarkCopy is what the others are measured against.
func BenchmarkCopy(b *testing.B) {
	m := benchMemory()
	for _, c := range []struct {
		name string
		f    func(dst, src []byte)
	}{{"go", func(dst, src []byte) { copy(dst, src) }}, {Implementations()[0], Copy}} {
		b.Run("impl="+c.name, func(b *testing.B) {
			b.SetBytes(copySize)
			for b.Loop() {
				c.f(m[1], m[0])
			}
		})
	}
}
