package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// CopyOptions are the options of Copy.
type CopyOptions struct {
	Options

	// PartSize cuts an archive that is written into parts of so many bytes:
	// FILE.001, FILE.002 and so on. 0: it is one file.
	PartSize int64
}

// Copy copies what src names to dst, byte for byte, with everything below it and
// all that refers to it: signatures, for example. It need not be a model. Only
// what dst does not have is moved, several blobs at a time; what an attempt that
// was cut off has left is gone on with. dst is written last: before that nothing
// can be seen under it. An archive that dst names is replaced as a whole.
func Copy(ctx context.Context, src, dst Reference, o *CopyOptions) (*CopyResult, error) {
	start := time.Now()
	if o == nil {
		o = &CopyOptions{}
	}
	if o.PartSize != 0 && (o.PartSize < 0 || dst.kind != kindArchive) {
		return nil, fail("copying to", dst.String(), errors.New("only an archive is written in parts, of at least one byte"))
	}
	c := &copier{from: src, to: dst, opts: o.withDefaults(), part: o.PartSize}
	res, err := c.copy(ctx)
	if err != nil {
		return nil, fail("copying", src.String(), refusal(err))
	}
	res.Ref, res.Source, res.Seconds = dst.String(), src.String(), time.Since(start).Seconds()
	return res, nil
}

// copier copies one artifact.
type copier struct {
	from, to Reference
	opts     *Options
	part     int64 // CopyOptions.PartSize

	src     Source
	root    ocispec.Descriptor // its media type, digest and size alone
	closure *closure
	main    int // manifests of the artifact itself, the first in closure
	bar     Bar

	models func() (map[digest.Digest]modelLayer, error)

	mu  sync.Mutex
	res CopyResult
}

func (c *copier) copy(ctx context.Context) (*CopyResult, error) {
	var err error
	if c.src, err = OpenSource(ctx, c.from, &c.opts.StoreOptions); err != nil {
		return nil, err
	}
	defer c.src.Close()
	return c.run(ctx)
}

// run copies from c.src.
func (c *copier) run(ctx context.Context) (*CopyResult, error) {
	if err := c.read(ctx); err != nil {
		return nil, err
	}
	var err error
	c.models = sync.OnceValues(func() (map[digest.Digest]modelLayer, error) { return c.readModels(ctx) })
	c.res.Digest, c.res.Manifests, c.res.Referrers = c.root.Digest, len(c.closure.manifests), len(c.closure.referrers)
	for _, d := range c.closure.blobs() {
		c.res.Blobs++
		c.res.Size += d.Size
	}
	if c.to.kind == kindArchive {
		err = c.writeArchive(ctx)
	} else {
		err = c.writeTarget(ctx)
	}
	return &c.res, err
}

// read reads all manifests.
func (c *copier) read(ctx context.Context) error {
	d, err := c.src.Resolve(ctx)
	if err != nil {
		return err
	}
	c.root = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	if err := c.to.checkPublished(c.root); err != nil {
		return fail("publishing", c.to.String(), err)
	}
	c.closure = newClosure(c.src.Manifest)
	if err := c.closure.add(ctx, c.root); err != nil {
		return err
	}
	c.main = len(c.closure.manifests)
	return c.readReferrers(ctx)
}

// writeTarget copies to a registry or a layout.
func (c *copier) writeTarget(ctx context.Context) error {
	t, err := OpenTarget(ctx, c.to, &c.opts.StoreOptions)
	if err != nil {
		return err
	}
	defer t.Close()
	if l, ok := t.(*layoutTarget); ok {
		if err := checkSpace(l.path, l.missing(c.closure.blobs())); err != nil {
			return fail("writing", l.path, err)
		}
	}
	if err := c.writeBlobs(ctx, t); err != nil {
		return err
	}
	if err := c.writeManifests(ctx, t); err != nil {
		return err
	}
	if err := c.writeReferrers(ctx, t); err != nil {
		return err
	}
	if err := t.Publish(ctx, c.root); err != nil {
		return err
	}
	return t.Close()
}

func (c *copier) writeBlobs(ctx context.Context, t Target) error {
	c.bar = c.opts.Progress.Begin("copying", c.res.Size)
	defer c.bar.End()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(uploads, c.opts.Jobs))
	for _, d := range slices.Concat(c.closure.layers, c.closure.configs) {
		g.Go(func() error { return c.writeBlob(ctx, t, d) })
	}
	return g.Wait()
}

// writeBlob brings one blob to t in the cheapest way.
func (c *copier) writeBlob(ctx context.Context, t Target, d ocispec.Descriptor) error {
	item := c.bar.Item(itemName(d), d.Size)
	defer item.End()
	ok, err := t.Has(ctx, d)
	if err != nil {
		return err
	}
	if ok {
		item.Skip(d.Size)
		c.count(&c.res.Present, d.Size)
		return nil
	}
	if c.from.sharesRegistry(c.to) {
		// A registry that does not grant this takes the bytes.
		if ok, err := t.Mount(ctx, d, c.from); err == nil && ok {
			item.Skip(d.Size)
			c.count(&c.res.Mounted, d.Size)
			return nil
		}
	}
	have, err := carry(ctx, c.src, t, d, c.good(d), item)
	if err == nil {
		c.count(&c.res.Present, have)
		c.count(&c.res.Copied, d.Size-have)
	}
	return err
}

func (c *copier) count(n *int64, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n += size
}

// itemName is what a blob is called while it moves.
func itemName(d ocispec.Descriptor) string {
	if title := d.Annotations[mediatypes.AnnotationTitle]; title != "" {
		return plainText(title)
	}
	return d.Digest.Encoded()[:12]
}

// writeManifests stores the manifests, each after what it names.
func (c *copier) writeManifests(ctx context.Context, t Target) error {
	attached := map[digest.Digest]bool{}
	for _, r := range c.closure.referrers {
		attached[r.Digest] = true
	}
	own, others := slices.Clone(c.closure.manifests[:c.main]), slices.Clone(c.closure.manifests[c.main:])
	slices.Reverse(own)
	slices.Reverse(others)
	for i, m := range slices.Concat(own, others) {
		if i >= len(own) && attached[m.Digest] {
			continue
		}
		ok, err := t.Has(ctx, m.Descriptor)
		if err == nil && !ok {
			err = t.PutManifest(ctx, m.Descriptor, m.raw)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) writeReferrers(ctx context.Context, t Target) error {
	said := map[string]bool{}
	for _, r := range c.closure.referrers {
		warning, err := t.attach(ctx, r, c.closure.find(r.Digest).raw)
		if err != nil {
			return err
		}
		if warning != "" && !said[warning] {
			said[warning] = true
			c.opts.Warn(warning)
		}
	}
	return nil
}

// missing is the size of those blobs that the layout does not have, less what it
// has of them.
func (t *layoutTarget) missing(blobs []ocispec.Descriptor) (n int64) {
	for _, d := range blobs {
		if fi, err := t.root.Lstat(blobPath(d.Digest)); err == nil && fi.Size() == d.Size {
			continue
		}
		n += d.Size
		if fi, err := t.root.Lstat(partPath(d.Digest)); err == nil {
			n -= min(fi.Size(), d.Size)
		}
	}
	return n
}

// warnf tells the user something.
func (c *copier) warnf(format string, args ...any) { c.opts.Warn(fmt.Sprintf(format, args...)) }
