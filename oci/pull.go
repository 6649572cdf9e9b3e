package oci

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/codec"
)

// Pull writes the files of the model ref, or those that o selects, to directory dir,
// which it makes if it must. Layers are decoded while they arrive, several at a
// time. Every chunk is checked against the index and its own hash, every opaque file
// by its sha256; o.Verify checks each tensor and file as well.
//
// Only what is missing is fetched: files and tensors that an older version in dir
// has are kept, and what an interrupted pull has left there is gone on with. Files
// are written in a work directory in dir and renamed when all of them are whole and
// on disk, so that an error leaves the files in dir as they were; a file of the same
// name is replaced.
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
		p.files, err = a.choose(ctx, &o.Selection, opts.Warn)
	}
	if err == nil {
		err = p.pull(ctx, dir, o.String())
	}
	if err != nil {
		return nil, a.fault("pulling", err)
	}
	return &PullResult{
		Ref: ref.String(), Digest: a.Descriptor.Digest, Files: len(p.files),
		Decoded: p.size(), Encoded: a.encodedSize(), Fetched: p.fetched(), Verified: o.Verify,
		Seconds: time.Since(start).Seconds(),
	}, nil
}

type puller struct {
	a      *Artifact
	opts   *Options
	verify bool
	bar    Bar

	files []wanted
	old   []inPlace    // what the target has of them
	jobs  []*layerJob  // what is to be read of each layer
	tmp   *workDir     // where files are written
	notes *journal     // of the chunks that are
	locks []sync.Mutex // of files, for those who write
	slots chan *slot   // memory for chunks in flight

	discard bool // the work directory holds what must not be used
}

// slot is the memory for one chunk in flight.
type slot struct {
	encoded []byte
	decoded []byte
	dec     *codec.Decoder
}

// size is the size of all files.
func (p *puller) size() (n int64) {
	for i := range p.files {
		n += p.files[i].Size
	}
	return n
}

// chunks is how many chunks the model has.
func (p *puller) chunks() (n int) {
	for i := range p.a.Index.Layers {
		n += p.a.Index.Layers[i].Chunks
	}
	return n
}

// fetched is how many bytes of layers were fetched.
func (p *puller) fetched() (n int64) {
	for i, j := range p.jobs {
		if b := j.bytes(); b > 0 {
			n += b + p.overhead(i)
		}
	}
	return n
}

func (p *puller) pull(ctx context.Context, dir, selection string) (err error) {
	for i := range p.files {
		if inWorkDir(p.files[i].Path) {
			return corruptObject(strconv.Quote(p.files[i].Path), "directories named %s* belong to pulls themselves", workPrefix)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fail("writing", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail("writing", dir, err)
	}
	defer root.Close()
	for i := range p.files {
		if err := hasRoom(root, filepath.FromSlash(p.files[i].Path)); err != nil {
			return fail("writing", p.files[i].Path, err)
		}
	}
	if err := p.compare(ctx, root); err != nil {
		return err
	}
	if p.tmp, err = newWorkDir(root, p.id(selection)); err != nil {
		return fail("writing", dir, err)
	}
	defer func() { p.leave(dir, err) }()
	if err := p.prepare(ctx, root, dir); err != nil {
		return err
	}
	if err := p.fetch(ctx); err != nil {
		return err
	}
	if err := p.check(ctx); err != nil {
		p.discard = errors.Is(err, ErrCorrupt)
		return err
	}
	return p.publish(ctx, root)
}

// id names the work directory: another version, or another part of the model, is
// another pull.
func (p *puller) id(selection string) string {
	index := p.a.Layers[len(p.a.Layers)-1].Digest
	sum := sha256.Sum256([]byte(index.String() + selection))
	return hex.EncodeToString(sum[:16])
}

// leave removes the work directory, or keeps it if the next pull can go on there.
func (p *puller) leave(dir string, err error) {
	if p.notes != nil {
		_ = p.notes.close()
	}
	if err == nil || p.discard || p.notes == nil || p.notes.empty() {
		p.tmp.remove()
		return
	}
	p.opts.Warn(fmt.Sprintf("what was fetched is kept in %s: the same pull goes on from there, and oras-bsm gc %s removes it", filepath.Join(dir, p.tmp.name), dir))
	p.tmp.keep()
}

// prepare creates the files, with what the target has of them, and finds out what is
// missing.
func (p *puller) prepare(ctx context.Context, root *os.Root, dir string) (err error) {
	var notes map[step]uint64
	if p.notes, notes, err = openJournal(p.tmp.Root, 2*p.chunks()); err != nil { // some may be noted anew
		return fail("writing", dir, err)
	}
	if err := p.checkRoom(dir); err != nil {
		return fail("writing", dir, err)
	}
	for i := range p.files {
		if p.old[i].whole {
			continue
		}
		err := p.with(i, os.O_CREATE, func(w *os.File) error {
			if err := w.Truncate(p.files[i].Size); err != nil {
				return err
			}
			_, err := w.WriteAt(p.files[i].head, 0)
			return err
		})
		if err != nil {
			return err
		}
		if err := p.takeOver(ctx, root, i); err != nil {
			return err
		}
	}
	if err := p.plan(); err != nil {
		return err
	}
	return p.resume(ctx, notes)
}

// checkRoom reports whether what is to be written fits on the disk, beside what an
// earlier pull has written.
func (p *puller) checkRoom(dir string) error {
	var need int64
	for i := range p.files {
		if p.old[i].whole {
			continue
		}
		need += p.files[i].Size
		if info, err := p.tmp.Stat(partName(i)); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				need -= min(p.files[i].Size, stat.Blocks*512)
			}
		}
	}
	return checkSpace(dir, need)
}

// fetch fetches what is missing of all layers.
func (p *puller) fetch(ctx context.Context) error {
	p.bar = p.opts.Progress.Begin("pulling", p.a.encodedSize()-p.a.Layers[len(p.a.Layers)-1].Size)
	defer p.bar.End()
	p.locks = make([]sync.Mutex, len(p.files))
	p.slots = make(chan *slot, 2*p.opts.Jobs)
	for range cap(p.slots) {
		p.slots <- &slot{}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, p.opts.Jobs))
	for i, j := range p.jobs {
		n := j.bytes()
		if n == 0 {
			p.bar.Skip(p.a.Layers[i].Size)
			continue
		}
		p.bar.Skip(p.a.Layers[i].Size - n - p.overhead(i))
		g.Go(func() error {
			item := p.bar.Item(p.a.layerName(i), n+p.overhead(i))
			defer item.End()
			return p.layer(ctx, i, item)
		})
	}
	return g.Wait()
}

// overhead is the size of what is not chunks in layer i: the prologue and the
// trailer.
func (p *puller) overhead(i int) int64 {
	n := p.a.Layers[i].Size
	for _, c := range p.jobs[i].chunks {
		n -= int64(c.Encoded)
	}
	return n
}

// layerName is what layer i is called: "model.layers 3".
func (a *Artifact) layerName(i int) string {
	l := &a.Index.Layers[i]
	if l.Block == nil {
		return layerName(l.MediaType, block{})
	}
	return layerName(l.MediaType, block{l.Stack, *l.Block})
}

// partName is the name of file i while it is written.
func partName(i int) string { return fmt.Sprintf("%06d", i) }

// with opens file i, while it is written, for do. Files are open only so long: a
// model may have more of them than a process may have open.
func (p *puller) with(i, flag int, do func(*os.File) error) error {
	w, err := p.tmp.OpenFile(partName(i), os.O_RDWR|flag, 0o600)
	if err != nil {
		return fail("writing", p.files[i].Path, err)
	}
	return fail("writing", p.files[i].Path, errors.Join(do(w), w.Close()))
}

// layer reads what is needed of a layer, in runs of chunks that follow each other.
func (p *puller) layer(ctx context.Context, i int, bar Bar) error {
	j := p.jobs[i]
	first, last := j.run(0)
	upTo := 0
	if first == 0 {
		upTo = last
	}
	l, err := p.a.openLayer(ctx, i, upTo)
	if err != nil {
		return err
	}
	defer func() { l.drop() }()
	g, ctx := errgroup.WithContext(ctx)
	for ; err == nil && first < last; first, last = j.run(last) {
		if first != l.next {
			if err = l.jump(ctx, first, last, j.end()); err != nil {
				break
			}
		}
		err = p.run(ctx, g, l, last, bar)
	}
	stopped := ctx.Err()
	// What a decoder found comes first: it is what ended the reading.
	if err := cmp.Or(g.Wait(), err, stopped); err != nil {
		return err
	}
	bar.Add(p.overhead(i))
	return nil
}

// run reads chunks up to last and hands them to decoders.
func (p *puller) run(ctx context.Context, g *errgroup.Group, l *layerReader, last int, bar Bar) (err error) {
	for l.next < last {
		n := l.next
		s := p.slot(ctx)
		if s == nil {
			return nil // a decoder has failed, or the caller gave up
		}
		if s.encoded, err = l.read(s.encoded); err != nil {
			p.slots <- s
			return err
		}
		g.Go(func() error {
			defer func() { p.slots <- s }()
			return p.decode(l, n, s, bar)
		})
	}
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

// decode decodes chunk n, writes it to where it belongs and notes it.
func (p *puller) decode(l *layerReader, n int, s *slot, bar Bar) error {
	c := &l.chunks[n]
	bar.Add(int64(c.Encoded))
	if s.dec == nil {
		s.dec = codec.NewDecoder(l.prologue)
	}
	s.dec.Reset(l.prologue)
	s.decoded = slices.Grow(s.decoded[:0], c.Decoded)[:c.Decoded]
	if err := s.dec.Decode(s.decoded, s.encoded); err != nil {
		return p.a.layerFault("decoding", l.layer, c.Offset, err)
	}
	var h xxh3.Hasher
	to := p.jobs[l.layer].scatters[n]
	for len(to) > 0 {
		n := 1 // places in the same file
		for n < len(to) && to[n].file == to[0].file {
			n++
		}
		if err := p.scatter(s.decoded, to[:n]); err != nil {
			return err
		}
		for _, t := range to[:n] {
			t.sum(&h, s.decoded[t.from:t.from+t.length])
		}
		to = to[n:]
	}
	return fail("writing", p.tmp.name, p.notes.note(step{l.layer, n}, h.Sum64()))
}

// scatter writes parts of a decoded chunk to one file.
func (p *puller) scatter(decoded []byte, to []scatter) error {
	// The kernel lets one write into a file at a time, and has the others spin.
	lock := &p.locks[to[0].file]
	lock.Lock()
	defer lock.Unlock()
	return p.with(to[0].file, 0, func(w *os.File) error {
		for _, t := range to {
			if _, err := w.WriteAt(decoded[t.from:t.from+t.length], t.offset); err != nil {
				return &Error{Op: "writing", Object: p.files[t.file].Path, Offset: t.offset, Err: err}
			}
		}
		return nil
	})
}
