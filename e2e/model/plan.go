package model

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// A plan is everything about a model that is known before a weight is drawn.
type plan struct {
	dtype    Dtype
	seed     uint64
	tied     bool
	hidden   int64
	layers   int
	vocab    int64
	matrices []*matrix
	shards   []shard
}

// A matrix is rows of weights, drawn together and stored in one tensor, or in
// two when it is quantised.
type matrix struct {
	kind       kind
	dtype      Dtype
	seed       uint64
	rows, cols int64
	parts      []*tensor
}

// A kind says where the values of a matrix come from.
type kind int

const (
	kindWeight kind = iota
	kindNorm
	kindGlobal // the global scale of an NVFP4 matrix of the same seed
)

// A tensor is stored in one safetensors file.
type tensor struct {
	name     string
	dtype    string
	shape    []int64
	width    int64 // bytes of an element
	rowBytes int64 // bytes of a row of its matrix
	size     int64 // bytes of the whole tensor
	shard    int   // index of its file
	offset   int64 // of its first byte in that file
}

// newTensor returns a tensor whose first dimension is the rows of its matrix.
func newTensor(name, dtype string, width int64, shape ...int64) *tensor {
	row := width
	for _, n := range shape[1:] {
		row *= n
	}
	return &tensor{
		name: name, dtype: dtype, shape: shape, width: width,
		rowBytes: row, size: row * shape[0],
	}
}

// widths are the sizes of hidden that a plan chooses from.
var widths = []int64{64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 8192, 12288, 16384}

// The fewest blocks and vocabulary entries that a plan chooses by itself.
const (
	fewestLayers = 8
	fewestVocab  = 256
)

func newPlan(o Options) (*plan, error) {
	p := &plan{
		dtype: o.Dtype, seed: o.Seed, tied: o.Tied,
		hidden: int64(o.Hidden), layers: o.Layers,
	}
	if p.dtype == "" {
		p.dtype = DtypeBF16
	}
	if _, err := ParseDtype(string(p.dtype)); err != nil {
		return nil, err
	}
	if o.Size < 0 || o.Shards < 0 || o.Layers < 0 || o.Hidden < 0 || o.Hidden%32 != 0 {
		return nil, fmt.Errorf("size, shards and layers must not be negative and hidden must be a multiple of 32: %+v", o)
	}
	if err := p.fit(o.Size); err != nil {
		return nil, err
	}
	p.matrices = p.everything()
	if err := p.split(o.Shards); err != nil {
		return nil, err
	}
	return p, nil
}

// fit chooses the dimensions that are still open so that all tensors together
// come to size, within a row of the embedding.
func (p *plan) fit(size int64) error {
	exact := size > 0
	if !exact && (p.hidden == 0 || p.layers == 0) {
		size, exact = 64<<20, true
	}
	if p.hidden == 0 {
		p.hidden = widths[0]
		for _, w := range widths {
			q := plan{dtype: p.dtype, hidden: w}
			if need := q.blockBytes() * int64(max(p.layers, fewestLayers)); need > size*7/8 {
				break
			}
			p.hidden = w
		}
	}
	block := p.blockBytes()
	if p.layers == 0 {
		// An eighth or more of the bytes goes to embedding and head, as in
		// published models of a few billion parameters.
		p.layers = max(1, int(size*7/8/block))
	}
	if !exact {
		p.vocab = 4 * p.hidden
		return nil
	}
	row := 2 * p.hidden * p.dtype.dense().parts("", 1, 1)[0].width
	norm := row / 2
	p.vocab = (size - norm - block*int64(p.layers)) / row
	if p.vocab < fewestVocab {
		return fmt.Errorf("%d bytes are too few for %d blocks of width %d, which take %d each",
			size, p.layers, p.hidden, block)
	}
	return nil
}

// blockBytes returns the size of a transformer block of width p.hidden.
func (p *plan) blockBytes() int64 {
	var n int64
	for _, m := range p.block(0) {
		for _, t := range m.parts {
			n += t.size
		}
	}
	return n
}

// everything lists the matrices of the model in the order of its layers.
func (p *plan) everything() []*matrix {
	const embedding = "model.embed_tokens.weight"
	dense := p.dtype.dense()
	head := p.matrix("lm_head.weight", dense, p.vocab, p.hidden)
	if p.tied {
		head.seed = p.seedOf(embedding)
	}
	list := []*matrix{p.matrix(embedding, dense, p.vocab, p.hidden)}
	for i := range p.layers {
		list = append(list, p.block(i)...)
	}
	return append(list, p.norm("model.norm.weight"), head)
}

// heads returns the number of attention heads, and of those of keys and values.
func (p *plan) heads() (q, kv int64) {
	switch {
	case p.hidden%512 == 0 && p.hidden >= 2048:
		q = p.hidden / 128
	case p.hidden%256 == 0:
		q = p.hidden / 64
	default:
		q = p.hidden / 32
	}
	if q%4 != 0 {
		return q, q
	}
	return q, q / 4
}

// intermediate returns the width between the projections of the MLP.
func (p *plan) intermediate() int64 { return p.hidden * 7 / 2 / 32 * 32 }

// block lists the matrices of transformer block i.
func (p *plan) block(i int) []*matrix {
	h := p.hidden
	q, kv := p.heads()
	kvWidth := h / q * kv
	prefix := fmt.Sprintf("model.layers.%d.", i)
	var list []*matrix
	project := func(name string, rows, cols int64) {
		m := p.matrix(prefix+name+".weight", p.dtype, rows, cols)
		list = append(list, m)
		if p.dtype == DtypeNVFP4 {
			global := newTensor(prefix+name+".weight_scale_2", "F32", 4, 1)
			global.shape = []int64{}
			list = append(list, &matrix{
				kind: kindGlobal, dtype: DtypeF32, seed: m.seed,
				rows: 1, cols: 1, parts: []*tensor{global},
			})
		}
	}
	project("self_attn.q_proj", h, h)
	project("self_attn.k_proj", kvWidth, h)
	project("self_attn.v_proj", kvWidth, h)
	project("self_attn.o_proj", h, h)
	project("mlp.gate_proj", p.intermediate(), h)
	project("mlp.up_proj", p.intermediate(), h)
	project("mlp.down_proj", h, p.intermediate())
	return append(list,
		p.norm(prefix+"input_layernorm.weight"),
		p.norm(prefix+"post_attention_layernorm.weight"))
}

func (p *plan) matrix(name string, d Dtype, rows, cols int64) *matrix {
	return &matrix{dtype: d, seed: p.seedOf(name), rows: rows, cols: cols, parts: d.parts(name, rows, cols)}
}

func (p *plan) norm(name string) *matrix {
	m := p.matrix(name, p.dtype.dense(), 1, p.hidden)
	m.kind = kindNorm
	m.parts[0].shape = []int64{p.hidden}
	return m
}

// seedOf returns the seed of the matrix called name.
func (p *plan) seedOf(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return mix(h.Sum64() ^ mix(p.seed))
}

// split shares the tensors out over n files of about the same size, in the
// order of the layers, as the hub's libraries do, and lays the files out.
func (p *plan) split(n int) error {
	var all []*tensor
	var left int64
	for _, m := range p.matrices {
		for _, t := range m.parts {
			all = append(all, t)
			left += t.size
		}
	}
	if n == 0 {
		n = max(3, int((left+5e9-1)/5e9))
	}
	if n > len(all) {
		return fmt.Errorf("%d shards are too many for %d tensors", n, len(all))
	}
	p.shards = make([]shard, n)
	for i := range p.shards {
		s := &p.shards[i]
		s.name = "model.safetensors"
		if n > 1 {
			s.name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
		}
		k := cut(all, left, n-i)
		s.tensors = slices.Clone(all[:k])
		all = all[k:]
		for _, t := range s.tensors {
			t.shard = i
			left -= t.size
		}
		if err := s.layOut(); err != nil {
			return err
		}
	}
	return nil
}

// cut returns how many of the tensors go to the first of n files that will
// share their size. Where it can, the border is inside a transformer block.
func cut(list []*tensor, size int64, n int) int {
	last := len(list) - (n - 1) // one for each of the others
	if n == 1 {
		return last
	}
	sum := list[0].size
	for k := 1; k < last; k++ {
		b := blockOf(list[k].name)
		full := sum+list[k].size/2 > size/int64(n)
		if full && b != "" && b == blockOf(list[k-1].name) {
			return k
		}
		sum += list[k].size
	}
	return last
}

// blockOf returns the part of a tensor's name that says which transformer
// block it is in, or "".
func blockOf(name string) string {
	if parts := strings.SplitN(name, ".", 4); len(parts) == 4 && parts[1] == "layers" {
		return parts[2]
	}
	return ""
}

// size returns the bytes of all tensors together.
func (p *plan) size() int64 {
	var n int64
	for _, s := range p.shards {
		for _, t := range s.tensors {
			n += t.size
		}
	}
	return n
}

// parameters returns the number of weights.
func (p *plan) parameters() int64 {
	var n int64
	for _, m := range p.matrices {
		if m.kind != kindGlobal {
			n += m.rows * m.cols
		}
	}
	return n
}

// compareTensors orders the tensors of a file as the safetensors reference
// crate does: wide elements first, so that all are aligned, then by name.
func compareTensors(a, b *tensor) int {
	if a.width != b.width {
		return int(b.width - a.width)
	}
	return strings.Compare(a.name, b.name)
}
