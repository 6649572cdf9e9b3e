package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A front stands before a registry as the world does on a bad day: it answers
// some requests otherwise, and counts the bytes of blobs that pass.
type front struct {
	addr   string
	next   http.Handler    // the registry
	layers map[string]bool // the digests of blobs that are large
	fault  atomic.Pointer[fault]
	sent   atomic.Int64 // bytes of blobs to clients
	taken  atomic.Int64 // bytes of blobs from clients
}

// A fault answers a request in place of the registry and reports that it did, or
// leaves it to the registry.
type fault func(f *front, w http.ResponseWriter, r *http.Request) bool

// behind returns a handler that passes requests on to addr.
func behind(addr string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			r.Out.Host = r.In.Host // the registry builds URLs with it
		},
		// A client that is gone is what the tests want.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// newFront serves a front of the registry at addr, which has these layers. A nil
// fault does nothing.
func newFront(t *testing.T, addr string, layers map[string]bool, do fault) *front {
	f := &front{next: behind(addr), layers: layers}
	f.arm(do)
	server := httptest.NewServer(f)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	f.addr = strings.TrimPrefix(server.URL, "http://")
	return f
}

func (f *front) arm(do fault) { f.fault.Store(&do) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch kindOf(r) {
	case getBlob:
		w = &countedWriter{w, &f.sent}
	case sendBlob, endBlob:
		r.Body = &countedBody{r.Body, &f.taken}
	}
	if do := *f.fault.Load(); do == nil || !do(f, w, r) {
		f.next.ServeHTTP(w, r)
	}
}

// kind is what a request asks of a registry.
type kind string

// The kinds of requests: distribution-spec, "Endpoints".
const (
	ping        kind = "ping"
	getManifest kind = "get manifest"
	putManifest kind = "put manifest"
	getBlob     kind = "get blob"
	getLayer    kind = "get layer" // a large blob
	beginBlob   kind = "begin blob"
	sendBlob    kind = "send blob"
	endBlob     kind = "end blob"
	askBlob     kind = "ask how much of a blob came"
	other       kind = "other"
)

func kindOf(r *http.Request) kind {
	in := func(part string) bool { return strings.Contains(r.URL.Path, part) }
	switch {
	case r.URL.Path == "/v2/":
		return ping
	case in("/blobs/uploads/"):
		k, ok := map[string]kind{"POST": beginBlob, "PATCH": sendBlob, "PUT": endBlob, "GET": askBlob}[r.Method]
		if !ok {
			return other
		}
		return k
	case in("/manifests/") && r.Method == http.MethodPut:
		return putManifest
	case in("/manifests/") && r.Method == http.MethodGet:
		return getManifest
	case in("/blobs/") && r.Method == http.MethodGet:
		return getBlob
	}
	return other
}

// is reports whether a request is of a kind.
func (f *front) is(k kind, r *http.Request) bool {
	if k == getLayer {
		return kindOf(r) == getBlob && f.layers[path.Base(r.URL.Path)]
	}
	return kindOf(r) == k
}

// always is every request in first.
const always = 1 << 30

// first applies do to the first n requests of a kind.
func first(n int64, k kind, do fault) fault {
	return between(0, n, k, do)
}

// between applies do to the requests of a kind after the first from, until there
// were to.
func between(from, to int64, k kind, do fault) fault {
	var seen atomic.Int64
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		if !f.is(k, r) {
			return false
		}
		n := seen.Add(1)
		return n > from && n <= to && do(f, w, r)
	}
}

// inTurn applies to the first request for each layer the one fault, and to later
// ones the other.
func inTurn(once, later fault) fault {
	var seen sync.Map
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		if !f.is(getLayer, r) {
			return false
		}
		if _, ok := seen.LoadOrStore(r.URL.Path, true); ok {
			return later(f, w, r)
		}
		return once(f, w, r)
	}
}

// anyOf applies the first of several faults that answers.
func anyOf(all ...fault) fault {
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		for _, do := range all {
			if do(f, w, r) {
				return true
			}
		}
		return false
	}
}

// status answers with a status, and headers of which each is "Name: value".
func status(code int, headers ...string) fault {
	return func(_ *front, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		setHeaders(w.Header(), headers)
		w.WriteHeader(code)
		return true
	}
}

func setHeaders(h http.Header, headers []string) {
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
}

// busy answers with 429 and a Retry-After, and refuses whoever does not wait.
func busy(after func(time.Time) string, wait time.Duration) fault {
	var since atomic.Pointer[time.Time]
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		now := time.Now()
		switch was := since.Load(); {
		case was == nil:
			since.Store(&now)
			return status(http.StatusTooManyRequests, "Retry-After: "+after(now))(f, w, r)
		case now.Sub(*was) < wait:
			return status(http.StatusForbidden)(f, w, r)
		}
		return false
	}
}

// refusal answers with an error of the registry: distribution-spec, "Error Codes".
func refusal(status int, code string) fault {
	return func(_ *front, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"as the test wants it"}]}`, code)
		return true
	}
}

// page answers as a captive portal does.
func page(_ *front, w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprint(w, "<html><body>Welcome to the hotel. Please log in.</body></html>")
	return true
}

// cut ends the connection when n bytes of the answer's body have gone.
func cut(n int) fault {
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		f.next.ServeHTTP(&cutWriter{w, n, func() { panic(http.ErrAbortHandler) }}, r)
		return true
	}
}

// silence says nothing more when n bytes of the body have gone.
func silence(n int) fault {
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		f.next.ServeHTTP(&cutWriter{w, n, func() {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}}, r)
		return true
	}
}

// trickle sends a byte a second when n bytes of the body have gone.
func trickle(n int) fault {
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		f.next.ServeHTTP(&trickleWriter{w, n, r}, r)
		return true
	}
}

type trickleWriter struct {
	http.ResponseWriter
	free int
	r    *http.Request
}

func (w *trickleWriter) Write(p []byte) (int, error) {
	n := min(w.free, len(p))
	w.free -= n
	if n, err := w.ResponseWriter.Write(p[:n]); err != nil {
		return n, err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ; n < len(p); n++ {
		if _, err := w.ResponseWriter.Write(p[n : n+1]); err != nil {
			return n, err
		}
		if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
			return n, err
		}
		select {
		case <-tick.C:
		case <-w.r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	return n, nil
}

// reset sends some bytes and then resets the connection.
func reset(sends string) fault {
	return func(_ *front, w http.ResponseWriter, _ *http.Request) bool {
		raw(w, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, sends)
			_ = c.SetLinger(0)
		})
		return true
	}
}

// raw gives the connection of a request to do, and closes it.
func raw(w http.ResponseWriter, do func(*net.TCPConn)) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // the fault is not what it says
	}
	defer conn.Close()
	do(conn.(*net.TCPConn))
}

// overlong gives more bytes than the answer's Content-Length says.
func overlong(f *front, w http.ResponseWriter, r *http.Request) bool {
	rec := httptest.NewRecorder()
	f.next.ServeHTTP(rec, r)
	f.sent.Add(int64(rec.Body.Len()))
	raw(w, func(c *net.TCPConn) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d x\r\n", rec.Code)
		_ = rec.Header().Write(c)
		_, _ = c.Write(append([]byte("\r\n"), rec.Body.Bytes()...))
		_, _ = c.Write(make([]byte, 1000))
	})
	return true
}

// altered has the registry answer, and changes that.
func altered(change func(rec *httptest.ResponseRecorder)) fault {
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		rec := httptest.NewRecorder()
		f.next.ServeHTTP(rec, r)
		change(rec)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		return true
	}
}

// withHeaders has the registry answer, and changes headers.
func withHeaders(headers ...string) fault {
	return altered(func(rec *httptest.ResponseRecorder) { setHeaders(rec.Header(), headers) })
}

// without drops a header of the request.
func without(header string) fault {
	return func(_ *front, _ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del(header)
		return false
	}
}

// damaged answers with as many bytes as there should be, but one is another.
var damaged = altered(func(rec *httptest.ResponseRecorder) {
	if b := rec.Body.Bytes(); len(b) > 0 {
		b[len(b)/2] ^= 1
	}
})

// halved answers with the first half of the bytes, and calls that all.
var halved = altered(func(rec *httptest.ResponseRecorder) {
	rec.Body.Truncate(rec.Body.Len() / 2)
	rec.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
})

// multipart wraps the bytes of a range: RFC 9110, section 14.6.
var multipart = altered(func(rec *httptest.ResponseRecorder) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "--X\r\nContent-Range: %s\r\n\r\n%s\r\n--X--\r\n", rec.Header().Get("Content-Range"), rec.Body)
	rec.Body = &b
	rec.Header().Del("Content-Range")
	setHeaders(rec.Header(), []string{"Content-Type: multipart/byteranges; boundary=X", "Content-Length: " + strconv.Itoa(b.Len())})
})

// deaf has the registry do what is asked, and answers otherwise.
func deaf(answer fault) fault {
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		f.next.ServeHTTP(httptest.NewRecorder(), r)
		return answer(f, w, r)
	}
}

// cutWriter calls then when n bytes have been written.
type cutWriter struct {
	http.ResponseWriter
	left int
	then func()
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(w.left, len(p))])
	w.left -= n
	if err == nil && n < len(p) {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		w.then()
	}
	return n, err
}

// countedWriter counts the bytes of an answer.
type countedWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// countedBody counts the bytes of a request.
type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
