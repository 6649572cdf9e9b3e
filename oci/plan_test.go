package oci

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// dtypes are all that safetensors knows, by the reference crate's list.
var dtypes = []string{
	"BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
	"I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64",
}

// A tensor of safetensors is never of dtype Bytes, which would compress it badly.
func TestEveryDtypeIsKnown(t *testing.T) {
	for _, d := range dtypes {
		bits, ok := safetensors.Bits(d)
		if !ok {
			t.Errorf("safetensors does not know %s", d)
		}
		if got := codec.DtypeOf(d); got == codec.Bytes || got.String() != d || got.Width() != max(1, bits/8) {
			t.Errorf("%s is %s of width %d to the codec", d, got, got.Width())
		}
	}
}

// planned describes groups: their kind, block and pieces.
func planned(groups []*group) (out []string) {
	for _, g := range groups {
		s := "files"
		if g.mediaType == mediatypes.BlockLayer {
			s = g.family + " loose"
			if g.block != (block{}) {
				s = g.name()
			}
		}
		size := int64(0)
		for _, p := range g.pieces {
			size += p.length
			if p.tensor == nil {
				s += fmt.Sprintf(" %s@%d", p.in.path, p.offset)
				continue
			}
			s += " " + p.tensor.Name
		}
		if size != g.size {
			s += fmt.Sprintf(" size %d, not %d", g.size, size)
		}
		out = append(out, s)
	}
	return out
}

// inputOf is a file of tensors with names and lengths in bytes.
func inputOf(path string, tensors ...any) *input {
	in := &input{path: path, format: "safetensors"}
	in.pieces = []*piece{{in: in, length: 100}}
	at := int64(100)
	for i := 0; i < len(tensors); i += 2 {
		n := int64(tensors[i+1].(int))
		in.pieces = append(in.pieces, &piece{in: in, offset: at, length: n, dtype: codec.BF16, tensor: &mediatypes.Tensor{Name: tensors[i].(string)}})
		at += n
	}
	in.size = at
	return in
}

func TestPlan(t *testing.T) {
	opaque := &input{path: "config.json", size: 30}
	opaque.pieces = []*piece{{in: opaque, length: 30}}
	empty := &input{path: "empty"}
	ins := []*input{
		opaque, empty,
		inputOf("model-00001-of-00002.safetensors",
			"embed", ownLayer, "norm.a", 10, "layers.0.a", 10, "layers.1.a", 10, "layers.0.none", 0, "layers.0.b", 10),
		inputOf("model-00002-of-00002.safetensors",
			"layers.1.b", 10, "norm.b", 10, "big", ownLayer-1, "layers.2.a", 10, "norm.c", 1),
		inputOf("unet/model.safetensors", "layers.0.a", 10, "norm", 10),
	}
	ins[3].pieces[4].same = ins[2].pieces[1] // layers.2.a
	want := []string{
		"model loose embed",
		"model loose norm.a norm.b big norm.c",
		"model:layers.0 layers.0.a layers.0.b",
		"model:layers.1 layers.1.a layers.1.b",
		"unet/model:layers.0 layers.0.a",
		"unet/model loose norm",
		"files config.json@0 model-00001-of-00002.safetensors@0 model-00002-of-00002.safetensors@0 unet/model.safetensors@0",
	}
	if diff := cmp.Diff(want, planned(plan(ins))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPlanLoose(t *testing.T) {
	// Five of a size below ownLayer fill one layer of no block to four fifths.
	part := ownLayer - 1
	in := inputOf("m.safetensors", "a", part, "b", part, "c", part, "d", part, "e", part, "f", 1)
	want := []string{"m loose a b c d", "m loose e f", "files m.safetensors@0"}
	if diff := cmp.Diff(want, planned(plan([]*input{in}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Names that count more blocks than a manifest has room for are not blocks.
func TestPlanTooManyBlocks(t *testing.T) {
	var tensors []any
	for i := range maxGroups + 1 {
		tensors = append(tensors, fmt.Sprintf("layers.%d.w", i), 1)
	}
	groups := plan([]*input{inputOf("m.safetensors", tensors...)})
	if len(groups) != 2 || len(groups[0].pieces) != maxGroups+1 || groups[0].block != (block{}) {
		t.Errorf("%d groups, the first with %d pieces of block %v", len(groups), len(groups[0].pieces), groups[0].block)
	}
}

func TestShare(t *testing.T) {
	a := inputOf("a.safetensors", "x", minShared, "y", minShared-1, "z", minShared)
	b := inputOf("b.safetensors", "x", minShared, "y", minShared-1, "f16", minShared)
	b.pieces[3].dtype = codec.F16
	for _, in := range []*input{a, b} {
		for _, p := range in.pieces[1:] {
			p.sha256 = fmt.Sprintf("%d", p.length)
		}
	}
	share([]*input{a, b})
	got := []*piece{a.pieces[0].same, a.pieces[1].same, a.pieces[2].same, a.pieces[3].same, b.pieces[0].same, b.pieces[1].same, b.pieces[2].same, b.pieces[3].same}
	want := []*piece{nil, nil, nil, a.pieces[1], nil, a.pieces[1], nil, nil}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("piece %d shares with %p, want %p", i, got[i], want[i])
		}
	}
}

// Chunks tile every piece once, never hold two dtypes, and never more than the
// dtype's chunk size.
func TestCuts(t *testing.T) {
	g := &group{}
	small := codec.SmallElements - 1
	for i, n := range []int{1, small, small + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3, small, small, 2 << 20, small} {
		for _, d := range []codec.Dtype{codec.Bytes, codec.BF16, codec.F32, codec.F64} {
			g.add(&piece{in: &input{path: fmt.Sprint(i)}, length: int64(n * d.Width()), dtype: d})
		}
	}
	for range 30 { // more small ones than one chunk holds
		g.add(&piece{length: int64(small * 2), dtype: codec.BF16})
	}
	covered := map[*piece]int64{}
	shared := map[codec.Dtype]int{}
	for _, c := range g.cuts() {
		if c.length < 1 || c.length > int64(c.dtype.ChunkSize()) {
			t.Errorf("chunk of %d bytes of %s", c.length, c.dtype)
		}
		sum := int64(0)
		for _, p := range c.pieces {
			if p.dtype != c.dtype {
				t.Errorf("piece of %s in a chunk of %s", p.dtype, c.dtype)
			}
			if c.shared != p.dtype.Small(p.length) {
				t.Errorf("piece of %d bytes of %s in a chunk, shared %t", p.length, p.dtype, c.shared)
			}
			if c.shared {
				covered[p] += p.length
			}
			sum += p.length
		}
		if c.shared {
			shared[c.dtype]++
			if sum != c.length || c.offset != 0 {
				t.Errorf("pieces of %d bytes in a chunk of %d at %d", sum, c.length, c.offset)
			}
			continue
		}
		p := c.pieces[0]
		if len(c.pieces) != 1 || c.offset != covered[p] || c.offset%int64(p.dtype.ChunkSize()) != 0 {
			t.Errorf("%d pieces, chunk at %d after %d", len(c.pieces), c.offset, covered[p])
		}
		covered[p] += c.length
	}
	for _, p := range g.pieces {
		if covered[p] != p.length {
			t.Errorf("%d of %d bytes of a piece of %s are in chunks", covered[p], p.length, p.dtype)
		}
	}
	if shared[codec.BF16] < 2 {
		t.Errorf("%d chunks of small BF16 pieces, want several", shared[codec.BF16])
	}
}
