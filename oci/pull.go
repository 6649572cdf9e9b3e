package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Pull writes the files of the model ref to directory dir, which it makes if it
// must. Layers are decoded while they arrive, several at a time. Every chunk is
// checked against the index and its own hash, every opaque file by its sha256;
// o.Verify checks each tensor and file as well. Files are written under a
// temporary name in dir and renamed when all of them are whole and on disk, so that
// an error leaves the files in dir as they were; a file of the same name is
// replaced.
func Pull(ctx context.Context, ref Reference, dir string, o *PullOptions) (*PullResult, error) {
	start := time.Now()
	if o == nil {
		o = &PullOptions{}
	}
	opts := o.withDefaults()
	a, err := Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	p := &puller{a: a, opts: opts, verify: o.Verify}
	err = a.checkConfigs(ctx)
	if err == nil {
		err = p.pull(ctx, dir)
	}
	if err != nil {
		return nil, a.fault("pulling", err)
	}
	return &PullResult{
		Ref: ref.String(), Digest: a.Descriptor.Digest, Files: len(a.Index.Files),
		Decoded: a.decodedSize(), Encoded: a.encodedSize(), Verified: o.Verify,
		Seconds: time.Since(start).Seconds(),
	}, nil
}

type puller struct {
	a      *Artifact
	opts   *Options
	verify bool
	bar    Bar

	tmp   *workDir   // where files are written
	slots chan *slot // memory for chunks in flight
}

// slot is the memory for one chunk in flight.
type slot struct {
	encoded []byte
	decoded []byte
	dec     *codec.Decoder
}

// A scatter says where a part of a decoded chunk goes.
type scatter struct {
	from, length int // in the chunk
	file         int
	offset       int64 // in the file
}

func (p *puller) pull(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fail("writing", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail("writing", dir, err)
	}
	defer root.Close()
	if err := checkSpace(dir, p.a.decodedSize()); err != nil {
		return fail("writing", dir, err)
	}
	if p.tmp, err = newWorkDir(root); err != nil {
		return fail("writing", dir, err)
	}
	defer p.tmp.remove()
	if err := p.write(ctx); err != nil {
		return err
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	return p.publish(ctx, root)
}

// write creates the files and fills them from all layers.
func (p *puller) write(ctx context.Context) error {
	for i, f := range p.a.Index.Files {
		err := p.with(i, os.O_CREATE|os.O_EXCL, func(w *os.File) error { return w.Truncate(f.Size) })
		if err != nil {
			return err
		}
	}
	p.bar = p.opts.Progress.Begin("pulling", p.a.encodedSize()-p.a.Layers[len(p.a.Layers)-1].Size)
	defer p.bar.End()
	p.slots = make(chan *slot, 2*p.opts.Jobs)
	for range cap(p.slots) {
		p.slots <- &slot{}
	}
	places := p.places()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, p.opts.Jobs))
	for i := range p.a.Index.Layers {
		g.Go(func() error { return p.layer(ctx, i, places[i]) })
	}
	return g.Wait()
}

// partName is the name of file i while it is written.
func partName(i int) string { return fmt.Sprintf("%06d", i) }

// with opens file i, while it is written, for do. Files are open only so long: a
// model may have more of them than a process may have open.
func (p *puller) with(i, flag int, do func(*os.File) error) error {
	w, err := p.tmp.OpenFile(partName(i), os.O_RDWR|flag, 0o600)
	if err != nil {
		return fail("writing", p.a.Index.Files[i].Path, err)
	}
	return fail("writing", p.a.Index.Files[i].Path, errors.Join(do(w), w.Close()))
}

// places lists for each layer where its decoded bytes go.
func (p *puller) places() [][]place {
	places := make([][]place, len(p.a.Index.Layers))
	for i, f := range p.a.Index.Files {
		at := int64(0)
		for _, s := range f.Segments {
			places[s.Layer] = append(places[s.Layer], place{s, i, at})
			at += s.Length
		}
	}
	return places
}

// place is a segment of a layer and where in which file it goes.
type place struct {
	mediatypes.Segment
	file   int
	offset int64
}

// cutPlaces cuts places in one layer to its chunks. The result has an entry for
// each chunk.
func cutPlaces(places []place, chunks []mediatypes.Chunk) ([][]scatter, error) {
	out := make([][]scatter, len(chunks))
	uses := 0
	for _, pl := range places {
		at := pl.offset
		for r := range runs(chunks, pl.Segment) {
			if uses++; uses > maxUses {
				return nil, errUses(pl.Layer)
			}
			out[r.chunk] = append(out[r.chunk], scatter{r.from, r.length, pl.file, at})
			at += int64(r.length)
		}
	}
	return out, nil
}

// layer reads a layer and hands its chunks to decoders.
func (p *puller) layer(ctx context.Context, i int, places []place) error {
	l, err := p.a.openLayer(ctx, i, false)
	if err != nil {
		return err
	}
	defer l.drop()
	scatters, err := cutPlaces(places, l.chunks)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for n := range l.chunks {
		s := p.slot(ctx)
		if s == nil {
			break // a decoder has failed, or the caller gave up
		}
		if s.encoded, err = l.read(s.encoded); err != nil {
			p.slots <- s
			break
		}
		g.Go(func() error {
			defer func() { p.slots <- s }()
			return p.decode(l, n, s, scatters[n])
		})
	}
	stopped := ctx.Err()
	if err := cmp.Or(err, g.Wait(), stopped); err != nil {
		return err
	}
	p.bar.Add(l.overhead())
	return nil
}

// slot waits for memory for a chunk. It returns nil when ctx ends first.
func (p *puller) slot(ctx context.Context) *slot {
	select {
	case s := <-p.slots:
		return s
	case <-ctx.Done():
		return nil
	}
}

// decode decodes chunk n and writes it to where it belongs.
func (p *puller) decode(l *layerReader, n int, s *slot, to []scatter) error {
	c := &l.chunks[n]
	p.bar.Add(int64(c.Encoded))
	if s.dec == nil {
		s.dec = codec.NewDecoder(l.prologue)
	}
	s.dec.Reset(l.prologue)
	s.decoded = slices.Grow(s.decoded[:0], c.Decoded)[:c.Decoded]
	if err := s.dec.Decode(s.decoded, s.encoded); err != nil {
		return p.a.layerFault("decoding", l.layer, c.Offset, err)
	}
	for len(to) > 0 {
		n := 1 // places in the same file
		for n < len(to) && to[n].file == to[0].file {
			n++
		}
		if err := p.scatter(s.decoded, to[:n]); err != nil {
			return err
		}
		to = to[n:]
	}
	return nil
}

// scatter writes parts of a decoded chunk to one file.
func (p *puller) scatter(decoded []byte, to []scatter) error {
	return p.with(to[0].file, 0, func(w *os.File) error {
		for _, t := range to {
			if _, err := w.WriteAt(decoded[t.from:t.from+t.length], t.offset); err != nil {
				return &Error{Op: "writing", Object: p.a.Index.Files[t.file].Path, Offset: t.offset, Err: err}
			}
		}
		return nil
	})
}

// check reads the written files back: all of them when p.verify is set, else
// those without tensors, which no other check covers end to end.
func (p *puller) check(ctx context.Context) error {
	var todo []int
	var total int64
	for i, f := range p.a.Index.Files {
		if p.verify || f.Format == "" {
			todo = append(todo, i)
			total += f.Size
		}
	}
	bar := p.opts.Progress.Begin("checking", total)
	defer bar.End()
	tensors := tensorsByFile(p.a.Index)
	// Tensors come first: they are the narrower name for what is wrong.
	g, tensorCtx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	var msgs []*message
	for _, i := range todo {
		open := func() (*os.File, error) { return p.tmp.OpenFile(partName(i), os.O_RDONLY, 0) }
		for _, t := range tensors[i] {
			msgs = append(msgs, checkTensor(open, &p.a.Index.Files[i], t))
		}
	}
	hashMessages(tensorCtx, g, msgs, p.opts.Jobs)
	if err := g.Wait(); err != nil {
		return err
	}
	g, ctx = errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	for _, i := range todo {
		g.Go(func() error {
			return p.with(i, 0, func(w *os.File) error { return checkFile(ctx, w, &p.a.Index.Files[i], bar) })
		})
	}
	return g.Wait()
}

// publish gives the files their modes and, once they are on disk, their names.
func (p *puller) publish(ctx context.Context, root *os.Root) error {
	g, syncCtx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	for i, f := range p.a.Index.Files {
		g.Go(func() error {
			if err := syncCtx.Err(); err != nil {
				return err
			}
			return p.with(i, 0, func(w *os.File) error {
				return errors.Join(w.Chmod(os.FileMode(f.Mode)), w.Sync())
			})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, f := range p.a.Index.Files {
		if err := makeRoom(root, filepath.FromSlash(f.Path)); err != nil {
			return fail("writing", f.Path, err)
		}
		dirs[filepath.Dir(filepath.FromSlash(f.Path))] = true
	}
	for i, f := range p.a.Index.Files {
		if err := root.Rename(filepath.Join(p.tmp.name, partName(i)), filepath.FromSlash(f.Path)); err != nil {
			return fail("writing", f.Path, err)
		}
	}
	for dir := range dirs {
		if err := syncDir(root.Open(dir)); err != nil {
			return fail("writing", dir, err)
		}
	}
	return nil
}

// makeRoom does for file name what can fail before the first file is renamed: it
// makes its directory, and looks whether a directory is in its place.
func makeRoom(root *os.Root, name string) error {
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	info, err := root.Lstat(name)
	if err == nil && info.IsDir() {
		return unix.EISDIR
	}
	return nil
}
