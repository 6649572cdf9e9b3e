package oci

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/oras-bsm/oras-bsm/codec"
)

// BenchOptions are the options of Bench. Nil means defaults.
type BenchOptions struct {
	Levels   []codec.Level    // nil: all
	Impls    []string         // of codec.Implementations; nil: the fastest
	Sample   int64            // most bytes of a dtype that are measured, codec.MaxChunk to MaxSample; 0: DefaultSample
	Jobs     int              // goroutines that share the chunks; 0: one
	Progress Progress         // told how far the work is; nil: nobody
	Warn     func(msg string) // told what a user should know; nil: nobody
}

// Sizes of BenchOptions.Sample. The default is more than caches hold, and little
// enough that a slow level takes seconds.
const (
	DefaultSample = 64 << 20
	MaxSample     = 1 << 30
)

// BenchResult is what Bench measured for a dtype, level and implementation.
// Speeds are in 10^9 decoded bytes a second, medians of several rounds. The JSON
// form is a contract with scripts.
type BenchResult struct {
	Dtype   string  `json:"dtype"` // "bytes" stands for everything that is no tensor
	Level   string  `json:"level"`
	Impl    string  `json:"impl"`
	Encode  float64 `json:"encode_gbps"`
	Decode  float64 `json:"decode_gbps"` // with the check of each chunk's hash
	Memcpy  float64 `json:"memcpy_gbps"` // between the rounds, of more than caches hold
	Ratio   float64 `json:"ratio"`       // Encoded / Decoded
	Decoded int64   `json:"decoded"`     // size of the sample in bytes
	Encoded int64   `json:"encoded"`     // size of its chunks
}

// Bench encodes and decodes in memory what Push would store of path, a model
// directory or a single file, and measures how fast that is. Of each dtype it
// takes a sample of chunks, cut as Push cuts them, evenly from the whole model.
// Every chunk that it decodes is compared with its source; if they differ the
// error is ErrCorrupt.
func Bench(ctx context.Context, path string, o *BenchOptions) ([]BenchResult, error) {
	return thorough.bench(ctx, path, o.withDefaults())
}

func (p pace) bench(ctx context.Context, path string, o *BenchOptions) ([]BenchResult, error) {
	ins, closeAll, err := benchInputs(path, o.Warn)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	samples := takeSamples(plan(ins), o.Sample)
	var total int64
	for _, s := range samples {
		total += s.length
	}
	if total == 0 {
		return nil, fail("measuring", path, errors.New("it holds no bytes"))
	}
	b, err := newBench(p, o.Jobs, samples)
	if err != nil {
		return nil, fail("measuring", path, err)
	}
	defer b.close()
	bar := o.Progress.Begin("measuring", total*int64(len(o.Levels)*len(o.Impls)))
	defer bar.End()
	var results []BenchResult
	for _, s := range samples {
		if err := b.load(ctx, s); err != nil {
			return nil, err
		}
		for _, level := range o.Levels {
			for _, impl := range o.Impls {
				r, err := b.measure(ctx, level, impl)
				if err != nil {
					return nil, err
				}
				r.Dtype, r.Decoded, r.Ratio = s.dtype.String(), s.length, float64(r.Encoded)/float64(s.length)
				results = append(results, r)
				bar.Add(s.length)
			}
		}
	}
	return results, nil
}

func (o *BenchOptions) withDefaults() *BenchOptions {
	c := BenchOptions{}
	if o != nil {
		c = *o
	}
	if len(c.Levels) == 0 {
		c.Levels = []codec.Level{codec.Default, codec.Max}
	}
	if len(c.Impls) == 0 {
		c.Impls = codec.Implementations()[:1]
	}
	if c.Sample == 0 {
		c.Sample = DefaultSample
	}
	c.Sample = min(max(c.Sample, codec.MaxChunk), MaxSample)
	c.Jobs = max(c.Jobs, 1)
	if c.Progress == nil {
		c.Progress = noProgress{}
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	return &c
}

// benchInputs lists the files of a directory as push does, or the one file that
// path names. The caller calls done when nothing is read any more.
func benchInputs(path string, warn func(string)) (ins []*input, done func(), err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fail("reading", path, err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, nil, fail("reading", path, err)
		}
		if ins, err = scan(root, path, warn); err != nil {
			return nil, nil, errors.Join(err, root.Close())
		}
		return ins, func() { _ = root.Close() }, nil
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fail("reading", path, errors.New("neither a directory nor a regular file"))
	}
	in := &input{path: filepath.Base(path), size: info.Size(), open: func() (*os.File, error) { return os.Open(path) }}
	if err := in.cut(warn); err != nil {
		return nil, nil, err
	}
	return []*input{in}, func() {}, nil
}
