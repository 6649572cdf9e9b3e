package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// TestReceiveGoesOn writes half of a blob, loses the process, and goes on.
func TestReceiveGoesOn(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 120, 10_000)
	for _, tt := range []struct {
		name string
		left []byte // by the killed process
		good func(r io.ReaderAt, size int64) int64
		have int64
	}{
		{"half", b.raw[:5000], nil, 5000},
		{"all", b.raw, nil, 10_000},
		{"nothing", nil, nil, 0},
		{"more than all", append(b.raw[:10_000:10_000], 'x'), nil, 0},
		{"all, damaged", append([]byte{b.raw[0] ^ 1}, b.raw[1:]...), nil, 0},
		{"half, of which half is good", append(b.raw[:2500:2500], make([]byte, 2500)...), func(_ io.ReaderAt, n int64) int64 { return n / 2 }, 2500},
		{"good says too much", b.raw[:5000], func(_ io.ReaderAt, n int64) int64 { return n + 1 }, 5000},
		{"good says too little", b.raw[:5000], func(io.ReaderAt, int64) int64 { return -1 }, 0},
		{"good reads", b.raw[:5000], func(r io.ReaderAt, n int64) int64 {
			p := make([]byte, n)
			if _, err := r.ReadAt(p, 0); err != nil || !bytes.Equal(p, b.raw[:n]) {
				return 0
			}
			return n
		}, 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, temp := newDepot(nil), t.TempDir()
			s := newStub(t, d.serve)
			w, have := receive(t, s, temp, b, nil)
			if have != 0 {
				t.Fatalf("have %d bytes at first", have)
			}
			if _, err := w.Write(tt.left); err != nil {
				t.Fatal(err)
			}
			if err := w.(*upload).f.Close(); err != nil { // as a kill does
				t.Fatal(err)
			}
			w, have = receive(t, s, temp, b, tt.good)
			if have != tt.have {
				t.Fatalf("have %d bytes, want %d", have, tt.have)
			}
			if _, err := w.Write(b.raw[have:]); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(t.Context(), b.Descriptor); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(d.blobs[b.Digest.String()], b.raw) {
				t.Error("another blob arrived")
			}
			if left := tree(t, temp); len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// receive opens the stub anew and begins b.
func receive(t *testing.T, s *stub, temp string, b thing, good func(io.ReaderAt, int64) int64) (BlobWriter, int64) {
	t.Helper()
	target, err := openRegistryTarget(t.Context(), s.ref(t), &StoreOptions{TempDir: temp}, hasty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	w, have, err := target.Receive(t.Context(), b.Descriptor, good)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Abort() })
	return w, have
}

// TestReceiveKeeps says what of a spool file stays.
func TestReceiveKeeps(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 121, 1000)
	for _, tt := range []struct {
		name   string
		write  []byte
		status int // of the POST
		abort  bool
		want   error
		have   int64 // the next time
	}{
		{"abort", b.raw[:400], 0, true, nil, 400},
		{"too little", b.raw[:400], 0, false, ErrCorrupt, 0},
		{"wrong bytes", make([]byte, 1000), 0, false, ErrCorrupt, 0},
		{"not taken", b.raw, 403, false, ErrUnauthorized, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			temp := t.TempDir()
			s := newStub(t, newDepot(on("POST", 1, fault{status: tt.status})).serve)
			w, _ := receive(t, s, temp, b, nil)
			if _, err := w.Write(tt.write); err != nil {
				t.Fatal(err)
			}
			var err error
			if tt.abort {
				err = w.Abort()
			} else {
				err = w.Commit(t.Context(), b.Descriptor)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if _, have := receive(t, s, temp, b, nil); have != tt.have {
				t.Errorf("the next has %d bytes, want %d", have, tt.have)
			}
		})
	}
}

// TestReceiveTwice receives one blob twice at a time: the files are two.
func TestReceiveTwice(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 122, 1000)
	temp, s := t.TempDir(), newStub(t, newDepot(nil).serve)
	one, _ := receive(t, s, temp, b, nil)
	if _, err := one.Write(b.raw[:500]); err != nil {
		t.Fatal(err)
	}
	two, have := receive(t, s, temp, b, nil)
	if have != 0 {
		t.Errorf("the second has %d bytes of the first", have)
	}
	for w, p := range map[BlobWriter][]byte{one: b.raw[500:], two: b.raw} {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), b.Descriptor); err != nil {
			t.Error(err)
		}
	}
	if left := tree(t, temp); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestSweepPartials removes what is old and nobody's.
func TestSweepPartials(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	now := time.Now()
	for name, age := range map[string]time.Duration{
		"old.part": partAge + time.Hour, "used.part": partAge + time.Hour, "new.part": partAge - time.Hour, "old.txt": 2 * partAge,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := root.Chtimes(name, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("old.txt", filepath.Join(dir, "link.part")); err != nil {
		t.Fatal(err)
	}
	f, err := lockPartial(root, "used.part", os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sweepPartials(root, partAge); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tree(t, dir), " "); got != "new.part old.txt used.part" {
		t.Errorf("left: %s", got)
	}
}

// TestPartialRefusesOthers plants what is not a regular file of this user's.
func TestPartialRefusesOthers(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 123, 10)
	temp, other := t.TempDir(), t.TempDir()
	private := filepath.Join(temp, fmt.Sprint("oras-bsm-", os.Geteuid()))
	try := func() error {
		root, err := privateDir(temp)
		if err != nil {
			return err
		}
		defer root.Close()
		p, err := openPartial(t.Context(), root, "x"+partSuffix, b.Descriptor, nil)
		if err != nil {
			return err
		}
		return p.end(false)
	}
	for name, plant := range map[string]func() error{
		"link to a directory": func() error { return os.Symlink(other, private) },
		"file":                func() error { return os.WriteFile(private, nil, 0o700) },
		"open to others":      func() error { return errors.Join(os.Mkdir(private, 0o755), os.Chmod(private, 0o755)) },
		"link to a file": func() error {
			return errors.Join(os.Mkdir(private, 0o700), os.WriteFile(private+"/y", nil, 0o600), os.Symlink("y", private+"/x"+partSuffix))
		},
		"link elsewhere": func() error {
			return errors.Join(os.Mkdir(private, 0o700), os.Symlink(filepath.Join(other, "z"), private+"/x"+partSuffix))
		},
	} {
		if err := errors.Join(os.RemoveAll(private), plant()); err != nil {
			t.Fatal(err)
		}
		if err := try(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := errors.Join(os.RemoveAll(private), try()); err != nil {
		t.Error(err)
	}
	if left := tree(t, other); len(left) != 0 {
		t.Errorf("written elsewhere: %v", left)
	}
}
