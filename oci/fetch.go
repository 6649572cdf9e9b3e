package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxStalls is how often in a row a blob may be asked for again although a
	// request brought less than minProgress bytes, or was given up as slow.
	maxStalls   = 5
	minProgress = 4 << 10
)

// errInterrupted marks a fault after which the rest is asked for again.
var errInterrupted = errors.New("interrupted")

// Blob implements Source. A range of more than one part is fetched by several
// requests at once, if the registry serves ranges. The reader goes on over lost
// connections: it asks the registry, and not the storage that the registry
// redirected to, for the bytes that are missing.
func (s *registrySource) Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	end, err := blobRange(d, off, n)
	if err != nil {
		return nil, &Error{Op: "reading blob", Object: d.Digest.String(), Offset: off, Err: err}
	}
	next := min(end, off+partSize)
	first, err := s.part(ctx, d, off, next)
	switch {
	case err != nil:
		return nil, err
	case first.whole:
		first.end = end // the answer holds more than was asked for: all of it
		return first, nil
	case next == end:
		return first, nil
	}
	return newAheadReader(ctx, s.ahead, first, next, end, func(ctx context.Context, off, end int64) (io.ReadCloser, error) {
		return s.part(ctx, d, off, end)
	}), nil
}

// part begins to read the range [off, end) of d by one request at a time.
func (s *registrySource) part(ctx context.Context, d ocispec.Descriptor, off, end int64) (*blobReader, error) {
	r := &blobReader{ctx: ctx, reg: s.registry, desc: d, pos: off, end: end}
	if err := r.connect(); err != nil {
		return nil, &Error{Op: "reading blob", Object: d.Digest.String(), Offset: off, Err: err}
	}
	return r, nil
}

// blobReader reads a range of a blob over as many requests as it takes.
type blobReader struct {
	ctx      context.Context
	reg      *registry
	desc     ocispec.Descriptor
	pos, end int64
	body     io.ReadCloser // nil: between requests
	got      int64         // bytes since the last request that ended early
	stalls   int           // requests in a row that brought next to nothing
	whole    bool          // the registry answers with the whole blob
	skipped  bool          // such an answer was read up to pos
	closed   bool
	err      error // sticky
}

// unranged reports whether the registry sends the whole blob for a range of it.
func (b *blobReader) unranged() bool { return b.whole }

// Read returns bytes of the range and never more. An error names the offset.
func (b *blobReader) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case b.pos == b.end:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n, err := b.read(p[:min(int64(len(p)), b.end-b.pos)])
	if err != nil {
		b.err = &Error{Op: "reading blob", Object: b.desc.Digest.String(), Offset: b.pos, Err: err}
		return 0, b.err
	}
	return n, nil
}

// read returns at least one byte or an error.
func (b *blobReader) read(p []byte) (int, error) {
	for {
		if b.body == nil {
			if err := b.connect(); err != nil {
				return 0, err
			}
		}
		n, err := b.body.Read(p)
		if n > 0 {
			b.pos += int64(n)
			b.got += int64(n)
			return n, nil // what err says, the next Read says again
		}
		if err == nil {
			continue
		}
		b.drop()
		if err := b.stalled(err); err != nil {
			return 0, err
		}
	}
}

// connect asks for what is missing until there is an answer to read.
func (b *blobReader) connect() error {
	if b.pos == b.end {
		return nil
	}
	for {
		err := b.request()
		if !errors.Is(err, errInterrupted) {
			return err
		}
		if err := b.stalled(err); err != nil {
			return err
		}
	}
}

// stalled counts a request that ended early and waits before the next. It
// returns an error when there is to be no next one.
func (b *blobReader) stalled(err error) error {
	if ctxErr := b.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.got >= minProgress && !errors.Is(err, errSlow) {
		b.stalls = 0
	}
	b.stalls++
	b.got = 0
	if b.stalls > maxStalls {
		return b.reg.fault(fmt.Errorf("given up after %d requests in a row brought next to nothing: %w", b.stalls, err))
	}
	if b.stalls == 1 {
		return nil // the connection was lost, the registry is well
	}
	return sleep(b.ctx, backoff(b.reg.wait.delay, b.stalls-1))
}

// request sends one request for the bytes [pos, end) and leaves b.body at pos.
func (b *blobReader) request() error {
	header := http.Header{"Accept-Encoding": {"identity"}}
	part := b.pos > 0 || b.end < b.desc.Size
	if part {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.pos, b.end-1))
	}
	resp, err := b.reg.send(b.ctx, http.MethodGet, "blobs", b.desc.Digest.String(), header, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return b.expired(err)
	}
	if err := b.accept(resp, part); err != nil {
		_ = resp.Body.Close()
		return err
	}
	b.body = resp.Body
	return nil
}

// expired marks the refusal of a storage that the registry redirected to: its
// addresses are good for minutes, and the registry gives a new one.
func (b *blobReader) expired(err error) error {
	t, ok := errors.AsType[*transport.Error](err)
	if ok && t.StatusCode == http.StatusForbidden && t.Request != nil && t.Request.URL.Host != b.reg.repo.RegistryStr() {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return b.reg.fault(err)
}

// accept checks that an answer holds the bytes that were asked for, and reads
// a whole blob up to them.
func (b *blobReader) accept(resp *http.Response, part bool) error {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("%w: %s sends content encoding %q, which was not asked for", ErrRegistry, b.reg.host(), plainText(enc))
	}
	if resp.StatusCode == http.StatusPartialContent {
		got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", b.pos, b.end-1)
		if !part || got != want+"*" && got != fmt.Sprint(want, b.desc.Size) {
			return fmt.Errorf("%w: %s sends the range %q, want %q", ErrRegistry, b.reg.host(), plainText(got), fmt.Sprint(want, b.desc.Size))
		}
		return nil
	}
	b.whole = true
	if n := resp.ContentLength; n >= 0 && n != b.desc.Size {
		return fmt.Errorf("%w: %s has %d bytes of it, want %d", ErrCorrupt, b.reg.host(), n, b.desc.Size)
	}
	if b.pos == 0 {
		return nil
	}
	if b.skipped {
		return fmt.Errorf("%w: %s does not serve ranges of a blob, and the connection was lost twice", ErrRegistry, b.reg.host())
	}
	b.skipped = true
	if _, err := io.CopyN(io.Discard, resp.Body, b.pos); err != nil {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return nil
}

// drop ends the current request.
func (b *blobReader) drop() {
	_ = b.body.Close()
	b.body = nil
}

// Close ends the request. It does not wait for bytes nobody wants.
func (b *blobReader) Close() error {
	b.closed = true
	if b.body != nil {
		b.drop()
	}
	return nil
}
