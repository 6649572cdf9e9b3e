package oci

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Verify checks everything about the model ref: the digest of every manifest,
// config and layer, each layer's trailer against the index, the sha256 and the
// hash of every chunk, the MD5 and sha256 of every tensor and the sha256 of every
// file. Each layer is read once, but for chunks that a file uses out of order. It
// writes nothing.
func Verify(ctx context.Context, ref Reference, o *Options) (*VerifyResult, error) {
	start := time.Now()
	opts := o.withDefaults()
	a, err := Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if err := a.checkConfigs(ctx); err != nil {
		return nil, a.fault("verifying", err)
	}
	if err := newVerifier(a, opts).verify(ctx); err != nil {
		return nil, a.fault("verifying", err)
	}
	return &VerifyResult{
		Ref: ref.String(), Digest: a.Descriptor.Digest, Layers: len(a.Layers),
		Files: len(a.Index.Files), Tensors: len(a.Index.Tensors), Decoded: a.decodedSize(),
		Seconds: time.Since(start).Seconds(),
	}, nil
}

// checkConfigs checks that each config names the layers of its manifest.
func (a *Artifact) checkConfigs(ctx context.Context) error {
	for _, m := range a.manifests {
		if m.Config.Size > mediatypes.MaxConfigSize {
			return corruptObject("config "+m.Config.Digest.String(), "size %d, the most is %d", m.Config.Size, mediatypes.MaxConfigSize)
		}
		raw, err := readWhole(ctx, a.src, m.Config)
		if err != nil {
			return fail("reading", "config "+m.Config.Digest.String(), err)
		}
		config, err := mediatypes.ParseConfig(raw, m.Config)
		if err != nil {
			return err
		}
		same := slices.EqualFunc(config.RootFS.DiffIDs, m.Layers, func(id digest.Digest, d ocispec.Descriptor) bool { return id == d.Digest })
		if !same {
			return corruptObject("config "+m.Config.Digest.String(), "its diff_ids are not the digests of the layers")
		}
	}
	return nil
}

// step names a chunk.
type step struct{ layer, chunk int }

// A use is a run of bytes of a chunk that come next in a file.
type use struct {
	step
	from, length int
	file         int
}

// fetched is a chunk on its way to be decoded; one that has more uses to come is
// decoded already.
type fetched struct {
	encoded *[]byte
	decoded []byte
}

// result is the bytes of a use; buf goes back to buffers.
type result struct {
	b   []byte
	buf *[]byte
}

// verifier reads the files of a model in order, without writing them. Its
// methods but decode run in one goroutine at a time.
type verifier struct {
	a       *Artifact
	opts    *Options
	ctx     context.Context // of the readers: they outlive the stages of inOrder
	readers []*layerReader
	awake   []*layerReader // those that are open, the one that was used last at the end
	uses    []use

	left    map[step]int    // uses to come, of every chunk that has any
	held    map[step][]byte // chunks with uses to come, decoded, while memory allows
	heldSum int
	dec     *codec.Decoder
	pool    sync.Pool // of *codec.Decoder
}

func newVerifier(a *Artifact, o *Options) *verifier {
	return &verifier{
		a: a, opts: o, readers: make([]*layerReader, len(a.Index.Layers)),
		left: map[step]int{}, held: map[step][]byte{}, dec: codec.NewDecoder(nil),
	}
}

// maxHeld bounds the decoded chunks that are kept for later use. What does not
// fit is read again.
const maxHeld = 64 << 20

// maxAwake bounds the layers that are read at once, where the tensors of many take
// turns in a file: each takes a connection, and up to 4 MB of what came over it.
const maxAwake = 32

func (v *verifier) verify(ctx context.Context) error {
	v.ctx = ctx
	defer func() {
		for _, l := range v.readers {
			if l != nil {
				l.drop()
			}
		}
	}()
	if err := v.plan(); err != nil {
		return err
	}
	bar := v.opts.Progress.Begin("verifying", v.a.decodedSize())
	defer bar.End()
	sums := newSums(v.a.Index)
	err := inOrder(ctx, v.opts.Jobs, len(v.uses), v.fetch, v.decode, func(i int, r result) error {
		bar.Add(int64(len(r.b)))
		if r.buf != nil {
			defer buffers.Put(r.buf)
		}
		return sums.add(v.uses[i].file, r.b)
	})
	if err != nil {
		return err
	}
	if err := sums.end(); err != nil {
		return err
	}
	return v.rest(ctx)
}

// plan lists which chunks the files need, in the order of the files.
func (v *verifier) plan() error {
	tables := make([][]mediatypes.Chunk, len(v.a.Index.Layers))
	for i, f := range v.a.Index.Files {
		for _, s := range f.Segments {
			chunks := tables[s.Layer]
			if chunks == nil {
				var err error
				if chunks, err = v.a.Index.ChunkTable(s.Layer); err != nil {
					return err
				}
				tables[s.Layer] = chunks
			}
			for r := range runs(chunks, s) {
				if len(v.uses) == maxUses {
					return errUses(s.Layer)
				}
				v.uses = append(v.uses, use{step{s.Layer, r.chunk}, r.from, r.length, i})
			}
		}
	}
	for _, u := range v.uses {
		v.left[u.step]++
	}
	return nil
}

// fetch reads the chunk of use i.
func (v *verifier) fetch(ctx context.Context, i int) (fetched, error) {
	s := v.uses[i].step
	v.left[s]--
	if b, ok := v.held[s]; ok {
		if v.left[s] == 0 {
			delete(v.held, s)
			v.heldSum -= len(b)
		}
		return fetched{decoded: b}, nil
	}
	l, err := v.reader(s.layer)
	if err != nil {
		return fetched{}, err
	}
	buf := buffers.Get().(*[]byte)
	if s.chunk < l.next {
		*buf, err = l.again(ctx, s.chunk, *buf)
	} else {
		err = v.advance(ctx, l, s.chunk, buf)
	}
	if err != nil {
		return fetched{}, err
	}
	size := l.chunks[s.chunk].Decoded
	if v.left[s] == 0 || v.heldSum+size > maxHeld {
		return fetched{encoded: buf}, nil
	}
	defer buffers.Put(buf)
	b := make([]byte, size)
	if err := v.decodeChunk(v.dec, l, s.chunk, b, *buf); err != nil {
		return fetched{}, err
	}
	v.held[s] = b
	v.heldSum += size
	return fetched{decoded: b}, nil
}

// reader returns the reader of layer i, which it opens once.
func (v *verifier) reader(i int) (*layerReader, error) {
	if v.readers[i] == nil {
		var err error
		if v.readers[i], err = v.a.openLayer(v.ctx, i, whole); err != nil {
			return nil, err
		}
	}
	return v.readers[i], nil
}

// wake sees to it that l is open, and that not too many others are.
func (v *verifier) wake(l *layerReader) error {
	if i := slices.Index(v.awake, l); i >= 0 {
		v.awake = slices.Delete(v.awake, i, i+1)
	} else if len(v.awake) == maxAwake {
		v.awake[0].drop()
		v.awake = slices.Delete(v.awake, 0, 1)
	}
	v.awake = append(v.awake, l)
	return l.wake(v.ctx)
}

// advance reads the layer up to and with chunk n, which is left in buf, and
// decodes the chunks that no file uses. After the last chunk it checks the layer
// as a whole.
func (v *verifier) advance(ctx context.Context, l *layerReader, n int, buf *[]byte) (err error) {
	if err := v.wake(l); err != nil {
		return err
	}
	out := buffers.Get().(*[]byte)
	defer buffers.Put(out)
	for l.next <= n {
		if err := ctx.Err(); err != nil {
			return err
		}
		i := l.next
		if *buf, err = l.read(*buf); err != nil {
			return err
		}
		if _, used := v.left[step{l.layer, i}]; used {
			continue
		}
		if err := v.decodeChunk(v.dec, l, i, (*out)[:l.chunks[i].Decoded], *buf); err != nil {
			return err
		}
	}
	if l.next == len(l.chunks) {
		return l.end()
	}
	return nil
}

// decodeChunk decodes chunk i of l, which is encoded, to dst.
func (v *verifier) decodeChunk(dec *codec.Decoder, l *layerReader, i int, dst, encoded []byte) error {
	dec.Reset(l.prologue)
	return v.a.layerFault("decoding", l.layer, l.chunks[i].Offset, dec.Decode(dst, encoded))
}

// decode decodes what fetch has fetched.
func (v *verifier) decode(i int, f fetched) (result, error) {
	u := v.uses[i]
	if f.decoded != nil {
		return result{b: f.decoded[u.from : u.from+u.length]}, nil
	}
	defer buffers.Put(f.encoded)
	l := v.readers[u.layer]
	dec, _ := v.pool.Get().(*codec.Decoder)
	if dec == nil {
		dec = codec.NewDecoder(l.prologue)
	}
	defer v.pool.Put(dec)
	buf := buffers.Get().(*[]byte)
	b := (*buf)[:l.chunks[u.chunk].Decoded]
	if err := v.decodeChunk(dec, l, u.chunk, b, *f.encoded); err != nil {
		return result{}, err
	}
	return result{b[u.from : u.from+u.length], buf}, nil
}

// rest reads what no file uses, so that every layer is checked whole.
func (v *verifier) rest(ctx context.Context) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for i := range v.readers {
		l, err := v.reader(i)
		if err != nil {
			return err
		}
		if err := v.advance(ctx, l, len(l.chunks)-1, buf); err != nil {
			return err
		}
	}
	return nil
}
