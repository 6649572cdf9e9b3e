package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/codec"
)

// A pace says how much is done to measure a speed.
type pace struct {
	rounds int // at most
	copied int // bytes, to measure memcpy
}

// thorough copies more than caches hold.
var thorough = pace{rounds: 7, copied: 256 << 20}

// bench is the memory of one run, outside the heap: it is large, in huge pages
// where there are any, and touched before it is measured.
type bench struct {
	pace
	jobs     int
	src, dst []byte // at least pace.copied; src holds a sample, and that encoded

	length int64 // of the current sample
	chunks []*benchChunk
}

// benchChunk is a chunk of the sample and its places in memory.
type benchChunk struct {
	*cut
	layer    *benchLayer
	sizes    []int
	src, dst []byte
	room     []byte // for encoded; empty
	encoded  []byte
}

// benchLayer is what the chunks of a layer share.
type benchLayer struct {
	tables   *codec.Tables
	prologue *codec.Prologue
}

// newBench returns a bench for any of the samples.
func newBench(p pace, jobs int, samples []*sample) (_ *bench, err error) {
	decoded, both := int64(p.copied), int64(p.copied)
	for _, s := range samples {
		decoded = max(decoded, s.length)
		both = max(both, 2*s.length+int64(s.chunks*codec.HeaderSize)) // no chunk grows by more
	}
	b := &bench{pace: p, jobs: jobs}
	b.src, err = newArea(both)
	if err == nil {
		b.dst, err = newArea(decoded)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	freeArea(b.src)
	freeArea(b.dst)
}

// load reads a sample and makes the tables of its small tensors.
func (b *bench) load(ctx context.Context, s *sample) error {
	b.length, b.chunks = s.length, nil
	at, room := int64(0), s.length
	for _, t := range s.stretches {
		tables, err := sharedTables(ctx, t.cuts)
		if err != nil {
			return err
		}
		layer := &benchLayer{tables: tables}
		if layer.prologue, err = codec.ReadPrologue(prologueOf(tables)); err != nil {
			return err
		}
		for i := range t.cuts {
			if err := ctx.Err(); err != nil {
				return err
			}
			c := &benchChunk{cut: &t.cuts[i], layer: layer}
			end := at + c.length
			c.src, c.dst = b.src[at:end], b.dst[at:end]
			if c.sizes, err = c.fill(c.src, (*piece).load); err != nil {
				return err
			}
			full := room + c.length + codec.HeaderSize
			c.room = b.src[room:room:full]
			at, room = end, full
			b.chunks = append(b.chunks, c)
		}
	}
	return nil
}

// Rounds of a measurement: at least few, unless that takes very long.
const (
	fewRounds  = 3
	enoughTime = 2 * time.Second
	tooLong    = 10 * time.Second
)

// measure encodes and decodes the current sample, in rounds, with one level and
// one implementation.
func (b *bench) measure(ctx context.Context, level codec.Level, impl string) (r BenchResult, err error) {
	r = BenchResult{Level: level.String(), Impl: impl}
	workers, err := b.workers(level, impl)
	if err != nil {
		return r, err
	}
	var encode, decode, plain, past []float64
	start := time.Now()
	for n := 0; n < b.rounds; n++ {
		if spent := time.Since(start); n > 0 && spent > tooLong || n >= fewRounds && spent > enoughTime {
			break
		}
		e, err := b.timed(ctx, workers, (*worker).encodeChunk)
		if err != nil {
			return r, err
		}
		clear(b.dst[:b.length]) // what is not decoded is not there
		d, err := b.timed(ctx, workers, (*worker).decodeChunk)
		if err != nil {
			return r, err
		}
		if err := b.compare(); err != nil {
			return r, err
		}
		encode, decode = append(encode, e), append(decode, d)
		plain = append(plain, b.memcpy(func(dst, src []byte) { copy(dst, src) }))
		past = append(past, b.memcpy(codec.Copy))
	}
	r.Encode, r.Decode, r.Memcpy = median(encode), median(decode), max(median(plain), median(past))
	for _, c := range b.chunks {
		r.Encoded += int64(len(c.encoded))
	}
	return r, nil
}

func (b *bench) workers(level codec.Level, impl string) ([]*worker, error) {
	list := make([]*worker, b.jobs)
	for i := range list {
		w := &worker{enc: codec.NewEncoder(level), dec: codec.NewDecoder(b.chunks[0].layer.prologue)}
		if err := errors.Join(w.enc.Use(impl), w.dec.Use(impl)); err != nil {
			return nil, err
		}
		list[i] = w
	}
	return list, nil
}

func (w *worker) encodeChunk(c *benchChunk) (err error) {
	c.encoded, err = w.encode(c.room, c.cut, c.src, c.sizes, c.layer.tables)
	return err
}

func (w *worker) decodeChunk(c *benchChunk) error {
	w.dec.Reset(c.layer.prologue)
	return w.dec.Decode(c.dst, c.encoded)
}

// timed has the workers do f to all chunks, a small sample several times, and
// returns how many GB of decoded bytes that is a second.
func (b *bench) timed(ctx context.Context, workers []*worker, f func(*worker, *benchChunk) error) (float64, error) {
	const least = 20 * time.Millisecond // for the clock, and for those who interrupt
	start := time.Now()
	for n := int64(1); ; n++ {
		if err := b.pass(ctx, workers, f); err != nil {
			return 0, err
		}
		if spent := time.Since(start); spent >= least {
			return gbps(n*b.length, spent), nil
		}
	}
}

// pass has the workers do f to all chunks.
func (b *bench) pass(ctx context.Context, workers []*worker, f func(*worker, *benchChunk) error) error {
	var next atomic.Int64
	work := func(w *worker) error {
		for i := next.Add(1) - 1; i < int64(len(b.chunks)); i = next.Add(1) - 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(w, b.chunks[i]); err != nil {
				return b.chunks[i].lossy(err)
			}
		}
		return nil
	}
	if len(workers) == 1 {
		return work(workers[0])
	}
	var g errgroup.Group
	for _, w := range workers {
		g.Go(func() error { return work(w) })
	}
	return g.Wait()
}

// compare holds what was decoded against its source.
func (b *bench) compare() error {
	for _, c := range b.chunks {
		if !bytes.Equal(c.src, c.dst) {
			return c.lossy(errors.New("other bytes came back"))
		}
	}
	return nil
}

// lossy says that c cannot be encoded or decoded: it should be impossible.
func (c *benchChunk) lossy(err error) error {
	return c.fail(fmt.Errorf("%w: %w: %w", ErrCorrupt, errLossy, err))
}

// memcpy measures a copy of pace.copied bytes.
func (b *bench) memcpy(f func(dst, src []byte)) float64 {
	start := time.Now()
	part := b.copied / b.jobs
	var g sync.WaitGroup
	for i := 1; i < b.jobs; i++ {
		g.Go(func() { f(b.dst[i*part:(i+1)*part], b.src[i*part:(i+1)*part]) })
	}
	f(b.dst[:part], b.src[:part])
	g.Wait()
	return gbps(int64(part*b.jobs), time.Since(start))
}

func gbps(n int64, d time.Duration) float64 { return float64(n) / float64(d.Nanoseconds()) }

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
