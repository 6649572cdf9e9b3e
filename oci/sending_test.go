package oci

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// uploaded is a Progress that keeps the items of the phase "uploading".
type uploaded struct {
	noProgress
	mu    sync.Mutex
	items []*uploadedItem
	ended int
}

type uploadedItem struct {
	noProgress
	of                   *uploaded
	name                 string
	total, done, skipped int64
	ended                int
}

func (u *uploaded) Begin(phase string, _ int64) Bar {
	if phase != "uploading" {
		return noProgress{}
	}
	return u
}

func (u *uploaded) Item(name string, total int64) Bar {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := &uploadedItem{of: u, name: name, total: total}
	u.items = append(u.items, i)
	return i
}

func (u *uploaded) End()             { u.mu.Lock(); defer u.mu.Unlock(); u.ended++ }
func (i *uploadedItem) Add(n int64)  { i.of.mu.Lock(); defer i.of.mu.Unlock(); i.done += n }
func (i *uploadedItem) Skip(n int64) { i.of.mu.Lock(); defer i.of.mu.Unlock(); i.skipped += n }
func (i *uploadedItem) End()         { i.of.mu.Lock(); defer i.of.mu.Unlock(); i.ended++ }

// TestUploadProgress proves that each layer is told of by its name and size, that
// bytes count once however often they are sent, and that those the registry has
// are skipped.
func TestUploadProgress(t *testing.T) {
	dir := smallModel(t).write(t)
	var cuts atomic.Int32
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch && r.Method != http.MethodPut || cuts.Add(-1) < 0 {
			return false
		}
		_, _ = r.Body.Read(make([]byte, 100))
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	for _, c := range []struct {
		name  string
		cuts  int32
		again bool
	}{{name: "cut", cuts: 2}, {name: "had", again: true}} {
		cuts.Store(c.cuts)
		var p uploaded
		res, err := Push(t.Context(), s.ref(t), dir, &PushOptions{Options: Options{Progress: &p}})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, i := range p.items {
			names = append(names, i.name)
			done, skipped := i.total, int64(0)
			if c.again {
				done, skipped = skipped, done
			}
			if i.done != done || i.skipped != skipped || i.ended != 1 || i.total == 0 {
				t.Errorf("%s: %s of %d bytes: %d done, %d skipped, ended %d times", c.name, i.name, i.total, i.done, i.skipped, i.ended)
			}
		}
		slices.Sort(names)
		if d := cmp.Diff([]string{"files", "model.layers 0", "model.layers 1", "tensors"}, names); d != "" {
			t.Errorf("%s: items (-want +got):\n%s", c.name, d)
		}
		if p.ended != 1 || len(p.items) != res.Layers-1 {
			t.Errorf("%s: %d items of %d layers, ended %d times", c.name, len(p.items), res.Layers, p.ended)
		}
	}
}
