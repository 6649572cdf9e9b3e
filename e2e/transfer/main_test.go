package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// TestRun proves that every client fetches all files, in memory alone and without a
// limit: run compares them.
func TestRun(t *testing.T) {
	o := options{size: 4 << 20, dtype: model.DtypeBF16, rates: []float64{0}, disk: t.TempDir(), rounds: 1}
	t.Setenv("TMPDIR", t.TempDir())
	if err := run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// TestLimit proves that what is sent takes as long as the limit says, but for what
// may go at once.
func TestLimit(t *testing.T) {
	s := newServer()
	defer s.close()
	dir := t.TempDir()
	if err := model.Generate(dir, model.Options{Size: 2 << 20, Shards: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.addFiles("files", dir); err != nil {
		t.Fatal(err)
	}
	s.limit(5 << 20)
	start := time.Now()
	resp, err := http.Get("http://" + s.addr + "/v2/files/blobs/" + s.files["model.safetensors"])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n < 2<<20 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if took, least := time.Since(start), 300*time.Millisecond; took < least {
		t.Errorf("%d bytes took %v, want at least %v", n, took, least)
	}
	for path, want := range map[string]int{"/v2/": 200, "/v2/files/manifests/v1": 200, "/v2/files/manifests/v2": 404, "/v2/files/blobs/sha256:00": 404} {
		resp, err := http.Get("http://" + s.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", strings.TrimPrefix(path, "/v2/"), resp.Status, want)
		}
	}
}
