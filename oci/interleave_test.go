package oci

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// interleaved is a model of one file in which the tensors of all its blocks, each of
// which is a layer, take turns.
func interleaved(t testing.TB, blocks, tensors, size int) modelFiles {
	t.Helper()
	var list []tensorData
	for j := range tensors {
		for i := range blocks {
			list = append(list, weight(fmt.Sprintf("model.layers.%d.t%d.weight", i, j), "U8", size, uint64(i*tensors+j)))
		}
	}
	return modelFiles{"model.safetensors": tensorFile(t, list...)}
}

// countingSource counts the readers that are open at once.
type countingSource struct {
	Source
	open, most *atomic.Int32
}

type countedReader struct {
	io.ReadCloser
	close func()
}

func (r *countedReader) Close() error {
	r.close()
	return r.ReadCloser.Close()
}

func (s countingSource) Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	r, err := s.Source.Blob(ctx, d, off, n)
	if err != nil {
		return nil, err
	}
	if open := s.open.Add(1); open > s.most.Load() {
		s.most.Store(open)
	}
	var closed atomic.Bool
	return &countedReader{r, func() {
		if !closed.Swap(true) {
			s.open.Add(-1)
		}
	}}, nil
}

// A file in which the tensors of many layers take turns is verified with a bounded
// number of readers, each of which is closed in the end.
func TestVerifyInterleavedReaders(t *testing.T) {
	const blocks = maxAwake + 8
	dir := interleaved(t, blocks, 5, 140_000).write(t)
	s := newStub(t, nil)
	ref := s.ref(t)
	if _, err := Push(t.Context(), ref, dir, nil); err != nil {
		t.Fatal(err)
	}
	a := openArtifact(t, ref)
	if len(a.Layers) < blocks {
		t.Fatalf("%d layers", len(a.Layers))
	}
	var open, most atomic.Int32
	a.src = countingSource{a.src, &open, &most}
	if err := newVerifier(a, (&Options{Jobs: 2}).withDefaults()).verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n <= maxAwake/2 || n > maxAwake+1 {
		t.Errorf("%d readers at once, want about %d", n, maxAwake)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d readers were not closed", n)
	}
}

// A file whose order is the worst for layers that are read ahead, in several parts
// each, is pulled and verified with any number of connections, in bounded memory.
func TestInterleavedConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("72 MB of weights take a while")
	}
	const blocks, tensors, size = 4, 6, 3 << 20
	dir := interleaved(t, blocks, tensors, size).write(t)
	s := newStub(t, nil)
	ref := s.ref(t)
	if _, err := Push(t.Context(), ref, dir, nil); err != nil {
		t.Fatal(err)
	}
	if a := openArtifact(t, ref); a.Layers[0].Size < 2*partSize {
		t.Fatalf("layers of %d bytes are no two parts", a.Layers[0].Size)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, connections := range []int{1, 2} {
		o := Options{Jobs: 2, StoreOptions: StoreOptions{Connections: connections}}
		target := filepath.Join(t.TempDir(), "out")
		for name, run := range map[string]func() error{
			"verify": func() error { _, err := Verify(ctx, ref, &o); return err },
			"pull":   func() error { _, err := Pull(ctx, ref, target, &PullOptions{Options: o, Verify: true}); return err },
		} {
			var err error
			peak := heapPeak(t, func() { err = run() })
			if err != nil {
				t.Errorf("%s, %d connections: %v", name, connections, err)
			}
			if peak > 72<<20 && !raceEnabled {
				t.Errorf("%s, %d connections: the heap grew by %d MiB", name, connections, peak>>20)
			}
			t.Logf("%s, %d connections: %d MiB", name, connections, peak>>20)
		}
		sameFiles(t, dir, target)
	}
}
