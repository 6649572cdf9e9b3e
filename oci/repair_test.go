package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// damage is a way to spoil the layout in dir, which holds models 400 and 401 as v1
// and v2; part is the blob of 401 that it is done to.
type damage struct {
	name    string
	part    func(m model) thing
	spoil   func(t *testing.T, dir, blob string)
	damaged bool // or missing
}

func damages() []damage {
	layer := func(m model) thing { return m.layers[1] }
	flip := func(t *testing.T, dir, blob string) { flipT(t, dir, blob) }
	remove := func(t *testing.T, dir, blob string) { removeT(t, dir, blob) }
	return []damage{
		{"a bit of a layer", layer, flip, true},
		{"a bit of a config", func(m model) thing { return m.configs[0] }, flip, true},
		{"a bit of a manifest", func(m model) thing { return m.manifests[1] }, flip, true},
		{"a bit of an index", func(m model) thing { return m.index }, flip, true},
		{"a layer cut off", layer, func(t *testing.T, dir, blob string) {
			if err := os.Truncate(filepath.Join(dir, blob), 10); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a directory for a layer", layer, func(t *testing.T, dir, blob string) {
			removeT(t, dir, blob)
			if err := os.Mkdir(filepath.Join(dir, blob), 0o755); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"no layer", layer, remove, false},
		{"no manifest", func(m model) thing { return m.manifests[0] }, remove, false},
		{"no index", func(m model) thing { return m.index }, remove, false},
	}
}

// twoModels writes models 400 and 401 to a layout as v1 and v2.
func twoModels(t *testing.T) (dir string, whole, broken model) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	whole, broken = newModel(t, 400), newModel(t, 401)
	whole.publish(t, parseRef(t, "oci:"+dir+":v1"))
	broken.publish(t, parseRef(t, "oci:"+dir+":v2"))
	return dir, whole, broken
}

// TestCheckFindsAndRepairMends proves for every kind of damage that check names the
// blob and the tag that needs it, and that repair brings it back, from wherever.
func TestCheckFindsAndRepairMends(t *testing.T) {
	t.Parallel()
	for _, tt := range damages() {
		t.Run(tt.name, func(t *testing.T) {
			dir, whole, broken := twoModels(t)
			store := parseRef(t, "oci:"+dir)
			b := tt.part(broken)
			tt.spoil(t, dir, blobPath(b.Digest))

			r, err := Check(t.Context(), store, nil)
			if err != nil {
				t.Fatal(err)
			}
			faults, others := r.Damaged, r.Missing
			if !tt.damaged {
				faults, others = others, faults
			}
			if len(faults) != 1 || len(others) != 0 || faults[0].Digest != b.Digest || faults[0].Size != b.Size || !cmp.Equal(faults[0].Entries, []string{"v2"}) {
				t.Fatalf("%+v", r)
			}
			if err := r.Err(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v", err)
			}

			// What the source does not have stays as it is.
			from := filepath.Join(t.TempDir(), "other")
			whole.publish(t, parseRef(t, "oci:"+from+":v1"))
			m, err := Repair(t.Context(), parseRef(t, "oci:"+from+":v1"), store, nil)
			if err != nil || len(m.Left) != 1 || m.Left[0].Digest != b.Digest || !errors.Is(m.Err(), ErrCorrupt) {
				t.Fatalf("from a store without it: %+v, %v", m, err)
			}
			archive := "oci-archive:" + filepath.Join(t.TempDir(), "m.tar") + ":any"
			broken.publish(t, parseRef(t, archive))
			m, err = Repair(t.Context(), parseRef(t, archive), store, nil)
			if err != nil || m.Err() != nil || m.Fetched != 1 || m.Bytes != b.Size {
				t.Fatalf("%+v, %v", m, err)
			}
			if r, err = Check(t.Context(), store, nil); err != nil || r.Err() != nil || r.Blobs != 18 {
				t.Errorf("after repair: %+v, %v", r, err)
			}
			readsBack(t, parseRef(t, "oci:"+dir+":v2"), broken)
			if m, err = Repair(t.Context(), parseRef(t, archive), store, nil); err != nil || m.Fetched+m.Quarantined != 0 {
				t.Errorf("nothing to repair: %+v, %v", m, err)
			}
		})
	}
}

// TestRepairQuarantines proves that damaged bytes are kept aside until gc.
func TestRepairQuarantines(t *testing.T) {
	dir, _, broken := twoModels(t)
	name := blobPath(broken.layers[0].Digest)
	flipT(t, dir, name)
	bad := readFileT(t, filepath.Join(dir, name))
	host := startRegistry(t)
	broken.publish(t, parseRef(t, host+"/a:v9"))
	r, err := Repair(t.Context(), parseRef(t, host+"/a:v9"), parseRef(t, "oci:"+dir), nil)
	if err != nil || r.Quarantined != 1 || r.Fetched != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	aside := filepath.Join(dir, blobDir, badPrefix+broken.layers[0].Digest.Encoded())
	if readFileT(t, aside) != bad {
		t.Error("the damaged bytes are not those aside")
	}
	if _, err := GC(t.Context(), parseRef(t, "oci:"+dir), false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(aside); err == nil {
		t.Error("gc leaves them")
	}
}

// TestRepairGoesOn mends a blob of which a part is there already: what is good of it
// stays, and what is not is fetched again.
func TestRepairGoesOn(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		dir, _, broken := twoModels(t)
		from := filepath.Join(t.TempDir(), "other")
		broken.publish(t, parseRef(t, "oci:"+from+":v2"))
		b := broken.layers[0]
		removeT(t, dir, blobPath(b.Digest))
		writeFileT(t, filepath.Join(dir, partPath(b.Digest)), string(b.raw[:len(b.raw)/2]))
		if damaged {
			flipT(t, dir, partPath(b.Digest))
		}
		r, err := Repair(t.Context(), parseRef(t, "oci:"+from+":v2"), parseRef(t, "oci:"+dir), nil)
		if err != nil || r.Err() != nil || r.Fetched != 1 {
			t.Errorf("damaged %v: %+v, %v", damaged, r, err)
		}
		readsBack(t, parseRef(t, "oci:"+dir+":v2"), broken)
	}
}

// TestRepairEverything loses all blobs but those of index.json's first level, so
// that what is missing is found level by level.
func TestRepairEverything(t *testing.T) {
	dir, whole, broken := twoModels(t)
	from := filepath.Join(t.TempDir(), "other")
	whole.publish(t, parseRef(t, "oci:"+from+":v1"))
	broken.publish(t, parseRef(t, "oci:"+from+":v2"))
	for _, name := range tree(t, dir) {
		if strings.HasPrefix(name, blobDir) {
			removeT(t, dir, name)
		}
	}
	r, err := Repair(t.Context(), parseRef(t, "oci:"+from+":v1"), parseRef(t, "oci:"+dir), nil)
	if err != nil || r.Err() != nil || r.Missing != 2 || r.Fetched != 18 {
		t.Fatalf("%+v, %v", r, err)
	}
	readsBack(t, parseRef(t, "oci:"+dir+":v1"), whole)
	readsBack(t, parseRef(t, "oci:"+dir+":v2"), broken)
}

// TestRepairRefuses proves that nothing is moved where nothing can be mended, and
// that bad bytes from the source do not become a blob.
func TestRepairRefuses(t *testing.T) {
	dir, _, broken := twoModels(t)
	b := broken.layers[0]
	flipT(t, dir, blobPath(b.Digest))
	before := tree(t, dir)
	if _, err := Repair(t.Context(), parseRef(t, "oci:"+filepath.Join(dir, "nowhere")), parseRef(t, "oci:"+dir), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("from nowhere: %v", err)
	}
	target := openTarget(t, parseRef(t, "oci:"+dir+":v3"))
	if _, err := Repair(t.Context(), parseRef(t, "oci:"+dir+":v1"), parseRef(t, "oci:"+dir), nil); err == nil || !strings.Contains(err.Error(), "writing") {
		t.Errorf("beside a writer: %v", err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, tree(t, dir)); d != "" {
		t.Errorf("files (-before +after):\n%s", d)
	}
	from := filepath.Join(t.TempDir(), "other")
	broken.publish(t, parseRef(t, "oci:"+from+":v2"))
	flipT(t, from, blobPath(b.Digest))
	r, err := Repair(t.Context(), parseRef(t, "oci:"+from+":v2"), parseRef(t, "oci:"+dir), nil)
	if err != nil || len(r.Left) != 1 || r.Fetched != 0 {
		t.Errorf("from a damaged store: %+v, %v", r, err)
	}
	if slices.Contains(tree(t, dir), blobPath(b.Digest)) {
		t.Error("damaged bytes became a blob")
	}
	if _, err := Repair(t.Context(), parseRef(t, "oci:"+from+":v2"), parseRef(t, "oci-archive:"+dir), nil); err == nil || !strings.Contains(err.Error(), "copy") {
		t.Errorf("an archive: %v", err)
	}
}

// TestCheckSubset proves that the parts of a store are apart, complete, and the
// same every time.
func TestCheckSubset(t *testing.T) {
	dir, _, _ := twoModels(t)
	for range 2 {
		sum := 0
		for part := uint64(1); part <= 4; part++ {
			r, err := Check(t.Context(), parseRef(t, "oci:"+dir), &CheckOptions{Subset: Subset{part, 4}})
			if err != nil || r.Blobs != 18 || r.Checked == 18 {
				t.Fatalf("%+v, %v", r, err)
			}
			sum += r.Checked
		}
		if sum != 18 {
			t.Errorf("%d blobs in four parts, want 18", sum)
		}
	}
	for s, want := range map[string]Subset{"1/1": {1, 1}, "3/7": {3, 7}, "0/1": {}, "2/1": {}, "1": {}, "a/b": {}, "1/": {}, "-1/2": {}, "1/99999999999": {}} {
		got, err := ParseSubset(s)
		if got != want || (err == nil) != (want != Subset{}) {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
}

// TestCheckForeign proves that what other tools keep in a layout is no damage:
// unreferenced blobs, a layer that may only be fetched elsewhere, a cache.
func TestCheckForeign(t *testing.T) {
	dir, _, _ := twoModels(t)
	writeFileT(t, filepath.Join(dir, blobPath(digest.FromString("nobody's"))), "nobody's")
	config := newThing(ocispec.MediaTypeImageConfig, []byte("{}"))
	elsewhere := randomThing("application/vnd.oci.image.layer.nondistributable.v1.tar", 3, 10).Descriptor
	elsewhere.URLs = []string{"https://example.com/layer"}
	writeFileT(t, filepath.Join(dir, blobPath(config.Digest)), string(config.raw))
	image := jsonThing(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "config": config.Descriptor, "layers": []any{elsewhere}})
	addEntry(t, dir, image.MediaType, string(image.raw))
	layer := randomThing("application/vnd.oci.image.layer.v1.tar+gzip", 4, 10)
	writeFileT(t, filepath.Join(dir, blobPath(layer.Digest)), string(layer.raw))
	cache := jsonThing(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []any{layer.Descriptor}})
	addEntry(t, dir, cache.MediaType, string(cache.raw))
	addEntry(t, dir, "application/vnd.new.manifest.v9+json", `{"things":[]}`)

	warned := ""
	o := &CheckOptions{Options: Options{Warn: func(msg string) { warned += msg }}}
	r, err := Check(t.Context(), parseRef(t, "oci:"+dir), o)
	if err != nil || r.Err() != nil || len(r.Unreferenced) != 1 || r.Waste != 8 || r.Checked != 18+6 {
		t.Errorf("%+v, %v", r, err)
	}
	if !strings.Contains(warned, "vnd.new.manifest.v9+json") {
		t.Errorf("warned of %q", warned)
	}
}

// TestCheckHostileGraph proves that a layout which names without end is refused or
// reported, and never followed for ever.
func TestCheckHostileGraph(t *testing.T) {
	dir, _, _ := twoModels(t)
	inner := newThing("", []byte("x")).Descriptor
	inner.MediaType = "application/octet-stream"
	top := inner
	for range maxDepth + 2 {
		x := jsonThing(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []any{top}})
		writeFileT(t, filepath.Join(dir, blobPath(x.Digest)), string(x.raw))
		top = x.Descriptor
	}
	p := filepath.Join(dir, "index.json")
	writeFileT(t, p, strings.Replace(readFileT(t, p), `"manifests":[`, fmt.Sprintf(`"manifests":[{"mediaType":%q,"digest":%q,"size":%d},`, top.MediaType, top.Digest, top.Size), 1))
	r, err := Check(t.Context(), parseRef(t, "oci:"+dir), nil)
	if err != nil || len(r.Damaged) != 1 || !strings.Contains(r.Damaged[0].Problem, "nest deeper") || !cmp.Equal(r.Damaged[0].Entries, []string{"@" + top.Digest.String()}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestCheckFiles compares pulled files that were changed in many ways.
func TestCheckFiles(t *testing.T) {
	ref, _ := pushLayout(t, smallModel(t).write(t), nil)
	out := pullNew(t, ref, nil)
	r, err := CheckFiles(t.Context(), ref, out, nil)
	if err != nil || r.Err() != nil || r.Files != 6 || len(r.Extra) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	rep := report(t, ref)
	down := tensorReport(t, rep, "model.safetensors", "model.layers.1.mlp.down_proj.weight")
	name := filepath.Join(out, "model.safetensors")
	raw := []byte(readFileT(t, name))
	a := openArtifact(t, ref)
	i := slices.IndexFunc(rep.Tensors, func(x TensorReport) bool { return x.Name == down.Name })
	raw[a.Index.Tensors[i].Offset+5] ^= 1
	writeFileT(t, name, string(raw))
	removeT(t, out, "config.json")
	writeFileT(t, filepath.Join(out, "tokenizer.json"), "[]")
	removeT(t, out, "convert.sh")
	if err := os.Mkdir(filepath.Join(out, "convert.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFileT(t, filepath.Join(out, "sub", "notes"), "mine")
	writeFileT(t, filepath.Join(out, workPrefix+"DEAD", "000001"), "a pull's")

	r, err = CheckFiles(t.Context(), ref, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.Changed {
		got[f.Path] = f.Tensor
	}
	if d := cmp.Diff(map[string]string{"model.safetensors": down.Name, "tokenizer.json": "", "convert.sh": ""}, got); d != "" {
		t.Errorf("changed (-want +got):\n%s", d)
	}
	if !cmp.Equal(r.Missing, []string{"config.json"}) || !cmp.Equal(r.Extra, []string{"sub/notes"}) || !errors.Is(r.Err(), ErrCorrupt) {
		t.Errorf("%+v, %v", r, r.Err())
	}
	if _, err := CheckFiles(t.Context(), ref, filepath.Join(out, "nowhere"), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("no directory: %v", err)
	}
}
