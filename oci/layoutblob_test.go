package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// TestReceiveShared opens the same blob twice: the second writer does not touch the
// file of the first, and both store it.
func TestReceiveShared(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 204, 1000)
	dir := t.TempDir()
	var writers []BlobWriter
	for range 2 {
		target := openTarget(t, parseRef(t, "oci:"+dir+":v1"))
		defer target.Close()
		w, have, err := target.Receive(t.Context(), b.Descriptor, nil)
		if err != nil || have != 0 {
			t.Fatal(have, err)
		}
		if _, err := w.Write(b.raw[:500]); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	for _, w := range writers {
		if _, err := w.Write(b.raw[500:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), b.Descriptor); err != nil {
			t.Fatal(err)
		}
	}
	if got := readFileT(t, filepath.Join(dir, blobPath(b.Digest))); got != string(b.raw) {
		t.Error("the blob differs")
	}
}

// TestReceiveFollowsNoLink plants a link where a part would be.
func TestReceiveFollowsNoLink(t *testing.T) {
	b, dir := randomThing(mediatypes.BlockLayer, 205, 10), t.TempDir()
	target := openTarget(t, parseRef(t, "oci:"+dir+":v1"))
	defer target.Close()
	if err := os.Symlink("victim", filepath.Join(dir, blobDir, partPrefix+b.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := target.Receive(t.Context(), b.Descriptor, nil); err == nil {
		t.Error("no error")
	}
	if _, err := os.Lstat(filepath.Join(dir, blobDir, "victim")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the link was followed")
	}
}

// TestReceiveSHA512 goes on with a blob under a digest of the other algorithm, and
// begins it anew beside another writer.
func TestReceiveSHA512(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 206, 10)
	b.Digest = digest.SHA512.FromBytes(b.raw)
	s, temp, layout := newStub(t, newDepot(nil).serve), t.TempDir(), parseRef(t, "oci:"+t.TempDir()+":v1")
	for name, open := range map[string]func() (Target, error){
		"layout": func() (Target, error) { return openLayoutTarget(layout) },
		"registry": func() (Target, error) {
			return openRegistryTarget(t.Context(), s.ref(t), &StoreOptions{TempDir: temp}, hasty)
		},
	} {
		target, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		begin := func(want int64) BlobWriter {
			w, have, err := target.Receive(t.Context(), b.Descriptor, nil)
			if err != nil || have != want {
				t.Fatalf("%s: have %d bytes, want %d: %v", name, have, want, err)
			}
			return w
		}
		first := begin(0)
		_, err = first.Write(b.raw[:4])
		if err := errors.Join(err, first.Abort()); err != nil {
			t.Fatal(err)
		}
		first = begin(4)
		for w, p := range map[BlobWriter][]byte{first: b.raw[4:], begin(0): b.raw} {
			_, err = w.Write(p)
			if err := errors.Join(err, w.Commit(t.Context(), b.Descriptor)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if ok, err := target.Has(t.Context(), b.Descriptor); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}
