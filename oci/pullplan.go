package oci

import (
	"cmp"
	"context"
	"encoding/binary"
	"os"
	"slices"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A layerJob is what is needed of a layer.
type layerJob struct {
	chunks   []mediatypes.Chunk
	scatters [][]scatter // where the parts of each chunk go; none: it is not needed
	done     []bool      // chunks that an earlier pull has written
}

// needs reports whether chunk n is to be fetched.
func (j *layerJob) needs(n int) bool { return len(j.scatters[n]) > 0 && !j.done[n] }

// bytes is how many encoded bytes are to be fetched.
func (j *layerJob) bytes() (n int64) {
	for i := range j.chunks {
		if j.needs(i) {
			n += int64(j.chunks[i].Encoded)
		}
	}
	return n
}

// A scatter says where a part of a decoded chunk goes.
type scatter struct {
	from, length int // in the chunk
	file         int
	offset       int64 // in the file
}

// sum adds b, which is what belongs there, and the place itself to h. Without the
// place, a note of one part of a chunk would be good for another part that has
// not been written yet: bytes that are all zeros look like a hole in a file.
func (t *scatter) sum(h *xxh3.Hasher, b []byte) {
	var at [24]byte
	binary.LittleEndian.PutUint64(at[:], uint64(t.file))
	binary.LittleEndian.PutUint64(at[8:], uint64(t.offset))
	binary.LittleEndian.PutUint64(at[16:], uint64(t.length))
	h.Write(at[:]) //nolint:errcheck // a hash takes everything
	h.Write(b)     //nolint:errcheck // likewise
}

// plan lists what is needed of each layer.
func (p *puller) plan() error {
	places := p.places()
	p.jobs = make([]*layerJob, len(places))
	uses := 0
	for i := range places {
		chunks, err := p.a.Index.ChunkTable(i)
		if err != nil {
			return err
		}
		j := &layerJob{chunks: chunks, done: make([]bool, len(chunks))}
		if j.scatters, err = cutPlaces(places[i], chunks, &uses); err != nil {
			return err
		}
		p.jobs[i] = j
	}
	return nil
}

// resume reads back the chunks that an earlier pull has noted, and takes those for
// done that are what the note says.
func (p *puller) resume(ctx context.Context, notes map[step]uint64) error {
	var todo []step
	var total int64
	for s := range notes {
		if uint(s.layer) < uint(len(p.jobs)) && uint(s.chunk) < uint(len(p.jobs[s.layer].chunks)) && p.jobs[s.layer].needs(s.chunk) {
			todo = append(todo, s)
			total += int64(p.jobs[s.layer].chunks[s.chunk].Decoded)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	slices.SortFunc(todo, func(a, b step) int { return cmp.Or(a.layer-b.layer, a.chunk-b.chunk) })
	bar := p.opts.Progress.Begin("resuming", total)
	defer bar.End()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	for _, s := range todo {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			j := p.jobs[s.layer]
			hash, err := p.readBack(j.scatters[s.chunk])
			j.done[s.chunk] = err == nil && hash == notes[s]
			bar.Add(int64(j.chunks[s.chunk].Decoded))
			return nil
		})
	}
	return g.Wait()
}

// readBack returns the hash of what stands at the places of a chunk.
func (p *puller) readBack(list []scatter) (uint64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var h xxh3.Hasher
	for _, t := range list {
		err := p.with(t.file, 0, func(w *os.File) error {
			_, err := w.ReadAt((*buf)[:t.length], t.offset)
			return err
		})
		if err != nil {
			return 0, err
		}
		t.sum(&h, (*buf)[:t.length])
	}
	return h.Sum64(), nil
}

// places lists for each layer where its decoded bytes go, but for what the target
// has.
func (p *puller) places() [][]place {
	places := make([][]place, len(p.a.Index.Layers))
	for i := range p.files {
		f := &p.files[i]
		if p.old[i].whole {
			continue
		}
		at := int64(len(f.head))
		have := p.old[i].tensors // by offset
		for _, s := range f.Segments {
			for end := at + s.Length; at < end; {
				for len(have) > 0 && have[0].Offset+have[0].Length <= at {
					have = have[1:]
				}
				n := end - at
				skip := false
				if len(have) > 0 {
					if skip = have[0].Offset <= at; skip {
						n = min(n, have[0].Offset+have[0].Length-at)
					} else {
						n = min(n, have[0].Offset-at)
					}
				}
				part := mediatypes.Segment{Layer: s.Layer, Offset: s.Offset + s.Length - (end - at), Length: n}
				if !skip {
					places[s.Layer] = append(places[s.Layer], place{part, i, at})
				}
				at += n
			}
		}
	}
	return places
}

// place is a segment of a layer and where in which file it goes.
type place struct {
	mediatypes.Segment
	file   int
	offset int64
}

// cutPlaces cuts places in one layer to its chunks. The result has an entry for
// each chunk. It adds to uses, of all layers, how many it lists.
func cutPlaces(places []place, chunks []mediatypes.Chunk, uses *int) ([][]scatter, error) {
	out := make([][]scatter, len(chunks))
	for _, pl := range places {
		at := pl.offset
		for r := range runs(chunks, pl.Segment) {
			if *uses++; *uses > maxUses {
				return nil, errUses(pl.Layer)
			}
			out[r.chunk] = append(out[r.chunk], scatter{r.from, r.length, pl.file, at})
			at += int64(r.length)
		}
	}
	return out, nil
}

// end is the chunk after the last that is needed.
func (j *layerJob) end() int {
	n := len(j.chunks)
	for n > 0 && !j.needs(n-1) {
		n--
	}
	return n
}

// run returns the next run of chunks that are needed, from chunk n on. It is empty
// after the last.
func (j *layerJob) run(n int) (first, last int) {
	for first = n; first < len(j.chunks) && !j.needs(first); first++ {
	}
	for last = first; last < len(j.chunks) && j.needs(last); last++ {
	}
	return first, last
}
