package oci

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

type hostile struct {
	name  string
	found int
	want  string // part of the error
	kind  error  // nil: ErrCorrupt
	forge func(t testing.TB, f *forgery)
}

// Whatever an artifact says, the error names what is wrong, nothing is written
// outside the target, and the target stays as it was.
func TestHostileArtifacts(t *testing.T) {
	t.Parallel()
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	for group, list := range map[string][]hostile{"layers": hostileLayers, "index": hostileIndexes, "manifests": hostileManifests} {
		for _, tt := range list {
			t.Run(group+"/"+tt.name, func(t *testing.T) {
				f := takeApart(t, ref)
				tt.forge(t, f)
				testHostile(t, f.write(), &tt)
			})
		}
	}
}

func testHostile(t *testing.T, ref Reference, tt *hostile) {
	top := t.TempDir()
	target := filepath.Join(top, "a", "b", "target")
	writeFileT(t, filepath.Join(target, "config.json"), "old")
	writeFileT(t, filepath.Join(target, "dir", "mine"), "mine")
	before := entries(t, top)
	check := func(what string, fails bool, err error) {
		t.Helper()
		if (err != nil) != fails {
			t.Fatalf("%s: error %v, want one: %t", what, err, fails)
		}
		if err == nil {
			return
		}
		kind := tt.kind
		if kind == nil {
			kind = ErrCorrupt
		}
		e, ok := errors.AsType[*Error](err)
		if !errors.Is(err, kind) || !ok || e.Object == "" || e.Op == "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %v and %q in it", what, err, kind, tt.want)
		}
		if !errors.Is(kind, ErrCorrupt) && errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v is of two kinds", what, err)
		}
		for _, r := range err.Error() {
			if r < ' ' || r == '\u202e' {
				t.Errorf("%s: error %q has control characters", what, err)
			}
		}
	}
	_, err := Inspect(t.Context(), ref, nil)
	// Inspect reads the chunk tables, which pull reads later.
	check("inspect", tt.found == byOpen || strings.HasPrefix(tt.name, "gap"), err)
	_, err = Verify(t.Context(), ref, &Options{Jobs: 2})
	check("verify", true, err)
	_, err = Pull(t.Context(), ref, target, &PullOptions{Options: Options{Jobs: 2}, Verify: true})
	check("pull --verify", tt.found <= byVerify, err)
	if err == nil {
		return // whole: the files are right
	}
	sameTree(t, before, top)
	if tt.found <= byPull {
		_, err = Pull(t.Context(), ref, target, nil)
		check("pull", true, err)
		sameTree(t, before, top)
		_, err = Pull(t.Context(), ref, filepath.Join(top, "new"), nil)
		check("pull to a new directory", true, err)
		after := withoutWork(entries(t, top))
		delete(after, "new/")
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("files changed:\n%s", diff)
		}
	}
}

func sameTree(t *testing.T, before map[string]string, dir string) {
	t.Helper()
	if diff := cmp.Diff(before, withoutWork(entries(t, dir))); diff != "" {
		t.Errorf("files changed:\n%s", diff)
	}
}

// The forger itself makes whole artifacts: what the tests see is what they
// forged.
func TestForgeryOfNothing(t *testing.T) {
	dir := forgedModel(t).write(t)
	ref, res := pushLayout(t, dir, nil)
	f := takeApart(t, ref)
	if len(f.layers) != 3 || len(f.layers[block0].chunks) != 4 || len(f.layers[filesLayer].chunks) < 2 {
		t.Fatalf("%d layers, of %d and %d chunks", len(f.layers), len(f.layers[block0].chunks), len(f.layers[filesLayer].chunks))
	}
	forged := f.write()
	sameFiles(t, dir, pullNew(t, forged, &PullOptions{Verify: true}))
	if _, err := Verify(t.Context(), forged, nil); err != nil {
		t.Error(err)
	}
	r := report(t, forged)
	if r.Encoded != res.Encoded {
		t.Errorf("%d bytes, want %d", r.Encoded, res.Encoded)
	}
}

// A manifest may name layers by digests of sha512, though push does not.
func TestSHA512Layers(t *testing.T) {
	dir := forgedModel(t).write(t)
	ref, _ := pushLayout(t, dir, nil)
	f := takeApart(t, ref)
	f.redigest(t, block1, digest.SHA512.FromBytes)
	forged := f.write()
	sameFiles(t, dir, pullNew(t, forged, nil))
	if _, err := Verify(t.Context(), forged, nil); err != nil {
		t.Error(err)
	}
}
