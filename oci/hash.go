package oci

import (
	"context"
	"crypto/md5" //nolint:gosec // a check sum that users compare with other tools, not a protection
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
)

// buffers holds buffers of a chunk's largest size.
var buffers = sync.Pool{New: func() any { b := make([]byte, 4<<20); return &b }}

// hashInputs computes the sha256 of every file and the MD5 and sha256 of every
// tensor, in parallel: over files, and over tensors of the same file. The bytes
// are read twice, which the sums in each piece make safe: they must agree, and
// agree again when the piece is encoded.
func hashInputs(ctx context.Context, ins []*input, jobs int, bar Bar) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	fileSums := make([][][]uint64, len(ins))
	for i, in := range ins {
		g.Go(func() (err error) {
			fileSums[i], err = in.hashFile(ctx, bar)
			return err
		})
		for _, p := range in.pieces {
			if p.tensor != nil {
				g.Go(func() error { return p.hashTensor(ctx) })
			}
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, in := range ins {
		for j, p := range in.pieces {
			switch {
			case p.tensor == nil:
				p.sums = fileSums[i][j]
			case !slices.Equal(p.sums, fileSums[i][j]):
				return fail("reading", in.path, errChanged)
			}
			if p.length == in.size {
				p.sha256 = in.sha256
			}
		}
	}
	return nil
}

// hashFile sets the sha256 of the file and returns the sums of its pieces.
func (in *input) hashFile(ctx context.Context, bar Bar) ([][]uint64, error) {
	h := sha256.New()
	sums := make([][]uint64, len(in.pieces))
	for i, p := range in.pieces {
		var err error
		if sums[i], err = p.each(ctx, h, bar); err != nil {
			return nil, err
		}
	}
	in.sha256 = hex.EncodeToString(h.Sum(nil))
	return sums, nil
}

func (p *piece) hashTensor(ctx context.Context) error {
	m, s := md5.New(), sha256.New()
	var err error
	if p.sums, err = p.each(ctx, io.MultiWriter(m, s), noProgress{}); err != nil {
		return err
	}
	p.md5, p.sha256 = hex.EncodeToString(m.Sum(nil)), hex.EncodeToString(s.Sum(nil))
	return nil
}

// each writes the bytes of p to w and returns the xxh3 of every chunk of them.
func (p *piece) each(ctx context.Context, w io.Writer, bar Bar) ([]uint64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	size := int64(p.dtype.ChunkSize())
	sums := make([]uint64, 0, (p.length+size-1)/size)
	for at := int64(0); at < p.length; at += size {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := (*buf)[:min(size, p.length-at)]
		if err := p.in.readAt(b, p.offset+at); err != nil {
			return nil, err
		}
		sums = append(sums, xxh3.Hash(b))
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
		bar.Add(int64(len(b)))
	}
	return sums, nil
}
