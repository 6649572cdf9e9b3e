package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/time/rate"
)

// server is a registry to read from: distribution-spec, "Pull". What is served is
// added before the first request.
type server struct {
	addr      string
	manifests map[string]manifest // by REPOSITORY/TAG or REPOSITORY/DIGEST
	blobs     map[string]string   // the file of each digest
	files     map[string]string   // the digest of each file of addFiles
	limiter   atomic.Pointer[rate.Limiter]
	http      *httptest.Server
}

type manifest struct {
	mediaType string
	raw       []byte
}

func newServer() *server {
	s := &server{manifests: map[string]manifest{}, blobs: map[string]string{}, files: map[string]string{}}
	s.http = httptest.NewServer(s)
	s.addr = strings.TrimPrefix(s.http.URL, "http://")
	return s
}

func (s *server) close() { s.http.Close() }

// atOnce is how much passes the limit in one piece.
const atOnce = 256 << 10

// limit has all answers together go at so many bytes a second; 0: no limit.
func (s *server) limit(bytesPerSecond float64) {
	if bytesPerSecond == 0 {
		s.limiter.Store(nil)
		return
	}
	burst := max(atOnce, int(bytesPerSecond/100)) // a timer may be late
	s.limiter.Store(rate.NewLimiter(rate.Limit(bytesPerSecond), burst))
}

func (s *server) add(repository, tag, mediaType string, raw []byte) {
	m := manifest{mediaType, raw}
	s.manifests[repository+"/"+tag] = m
	s.manifests[repository+"/"+digest.FromBytes(raw).String()] = m
}

// addStore adds what an OCI layout holds.
func (s *server) addStore(repository, dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	blobs := filepath.Join(dir, ocispec.ImageBlobsDir, "sha256")
	list, err := os.ReadDir(blobs)
	if err != nil {
		return err
	}
	for _, e := range list {
		s.blobs["sha256:"+e.Name()] = filepath.Join(blobs, e.Name())
	}
	return s.addManifests(repository, index.Manifests)
}

// addManifests adds manifests, and those that they list.
func (s *server) addManifests(repository string, list []ocispec.Descriptor) error {
	for _, d := range list {
		raw, err := os.ReadFile(s.blobs[d.Digest.String()])
		if err != nil {
			return err
		}
		s.add(repository, d.Annotations[ocispec.AnnotationRefName], d.MediaType, raw)
		var index ocispec.Index
		if err := json.Unmarshal(raw, &index); err != nil {
			return err
		}
		if err := s.addManifests(repository, index.Manifests); err != nil {
			return err
		}
	}
	return nil
}

// addFiles adds the files of a directory as they are, each as a layer.
func (s *server) addFiles(repository, dir string) error {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.files", Config: ocispec.DescriptorEmptyJSON,
	}
	empty := filepath.Join(dir, "..", "empty.json")
	if err := os.WriteFile(empty, ocispec.DescriptorEmptyJSON.Data, 0o600); err != nil {
		return err
	}
	s.blobs[m.Config.Digest.String()] = empty
	m.Config.Data = nil
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		n, err := io.Copy(sum, f)
		digest := digest.NewDigest(digest.SHA256, sum)
		title, _ := filepath.Rel(dir, name)
		s.files[title], s.blobs[digest.String()] = digest.String(), name
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: "application/octet-stream", Digest: digest, Size: n,
			Annotations: map[string]string{ocispec.AnnotationTitle: title},
		})
		return err
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(&m)
	s.add(repository, "v1", m.MediaType, raw)
	return err
}

// ServeHTTP answers the requests of a pull.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest := strings.TrimPrefix(r.URL.Path, "/v2/")
	id := path.Base(rest)
	switch {
	case rest == "":
	case strings.Contains(rest, "/manifests/"):
		m, ok := s.manifests[strings.Replace(rest, "/manifests/", "/", 1)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", m.mediaType)
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(m.raw).String())
		w.Header().Set("Content-Length", strconv.Itoa(len(m.raw)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(m.raw)
		}
	default:
		s.serveBlob(w, r, s.blobs[id])
	}
}

func (s *server) serveBlob(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if l := s.limiter.Load(); l != nil {
		w = &limitedWriter{w, r.Context(), l}
	}
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// limitedWriter sends no faster than its limiter allows. It keeps the way of files
// past this process's memory, sendfile.
type limitedWriter struct {
	http.ResponseWriter

	ctx     context.Context
	limiter *rate.Limiter
}

func (w *limitedWriter) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		if err := w.limiter.WaitN(w.ctx, atOnce); err != nil {
			return n, err
		}
		m, err := io.CopyN(w.ResponseWriter, r, atOnce)
		n += m
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("sending: %w", err)
		}
	}
}
