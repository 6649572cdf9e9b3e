package oci

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// TestUploadFaults fails uploads for a while: what arrives is whole.
func TestUploadFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		status int
		want   error
		tries  int
	}{
		{"POST 503", http.MethodPost, 503, nil, 3},
		{"PUT 500", http.MethodPut, 500, nil, 3},
		{"PUT cut", http.MethodPut, 0, nil, 3},
		{"PUT 504", http.MethodPut, 504, nil, 3},
		{"PUT 404", http.MethodPut, 404, nil, 3},
		{"PUT 413", http.MethodPut, 413, ErrRegistry, 1},
		{"POST 404", http.MethodPost, 404, ErrNotFound, 1},
		{"POST 401", http.MethodPost, 401, ErrUnauthorized, 1},
		{"PUT 400", http.MethodPut, 400, ErrRegistry, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != tt.method || !strings.Contains(r.URL.Path, "/blobs/") || tries.Add(1) > 2 {
					return false
				}
				if tt.status == 0 {
					_, _ = io.CopyN(io.Discard, r.Body, 10)
					panic(http.ErrAbortHandler)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(tt.status)
				return true
			})
			b := randomThing(mediatypes.BlockLayer, 60, 500_000)
			temp := t.TempDir()
			target, err := openRegistryTarget(t.Context(), s.ref(t), &StoreOptions{TempDir: temp}, hasty)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			w, err := target.Create(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(b.raw); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, temp); len(got) != 0 {
				t.Errorf("a kill would leave %v", got)
			}
			if err := w.Commit(t.Context(), b.Descriptor); !errors.Is(err, tt.want) {
				t.Fatalf("Commit: %v", err)
			}
			if n := int(tries.Load()); n != tt.tries {
				t.Errorf("%d tries, want %d", n, tt.tries)
			}
			if got := tree(t, temp); len(got) != 0 {
				t.Errorf("spool files left: %v", got)
			}
			if tt.want == nil && !bytes.Equal(readBlob(t, s.source(t, hasty, nil), b.Descriptor, 0, -1), b.raw) {
				t.Error("wrong bytes arrived")
			}
		})
	}
}

// TestUploadSkipsExisting commits a blob that the registry has.
func TestUploadSkipsExisting(t *testing.T) {
	s := newStub(t, nil)
	target := s.target(t)
	b := randomThing(mediatypes.BlockLayer, 61, 100)
	commit(t, target, b)
	before := s.count("POST")
	commit(t, target, b)
	if after := s.count("POST"); before != 1 || after != before {
		t.Errorf("%d uploads, then %d", before, after)
	}
}

// TestPublishThroughPortal pushes to a proxy that says yes to everything.
func TestPublishThroughPortal(t *testing.T) {
	s := newStub(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>welcome</html>")
		return true
	})
	target := s.target(t)
	m := newModel(t, 62)
	if err := target.PutManifest(t.Context(), m.index.Descriptor, m.index.raw); err != nil {
		t.Logf("PutManifest: %v", err)
	}
	if ok, err := target.Has(t.Context(), m.layers[0].Descriptor); ok {
		t.Errorf("Has: %v, %v", ok, err)
	}
	if err := target.Publish(t.Context(), m.index.Descriptor); !errors.Is(err, ErrRegistry) {
		t.Errorf("Publish: %v", err)
	}
}
