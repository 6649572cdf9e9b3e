package codec

import (
	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Decoder decodes the chunks of one layer. It holds scratch memory for one chunk
// and is for one goroutine at a time.
type Decoder struct {
	prologue *Prologue
	impl     *kernel.Impl
	past     bool // see DecodeTo
	rans     kernel.Decoder
	segs     []segment
	inline   [maxClasses]kernel.Table // of the payload
	one      [maxClasses]*kernel.Table
	classBuf []uint8
	words    []uint16
	planes   [3][]byte
	cut      [3][]byte
	planeBuf [4][]byte
	context  *contextDecoder
	inner    []byte // what a payload within a payload decodes to
}

// NewDecoder returns a decoder for the chunks that follow p.
func NewDecoder(p *Prologue) *Decoder { return &Decoder{prologue: p, impl: kernel.Best()} }

// Reset makes d decode the chunks that follow p, keeping its memory.
func (d *Decoder) Reset(p *Prologue) { d.prologue = p }

// Decode decodes one chunk, header included, into dst, whose length must be the
// chunk's decoded size. The bytes in dst are right when the error is nil; they
// are unspecified otherwise. Offsets in errors count from the start of chunk.
func (d *Decoder) Decode(dst, chunk []byte) error {
	if len(chunk) < HeaderSize {
		return corrupt(0, "chunk of %d bytes", len(chunk))
	}
	c, err := parseHeader(chunk[:HeaderSize])
	if err != nil {
		return err
	}
	if c.Method == trailerMethod || c.Encoded != len(chunk) {
		return corrupt(4, "chunk of %d bytes says it has %d", len(chunk), c.Encoded)
	}
	if c.Decoded != len(dst) {
		return corrupt(8, "chunk decodes to %d bytes, %d are expected", c.Decoded, len(dst))
	}
	if err := c.Method.decode()(d, dst, c.Dtype.Width(), chunk[HeaderSize:]); err != nil {
		return at(HeaderSize, err)
	}
	if xxh3.Hash(dst) != c.Hash {
		return corrupt(12, "decoded bytes do not match their hash")
	}
	return nil
}

// DecodeTo is Decode for a dst that is part of memory much larger than the caches:
// where it can, it stores past them.
func (d *Decoder) DecodeTo(dst, chunk []byte) error {
	d.past = true
	defer func() { d.past = false }()
	return d.Decode(dst, chunk)
}

// ParseChunk reads the header at the start of chunk, without its place in the
// layer.
func ParseChunk(chunk []byte) (Chunk, error) {
	if len(chunk) < HeaderSize {
		return Chunk{}, corrupt(0, "chunk of %d bytes", len(chunk))
	}
	c, err := parseHeader(chunk[:HeaderSize])
	if err == nil && c.Method == trailerMethod {
		err = corrupt(0, "trailer where a chunk is expected")
	}
	return c, err
}
