package oci

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// FuzzPullPlan plans pulls of random files, cut to random segments of random layers,
// of which the target has random tensors. Every byte of every wanted file is in the
// head of the file, in place, or written from one place of one chunk: the right one.
func FuzzPullPlan(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, uint8(seed%7), uint8(seed%5))
	}
	f.Fuzz(func(t *testing.T, seed uint64, files, layers uint8) {
		checkPlan(t, randomPlan(rand.New(rand.NewPCG(seed, 1)), int(files%8), 1+int(layers%6)))
	})
}

// A plannedPull is what pullplan is given: an index with its chunk tables, wanted
// files, and what is in place of them.
type plannedPull struct {
	*puller
	chunks [][]mediatypes.Chunk
}

func randomPlan(r *rand.Rand, files, layers int) *plannedPull {
	x := &mediatypes.Index{}
	p := &plannedPull{puller: &puller{a: &Artifact{Index: x}}}
	for range layers {
		var l mediatypes.Layer
		var table []mediatypes.Chunk
		for range r.IntN(8) {
			c := mediatypes.Chunk{Decoded: 1 + r.IntN(30), DecodedOffset: l.Decoded}
			l.Decoded += int64(c.Decoded)
			table = append(table, c)
		}
		x.Layers, p.chunks = append(x.Layers, l), append(p.chunks, table)
	}
	for range files {
		w := wanted{}
		if r.IntN(3) == 0 {
			w.head = make([]byte, r.IntN(20))
		}
		w.Size = int64(len(w.head))
		for range r.IntN(6) {
			i := r.IntN(layers)
			if size := x.Layers[i].Decoded; size > 0 {
				off := r.Int64N(size)
				n := 1 + r.Int64N(size-off)
				w.Segments = append(w.Segments, mediatypes.Segment{Layer: i, Offset: off, Length: n})
				w.Size += n
			}
		}
		p.files = append(p.files, w)
		p.old = append(p.old, randomInPlace(r, &w))
	}
	return p
}

// randomInPlace has tensors in order and apart, as compare finds them.
func randomInPlace(r *rand.Rand, w *wanted) inPlace {
	if r.IntN(5) == 0 {
		return inPlace{whole: true}
	}
	var o inPlace
	for at := int64(len(w.head)); at < w.Size; {
		n := min(1+r.Int64N(25), w.Size-at)
		if r.IntN(2) == 0 {
			o.tensors = append(o.tensors, moved{&mediatypes.Tensor{Offset: at, Length: n}, 0})
		}
		at += n + r.Int64N(2)*r.Int64N(10)
	}
	return o
}

// checkPlan compares the plan with one made byte by byte.
func checkPlan(t *testing.T, p *plannedPull) {
	t.Helper()
	type source struct {
		layer int
		at    int64
	}
	type target struct {
		file int
		at   int64
	}
	want := map[target]source{}
	for i := range p.files {
		f := &p.files[i]
		if p.old[i].whole {
			continue
		}
		at := int64(len(f.head))
		for _, s := range f.Segments {
			for j := range s.Length {
				want[target{i, at}] = source{s.Layer, s.Offset + j}
				at++
			}
		}
		for _, m := range p.old[i].tensors {
			for j := range m.Length {
				delete(want, target{i, m.Offset + j})
			}
		}
	}
	uses := 0
	for layer, places := range p.places() {
		cut, err := cutPlaces(places, p.chunks[layer], &uses)
		if err != nil || len(cut) != len(p.chunks[layer]) {
			t.Fatalf("layer %d: %d entries for %d chunks, %v", layer, len(cut), len(p.chunks[layer]), err)
		}
		for n, list := range cut {
			c := &p.chunks[layer][n]
			for _, s := range list {
				if s.from < 0 || s.length <= 0 || s.from+s.length > c.Decoded {
					t.Fatalf("layer %d, chunk %d of %d bytes: %+v", layer, n, c.Decoded, s)
				}
				for j := range s.length {
					to := target{s.file, s.offset + int64(j)}
					from := source{layer, c.DecodedOffset + int64(s.from+j)}
					if w, ok := want[to]; !ok || w != from {
						t.Fatalf("%+v is written from %+v, want %+v, once: %t", to, from, w, ok)
					}
					delete(want, to)
				}
			}
		}
	}
	for to, from := range want {
		t.Fatalf("%+v is never written, want it from %+v", to, from)
	}
}

// The bound on what is listed in memory is one for all layers together.
func TestPullPlanBounded(t *testing.T) {
	chunks := []mediatypes.Chunk{{Decoded: 4}, {Decoded: 4, DecodedOffset: 4}}
	place := []place{{mediatypes.Segment{Layer: 0, Offset: 2, Length: 4}, 0, 0}}
	uses := maxUses - 3
	if _, err := cutPlaces(place, chunks, &uses); err != nil {
		t.Fatal(err)
	}
	if _, err := cutPlaces(place, chunks, &uses); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d uses: error %v", uses, err)
	}
}
