package e2e_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// cutter is a proxy that breaks connections in the middle of a body.
type cutter struct {
	addr string
	cut  map[string]int64 // "PATCH 2": in the second PATCH of a blob, after so many bytes

	mu      sync.Mutex
	seen    map[string]int // requests of uploads by method
	arrived int64          // bytes of their bodies
}

func newCutter(t *testing.T, addr string, cut map[string]int64) *cutter {
	c := &cutter{cut: cut, seen: map[string]int{}}
	next := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			r.Out.Host = r.In.Host // the registry builds URLs with it
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/uploads/") {
			r.Body = c.watch(r)
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.addr = strings.TrimPrefix(server.URL, "http://")
	return c
}

// watch returns the body of a request as it is passed on.
func (c *cutter) watch(r *http.Request) io.ReadCloser {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[r.Method]++
	left, cut := c.cut[fmt.Sprint(r.Method, " ", c.seen[r.Method])]
	if !cut {
		left = -1
	}
	return &cutBody{r.Body, c, left}
}

// cutBody is a body that ends early.
type cutBody struct {
	io.ReadCloser
	c    *cutter
	left int64 // -1: to the end
}

var errCut = errors.New("cut")

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errCut
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.c.arrived += int64(n)
	return n, err
}

// TestUploadInChunks pushes a layer of 100 MB over connections that break.
func TestUploadInChunks(t *testing.T) {
	needs(t, registry.Program)
	const mb, size = 1_000_000, 100_000_000
	dir := t.TempDir()
	noise := make([]byte, size)
	_, _ = rand.Read(noise)
	if err := os.WriteFile(filepath.Join(dir, "noise.bin"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newRegistry(t, nil)
	for i, tt := range []struct {
		name  string
		cut   map[string]int64
		most  int64 // bytes that arrive
		patch int   // PATCHes, at least
	}{
		{"whole", nil, 101 * mb, 0},
		{"PUT cut", map[string]int64{"PUT 1": 40 * mb}, 141 * mb, 3},
		{"PUT cut at once", map[string]int64{"PUT 1": 0}, 101 * mb, 3},
		{"PUT and PATCH cut", map[string]int64{"PUT 1": 10 * mb, "PATCH 2": 10 * mb}, (10 + 44 + 101) * mb, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, u := newCutter(t, s.Addr, tt.cut), newUser(t)
			u.tool("push", fmt.Sprintf("%s/org/m%d:v1", c.addr, i), dir)
			t.Logf("%v, %d MB arrived", c.seen, c.arrived/mb)
			if c.arrived < size || c.arrived > tt.most {
				t.Errorf("%d bytes arrived, want at most %d", c.arrived, tt.most)
			}
			if c.seen["PATCH"] < tt.patch {
				t.Errorf("%d PATCHes, want %d", c.seen["PATCH"], tt.patch)
			}
			u.pulls(fmt.Sprintf("%s/org/m%d:v1", s.Addr, i), dir)
		})
	}
}

// TestMountFrom pushes a model to a second repository of a registry, which takes
// its layers over from the first.
func TestMountFrom(t *testing.T) {
	needs(t, registry.Program)
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	c := newCutter(t, s.Addr, nil)
	u.tool("push", c.addr+"/org/base:v1", dir)
	first := c.arrived
	u.tool("push", "--mount-from", c.addr+"/org/other", "--mount-from", c.addr+"/org/base", c.addr+"/org/tuned:v1", dir)
	if again := c.arrived - first; again > first/10 {
		t.Errorf("%d bytes arrived, and %d with mounts", first, again)
	}
	u.pulls(s.Addr+"/org/tuned:v1", dir)
}
