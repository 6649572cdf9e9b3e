package oci

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// check reads the written files back: all of them when p.verify is set, else
// those without tensors, which no other check covers end to end.
func (p *puller) check(ctx context.Context) error {
	var todo []int
	var total int64
	for i := range p.files {
		if f := &p.files[i]; !p.old[i].whole && (p.verify || f.Format == "") {
			todo = append(todo, i)
			total += f.Size
		}
	}
	bar := p.opts.Progress.Begin("checking", total)
	defer bar.End()
	// Tensors come first: they are the narrower name for what is wrong.
	g, tensorCtx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	var msgs []*message
	for _, i := range todo {
		open := func() (*os.File, error) { return p.tmp.OpenFile(partName(i), os.O_RDONLY, 0) }
		for _, t := range p.files[i].tensors {
			msgs = append(msgs, checkTensor(open, &p.files[i].File, t))
		}
	}
	hashMessages(tensorCtx, g, msgs, p.opts.Jobs)
	if err := g.Wait(); err != nil {
		return err
	}
	g, ctx = errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	for _, i := range todo {
		if p.files[i].SHA256 == "" {
			bar.Add(p.files[i].Size) // it is cut: its tensors were all of it
			continue
		}
		g.Go(func() error {
			return p.with(i, 0, func(w *os.File) error { return checkFile(ctx, w, &p.files[i].File, bar) })
		})
	}
	return g.Wait()
}

// publish gives the files their modes and, once they are on disk, their names.
func (p *puller) publish(ctx context.Context, root *os.Root) error {
	if err := p.sync(ctx); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for i := range p.files {
		f := &p.files[i]
		// Those of files that are whole, too: who renamed them may have been killed.
		for dir := filepath.Dir(filepath.FromSlash(f.Path)); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		if p.old[i].whole {
			continue
		}
		if err := makeRoom(root, filepath.FromSlash(f.Path)); err != nil {
			return fail("writing", f.Path, err)
		}
	}
	for i := range p.files {
		f := &p.files[i]
		name := filepath.FromSlash(f.Path)
		if p.old[i].whole {
			if err := setMode(root, name, os.FileMode(f.Mode)); err != nil {
				return fail("writing", f.Path, err)
			}
			continue
		}
		if err := root.Rename(filepath.Join(p.tmp.name, partName(i)), name); err != nil {
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

// sync gives the written files their modes and sees to it that they are on disk.
func (p *puller) sync(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Jobs)
	var failed atomic.Bool
	for i := range p.files {
		if p.old[i].whole {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.with(i, 0, func(w *os.File) error {
				if err := w.Chmod(os.FileMode(p.files[i].Mode)); err != nil {
					return err
				}
				err := w.Sync()
				if err != nil {
					failed.Store(true)
				}
				return err
			})
		})
	}
	err := g.Wait()
	// A disk that failed once says that all is well the next time, and what it lost
	// can be read until then from memory: nothing of it may be gone on with.
	p.discard = p.discard || failed.Load()
	return err
}

// setMode gives a file that stays the mode it is to have.
func setMode(root *os.Root, name string, mode os.FileMode) error {
	info, err := root.Lstat(name)
	if err != nil || info.Mode().Perm() == mode {
		return err
	}
	return root.Chmod(name, mode)
}

// hasRoom looks, before anything is fetched, whether makeRoom will find room.
func hasRoom(root *os.Root, name string) error {
	if info, err := root.Lstat(name); err == nil && info.IsDir() {
		return unix.EISDIR
	}
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		info, err := root.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !info.IsDir() {
			err = unix.ENOTDIR
		}
		return err
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
