package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// moment is when, with respect to one request, a proxy pulls its wire.
type moment int

const (
	before moment = iota // the registry does not see the request
	during               // half of what is sent, or of what comes, has passed
	after                // the registry is done, and the program may not know
)

func (m moment) String() string { return [...]string{"before", "during", "after"}[m] }

// wire is pulled once, at one request of a run.
type wire struct {
	request int64 // counted from 1
	moment  moment
	pull    func() // works once
}

// proxy stands before a registry, counts the requests and sees the uploads.
type proxy struct {
	addr     string
	requests atomic.Int64
	uploads  atomic.Int64 // requests that send or begin a blob
	wire     atomic.Pointer[wire]
}

func newProxy(t *testing.T, addr string) *proxy {
	p := &proxy{}
	next := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			r.Out.Host = r.In.Host // the registry builds URLs with it
		},
		// A client that is gone is what the tests want.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := p.requests.Add(1)
		if strings.Contains(r.URL.Path, "/blobs/uploads/") {
			p.uploads.Add(1)
		}
		if x := p.wire.Load(); x != nil && x.request == n {
			x.serve(next, w, r)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.addr = strings.TrimPrefix(server.URL, "http://")
	return p
}

// arm has the wire pulled at a request of the run that begins now.
func (p *proxy) arm(x *wire) {
	p.wire.Store(x)
	p.requests.Store(0)
	p.uploads.Store(0)
}

// serve serves the request at which the wire is pulled.
func (x *wire) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	switch x.moment {
	case before:
		x.pull()
		gone(r)
	case during:
		defer x.pull() // nothing is sent either way
		if r.ContentLength != 0 {
			r.Body = &tripBody{r.Body, max(r.ContentLength/2, 1), x.pull}
		} else {
			w = &tripWriter{w, x.pull}
		}
		next.ServeHTTP(w, r)
	case after:
		next.ServeHTTP(httptest.NewRecorder(), r)
		x.pull()
		gone(r)
	}
}

// gone waits for the client to go. The server notices when it reads.
func gone(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// tripBody pulls the wire when some bytes of a request have passed.
type tripBody struct {
	io.ReadCloser
	left int64
	pull func()
}

func (b *tripBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left <= 0 || err != nil {
		b.pull()
	}
	return n, err
}

// tripWriter pulls the wire between the halves of the first part of an answer.
type tripWriter struct {
	http.ResponseWriter
	pull func()
}

func (w *tripWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *tripWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	w.pull()
	m, err := w.ResponseWriter.Write(p[n:])
	return n + m, err
}
