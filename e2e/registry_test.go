package e2e_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	"github.com/oras-bsm/oras-bsm/e2e/registry"
	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci"
)

// TestRegistry follows one model through a real registry.
func TestRegistry(t *testing.T) {
	needs(t, registry.Program)
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	p := newProxy(t, s.Addr)
	ref := p.addr + "/org/model:v1"

	var pushed oci.PushResult
	u.query(&pushed, "push", ref, dir)
	if pushed.Ref != ref || pushed.Blocks != 4 || p.uploads.Load() == 0 {
		t.Errorf("push says %+v, and made %d requests to upload", pushed, p.uploads.Load())
	}
	var report oci.Report
	u.query(&report, "inspect", ref)
	checkReport(t, &report, &pushed, dir)

	var verified oci.VerifyResult
	u.query(&verified, "verify", ref)
	if verified.Digest != pushed.Digest || verified.Decoded != pushed.Decoded || verified.Layers != pushed.Layers ||
		verified.Files != len(report.Files) || verified.Tensors != len(report.Tensors) {
		t.Errorf("verify says %+v", verified)
	}
	u.pulls(ref, dir)
	out := filepath.Join(t.TempDir(), "out")
	var pulled oci.PullResult
	u.query(&pulled, "pull", p.addr+"/org/model@"+pushed.Digest.String(), "-o", out)
	if pulled.Digest != pushed.Digest || pulled.Encoded != pushed.Encoded || pulled.Files != len(report.Files) || pulled.Verified {
		t.Errorf("pull says %+v", pulled)
	}

	// What is there is not sent again.
	p.arm(nil)
	var again oci.PushResult
	u.query(&again, "push", p.addr+"/org/model:v2", dir)
	if again.Digest != pushed.Digest || again.Encoded != pushed.Encoded {
		t.Errorf("the second push says %+v", again)
	}
	if n := p.uploads.Load(); n != 0 {
		t.Errorf("the second push made %d requests to upload", n)
	}
}

// checkReport compares what inspect says with the directory that was pushed.
func checkReport(t *testing.T, r *oci.Report, pushed *oci.PushResult, dir string) {
	t.Helper()
	if r.Ref != pushed.Ref || r.Digest != pushed.Digest || r.Level != "default" || r.Blocks != pushed.Blocks ||
		r.Decoded != pushed.Decoded || r.Encoded != pushed.Encoded || len(r.Layers) != pushed.Layers {
		t.Errorf("push says %+v, inspect %+v", pushed, r)
	}
	if len(r.Manifests) != 2 || r.Manifests[0].Platform != "linux/amd64" || r.Manifests[1].Platform != "linux/arm64" ||
		!slices.Equal(r.Manifests, pushed.Manifests) {
		t.Errorf("push names manifests %v, inspect %v", pushed.Manifests, r.Manifests)
	}
	checkLayers(t, r)
	files, tensors := describe(t, dir)
	byPath := func(a, b oci.FileReport) int { return strings.Compare(a.Path, b.Path) }
	if d := cmp.Diff(files, slices.SortedFunc(slices.Values(r.Files), byPath)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	var decoded, encoded int64
	for _, d := range r.Dtypes {
		decoded, encoded = decoded+d.Decoded, encoded+d.Encoded
	}
	// The decoded bytes of the index are in no file.
	if decoded != r.Decoded || encoded > r.Encoded {
		t.Errorf("dtypes sum up to %d and %d bytes, want %d and at most %d", decoded, encoded, r.Decoded, r.Encoded)
	}
	if len(r.Tensors) != len(tensors) {
		t.Fatalf("%d tensors, want %d", len(r.Tensors), len(tensors))
	}
	for _, got := range r.Tensors {
		want := tensors[got.Name]
		if got.MD5 != want || got.Base != nil {
			t.Errorf("tensor %s has MD5 %s and base %v, want %s and none", got.Name, got.MD5, got.Base, want)
		}
		n := int64(0)
		for _, s := range got.Segments {
			n += s.Length
		}
		if n != got.Decoded {
			t.Errorf("tensor %s of %d bytes has %d in its segments", got.Name, got.Decoded, n)
		}
		if shared := got.SharedWith != nil; shared != (got.Name == "lm_head.weight") {
			t.Errorf("tensor %s shared: %v", got.Name, shared)
		}
	}
}

// checkLayers checks the order of the layers: those of the blocks are in
// numeric order, the index is last.
func checkLayers(t *testing.T, r *oci.Report) {
	t.Helper()
	var blocks []int
	seen := map[digest.Digest]bool{}
	encoded := int64(0)
	for i, l := range r.Layers {
		encoded += l.Encoded
		if seen[l.Digest] {
			t.Errorf("layer %d appears twice", i)
		}
		seen[l.Digest] = true
		if last := i == len(r.Layers)-1; last != (l.MediaType == mediatypes.IndexLayer) {
			t.Errorf("layer %d of %d is a %s", i, len(r.Layers), l.MediaType)
		}
		if l.Block != nil {
			blocks = append(blocks, *l.Block)
			if l.Stack != "model.layers" || l.MediaType != mediatypes.BlockLayer {
				t.Errorf("block %d is a %s of %q", *l.Block, l.MediaType, l.Stack)
			}
		}
	}
	if d := cmp.Diff([]int{0, 1, 2, 3}, blocks); d != "" {
		t.Errorf("blocks (-want +got):\n%s", d)
	}
	if encoded != r.Encoded {
		t.Errorf("the layers have %d bytes, want %d", encoded, r.Encoded)
	}
}

// describe returns the files of dir by path, and the MD5 of each tensor.
func describe(t *testing.T, dir string) (files []oci.FileReport, tensors map[string]string) {
	t.Helper()
	tensors = map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		n, err := io.Copy(sum, f)
		file := oci.FileReport{Path: filepath.ToSlash(name), Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}
		if filepath.Ext(name) == ".safetensors" && err == nil {
			file.Format = "safetensors"
			err = sumTensors(tensors, f, n)
		}
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b oci.FileReport) int { return strings.Compare(a.Path, b.Path) })
	return files, tensors
}

// sumTensors adds the MD5 of each tensor of a file.
func sumTensors(sums map[string]string, f *os.File, size int64) error {
	h, err := safetensors.Parse(f, size)
	if err != nil {
		return err
	}
	for _, x := range h.Tensors {
		sum := md5.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, x.Offset, x.Length)); err != nil {
			return err
		}
		sums[x.Name] = hex.EncodeToString(sum.Sum(nil))
	}
	return nil
}

// TestInspectNulls proves that absent values are null, not left out: scripts may
// ask for them.
func TestInspectNulls(t *testing.T) {
	u, dir := newUser(t), newModel(t)
	ref := "oci:" + filepath.Join(t.TempDir(), "layout")
	u.tool("push", ref, dir)
	var report struct {
		Layers, Tensors []map[string]any
	}
	if err := json.Unmarshal([]byte(u.tool("inspect", "--json", ref).Stdout), &report, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	last := report.Layers[len(report.Layers)-1]
	if block, ok := last["block"]; !ok || block != nil {
		t.Errorf("the index layer has block %v, %v", block, ok)
	}
	for _, x := range report.Tensors {
		if base, ok := x["base"]; !ok || base != nil {
			t.Errorf("tensor %v has base %v, %v", x["name"], base, ok)
		}
		if _, ok := x["sharedWith"]; !ok {
			t.Errorf("tensor %v has no sharedWith", x["name"])
		}
	}
}

// TestReproducible pushes two copies of a directory that were written in another
// order, at other times and with other permissions for others, by runs of other
// numbers of goroutines, to stores of other kinds.
func TestReproducible(t *testing.T) {
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	copied := filepath.Join(t.TempDir(), "copy")
	copyBackwards(t, copied, dir)
	var first, second oci.PushResult
	u.query(&first, "push", s.Addr+"/org/model:v1", dir)
	layout := "oci:" + filepath.Join(t.TempDir(), "layout")
	u.query(&second, "push", "--jobs", "5", layout, copied)
	if first.Digest != second.Digest {
		t.Errorf("digests %s and %s", first.Digest, second.Digest)
	}
	u.query(&second, "push", "--level", "max", layout, copied)
	if first.Digest == second.Digest {
		t.Error("the levels give the same digest: this test proves nothing")
	}
}

func copyBackwards(t *testing.T, to, from string) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		names = append(names, strings.TrimPrefix(path, from))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range slices.Backward(names) {
		b, err := os.ReadFile(from + name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to+name), 0o700)
		}
		mode := fs.FileMode(0o600)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o700
		}
		if err == nil {
			err = os.WriteFile(to+name, b, mode)
		}
		when := time.Unix(int64(i)*1e6, 0)
		if err == nil {
			err = os.Chtimes(to+name, when, when)
		}
		if err != nil {
			t.Fatal(fmt.Errorf("copying %s: %w", name, err))
		}
	}
}
