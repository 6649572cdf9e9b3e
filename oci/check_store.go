package oci

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// CheckOptions are the options of Check.
type CheckOptions struct {
	Options

	Subset Subset
}

// Subset is the part of a store that is read: number Part of Of parts, counted
// from 1. A blob belongs to the same part every time, by its digest. The zero value
// is all of it.
type Subset struct{ Part, Of uint64 }

// ParseSubset reads a Subset as "N/M".
func ParseSubset(s string) (Subset, error) {
	part, of, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(part, 10, 32)
	m, err2 := strconv.ParseUint(of, 10, 32)
	if !ok || err != nil || err2 != nil || n < 1 || n > m {
		return Subset{}, fmt.Errorf("%.20q is not N/M, part N of M from 1/M to M/M", s)
	}
	return Subset{n, m}, nil
}

func (s Subset) holds(d digest.Digest) bool {
	if s.Of == 0 {
		return true
	}
	b, _ := hex.DecodeString(d.Encoded()[:16]) // parseDigest accepted it
	return binary.BigEndian.Uint64(b)%s.Of == s.Part-1
}

// Check reads every blob of the layout or archive ref, or the part of them that
// o.Subset says, and compares it with its digest. All manifests in use are read in
// any case, and it is looked whether what they name is there. That something is
// damaged or missing is not an error of Check: CheckResult.Err tells.
func Check(ctx context.Context, ref Reference, o *CheckOptions) (*CheckResult, error) {
	start := time.Now()
	if o == nil {
		o = &CheckOptions{}
	}
	r, err := checkStore(ctx, ref, o.withDefaults(), o.Subset)
	if err != nil {
		return nil, fail("checking", ref.storeName(), err)
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// Err is an ErrCorrupt if something is damaged or missing.
func (r *CheckResult) Err() error {
	if len(r.Damaged)+len(r.Missing) == 0 {
		return nil
	}
	return fail("checking", r.Ref, fmt.Errorf("%w: %d blobs are damaged, %d missing: oras-bsm repair REF %s fetches them from where REF names them",
		ErrCorrupt, len(r.Damaged), len(r.Missing), r.Ref))
}

func checkStore(ctx context.Context, ref Reference, o *Options, part Subset) (*CheckResult, error) {
	f, err := openStore(ref)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := readStore(ctx, f)
	if err != nil {
		return nil, err
	}
	blobs, _, err := listBlobs(f)
	if err != nil {
		return nil, err
	}
	c := &storeCheck{files: f, warn: o.Warn, problems: map[digest.Digest]error{}}
	for _, n := range g.order {
		size, ok := blobs[n.Digest]
		if err := c.look(n, size, ok); err != nil {
			return nil, err
		}
	}
	todo := map[digest.Digest]int64{}
	for d, size := range blobs {
		if part.holds(d) {
			todo[d] = size
		}
	}
	if err := c.hash(ctx, todo, o); err != nil {
		return nil, err
	}
	r := c.result(g, blobs)
	r.Ref, r.Checked = ref.storeName(), len(todo)
	for _, size := range todo {
		r.Bytes += size
	}
	return r, nil
}

// storeCheck collects what is wrong with blobs. A problem that is ErrNotFound is a
// missing one; the others are damaged.
type storeCheck struct {
	files
	warn func(string)

	mu       sync.Mutex
	problems map[digest.Digest]error
}

// look compares what n says with the file of that digest, which is there or not,
// without a look into it.
func (c *storeCheck) look(n *node, size int64, there bool) error {
	switch {
	case errors.Is(n.err, errUnknownType):
		c.warn(fmt.Sprintf("%s, which %s names: %v: what it names is not looked for", n.Digest, strings.Join(n.users(), ", "), n.err))
	case n.err != nil:
		return c.found(n.Digest, n.err)
	case there && size != n.Size:
		return c.found(n.Digest, fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, size, n.Size))
	case !there && len(n.URLs) == 0: // one with URLs may not be given away, and stays there
		s, err := c.open(blobPath(n.Digest))
		if err == nil {
			return s.Close() // it came since the list was made
		}
		return c.found(n.Digest, err)
	}
	return nil
}

// found notes what is wrong with a blob. An error that says nothing of the blob,
// such as a missing permission, is returned.
func (c *storeCheck) found(d digest.Digest, err error) error {
	_, foreign := errors.AsType[*fs.PathError](err)
	if foreign && !errors.Is(err, unix.EIO) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems[d] = err
	return nil
}

// hash reads the blobs, the largest first, so that no job is left alone with one.
func (c *storeCheck) hash(ctx context.Context, blobs map[digest.Digest]int64, o *Options) error {
	var total int64
	order := make([]digest.Digest, 0, len(blobs))
	for d, size := range blobs {
		order = append(order, d)
		total += size
	}
	slices.SortFunc(order, func(a, b digest.Digest) int {
		return cmp.Or(-cmp.Compare(blobs[a], blobs[b]), cmp.Compare(a, b))
	})
	bar := o.Progress.Begin("checking", total)
	defer bar.End()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Jobs)
	for _, d := range order {
		g.Go(func() error {
			err := hashBlob(ctx, c.files, d, bar)
			if err == nil || ctx.Err() != nil {
				return ctx.Err()
			}
			return c.found(d, err)
		})
	}
	return g.Wait()
}

var errShrunk = errors.New("it has become shorter while it was read")

// hashBlob reads a blob and compares it with its digest.
func hashBlob(ctx context.Context, f files, d digest.Digest, bar Bar) error {
	s, err := f.open(blobPath(d))
	if err != nil {
		return err
	}
	defer s.Close()
	h := d.Algorithm().Hash()
	err = copyTo(ctx, h, s, 0, s.size, bar)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrCorrupt, errShrunk)
	}
	if err != nil {
		return err
	}
	if got := digest.NewDigest(d.Algorithm(), h); got != d {
		return fmt.Errorf("%w: the digest of its bytes is %s", ErrCorrupt, got)
	}
	return nil
}

// fault describes what is wrong with n.
func (n *node) fault(err error) BlobFault {
	return BlobFault{Digest: n.Digest, MediaType: n.MediaType, Size: n.Size, Entries: n.users(), Problem: err.Error()}
}

// result sorts out what was found.
func (c *storeCheck) result(g *graph, blobs map[digest.Digest]int64) *CheckResult {
	r := &CheckResult{Blobs: len(blobs), Damaged: []BlobFault{}, Missing: []BlobFault{}, Unreferenced: []digest.Digest{}}
	for d, size := range blobs {
		if g.nodes[d] == nil {
			r.Unreferenced = append(r.Unreferenced, d)
			r.Waste += size
		}
	}
	slices.Sort(r.Unreferenced)
	for d, err := range c.problems {
		fault := BlobFault{Digest: d, Size: blobs[d], Entries: []string{}, Problem: err.Error()}
		n := g.nodes[d]
		if n != nil {
			fault = n.fault(err)
		}
		switch {
		case !errors.Is(err, ErrNotFound):
			r.Damaged = append(r.Damaged, fault)
		case n != nil: // what nothing needs was removed since it was listed
			r.Missing = append(r.Missing, fault)
		}
	}
	for _, list := range [][]BlobFault{r.Damaged, r.Missing} {
		slices.SortFunc(list, func(a, b BlobFault) int { return cmp.Compare(a.Digest, b.Digest) })
	}
	return r
}
