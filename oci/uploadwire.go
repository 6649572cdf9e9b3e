package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// wire sends the requests of uploads. Credentials go to the registry alone: to
// where its Location headers lead elsewhere, requests go without. It belongs to
// one goroutine.
type wire struct {
	auth    *http.Client // with credentials
	bare    *http.Client // without
	origin  *url.URL     // the registry as it was reached; nil: not yet
	host    string       // its name for messages
	silence time.Duration
}

// uploadRequest is one request of an upload.
type uploadRequest struct {
	method string
	at     *url.URL
	header http.Header
	body   io.ReaderAt // nil: none
	off, n int64       // which bytes of body
	final  bool        // the registry may think for commitTimeout
}

// uploadAnswer is an answer without its body.
type uploadAnswer struct {
	status int
	header http.Header
	from   *url.URL // who answered
	sent   int64    // bytes of the request's body that have left, at most: after an error, too
}

// moved reports whether the same request is to be sent elsewhere.
func (a uploadAnswer) moved() bool {
	return a.status == http.StatusTemporaryRedirect || a.status == http.StatusPermanentRedirect
}

// do sends r, follows redirects that keep method and body, and returns an answer
// whose status is one of ok.
func (w *wire) do(ctx context.Context, r uploadRequest, ok ...int) (a uploadAnswer, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &feed{request: r, silence: w.silence}
	f.start(func() { cancel(errSilent) })
	a, err = w.follow(ctx, r, f, ok)
	a.sent = f.stop()
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	return a, err
}

// follow sends r to where it leads.
func (w *wire) follow(ctx context.Context, r uploadRequest, f *feed, ok []int) (a uploadAnswer, err error) {
	at := r.at
	for range maxRedirects {
		if a, err = w.once(ctx, r, at, f, ok); err != nil || !a.moved() {
			return a, err
		}
		if at, err = w.location(a); err != nil {
			return a, err
		}
	}
	return a, fmt.Errorf("%w: %s: stopped after %d redirects", ErrRegistry, w.host, maxRedirects)
}

// once sends r to one place.
func (w *wire) once(ctx context.Context, r uploadRequest, at *url.URL, f *feed, ok []int) (a uploadAnswer, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, at.String(), http.NoBody)
	if err != nil {
		return a, err
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	if r.body != nil && r.n > 0 {
		req.ContentLength = r.n
		req.Body = f.body()
		req.GetBody = func() (io.ReadCloser, error) { return f.body(), nil }
	}
	client := w.bare
	if w.origin == nil || sameOrigin(w.origin, at) {
		client = w.auth
	}
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // it quotes the URL, which may hold a secret
		}
		return a, fmt.Errorf("%s to %s: %w", r.method, at.Host, err)
	}
	defer resp.Body.Close()
	a = uploadAnswer{status: resp.StatusCode, header: resp.Header, from: resp.Request.URL}
	if w.origin == nil {
		w.origin = a.from
	}
	if !a.moved() {
		err = transport.CheckError(resp, ok...)
	}
	drain(resp.Body)
	return a, err
}

// location returns where the Location of an answer leads.
func (w *wire) location(a uploadAnswer) (*url.URL, error) {
	said := a.header.Get("Location")
	to, err := a.from.Parse(said)
	if err != nil || said == "" || to.Host == "" || to.User != nil {
		return nil, fmt.Errorf("%w: %s: %q is not a location to upload to", ErrRegistry, w.host, plainText(said))
	}
	to.Fragment = ""
	if to.Scheme == "http" && w.origin.Scheme == "https" && to.Host == w.origin.Host {
		to.Scheme = "https" // a registry that does not know of the proxy before it
	}
	switch {
	case to.Scheme != "https" && to.Scheme != "http", to.Scheme == "http" && a.from.Scheme == "https":
		return nil, fmt.Errorf("%w: %s sends the upload to %s://%s: refused, for it is not safe there", ErrRegistry, w.host, to.Scheme, to.Host)
	case isPrivate(to.Hostname()) && !isPrivate(w.origin.Hostname()):
		return nil, fmt.Errorf("%w: %s sends the upload to the private address %s: refused", ErrRegistry, w.host, to.Host)
	}
	return to, nil
}

// sameOrigin reports whether two URLs are of one scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		switch p := u.Port(); {
		case p != "":
			return p
		case u.Scheme == "https":
			return "443"
		}
		return "80"
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// feed gives out the body of a request, from its beginning each time, and ends
// the request when nothing takes the bytes and nothing is answered.
type feed struct {
	request uploadRequest
	silence time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	high    int64 // bytes given out, by the body that came furthest
	stopped bool
}

// start winds the clock.
func (f *feed) start(end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timer = time.AfterFunc(f.patience(0), end)
}

// patience is how long nothing may happen when given bytes are on their way.
func (f *feed) patience(given int64) time.Duration {
	if given == f.request.n && (f.request.final || f.request.n > 0) {
		return commitTimeout
	}
	return f.silence
}

// stop ends the feed and returns how many bytes left it. The transport may read
// from a body for a moment after its request has failed: it gets no more.
func (f *feed) stop() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.timer.Stop()
	return f.high
}

// body returns the bytes from the first.
func (f *feed) body() io.ReadCloser {
	return &feedBody{f: f, r: io.NewSectionReader(f.request.body, f.request.off, f.request.n)}
}

// feedBody is the body of one request.
type feedBody struct {
	f     *feed
	r     *io.SectionReader
	given int64
}

func (b *feedBody) Read(p []byte) (int, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return 0, fs.ErrClosed
	}
	n, err := b.r.Read(p)
	b.given += int64(n)
	f.high = max(f.high, b.given)
	f.timer.Reset(f.patience(b.given))
	return n, err
}

func (b *feedBody) Close() error { return nil }

// writes lies just above the network and looks after requests that change
// something. It begins the body anew each time: authentication sends a request
// again whose token had expired. And it notes how long the registry wants to be
// left alone, for whoever put a pause into the context.
type writes struct{ next http.RoundTripper }

// pause is a time in nanoseconds.
type pause struct{ atomic.Int64 }

type pauseKey struct{}

// RoundTrip implements http.RoundTripper.
func (w writes) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.GetBody != nil && req.Body != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		req = req.WithContext(req.Context())
		req.Body = body
	}
	resp, err := w.next.RoundTrip(req)
	if err == nil && req.Method != http.MethodGet && req.Method != http.MethodHead {
		wish := retryAfter(resp.Header.Get("Retry-After"))
		if p, ok := req.Context().Value(pauseKey{}).(*pause); ok && wish > 0 {
			p.Store(int64(wish))
		}
	}
	return resp, err
}
