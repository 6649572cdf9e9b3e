package oci

import (
	"context"
	"io"
	"net/http"

	"golang.org/x/time/rate"
)

// throttle lets so many bytes of bodies pass in a second, each way. What waits here
// is not on the network, and no watchdog counts it.
type throttle struct {
	next     http.RoundTripper
	down, up *rate.Limiter
}

// throttled returns next, or what limits it to bytesPerSecond each way where that is
// not 0.
func throttled(next http.RoundTripper, bytesPerSecond int64) http.RoundTripper {
	if bytesPerSecond <= 0 {
		return next
	}
	// A tenth of a second at once: less would be many wake-ups, more would be felt.
	burst := int(min(max(bytesPerSecond/10, 1), 1<<20))
	limit := rate.Limit(bytesPerSecond)
	return &throttle{next, rate.NewLimiter(limit, burst), rate.NewLimiter(limit, burst)}
}

func (t *throttle) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		ctx := req.Context()
		send := req.Clone(ctx)
		send.Body = &throttledBody{ctx, t.up, req.Body}
		if again := req.GetBody; again != nil {
			send.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return &throttledBody{ctx, t.up, body}, err
			}
		}
		req = send
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		resp.Body = &throttledBody{req.Context(), t.down, resp.Body}
	}
	return resp, err
}

// throttledBody reads no faster than limit allows.
type throttledBody struct {
	ctx   context.Context
	limit *rate.Limiter
	io.ReadCloser
}

func (b *throttledBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.limit.Burst())])
	if n > 0 {
		if werr := b.limit.WaitN(b.ctx, n); werr != nil {
			return n, werr
		}
	}
	return n, err
}
