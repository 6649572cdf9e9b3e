package oci

import (
	"context"
	"slices"
	"sort"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Inspect tells what the model ref holds, from its manifest and its index; no
// weights are fetched.
func Inspect(ctx context.Context, ref Reference, o *Options) (*Report, error) {
	a, err := Open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	r, err := a.report(ctx)
	if err != nil {
		return nil, a.fault("inspecting", err)
	}
	return r, nil
}

func (a *Artifact) report(ctx context.Context) (*Report, error) {
	r := &Report{
		Ref: a.ref.String(), Digest: a.Descriptor.Digest, Level: a.Index.Level,
		Decoded: a.decodedSize(), Encoded: a.encodedSize(),
	}
	for _, m := range a.Manifests {
		r.Manifests = append(r.Manifests, ManifestDigest{platformName(m.Platform), m.Digest})
	}
	type name struct {
		family, stack string
		block         int
	}
	families := layerFamilies(a.Index)
	blocks := map[name]bool{}
	for i, l := range a.Index.Layers {
		r.Layers = append(r.Layers, LayerReport{l.MediaType, l.Digest, l.Stack, l.Block, l.Encoded, l.Decoded})
		if l.Block != nil {
			blocks[name{families[i], l.Stack, *l.Block}] = true
		}
	}
	index := a.Layers[len(a.Layers)-1]
	r.Layers = append(r.Layers, LayerReport{MediaType: index.MediaType, Digest: index.Digest, Encoded: index.Size, Decoded: a.indexDecoded})
	r.Blocks = len(blocks)
	for _, f := range a.Index.Files {
		r.Files = append(r.Files, FileReport{f.Path, f.Size, f.SHA256, f.Format})
	}
	return r, a.reportTensors(ctx, r)
}

// layerFamilies returns the family of the first file that uses each layer: the
// blocks of another are other blocks, though they be called the same.
func layerFamilies(x *mediatypes.Index) []string {
	out := make([]string, len(x.Layers))
	for _, f := range slices.Backward(x.Files) {
		for _, s := range f.Segments {
			out[s.Layer] = family(f.Path)
		}
	}
	return out
}

// reportTensors fills in the tensors and the sums by dtype.
func (a *Artifact) reportTensors(ctx context.Context, r *Report) error {
	chunks := make([][]mediatypes.Chunk, len(a.Index.Layers))
	for i := range chunks {
		var err error
		if chunks[i], err = a.Index.ChunkTable(i); err != nil {
			return err
		}
	}
	sums := map[string]*DtypeReport{}
	rest := &DtypeReport{Dtype: "bytes", Decoded: r.Decoded, Encoded: r.Encoded}
	starts := fileStarts(a.Index)
	r.Tensors = make([]TensorReport, 0, len(a.Index.Tensors))
	for _, t := range a.Index.Tensors {
		if err := ctx.Err(); err != nil {
			return err
		}
		tr := TensorReport{
			Name: t.Name, File: a.Index.Files[t.File].Path, Dtype: t.Dtype, Shape: t.Shape, MD5: t.MD5, Decoded: t.Length,
			Segments: []SegmentReport{},
		}
		if tr.Shape == nil {
			tr.Shape = []int64{}
		}
		for _, s := range cutSegments(a.Index.Files[t.File].Segments, starts[t.File], t.Offset, t.Length) {
			tr.Segments = append(tr.Segments, SegmentReport{s.Layer, s.Offset, s.Length})
			if t.SharedWith == nil {
				tr.Encoded += shareOf(chunks[s.Layer], s)
			}
		}
		if t.SharedWith != nil {
			tr.SharedWith = &a.Index.Tensors[*t.SharedWith].Name
		}
		r.Tensors = append(r.Tensors, tr)
		if sums[t.Dtype] == nil {
			sums[t.Dtype] = &DtypeReport{Dtype: t.Dtype}
		}
		for sum, sign := range map[*DtypeReport]int64{sums[t.Dtype]: 1, rest: -1} {
			sum.Decoded += sign * tr.Decoded
			sum.Encoded += sign * tr.Encoded
		}
		sums[t.Dtype].Tensors++
	}
	for _, s := range sums {
		r.Dtypes = append(r.Dtypes, *s)
	}
	sort.Slice(r.Dtypes, func(i, j int) bool { return r.Dtypes[i].Dtype < r.Dtypes[j].Dtype })
	r.Dtypes = append(r.Dtypes, *rest)
	return nil
}

// fileStarts returns for each file where in it each of its segments starts.
func fileStarts(x *mediatypes.Index) [][]int64 {
	starts := make([][]int64, len(x.Files))
	for i := range x.Files {
		starts[i] = segmentStarts(&x.Files[i])
	}
	return starts
}

// segmentStarts returns where in a file each of its segments starts.
func segmentStarts(f *mediatypes.File) []int64 {
	starts := make([]int64, len(f.Segments))
	at := int64(0)
	for i, s := range f.Segments {
		starts[i] = at
		at += s.Length
	}
	return starts
}

// cutSegments returns the parts of segs, which start in the file at starts, that
// hold length bytes from offset of the file.
func cutSegments(segs []mediatypes.Segment, starts []int64, offset, length int64) (out []mediatypes.Segment) {
	i := sort.Search(len(segs), func(i int) bool { return starts[i]+segs[i].Length > offset })
	for ; length > 0; i++ {
		skip := offset - starts[i]
		n := min(length, segs[i].Length-skip)
		out = append(out, mediatypes.Segment{Layer: segs[i].Layer, Offset: segs[i].Offset + skip, Length: n})
		offset, length = offset+n, length-n
	}
	return out
}

// shareOf is what segment s takes of the encoded layer: of each chunk, as much
// as it holds of the decoded bytes. It looks at the first and the last chunk
// only: those between follow each other in the blob without a gap.
func shareOf(chunks []mediatypes.Chunk, s mediatypes.Segment) int64 {
	if s.Length == 0 {
		return 0
	}
	end := s.Offset + s.Length
	first := sort.Search(len(chunks), func(i int) bool { return chunks[i].DecodedOffset+int64(chunks[i].Decoded) > s.Offset })
	last := sort.Search(len(chunks), func(i int) bool { return chunks[i].DecodedOffset+int64(chunks[i].Decoded) >= end })
	part := func(i int) int64 {
		c := &chunks[i]
		n := min(c.DecodedOffset+int64(c.Decoded), end) - max(c.DecodedOffset, s.Offset)
		return int64(c.Encoded) * n / int64(c.Decoded)
	}
	if first == last {
		return part(first)
	}
	between := chunks[last].Offset - chunks[first+1].Offset
	return part(first) + between + part(last)
}
