package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// stub is a registry with scripted faults. script sees every request first and
// reports whether it has answered it.
type stub struct {
	host   string
	script func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	seen  []string // "METHOD kind Range" of blob and manifest requests
	blobs []string // digests of blobs that were asked for
}

func newStub(t testing.TB, script func(w http.ResponseWriter, r *http.Request) bool) *stub {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	s := &stub{script: script}
	reg := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if parts := strings.Split(r.URL.Path, "/"); len(parts) > 3 {
			s.mu.Lock()
			if r.Method == http.MethodGet && parts[len(parts)-2] == "blobs" {
				s.blobs = append(s.blobs, parts[len(parts)-1])
			}
			s.seen = append(s.seen, strings.TrimSpace(r.Method+" "+parts[len(parts)-2]+" "+r.Header.Get("Range")))
			s.mu.Unlock()
		}
		if s.script == nil || !s.script(w, r) {
			reg.ServeHTTP(w, r)
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(srv.Close)
	s.host = strings.TrimPrefix(srv.URL, "http://")
	return s
}

func (s *stub) ref(t testing.TB) Reference { return parseRef(t, s.host+"/org/model:v1") }

// count returns how many requests began with prefix.
func (s *stub) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.seen {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// source opens the stub's artifact without pauses between attempts.
func (s *stub) source(t testing.TB, wait patience, keys authn.Keychain) Source {
	t.Helper()
	src, err := openRegistrySource(t.Context(), s.ref(t), &StoreOptions{Keychain: keys}, wait)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func (s *stub) target(t testing.TB) Target {
	t.Helper()
	target, err := openRegistryTarget(t.Context(), s.ref(t), nil, hasty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return target
}

// blobServer answers GETs of one blob in its own way; get is the number of the
// request, from 1.
func blobServer(b thing, answer func(w http.ResponseWriter, r *http.Request, get int) bool) func(http.ResponseWriter, *http.Request) bool {
	var gets atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/blobs/"+b.Digest.String()) {
			return false
		}
		return answer(w, r, int(gets.Add(1)))
	}
}

// serveRange answers as a registry does, and cuts the connection after most
// bytes when most >= 0.
func serveRange(w http.ResponseWriter, r *http.Request, raw []byte, most int) bool {
	from, to, status := 0, len(raw)-1, http.StatusOK
	if h := r.Header.Get("Range"); h != "" {
		if _, err := fmt.Sscanf(h, "bytes=%d-%d", &from, &to); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return true
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(raw)))
		status = http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.Itoa(to-from+1))
	w.WriteHeader(status)
	part := raw[from : to+1]
	if most >= 0 && most < len(part) {
		_, _ = w.Write(part[:most])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(part)
	return true
}

// TestBlobResumes cuts the connection over and over: every byte is sent once.
func TestBlobResumes(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 50, 100_000)
	const cut = 7000
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool { return serveRange(w, r, b.raw, cut) }))
	src := s.source(t, hasty, nil)
	if got := readBlob(t, src, b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) {
		t.Fatalf("%d wrong bytes", len(got))
	}
	if got, want := s.count("GET blobs"), 15; got != want {
		t.Errorf("%d requests, want %d", got, want)
	}
	for i, want := range []string{"GET blobs", "GET blobs bytes=7000-99999", "GET blobs bytes=14000-99999"} {
		if s.seen[i] != want {
			t.Errorf("request %d is %q, want %q", i, s.seen[i], want)
		}
	}
	if got := readBlob(t, src, b.Descriptor, 10, 500); !bytes.Equal(got, b.raw[10:510]) || s.seen[15] != "GET blobs bytes=10-509" {
		t.Errorf("a part: %d bytes by %q", len(got), s.seen[15])
	}
}

func TestBlobFaults(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 51, 10_000)
	header := func(k, v string, status int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set(k, v)
			w.WriteHeader(status)
			_, _ = w.Write(b.raw[5:10])
			return true
		}
	}
	status := func(code, until int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, get int) bool {
			if get > until {
				return serveRange(w, r, b.raw, -1)
			}
			w.WriteHeader(code)
			return true
		}
	}
	whole := func(cut int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, _ int) bool {
			r.Header.Del("Range")
			return serveRange(w, r, b.raw, cut)
		}
	}
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int) bool
		want   error // nil: the bytes are right
		gets   int
	}{
		{"500 twice", status(500, 2), nil, 3},
		{"503 for ever", status(503, 1<<30), ErrRegistry, hasty.tries},
		{"429 twice", status(429, 2), nil, 3},
		{"408 twice", status(408, 2), nil, 3},
		{"404", status(404, 1<<30), ErrNotFound, 1},
		{"403", status(403, 1<<30), ErrUnauthorized, 1},
		{"401", status(401, 1<<30), ErrUnauthorized, 1},
		{"416", status(416, 1<<30), ErrCorrupt, 1},
		{"200 to a range", whole(-1), nil, 1},
		{"200 to a range, cut", whole(8), ErrRegistry, 2},
		{"no Content-Range", header("X", "y", 206), ErrRegistry, 1},
		{"wrong start", header("Content-Range", "bytes 0-4/10000", 206), ErrRegistry, 1},
		{"wrong end", header("Content-Range", "bytes 5-10/10000", 206), ErrRegistry, 1},
		{"wrong total", header("Content-Range", "bytes 5-9/9999", 206), ErrRegistry, 1},
		{"unknown total", header("Content-Range", "bytes 5-9/*", 206), nil, 1},
		{"multipart", header("Content-Type", "multipart/byteranges; boundary=x", 206), ErrRegistry, 1},
		{"encoded", header("Content-Encoding", "gzip", 200), ErrRegistry, 1},
		{"another size", header("Content-Length", "5", 200), ErrCorrupt, 1},
		{"no bytes, ever", func(w http.ResponseWriter, r *http.Request, _ int) bool { return serveRange(w, r, b.raw, 0) }, ErrRegistry, maxStalls + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStub(t, blobServer(b, tt.answer))
			src := s.source(t, hasty, nil)
			got, err := readRange(t.Context(), src, b.Descriptor, 5, 5)
			if !errors.Is(err, tt.want) || !bytes.Equal(got, b.raw[5:5+len(got)]) || err == nil && len(got) != 5 {
				t.Errorf("%d bytes, %v; want %v", len(got), err, tt.want)
			}
			if n := s.count("GET blobs"); n != tt.gets {
				t.Errorf("%d requests, want %d", n, tt.gets)
			}
			if e, ok := errors.AsType[*Error](err); err != nil && (!ok || !strings.Contains(e.Object, b.Digest.String()) || e.Offset < 5) {
				t.Errorf("%v does not name blob and offset", err)
			}
		})
	}
}

func readRange(ctx context.Context, src Source, d ocispec.Descriptor, off, n int64) ([]byte, error) {
	r, err := src.Blob(ctx, d, off, n)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r)
	return raw, errors.Join(err, r.Close())
}

// TestBlobSilence stalls within an answer and before one: both are given up and
// asked for again.
func TestBlobSilence(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 52, 1000)
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, get int) bool {
		switch get {
		case 1:
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(b.raw[:400])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case 2:
			<-r.Context().Done()
		default:
			return serveRange(w, r, b.raw, -1)
		}
		return true
	}))
	wait := hasty
	wait.idle = 50 * time.Millisecond
	if got := readBlob(t, s.source(t, wait, nil), b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) {
		t.Errorf("%d wrong bytes", len(got))
	}
	if n := s.count("GET blobs bytes=400-999"); n != 2 {
		t.Errorf("requests: %q", s.seen)
	}
}

// TestTagMoves moves the tag after it was resolved.
func TestTagMoves(t *testing.T) {
	s := newStub(t, nil)
	old, moved := newModel(t, 55), newModel(t, 56)
	old.publish(t, s.ref(t))
	src := s.source(t, hasty, nil)
	if _, err := src.Resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	moved.publish(t, s.ref(t))
	d, err := src.Resolve(t.Context())
	if err != nil || d.Digest != old.index.Digest {
		t.Errorf("resolved to %v, %v", d.Digest, err)
	}
	if raw, err := src.Manifest(t.Context(), d); err != nil || !bytes.Equal(raw, old.index.raw) {
		t.Errorf("manifest %s, %v", raw, err)
	}
}

func TestManifestFaults(t *testing.T) {
	m := newModel(t, 57)
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		want                    error
		says                    string
	}{
		{"captive portal", "text/html; charset=utf-8", "<html>please log in</html>", 200, ErrRegistry, "not a registry"},
		{"page without type", "", "  <!DOCTYPE html>", 200, ErrRegistry, "not a registry"},
		{"5 MiB", ocispec.MediaTypeImageIndex, strings.Repeat(" ", 5<<20), 200, ErrCorrupt, "more than"},
		{"foreign type", "application/json", `{"mediaType":"text/plain"}`, 200, ErrNotModel, "not that of a manifest"},
		{"no JSON", "application/json", `x`, 200, ErrCorrupt, "not a manifest"},
		{"unauthorized", "application/json", `{"errors":[{"code":"UNAUTHORIZED","message":"a\u001b[31mb"}]}`, 401, ErrUnauthorized, `oras-bsm login`},
		{"escapes", "application/json", `{"errors":[{"code":"DENIED","message":"a\u001b[31mb"}]}`, 403, ErrUnauthorized, `a\x1b[31mb`},
		{"unknown", "application/json", `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, 404, ErrNotFound, "check repository and tag"},
		{"teapot", "text/html", strings.Repeat("x", 100_000), 418, ErrRegistry, ""},
		{"type in the body", "application/json", string(m.index.raw), 200, nil, ""},
		{"type with a parameter", ocispec.MediaTypeImageIndex + "; charset=utf-8", string(m.index.raw), 200, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", tt.contentType)
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
				return true
			})
			d, err := s.source(t, hasty, nil).Resolve(t.Context())
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, %v", d, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) || err == nil && (d.Digest != m.index.Digest || d.MediaType != m.index.MediaType) {
				t.Errorf("%v, %v", d, err)
			}
		})
	}
}

// TestManifestCut loses the connection within a manifest, and within its header:
// it is asked for again, a bounded number of times.
func TestManifestCut(t *testing.T) {
	m := newModel(t, 61)
	for _, tt := range []struct {
		name string
		cuts int
		head bool
		gets int
		want error
	}{
		{"body once", 1, false, 2, nil},
		{"header once", 1, true, 2, nil},
		{"body always", 1000, false, hasty.tries, ErrRegistry},
		{"header always", 1000, true, hasty.tries, ErrRegistry},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var gets atomic.Int32
			s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				if int(gets.Add(1)) > tt.cuts {
					w.Header().Set("Content-Type", m.index.MediaType)
					_, _ = w.Write(m.index.raw)
					return true
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return true
				}
				answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n", len(m.index.raw))
				if tt.head {
					answer = answer[:len(answer)-4]
				} else {
					answer += "\r\n" + string(m.index.raw[:10])
				}
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
				return true
			})
			d, err := s.source(t, hasty, nil).Resolve(t.Context())
			if !errors.Is(err, tt.want) || err == nil && d.Digest != m.index.Digest {
				t.Errorf("%v, %v", d, err)
			}
			if n := int(gets.Load()); n != tt.gets {
				t.Errorf("%d requests, want %d", n, tt.gets)
			}
		})
	}
}

// TestManifestWrongBytes answers a request by digest with another manifest.
func TestManifestWrongBytes(t *testing.T) {
	m, other := newModel(t, 58), newModel(t, 59)
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return false
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		w.Header().Set("Docker-Content-Digest", m.index.Digest.String())
		_, _ = w.Write(other.index.raw)
		return true
	})
	if _, err := s.source(t, hasty, nil).Manifest(t.Context(), m.index.Descriptor); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Manifest: %v", err)
	}
	if _, err := resolve(t.Context(), parseRef(t, s.host+"/a@"+m.index.Digest.String())); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Resolve: %v", err)
	}
}

// TestBlobNeverMore asks a registry that sends more than it says.
func TestBlobNeverMore(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 71, 100)
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Content-Range", "bytes 0-9/100") // chunked, and endless
		w.WriteHeader(http.StatusPartialContent)
		for range 100 {
			_, _ = w.Write(b.raw)
		}
		return true
	}))
	if got := readBlob(t, s.source(t, hasty, nil), b.Descriptor, 0, 10); !bytes.Equal(got, b.raw[:10]) {
		t.Errorf("%d bytes", len(got))
	}
}

// TestSHA512 reads content that is named by a sha512 digest.
func TestSHA512(t *testing.T) {
	m := newModel(t, 72)
	d := m.index.Descriptor
	d.Digest = digest.SHA512.FromBytes(m.index.raw)
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/manifests/"+d.Digest.String()) {
			return false
		}
		w.Header().Set("Content-Type", d.MediaType)
		_, _ = w.Write(m.index.raw)
		return true
	})
	got, err := resolve(t.Context(), parseRef(t, s.host+"/a@"+d.Digest.String()))
	if err != nil || got.Digest != d.Digest {
		t.Errorf("%v, %v", got, err)
	}
}
