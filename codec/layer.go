package codec

import (
	"encoding/binary"
	"fmt"
	"io"
	"sort"
)

// Layer reads any range of the decoded bytes of a layer. It may be used by
// several goroutines at once.
type Layer struct {
	r        io.ReaderAt
	prologue *Prologue
	chunks   []Chunk
	size     int64
}

// OpenLayer reads the prologue and the trailer of the layer of size bytes in r.
// Memory is bounded by the size of the trailer, and that by size.
func OpenLayer(r io.ReaderAt, size int64) (*Layer, error) {
	p, err := ReadPrologue(io.NewSectionReader(r, 0, min(size, MaxPrologue)))
	if err != nil {
		return nil, err
	}
	foot := make([]byte, footerSize)
	if size < p.Size+TrailerSize(0) {
		return nil, corrupt(size, "layer ends before its trailer")
	}
	if err := readAt(r, foot, size-footerSize, "footer"); err != nil {
		return nil, err
	}
	if string(foot[24:]) != endMagic {
		return nil, corrupt(size-8, "layer does not end with a trailer")
	}
	start, count := binary.LittleEndian.Uint64(foot[8:]), int64(binary.LittleEndian.Uint32(foot[16:]))
	length := HeaderSize + count*recordSize + footerSize
	if count > maxChunks || length > size-p.Size || start != uint64(size-length) {
		return nil, corrupt(size-footerSize, "trailer of %d chunks at offset %d of %d", count, start, size)
	}
	trailer := make([]byte, length)
	if err := readAt(r, trailer, size-length, "trailer"); err != nil {
		return nil, err
	}
	l := &Layer{r: r, prologue: p}
	offset := p.Size
	for b := trailer[HeaderSize : length-footerSize]; len(b) > 0; b = b[recordSize:] {
		c := Chunk{
			Offset:        int64(binary.LittleEndian.Uint64(b)),
			Encoded:       int(binary.LittleEndian.Uint32(b[8:])),
			Decoded:       int(binary.LittleEndian.Uint32(b[12:])),
			DecodedOffset: l.size,
		}
		if c.Offset != offset || c.Decoded < 1 || c.Decoded > MaxChunk || c.Encoded <= HeaderSize || c.Encoded-HeaderSize > c.Decoded {
			return nil, corrupt(size-int64(len(b))-footerSize, "trailer names a chunk of %d bytes at offset %d", c.Encoded, c.Offset)
		}
		offset += int64(c.Encoded)
		l.size += int64(c.Decoded)
		l.chunks = append(l.chunks, c)
	}
	if offset != size-length {
		return nil, corrupt(size-length, "chunks of the trailer end at offset %d", offset)
	}
	return l, CheckTrailer(trailer, offset, l.chunks)
}

func readAt(r io.ReaderAt, b []byte, offset int64, what string) error {
	if n, err := r.ReadAt(b, offset); n < len(b) {
		return readError(offset, what, err)
	}
	return nil
}

// Size is the length of the decoded layer in bytes.
func (l *Layer) Size() int64 { return l.size }

// Chunks returns the chunks of the layer, in order; of each, Method, Dtype and
// Hash are not known. The caller must not change them.
func (l *Layer) Chunks() []Chunk { return l.chunks }

// largeRead is the size from which what is read does not stay in the caches.
const largeRead = 32 << 20

// ReadAt reads decoded bytes from offset, like io.ReaderAt. It decodes every
// chunk that the range touches, and no other.
func (l *Layer) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("reading decoded layer at offset %d", offset)
	}
	first := sort.Search(len(l.chunks), func(i int) bool {
		return l.chunks[i].DecodedOffset+int64(l.chunks[i].Decoded) > offset
	})
	dec, n := NewDecoder(l.prologue), 0
	var encoded, decoded []byte
	for _, c := range l.chunks[first:] {
		if n == len(p) {
			break
		}
		skip := int(offset + int64(n) - c.DecodedOffset)
		encoded = resize(encoded, c.Encoded)
		if err := readAt(l.r, encoded, c.Offset, "chunk"); err != nil {
			return n, err
		}
		// A chunk that is wanted whole is decoded in place.
		whole := skip == 0 && len(p)-n >= c.Decoded
		dst := p[n:min(len(p), n+c.Decoded)]
		if !whole {
			decoded = resize(decoded, c.Decoded)
			dst = decoded
		}
		decode := dec.Decode
		if whole && len(p) >= largeRead {
			decode = dec.DecodeTo
		}
		if err := decode(dst, encoded); err != nil {
			return n, at(c.Offset, err)
		}
		if whole {
			n += c.Decoded
		} else {
			n += copy(p[n:], decoded[skip:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
