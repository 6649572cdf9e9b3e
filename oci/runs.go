package oci

import (
	"iter"
	"sort"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A run is length decoded bytes of one chunk, from its byte from.
type run struct {
	chunk        int
	from, length int
}

// runs yields the runs that segment s of a layer with these chunks consists of,
// in order. The index was checked: s lies inside the layer.
func runs(chunks []mediatypes.Chunk, s mediatypes.Segment) iter.Seq[run] {
	return func(yield func(run) bool) {
		at, end := s.Offset, s.Offset+s.Length
		i := sort.Search(len(chunks), func(i int) bool {
			return chunks[i].DecodedOffset+int64(chunks[i].Decoded) > at
		})
		for ; at < end; i++ {
			c := &chunks[i]
			from := int(at - c.DecodedOffset)
			n := int(min(int64(c.Decoded-from), end-at))
			if !yield(run{i, from, n}) {
				return
			}
			at += int64(n)
		}
	}
}

// maxUses bounds how often files may use chunks, which is listed in memory: far
// above what a model needs, and far below all segments times all chunks.
const maxUses = 1 << 22

func errUses(layer int) error {
	return corruptObject("index", "layer %d: its chunks are used more than %d times", layer, maxUses)
}
