package oci

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A model may not have files in the directory where the pull of another goes on: it
// would say which bytes of the other are there, and be believed.
func TestPullIntoWorkDirRefused(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077)) // directories that are made look like ours
	ref, _ := pushLayout(t, manyChunks(t).write(t), nil)
	target := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Pull(ctx, ref, target, &PullOptions{Options: Options{Progress: at("checking", cancel)}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	work, err := filepath.Glob(filepath.Join(target, workPrefix+"*"))
	if err != nil || len(work) != 1 {
		t.Fatalf("%v, %v", work, err)
	}
	name := filepath.Base(work[0])
	clean, _ := pushLayout(t, modelFiles{"config.json": []byte("{}")}.write(t), nil)
	for _, path := range []string{name + "/000000", name + "/" + journalName, "sub/" + name + "/000000", workPrefix + "X/y"} {
		f := takeApart(t, clean)
		part := []byte("{}")
		f.addFile(path, part, mediatypes.Segment{Layer: 0, Length: 2})
		target := t.TempDir()
		_, err := Pull(t.Context(), f.write(), target, nil)
		if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v, %v", path, err, e)
		}
		if left, err := os.ReadDir(target); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %v, %v", path, left, err)
		}
	}
}
