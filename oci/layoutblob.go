package oci

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutBlob is a blob on its way into a layout.
type layoutBlob struct {
	*partial
	t    *layoutTarget
	keep bool // for the next attempt
	done bool
}

// create begins a blob in a file of its own.
func (t *layoutTarget) create(a digest.Algorithm) (*layoutBlob, error) {
	temp := blobDir + "/" + tempPrefix + rand.Text()
	f, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fail("creating a blob in", t.path, err)
	}
	return &layoutBlob{t: t, partial: &partial{newSpool(f, a), t.root, temp}}, nil
}

// Receive implements Target. What is written lies beside the blobs, under the
// digest that it is to have. Who finds it locked writes a file of its own.
func (t *layoutTarget) Receive(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) (BlobWriter, int64, error) {
	w, err := t.receive(ctx, d, good)
	if err != nil {
		return nil, 0, fail("receiving blob", d.Digest.String(), err)
	}
	return w, w.n, nil
}

func (t *layoutTarget) receive(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) (*layoutBlob, error) {
	if err := errors.Join(ctx.Err(), checkDescriptor(d)); err != nil {
		return nil, err
	}
	p, err := openPartial(ctx, t.root, partPath(d.Digest), d, good)
	if errors.Is(err, errInUse) {
		return t.create(d.Digest.Algorithm())
	}
	if err != nil {
		return nil, err
	}
	return &layoutBlob{t: t, partial: p, keep: true}, nil
}

// partPath is the file name of a blob that is not whole yet.
func partPath(d digest.Digest) string { return blobDir + "/" + partPrefix + d.Encoded() }

// Commit implements BlobWriter. A blob that is there already is replaced, which
// mends one that something else has damaged.
func (b *layoutBlob) Commit(ctx context.Context, d ocispec.Descriptor) error {
	if b.done {
		return fail("storing blob", d.Digest.String(), fs.ErrClosed)
	}
	err := ctx.Err()
	if err == nil {
		if err = b.check(d); errors.Is(err, ErrCorrupt) {
			b.keep = false // what is wrong is no help to the next attempt
		}
	}
	if err == nil && d.Digest.Algorithm() != digest.SHA256 {
		err = b.t.root.MkdirAll(filepath.Dir(blobPath(d.Digest)), 0o755)
	}
	if err != nil {
		return fail("storing blob", d.Digest.String(), errors.Join(err, b.Abort()))
	}
	b.done = true
	return fail("storing blob", d.Digest.String(), b.t.install(b.f, b.name, blobPath(d.Digest)))
}

// Abort implements BlobWriter.
func (b *layoutBlob) Abort() error {
	if b.done {
		return nil
	}
	b.done = true
	return b.end(b.keep)
}
