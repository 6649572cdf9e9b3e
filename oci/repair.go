package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// Repair checks the layout to as Check does, moves damaged blobs aside, and fetches
// them and the missing ones from the repository, layout or archive of ref. Blobs
// are named by their digests, so it does not matter what else is there, nor under
// which tag. What ref does not have is no error of Repair: RepairResult.Err tells.
// The damaged bytes stay until GC, under names that nothing reads.
func Repair(ctx context.Context, ref, to Reference, o *Options) (*RepairResult, error) {
	start := time.Now()
	m := &mender{from: ref, to: to, opts: o.withDefaults(), RepairResult: RepairResult{
		Ref: ref.String(), Store: to.storeName(), Left: []BlobFault{},
	}}
	if err := m.repair(ctx); err != nil {
		return nil, fail("repairing", to.storeName(), err)
	}
	m.Seconds = time.Since(start).Seconds()
	return &m.RepairResult, nil
}

// Err is an ErrCorrupt if something could not be mended.
func (r *RepairResult) Err() error {
	if len(r.Left) == 0 {
		return nil
	}
	return fail("repairing", r.Store, fmt.Errorf("%w: %d blobs are not in %s: try another reference, or push anew", ErrCorrupt, len(r.Left), r.Ref))
}

type mender struct {
	from, to Reference
	opts     *Options
	mu       sync.Mutex // of the result
	RepairResult
}

func (m *mender) repair(ctx context.Context) error {
	if m.to.kind == kindArchive {
		return errors.New("an archive is written as a whole: copy it anew, oras-bsm copy REF oci-archive:FILE:TAG")
	}
	found, err := checkStore(ctx, m.to, m.opts, Subset{})
	if err != nil {
		return err
	}
	m.Damaged, m.Missing = len(found.Damaged), len(found.Missing)
	if m.Damaged+m.Missing == 0 {
		return nil
	}
	// Before anything is moved aside: from nowhere nothing comes.
	src, err := OpenSource(ctx, m.from, &m.opts.StoreOptions)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := m.quarantine(ctx, found.Damaged); err != nil {
		return err
	}
	dst, err := OpenTarget(ctx, m.to, &m.opts.StoreOptions)
	if err != nil {
		return err
	}
	return errors.Join(m.fetch(ctx, src, dst), dst.Close())
}

// quarantine renames the damaged blobs. They are hashed again while nobody else
// writes: a push may have mended one meanwhile.
func (m *mender) quarantine(ctx context.Context, damaged []BlobFault) error {
	f, err := openStore(m.to)
	if err != nil {
		return err
	}
	defer f.Close()
	root := f.(dirFiles).root
	lock, err := lockWriters(root)
	if err != nil {
		return err
	}
	defer lock.Close()
	for _, b := range damaged {
		err := hashBlob(ctx, f, b.Digest, noProgress{})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || errors.Is(err, ErrNotFound) {
			continue
		}
		name := blobPath(b.Digest)
		err = root.Rename(name, path.Dir(name)+"/"+badPrefix+b.Digest.Encoded())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.Quarantined++
	}
	return nil
}

// fetch fetches what the layout lacks, manifests before what they name, because
// what those of a manifest that is missing are is not known yet.
func (m *mender) fetch(ctx context.Context, src Source, dst Target) error {
	f, err := openStore(m.to)
	if err != nil {
		return err
	}
	defer f.Close()
	left := map[digest.Digest]BlobFault{}
	for range maxDepth + 3 { // indexes, manifest, blobs, and a last look
		lacks, err := m.lacks(ctx, f, dst, left)
		if err != nil {
			return err
		}
		if len(lacks) == 0 {
			break
		}
		if err := m.fetchAll(ctx, src, dst, lacks, left); err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(left)) {
		m.Left = append(m.Left, left[d])
	}
	return nil
}

// lacks lists what the entries of the layout name and is not there. It adds to left
// what is there and nevertheless no manifest, and leaves out what is in left.
func (m *mender) lacks(ctx context.Context, f files, dst Target, left map[digest.Digest]BlobFault) ([]*node, error) {
	g, err := readStore(ctx, f)
	if err != nil {
		return nil, err
	}
	var out []*node
	for _, n := range g.order {
		there, err := dst.Has(ctx, n.Descriptor)
		if err != nil {
			return nil, err
		}
		_, given := left[n.Digest]
		switch {
		case given, len(n.URLs) > 0:
		case !there:
			out = append(out, n)
		case n.err != nil && !errors.Is(n.err, errUnknownType):
			left[n.Digest] = n.fault(n.err)
		}
	}
	return out, nil
}

// fetchAll fetches blobs and manifests, and adds to left what src does not have.
func (m *mender) fetchAll(ctx context.Context, src Source, dst Target, nodes []*node, left map[digest.Digest]BlobFault) error {
	var total int64
	for _, n := range nodes {
		total += n.Size
	}
	bar := m.opts.Progress.Begin("repairing", total)
	defer bar.End()
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(m.opts.Jobs)
	for _, n := range nodes {
		g.Go(func() error {
			err := fetchNode(groupCtx, src, dst, n, bar)
			if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
				return err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if err == nil {
				m.Fetched++
				m.Bytes += n.Size
			} else {
				left[n.Digest] = n.fault(err)
			}
			return nil
		})
	}
	return g.Wait()
}

// fetchNode brings one blob or manifest from src to dst.
func fetchNode(ctx context.Context, src Source, dst Target, n *node, bar Bar) error {
	if n.manifest {
		raw, err := src.Manifest(ctx, n.Descriptor)
		if err == nil {
			err = dst.PutManifest(ctx, n.Descriptor, raw)
		}
		if err == nil {
			bar.Add(n.Size)
		}
		return err
	}
	_, err := carry(ctx, src, dst, n.Descriptor, nil, bar)
	return err
}
