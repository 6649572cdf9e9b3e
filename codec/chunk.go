package codec

import (
	"encoding/binary"

	"github.com/zeebo/xxh3"
)

// Method is the way a chunk is encoded. The values are wire values, only ever
// appended: FORMAT.md, "Methods".
type Method uint8

// The methods. Other ids are reserved there.
const (
	Raw      Method = 0
	Constant Method = 1
	Zstd     Method = 2
	RANS     Method = 3
	Fields   Method = 4
	Context  Method = 5
	Widened  Method = 8

	trailerMethod Method = 255
)

// HeaderSize is the length in bytes of a chunk's header.
const HeaderSize = 24

// flagBase marks a chunk that is a difference from a base: reserved.
const flagBase = 1

// Chunk describes one chunk of a layer.
type Chunk struct {
	Offset  int64 // of the header, from the start of the layer
	Method  Method
	Dtype   Dtype
	Encoded int    // bytes in the layer, the header included
	Decoded int    // bytes after decoding
	Hash    uint64 // xxh3 of the decoded bytes

	// DecodedOffset is where the decoded bytes start in the decoded layer.
	DecodedOffset int64
}

// putHeader writes the header of a chunk with payload bytes of payload:
// FORMAT.md, "Chunk header".
func putHeader(b []byte, method Method, d Dtype, payload, decoded int, hash uint64) {
	b[0], b[1], b[2], b[3] = byte(method), byte(d), 0, 0
	binary.LittleEndian.PutUint32(b[4:], uint32(payload))
	binary.LittleEndian.PutUint32(b[8:], uint32(decoded))
	binary.LittleEndian.PutUint64(b[12:], hash)
	binary.LittleEndian.PutUint32(b[20:], uint32(xxh3.Hash(b[:20])))
}

// parseHeader reads and checks the HeaderSize bytes at b. Encoded in the result
// is bounded by MaxChunk plus the header, or for the trailer by what the caller
// checks.
func parseHeader(b []byte) (Chunk, error) {
	if uint32(xxh3.Hash(b[:20])) != binary.LittleEndian.Uint32(b[20:]) {
		return Chunk{}, corrupt(0, "chunk header does not match its check sum")
	}
	c := Chunk{
		Method:  Method(b[0]),
		Dtype:   Dtype(b[1]),
		Encoded: HeaderSize + int(binary.LittleEndian.Uint32(b[4:])),
		Decoded: int(binary.LittleEndian.Uint32(b[8:])),
		Hash:    binary.LittleEndian.Uint64(b[12:]),
	}
	switch {
	case b[2]&flagBase != 0:
		return Chunk{}, unsupported("chunk is a difference from a base")
	case b[2] != 0 || b[3] != 0:
		return Chunk{}, unsupported("chunk has unknown flags %#x", b[2:4])
	case c.Method == trailerMethod:
		return c, nil
	case c.Method.decode() == nil:
		return Chunk{}, unsupported("method %d", c.Method)
	case c.Dtype >= dtypes:
		return Chunk{}, unsupported("dtype %d", c.Dtype)
	case c.Decoded < 1 || c.Decoded > c.Dtype.ChunkSize():
		return Chunk{}, corrupt(8, "decoded size %d is not in 1..%d", c.Decoded, c.Dtype.ChunkSize())
	case c.Decoded%c.Dtype.Width() != 0:
		return Chunk{}, corrupt(8, "decoded size %d is not whole elements of %v", c.Decoded, c.Dtype)
	case c.Encoded < HeaderSize || c.Encoded-HeaderSize > c.Decoded: // an int may have 32 bits
		return Chunk{}, corrupt(4, "encoded size %d exceeds decoded size %d", c.Encoded-HeaderSize, c.Decoded)
	}
	return c, nil
}
