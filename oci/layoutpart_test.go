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

// TestReceiveSHA512 stores a blob under a digest of the other algorithm.
func TestReceiveSHA512(t *testing.T) {
	b, dir := randomThing(mediatypes.BlockLayer, 206, 10), t.TempDir()
	b.Digest = digest.SHA512.FromBytes(b.raw)
	target := openTarget(t, parseRef(t, "oci:"+dir+":v1"))
	defer target.Close()
	w, _, err := target.Receive(t.Context(), b.Descriptor, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(b.raw)
	if err := errors.Join(err, w.Commit(t.Context(), b.Descriptor)); err != nil {
		t.Fatal(err)
	}
	if ok, err := target.Has(t.Context(), b.Descriptor); !ok || err != nil {
		t.Error(ok, err)
	}
}
