package oci

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// startServing serves the store of ref and returns its HOST:PORT.
func startServing(t testing.TB, ref Reference) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	f, err := openStore(ref)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(newHandler(f, ref, func(string) {}))
	t.Cleanup(func() { s.Close(); f.Close() })
	return strings.TrimPrefix(s.URL, "http://")
}

// TestServeReads proves that a served layout or archive reads as the store does,
// under any name.
func TestServeReads(t *testing.T) {
	for _, kind := range []string{"oci:", "oci-archive:"} {
		t.Run(kind, func(t *testing.T) {
			store := kind + filepath.Join(t.TempDir(), "store")
			m := newModel(t, 200)
			m.publish(t, parseRef(t, store+":v1"))
			host := startServing(t, parseRef(t, store))
			for _, repo := range []string{"a", "org/model", "x/manifests/y", "v2/blobs/tags", "tags/list/tags"} {
				readsBack(t, parseRef(t, host+"/"+repo+":v1"), m)
			}
			byDigest := parseRef(t, host+"/org/model@"+m.index.Digest.String())
			readsBack(t, byDigest, m)
			readsRanges(t, openSource(t, byDigest), m)
			for _, x := range []string{":v2", "@" + newModel(t, 201).index.Digest.String(), "@" + m.layers[0].Digest.String()} {
				if _, err := resolve(t.Context(), parseRef(t, host+"/org/model"+x)); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %v", x, err)
				}
			}
		})
	}
}

// answer is what a server answered.
type answer struct {
	status int
	header http.Header
	body   string
}

// get sends a request.
func get(t testing.TB, method, url string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

// TestServeAnswers checks status, headers and error codes against the distribution
// spec v1.1, sections "Pull" and "Error Codes".
func TestServeAnswers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	m := newModel(t, 210)
	m.publish(t, parseRef(t, "oci:"+dir+":v1"))
	host := "http://" + startServing(t, parseRef(t, "oci:"+dir))
	layer, index := m.layers[0], m.index
	blob, etag := "/v2/a/blobs/"+layer.Digest.String(), `"`+layer.Digest.String()+`"`
	missing := digest.FromString("missing").String()
	for _, tt := range []struct {
		name, method, path string
		header             []string
		status             int
		code               string
		want               map[string]string
	}{
		{"version", "GET", "/v2/", nil, 200, "", map[string]string{"Docker-Distribution-Api-Version": "registry/2.0"}},
		{"manifest by tag", "HEAD", "/v2/a/manifests/v1", nil, 200, "", map[string]string{
			"Content-Type": ocispec.MediaTypeImageIndex, "Docker-Content-Digest": index.Digest.String(), "Content-Length": fmt.Sprint(index.Size),
		}},
		{"manifest below an index", "GET", "/v2/a/b/manifests/" + m.manifests[1].Digest.String(), nil, 200, "", map[string]string{"Content-Type": ocispec.MediaTypeImageManifest}},
		{"namespace of a mirror", "GET", "/v2/a/manifests/v1?ns=ghcr.io", nil, 200, "", nil},
		{"blob", "HEAD", blob, nil, 200, "", map[string]string{
			"Accept-Ranges": "bytes", "Content-Length": "1000", "Docker-Content-Digest": layer.Digest.String(), "Content-Type": "application/octet-stream",
		}},
		{"range", "GET", blob, []string{"Range", "bytes=10-19"}, 206, "", map[string]string{"Content-Range": "bytes 10-19/1000", "Content-Length": "10"}},
		{"range to the end", "GET", blob, []string{"Range", "bytes=990-"}, 206, "", map[string]string{"Content-Range": "bytes 990-999/1000"}},
		{"range behind the end", "GET", blob, []string{"Range", "bytes=1000-"}, 416, "", map[string]string{"Content-Range": "bytes */1000"}},
		{"if-range holds", "GET", blob, []string{"Range", "bytes=10-19", "If-Range", etag}, 206, "", nil},
		{"if-range does not hold", "GET", blob, []string{"Range", "bytes=10-19", "If-Range", `"x"`}, 200, "", nil},
		{"known already", "GET", blob, []string{"If-None-Match", etag}, 304, "", nil},

		{"name", "GET", "/v2/Org/Model/manifests/v1", nil, 400, "NAME_INVALID", nil},
		{"long name", "GET", "/v2/" + strings.Repeat("a", 300) + "/manifests/v1", nil, 400, "NAME_INVALID", nil},
		{"no such tag", "GET", "/v2/a/manifests/v2", nil, 404, "MANIFEST_UNKNOWN", nil},
		{"no tag at all", "GET", "/v2/a/manifests/..", nil, 404, "MANIFEST_UNKNOWN", nil},
		{"a layer is no manifest", "GET", "/v2/a/manifests/" + layer.Digest.String(), nil, 404, "MANIFEST_UNKNOWN", nil},
		{"no such blob", "GET", "/v2/a/blobs/" + missing, nil, 404, "BLOB_UNKNOWN", nil},
		{"no digest", "GET", "/v2/a/blobs/sha256:abc", nil, 400, "DIGEST_INVALID", nil},
		{"traversal", "GET", "/v2/a/blobs/sha256:..%2f..%2findex.json", nil, 400, "NAME_INVALID", nil},
		{"traversal in a name", "GET", "/v2/../../manifests/v1", nil, 400, "NAME_INVALID", nil},
		{"elsewhere", "GET", "/index.json", nil, 404, "UNSUPPORTED", nil},
		{"no digest to refer to", "GET", "/v2/a/referrers/v1", nil, 400, "DIGEST_INVALID", nil},
		{"upload", "POST", "/v2/a/blobs/uploads/", nil, 405, "UNSUPPORTED", map[string]string{"Allow": "GET, HEAD"}},
		{"put", "PUT", "/v2/a/manifests/v1", nil, 405, "UNSUPPORTED", nil},
		{"delete", "DELETE", "/v2/a/manifests/v1", nil, 405, "UNSUPPORTED", nil},
		{"bad number", "GET", "/v2/a/tags/list?n=-1", nil, 400, "PAGINATION_NUMBER_INVALID", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := get(t, tt.method, host+tt.path, tt.header...)
			if a.status != tt.status {
				t.Fatalf("status %d, want %d: %s", a.status, tt.status, a.body)
			}
			for k, v := range tt.want {
				if got := a.header.Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			if tt.code == "" {
				return
			}
			var doc struct {
				Errors []struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc.Errors) != 1 || doc.Errors[0].Code != tt.code || doc.Errors[0].Message == "" {
				t.Errorf("error %s (%v), want code %s", a.body, err, tt.code)
			}
		})
	}
}

// TestServeTags pages through the tags, by the links that it is given.
func TestServeTags(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	m := newModel(t, 220)
	for _, tag := range []string{"b", "a", "B", "v1.0"} {
		m.publish(t, parseRef(t, "oci:"+dir+":"+tag))
	}
	m.publish(t, parseRef(t, "oci:"+dir+"@"+m.index.Digest.String()))
	host := "http://" + startServing(t, parseRef(t, "oci:"+dir))
	var doc struct {
		Name         string
		Tags         []string
		Repositories []string
	}
	ask := func(path string) (link string) {
		a := get(t, "GET", host+path)
		doc.Tags = nil
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
			t.Fatalf("%s: %v", a.body, err)
		}
		return a.header.Get("Link")
	}
	ask("/v2/org/x/tags/list")
	if want := []string{"B", "a", "b", "v1.0"}; doc.Name != "org/x" || !cmp.Equal(doc.Tags, want) {
		t.Errorf("tags %v of %q, want %v", doc.Tags, doc.Name, want)
	}
	var got []string
	for path, pages := "/v2/org/x/tags/list?n=3", 0; path != ""; pages++ {
		if pages == 2 {
			t.Fatal("more than two pages")
		}
		link := ask(path)
		got = append(got, doc.Tags...)
		path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	if want := []string{"B", "a", "b", "v1.0"}; !cmp.Equal(got, want) {
		t.Errorf("by page %v, want %v", got, want)
	}
	if ask("/v2/org/x/tags/list?n=0"); len(doc.Tags) != 0 {
		t.Errorf("n=0 gives %v", doc.Tags)
	}
	if ask("/v2/_catalog?n=10"); !cmp.Equal(doc.Repositories, []string{"store"}) {
		t.Errorf("catalog %v", doc.Repositories)
	}
}

// signature publishes a manifest about subject, by its digest alone.
func signature(t testing.TB, dir string, subject ocispec.Descriptor, artifactType string, n uint64) thing {
	t.Helper()
	payload := randomThing("application/vnd.test.signature", 1000+n, 50)
	config := newThing(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	subject.Annotations = nil
	s := jsonThing(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: config.Descriptor, Layers: []ocispec.Descriptor{payload.Descriptor}, Subject: &subject,
		Annotations: map[string]string{"n": fmt.Sprint(n)},
	})
	target := openTarget(t, parseRef(t, "oci:"+dir+"@"+s.Digest.String()))
	commit(t, target, payload)
	commit(t, target, config)
	err := target.PutManifest(t.Context(), s.Descriptor, s.raw)
	if err := errors.Join(err, target.Publish(t.Context(), s.Descriptor), target.Close()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestServeReferrers follows distribution spec v1.1, "Listing Referrers".
func TestServeReferrers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	m := newModel(t, 230)
	m.publish(t, parseRef(t, "oci:"+dir+":v1"))
	one := signature(t, dir, m.index.Descriptor, "application/vnd.test.one", 1)
	two := signature(t, dir, m.index.Descriptor, "application/vnd.test.two", 2)
	signature(t, dir, m.manifests[0].Descriptor, "application/vnd.test.one", 3)
	host := "http://" + startServing(t, parseRef(t, "oci:"+dir))
	for _, tt := range []struct {
		query, filter string
		want          []digest.Digest
	}{
		{m.index.Digest.String(), "", []digest.Digest{one.Digest, two.Digest}},
		{m.index.Digest.String() + "?artifactType=application/vnd.test.two", "artifactType", []digest.Digest{two.Digest}},
		{m.manifests[1].Digest.String(), "", nil},
		{digest.FromString("not here").String(), "", nil},
	} {
		a := get(t, "GET", host+"/v2/a/referrers/"+tt.query)
		var x ocispec.Index
		if err := json.Unmarshal([]byte(a.body), &x); err != nil || x.SchemaVersion != 2 || x.Manifests == nil {
			t.Fatalf("%s: %s, %v", tt.query, a.body, err)
		}
		var got []digest.Digest
		for _, d := range x.Manifests {
			got = append(got, d.Digest)
			if d.ArtifactType == "" || d.Annotations["n"] == "" || d.Size == 0 {
				t.Errorf("%s: incomplete descriptor %v", tt.query, d)
			}
		}
		if !cmp.Equal(got, tt.want) || a.header.Get("Oci-Filters-Applied") != tt.filter || a.header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Errorf("%s: %v, %v; want %v", tt.query, got, a.header, tt.want)
		}
	}
}

// TestServeForeign serves what other tools write: an entry without a name, an
// image whose manifest leaves out its type, and one damaged manifest.
func TestServeForeign(t *testing.T) {
	dir := t.TempDir()
	config, layer := newThing(ocispec.MediaTypeImageConfig, []byte("{}")), randomThing("application/vnd.oci.image.layer.v1.tar", 5, 10)
	image := jsonThing(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "config": config.Descriptor, "layers": []any{layer.Descriptor}})
	index := jsonThing(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []any{image.Descriptor}})
	for _, x := range []thing{config, layer, image, index} {
		writeFileT(t, filepath.Join(dir, blobPath(x.Digest)), string(x.raw))
	}
	writeFileT(t, filepath.Join(dir, "oci-layout"), layoutFile)
	writeFileT(t, filepath.Join(dir, "index.json"), fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, index.MediaType, index.Digest, index.Size))
	host := startServing(t, parseRef(t, "oci:"+dir))
	if d, err := resolve(t.Context(), parseRef(t, host+"/a:latest")); err != nil || d.Digest != index.Digest {
		t.Errorf("the one entry: %v, %v", d, err)
	}
	if d, err := resolve(t.Context(), parseRef(t, host+"/a@"+image.Digest.String())); err != nil || d.MediaType != image.MediaType {
		t.Errorf("a manifest without type: %v, %v", d, err)
	}
	writeFileT(t, filepath.Join(dir, blobPath(index.Digest)), strings.Replace(string(index.raw), "2", "3", 1))
	if a := get(t, "GET", "http://"+host+"/v2/a/manifests/latest"); a.status != 500 || !strings.Contains(a.body, "corrupt") {
		t.Errorf("a damaged manifest: %+v", a)
	}
}

// TestServeWhileWritten reads in many goroutines while tags come and move.
func TestServeWhileWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	models := []model{newModel(t, 240), newModel(t, 241)}
	models[0].publish(t, parseRef(t, "oci:"+dir+":v1"))
	host := startServing(t, parseRef(t, "oci:"+dir))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				s, err := OpenSource(t.Context(), parseRef(t, host+"/a:v1"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				d, err := s.Resolve(t.Context())
				if err != nil || d.Digest != models[0].index.Digest && d.Digest != models[1].index.Digest {
					t.Errorf("%v, %v", d, err)
				}
				b := models[0].layers[1]
				r, err := s.Blob(t.Context(), b.Descriptor, 0, -1)
				if err != nil {
					t.Error(err)
					return
				}
				raw, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close(), s.Close()); err != nil || !bytes.Equal(raw, b.raw) {
					t.Errorf("%d bytes, %v", len(raw), err)
				}
			}
		})
	}
	for i := range 10 {
		models[i%2].publish(t, parseRef(t, "oci:"+dir+":v1"))
	}
	wg.Wait()
}

// TestServeStops proves that the end of the context is no error, also while a
// client takes a blob and does not finish, and that TLS is spoken when asked for.
func TestServeStops(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	m := newModel(t, 250)
	big := randomThing(mediatypes.BlockLayer, 7, 64<<20)
	m.publish(t, parseRef(t, "oci:"+dir+":v1"))
	writeFileT(t, filepath.Join(dir, blobPath(big.Digest)), string(big.raw))
	cert, key := certificate(t)
	for name, o := range map[string]ServeOptions{"http": {}, "https": {CertFile: cert, KeyFile: key}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for a client
			serveStops(t, dir, big, &o)
		})
	}
}

func serveStops(t *testing.T, dir string, big thing, o *ServeOptions) {
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan ServeResult, 1), make(chan error, 1)
	o.Listen = "127.0.0.1:0"
	o.Started = func(r ServeResult) { started <- r }
	go func() { done <- Serve(ctx, parseRef(t, "oci:"+dir), o) }()
	r := <-started
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	resp, err := (&http.Client{Transport: tr}).Get(r.URL + "/v2/a/blobs/" + big.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("%s: %v", r.URL, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the answer was cut off and looks whole")
	}
	resp.Body.Close()
	tr.CloseIdleConnections()
	if resp, err := http.Get(r.URL); err == nil {
		resp.Body.Close()
		t.Errorf("%s still answers", r.URL)
	}
}

// certificate writes a certificate for this machine and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	own := s.TLS.Certificates[0]
	secret, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: own.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		writeFileT(t, name, string(pem.EncodeToMemory(b)))
	}
	return cert, key
}

// TestServeWarns proves that a server that others can reach says so.
func TestServeWarns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	newModel(t, 260).publish(t, parseRef(t, "oci:"+dir+":v1"))
	for listen, warned := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "[::]:0": true, ":0": true} {
		ctx, cancel := context.WithCancel(t.Context())
		got := ""
		err := Serve(ctx, parseRef(t, "oci:"+dir), &ServeOptions{
			Listen: listen, Warn: func(msg string) { got = msg }, Started: func(ServeResult) { cancel() },
		})
		if err != nil || (got != "") != warned {
			t.Errorf("%s: warned %q, want %v; %v", listen, got, warned, err)
		}
	}
	for _, ref := range []string{"oci:" + dir + ":v1", "oci:" + filepath.Join(dir, "blobs"), "localhost:1/a"} {
		if err := Serve(t.Context(), parseRef(t, ref), &ServeOptions{Listen: "127.0.0.1:0"}); err == nil {
			t.Errorf("%s is served", ref)
		}
	}
}

// TestServePull pulls a model through a server.
func TestServePull(t *testing.T) {
	dir := smallModel(t).write(t)
	ref, _ := pushLayout(t, dir, nil)
	host := startServing(t, parseRef(t, ref.storeName()))
	sameFiles(t, dir, pullNew(t, parseRef(t, host+"/org/model"), &PullOptions{Verify: true}))
}

// TestServeAsMirror pulls what hosts.toml says that the server has, from a registry
// that cannot be reached.
func TestServeAsMirror(t *testing.T) {
	dir := smallModel(t).write(t)
	ref, _ := pushLayout(t, dir, nil)
	host := startServing(t, parseRef(t, ref.storeName()))
	hosts := t.TempDir()
	writeFileT(t, filepath.Join(hosts, "registry.invalid", "hosts.toml"), fmt.Sprintf("[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+host))
	o := &PullOptions{Options: Options{StoreOptions: StoreOptions{HostsDir: hosts}}}
	sameFiles(t, dir, pullNew(t, parseRef(t, "registry.invalid/org/model:latest"), o))
}

// FuzzServe proves that no path leads to a file that is no blob: what comes with
// the header of a digest has that digest.
func FuzzServe(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "store")
	m := newModel(f, 270)
	m.publish(f, parseRef(f, "oci:"+dir+":v1"))
	writeFileT(f, filepath.Join(filepath.Dir(dir), "secret"), "secret")
	ref := parseRef(f, "oci:"+dir)
	files, err := openStore(ref)
	if err != nil {
		f.Fatal(err)
	}
	defer files.Close()
	h := newHandler(files, ref, func(string) {})
	for _, path := range []string{
		"/v2/", "/v2/a/manifests/v1", "/v2/a/blobs/" + m.layers[0].Digest.String(), "/v2/a/tags/list", "/v2/_catalog",
		"/v2/a/referrers/" + m.index.Digest.String(), "/v2/a/blobs/sha256:../../../secret", "/v2/a/blobs/sha512:..", "/v2/../secret/manifests/..",
	} {
		f.Add("GET", path, "n=1&last=a")
		f.Add("HEAD", path, "artifactType=x")
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body := w.Body.Bytes()
		if strings.Contains(w.Body.String(), "secret") && !strings.Contains(path, "secret") {
			t.Errorf("%s %q gives what is outside", method, path)
		}
		d := w.Header().Get("Docker-Content-Digest")
		if method == "GET" && w.Code == http.StatusOK && d != "" && digest.Digest(d).Algorithm().FromBytes(body).String() != d {
			t.Errorf("%q: %d bytes under the digest %s", path, len(body), d)
		}
		if method != "GET" && method != "HEAD" && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s %q: status %d", method, path, w.Code)
		}
	})
}
