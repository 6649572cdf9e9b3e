package oci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// large is a blob of several parts.
func large() thing { return randomThing(mediatypes.BlockLayer, 70, 5*partSize+12345) }

// sourceOf opens the stub's artifact with so many connections.
func sourceOf(t *testing.T, s *stub, connections int) *registrySource {
	t.Helper()
	src, err := openRegistrySource(t.Context(), s.ref(t), &StoreOptions{Connections: connections}, hasty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src.(*registrySource)
}

// TestAhead reads large ranges with any number of connections, over lost connections
// and without: the bytes are right, and each is asked for once.
func TestAhead(t *testing.T) {
	b := large()
	for _, cut := range []int{-1, 3 << 20} {
		s := newStub(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return serveRange(w, r, b.raw, cut)
		}))
		for _, connections := range []int{1, 2, 8} {
			src := sourceOf(t, s, connections)
			for _, off := range []int64{0, 1, partSize, 4 * partSize} {
				if got := readBlob(t, src, b.Descriptor, off, -1); !bytes.Equal(got, b.raw[off:]) {
					t.Fatalf("cut at %d, %d connections: %d bytes from %d, which are wrong", cut, connections, len(got), off)
				}
			}
			if src.ahead.parts != connections || src.ahead.readers != 0 {
				t.Errorf("%d parts are free and %d readers left, want %d and 0", src.ahead.parts, src.ahead.readers, connections)
			}
		}
	}
}

// TestAheadBounded looks at readers that nobody reads from: they fetch no more than
// the budget, share it, and keep no other from going on.
func TestAheadBounded(t *testing.T) {
	const connections = 4
	b := randomThing(mediatypes.BlockLayer, 71, 12*partSize)
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		return serveRange(w, r, b.raw, -1)
	}))
	src := sourceOf(t, s, connections)
	var readers []*aheadReader
	open := func() *aheadReader {
		r, err := src.Blob(t.Context(), b.Descriptor, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r.(*aheadReader))
		return r.(*aheadReader)
	}
	begun := func() (n int) {
		for _, r := range readers {
			for _, p := range r.parts {
				<-p.done
				n++
			}
		}
		return n
	}
	first := open()
	if n, gets := begun(), s.count("GET blobs"); n != connections || gets != 1+connections {
		t.Errorf("one idle reader: %d parts, %d requests, want %d and %d", n, gets, connections, 1+connections)
	}
	second := open() // there is no room left
	if n := begun(); n != connections {
		t.Errorf("two idle readers: %d parts, want %d", n, connections)
	}
	if got, err := io.ReadAll(second); err != nil || !bytes.Equal(got, b.raw) {
		t.Errorf("the second reader: %d bytes, %v", len(got), err)
	}
	if got, err := io.ReadAll(first); err != nil || !bytes.Equal(got, b.raw) {
		t.Errorf("the first reader: %d bytes, %v", len(got), err)
	}
	for _, r := range readers {
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("Read after Close: %v", err)
		}
	}
	if src.ahead.parts != connections || src.ahead.readers != 0 {
		t.Errorf("%d parts are free and %d readers left", src.ahead.parts, src.ahead.readers)
	}
}

// TestAheadWhole reads from a registry that knows no ranges: it is asked once.
func TestAheadWhole(t *testing.T) {
	b := large()
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		_, _ = w.Write(b.raw)
		return true
	}))
	src := sourceOf(t, s, 8)
	if got := readBlob(t, src, b.Descriptor, 100, -1); !bytes.Equal(got, b.raw[100:]) {
		t.Errorf("%d wrong bytes", len(got))
	}
	if n := s.count("GET blobs"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestAheadFault fails one part for good: so does the reader, at that part, and the
// requests for others end.
func TestAheadFault(t *testing.T) {
	b := large()
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Header.Get("Range") == "bytes=16777216-25165823" {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return serveRange(w, r, b.raw, -1)
	}))
	r, err := sourceOf(t, s, 8).Blob(t.Context(), b.Descriptor, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if e, ok := errors.AsType[*Error](err); !ok || e.Offset != 2*partSize || !errors.Is(err, ErrUnauthorized) {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(got, b.raw[:2*partSize]) {
		t.Errorf("%d bytes before the fault", len(got))
	}
	if _, again := r.Read(make([]byte, 1)); !errors.Is(again, err) {
		t.Errorf("then %v", again)
	}
}

func TestAheadCanceled(t *testing.T) {
	b := large()
	ctx, cancel := context.WithCancel(t.Context())
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, get int) bool {
		if get > 1 {
			cancel()
			<-r.Context().Done()
			return true
		}
		return serveRange(w, r, b.raw, -1)
	}))
	r, err := sourceOf(t, s, 8).Blob(ctx, b.Descriptor, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// drip is a body that brings size bytes in each interval, total in all.
type drip struct {
	size, total int
	interval    time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	if d.total == 0 {
		return 0, io.EOF
	}
	time.Sleep(d.interval)
	n := min(d.size, d.total, len(p))
	d.total -= n
	return n, nil
}

func (*drip) Close() error { return nil }

// TestSlowBodies gives up on bodies that bring next to nothing, and on no others.
func TestSlowBodies(t *testing.T) {
	for _, tt := range []struct {
		name string
		body drip
		idle time.Duration // pause of the reader between reads
		want error
	}{
		{"a byte a second", drip{1, 1000, time.Second}, 0, errSlow},
		{"just too slow", drip{4 << 10, 1 << 20, 1100 * time.Millisecond}, 0, errSlow},
		{"slow enough", drip{4 << 10, 1 << 20, 900 * time.Millisecond}, 0, nil},
		{"fast", drip{1 << 20, 1 << 30, time.Second}, 0, nil},
		{"read slowly", drip{10, 1000, time.Millisecond}, time.Minute, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				w := &watchdog{ctx: ctx, cancel: cancel, idle: defaultPatience.idle, slow: defaultPatience.slow, body: &tt.body}
				w.timer = time.AfterFunc(time.Hour, func() {})
				defer w.Close()
				start := time.Now()
				var err error
				for buf := make([]byte, 1<<20); err == nil; time.Sleep(tt.idle) {
					_, err = w.Read(buf)
				}
				if !errors.Is(err, tt.want) && (tt.want != nil || !errors.Is(err, io.EOF)) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if took := time.Since(start); tt.want != nil && took > 2*defaultPatience.idle {
					t.Errorf("given up after %v", took)
				}
			})
		})
	}
}

// trip is a transport that reads what is sent and answers with a body of 10 MB.
type trip struct{ sent int64 }

func (x *trip) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		x.sent, _ = io.Copy(io.Discard, req.Body)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(make([]byte, 10_000_000)))}, nil
}

// TestThrottle moves 10 MB each way at 1 MB/s.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var below trip
		rt := throttled(&below, 1_000_000)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://x", bytes.NewReader(make([]byte, 10_000_000)))
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{"up", "down"} {
			start := time.Now()
			var resp *http.Response
			if way == "up" {
				resp, err = rt.RoundTrip(req)
			} else {
				req.Body = nil
				if resp, err = rt.RoundTrip(req); err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
			}
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start).Seconds(); took < 9.8 || took > 10.2 {
				t.Errorf("%s: 10 MB took %.1f s, want 10", way, took)
			}
		}
		if below.sent != 10_000_000 {
			t.Errorf("%d bytes were sent", below.sent)
		}
	})
	if below := http.RoundTripper(&trip{}); throttled(below, 0) != below {
		t.Error("without a limit there is a throttle")
	}
}
