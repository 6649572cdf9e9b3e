package oci

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// startRegistryWith runs a registry behind front, which may answer in its place,
// and returns its HOST:PORT.
func startRegistryWith(t *testing.T, front func(w http.ResponseWriter, r *http.Request) bool, o ...ggcr.Option) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	back := ggcr.New(append(o, ggcr.Logger(log.New(io.Discard, "", 0)))...)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !front(w, r) {
			back.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// ask counts requests by method and kind of path.
type ask struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *ask) count(_ http.ResponseWriter, r *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[string]int{}
	}
	for _, kind := range []string{"/blobs/uploads/", "/blobs/", "/manifests/", "/referrers/"} {
		if strings.Contains(r.URL.Path, kind) {
			a.n[r.Method+" "+kind]++
			break
		}
	}
	return false
}

// TestCopyChain carries signatures from a registry that lists referrers by way of a
// layout and an archive to one that does not: it gets the list as a tag, and the
// user is told. A second copy fetches and sends no blob.
func TestCopyChain(t *testing.T) {
	c, m := newCargo(t, 240)
	var first, last ask
	from := parseRef(t, startRegistryWith(t, first.count, ggcr.WithReferrersSupport(true))+"/org/model:v1")
	layout, archive := parseRef(t, places[0].where(t)), parseRef(t, places[1].where(t))
	to := parseRef(t, startRegistryWith(t, last.count)+"/mirror/model:v2")
	if _, err := c.copyTo(t.Context(), from, &CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	var warned []string
	opts := &CopyOptions{}
	opts.Warn = func(msg string) { warned = append(warned, msg) }
	stops := []Reference{from, layout, archive, to}
	for i, src := range stops[:3] {
		warned = nil
		if _, err := Copy(t.Context(), src, stops[i+1], opts); err != nil {
			t.Fatal(err)
		}
		c.check(t, stops[i+1])
	}
	if len(warned) != 1 || !strings.Contains(warned[0], to.repo.RegistryStr()) {
		t.Errorf("warnings %q", warned)
	}
	d, err := resolve(t.Context(), parseRef(t, to.repo.Name()+":"+fallbackTag(m.index.Digest)))
	if err != nil || d.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("the list of referrers: %v, %v", d, err)
	}
	first.n, last.n = nil, nil
	if _, err := Copy(t.Context(), from, to, nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range []map[string]int{first.n, last.n} {
		if n["GET /blobs/"] != 0 || n["POST /blobs/uploads/"] != 0 || n["PUT /blobs/uploads/"] != 0 {
			t.Errorf("a second copy asks for %v", n)
		}
	}
	c.check(t, to)
}

// TestReferrersPages reads a list in pages, and refuses one without end or on
// another server.
func TestReferrersPages(t *testing.T) {
	d := randomThing("a/b", 241, 10)
	entry := func(n int) ocispec.Descriptor {
		return newThing(ocispec.MediaTypeImageManifest, fmt.Appendf(nil, "%d", n)).Descriptor
	}
	var foreign ask
	other := startRegistryWith(t, foreign.count)
	for _, tt := range []struct {
		name  string
		next  func(page int) string
		want  int
		fails error
	}{
		{"three pages", func(p int) string {
			if p == 3 {
				return `<?page=9>; rel="prev"`
			}
			return fmt.Sprintf(`<?page=%d>; rel="next"`, p+1)
		}, 3, nil},
		{"absolute", func(p int) string {
			if p == 2 {
				return ""
			}
			return `</v2/org/model/referrers/` + d.Digest.String() + `?page=2>; rel=next`
		}, 2, nil},
		{"endless", func(p int) string { return fmt.Sprintf(`<?page=%d>; rel="next"`, p+1) }, 0, ErrCorrupt},
		{"another server", func(int) string { return "<http://" + other + `/v2/>; rel="next"` }, 0, ErrRegistry},
		{"metadata", func(int) string { return `<http://169.254.169.254/latest>; rel="next"` }, 0, ErrRegistry},
	} {
		pages := 0
		host := startRegistryWith(t, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				return false
			}
			pages++
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			w.Header().Set("Link", tt.next(pages))
			x := newIndexFile()
			raw, err := x.with(entry(pages), "")
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(raw)
			return true
		})
		s := openSource(t, parseRef(t, host+"/org/model:v1"))
		got, err := s.Referrers(t.Context(), d.Descriptor)
		if len(got) != tt.want || !errors.Is(err, tt.fails) {
			t.Errorf("%s: %d referrers, %v", tt.name, len(got), err)
		}
		if pages > maxReferrerPages {
			t.Errorf("%s: %d pages were read", tt.name, pages)
		}
	}
	if len(foreign.n) > 0 {
		t.Errorf("the other server was asked for %v", foreign.n)
	}
}

// TestReferrersFallback lists what registries without the API answer.
func TestReferrersFallback(t *testing.T) {
	m := newModel(t, 242)
	listedThing := newThing(ocispec.MediaTypeImageManifest, []byte("{}"))
	x := newIndexFile()
	list, err := x.with(listedThing.Descriptor, "")
	if err != nil {
		t.Fatal(err)
	}
	answer := func(code int, mediaType string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.WriteHeader(code)
			_, _ = w.Write(body)
		}
	}
	yes := answer(200, ocispec.MediaTypeImageIndex, list)
	for _, tt := range []struct {
		name     string
		api, tag http.HandlerFunc
		want     int
		fails    error
	}{
		{"404", answer(404, "text/plain", nil), yes, 1, nil},
		{"400", answer(400, "text/plain", nil), yes, 1, nil},
		{"a page for people", answer(200, "text/html", []byte("<html>")), yes, 1, nil},
		{"neither", answer(404, "text/plain", nil), answer(404, "text/plain", nil), 0, nil},
		{"the subject itself", answer(404, "text/plain", nil), answer(200, ocispec.MediaTypeImageIndex, m.index.raw), 0, nil},
		{"an image", answer(404, "text/plain", nil), answer(200, ocispec.MediaTypeImageManifest, m.manifests[0].raw), 0, ErrCorrupt},
		{"no list", answer(404, "text/plain", nil), answer(200, ocispec.MediaTypeImageIndex, []byte("[]")), 0, ErrCorrupt},
		{"forbidden", answer(403, "text/plain", nil), yes, 0, ErrUnauthorized},
		{"an empty list", answer(200, ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[]}`)), yes, 0, nil},
		{"too long", answer(200, ocispec.MediaTypeImageIndex, make([]byte, 5<<20)), yes, 0, ErrCorrupt},
	} {
		host := startRegistryWith(t, func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.Contains(r.URL.Path, "/referrers/"):
				tt.api(w, r)
			case strings.HasSuffix(r.URL.Path, "/"+fallbackTag(m.index.Digest)):
				tt.tag(w, r)
			default:
				return false
			}
			return true
		})
		got, err := openSource(t, parseRef(t, host+"/org/model:v1")).Referrers(t.Context(), m.index.Descriptor)
		if len(got) != tt.want || !errors.Is(err, tt.fails) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

// TestListReferrerRace writes the list of referrers while another writer does: none
// loses its entry; if that goes on for ever, there is an error.
func TestListReferrerRace(t *testing.T) {
	subject, mine, theirs := newModel(t, 243).index, newThing(ocispec.MediaTypeImageManifest, []byte("1")), newThing(ocispec.MediaTypeImageManifest, []byte("2"))
	tag := fallbackTag(subject.Digest)
	x := newIndexFile()
	other, err := x.with(theirs.Descriptor, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ races, entries int }{{0, 1}, {1, 2}, {1000, 0}} {
		var mu sync.Mutex
		races, stored := tt.races, []byte(nil)
		host := startRegistryWith(t, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/"+tag) {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case r.Method == http.MethodPut:
				stored, _ = io.ReadAll(r.Body)
				if races > 0 {
					races--
					stored = other
				}
				w.WriteHeader(http.StatusCreated)
			case stored != nil:
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				_, _ = w.Write(stored)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
			return true
		})
		target := openTarget(t, parseRef(t, host+"/org/model:v1"))
		err := target.(*registryTarget).listReferrer(t.Context(), referrer{Descriptor: mine.Descriptor, subject: subject.Descriptor})
		target.Close()
		if tt.entries == 0 {
			if !errors.Is(err, ErrRegistry) {
				t.Errorf("lost for ever: %v", err)
			}
			continue
		}
		got, lerr := listed(stored)
		if err := errors.Join(err, lerr); err != nil || len(got) != tt.entries {
			t.Errorf("%d races: %v, %v", tt.races, refs(got), err)
		}
	}
}

// TestPutSubject stores and tags a manifest that refers to another: a registry that
// keeps no lists of referrers gets the list, beside what is on it already.
func TestPutSubject(t *testing.T) {
	m := newModel(t, 249)
	theirs := m.manifests[0]
	signed := jsonThing(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.test.one",
		Config: m.layers[0].Descriptor, Layers: []ocispec.Descriptor{}, Subject: &m.index.Descriptor, Annotations: map[string]string{"n": "1"},
	})
	for _, keeps := range []bool{false, true} {
		host := startRegistryWith(t, func(w http.ResponseWriter, r *http.Request) bool {
			if keeps && r.Method == http.MethodPut {
				w.Header().Set("OCI-Subject", m.index.Digest.String())
			}
			return false
		}, ggcr.WithReferrersSupport(keeps))
		ref, list := parseRef(t, host+"/org/model:v1"), parseRef(t, host+"/org/model:"+fallbackTag(m.index.Digest))
		m.publish(t, ref)
		target := openTarget(t, ref)
		defer target.Close()
		if err := target.(*registryTarget).listReferrer(t.Context(), referrer{Descriptor: theirs.Descriptor, subject: m.index.Descriptor}); err != nil {
			t.Fatal(err)
		}
		commit(t, target, m.layers[0])
		for range 2 {
			err := target.PutManifest(t.Context(), signed.Descriptor, signed.raw)
			if err := errors.Join(err, target.Publish(t.Context(), signed.Descriptor)); err != nil {
				t.Fatal(err)
			}
		}
		s := openSource(t, list)
		d, err := s.Resolve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.Manifest(t.Context(), d)
		got, lerr := listed(raw)
		if errors.Join(err, lerr) != nil || got[0].Digest != theirs.Digest || (len(got) == 2) == keeps {
			t.Fatalf("keeps lists: %v; the list: %v, %v", keeps, refs(got), errors.Join(err, lerr))
		}
		if !keeps && (got[1].Digest != signed.Digest || got[1].ArtifactType != "application/vnd.test.one" || got[1].Annotations["n"] != "1") {
			t.Errorf("the list has %+v", got[1])
		}
	}
}

// TestAttachTag proves that a signature of cosign's that is replaced is spoken of.
func TestAttachTag(t *testing.T) {
	for _, to := range []string{places[0].where(t), places[3].where(t)} {
		c, m := newCargo(t, 244)
		ref := parseRef(t, to)
		var warned []string
		opts := &CopyOptions{}
		opts.Warn = func(msg string) {
			if strings.Contains(msg, "named") {
				warned = append(warned, msg)
			}
		}
		for i, want := range []int{0, 0, 1} {
			if i == 2 {
				list := c.referrers[m.index.Digest]
				c.referrers[m.index.Digest] = list[:len(list)-1]
				c.attach(t, m.index, "cosign-again", cosignTags(m.index.Digest)[0])
			}
			if _, err := c.copyTo(t.Context(), ref, opts); err != nil {
				t.Fatal(err)
			}
			if len(warned) != want {
				t.Errorf("%s, copy %d: warnings %q", to, i, warned)
			}
		}
	}
}

// TestCopyDoubtfulReferrers lists referrers that are none: they are left out, and the
// user is told; and too many, or too deep: that is an error.
func TestCopyDoubtfulReferrers(t *testing.T) {
	t.Parallel()
	c, m := newCargo(t, 245)
	missing := newThing(ocispec.MediaTypeImageManifest, []byte("missing"))
	stranger := c.attach(t, m.layers[0], "stranger", "")
	list := c.referrers[m.index.Digest]
	c.referrers[m.index.Digest] = append(list, missing.Descriptor, stranger.Descriptor, m.index.Descriptor, m.layers[0].Descriptor)
	var warned []string
	opts := &CopyOptions{}
	opts.Warn = func(msg string) { warned = append(warned, msg) }
	ref := parseRef(t, places[0].where(t))
	r, err := c.copyTo(t.Context(), ref, opts)
	if err != nil || r.Referrers != 4 || len(warned) != 4 {
		t.Errorf("%+v, %v, warnings %q", r, err, warned)
	}

	many, _ := newCargo(t, 246)
	for i := range maxReferrers + 1 {
		many.attach(t, thing{Descriptor: many.root}, fmt.Sprint("n", i), "")
	}
	deep, dm := newCargo(t, 247)
	for at := dm.index; len(deep.things) < 40; {
		at = deep.attach(t, at, "n", "")
	}
	for name, c := range map[string]*cargo{"many": many, "deep": deep} {
		if _, err := c.copyTo(t.Context(), parseRef(t, places[0].where(t)), &CopyOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReferrersBelowIndex finds a referrer that only an image index names.
func TestReferrersBelowIndex(t *testing.T) {
	dir, m := t.TempDir(), newModel(t, 249)
	ref := parseRef(t, "oci:"+dir+":v1")
	m.publish(t, ref)
	config := newThing("application/vnd.test.kind", []byte("{}"))
	below := jsonThing(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, Config: config.Descriptor, Layers: []ocispec.Descriptor{}, Subject: &m.index.Descriptor,
	})
	for _, x := range []thing{config, below} {
		writeFileT(t, filepath.Join(dir, blobPath(x.Digest)), string(x.raw))
	}
	list := jsonThing(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []any{below.Descriptor}})
	addEntry(t, dir, list.MediaType, string(list.raw))
	served := parseRef(t, startServing(t, parseRef(t, "oci:"+dir))+"/a:v1")
	for _, ref := range []Reference{ref, served} {
		got, err := openSource(t, ref).Referrers(t.Context(), m.index.Descriptor)
		if err != nil || len(got) != 1 || got[0].Digest != below.Digest || got[0].ArtifactType != config.MediaType {
			t.Errorf("%s: %v, %v", ref, got, err)
		}
	}
}

// TestArchiveReferrersUnreadable damages a signature: of an archive nothing is lost
// in silence, and a layout with something broken in it can still be read.
func TestArchiveReferrersUnreadable(t *testing.T) {
	c, m := newCargo(t, 248)
	var signature thing
	for _, d := range c.referrers[m.manifests[1].Digest] {
		signature = c.things[d.Digest]
	}
	archive, layout := parseRef(t, places[1].where(t)), parseRef(t, places[0].where(t))
	for _, ref := range []Reference{archive, layout} {
		if _, err := c.copyTo(t.Context(), ref, &CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	at := strings.Index(readFileT(t, archive.path), string(signature.raw))
	if err := errors.Join(flipAt(archive.path, at), flipAt(layout.path+"/"+blobPath(signature.Digest), 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), archive, parseRef(t, places[0].where(t)), nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("archive: %v", err)
	}
	if r, err := Copy(t.Context(), layout, parseRef(t, places[0].where(t)), nil); err != nil || r.Referrers != 3 {
		t.Errorf("layout: %+v, %v", r, err)
	}
}

func TestFallbackTag(t *testing.T) {
	d256, d512 := digest.FromString("x"), digest.SHA512.FromString("x")
	for d, want := range map[digest.Digest]string{d256: "sha256-" + d256.Encoded(), d512: "sha512-" + d512.Encoded()[:64]} {
		if got := fallbackTag(d); got != want || !tagGrammar.MatchString(got) {
			t.Errorf("%s: %q", d, got)
		}
	}
	for tag, want := range map[string]bool{
		"sha256-" + d256.Encoded() + ".sig": true, "sha256-" + d256.Encoded() + ".sbom": true,
		"sha256-" + d256.Encoded(): false, "sha256-" + d256.Encoded() + ".txt": false, "sha256-x.sig": false, ".sig": false, "v1.sig": false,
	} {
		if isCosignTag(tag) != want {
			t.Errorf("%q is %t", tag, !want)
		}
	}
}

func TestNextPage(t *testing.T) {
	base, err := url.Parse("https://r.example:5000/v2/a/referrers/x?n=1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	want := map[string]string{
		`<?n=2>; rel="next"`:                             "https://r.example:5000/v2/a/referrers/x?n=2",
		`<https://r.example:5000/y>; title=z; REL=next`:  "https://r.example:5000/y",
		`<a>; rel="prev", <b>; rel="next"`:               "https://r.example:5000/v2/a/referrers/b",
		`<?n=2>`:                                         "",
		`?n=2; rel="next"`:                               "",
		`<?n=2; rel="next"`:                              "",
		``:                                               "",
		`<http://r.example:5000/y>; rel="next"`:          "error",
		`<https://r.example/y>; rel="next"`:              "error",
		`<//evil.example/y>; rel="next"`:                 "error",
		`<https://user:pass@r.example:5000>; rel="next"`: "error",
		`<:>; rel="next"`:                                "error",
	}
	for h := range want {
		next, err := nextPage(base, []string{h})
		switch {
		case err != nil:
			got[h] = "error"
		case next != nil:
			got[h] = next.String()
		default:
			got[h] = ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("next pages (-want +got):\n%s", diff)
	}
}

// FuzzNextPage: whatever the header, no other server is asked.
func FuzzNextPage(f *testing.F) {
	f.Add(`<a>; rel="prev", <//b/c>; rel="next"`)
	f.Add(`<?n=2>; rel=next`)
	base := &url.URL{Scheme: "https", Host: "r.example", Path: "/v2/a/referrers/x"}
	f.Fuzz(func(t *testing.T, header string) {
		next, err := nextPage(base, []string{header})
		if err == nil && next != nil && (next.Scheme != base.Scheme || next.Host != base.Host || next.User != nil) {
			t.Fatalf("%q leads to %s", header, next)
		}
	})
}
