package mediatypes

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Chunk is the unit of a layer that decodes by itself.
type Chunk struct {
	Offset  int64 // of the chunk's header in the blob
	Encoded int   // size in the blob, header included
	Decoded int   // size of what it decodes to, at most MaxChunkDecoded
	SHA256  [32]byte
	// DecodedOffset is where its bytes start in the decoded layer. It is not
	// stored: it is the sum of the decoded sizes before it.
	DecodedOffset int64
}

// ChunkTable returns the chunks of a layer in their order in the blob. It
// checks that they follow each other without a gap, lie inside the blob, and
// decode to the layer's decoded size. The table is parsed anew by every call
// and belongs to the caller. Concurrent calls are safe. An error is an
// [*Error].
//
// The index must come from [ParseIndex].
func (x *Index) ChunkTable(layer int) ([]Chunk, error) {
	if layer < 0 || layer >= len(x.tables) {
		return nil, wrong(indexObject, "no chunk table of layer %d", layer)
	}
	l, at := &x.Layers[layer], x.tables[layer]
	chunks := make([]Chunk, l.Chunks)
	var decoded int64
	for i := range chunks {
		r := x.doc[at+i*recordSize:][:recordSize]
		c := &chunks[i]
		// An offset that does not fit becomes negative, a size too large: both
		// are refused below.
		c.Offset = int64(binary.LittleEndian.Uint64(r))
		c.Encoded = int(min(binary.LittleEndian.Uint32(r[8:]), math.MaxInt32))
		c.Decoded = int(min(binary.LittleEndian.Uint32(r[12:]), math.MaxInt32))
		c.SHA256 = [32]byte(r[16:])
		c.DecodedOffset = decoded
		decoded += int64(c.Decoded)
	}
	if err := l.checkChunks(chunks); err != nil {
		err.Offset = int64(at)
		return nil, within(fmt.Sprintf("%s /layers/%d", indexObject, layer), err)
	}
	return chunks, nil
}

// checkChunks checks a chunk table against its layer.
func (l *Layer) checkChunks(chunks []Chunk) *Error {
	if len(chunks) != l.Chunks {
		return wrong("", "%d chunks in the table of a layer of %d", len(chunks), l.Chunks)
	}
	var next, decoded int64
	for i := range chunks {
		c := &chunks[i]
		at := func(format string, args ...any) *Error {
			return wrong(fmt.Sprintf("chunk %d", i), format, args...)
		}
		switch {
		case c.Encoded <= 0 || c.Encoded > MaxChunkEncoded:
			return at("encoded size %d", c.Encoded)
		case c.Decoded <= 0 || c.Decoded > MaxChunkDecoded:
			return at("decoded size %d", c.Decoded)
		case i == 0 && c.Offset <= 0:
			return at("starts at %d, where the layer's prologue is", c.Offset)
		case i > 0 && c.Offset != next:
			return at("starts at %d, and the one before it ends at %d", c.Offset, next)
		case int64(c.Encoded) > l.Encoded || c.Offset > l.Encoded-int64(c.Encoded):
			return at("ends after the layer's %d encoded bytes", l.Encoded)
		}
		next = c.Offset + int64(c.Encoded)
		decoded += int64(c.Decoded)
	}
	if decoded != l.Decoded {
		return wrong("", "chunks decode to %d bytes, the layer to %d", decoded, l.Decoded)
	}
	return nil
}

// appendRecord appends the chunk's record of recordSize bytes.
func (c *Chunk) appendRecord(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.Encoded))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.Decoded))
	return append(b, c.SHA256[:]...)
}
