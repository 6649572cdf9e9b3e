package codec

import (
	"errors"
	"fmt"
	"io"
)

// Writer writes a layer: the prologue, chunks in order, the trailer.
type Writer struct {
	w       io.Writer
	size    int64
	decoded int64
	chunks  []Chunk
	err     error
}

// NewWriter writes the prologue with the tables that the layer's chunks share;
// nil for none. The caller closes w itself after Close.
func NewWriter(w io.Writer, tables *Tables) (*Writer, error) {
	lw := &Writer{w: w}
	lw.write(appendPrologue(nil, tables))
	return lw, lw.err
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	var n int
	n, w.err = w.w.Write(b)
	w.size += int64(n)
}

// WriteChunk appends a chunk that an Encoder made. It does not keep chunk.
func (w *Writer) WriteChunk(chunk []byte) error {
	if w.err != nil {
		return w.err
	}
	c, err := ParseChunk(chunk)
	if err != nil {
		return fmt.Errorf("writing chunk: %w", err)
	}
	if c.Encoded != len(chunk) {
		return fmt.Errorf("writing chunk: %d bytes for a chunk of %d", len(chunk), c.Encoded)
	}
	c.Offset, c.DecodedOffset = w.size, w.decoded
	if w.write(chunk); w.err == nil {
		w.chunks = append(w.chunks, c)
		w.decoded += int64(c.Decoded)
	}
	return w.err
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// DecodedSize is the number of bytes that the chunks so far decode to.
func (w *Writer) DecodedSize() int64 { return w.decoded }

// Chunks returns the chunks written, in order. The caller must not change them.
func (w *Writer) Chunks() []Chunk { return w.chunks }

var errClosed = errors.New("layer is closed")

// Close writes the trailer. The Writer is of no use after it.
func (w *Writer) Close() error {
	w.write(appendTrailer(nil, w.size, w.chunks))
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}
