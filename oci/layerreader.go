package oci

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci/internal/multihash"
)

// A layerReader reads the chunks of one layer in order, still encoded, and
// checks each against the index: nothing that it returns was altered.
type layerReader struct {
	a        *Artifact
	layer    int
	chunks   []mediatypes.Chunk
	prologue *codec.Prologue

	ctx   context.Context // of r
	r     io.ReadCloser
	buf   *bufio.Reader
	until int64     // where what r reads ends
	next  int       // chunk
	hash  hash.Hash // of all bytes, or nil
	ended bool      // end was called
}

// whole asks openLayer for a layer to its end.
const whole = -1

// openLayer starts to read layer i: its prologue, and then its first chunks chunks.
// With whole, end can check the digest of the layer and its trailer. The caller
// calls drop in every case.
func (a *Artifact) openLayer(ctx context.Context, i, chunks int) (*layerReader, error) {
	table, err := a.Index.ChunkTable(i)
	if err != nil {
		return nil, err
	}
	l := &layerReader{a: a, layer: i, chunks: table}
	n := int64(-1)
	switch {
	case chunks == whole:
		l.hash = a.Layers[i].Digest.Algorithm().Hash()
	case chunks > 0:
		n = table[chunks-1].Offset + int64(table[chunks-1].Encoded)
	default:
		n = l.prologueSize()
	}
	if err := l.open(ctx, 0, n); err != nil {
		return nil, err
	}
	if err := l.readPrologue(ctx); err != nil {
		l.drop()
		return nil, a.layerFault("reading", i, 0, err)
	}
	return l, nil
}

// open begins to read n bytes at off, or all from there if n is negative.
func (l *layerReader) open(ctx context.Context, off, n int64) error {
	r, err := l.a.src.Blob(ctx, l.a.Layers[l.layer], off, n)
	if err != nil {
		return l.a.layerFault("reading", l.layer, off, err)
	}
	l.ctx, l.r, l.buf = ctx, r, bufio.NewReaderSize(r, 256<<10)
	if l.until = off + n; n < 0 {
		l.until = l.a.Layers[l.layer].Size
	}
	return nil
}

// jump leaves out what comes next: the chunks [first, last) are read now, and others
// before the chunk end later. A store that knows no ranges sends all that is before
// them each time, so there all up to end is asked for at once.
func (l *layerReader) jump(ctx context.Context, first, last, end int) error {
	at, off := l.chunks[l.next].Offset, l.chunks[first].Offset
	l.next = first
	if off < l.until {
		_, err := io.CopyN(io.Discard, l.buf, off-at)
		return l.a.layerFault("reading", l.layer, at, short(err))
	}
	if r, ok := l.r.(interface{ unranged() bool }); ok && r.unranged() {
		last = end
	}
	l.drop()
	return l.open(ctx, off, l.chunks[last-1].Offset+int64(l.chunks[last-1].Encoded)-off)
}

// prologueSize is the size of what is before the first chunk.
func (l *layerReader) prologueSize() int64 {
	if len(l.chunks) > 0 {
		return l.chunks[0].Offset
	}
	return l.a.Layers[l.layer].Size - codec.TrailerSize(0)
}

// readPrologue reads what is before the first chunk, and compares it with the
// index before it is parsed.
func (l *layerReader) readPrologue(ctx context.Context) error {
	size := l.prologueSize()
	if size < 0 || size > codec.MaxPrologue {
		return fmt.Errorf("%w: prologue of %d bytes", ErrCorrupt, size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(l.buf, b); err != nil {
		return short(err)
	}
	sum := l.sum(b)
	want := l.a.Index.Layers[l.layer].Prologue
	if hex.EncodeToString(sum[:]) != want {
		if err := l.elsewhere(ctx, 0, b); err != nil {
			return err
		}
		sum = sha256.Sum256(b)
	}
	if err := matches(hex.EncodeToString(sum[:]), want, "sha256", "prologue of layer "+l.a.Layers[l.layer].Digest.String()); err != nil {
		return err
	}
	r := bytes.NewReader(b)
	var err error
	if l.prologue, err = codec.ReadPrologue(r); err == nil && r.Len() != 0 {
		err = fmt.Errorf("%w: first chunk at %d, prologue of %d bytes", ErrCorrupt, size, l.prologue.Size)
	}
	return err
}

// read reads the next chunk into buf, growing it if it must.
func (l *layerReader) read(buf []byte) ([]byte, error) {
	l.next++
	return l.fill(l.buf, l.next-1, buf, l.sum)
}

// sum adds b to the digest of the layer, and returns the sha256 of b alone.
func (l *layerReader) sum(b []byte) [sha256.Size]byte {
	if l.hash == nil {
		return sha256.Sum256(b)
	}
	if l.a.Layers[l.layer].Digest.Algorithm() != digest.SHA256 {
		l.hash.Write(b)
		return sha256.Sum256(b)
	}
	h := sha256.New()
	multihash.WritePair(l.hash, h, b)
	return [sha256.Size]byte(h.Sum(nil))
}

// again reads chunk i, which read has passed, once more.
func (l *layerReader) again(ctx context.Context, i int, buf []byte) ([]byte, error) {
	c := &l.chunks[i]
	r, err := l.a.src.Blob(ctx, l.a.Layers[l.layer], c.Offset, int64(c.Encoded))
	if err != nil {
		return buf, l.a.layerFault("reading", l.layer, c.Offset, err)
	}
	defer r.Close()
	return l.fill(r, i, buf, sha256.Sum256)
}

// fill reads chunk i from r into buf, growing it if it must, and checks it with
// sum.
func (l *layerReader) fill(r io.Reader, i int, buf []byte, sum func([]byte) [sha256.Size]byte) ([]byte, error) {
	c := &l.chunks[i]
	buf = slices.Grow(buf[:0], c.Encoded)[:c.Encoded]
	_, err := io.ReadFull(r, buf)
	if err != nil {
		err = short(err)
	} else if sum(buf) != c.SHA256 {
		if err = l.elsewhere(l.ctx, c.Offset, buf); err == nil && sha256.Sum256(buf) != c.SHA256 {
			err = fmt.Errorf("%w: chunk does not match its sha256 in the index", ErrCorrupt)
		}
	}
	return buf, l.a.layerFault("reading", l.layer, c.Offset, err)
}

// elsewhere reads bytes that turned out to be wrong once more, at another of the
// hosts that have them if there is one: what damages bytes on their way, or on one
// mirror, need not damage them everywhere.
func (l *layerReader) elsewhere(ctx context.Context, off int64, b []byte) error {
	if l.hash != nil {
		return nil // the digest of the layer is wrong in any case
	}
	r, err := elsewhere(l.a.src).Blob(ctx, l.a.Layers[l.layer], off, int64(len(b)))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.ReadFull(r, b)
	return short(err)
}

// short calls an early end what it is, but that of a connection that was lost.
func short(err error) error {
	if errors.Is(err, ErrRegistry) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: layer ends early", ErrCorrupt)
	}
	return err
}

// end closes a layer that was opened whole, after its last chunk was read: it
// reads what is left and checks trailer and digest. Later calls do nothing.
func (l *layerReader) end() error {
	if l.ended {
		return nil
	}
	l.ended = true
	defer l.drop()
	end := l.prologue.Size
	want := make([]codec.Chunk, len(l.chunks))
	for i, c := range l.chunks {
		want[i] = codec.Chunk{Offset: c.Offset, Encoded: c.Encoded, Decoded: c.Decoded}
		end = c.Offset + int64(c.Encoded)
	}
	d := l.a.Layers[l.layer]
	if d.Size-end != codec.TrailerSize(len(want)) {
		return l.a.layerFault("reading", l.layer, end, fmt.Errorf("%w: %d bytes follow the last chunk, a trailer has %d", ErrCorrupt, d.Size-end, codec.TrailerSize(len(want))))
	}
	trailer := make([]byte, d.Size-end)
	if _, err := io.ReadFull(l.buf, trailer); err != nil {
		return l.a.layerFault("reading", l.layer, end, short(err))
	}
	l.hash.Write(trailer)
	if err := codec.CheckTrailer(trailer, end, want); err != nil {
		return l.a.layerFault("checking", l.layer, 0, err)
	}
	if got := digest.NewDigest(d.Digest.Algorithm(), l.hash); got != d.Digest {
		return l.a.layerFault("checking", l.layer, -1, fmt.Errorf("%w: its digest is %s", ErrCorrupt, got))
	}
	return nil
}

// drop ends the reading, for which wake begins anew.
func (l *layerReader) drop() {
	if l.r != nil {
		_ = l.r.Close()
	}
	l.r, l.buf = nil, nil
}

// wake goes on after a drop that was not the last, with the next chunk.
func (l *layerReader) wake(ctx context.Context) error {
	if l.r != nil || l.next == len(l.chunks) {
		return nil
	}
	return l.open(ctx, l.chunks[l.next].Offset, -1)
}
