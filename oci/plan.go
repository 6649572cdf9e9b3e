package oci

import (
	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Sizes by which tensors of no block are cut into layers, in decoded bytes.
const (
	// ownLayer is the size from which a tensor of no block, such as an
	// embedding, has a layer of its own: fine-tunes often leave it unchanged.
	ownLayer = 64 << 20
	// looseLayer is how much the others fill.
	looseLayer = 256 << 20
	// maxGroups leaves room under mediatypes.MaxLayers for groups that are
	// cut into several layers.
	maxGroups = mediatypes.MaxLayers / 2
	// minShared is the size from which a piece is stored once however often it
	// occurs: below, the reference costs more than the bytes.
	minShared = 256
)

// A group is the pieces that go into one layer, or into several if they are
// larger than a layer may be.
type group struct {
	mediaType string
	family    string
	block     block // block{} for none
	pieces    []*piece
	size      int64
}

// share finds pieces with the same bytes. The first stands for all. For a tensor
// that is always another tensor, also where the codec takes both for bytes.
func share(ins []*input) {
	type key struct {
		dtype  codec.Dtype
		tensor bool
		sha256 string
	}
	first := map[key]*piece{}
	for _, in := range ins {
		for _, p := range in.pieces {
			if p.sha256 == "" || p.length < minShared {
				continue
			}
			k := key{p.dtype, p.tensor != nil, p.sha256}
			if f, ok := first[k]; ok {
				p.same = f
			} else {
				first[k] = p
			}
		}
	}
}

// plan puts every piece that is stored into a group: one for each block, in the
// order of first use, others for tensors of no block, and one for the rest.
func plan(ins []*input) []*group {
	if groups := planBlocks(ins, blockOf); len(groups) <= maxGroups {
		return groups
	}
	// Names that only look like blocks: cut by size.
	return planBlocks(ins, func(string) (block, bool) { return block{}, false })
}

func planBlocks(ins []*input, find func(name string) (block, bool)) []*group {
	type key struct {
		family string
		block  block
	}
	var groups []*group
	blocks := map[key]*group{}
	files := &group{mediaType: mediatypes.FilesLayer}
	var loose *group
	for _, in := range ins {
		for _, p := range in.pieces {
			if p.same != nil || p.length == 0 {
				continue
			}
			if p.tensor == nil {
				files.add(p)
				continue
			}
			k := key{family: family(in.path)}
			var ok bool
			if k.block, ok = find(p.tensor.Name); ok {
				g := blocks[k]
				if g == nil {
					g = &group{mediaType: mediatypes.BlockLayer, family: k.family, block: k.block}
					blocks[k] = g
					groups = append(groups, g)
				}
				g.add(p)
				continue
			}
			if p.length >= ownLayer {
				g := &group{mediaType: mediatypes.BlockLayer, family: k.family}
				g.add(p)
				groups = append(groups, g)
				continue
			}
			if loose == nil || loose.family != k.family || loose.size+p.length > looseLayer {
				loose = &group{mediaType: mediatypes.BlockLayer, family: k.family}
				groups = append(groups, loose)
			}
			loose.add(p)
		}
	}
	if files.size > 0 {
		groups = append(groups, files)
	}
	return groups
}

func (g *group) add(p *piece) {
	g.pieces = append(g.pieces, p)
	g.size += p.length
}

// A cut is what one chunk holds: part of one piece, or several small pieces.
type cut struct {
	dtype  codec.Dtype
	pieces []*piece
	offset int64 // in the piece, when there is one
	length int64
	shared bool // the pieces are small and use the layer's tables
}

// cuts divides a group into chunks: small pieces first, those of one dtype
// together, then each large piece by itself. codec/FORMAT.md, "Chunk cuts".
func (g *group) cuts() []cut {
	var cuts []cut
	open := map[codec.Dtype]int{} // the last cut of small pieces
	for _, p := range g.pieces {
		if !p.dtype.Small(p.length) {
			continue
		}
		i, ok := open[p.dtype]
		if !ok || cuts[i].length+p.length > int64(p.dtype.ChunkSize()) {
			i = len(cuts)
			open[p.dtype] = i
			cuts = append(cuts, cut{dtype: p.dtype, shared: true})
		}
		cuts[i].pieces = append(cuts[i].pieces, p)
		cuts[i].length += p.length
	}
	for _, p := range g.pieces {
		if p.dtype.Small(p.length) {
			continue
		}
		for at, size := int64(0), int64(p.dtype.ChunkSize()); at < p.length; at += size {
			cuts = append(cuts, cut{dtype: p.dtype, pieces: []*piece{p}, offset: at, length: min(size, p.length-at)})
		}
	}
	return cuts
}
