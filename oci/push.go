package oci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// uploads is how many layers are stored while another is encoded. Each has a
// spool file.
const uploads = 2

// Push encodes the model in directory dir and stores it under ref. Every chunk
// is decoded back and compared before its layer leaves the machine, and the tag
// is written last. The same directory gives the same digest. Files named
// *.safetensors or *.gguf that the strict parsers refuse are stored as opaque
// bytes, and o.Warn says so.
func Push(ctx context.Context, ref Reference, dir string, o *PushOptions) (*PushResult, error) {
	start := time.Now()
	if o == nil {
		o = &PushOptions{}
	}
	opts := o.withDefaults()
	if _, err := codec.ParseLevel(o.Level.String()); err != nil {
		return nil, err
	}
	if err := ref.checkOutside(dir); err != nil {
		return nil, fail("pushing to", ref.String(), err)
	}
	for _, from := range o.MountFrom {
		if !ref.sharesRegistry(from) {
			return nil, fail("pushing to", ref.String(), fmt.Errorf("layers of %s cannot be mounted: name repositories of the same registry", from))
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fail("reading", dir, err)
	}
	defer root.Close()
	ins, err := scan(root, dir, opts.Warn)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, in := range ins {
		total += in.size
	}
	bar := opts.Progress.Begin("hashing", total)
	err = hashInputs(ctx, ins, opts.Jobs, bar)
	bar.End()
	if err != nil {
		return nil, err
	}
	share(ins)

	target, err := OpenTarget(ctx, ref, &opts.StoreOptions)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	limit := o.LayerSize
	if limit <= 0 {
		limit = DefaultLayerSize
	}
	p := &pusher{target: target, opts: opts, level: o.Level, limit: limit, froms: o.MountFrom, ins: ins}
	res, err := p.push(ctx)
	if err != nil {
		return nil, err
	}
	res.Ref, res.Decoded, res.Seconds = ref.String(), total, time.Since(start).Seconds()
	return res, target.Close()
}

// checkOutside refuses a layout or archive inside the directory that is pushed: the
// next push would store it, too.
func (r Reference) checkOutside(dir string) error {
	if r.kind == kindRegistry {
		return nil
	}
	from, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	to := r.path
	if real, err := filepath.EvalSymlinks(filepath.Dir(to)); err == nil {
		to = filepath.Join(real, filepath.Base(to))
	}
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	if rel, err := filepath.Rel(from, to); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("it lies inside %s, and would be part of the model: choose a place outside", dir)
	}
	return nil
}

type pusher struct {
	target Target
	opts   *Options
	level  codec.Level
	limit  int64
	froms  []Reference // see PushOptions.MountFrom
	ins    []*input
}

func (p *pusher) push(ctx context.Context) (*PushResult, error) {
	layers, err := p.encode(ctx)
	if err != nil {
		return nil, err
	}
	for _, in := range p.ins {
		if err := in.unchanged(); err != nil {
			return nil, err
		}
	}
	index, err := p.index(ctx, layers)
	if err != nil {
		return nil, err
	}
	res, err := p.publish(ctx, append(layers, index))
	if err != nil {
		return nil, err
	}
	blocks := map[string]bool{}
	for _, l := range layers {
		if l.group.block != (block{}) {
			blocks[l.group.name()] = true
		}
	}
	res.Blocks, res.Layers = len(blocks), len(layers)+1
	for _, l := range append(layers, index) {
		res.Encoded += l.desc.Size
	}
	return res, nil
}

// name is what a block is called: "unet/model:down_blocks.3".
func (g *group) name() string {
	return fmt.Sprintf("%s:%s.%d", g.family, g.block.stack, g.block.number)
}

// encode encodes and stores all layers but the index.
func (p *pusher) encode(ctx context.Context) ([]*layer, error) {
	groups := plan(p.ins)
	var stored int64
	for _, g := range groups {
		stored += g.size
	}
	bar := p.opts.Progress.Begin("encoding", stored)
	sent := Bar(noProgress{})
	if _, far := p.target.(*registryTarget); far {
		sent = p.opts.Progress.Begin("uploading", 0) // as much as is encoded
		defer sent.End()
	}
	up, ctx := errgroup.WithContext(ctx)
	up.SetLimit(uploads)
	w := &layerWriter{
		target: p.target, level: p.level, jobs: p.opts.Jobs, limit: p.limit, froms: p.froms, bar: bar, sent: sent,
		store: func(f func() error) { up.Go(f) },
	}
	var err error
	for _, g := range groups {
		if err = w.group(ctx, g); err != nil {
			break
		}
	}
	bar.End() // uploads go on
	// An upload that broke off cancels the encoding: its error is the cause.
	if upErr := up.Wait(); upErr != nil && (err == nil || ctx.Err() != nil) {
		err = upErr
	}
	return w.layers, err
}

// index makes, encodes and stores the index layer.
func (p *pusher) index(ctx context.Context, layers []*layer) (*layer, error) {
	doc, chunks := p.document(layers)
	raw, err := mediatypes.MarshalIndex(doc, chunks)
	if err != nil {
		return nil, fmt.Errorf("writing index: %w", err)
	}
	if _, err := mediatypes.ParseIndex(raw); err != nil {
		return nil, fmt.Errorf("writing index: internal error: %w", err)
	}
	var b bytes.Buffer
	if err := encodeBytes(&b, p.level, raw); err != nil {
		return nil, fmt.Errorf("writing index: %w", err)
	}
	if err := decodesTo(b.Bytes(), raw); err != nil {
		return nil, fmt.Errorf("writing index: %w", err)
	}
	l := &layer{group: &group{mediaType: mediatypes.IndexLayer}, decoded: int64(len(raw))}
	l.desc, err = putBlob(ctx, p.target, mediatypes.IndexLayer, b.Bytes())
	return l, err
}

// encodeBytes writes b as a layer of opaque bytes.
func encodeBytes(w io.Writer, level codec.Level, b []byte) error {
	lw, err := codec.NewWriter(w, nil)
	if err != nil {
		return err
	}
	enc := codec.NewEncoder(level)
	var chunk []byte
	for len(b) > 0 {
		n := min(len(b), codec.Bytes.ChunkSize())
		if chunk, err = enc.Encode(chunk[:0], codec.Bytes, b[:n], codec.Geometry{}); err != nil {
			return err
		}
		if err := lw.WriteChunk(chunk); err != nil {
			return err
		}
		b = b[n:]
	}
	return lw.Close()
}

// decodesTo checks that a layer of opaque bytes decodes to want.
func decodesTo(encoded, want []byte) error {
	back, err := decodeBytes(bytes.NewReader(encoded), int64(len(want)))
	if err != nil {
		return fmt.Errorf("%w: %w", errLossy, err)
	}
	if !bytes.Equal(back, want) {
		return errLossy
	}
	return nil
}

// document describes the model: mediatypes/ARTIFACT.md, "The index document".
func (p *pusher) document(layers []*layer) (*mediatypes.Index, [][]mediatypes.Chunk) {
	doc := &mediatypes.Index{Version: mediatypes.IndexVersion, Level: p.level.String()}
	chunks := make([][]mediatypes.Chunk, len(layers))
	for i, l := range layers {
		chunks[i] = l.chunks
		entry := mediatypes.Layer{
			Digest: l.desc.Digest, MediaType: l.desc.MediaType,
			Encoded: l.desc.Size, Decoded: l.decoded, Chunks: len(l.chunks), Prologue: l.prologue,
		}
		if b := l.group.block; b != (block{}) {
			entry.Stack, entry.Block = b.stack, &b.number
		}
		doc.Layers = append(doc.Layers, entry)
	}
	tensors := map[*piece]int{}
	for i, in := range p.ins {
		file := mediatypes.File{Path: in.path, Size: in.size, Mode: in.mode, SHA256: in.sha256, Format: in.format}
		for _, piece := range in.pieces {
			for _, s := range piece.segments() {
				file.Segments = appendSegment(file.Segments, s)
			}
			if piece.tensor == nil {
				continue
			}
			tensors[piece] = len(doc.Tensors)
			t := mediatypes.Tensor{
				Name: piece.tensor.Name, Dtype: piece.tensor.Dtype, Shape: piece.tensor.Shape,
				File: i, Offset: piece.offset, Length: piece.length, MD5: piece.md5, SHA256: piece.sha256,
			}
			if piece.same != nil {
				same := tensors[piece.same]
				t.SharedWith = &same
			}
			doc.Tensors = append(doc.Tensors, t)
		}
		doc.Files = append(doc.Files, file)
	}
	return doc, chunks
}

// putBlob stores a small blob.
func putBlob(ctx context.Context, t Target, mediaType string, b []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	w, err := t.Create(ctx)
	if err != nil {
		return d, err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return d, err
	}
	return d, w.Commit(ctx, d)
}
