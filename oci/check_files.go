package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// CheckFiles compares the files in dir with those of the model ref, by size and
// sha256. Of the model it reads the manifests and the index alone. That files are
// missing or changed is not an error of CheckFiles: FilesResult.Err tells.
func CheckFiles(ctx context.Context, ref Reference, dir string, o *Options) (*FilesResult, error) {
	start := time.Now()
	opts := o.withDefaults()
	a, err := Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	c := &filesCheck{index: a.Index, FilesResult: FilesResult{
		Ref: ref.String(), Digest: a.Descriptor.Digest, Files: len(a.Index.Files),
		Missing: []string{}, Changed: []FileFault{}, Extra: []string{},
	}}
	if err := c.check(ctx, dir, opts); err != nil {
		return nil, fail("checking", dir, err)
	}
	c.Seconds = time.Since(start).Seconds()
	return &c.FilesResult, nil
}

// Err is an ErrCorrupt if files are missing or changed.
func (r *FilesResult) Err() error {
	if len(r.Missing)+len(r.Changed) == 0 {
		return nil
	}
	return fail("checking", "the files", fmt.Errorf("%w: %d are changed, %d missing: oras-bsm repair %s DIR writes them again",
		ErrCorrupt, len(r.Changed), len(r.Missing), r.Ref))
}

// filesCheck compares files with an index.
type filesCheck struct {
	FilesResult
	index *mediatypes.Index
	files dirFiles
	mu    sync.Mutex // of the result
}

func (c *filesCheck) check(ctx context.Context, dir string, o *Options) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: no directory %s", ErrNotFound, dir)
	}
	if err != nil {
		return err
	}
	defer root.Close()
	c.files = dirFiles{root}
	var total int64
	for _, f := range c.index.Files {
		total += f.Size
	}
	bar := o.Progress.Begin("checking", total)
	defer bar.End()
	tensors := tensorsByFile(c.index)
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(o.Jobs)
	for i := range c.index.Files {
		g.Go(func() error { return c.file(groupCtx, &c.index.Files[i], tensors[i], bar) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.Sort(c.Missing)
	slices.SortFunc(c.Changed, func(a, b FileFault) int { return cmp.Compare(a.Path, b.Path) })
	return c.others(ctx)
}

// file compares one file.
func (c *filesCheck) file(ctx context.Context, f *mediatypes.File, tensors []*mediatypes.Tensor, bar Bar) error {
	part := &portion{bar, f.Size}
	defer part.End()
	fault := FileFault{Path: f.Path}
	s, err := c.files.open(filepath.FromSlash(f.Path))
	switch {
	case errors.Is(err, ErrNotFound):
		c.mu.Lock()
		defer c.mu.Unlock()
		c.Missing = append(c.Missing, f.Path)
		return nil
	case errors.Is(err, ErrCorrupt):
		fault.Problem = "not a regular file"
	case err != nil:
		return err
	default:
		defer s.Close()
		fault, err = c.compare(ctx, s, f, tensors, part)
		if errors.Is(err, io.EOF) {
			err = errShrunk
		}
		if err != nil {
			return fail("reading", f.Path, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if fault.Problem != "" {
		c.Changed = append(c.Changed, fault)
	}
	if err == nil {
		c.Bytes += min(s.size, f.Size)
	}
	return nil
}

// compare finds out whether s holds f, and if not, from which tensor on. The
// Problem of the result is empty if it does.
func (c *filesCheck) compare(ctx context.Context, s section, f *mediatypes.File, tensors []*mediatypes.Tensor, bar Bar) (FileFault, error) {
	fault := FileFault{Path: f.Path}
	if s.size == f.Size {
		sum, err := sumRange(ctx, s, 0, f.Size, bar)
		if err != nil || sum == f.SHA256 {
			return fault, err
		}
		fault.Problem = "its sha256 is " + sum + ", in the index " + f.SHA256
	} else {
		fault.Problem = fmt.Sprintf("%d bytes, in the index %d", s.size, f.Size)
	}
	for _, t := range tensors {
		if t.Offset+t.Length > s.size {
			fault.Tensor = t.Name
			return fault, nil
		}
		sum, err := sumRange(ctx, s, t.Offset, t.Length, bar)
		if err != nil {
			return fault, err
		}
		if sum != t.SHA256 {
			fault.Tensor = t.Name
			return fault, nil
		}
	}
	return fault, nil
}

// others lists the files in the directory that the model does not have.
func (c *filesCheck) others(ctx context.Context) error {
	known := make(map[string]bool, len(c.index.Files))
	for _, f := range c.index.Files {
		known[f.Path] = true
	}
	return fs.WalkDir(c.files.root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(e.Name(), workPrefix):
			return fs.SkipDir // of a pull
		case !e.IsDir() && !known[path]:
			c.Extra = append(c.Extra, path)
		}
		return ctx.Err()
	})
}
