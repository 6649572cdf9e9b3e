package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// chunkSize is how much of a blob a PATCH carries, which is what a fault costs.
	// Proxies that bound bodies let more pass. A smaller blob goes in one PUT.
	chunkSize = 32 << 20
	// minChunk is the least that a chunk shrinks to where less is let pass.
	minChunk = 1 << 20
	// worthwhile is how many bytes must arrive for the tries to be counted anew.
	worthwhile = 1 << 20
)

// session brings one blob into a registry, over as many requests and upload
// sessions as it takes: distribution-spec v1.1.1, "Pushing blobs". The blob goes
// in one PUT, which every registry takes. If that fails and the blob is large, it
// goes on in chunks, after what the registry says it has: bytes sent twice would
// be stored twice. It belongs to one goroutine.
type session struct {
	*wire
	t     *registryTarget
	d     ocispec.Descriptor
	blob  io.ReaderAt
	chunk int64 // of a PATCH

	chunked bool     // one PUT has failed
	at      *url.URL // where to go on; nil: no session is open
	fault   bool     // the last request to at failed
	have    int64    // bytes the registry has said it has
	sent    int64    // bytes it may have: no more have left
	mark    int64    // have, when the tries were last counted anew
	opened  int      // sessions
	last    error    // what ended the last one
}

// again is a fault after which the same upload is tried again.
type again struct{ error }

func (a again) Unwrap() error { return a.error }

// send brings a blob of size and digest d into the registry, if it is not there.
func (t *registryTarget) send(ctx context.Context, d ocispec.Descriptor, blob io.ReaderAt) error {
	s := &session{wire: t.wire(t.auth), t: t, d: d, blob: blob, chunk: t.chunk}
	s.chunked = s.divisible() && t.bounded.Load()
	err := t.repeat(ctx, s.try)
	if err != nil {
		s.cancel(ctx)
	}
	return t.fault(err)
}

// takesOnePut reports whether a registry is known to store a blob from one PUT
// alone: it has no PATCH, or takes no more than a few MiB by it.
func takesOnePut(host string) bool {
	for _, suffix := range []string{"ghcr.io", "gcr.io", "pkg.dev", "amazonaws.com", "amazonaws.com.cn", "public.ecr.aws"} {
		if host == suffix || strings.HasSuffix(host, "."+suffix) {
			return true
		}
	}
	return false
}

// divisible reports whether the blob can be sent in chunks.
func (s *session) divisible() bool { return s.d.Size > s.chunk && !s.t.onePut.Load() }

// try makes one attempt and reports whether it came further by worthwhile.
func (s *session) try(ctx context.Context) (gained bool, err error) {
	err = s.advance(ctx)
	s.fault = true
	if gained = s.have >= s.mark+worthwhile; gained {
		s.mark = s.have
	}
	return gained, err
}

// advance goes on with the open session, or with another, to the end.
func (s *session) advance(ctx context.Context) error {
	if s.at != nil && s.fault {
		if err := s.ask(ctx); err != nil {
			return err
		}
	}
	if s.at == nil {
		if ok, err := s.t.has(ctx, s.d); ok || err != nil {
			return err
		}
		if err := s.open(ctx); err != nil {
			return err
		}
	}
	if !s.chunked {
		return s.putAll(ctx)
	}
	for s.have < s.d.Size {
		if err := s.patch(ctx); err != nil {
			return err
		}
	}
	return s.finish(ctx)
}

// open begins a session.
func (s *session) open(ctx context.Context) error {
	if s.opened == s.t.wait.tries {
		return s.last
	}
	a, err := s.do(ctx, uploadRequest{method: http.MethodPost, at: s.t.uploads()}, http.StatusAccepted)
	if err != nil {
		return err
	}
	if s.at, err = s.location(a); err != nil {
		return err
	}
	s.opened++
	s.fault, s.have, s.sent, s.mark = false, 0, 0, 0
	if n, err := strconv.ParseInt(a.header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil {
		s.chunk = max(s.chunk, n)
	}
	return nil
}

// ask finds out what the registry has of the blob. Where the answer is of no use
// the session is over.
func (s *session) ask(ctx context.Context) error {
	// GETs are watched, and repeated, below.
	a, err := s.do(ctx, uploadRequest{method: http.MethodGet, at: s.at, final: true}, http.StatusNoContent, http.StatusAccepted, http.StatusOK)
	if isStatus(err) && !worthRewrite(err) && !isStatus(err, http.StatusUnauthorized, http.StatusForbidden) {
		_ = s.end(ctx, err)
		return nil
	}
	if err != nil {
		return err
	}
	// Where nothing has arrived, "0-0" is said as of one byte.
	have, ok := rangeLength(a.header.Get("Range"))
	if !ok || have < max(s.have, 2) || have > s.sent {
		_ = s.end(ctx, fmt.Errorf("of the %d bytes sent it has the range %q", s.sent, plainText(a.header.Get("Range"))))
		return nil
	}
	s.have, s.fault = have, false
	return s.move(a)
}

// rangeLength reads the Range of an upload: "0-99" is 100 bytes.
func rangeLength(v string) (int64, bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(v, "bytes="), "-")
	n, err := strconv.ParseUint(last, 10, 62)
	return int64(n) + 1, ok && err == nil && first == "0"
}

// move goes on where an answer says; one that says nothing changes nothing.
func (s *session) move(a uploadAnswer) error {
	if a.header.Get("Location") == "" {
		return nil
	}
	at, err := s.location(a)
	if err == nil {
		s.at = at
	}
	return err
}

// content says of what type the bytes of a blob are.
func content() http.Header { return http.Header{"Content-Type": {"application/octet-stream"}} }

// commitURL is where a PUT makes the session a blob. The rest of the address is
// left as it is: it may be signed.
func (s *session) commitURL() *url.URL {
	u := *s.at
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(s.d.Digest.String())
	return &u
}

// putAll sends the blob in one piece.
func (s *session) putAll(ctx context.Context) error {
	a, err := s.do(ctx, uploadRequest{
		method: http.MethodPut, at: s.commitURL(), header: content(), body: s.blob, n: s.d.Size, final: true,
	}, http.StatusCreated)
	s.sent = a.sent
	switch {
	case err == nil:
		s.at = nil
		return nil
	case s.divisible() && isStatus(err, http.StatusRequestEntityTooLarge):
		s.t.bounded.Store(true)
		s.chunked = true
		return s.end(ctx, err)
	case s.divisible() && worthRewrite(err):
		s.chunked = true
		return err // what it has is asked for
	case worthRewrite(err) || isLost(err):
		return s.end(ctx, err)
	}
	return err
}

// patch sends the next chunk.
func (s *session) patch(ctx context.Context) error {
	n := min(s.chunk, s.d.Size-s.have)
	header := content()
	header.Set("Content-Range", fmt.Sprintf("%d-%d", s.have, s.have+n-1))
	a, err := s.do(ctx, uploadRequest{
		method: http.MethodPatch, at: s.at, header: header, body: s.blob, off: s.have, n: n,
	}, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
	s.sent = max(s.sent, s.have+a.sent)
	if err != nil {
		never := isStatus(err, http.StatusMethodNotAllowed, http.StatusNotImplemented) ||
			s.have == 0 && isStatus(err, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable)
		return s.refused(ctx, err, never)
	}
	have := s.have + n
	if said := a.header.Get("Range"); said != "" {
		var ok bool
		if have, ok = rangeLength(said); !ok || have <= max(s.have, 1) || have > s.sent {
			err := fmt.Errorf("it took %d bytes from %d on and says to have the range %q", n, s.have, plainText(said))
			return s.refused(ctx, err, true)
		}
	}
	s.t.patched.Store(true)
	s.have = have
	return s.move(a)
}

// refused looks at what is wrong with a PATCH. never says that a registry which
// has not taken a chunk yet will take none.
func (s *session) refused(ctx context.Context, err error, never bool) error {
	switch {
	case never && !s.t.patched.Load():
		s.t.onePut.Store(true)
		s.chunked = false
		return s.end(ctx, err)
	case never || isLost(err):
		return s.end(ctx, err)
	case isStatus(err, http.StatusRequestEntityTooLarge) && s.chunk > minChunk:
		s.chunk = max(s.chunk/4, minChunk)
		return again{err}
	}
	return err
}

// finish makes what was sent in chunks a blob.
func (s *session) finish(ctx context.Context) error {
	_, err := s.do(ctx, uploadRequest{method: http.MethodPut, at: s.commitURL(), header: content(), final: true}, http.StatusCreated)
	if err == nil {
		s.at = nil
	} else if isLost(err) {
		return s.end(ctx, err)
	}
	return err
}

// end gives up the open session because of err and returns an error after which
// another is tried.
func (s *session) end(ctx context.Context, err error) error {
	s.cancel(ctx)
	if t, ok := errors.AsType[*transport.Error](err); ok {
		err = fmt.Errorf("it answers %d %s", t.StatusCode, words(t))
	}
	s.last = fmt.Errorf("%w: %s has not taken the blob: %w", ErrRegistry, s.host, err)
	s.at, s.have, s.mark = nil, 0, 0
	return again{s.last}
}

// cancel tells the registry to drop what it has of an open session. Without it
// a registry does that by itself, days later.
func (s *session) cancel(ctx context.Context) {
	if s.at != nil && ctx.Err() == nil {
		_, _ = s.do(ctx, uploadRequest{method: http.MethodDelete, at: s.at}, http.StatusNoContent)
	}
}

// isStatus reports whether err is an answer, of one of these statuses if there
// are any.
func isStatus(err error, statuses ...int) bool {
	t, ok := errors.AsType[*transport.Error](err)
	return ok && (len(statuses) == 0 || slices.Contains(statuses, t.StatusCode))
}

// isLost reports whether an upload session is over though another may do: the
// registry does not know it, or has other bytes than were sent.
func isLost(err error) bool {
	t, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return false
	}
	for _, d := range t.Errors {
		switch d.Code {
		case transport.BlobUploadInvalidErrorCode, transport.BlobUploadUnknownErrorCode, transport.DigestInvalidErrorCode:
			return true
		}
	}
	return t.StatusCode == http.StatusNotFound || t.StatusCode == http.StatusRequestedRangeNotSatisfiable
}
