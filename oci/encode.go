package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// errLossy is an encoder that does not give back what it was given. It must
// never happen; if it does, nothing leaves the machine.
var errLossy = errors.New("encoded bytes do not decode to what they were made from: please report this, with the model")

// A layer is an encoded layer, stored in the target.
type layer struct {
	desc     ocispec.Descriptor
	group    *group
	decoded  int64
	prologue string // its sha256, in hex
	chunks   []mediatypes.Chunk
	dtypes   map[string]bool
}

// layerWriter encodes groups into layers. Uploads overlap with encoding.
type layerWriter struct {
	target Target
	level  codec.Level
	jobs   int
	limit  int64              // of an encoded layer
	bar    Bar                // of what is encoded
	sent   Bar                // of what goes to a registry
	froms  []Reference        // where layers may be mounted from
	store  func(func() error) // runs a commit, in the background if it can

	encoders sync.Pool // of *worker
	layers   []*layer

	cur   *layer // being written
	blob  *summed
	codec *codec.Writer
}

// worker is the memory of one goroutine that encodes.
type worker struct {
	enc *codec.Encoder
	dec *codec.Decoder
}

// summed is a blob that keeps the sha256 of what was last written to it: a
// codec.Writer writes a chunk in one piece.
type summed struct {
	BlobWriter
	last [sha256.Size]byte
}

func (s *summed) Write(p []byte) (n int, err error) {
	if s.last, err = s.WriteSum(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// group encodes one group.
func (w *layerWriter) group(ctx context.Context, g *group) error {
	cuts := g.cuts()
	tables, err := sharedTables(ctx, cuts)
	if err != nil {
		return err
	}
	prologue, err := codec.ReadPrologue(prologueOf(tables))
	if err != nil {
		return err
	}
	err = inOrder(ctx, w.jobs, len(cuts), func(_ context.Context, i int) (*cut, error) {
		return &cuts[i], nil
	}, func(_ int, c *cut) (*[]byte, error) {
		return w.encode(c, tables, prologue)
	}, func(i int, chunk *[]byte) error {
		defer buffers.Put(chunk)
		return w.write(ctx, g, &cuts[i], tables, *chunk)
	})
	if err != nil {
		w.abort()
		return err
	}
	return w.finish(ctx)
}

// prologueOf returns the prologue of a layer with these tables.
func prologueOf(tables *codec.Tables) io.Reader {
	var b bytes.Buffer
	if _, err := codec.NewWriter(&b, tables); err != nil {
		panic("oci: internal error: " + err.Error()) // a Buffer takes everything
	}
	return &b
}

// sharedTables makes the tables of the small tensors in cuts.
func sharedTables(ctx context.Context, cuts []cut) (*codec.Tables, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var b codec.TableBuilder
	for _, c := range cuts {
		if !c.shared || c.dtype == codec.Bytes {
			continue
		}
		for _, p := range c.pieces {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := p.load((*buf)[:p.length], 0); err != nil {
				return nil, err
			}
			b.Add(c.dtype, (*buf)[:p.length])
		}
	}
	return b.Build(), nil
}

// share is how many of the bytes of c are of p, one of its pieces.
func (c *cut) share(p *piece) int64 {
	if c.shared {
		return p.length
	}
	return c.length
}

// fill fills b with the bytes of c, those of each piece with read: (*piece).read
// or (*piece).load. sizes are the shares of the pieces.
func (c *cut) fill(b []byte, read func(p *piece, b []byte, offset int64) error) (sizes []int, err error) {
	for _, p := range c.pieces {
		n := int(c.share(p))
		if err := read(p, b[:n], c.offset); err != nil {
			return nil, err
		}
		b, sizes = b[n:], append(sizes, n)
	}
	return sizes, nil
}

// load fills b with the bytes of p from offset on.
func (p *piece) load(b []byte, offset int64) error {
	return p.in.readAt(b, p.offset+offset)
}

// read is load that checks the bytes to be those that were hashed: it reads and
// checks all of each stretch of readSize that they are part of.
func (p *piece) read(b []byte, offset int64) error {
	f, err := p.in.open()
	if err != nil {
		return fail("reading", p.in.path, err)
	}
	defer f.Close()
	for len(b) > 0 {
		first := offset - offset%readSize
		part := b[:min(len(b), int(min(readSize, p.length-first)))]
		skip := int(offset - first)
		if whole := int(min(readSize, p.length-first)); skip > 0 || len(part) < whole {
			part = make([]byte, whole) // a chunk of blocks begins or ends in it
		}
		if err := p.in.readFrom(f, part, p.offset+first); err != nil {
			return err
		}
		if xxh3.Hash(part) != p.sums[first/readSize] {
			return &Error{Op: "reading", Object: p.in.path, Offset: p.offset + first, Err: errChanged}
		}
		n := len(part)
		if &part[0] != &b[0] {
			n = copy(b, part[skip:])
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

func (w *layerWriter) encode(c *cut, tables *codec.Tables, prologue *codec.Prologue) (*[]byte, error) {
	k, _ := w.encoders.Get().(*worker)
	if k == nil {
		k = &worker{enc: codec.NewEncoder(w.level), dec: codec.NewDecoder(prologue)}
	}
	defer w.encoders.Put(k)
	k.dec.Reset(prologue)
	in, back := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer buffers.Put(in)
	defer buffers.Put(back)

	src := (*in)[:c.length]
	sizes, err := c.fill(src, (*piece).read)
	if err != nil {
		return nil, err
	}
	out := buffers.Get().(*[]byte)
	chunk, err := k.encode((*out)[:0], c, src, sizes, tables)
	if err != nil {
		return nil, c.fail(err)
	}
	if err := k.dec.Decode((*back)[:c.length], chunk); err != nil {
		return nil, c.fail(fmt.Errorf("%w: %w", errLossy, err))
	}
	if !bytes.Equal(src, (*back)[:c.length]) {
		return nil, c.fail(errLossy)
	}
	*out = chunk
	return out, nil
}

// encode appends to dst the chunk of c, whose bytes are src and whose pieces have
// these sizes.
func (k *worker) encode(dst []byte, c *cut, src []byte, sizes []int, tables *codec.Tables) ([]byte, error) {
	if c.shared {
		return k.enc.EncodeShared(dst, c.dtype, src, sizes, tables)
	}
	return k.enc.Encode(dst, c.dtype, src, c.geometry())
}

func (c *cut) fail(err error) error {
	p := c.pieces[0]
	return &Error{Op: "encoding", Object: p.in.path, Offset: p.offset + c.offset, Err: err}
}

// write appends a chunk to the current layer, or to a new one if it would grow
// too large.
func (w *layerWriter) write(ctx context.Context, g *group, c *cut, tables *codec.Tables, b []byte) error {
	if w.cur != nil && w.codec.Size()+int64(len(b))+codec.TrailerSize(len(w.cur.chunks)+1) > w.limit {
		if err := w.finish(ctx); err != nil {
			return err
		}
	}
	if w.cur == nil {
		if !c.shared {
			tables = nil
		}
		if err := w.begin(ctx, g, tables); err != nil {
			return err
		}
	}
	chunk := mediatypes.Chunk{
		Offset: w.codec.Size(), Encoded: len(b), Decoded: int(c.length),
		DecodedOffset: w.codec.DecodedSize(),
	}
	if err := w.codec.WriteChunk(b); err != nil {
		return w.unwritten(err)
	}
	chunk.SHA256 = w.blob.last
	w.cur.chunks = append(w.cur.chunks, chunk)
	at := chunk.DecodedOffset
	for _, p := range c.pieces {
		n := c.share(p)
		p.place = appendSegment(p.place, mediatypes.Segment{Layer: len(w.layers), Offset: at, Length: n})
		at += n
		if p.tensor != nil {
			w.cur.dtypes[p.tensor.Dtype] = true
		}
	}
	w.bar.Add(c.length)
	return nil
}

// appendSegment appends s, or makes the last segment longer if s continues it.
func appendSegment(list []mediatypes.Segment, s mediatypes.Segment) []mediatypes.Segment {
	if n := len(list); n > 0 && list[n-1].Layer == s.Layer && list[n-1].Offset+list[n-1].Length == s.Offset {
		list[n-1].Length += s.Length
		return list
	}
	return append(list, s)
}

func (w *layerWriter) begin(ctx context.Context, g *group, tables *codec.Tables) error {
	if len(w.layers) == mediatypes.MaxLayers-1 { // the index is one, too
		return fmt.Errorf("more than %d layers, which is what a manifest holds: use a larger layer size", mediatypes.MaxLayers)
	}
	blob, err := w.target.Create(ctx)
	if err != nil {
		return err
	}
	w.blob = &summed{BlobWriter: blob}
	w.cur = &layer{group: g, dtypes: map[string]bool{}}
	w.codec, err = codec.NewWriter(w.blob, tables)
	w.cur.prologue = blob.Digest().Encoded() // nothing else is written yet
	return w.unwritten(err)
}

// unwritten says which layer the disk did not take.
func (w *layerWriter) unwritten(err error) error {
	return fail("writing", fmt.Sprintf("layer %d", len(w.layers)), err)
}

// finish closes the current layer and has it stored.
func (w *layerWriter) finish(ctx context.Context) error {
	if w.cur == nil {
		return nil
	}
	if err := w.codec.Close(); err != nil {
		w.abort()
		return w.unwritten(err)
	}
	l, blob := w.cur, w.blob
	l.decoded = w.codec.DecodedSize()
	l.desc = ocispec.Descriptor{
		MediaType: l.group.mediaType,
		Digest:    blob.Digest(),
		Size:      w.codec.Size(),
	}
	w.layers = append(w.layers, l)
	w.cur, w.blob = nil, nil
	w.store(func() error {
		defer blob.Abort()
		if len(w.froms) > 0 {
			if there, err := obtain(ctx, w.target, l.desc, w.froms); there || err != nil {
				return err
			}
		}
		return l.commit(ctx, blob.BlobWriter, w.sent)
	})
	return nil
}

func (w *layerWriter) abort() {
	if w.blob != nil {
		_ = w.blob.Abort() // an error is on its way already
	}
	w.cur, w.blob = nil, nil
}
