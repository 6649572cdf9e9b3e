package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"os"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/oci/internal/multihash"
)

// buffers holds buffers of a chunk's largest size.
var buffers = sync.Pool{New: func() any { b := make([]byte, 4<<20); return &b }}

// hashInputs computes the sha256 of every file and the MD5 and sha256 of every
// tensor. One pass reads the files in order, for both sha256; another reads many
// tensors side by side, for MD5, which is a chain that one tensor cannot fill a
// core with. That the bytes are read twice is made safe by the sums of each
// readSize of them: they must agree, and agree again when they are encoded.
func hashInputs(ctx context.Context, ins []*input, jobs int, bar Bar) error {
	var msgs []*message
	var again []*rereader
	files := 0
	for _, in := range ins {
		if in.format != "" {
			files++
		}
		for _, p := range in.pieces {
			if p.tensor != nil {
				r := &rereader{piece: p}
				again = append(again, r)
				msgs = append(msgs, &message{length: p.length, open: in.open, read: r.read, done: r.done})
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	// One with lanes keeps pace with the sha256 of two files; and a job is left
	// for those, if there is more than one.
	workers := (min(jobs, files) + 1) / 2
	if multihash.MD5Width == 1 {
		workers = max(1, jobs-1)
	}
	hashMessages(ctx, g, msgs, workers)
	for _, in := range ins {
		g.Go(func() error { return in.hash(ctx, bar) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, r := range again {
		if !slices.Equal(r.sums, r.piece.sums) {
			return fail("reading", r.in.path, errChanged)
		}
	}
	return nil
}

// A rereader reads a tensor for its MD5.
type rereader struct {
	*piece
	sums []uint64 // as in piece
}

func (r *rereader) read(f *os.File, b []byte, at int64) error {
	if err := r.in.readFrom(f, b, r.offset+at); err != nil {
		return err
	}
	r.sums = append(r.sums, xxh3.Hash(b))
	return nil
}

func (r *rereader) done(md5 string) error {
	r.md5 = md5
	return nil
}

// hash sets the sha256 of the file and of its tensors, and the sums of its pieces.
func (in *input) hash(ctx context.Context, bar Bar) error {
	f, err := in.open()
	if err != nil {
		return fail("reading", in.path, err)
	}
	defer f.Close()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	whole := sha256.New()
	for _, p := range in.pieces {
		tensor := sha256.New()
		for at := int64(0); at < p.length; at += readSize {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := (*buf)[:min(readSize, p.length-at)]
			if err := in.readFrom(f, b, p.offset+at); err != nil {
				return err
			}
			p.sums = append(p.sums, xxh3.Hash(b))
			if p.tensor != nil {
				multihash.WritePair(whole, tensor, b)
			} else {
				whole.Write(b)
			}
			bar.Add(int64(len(b)))
		}
		if p.tensor != nil {
			p.sha256 = hexSum(tensor)
		}
	}
	in.sha256 = hexSum(whole)
	if len(in.pieces) == 1 && in.pieces[0].tensor == nil {
		in.pieces[0].sha256 = in.sha256
	}
	return nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
