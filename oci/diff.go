package oci

import (
	"cmp"
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Diff compares two models by the digests in their manifests and indexes. Nothing
// else is read of either.
func Diff(ctx context.Context, a, b Reference, o *Options) (*DiffResult, error) {
	x, err := Open(ctx, a, o)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	y, err := Open(ctx, b, o)
	if err != nil {
		return nil, err
	}
	defer y.Close()
	r := &DiffResult{
		A:       DiffSide{a.String(), x.Descriptor.Digest, x.decodedSize(), x.encodedSize()},
		B:       DiffSide{b.String(), y.Descriptor.Digest, y.decodedSize(), y.encodedSize()},
		Files:   diffFiles(x.Index, y.Index),
		Tensors: diffTensors(x.Index, y.Index),
	}
	had := r.diffLayers(x, y)
	if r.Fetch.Tensors, err = y.fetchTensors(ctx, x.Index, had); err != nil {
		return nil, y.fault("comparing", err)
	}
	return r, nil
}

// diffFiles compares files by their paths.
func diffFiles(a, b *mediatypes.Index) FileDiff {
	d := FileDiff{Added: []string{}, Removed: []string{}, Changed: []string{}}
	old := make(map[string]string, len(a.Files))
	for _, f := range a.Files {
		old[f.Path] = f.SHA256
	}
	for _, f := range b.Files {
		sum, ok := old[f.Path]
		switch {
		case !ok:
			d.Added = append(d.Added, f.Path)
		case sum != f.SHA256:
			d.Changed = append(d.Changed, f.Path)
		default:
			d.Same++
		}
		delete(old, f.Path)
	}
	for p := range old {
		d.Removed = append(d.Removed, p)
	}
	for _, list := range [][]string{d.Added, d.Removed, d.Changed} {
		slices.Sort(list)
	}
	return d
}

// tensorKey is what two models call the same tensor. In which of its shards it
// lies does not count. A name that shards share is told apart by its number.
type tensorKey struct {
	family, name string
	number       int
}

// tensorKeys returns the key of each tensor.
func tensorKeys(x *mediatypes.Index) []tensorKey {
	families := make([]string, len(x.Files))
	for i, f := range x.Files {
		families[i] = family(f.Path)
	}
	keys := make([]tensorKey, len(x.Tensors))
	count := map[tensorKey]int{}
	for i := range x.Tensors {
		k := tensorKey{family: families[x.Tensors[i].File], name: x.Tensors[i].Name}
		keys[i] = k
		keys[i].number = count[k]
		count[k]++
	}
	return keys
}

// diffTensors compares tensors by their keys.
func diffTensors(a, b *mediatypes.Index) TensorDiff {
	d := TensorDiff{Added: []TensorRef{}, Removed: []TensorRef{}, Changed: []TensorChange{}}
	old := make(map[tensorKey]*mediatypes.Tensor, len(a.Tensors))
	for i, k := range tensorKeys(a) {
		old[k] = &a.Tensors[i]
	}
	for i, k := range tensorKeys(b) {
		now, was := &b.Tensors[i], old[k]
		delete(old, k)
		switch {
		case was == nil:
			d.Added = append(d.Added, refTensor(b, now))
		case was.Dtype == now.Dtype && slices.Equal(was.Shape, now.Shape) && was.SHA256 == now.SHA256:
			d.Same++
		default:
			d.Changed = append(d.Changed, TensorChange{
				TensorRef: refTensor(b, now), WasDtype: was.Dtype, WasShape: slices.Concat([]int64{}, was.Shape),
				SameBytes: was.SHA256 == now.SHA256,
			})
		}
	}
	for _, t := range old {
		d.Removed = append(d.Removed, refTensor(a, t))
	}
	slices.SortFunc(d.Removed, func(a, b TensorRef) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Name, b.Name)) })
	return d
}

func refTensor(x *mediatypes.Index, t *mediatypes.Tensor) TensorRef {
	return TensorRef{Name: t.Name, File: x.Files[t.File].Path, Dtype: t.Dtype, Shape: slices.Concat([]int64{}, t.Shape), Size: t.Length}
}

// diffLayers lists the layers of y and returns which of them x has, too.
func (r *DiffResult) diffLayers(x, y *Artifact) (had []bool) {
	old := map[digest.Digest]bool{}
	for _, l := range x.Layers {
		old[l.Digest] = true
	}
	counted := map[digest.Digest]bool{}
	r.Layers = make([]LayerDiff, len(y.Layers))
	had = make([]bool, len(y.Layers))
	for i, l := range y.Layers {
		had[i] = old[l.Digest]
		d := LayerDiff{MediaType: l.MediaType, Digest: l.Digest, Encoded: l.Size, Same: had[i]}
		if i < len(y.Index.Layers) {
			d.Stack, d.Block = y.Index.Layers[i].Stack, y.Index.Layers[i].Block
		}
		r.Layers[i] = d
		if !had[i] && !counted[l.Digest] {
			counted[l.Digest] = true
			r.Fetch.Layers += l.Size
		}
	}
	return had
}

// fetchTensors is the size of the chunks of a that hold bytes which a node with the
// files of the model old does not have: of tensors and files whose sha256 is
// nowhere among them. The layers in had, and what they hold, it has. The index layer
// is fetched whole.
func (a *Artifact) fetchTensors(ctx context.Context, old *mediatypes.Index, had []bool) (int64, error) {
	n := int64(0)
	if last := len(a.Layers) - 1; !had[last] {
		n += a.Layers[last].Size
	}
	need := needed{a: a, had: had, chunks: make([][]mediatypes.Chunk, len(a.Index.Layers)), marks: make([][]bool, len(a.Index.Layers)), starts: fileStarts(a.Index)}
	files, known := map[string]bool{}, map[string]bool{}
	for _, f := range old.Files {
		files[f.SHA256] = true
	}
	for i := range old.Tensors {
		known[old.Tensors[i].SHA256] = true
	}
	tensors := tensorsByFile(a.Index)
	for i, f := range a.Index.Files {
		if files[f.SHA256] {
			continue
		}
		at := int64(0) // up to here the file was looked at
		for _, t := range tensors[i] {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			if !known[t.SHA256] {
				continue // with the bytes around it
			}
			if err := need.mark(i, at, t.Offset); err != nil {
				return 0, err
			}
			at = t.Offset + t.Length
		}
		if err := need.mark(i, at, f.Size); err != nil {
			return 0, err
		}
	}
	return n + need.size(), nil
}

// needed marks chunks that are needed.
type needed struct {
	a      *Artifact
	had    []bool               // layers that need not be fetched
	chunks [][]mediatypes.Chunk // of each layer that was looked at
	marks  [][]bool             // of each chunk
	starts [][]int64
	uses   int
}

// mark marks the chunks that hold the bytes from from to to of a file.
func (n *needed) mark(file int, from, to int64) error {
	if from == to {
		return nil
	}
	for _, s := range cutSegments(n.a.Index.Files[file].Segments, n.starts[file], from, to-from) {
		if n.had[s.Layer] {
			continue
		}
		if n.chunks[s.Layer] == nil {
			chunks, err := n.a.Index.ChunkTable(s.Layer)
			if err != nil {
				return err
			}
			n.chunks[s.Layer], n.marks[s.Layer] = chunks, make([]bool, len(chunks))
		}
		for r := range runs(n.chunks[s.Layer], s) {
			if n.uses++; n.uses > maxUses {
				return errUses(s.Layer)
			}
			n.marks[s.Layer][r.chunk] = true
		}
	}
	return nil
}

// size is that of the marked chunks, those of a blob that is listed twice once.
func (n *needed) size() (sum int64) {
	type place struct {
		layer digest.Digest
		chunk int
	}
	seen := map[place]bool{}
	for i, marks := range n.marks {
		for j, marked := range marks {
			p := place{n.a.Layers[i].Digest, j}
			if marked && !seen[p] {
				seen[p] = true
				sum += int64(n.chunks[i][j].Encoded)
			}
		}
	}
	return sum
}
