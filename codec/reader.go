package codec

import (
	"bytes"
	"fmt"
	"io"
)

// Reader reads a layer front to back, in the manner of archive/tar. It needs no
// trailer to do so, but checks it.
type Reader struct {
	r      io.Reader
	memory *bytes.Buffer // r, if it is one
	dec    *Decoder
	offset int64
	total  int64
	chunks []Chunk
	chunk  []byte // the current chunk, header included
	err    error
}

// NewReader reads the prologue of the layer in r. It reads in large pieces and
// needs no buffering below it. Of a *bytes.Buffer, chunks are decoded in place,
// without a copy.
func NewReader(r io.Reader) (*Reader, error) {
	p, err := ReadPrologue(r)
	if err != nil {
		return nil, err
	}
	memory, _ := r.(*bytes.Buffer)
	return &Reader{r: r, memory: memory, dec: NewDecoder(p), offset: p.Size}, nil
}

// Next reads the next chunk, still encoded. At the end of the layer, when the
// trailer is there and agrees, and nothing follows it, it returns io.EOF. The
// Chunk is valid until the next call.
func (r *Reader) Next() (*Chunk, error) {
	if r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		r.chunk = nil
		return nil, r.err
	}
	return &r.chunks[len(r.chunks)-1], nil
}

func (r *Reader) next() error {
	if len(r.chunks) > maxChunks {
		return corrupt(r.offset, "more than %d chunks", maxChunks)
	}
	if err := r.read(0, HeaderSize, "chunk header"); err != nil {
		return err
	}
	c, err := parseHeader(r.chunk)
	if err != nil {
		return at(r.offset, err)
	}
	if c.Method == trailerMethod {
		return r.trailer(c)
	}
	if err := r.read(HeaderSize, c.Encoded, "chunk"); err != nil {
		return err
	}
	c.Offset, c.DecodedOffset = r.offset, r.total
	r.chunks = append(r.chunks, c)
	r.offset += int64(c.Encoded)
	r.total += int64(c.Decoded)
	return nil
}

// read reads what is missing of the first size bytes of the current chunk, of
// which r.chunk has the first have.
func (r *Reader) read(have, size int, what string) error {
	if r.memory != nil {
		// The buffer lies still as long as nobody writes to it.
		b := r.memory.Next(size - have)
		if len(b) < size-have {
			return readError(r.offset, what, io.ErrUnexpectedEOF)
		}
		if have == 0 {
			r.chunk = b
		}
		r.chunk = r.chunk[:size]
		return nil
	}
	if cap(r.chunk) < size {
		r.chunk = append(make([]byte, 0, size), r.chunk[:have]...)
	}
	r.chunk = r.chunk[:size]
	if _, err := io.ReadFull(r.r, r.chunk[have:]); err != nil {
		return readError(r.offset, what, err)
	}
	return nil
}

// trailer reads the trailer whose header is c. It returns io.EOF if all is well.
func (r *Reader) trailer(c Chunk) error {
	if int64(c.Encoded) != TrailerSize(len(r.chunks)) {
		return corrupt(r.offset, "trailer of %d bytes after %d chunks", c.Encoded, len(r.chunks))
	}
	b := make([]byte, c.Encoded)
	copy(b, r.chunk)
	if _, err := io.ReadFull(r.r, b[HeaderSize:]); err != nil {
		return readError(r.offset, "trailer", err)
	}
	if err := CheckTrailer(b, r.offset, r.chunks); err != nil {
		return err
	}
	switch n, err := io.ReadFull(r.r, b[:1]); {
	case n != 0:
		return corrupt(r.offset+int64(c.Encoded), "bytes follow the trailer")
	case err != io.EOF:
		return fmt.Errorf("reading the end of the layer: %w", err)
	}
	return io.EOF
}

// Decode decodes the current chunk into dst, whose length must be the chunk's
// decoded size. It may be called more than once.
func (r *Reader) Decode(dst []byte) error {
	if len(r.chunk) == 0 {
		return fmt.Errorf("decoding chunk: no chunk was read")
	}
	return at(r.chunks[len(r.chunks)-1].Offset, r.dec.Decode(dst, r.chunk))
}

// DecodeTo is Decode for a dst that is part of memory much larger than the caches;
// see Decoder.DecodeTo.
func (r *Reader) DecodeTo(dst []byte) error {
	if len(r.chunk) == 0 {
		return fmt.Errorf("decoding chunk: no chunk was read")
	}
	return at(r.chunks[len(r.chunks)-1].Offset, r.dec.DecodeTo(dst, r.chunk))
}

// Encoded returns the current chunk as it is in the layer, header included. It
// is valid until the next call of Next.
func (r *Reader) Encoded() []byte { return r.chunk }
