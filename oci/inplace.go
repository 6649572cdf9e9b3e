package oci

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// An older version of a model in the target of a pull, or the files of a pull that
// was ended while it renamed them, have most of what is wanted. What they hold is
// found by its hash: no state is kept in the directory, and nothing is believed.

// inPlace is what the target has of a wanted file.
type inPlace struct {
	whole   bool    // all of it, under its name
	tensors []moved // some of its tensors
}

// moved is a tensor that stands in the old file, too.
type moved struct {
	*mediatypes.Tensor       // as it is wanted
	from               int64 // its offset in the old file
}

// compare looks at the files in root that bear the names of wanted ones.
func (p *puller) compare(ctx context.Context, root *os.Root) error {
	p.old = make([]inPlace, len(p.files))
	var todo []int
	var total int64
	sizes := make([]int64, len(p.files))
	for i := range p.files {
		info, err := root.Lstat(filepath.FromSlash(p.files[i].Path))
		if err == nil && info.Mode().IsRegular() {
			todo = append(todo, i)
			sizes[i] = info.Size()
			total += info.Size()
		}
	}
	if len(todo) == 0 {
		return nil
	}
	bar := p.opts.Progress.Begin("comparing", total)
	defer bar.End()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	for _, i := range todo {
		g.Go(func() error {
			part := &portion{bar, sizes[i]}
			defer part.End()
			err := p.compareFile(ctx, root, i, part)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // it will be replaced
			}
			return fail("reading", p.files[i].Path, err)
		})
	}
	return g.Wait()
}

// compareFile finds what the old file of wanted file i has of it.
func (p *puller) compareFile(ctx context.Context, root *os.Root, i int, bar Bar) error {
	// Without O_NONBLOCK a pipe that is put there now hangs open.
	old, err := root.OpenFile(filepath.FromSlash(p.files[i].Path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	f := &p.files[i]
	if info.Size() == f.Size && f.SHA256 != "" {
		sum, err := sumRange(ctx, old, 0, f.Size, bar)
		if err != nil {
			return shrunk(err)
		}
		if sum == f.SHA256 {
			p.old[i].whole = true
			return nil
		}
	}
	for _, m := range matching(old, info.Size(), f) {
		sum, err := sumRange(ctx, old, m.from, m.Length, bar)
		if err != nil {
			return shrunk(err)
		}
		if sum == m.SHA256 {
			p.old[i].tensors = append(p.old[i].tensors, m)
		}
	}
	return nil
}

// shrunk takes the end of a file that somebody makes shorter for a file that has
// nothing of what is wanted.
func shrunk(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// matching lists the tensors of f that may stand in the old file, of size bytes: by
// name and length if it is a safetensors file, or by place.
func matching(old *os.File, size int64, f *wanted) (list []moved) {
	if len(f.tensors) == 0 {
		return nil
	}
	at := map[string]safetensors.Tensor{}
	h, err := safetensors.Parse(old, size)
	if err == nil {
		for _, t := range h.Tensors {
			at[t.Name] = t
		}
	}
	for _, t := range f.tensors {
		o, ok := at[t.Name]
		switch {
		case t.Length == 0:
		case ok && o.Length == t.Length:
			list = append(list, moved{t, o.Offset})
		case err != nil && size == f.Size && len(f.head) == 0:
			list = append(list, moved{t, t.Offset})
		}
	}
	return list
}

// takeOver copies what the target has of wanted file i. What turns out to be another
// than when it was compared is fetched instead.
func (p *puller) takeOver(ctx context.Context, root *os.Root, i int) error {
	if len(p.old[i].tensors) == 0 {
		return nil
	}
	old, err := root.OpenFile(filepath.FromSlash(p.files[i].Path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		p.old[i].tensors = nil
		return nil // it is gone: its tensors are fetched
	}
	defer old.Close()
	return p.with(i, 0, func(w *os.File) error {
		var good []moved
		for _, m := range p.old[i].tensors {
			h := sha256.New()
			to := &rangeWriter{w: w, off: m.Offset, hash: h}
			if err := copyTo(ctx, to, old, m.from, m.Length, noProgress{}); err != nil {
				if to.err != nil || ctx.Err() != nil {
					return err
				}
				continue // the old file is shorter now
			}
			if hexSum(h) == m.SHA256 {
				good = append(good, m)
			}
		}
		p.old[i].tensors = good
		return nil
	})
}
