package oci

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Inspect does not walk through all uses of all chunks, of which a small index
// can have more than anyone can wait for, and ends with its context.
func TestInspectManyUses(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	f := takeApart(t, ref)
	const n, times = 1 << 16, 1 << 17
	manyUses(t, f, n, times)
	forged := f.write()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := Inspect(ctx, forged, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	for _, x := range r.Tensors {
		if strings.HasPrefix(x.Name, "t") {
			got += x.Encoded
		}
	}
	if want := int64(times) * n * int64(len(f.layers[len(f.layers)-1].chunks[0])); got != want {
		t.Errorf("the tensors take %d bytes, want %d", got, want)
	}
	a := openArtifact(t, forged)
	cancel()
	if _, err := a.report(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after the context has ended", err)
	}
}

// A segment takes of the layer what its runs of chunks take, one by one.
func TestShareOf(t *testing.T) {
	var chunks []mediatypes.Chunk
	var decoded int64
	offset := int64(40)
	for _, c := range [][2]int{{30, 10}, {7, 3}, {1000, 1}, {50, 20}} {
		chunks = append(chunks, mediatypes.Chunk{Offset: offset, Encoded: c[0], Decoded: c[1], DecodedOffset: decoded})
		offset, decoded = offset+int64(c[0]), decoded+int64(c[1])
	}
	for from := range decoded + 1 {
		for to := from; to <= decoded; to++ {
			s := mediatypes.Segment{Offset: from, Length: to - from}
			var want int64
			for r := range runs(chunks, s) {
				c := chunks[r.chunk]
				want += int64(c.Encoded * r.length / c.Decoded)
			}
			if got := shareOf(chunks, s); got != want {
				t.Errorf("bytes %d to %d take %d, want %d", from, to, got, want)
			}
		}
	}
}
