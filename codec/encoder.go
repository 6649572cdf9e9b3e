package codec

import (
	"fmt"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Encoder turns decoded bytes into chunks. It holds scratch memory for one chunk
// and is for one goroutine at a time.
type Encoder struct {
	level Level
	rans  kernel.Encoder
	parts parts
	hist  kernel.Histogram
	buf   []byte
}

// NewEncoder returns an encoder of level.
func NewEncoder(level Level) *Encoder { return &Encoder{level: level} }

// Encode appends to dst one chunk that holds src, elements of dtype d:
// 1 to d.ChunkSize() bytes, whole elements. The result does not alias src.
func (e *Encoder) Encode(dst []byte, d Dtype, src []byte) ([]byte, error) {
	if err := checkChunk(d, len(src)); err != nil {
		return nil, err
	}
	if constant(src, d.Width()) {
		return appendChunk(dst, Constant, d, src[:d.Width()], src), nil
	}
	best := len(src)
	var segs []segment
	if f := dtypeTable[d].float; f != nil {
		clear(e.hist[:])
		kernel.Count(&e.hist, *f, src)
		model, cost := chooseModel(&e.hist, *f, len(src)/f.Width)
		if size := e.ransSize(cost, len(src)/f.Width); size < best {
			best = size
			segs = []segment{{elements: len(src) / f.Width, table: model.table(), id: -1}}
		}
	}
	return e.finish(dst, d, src, segs, best), nil
}

// EncodeShared is Encode for small tensors that share a chunk: src is the
// tensors one after the other, sizes their lengths in bytes, and each is coded
// with the cheapest of the tables, which must be those of the layer's Writer.
func (e *Encoder) EncodeShared(dst []byte, d Dtype, src []byte, sizes []int, tables *Tables) ([]byte, error) {
	f, ids := dtypeTable[d].float, tables.of(d)
	if f == nil || len(ids) == 0 {
		return e.Encode(dst, d, src)
	}
	if err := checkChunk(d, len(src)); err != nil {
		return nil, err
	}
	if constant(src, d.Width()) {
		return appendChunk(dst, Constant, d, src[:d.Width()], src), nil
	}
	segs, cost, rest := make([]segment, 0, len(sizes)), int64(0), src
	for _, size := range sizes {
		if size < 0 || size > len(rest) || size%f.Width != 0 {
			return nil, fmt.Errorf("encoding shared chunk: sizes do not add up to %d bytes of %v", len(src), d)
		}
		if size == 0 {
			continue
		}
		clear(e.hist[:])
		kernel.Count(&e.hist, *f, rest[:size])
		id, c := tables.cheapest(ids, f, &e.hist)
		segs = append(segs, segment{elements: size / f.Width, table: tables.list[id].table, id: id})
		cost += c + segmentSize*8*costOne
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("encoding shared chunk: sizes do not add up to %d bytes of %v", len(src), d)
	}
	cost += int64(len(src)/f.Width) * int64(f.RestBits(segs[0].table.Top)) * costOne
	best := e.ransSize(cost, len(src)/f.Width)
	if best >= len(src) {
		segs = nil
	}
	return e.finish(dst, d, src, segs, min(best, len(src))), nil
}

// ransSize is the expected size of a rANS payload whose model costs cost.
func (e *Encoder) ransSize(cost int64, elements int) int {
	// A state holds about half of its 16 bits as information.
	return ransHeader + lanesFor(elements)*3/2 + int(cost/(8*costOne))
}

// finish appends the chunk in its smallest form: rANS with segs, if there are
// any, expected to take size bytes, else zstd or raw.
func (e *Encoder) finish(dst []byte, d Dtype, src []byte, segs []segment, size int) []byte {
	best, method := src, Raw
	if segs != nil {
		e.buf = e.encodeRANS(e.buf[:0], *dtypeTable[d].float, src, segs)
		if size = len(e.buf); size < len(best) {
			best, method = e.buf, RANS
		}
	}
	if method == RANS {
		// It decodes several times as fast: a little smaller is not enough.
		size -= size / zstdMargin
	}
	if e.worthZstd(src, size) {
		if z := appendZstd(nil, e.level, src); len(z) < min(size, len(best)) {
			best, method = z, Zstd
		}
	}
	return appendChunk(dst, method, d, best, src)
}

// zstdMargin is the part of a rANS payload by which zstd must be smaller.
const zstdMargin = 64

// sampleSize is the length of the parts that worthZstd looks at.
const sampleSize = 16 << 10

// worthZstd reports whether zstd may encode src in less than size bytes. What is
// short is always worth it; of what is long, three samples are compressed.
func (e *Encoder) worthZstd(src []byte, size int) bool {
	if len(src) <= 8*sampleSize {
		return true
	}
	sampled, compressed := 0, 0
	for i := range 3 {
		from := (len(src) - sampleSize) / 2 * i
		compressed += len(appendZstd(nil, Default, src[from:from+sampleSize]))
		sampled += sampleSize
	}
	return int64(compressed)*int64(len(src)) < int64(size)*int64(sampled)*17/16
}

func checkChunk(d Dtype, size int) error {
	switch {
	case d >= dtypes:
		return fmt.Errorf("encoding chunk: unknown dtype %d", uint8(d))
	case size < 1 || size > d.ChunkSize():
		return fmt.Errorf("encoding chunk: %d bytes of %v are not in 1..%d", size, d, d.ChunkSize())
	case size%d.Width() != 0:
		return fmt.Errorf("encoding chunk: %d bytes are not whole elements of %v", size, d)
	}
	return nil
}

func appendChunk(dst []byte, method Method, d Dtype, payload, src []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	putHeader(dst[at:], method, d, len(payload), len(src), xxh3.Hash(src))
	return append(dst, payload...)
}

// cheapest returns which of the tables ids codes the symbols counted in h in the
// fewest bits, and their cost. All of ids have the same Top.
func (t *Tables) cheapest(ids []int, f *kernel.Float, h *kernel.Histogram) (id int, cost int64) {
	syms := folded(occurring(h), f.TopLimit()-t.list[ids[0]].table.Top)
	cost = math.MaxInt64
	for _, i := range ids {
		if c := tableCost(t.list[i].table, syms); c < cost {
			id, cost = i, c
		}
	}
	return id, cost
}

// tableCost is the cost of coding syms with t; a table that lacks an escape
// cannot code every symbol.
func tableCost(t *kernel.Table, syms []symbolCount) int64 {
	cost := int64(0)
	for _, s := range syms {
		f, escape := t.Freq(s.value)
		if f == 0 {
			return math.MaxInt64
		}
		cost += s.count * costOf[f]
		if escape {
			cost += s.count * escapeBits(t.Top) * costOne
		}
	}
	return cost
}
