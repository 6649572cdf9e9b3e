package oci

import (
	"context"
	"errors"
	"io"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// stuckSource is a source of which no reader of d, but from its start, gives more than
// the first n bytes that it is asked for.
type stuckSource struct {
	Source
	d ocispec.Descriptor
	n int64
}

func (s stuckSource) Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	r, err := s.Source.Blob(ctx, d, off, n)
	if err != nil || d.Digest != s.d.Digest || off == 0 {
		return r, err
	}
	return &stuckReader{ReadCloser: r, ctx: ctx, left: s.n}, nil
}

type stuckReader struct {
	io.ReadCloser
	ctx  context.Context
	left int64
}

func (r *stuckReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		<-r.ctx.Done()
		return 0, r.ctx.Err()
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

// A chunk that cannot be decoded is what a pull fails for, not that the reading of
// the chunks behind it was ended by that.
func TestPullFailsForWhatWasFound(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	f := takeApart(t, ref)
	chunk := func(b []byte) []byte {
		out, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, b, codec.Geometry{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	bad := resign(chunk([]byte("used")), func(h []byte) { h[12] ^= 1 })
	f.addLayer(forgedLayer{chunks: [][]byte{chunk([]byte("unused")), bad, chunk([]byte("used"))}})
	last := len(f.layers) - 1
	f.addFile("z", []byte("usedused"), mediatypes.Segment{Layer: last, Offset: 6, Length: 8})
	a := openArtifact(t, f.write())
	a.src = stuckSource{a.src, a.Layers[last], int64(len(bad))}
	p := &puller{a: a, opts: (&Options{Jobs: 2}).withDefaults()}
	var err error
	if p.files, err = a.choose(t.Context(), &Selection{Files: []string{"z"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.pull(t.Context(), t.TempDir(), ""); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v, want %v", err, ErrCorrupt)
	}
}
