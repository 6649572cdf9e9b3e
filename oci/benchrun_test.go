package oci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/codec"
)

// untied is smallModel without its duplicate tensor.
func untied(t testing.TB) string {
	files := smallModel(t)
	tensors := []tensorData{weight("model.embed_tokens.weight", "BF16", 80_000, 7)}
	for i := range 2 {
		tensors = append(tensors, blockTensors("model.layers", i, 100)...)
	}
	files["model.safetensors"] = tensorFile(t, tensors...)
	return files.write(t)
}

// chunkSizes are the decoded and encoded sizes of the chunks of a dtype.
type chunkSizes struct{ Decoded, Encoded int64 }

// pushedSizes pushes dir and reads the headers of all chunks but the index's.
func pushedSizes(t *testing.T, dir string, level codec.Level) map[string]chunkSizes {
	t.Helper()
	ref, _ := pushLayout(t, dir, &PushOptions{Level: level})
	layers := report(t, ref).Layers
	sizes := map[string]chunkSizes{}
	for _, l := range layers[:len(layers)-1] {
		blob, err := os.ReadFile(filepath.Join(ref.path, blobPath(l.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := codec.NewReader(bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		for {
			c, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			s := sizes[c.Dtype.String()]
			sizes[c.Dtype.String()] = chunkSizes{s.Decoded + int64(c.Decoded), s.Encoded + int64(c.Encoded)}
		}
	}
	return sizes
}

// brief measures what is not looked at.
var brief = pace{rounds: 2, copied: 1 << 20}

// TestBenchMeasuresWhatPushStores proves that the chunks are those of a push.
func TestBenchMeasuresWhatPushStores(t *testing.T) {
	t.Parallel()
	dir := untied(t)
	for _, o := range []BenchOptions{
		{Levels: []codec.Level{codec.Default}, Impls: codec.Implementations()},
		{Levels: []codec.Level{codec.Max}, Impls: []string{"go"}, Jobs: 3},
	} {
		want := pushedSizes(t, dir, o.Levels[0])
		list, err := brief.bench(t.Context(), dir, o.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != len(want)*len(o.Impls) {
			t.Errorf("%d results for %d dtypes", len(list), len(want))
		}
		for _, r := range list {
			if d := cmp.Diff(want[r.Dtype], chunkSizes{r.Decoded, r.Encoded}); d != "" {
				t.Errorf("%s, level %s, %s (-pushed +measured):\n%s", r.Dtype, r.Level, r.Impl, d)
			}
			if r.Level != o.Levels[0].String() || r.Encode <= 0 || r.Decode <= 0 || r.Memcpy <= 0 || r.Ratio != float64(r.Encoded)/float64(r.Decoded) {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestBenchOfOneFile(t *testing.T) {
	dir := untied(t)
	for name, want := range map[string][]string{
		"model.safetensors": {"bytes", "BF16", "F32"},
		"onnx/model.bin":    {"bytes"},
	} {
		o := &BenchOptions{Levels: []codec.Level{codec.Default}}
		list, err := brief.bench(t.Context(), filepath.Join(dir, name), o.withDefaults())
		var got []string
		for _, r := range list {
			got = append(got, r.Dtype)
		}
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v, dtypes (-want +got):\n%s", name, err, d)
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty", "fifo", "missing", "."} {
		if _, err := Bench(t.Context(), filepath.Join(dir, name), nil); !isA[*Error](err) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := brief.bench(ctx, untied(t), (*BenchOptions)(nil).withDefaults()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
	abacus := &BenchOptions{Impls: []string{"abacus"}}
	if _, err := brief.bench(t.Context(), untied(t), abacus.withDefaults()); err == nil {
		t.Error("an unknown implementation was measured")
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// TestBenchFindsWrongBytes damages chunks between encoding and decoding, and what
// was decoded.
func TestBenchFindsWrongBytes(t *testing.T) {
	ins, done, err := benchInputs(untied(t), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	samples := takeSamples(plan(ins), DefaultSample)
	b, err := newBench(brief, 1, samples)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	for _, s := range samples {
		if err := b.load(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		workers, err := b.workers(codec.Default, "go")
		if err != nil {
			t.Fatal(err)
		}
		pass := func(f func(*worker, *benchChunk) error) error { return b.pass(t.Context(), workers, f) }
		if err := errors.Join(pass((*worker).encodeChunk), pass((*worker).decodeChunk), b.compare()); err != nil {
			t.Fatal(err)
		}
		last := b.chunks[len(b.chunks)-1]
		last.dst[len(last.dst)-1] ^= 1
		if err := b.compare(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: a wrong byte gave error %v", s.dtype, err)
		}
		last.encoded[len(last.encoded)/2] ^= 1
		if err := pass((*worker).decodeChunk); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: a damaged chunk gave error %v", s.dtype, err)
		}
	}
}

// TestTakeSample holds samples to their bound, and to all parts of the model.
func TestTakeSample(t *testing.T) {
	const chunk, most = int64(2 << 20), int64(64 << 20)
	single := func(n int) (list []stretch) {
		for range n {
			list = append(list, stretch{cuts: []cut{{length: chunk}}, length: chunk})
		}
		return list
	}
	giant := stretch{length: 1000 * chunk}
	for range 1000 {
		giant.cuts = append(giant.cuts, cut{length: chunk, shared: true})
	}
	for name, list := range map[string][]stretch{
		"all of few": single(7), "exactly all": single(32), "some of many": single(5000),
		"giant": {giant}, "giants": {giant, giant, giant}, "giant among many": append(single(500), giant),
	} {
		var total int64
		for _, s := range list {
			total += s.length
		}
		s := takeSample(codec.BF16, list, most)
		if want := min(total, most); s.length > want || s.length < want-2*chunk {
			t.Errorf("%s: a sample of %d bytes of %d, want about %d", name, s.length, total, want)
		}
		chunks := 0
		for _, x := range s.stretches {
			chunks += len(x.cuts)
		}
		if chunks != s.chunks || int64(chunks)*chunk != s.length {
			t.Errorf("%s: %d chunks, said to be %d of %d bytes", name, chunks, s.chunks, s.length)
		}
	}
	// Every tenth of a model is in the sample.
	list, tenths := single(5000), map[int64]int{}
	for i := range list {
		list[i].cuts[0].offset = int64(i)
	}
	for _, x := range takeSample(codec.BF16, list, most).stretches {
		tenths[x.cuts[0].offset/500]++
	}
	for i := range int64(10) {
		if tenths[i] < 3 || tenths[i] > 4 {
			t.Errorf("tenth %d has %d chunks in the sample", i, tenths[i])
		}
	}
}
