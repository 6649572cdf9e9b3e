package oci

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A registry that answers ranges with the whole blob costs a pull that goes on, or one
// of a part, each layer no more than twice.
func TestPullWithoutRanges(t *testing.T) {
	s := newStub(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			r.Header.Del("Range")
		}
		return false
	})
	files := manyChunks(t)
	var tensors []tensorData
	for i := range 40 {
		tensors = append(tensors, weight("model.layers.0."+string(rune('a'+i)), "U8", 1<<20, uint64(i)))
	}
	files["model.safetensors"] = tensorFile(t, tensors...)
	dir := files.write(t)
	ref := s.ref(t)
	if _, err := Push(t.Context(), ref, dir, nil); err != nil {
		t.Fatal(err)
	}
	a := openArtifact(t, ref)
	layer := a.Layers[0].Digest.String()
	count := func() (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, d := range s.blobs {
			if d == layer {
				n++
			}
		}
		s.blobs = nil
		return n
	}
	var odd []string
	for i := range 20 {
		odd = append(odd, "model.layers.0."+string(rune('a'+2*i)))
	}
	count()
	if _, err := Pull(t.Context(), ref, t.TempDir(), &PullOptions{Selection: Selection{Tensors: odd}}); err != nil {
		t.Fatal(err)
	}
	if n := count(); n > 2 {
		t.Errorf("a part: %d requests for a layer", n)
	}
	target := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var left atomic.Int64
	left.Store(10)
	if _, err := Pull(ctx, ref, target, &PullOptions{Options: Options{Progress: afterChunks{n: &left, stop: cancel}}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	count()
	if _, err := Pull(t.Context(), ref, target, nil); err != nil {
		t.Fatal(err)
	}
	if n := count(); n > 2 {
		t.Errorf("what was missing: %d requests for a layer", n)
	}
	sameFiles(t, dir, target)
}
