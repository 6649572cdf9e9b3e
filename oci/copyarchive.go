package oci

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// writeArchive copies to an archive: in one pass, from its first byte to its last,
// with nothing beside it. What is there of it is checked and stays.
func (c *copier) writeArchive(ctx context.Context) error {
	path := c.to.path
	if c.part == 0 {
		if err := replaceable(c.to); err != nil {
			return fail("writing", path, err)
		}
	}
	all, size, err := c.closure.layOut(c.root, c.to.tag)
	if err != nil {
		return err
	}
	w, err := newArchiveWriter(path, size, c.part)
	if err != nil {
		return fail("writing", path, err)
	}
	defer w.Close()
	err = c.fill(ctx, w, all)
	if errors.Is(err, errDiffers) && w.digits == 0 {
		c.res.Present, c.res.Copied = 0, 0
		if err = w.anew(); err == nil {
			err = c.fill(ctx, w, all)
		}
	}
	if err != nil {
		return fail("writing", path, err)
	}
	c.res.Files = w.names()
	return w.Close()
}

// fill writes what is missing of an archive.
func (c *copier) fill(ctx context.Context, w *archiveWriter, all []tarRange) error {
	if err := c.checkArchiveSpace(w); err != nil {
		return err
	}
	c.bar = c.opts.Progress.Begin("copying", c.res.Size)
	defer c.bar.End()
	for _, r := range all {
		var err error
		if r.blob != nil {
			err = c.fillBlob(ctx, w, r)
		} else {
			_, err = w.WriteAt(r.data, r.off)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = w.finish(r.off + r.size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkArchiveSpace reports whether what is missing fits. Of an archive in parts
// it asks for the space of one: others may be carried away meanwhile.
func (c *copier) checkArchiveSpace(w *archiveWriter) error {
	dir, missing := filepath.Dir(w.path), w.missing()
	err := checkSpace(dir, missing)
	if !errors.Is(err, unix.ENOSPC) || w.digits == 0 {
		return err
	}
	if err := checkSpace(dir, min(missing, w.part)); err != nil {
		return err
	}
	c.warnf("%s do not fit into %s: move finished parts away as they come, or it will stop and can be gone on with", humanize.Bytes(uint64(missing)), dir)
	return nil
}

// fillBlob writes what is missing of the blob r.
func (c *copier) fillBlob(ctx context.Context, w *archiveWriter, r tarRange) error {
	d := *r.blob
	item := c.bar.Item(itemName(d), d.Size)
	defer item.End()
	have := w.present(r.off, r.size)
	there := io.NewSectionReader(w, r.off, have)
	if good := c.good(d); good != nil && 0 < have && have < d.Size {
		have = min(max(good(there, have), 0), have)
	}
	h := d.Digest.Algorithm().Hash()
	if err := copyTo(ctx, h, there, 0, have, noProgress{}); err != nil {
		return err
	}
	m := &meter{bar: item}
	for try := 0; ; try++ {
		m.skip(have)
		if err := transfer(ctx, c.src, d, have, &rangeWriter{w: w, off: r.off + have, hash: h}, m); err != nil {
			return err
		}
		got := fmt.Sprintf("%s:%x", d.Digest.Algorithm(), h.Sum(nil))
		if got == d.Digest.String() {
			c.res.Present += have
			c.res.Copied += d.Size - have
			return nil
		}
		if try == 1 {
			return fail("storing blob", d.Digest.String(), fmt.Errorf("%w: the digest of what came is %s", ErrCorrupt, got))
		}
		// What was there, or the way here, is damaged: once more, all of it.
		have = 0
		h.Reset()
	}
}

// rangeWriter writes to a file from off on, and hashes what it writes.
type rangeWriter struct {
	w    io.WriterAt
	off  int64
	hash hash.Hash
	err  error // of the last write
}

func (r *rangeWriter) Write(p []byte) (int, error) {
	var n int
	n, r.err = r.w.WriteAt(p, r.off)
	r.off += int64(n)
	r.hash.Write(p[:n])
	return n, r.err
}
