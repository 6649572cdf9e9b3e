package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// client reads a registry with nothing but http, as other tools see it.
type client struct {
	t    *testing.T
	base string // http://HOST/v2/REPOSITORY
}

func newClient(t *testing.T, addr, repository string) *client {
	return &client{t, "http://" + addr + "/v2/" + repository}
}

// status asks for a manifest and returns only whether it is there.
func (c *client) status(tag string) int {
	c.t.Helper()
	resp := c.get("/manifests/" + tag)
	defer resp.Body.Close()
	return resp.StatusCode
}

func (c *client) get(path string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex+","+ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// manifest reads a manifest by tag or digest into v and returns its descriptor.
func (c *client) manifest(id string, v any) ocispec.Descriptor {
	c.t.Helper()
	resp := c.get("/manifests/" + id)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("manifest %s: %s\n%s", id, resp.Status, raw)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		c.t.Fatalf("manifest %s: %v", id, err)
	}
	return ocispec.Descriptor{
		MediaType: resp.Header.Get("Content-Type"), Digest: digest.FromBytes(raw), Size: int64(len(raw)),
	}
}

// blob reads a blob and checks it against its descriptor.
func (c *client) blob(d ocispec.Descriptor) {
	c.t.Helper()
	resp := c.get("/blobs/" + d.Digest.String())
	defer resp.Body.Close()
	v := d.Digest.Verifier()
	n, err := io.Copy(v, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || n != d.Size || !v.Verified() {
		c.t.Errorf("blob %s: %s, %d of %d bytes, verified: %v, %v", d.Digest, resp.Status, n, d.Size, v.Verified(), err)
	}
}

// digests returns everything that a tag reaches: the index first, then each
// manifest with its config and layers.
func (c *client) digests(tag string) []string {
	c.t.Helper()
	var index ocispec.Index
	all := []string{c.manifest(tag, &index).Digest.String()}
	for _, d := range index.Manifests {
		var m ocispec.Manifest
		c.manifest(d.Digest.String(), &m)
		all = append(all, d.Digest.String(), m.Config.Digest.String())
		for _, l := range m.Layers {
			all = append(all, l.Digest.String())
		}
	}
	return all
}

// TestTitles reads an artifact as an oras client does, which writes each layer
// to a file named by its title, drops layers without one, and knows nothing of
// this module.
func TestTitles(t *testing.T) {
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	u.tool("push", s.Addr+"/org/model:v1", dir)
	c := newClient(t, s.Addr, "org/model")
	var index ocispec.Index
	if d := c.manifest("v1", &index); d.MediaType != ocispec.MediaTypeImageIndex || index.MediaType != d.MediaType {
		t.Errorf("the tag is a %s that calls itself %s", d.MediaType, index.MediaType)
	}
	if len(index.Manifests) != 2 {
		t.Fatalf("%d manifests, want one for each of two platforms", len(index.Manifests))
	}
	var layers [2][]ocispec.Descriptor
	for i, d := range index.Manifests {
		var m ocispec.Manifest
		got := c.manifest(d.Digest.String(), &m)
		if got.Digest != d.Digest || got.Size != d.Size || got.MediaType != d.MediaType {
			t.Errorf("manifest is %+v, the index says %+v", got, d)
		}
		if m.ArtifactType != "application/vnd.oras-bsm.model.v1" {
			t.Errorf("artifact type %q", m.ArtifactType)
		}
		c.checkConfig(&m)
		layers[i] = m.Layers
	}
	if !slices.EqualFunc(layers[0], layers[1], func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest }) {
		t.Error("the platforms have different layers")
	}
	titles := map[string]bool{}
	for _, l := range layers[0] {
		title := l.Annotations[ocispec.AnnotationTitle]
		if title == "" || title != strings.Trim(title, "/.") || titles[strings.ToLower(title)] {
			t.Errorf("layer %s has title %q, which is no file name of its own", l.Digest, title)
		}
		titles[strings.ToLower(title)] = true
		c.blob(l)
	}
}

// checkConfig checks that containerd would take the config: it names a platform
// and a diff ID for each layer.
func (c *client) checkConfig(m *ocispec.Manifest) {
	c.t.Helper()
	c.blob(m.Config)
	resp := c.get("/blobs/" + m.Config.Digest.String())
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var config ocispec.Image
	if err := json.UnmarshalRead(bytes.NewReader(raw), &config); err != nil {
		c.t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture == "" {
		c.t.Errorf("config is for %q on %q", config.OS, config.Architecture)
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		c.t.Errorf("%d diff IDs for %d layers", len(config.RootFS.DiffIDs), len(m.Layers))
	}
}
