package codec

import (
	"bytes"
	"encoding/binary"

	"github.com/zeebo/xxh3"
)

// FORMAT.md, "Trailer".
const (
	endMagic   = "\x89BSME\r\n\x1a"
	recordSize = 16
	footerSize = 32
)

// TrailerSize is the length in bytes of the trailer of a layer of n chunks, its
// header included.
func TrailerSize(n int) int64 { return HeaderSize + int64(n)*recordSize + footerSize }

// appendTrailer appends the trailer, which starts at offset, of these chunks.
func appendTrailer(dst []byte, offset int64, chunks []Chunk) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	decoded := uint64(0)
	for _, c := range chunks {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Offset))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(c.Encoded))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(c.Decoded))
		decoded += uint64(c.Decoded)
	}
	dst = binary.LittleEndian.AppendUint64(dst, decoded)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(offset))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(chunks)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = append(dst, endMagic...)
	body := dst[start+HeaderSize:]
	putHeader(dst[start:], trailerMethod, 0, len(body), 0, xxh3.Hash(body))
	return dst
}

// CheckTrailer reports whether trailer is the trailer of a layer of exactly these
// chunks; only their Offset, Encoded and Decoded are compared. end is the offset
// of the trailer, counted from the start of the layer.
func CheckTrailer(trailer []byte, end int64, chunks []Chunk) error {
	want := appendTrailer(make([]byte, 0, TrailerSize(len(chunks))), end, chunks)
	if !bytes.Equal(trailer, want) {
		return corrupt(end, "trailer does not match the chunks of the layer")
	}
	return nil
}
