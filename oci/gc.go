package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// GC removes from the layout ref the blobs that no entry of index.json reaches,
// the temporary files of writers that died and the damaged blobs that Repair has
// moved aside. With dryRun it only counts them. Nothing is removed while somebody
// writes to the layout, and nothing if a manifest in use cannot be read: what it
// names is not known. A process killed at any point leaves every tag whole.
func GC(ctx context.Context, ref Reference, dryRun bool) (*GCResult, error) {
	c := &collector{GCResult: GCResult{Ref: ref.storeName(), DryRun: dryRun}}
	if err := c.collect(ctx, ref); err != nil {
		return nil, fail("collecting garbage in", ref.storeName(), err)
	}
	return &c.GCResult, nil
}

// collector removes files and counts them.
type collector struct {
	GCResult
	root *os.Root
}

func (c *collector) collect(ctx context.Context, ref Reference) error {
	f, err := openStore(ref)
	if err != nil {
		return err
	}
	defer f.Close()
	layout, ok := f.(dirFiles)
	if !ok {
		return errors.New("an archive holds nothing to remove: it is written as a whole")
	}
	lock, err := lockWriters(layout.root)
	if err != nil {
		return err
	}
	defer lock.Close()
	g, err := readInUse(ctx, layout)
	if err != nil {
		return err
	}
	blobs, rest, err := listBlobs(layout)
	if err != nil {
		return err
	}
	top, err := layout.list(".")
	if err != nil {
		return err
	}
	maps.Copy(rest, top)
	maps.DeleteFunc(rest, func(name string, _ int64) bool { return !isTemporary(name) })
	maps.DeleteFunc(blobs, func(d digest.Digest, _ int64) bool {
		_, used := g.nodes[d]
		if used {
			c.Kept++
		}
		return used
	})
	c.root = layout.root
	return c.sweep(ctx, rest, blobs, topDown(layout, blobs))
}

// sweep removes temporary files, then blobs in their order.
func (c *collector) sweep(ctx context.Context, temporary map[string]int64, blobs map[digest.Digest]int64, order []digest.Digest) error {
	for _, name := range slices.Sorted(maps.Keys(temporary)) {
		if err := c.remove(ctx, name, temporary[name]); err != nil {
			return err
		}
		c.Temporary++
	}
	for _, d := range order {
		if err := c.remove(ctx, blobPath(d), blobs[d]); err != nil {
			return err
		}
		c.Blobs++
	}
	return nil
}

// remove removes a file or a directory of size bytes.
func (c *collector) remove(ctx context.Context, name string, size int64) error {
	err := ctx.Err()
	if err == nil && !c.DryRun {
		err = c.root.RemoveAll(name)
	}
	if err == nil {
		c.Bytes += size
	}
	return err
}

// lockWriters takes the writers' lock of a layout for itself alone. The caller
// closes it.
func lockWriters(root *os.Root) (*flock.Flock, error) {
	path, err := filepath.Abs(root.Name())
	if err != nil {
		return nil, err
	}
	lock, err := (&layoutTarget{dirFiles: dirFiles{root}, path: path}).lockFile(writersLock)
	if err != nil {
		return nil, err
	}
	ok, err := lock.TryLock()
	if err == nil && !ok {
		err = errors.New("somebody is writing to it, a push or a copy: try again when that has ended")
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// readInUse reads the graph of what is in use. It must know all of it.
func readInUse(ctx context.Context, f files) (*graph, error) {
	g, err := readStore(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, n := range g.order {
		if n.err != nil {
			return nil, fmt.Errorf("nothing is removed, because a manifest that %s needs cannot be read, %s: %w: oras-bsm check says more",
				strings.Join(n.users(), ", "), n.Digest, n.err)
		}
	}
	return g, nil
}

// topDown sorts blobs so that manifests come before what they name: if the work is
// cut short, none stays without its parts.
func topDown(f files, blobs map[digest.Digest]int64) []digest.Digest {
	rank := map[digest.Digest]int{}
	for d, size := range blobs {
		rank[d] = 2
		if size > mediatypes.MaxManifestSize {
			continue
		}
		raw, err := readFile(f, blobPath(d), mediatypes.MaxManifestSize)
		if err != nil {
			continue
		}
		switch t, err := manifestType("", raw); {
		case err != nil:
		case t == ocispec.MediaTypeImageIndex, t == dockerManifestList:
			rank[d] = 0
		default:
			rank[d] = 1
		}
	}
	return slices.SortedFunc(maps.Keys(blobs), func(a, b digest.Digest) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b))
	})
}

// GCDir removes from dir, which models were pulled to, what interrupted pulls left
// and nobody is at work on. With dryRun it only counts that.
func GCDir(ctx context.Context, dir string, dryRun bool) (*GCResult, error) {
	c := &collector{GCResult: GCResult{Ref: dir, DryRun: dryRun}}
	if err := c.collectWork(ctx, dir); err != nil {
		return nil, fail("collecting garbage in", dir, err)
	}
	return &c.GCResult, nil
}

func (c *collector) collectWork(ctx context.Context, dir string) error {
	var err error
	if c.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	defer c.root.Close()
	if _, err := c.root.Lstat(ocispec.ImageLayoutFile); err == nil {
		return fmt.Errorf("it is an OCI layout: name it %s", layoutPrefix+dir)
	}
	entries, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workPrefix) {
			continue
		}
		lock, err := lockDir(c.root, e.Name())
		if err != nil {
			continue // somebody works there, or it has gone
		}
		size, err := diskUse(c.root, e.Name())
		if err == nil {
			err = c.remove(ctx, e.Name(), size)
		}
		if err := errors.Join(err, lock.Close()); err != nil {
			return err
		}
		c.Temporary++
	}
	return nil
}

// diskUse is how many bytes the files below dir take on the disk. Files of a pull
// have their full size from the start, with holes.
func diskUse(root *os.Root, dir string) (n int64, err error) {
	err = fs.WalkDir(root.FS(), dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			n += st.Blocks * 512
		}
		return nil
	})
	return n, err
}
