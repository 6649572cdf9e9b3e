package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// garbage writes a layout of two tags and an untagged signature, with an old model
// that nothing names, and leftovers of every kind. It returns what is garbage.
func garbage(t *testing.T) (dir string, waste []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	old, m := newModel(t, 300), newModel(t, 301)
	old.publish(t, parseRef(t, "oci:"+dir+":v1"))
	m.publish(t, parseRef(t, "oci:"+dir+":v1"))
	newModel(t, 302).publish(t, parseRef(t, "oci:"+dir+":v2"))
	signature(t, dir, m.index.Descriptor, "application/vnd.test.one", 1)
	for _, x := range append(old.blobs(), append(old.manifests, old.index)...) {
		waste = append(waste, blobPath(x.Digest))
	}
	for _, name := range []string{".tmp-ONE", "blobs/sha256/.tmp-TWO", "blobs/sha256/.part-abc", "blobs/sha256/.bad-" + strings.Repeat("ab", 32)} {
		writeFileT(t, filepath.Join(dir, name), "12345")
		waste = append(waste, name)
	}
	return dir, waste
}

// TestGC proves that exactly what nothing needs is removed.
func TestGC(t *testing.T) {
	dir, waste := garbage(t)
	writeFileT(t, filepath.Join(dir, "blobs/sha256/README"), "not ours")
	before := tree(t, dir)
	ref := parseRef(t, "oci:"+dir)
	want := GCResult{Ref: "oci:" + dir, Blobs: 9, Temporary: 4, Kept: 9 + 9 + 3, DryRun: true}
	for _, name := range waste {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want.Bytes += fi.Size()
	}
	got, err := GC(t.Context(), ref, true)
	if err != nil || *got != want {
		t.Fatalf("dry run: %+v, %v; want %+v", got, err, want)
	}
	if d := cmp.Diff(before, tree(t, dir)); d != "" {
		t.Fatalf("a dry run changed files (-before +after):\n%s", d)
	}
	want.DryRun = false
	if got, err = GC(t.Context(), ref, false); err != nil || *got != want {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	gone := map[string]bool{}
	for _, name := range waste {
		gone[name] = true
	}
	var kept []string
	for _, name := range before {
		if !gone[name] {
			kept = append(kept, name)
		}
	}
	if d := cmp.Diff(kept, tree(t, dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	for tag, seed := range map[string]uint64{"v1": 301, "v2": 302} {
		readsBack(t, parseRef(t, "oci:"+dir+":"+tag), newModel(t, seed))
	}
	if got, err = GC(t.Context(), ref, false); err != nil || got.Blobs+got.Temporary != 0 {
		t.Errorf("a second time: %+v, %v", got, err)
	}
}

// TestGCWaitsForWriters proves that nothing is removed while a target is open,
// which may have seen that a blob is there.
func TestGCWaitsForWriters(t *testing.T) {
	dir, _ := garbage(t)
	before := tree(t, dir)
	target := openTarget(t, parseRef(t, "oci:"+dir+":v3"))
	if _, err := GC(t.Context(), parseRef(t, "oci:"+dir), false); err == nil || !strings.Contains(err.Error(), "writing") {
		t.Errorf("beside a writer: %v", err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	// The writer has swept up after dead ones, as every first writer does.
	for _, name := range before {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil && !isTemporary(name) {
			t.Errorf("%s is gone", name)
		}
	}
	if _, err := GC(t.Context(), parseRef(t, "oci:"+dir), false); err != nil {
		t.Errorf("after the writer: %v", err)
	}
}

// TestGCBesidePushes collects garbage while models are published. Whoever comes
// first, no tag lacks anything in the end.
func TestGCBesidePushes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	newModel(t, 310).publish(t, parseRef(t, "oci:"+dir+":first"))
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			_, err := GC(ctx, parseRef(t, "oci:"+dir), false)
			if err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "writing") {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 20 {
		newModel(t, uint64(311+i%3)).publish(t, parseRef(t, fmt.Sprintf("oci:%s:v%d", dir, i%4)))
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r, err := Check(t.Context(), parseRef(t, "oci:"+dir), nil)
	if err != nil || r.Err() != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestGCCutShort cancels a collection after every number of removals. All tags stay
// whole, and no manifest stays without its parts.
func TestGCCutShort(t *testing.T) {
	t.Parallel()
	for n := range 14 {
		dir, _ := garbage(t)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := &collector{root: root}
		f := dirFiles{root}
		g, err := readInUse(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		blobs, _, err := listBlobs(f)
		if err != nil {
			t.Fatal(err)
		}
		for d := range g.nodes {
			delete(blobs, d)
		}
		order := topDown(f, blobs)
		if n < len(order) {
			order = order[:n]
		}
		if err := c.sweep(ctx, nil, blobs, order); err != nil || c.Blobs != len(order) {
			t.Fatalf("%d removed, %v", c.Blobs, err)
		}
		for d := range blobs {
			raw, err := readFile(f, blobPath(d), mediatypes.MaxManifestSize)
			kind, terr := manifestType("", raw)
			if err != nil || terr != nil {
				continue
			}
			left, err := readGraph(ctx, f, []ocispec.Descriptor{{MediaType: kind, Digest: d, Size: int64(len(raw))}})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range left.order {
				if _, err := f.open(blobPath(x.Digest)); err != nil {
					t.Errorf("after %d: %s is left without %s", n, d, x.Digest)
				}
			}
		}
		cancel()
		root.Close()
		readsBack(t, parseRef(t, "oci:"+dir+":v1"), newModel(t, 301))
		readsBack(t, parseRef(t, "oci:"+dir+":v2"), newModel(t, 302))
	}
}

// TestGCRefuses proves that nothing is removed where what is in use is not known,
// or must not be followed.
func TestGCRefuses(t *testing.T) {
	t.Parallel()
	m := newModel(t, 301)
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  error
	}{
		"manifest missing": {func(t *testing.T, dir string) { removeT(t, dir, blobPath(m.manifests[1].Digest)) }, ErrNotFound},
		"manifest damaged": {func(t *testing.T, dir string) { flipT(t, dir, blobPath(m.manifests[0].Digest)) }, ErrCorrupt},
		"index damaged":    {func(t *testing.T, dir string) { flipT(t, dir, blobPath(m.index.Digest)) }, ErrCorrupt},
		"index.json lost":  {func(t *testing.T, dir string) { removeT(t, dir, "index.json") }, ErrNotFound},
		"index.json damaged": {func(t *testing.T, dir string) {
			writeFileT(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[{}]}`)
		}, ErrCorrupt},
		"unknown kind": {func(t *testing.T, dir string) {
			addEntry(t, dir, "application/vnd.new.manifest.v9+json", `{"things":[]}`)
		}, errUnknownType},
		"both at once": {func(t *testing.T, dir string) {
			addEntry(t, dir, ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}`)
		}, ErrCorrupt},
		"a digest that leads out": {func(t *testing.T, dir string) {
			addEntry(t, dir, ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{"mediaType":"a/b","size":1,"digest":"sha256:../../../etc/passwd"},"layers":[]}`)
		}, ErrCorrupt},
		"a link as lock": {func(t *testing.T, dir string) {
			removeT(t, dir, writersLock)
			if err := os.Symlink("/dev/null", filepath.Join(dir, writersLock)); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := garbage(t)
			tt.spoil(t, dir)
			before := tree(t, dir)
			_, err := GC(t.Context(), parseRef(t, "oci:"+dir), false)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if d := cmp.Diff(before, tree(t, dir)); d != "" {
				t.Errorf("files were removed (-before +after):\n%s", d)
			}
		})
	}
	dir, _ := garbage(t)
	for _, ref := range []string{"oci:" + dir + ":v1", "oci-archive:" + dir, "localhost:1/a", "oci:" + t.TempDir()} {
		if _, err := GC(t.Context(), parseRef(t, ref), false); err == nil {
			t.Errorf("%s: no error", ref)
		}
	}
}

func removeT(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// flipT changes one bit in the middle of a file.
func flipT(t testing.TB, dir, name string) {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	raw := []byte(readFileT(t, p))
	raw[len(raw)/2] ^= 1
	writeFileT(t, p, string(raw))
}

// addEntry adds a document to a layout and its index.json.
func addEntry(t testing.TB, dir, mediaType, doc string) digest.Digest {
	t.Helper()
	d := digest.FromString(doc)
	writeFileT(t, filepath.Join(dir, blobPath(d)), doc)
	p := filepath.Join(dir, "index.json")
	writeFileT(t, p, strings.Replace(readFileT(t, p), `"manifests":[`,
		fmt.Sprintf(`"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:"spoilt"}},`, mediaType, d, len(doc), ocispec.AnnotationRefName), 1))
	return d
}

// TestGCDir proves that what an interrupted pull left goes, and that the work of
// one that goes on stays.
func TestGCDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{workPrefix + "DEAD/000001", "model.safetensors", "sub/config.json"} {
		writeFileT(t, filepath.Join(dir, name), "123")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Mkdir(workPrefix+"ALIVE", 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := lockDir(root, workPrefix+"ALIVE")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	before := entries(t, dir)
	if r, err := GCDir(t.Context(), dir, true); err != nil || r.Temporary != 1 || r.Bytes == 0 || !cmp.Equal(before, entries(t, dir)) {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	r, err := GCDir(t.Context(), dir, false)
	if err != nil || r.Temporary != 1 || r.Bytes == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	delete(before, workPrefix+"DEAD/")
	delete(before, workPrefix+"DEAD/000001")
	if d := cmp.Diff(before, entries(t, dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	layout, _ := garbage(t)
	if _, err := GCDir(t.Context(), layout, false); err == nil || !strings.Contains(err.Error(), "oci:"+layout) {
		t.Errorf("a layout: %v", err)
	}
}
