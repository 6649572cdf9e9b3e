package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/oci"
)

// put sends a body and returns the address that the answer names.
func (c *client) put(method, address, mediaType string, body []byte) string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		c.t.Fatalf("%s %s: %s", method, address, resp.Status)
	}
	to, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		c.t.Fatal(err)
	}
	return to.String()
}

// putBlob stores a blob.
func (c *client) putBlob(mediaType string, b []byte) ocispec.Descriptor {
	c.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	at, err := url.Parse(c.put(http.MethodPost, c.base+"/blobs/uploads/", "", nil))
	if err != nil {
		c.t.Fatal(err)
	}
	q := at.Query()
	q.Set("digest", d.Digest.String())
	at.RawQuery = q.Encode()
	c.put(http.MethodPut, at.String(), "application/octet-stream", b)
	return d
}

// sign stores what stands for a signature: a manifest under tag, or under its digest
// if tag is "", that refers to subject. It returns its digest.
func (c *client) sign(subject *ocispec.Descriptor, text, tag string) string {
	c.t.Helper()
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.signature",
		Config:       c.putBlob("application/vnd.oci.empty.v1+json", []byte("{}")),
		Layers:       []ocispec.Descriptor{c.putBlob("application/vnd.example.signature", []byte(text))},
		Subject:      subject,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	id := digest.FromBytes(raw).String()
	if tag == "" {
		tag = id
	}
	c.put(http.MethodPut, c.base+"/manifests/"+tag, ocispec.MediaTypeImageManifest, raw)
	return id
}

// referrers lists what the fallback tag of a digest does.
func (c *client) referrers(d digest.Digest) (all []string) {
	c.t.Helper()
	var x ocispec.Index
	c.manifest("sha256-"+d.Encoded(), &x)
	for _, e := range x.Manifests {
		all = append(all, e.Digest.String())
	}
	return all
}

// TestAirGap carries a signed model from one registry to another in parts of an
// archive, which other tools read as well.
func TestAirGap(t *testing.T) {
	from, to, u, dir := newRegistry(t, nil), newRegistry(t, nil), newUser(t), newModel(t)
	u.tool("push", from.Addr+"/org/model:v1", dir)
	source := newClient(t, from.Addr, "org/model")
	var index ocispec.Index
	subject := source.manifest("v1", &index)
	subject.Annotations = nil
	signature := source.sign(&subject, "signature", "")
	cosignTag := "sha256-" + subject.Digest.Encoded() + ".sig"
	cosigned := source.sign(nil, "of cosign", cosignTag)
	// This registry has no list of referrers: whoever signs keeps it as a tag.
	raw, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{source.manifest(signature, &ocispec.Manifest{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	source.put(http.MethodPut, source.base+"/manifests/sha256-"+subject.Digest.Encoded(), ocispec.MediaTypeImageIndex, raw)

	file := filepath.Join(t.TempDir(), "model.tar")
	var saved oci.CopyResult
	u.query(&saved, "save", "--split", "1MB", from.Addr+"/org/model:v1", file)
	if saved.Digest != subject.Digest || saved.Referrers != 2 || len(saved.Files) < 2 {
		t.Errorf("saved %+v", saved)
	}
	u.tool("verify", "oci-archive:"+file)
	u.pulls("oci-archive:"+file, dir)
	u.tool("load", file, to.Addr+"/other/name:v2")
	target := newClient(t, to.Addr, "other/name")
	if d := cmp.Diff(source.digests("v1"), target.digests("v2")); d != "" {
		t.Errorf("digests (-saved +loaded):\n%s", d)
	}
	if d := cmp.Diff([]string{signature}, target.referrers(subject.Digest)); d != "" {
		t.Errorf("referrers (-saved +loaded):\n%s", d)
	}
	if got := target.manifest(cosignTag, &ocispec.Manifest{}); got.Digest.String() != cosigned {
		t.Errorf("%s is %s, want %s", cosignTag, got.Digest, cosigned)
	}
	u.tool("verify", to.Addr+"/other/name:v2")

	var joined []byte
	for _, name := range saved.Files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, b...)
	}
	whole := filepath.Join(t.TempDir(), "whole.tar")
	if err := os.WriteFile(whole, joined, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Log("skopeo is not installed: no other tool reads the archive")
		return
	}
	layout := filepath.Join(t.TempDir(), "layout")
	u.run("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "oci-archive:"+whole+":v1", "oci:"+layout+":v1")
	u.tool("verify", "oci:"+layout+":v1")
	u.pulls("oci:"+layout+":v1", dir)
}

// TestInterruptedCopy ends copies from a registry at requests drawn at random. The
// next copy must go on: nothing of what is whole is asked for again.
func TestInterruptedCopy(t *testing.T) {
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	p := newProxy(t, s.Addr)
	u.tool("push", s.Addr+"/org/model:v1", dir)
	ref := p.addr + "/org/model:v1"
	whole := filepath.Join(t.TempDir(), "whole.tar")
	before := p.requests.Load()
	u.tool("save", ref, whole)
	requests := p.requests.Load() - before
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	stopped, kept := 0, 0
	for i := range 3 * points {
		to := filepath.Join(t.TempDir(), "to")
		args := [][]string{
			{"copy", ref, "oci:" + to + ":v1"},
			{"save", ref, to},
			{"save", "--split", "700KB", ref, to},
		}[i%3]
		x := &wire{request: 1 + rand.N(requests), moment: moment(rand.IntN(3))}
		t.Run(fmt.Sprintf("%s, %v request %d of %d", strings.Join(args[:len(args)-2], " "), x.moment, x.request, requests), func(t *testing.T) {
			u := &user{t: t, env: u.env, temp: u.temp}
			if u.interrupt(syscall.SIGKILL, func(trigger func()) { x.pull = trigger; p.arm(x) }, args...) {
				stopped++
			}
			var r oci.CopyResult
			u.query(&r, args...)
			if r.Present > 0 {
				kept++
			}
			if r.Present+r.Copied != r.Size {
				t.Errorf("%+v", r)
			}
			if args[0] == "copy" {
				u.pulls("oci:"+to+":v1", dir)
				return
			}
			var got []byte
			for _, name := range r.Files {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b...)
			}
			if !bytes.Equal(got, want) {
				t.Error("the archive differs from one that was not interrupted")
			}
		})
	}
	t.Logf("%d of %d copies were ended, %d went on with what was there", stopped, 3*points, kept)
	if stopped < points || kept == 0 {
		t.Error("too few were ended, or none went on: this proves nothing")
	}
}
