package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// This file holds the layers below go-containerregistry's authentication: a
// dialer that stays away from metadata services, a transport that refuses
// plain http, and one that retries with patience.

// patience says how long a registry is given.
type patience struct {
	tries int           // requests for one answer
	delay time.Duration // before the second; each later one doubles it
	idle  time.Duration // the longest silence, before an answer and within it
	slow  int64         // bytes a second; an answer that brings fewer for idle is given up
}

var defaultPatience = patience{tries: 5, delay: 300 * time.Millisecond, idle: 30 * time.Second, slow: 4 << 10}

const (
	maxRetryAfter = 60 * time.Second
	maxRedirects  = 10
	// commitTimeout is how long a registry may think about the end of an
	// upload, in which some read the whole blob again.
	commitTimeout = 10 * time.Minute
)

var errPlainHTTP = errors.New("plain http is refused: if that is what the registry speaks, use --plain-http")

// newTransport returns the http.Transport of one store. It belongs to that
// store alone, so that closing the store closes its connections.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ExpectContinueTimeout: time.Second,
		ResponseHeaderTimeout: commitTimeout,
	}
}

// ec2Metadata is the one metadata service outside the link-local ranges.
var ec2Metadata = netip.MustParseAddr("fd00:ec2::254")

// refuseLinkLocal is a net.Dialer.Control. No registry is link-local; the
// services that give out a machine's cloud credentials are.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if a := ap.Addr().Unmap().WithZone(""); a.IsLinkLocalUnicast() || a == ec2Metadata {
		return fmt.Errorf("refusing to talk to %s: link-local address", a)
	}
	return nil
}

// schemeGuard refuses plain http but where it is allowed: everywhere with
// plain, or else to this machine from a registry on this machine.
type schemeGuard struct {
	next     http.RoundTripper
	plain    bool
	loopback bool
}

func (g *schemeGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	local := g.loopback && isLoopback(req.URL.Host)
	if req.URL.Scheme == "http" && !g.plain && !local {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, errPlainHTTP)
	}
	return g.next.RoundTrip(req)
}

// checkRedirect is an http.Client's. A registry of the world does not send its
// clients into their own network.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	from := via[0].URL
	if isPrivate(req.URL.Hostname()) && !isPrivate(from.Hostname()) {
		return fmt.Errorf("%s redirects to the private address %s", from.Host, req.URL.Host)
	}
	return nil
}

// isPrivate reports whether host is a literal address of a private network or
// of this machine.
func isPrivate(host string) bool {
	a, err := netip.ParseAddr(host)
	return isLoopback(host) || err == nil && (a.Unmap().IsPrivate() || a.Unmap().IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified())
}

// retrier repeats requests that change nothing, GET and HEAD, until they are
// answered. All waiting ends with the request's context.
type retrier struct {
	next http.RoundTripper
	patience
}

func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return r.next.RoundTrip(req)
	}
	for try := 1; ; try++ {
		resp, err := r.once(req)
		if try >= r.tries || !worthRetry(resp, err) || req.Context().Err() != nil {
			return resp, err
		}
		wait := backoff(r.delay, try)
		if resp != nil {
			wait = max(wait, retryAfter(resp.Header.Get("Retry-After")))
			drain(resp.Body)
		}
		if err := sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// once sends one request and watches over the silence in its answer.
func (r *retrier) once(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watchdog{idle: r.idle, slow: r.slow, cancel: cancel}
	w.timer = time.AfterFunc(r.idle, func() { cancel(errSilent) })
	resp, err := r.next.RoundTrip(req.WithContext(ctx))
	w.timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		cancel(nil)
		return nil, err
	}
	w.ctx, w.body = ctx, resp.Body
	resp.Body = w
	return resp, nil
}

// errSilent ends a request that nothing has answered for patience.idle, errSlow
// one that brings less than patience.slow.
var (
	errSilent error = &tooSlow{"no answer: the connection is silent"}
	errSlow   error = &tooSlow{"the connection brings next to nothing"}
)

// tooSlow is a net.Error of a kind that another connection may mend.
type tooSlow struct{ what string }

func (e *tooSlow) Error() string { return e.what }
func (*tooSlow) Timeout() bool   { return true }
func (*tooSlow) Temporary() bool { return true }

// watchdog is a response body that gives up when a Read brings nothing for the
// idle time, or all of them next to nothing in as long. A reader that pauses
// between Reads is not silence.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	slow   int64
	timer  *time.Timer
	body   io.ReadCloser
	once   sync.Once

	waited time.Duration // in Read, since n was 0
	n      int64
	slowed bool // it was given up as slow
}

func (w *watchdog) Read(p []byte) (int, error) {
	if w.slowed {
		return 0, errSlow
	}
	start := time.Now()
	w.timer.Reset(w.idle)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil {
		if !errors.Is(err, io.EOF) && errors.Is(context.Cause(w.ctx), errSilent) {
			err = errSilent
		}
		return n, err
	}
	w.waited += time.Since(start)
	if w.n += int64(n); w.waited >= w.idle {
		if float64(w.n) < float64(w.slow)*w.waited.Seconds() {
			w.slowed = true
		}
		w.waited, w.n = 0, 0
	}
	return n, nil
}

func (w *watchdog) Close() error {
	err := w.body.Close()
	w.once.Do(func() { w.timer.Stop(); w.cancel(nil) })
	return err
}

// worthRetry reports whether the same request may fare better a little later.
func worthRetry(resp *http.Response, err error) bool {
	if err != nil {
		return isTransient(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isTransient reports whether err is a connection that was lost or refused, or
// a time-out, but neither a canceled context nor a refused certificate.
func isTransient(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, e := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ECONNREFUSED, syscall.EPIPE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return true // a header that was cut off
	}
	// What net/http calls an answer that makes no sense. It has no type.
	if strings.Contains(err.Error(), "transport connection broken") {
		return true
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		return d.IsTemporary || d.IsTimeout
	}
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// backoff returns the pause after a try, the first of which is 1: delay,
// doubled by each try, and up to half of it more so that clients spread.
func backoff(delay time.Duration, try int) time.Duration {
	d := min(delay<<min(try-1, 16), maxRetryAfter)
	return d + rand.N(d/2+1)
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110,
// section 10.2.3), up to maxRetryAfter.
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 63); err == nil {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(t), 0), maxRetryAfter)
	}
	return 0
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// drain reads the little that is left of an answer, so that its connection can
// be used again, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}
