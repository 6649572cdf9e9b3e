package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// maxRepository is the longest repository name that clients send.
const maxRepository = 255

// handler answers the pull half of the distribution spec v1.1 from a layout. Its
// methods run in many goroutines; files may be read by all of them.
type handler struct {
	files files
	name  string // of the repository in the catalog
	warn  func(string)
	scan  chan struct{} // held by the one scan for referrers, which holds all manifests' names
}

func newHandler(f files, ref Reference, warn func(string)) http.Handler {
	name := strings.ToLower(strings.TrimSuffix(filepath.Base(ref.path), ".tar"))
	if !repoGrammar.MatchString(name) {
		name = "model"
	}
	return &handler{files: f, name: name, warn: warn, scan: make(chan struct{}, 1)}
}

// answerError is an answer that is an error in the form of the distribution spec,
// section "Error Codes".
type answerError struct {
	status  int
	code    string
	message string
}

func (e *answerError) Error() string { return e.message }

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ctl := http.NewResponseController(w)
	if r.ContentLength != 0 {
		_ = ctl.SetReadDeadline(time.Now().Add(bodyTime))
	}
	err := h.answer(&pacedWriter{w, ctl}, r)
	if err == nil || r.Context().Err() != nil {
		return
	}
	a, ok := errors.AsType[*answerError](err)
	if !ok {
		h.warn(plainText(r.URL.Path) + ": " + err.Error())
		a = &answerError{http.StatusInternalServerError, "UNKNOWN", err.Error()}
	}
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	var body struct {
		Errors []item `json:"errors"`
	}
	body.Errors = []item{{a.code, strings.ToValidUTF8(a.message, "?")}}
	if a.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	_ = writeJSON(w, a.status, "application/json", &body)
}

// answer finds out what is asked for. A repository may have any name, also one
// with parts such as "manifests", so the path is read from its end.
func (h *handler) answer(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &answerError{http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read only"}
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	switch {
	case rest == "" && (ok || r.URL.Path == "/v2"):
		return writeJSON(w, http.StatusOK, "application/json", struct{}{})
	case rest == "_catalog":
		return h.catalog(w, r)
	}
	parts := strings.Split(rest, "/")
	if n := len(parts); ok && n >= 3 {
		name, kind, id := strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1]
		if !repoGrammar.MatchString(name) || len(name) > maxRepository {
			return &answerError{http.StatusBadRequest, "NAME_INVALID", fmt.Sprintf("%.100s is not the name of a repository", name)}
		}
		switch {
		case kind == "manifests":
			return h.manifest(w, r, id)
		case kind == "blobs":
			return h.blob(w, r, id)
		case kind == "referrers":
			return h.referrers(w, r, id)
		case kind == "tags" && id == "list":
			return h.tags(w, r, name)
		}
	}
	return &answerError{http.StatusNotFound, "UNSUPPORTED", "this registry knows no such path"}
}

// manifest answers with a manifest by its tag or digest.
func (h *handler) manifest(w http.ResponseWriter, r *http.Request, id string) error {
	d, raw, err := h.findManifest(id)
	if errors.Is(err, ErrNotFound) {
		return &answerError{http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("no manifest %.200s", id)}
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", d.MediaType)
	serveDigest(w, r, d.Digest, bytes.NewReader(raw))
	return nil
}

// findManifest reads a manifest and checks its digest. What is there and is no
// manifest is not found.
func (h *handler) findManifest(id string) (d ocispec.Descriptor, raw []byte, err error) {
	ref := Reference{kind: kindLayout, tag: id}
	if dig, err := parseDigest(id); err == nil {
		ref.tag, ref.digest = "", dig
	} else if !tagGrammar.MatchString(id) {
		return d, nil, ErrNotFound
	}
	x, err := readIndexFile(h.files)
	if err == nil {
		d, err = x.find(ref)
	}
	switch {
	case err == nil && isManifest(d.MediaType):
		raw, err = readManifest(h.files, d)
		return d, raw, err
	case err != nil && (!errors.Is(err, ErrNotFound) || ref.digest == ""):
		return d, nil, err
	case ref.digest == "":
		return d, nil, ErrNotFound // an entry of another kind
	}
	// A manifest that another one names has no entry of its own.
	s, err := h.files.open(blobPath(ref.digest))
	if err != nil {
		return d, nil, err
	}
	defer s.Close()
	if s.size > mediatypes.MaxManifestSize {
		return d, nil, ErrNotFound
	}
	raw = make([]byte, s.size)
	if _, err := io.ReadFull(io.NewSectionReader(s, 0, s.size), raw); err != nil {
		return d, nil, err
	}
	d = ocispec.Descriptor{Digest: ref.digest, Size: s.size}
	if err := checkManifest(d, raw); err != nil {
		return d, nil, err
	}
	if d.MediaType, err = manifestType("", raw); err != nil {
		return d, nil, ErrNotFound
	}
	return d, raw, nil
}

// blob answers with a blob or a range of it. It is not verified: that is for who
// asked for the digest.
func (h *handler) blob(w http.ResponseWriter, r *http.Request, id string) error {
	d, err := parseDigest(id)
	if err != nil {
		return &answerError{http.StatusBadRequest, "DIGEST_INVALID", err.Error()}
	}
	s, err := h.files.open(blobPath(d))
	if errors.Is(err, ErrNotFound) {
		return &answerError{http.StatusNotFound, "BLOB_UNKNOWN", "no blob " + d.String()}
	}
	if err != nil {
		return err
	}
	defer s.Close()
	// A file itself, where it is one, so that the kernel can send it.
	content, ok := s.ReaderAt.(io.ReadSeeker)
	if !ok {
		content = io.NewSectionReader(s, 0, s.size)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	serveDigest(w, r, d, content)
	return nil
}

// serveDigest answers with content, whose digest is d, or with the ranges of it
// that are asked for.
func serveDigest(w http.ResponseWriter, r *http.Request, d digest.Digest, content io.ReadSeeker) {
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Etag", strconv.Quote(d.String())) // for If-Range, If-None-Match
	http.ServeContent(w, r, "", time.Time{}, content)
}

// tags answers with the tags, in the order of their bytes.
func (h *handler) tags(w http.ResponseWriter, r *http.Request, name string) error {
	x, err := readIndexFile(h.files)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	tags, err := page(w, r, x.tags())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{name, tags})
}

// tags lists what can be asked for by name, sorted, each once.
func (x *indexFile) tags() []string {
	tags := []string{}
	for _, d := range x.entries {
		if tag := d.Annotations[ocispec.AnnotationRefName]; tagGrammar.MatchString(tag) {
			tags = append(tags, tag)
		} else if tag == "" && len(x.entries) == 1 {
			tags = append(tags, defaultTag) // indexFile.find
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// catalog answers with one name. Every other serves the same.
func (h *handler) catalog(w http.ResponseWriter, r *http.Request) error {
	names, err := page(w, r, []string{h.name})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, "application/json", struct {
		Repositories []string `json:"repositories"`
	}{names})
}

// page cuts out of a sorted list what the parameters n and last ask for, and says
// in a Link header (RFC 8288) where it goes on.
func page(w http.ResponseWriter, r *http.Request, list []string) ([]string, error) {
	q := r.URL.Query()
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(list, last)
		if found {
			i++
		}
		list = list[i:]
	}
	if !q.Has("n") {
		return list, nil
	}
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n < 0 {
		return nil, &answerError{http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", fmt.Sprintf("n=%.20s is not a number of results", q.Get("n"))}
	}
	if n >= len(list) {
		return list, nil
	}
	list = list[:n]
	if n > 0 {
		next := url.URL{Path: r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(n)}, "last": {list[n-1]}}.Encode()}
		w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	return list, nil
}

// referrers answers with the manifests whose subject has a digest, as an image
// index.
func (h *handler) referrers(w http.ResponseWriter, r *http.Request, id string) error {
	d, err := parseDigest(id)
	if err != nil {
		return &answerError{http.StatusBadRequest, "DIGEST_INVALID", err.Error()}
	}
	list, err := h.findReferrers(r.Context(), d)
	if err != nil {
		return err
	}
	if want := r.URL.Query().Get("artifactType"); want != "" {
		list = slices.DeleteFunc(list, func(d ocispec.Descriptor) bool { return d.ArtifactType != want })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return writeJSON(w, http.StatusOK, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list,
	})
}

// findReferrers scans the layout. One request does that at a time, lest many
// together hold more than one layout's worth of manifests.
func (h *handler) findReferrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	select {
	case h.scan <- struct{}{}:
		defer func() { <-h.scan }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := readSubjects(ctx, h.files, false)
	if err != nil {
		return nil, err
	}
	return s.by[d], nil
}

// writeJSON answers with one document, which clients take up to MaxManifestSize.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if contentType == ocispec.MediaTypeImageIndex && len(raw) > mediatypes.MaxManifestSize {
		return fmt.Errorf("an answer of %d bytes, clients take %d", len(raw), mediatypes.MaxManifestSize)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // who does not listen any more has hung up
	return nil
}

// pacedWriter gives a client pieceTime for each piece of an answer, so that one
// that takes nothing holds no file open for ever.
type pacedWriter struct {
	http.ResponseWriter
	ctl *http.ResponseController
}

// Write implements io.Writer.
func (p *pacedWriter) Write(b []byte) (int, error) {
	_ = p.ctl.SetWriteDeadline(time.Now().Add(pieceTime))
	return p.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom. What it hands on is as http.ServeContent
// gives it, a file with a limit, of which the kernel sends the bytes.
func (p *pacedWriter) ReadFrom(r io.Reader) (n int64, err error) {
	all, ok := r.(*io.LimitedReader)
	to, can := p.ResponseWriter.(io.ReaderFrom)
	if !ok || !can {
		return io.Copy(struct{ io.Writer }{p}, r)
	}
	for all.N > 0 && err == nil {
		_ = p.ctl.SetWriteDeadline(time.Now().Add(pieceTime))
		var m int64
		m, err = to.ReadFrom(&io.LimitedReader{R: all.R, N: min(all.N, answerPiece)})
		n, all.N = n+m, all.N-m
		if m == 0 && err == nil {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}
