package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// names lists the tags of a result.
func names(r *ListResult) []string {
	var out []string
	for _, e := range r.Entries {
		out = append(out, e.Tag)
	}
	return out
}

// TestListEntries lists a model, an image, what has no tag and what is damaged.
func TestListEntries(t *testing.T) {
	files := smallModel(t)
	ref, pushed := pushLayout(t, files.write(t), nil)
	dir := ref.path
	other := newModel(t, 500) // its manifests are a model's, its index layer is noise
	other.publish(t, parseRef(t, "oci:"+dir+":noise"))
	config, layer := newThing(ocispec.MediaTypeImageConfig, []byte("{}")), randomThing("application/vnd.oci.image.layer.v1.tar", 5, 10)
	image := jsonThing(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "config": config.Descriptor, "layers": []any{layer.Descriptor}})
	addEntry(t, dir, image.MediaType, string(image.raw))
	signature(t, dir, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: pushed.Digest, Size: 1}, "application/vnd.test.one", 1)
	damaged := newModel(t, 501)
	damaged.publish(t, parseRef(t, "oci:"+dir+":damaged"))
	removeT(t, dir, blobPath(damaged.manifests[0].Digest))

	r, err := List(t.Context(), parseRef(t, "oci:"+dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"spoilt", "latest", "noise", "", "damaged"}; !cmp.Equal(names(r), want) {
		t.Fatalf("tags %q, want %q", names(r), want)
	}
	e := r.Entries
	if e[0].Encoded != 10 || e[0].Decoded != nil || e[0].Problem != "" || e[0].Digest != image.Digest {
		t.Errorf("an image: %+v", e[0])
	}
	if e[1].ArtifactType != mediatypes.ArtifactType || e[1].Encoded != pushed.Encoded || e[1].Decoded == nil || *e[1].Decoded != pushed.Decoded || e[1].Digest != pushed.Digest {
		t.Errorf("a model: %+v", e[1])
	}
	if e[2].Problem == "" || e[2].Decoded != nil || e[4].Problem == "" {
		t.Errorf("damaged models: %+v, %+v", e[2], e[4])
	}
	if e[3].ArtifactType != "application/vnd.test.one" {
		t.Errorf("a signature: %+v", e[3])
	}
	for _, s := range []string{"oci:" + dir + ":latest", "oci:" + filepath.Join(dir, "nowhere"), "oci:" + t.TempDir()} {
		if _, err := List(t.Context(), parseRef(t, s), nil); err == nil {
			t.Errorf("%s: no error", s)
		}
	}
}

// TestListServed lists what another process serves, over several pages.
func TestListServed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	m := newModel(t, 510)
	for _, tag := range []string{"b", "a", "c"} {
		m.publish(t, parseRef(t, "oci:"+dir+":"+tag))
	}
	r, err := List(t.Context(), parseRef(t, startServing(t, parseRef(t, "oci:"+dir))+"/org/x"), nil)
	if err != nil || !cmp.Equal(names(r), []string{"a", "b", "c"}) || r.Truncated {
		t.Errorf("%+v, %v", r, err)
	}
}

// tagServer answers tags/list with the pages that answer gives by the parameter
// last, and everything else with success.
func tagServer(t *testing.T, answer func(last string) (tags []string, link string)) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return
		}
		tags, link := answer(r.URL.Query().Get("last"))
		if link != "" {
			w.Header().Set("Link", link)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "x", "tags": tags})
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://") + "/org/x"
}

// TestListPages proves that a list ends, whatever a registry sends.
func TestListPages(t *testing.T) {
	next := func(last string) string { return "</v2/org/x/tags/list?n=1000&last=" + last + `>; rel="next"` }
	many := func(last string) (tags []string, link string) {
		n, _ := strconv.Atoi(last)
		for i := range 1000 {
			tags = append(tags, strconv.Itoa(n+i))
		}
		return tags, next(strconv.Itoa(n + 1000))
	}
	r, err := List(t.Context(), parseRef(t, tagServer(t, many)), nil)
	if err != nil || len(r.Entries) != maxTags || !r.Truncated {
		t.Errorf("endless tags: %d, truncated %v, %v", len(r.Entries), r.Truncated, err)
	}
	for name, tt := range map[string]struct {
		answer func(last string) ([]string, string)
		tags   []string
		err    string
	}{
		"null": {func(string) ([]string, string) { return nil, "" }, nil, ""},
		"repeated": {func(last string) ([]string, string) {
			if last == "" {
				return []string{"a", "b"}, next("b")
			}
			return []string{"b", "c"}, ""
		}, []string{"a", "b", "c"}, ""},
		"same page": {func(string) ([]string, string) { return []string{"a"}, next("a") }, nil, "same page"},
		"in a circle": {func(last string) ([]string, string) {
			if last == "a" {
				return []string{"b"}, next("b")
			}
			return []string{"a"}, next("a")
		}, nil, "pages"},
		"elsewhere": {func(string) ([]string, string) {
			return nil, `<http://169.254.169.254/v2/org/x/tags/list?n=2>; rel="next"`
		}, nil, "server"},
		"other scheme": {func(string) ([]string, string) { return nil, `<https:/v2/org/x/tags/list?n=2>; rel="next"` }, nil, "server"},
		"other path":   {func(string) ([]string, string) { return nil, `</v2/org/y/tags/list?n=2>; rel="next"` }, nil, "leads to"},
		"no link":      {func(string) ([]string, string) { return []string{"a"}, `nonsense` }, []string{"a"}, ""},
		"no tag":       {func(string) ([]string, string) { return []string{"\x1b[2J"}, "" }, nil, "among the tags"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := List(t.Context(), parseRef(t, tagServer(t, tt.answer)), nil)
			if tt.err != "" {
				if !errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !cmp.Equal(names(r), tt.tags) {
				t.Errorf("%v, %v; want %v", r, err, tt.tags)
			}
		})
	}
}

// FuzzNextTags proves that no link leads off the list.
func FuzzNextTags(f *testing.F) {
	from, err := url.Parse("https://example.com:5000/v2/org/x/tags/list?n=1000")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`</v2/org/x/tags/list?last=a>; rel="next"`, `<?last=a>;rel=next`, `<//evil/v2/org/x/tags/list>; rel="next"`,
		`<https://u:p@example.com:5000/v2/org/x/tags/list?x>; rel="next"`, `<\\evil>; rel=next`, `<%2e%2e>; rel=next`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, link string) {
		u, err := nextTags(from, []string{link})
		if err == nil && u != nil && (u.Scheme != "https" || u.Host != "example.com:5000" || u.Path != from.Path || u.User != nil) {
			t.Errorf("%q leads to %s", link, u)
		}
	})
}

// TestTag gives tags in every kind of store.
func TestTag(t *testing.T) {
	m, other := newModel(t, 520), newModel(t, 521)
	for _, where := range []string{"oci:" + filepath.Join(t.TempDir(), "store"), startRegistry(t) + "/org/x"} {
		m.publish(t, parseRef(t, where+":v1"))
		other.publish(t, parseRef(t, where+":v2"))
		for _, from := range []string{":v1", "@" + m.index.Digest.String()} {
			for _, tag := range []string{"new", "v2"} {
				r, err := Tag(t.Context(), parseRef(t, where+from), tag, nil)
				if err != nil || r.Digest != m.index.Digest || r.Tagged != where+":"+tag {
					t.Fatalf("%s%s: %+v, %v", where, from, r, err)
				}
				readsBack(t, parseRef(t, where+":"+tag), m)
			}
		}
		r, err := List(t.Context(), parseRef(t, where), nil)
		if err != nil || len(r.Entries) != 3 {
			t.Errorf("%s: %v, %v", where, r, err)
		}
		for _, bad := range []string{"", "a/b", "..", "a b", strings.Repeat("a", 129)} {
			if _, err := Tag(t.Context(), parseRef(t, where+":v1"), bad, nil); err == nil {
				t.Errorf("tag %q: no error", bad)
			}
		}
		if _, err := Tag(t.Context(), parseRef(t, where+":nothing"), "x", nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("no such tag: %v", err)
		}
	}
	archive := "oci-archive:" + filepath.Join(t.TempDir(), "m.tar") + ":v1"
	m.publish(t, parseRef(t, archive))
	if _, err := Tag(t.Context(), parseRef(t, archive), "v2", nil); err == nil || !strings.Contains(err.Error(), "oras-bsm copy") {
		t.Errorf("an archive: %v", err)
	}
}

// TestTagRefusesBroken proves that a tag never names what is not whole.
func TestTagRefusesBroken(t *testing.T) {
	dir, _, broken := twoModels(t)
	removeT(t, dir, blobPath(broken.layers[2].Digest))
	if _, err := Tag(t.Context(), parseRef(t, "oci:"+dir+":v2"), "v3", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
	notTagged(t, parseRef(t, fmt.Sprintf("oci:%s:v3", dir)))
}
