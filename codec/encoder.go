package codec

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Encoder turns decoded bytes into chunks. It holds scratch memory for one chunk
// and is for one goroutine at a time.
type Encoder struct {
	level Level
	impl  *kernel.Impl
	rans  kernel.Encoder
	parts parts
	hist  kernel.Histogram

	narrow  []byte // of appendWidened
	plane   []byte // of appendFields
	fit     *contextFit
	hists   [8]kernel.Histogram
	scales  []int
	samples [8][]byte
}

// NewEncoder returns an encoder of level.
func NewEncoder(level Level) *Encoder { return &Encoder{level: level, impl: kernel.Best()} }

// Encode appends to dst one chunk that holds src, elements of dtype d:
// 1 to d.ChunkSize() bytes, whole elements. The result does not alias src.
func (e *Encoder) Encode(dst []byte, d Dtype, src []byte, g Geometry) ([]byte, error) {
	if err := checkChunk(d, len(src)); err != nil {
		return nil, err
	}
	return appendChunk(dst, d, src, func(dst []byte) (Method, []byte) {
		return e.appendBest(dst, d, src, g)
	}), nil
}

// appendChunk appends a chunk that holds src: a header and what payload appends.
func appendChunk(dst []byte, d Dtype, src []byte, payload func(dst []byte) (Method, []byte)) []byte {
	at := len(dst)
	method, dst := payload(append(dst, make([]byte, HeaderSize)...))
	putHeader(dst[at:], method, d, len(dst)-at-HeaderSize, len(src), xxh3.Hash(src))
	return dst
}

// appendBest appends the smallest payload for src, elements of dtype d.
func (e *Encoder) appendBest(dst []byte, d Dtype, src []byte, g Geometry) (Method, []byte) {
	if constant(src, d.Width()) {
		return Constant, append(dst, src[:d.Width()]...)
	}
	if out, ok := e.appendWidened(dst, d, src, g); ok {
		return Widened, out
	}
	c := e.coding(dtypeTable[d].try, src, g)
	if d.fieldsPay(src) {
		out := e.appendFields(dst, d, src)
		if size := len(out) - len(dst); size < c.size {
			if z := e.tryZstd(src, size); z != nil {
				return Zstd, append(dst, z...)
			}
			return Fields, out
		}
	}
	return e.appendSmallest(dst, src, c, g)
}

// A coding is how the rANS method codes a chunk, and what that is expected to
// cost.
type coding struct {
	layout layoutID
	segs   []segment // nil: raw is not larger
	size   int       // bytes of payload
}

// coding finds the best layout and model of those in try for src.
func (e *Encoder) coding(try []layoutID, src []byte, g Geometry) coding {
	best := coding{size: len(src)}
	for _, id := range try {
		if !id.fits(len(src)) {
			continue
		}
		if c := e.plan(id, src, g); c.size < best.size {
			best = c
		}
	}
	return best
}

// appendSmallest appends the payload of src in its smallest form: rANS as c says,
// zstd or raw.
func (e *Encoder) appendSmallest(dst, src []byte, c coding, g Geometry) (Method, []byte) {
	at, best, size, method := len(dst), len(src), c.size, Raw
	if c.segs != nil {
		dst = e.encodeRANS(dst, c.layout, src, c.segs)
		if size = len(dst) - at; size < best {
			best, method = size, RANS
			// It decodes several times as fast: a little smaller is not enough.
			size -= size / zstdMargin
		}
	}
	if e.level == Max && c.layout != 0 && layoutTable[c.layout].Sign == 1 {
		end := len(dst)
		dst = e.encodeContext(dst, c.layout, src, g)
		if n := len(dst) - end; n > 0 && n < best {
			method, best, size = Context, n, n-n/zstdMargin
			dst = append(dst[:at], dst[end:]...)
		} else {
			dst = dst[:end]
		}
	}
	if z := e.tryZstd(src, min(size, best)); z != nil {
		return Zstd, append(dst[:at], z...)
	}
	if method == Raw {
		dst = append(dst[:at], src...)
	}
	return method, dst
}

// EncodeShared is Encode for small tensors that share a chunk: src is the
// tensors one after the other, sizes their lengths in bytes, and each is coded
// with the cheapest of the tables, which must be those of the layer's Writer.
func (e *Encoder) EncodeShared(dst []byte, d Dtype, src []byte, sizes []int, tables *Tables) ([]byte, error) {
	if err := checkChunk(d, len(src)); err != nil {
		return nil, err
	}
	if !d.shares() || len(tables.of(d.layout())) == 0 || constant(src, d.Width()) {
		return e.Encode(dst, d, src, Geometry{})
	}
	id := d.layout()
	f, ids := layoutTable[id], tables.of(id)
	segs, cost, rest := make([]segment, 0, len(sizes)), int64(0), src
	for _, size := range sizes {
		if size < 0 || size > len(rest) || size%d.Width() != 0 {
			return nil, fmt.Errorf("encoding shared chunk: sizes do not add up to %d bytes of %v", len(src), d)
		}
		if size == 0 {
			continue
		}
		clear(e.hist[:])
		kernel.Count(&e.hist, f, rest[:size])
		i, c := tables.cheapest(ids, f, &e.hist)
		segs = append(segs, segment{elements: f.Elements(size), model: kernel.Model{Tables: tables.list[i].table[:]}, id: i})
		cost += c + segmentSize*8*costOne
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("encoding shared chunk: sizes do not add up to %d bytes of %v", len(src), d)
	}
	n := f.Elements(len(src))
	cost += int64(n) * int64(f.RestBits(segs[0].model.Tables[0].Top)) * costOne
	c := coding{id, segs, ransSize(cost, n)}
	if c.size >= len(src) {
		c = coding{size: len(src)}
	}
	return appendChunk(dst, d, src, func(dst []byte) (Method, []byte) {
		return e.appendSmallest(dst, src, c, Geometry{})
	}), nil
}

// ransSize is the expected size of a rANS payload whose model costs cost.
func ransSize(cost int64, elements int) int {
	// A state holds about half of its 16 bits as information.
	return ransHeader + lanesFor(elements)*3/2 + int(cost/(8*costOne))
}

// zstdMargin is the part of a rANS payload by which zstd must be smaller.
const zstdMargin = 64

// tryZstd returns src as a zstd payload if that has fewer than size bytes.
func (e *Encoder) tryZstd(src []byte, size int) []byte {
	if !worthZstd(src, size) {
		return nil
	}
	if z := appendZstd(nil, e.level, src); len(z) < size {
		return z
	}
	return nil
}

// sampleSize is the length of the parts that worthZstd looks at.
const sampleSize = 16 << 10

// worthZstd reports whether zstd may encode src in less than size bytes. What is
// short is always worth it; of what is long, three samples are compressed, at
// first quickly, and if that leaves a doubt as well as the whole would be.
func worthZstd(src []byte, size int) bool {
	if len(src) <= 8*sampleSize {
		return true
	}
	return sampledZstd(src, sampler()) < size+size/16 && sampledZstd(src, zstdEncoders[Default]()) < size+size/128
}

// sampledZstd is the size that src would have if all of it were like the samples.
func sampledZstd(src []byte, enc *zstd.Encoder) int {
	compressed := 0
	for i := range 3 {
		from := (len(src) - sampleSize) / 2 * i
		compressed += len(enc.EncodeAll(src[from:from+sampleSize], nil))
	}
	return int(int64(compressed) * int64(len(src)) / (3 * sampleSize))
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

// constant reports whether src is one element repeated.
func constant(src []byte, width int) bool {
	return bytes.Equal(src[width:], src[:len(src)-width])
}
