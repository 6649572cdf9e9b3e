package oci

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// saved copies a new cargo to an archive in one file and returns its bytes.
func saved(t *testing.T, c *cargo) []byte {
	t.Helper()
	ref := parseRef(t, places[1].where(t))
	r, err := c.copyTo(t.Context(), ref, &CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 1 || r.Files[0] != ref.path {
		t.Errorf("files %q", r.Files)
	}
	return []byte(readFileT(t, ref.path))
}

// TestArchiveSameBytes proves that an archive is the same whether it is streamed or
// made from a layout beside it, and in whatever order its referrers are listed.
func TestArchiveSameBytes(t *testing.T) {
	c, m := newCargo(t, 220)
	want := saved(t, c)
	for _, list := range c.referrers {
		slices.Reverse(list)
	}
	if !bytes.Equal(saved(t, c), want) {
		t.Error("the order of referrers changes the archive")
	}
	ref := parseRef(t, places[1].where(t))
	k := &copier{src: c, to: ref, opts: (&Options{}).withDefaults()}
	if err := k.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.writeTarget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(readFileT(t, ref.path)), want) {
		t.Error("the archive of a push differs")
	}
	c.referrers = nil
	plain := parseRef(t, places[1].where(t))
	m.publish(t, plain)
	if !bytes.Equal([]byte(readFileT(t, plain.path)), saved(t, c)) {
		t.Error("without referrers the archive of a push differs")
	}
}

// TestSplitAtEntries splits an archive at, before and behind the edges of its
// entries. The parts joined are the archive, they are read as such, and each is
// written again where it is lost, from what is there of the others.
func TestSplitAtEntries(t *testing.T) {
	t.Parallel()
	c := newImage(t, 221)
	want := saved(t, c)
	spans, err := readArchive(bytes.NewReader(want), int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[int64]bool{1000: true, int64(len(want)) - 1: true, int64(len(want)): true, int64(len(want)) + 1: true}
	for _, s := range spans {
		for _, edge := range []int64{s.off - tarBlock, s.off, s.off + s.size, s.off + padded(s.size)} {
			for _, size := range []int64{edge - 1, edge, edge + 1} {
				if size > int64(len(want)/40) {
					sizes[size] = true
				}
			}
		}
	}
	for size := range sizes {
		ref := parseRef(t, places[2].where(t))
		opts := &CopyOptions{PartSize: size}
		r, err := c.copyTo(t.Context(), ref, opts)
		if err != nil {
			t.Fatalf("parts of %d: %v", size, err)
		}
		if joined := join(t, r.Files); !bytes.Equal(joined, want) || len(r.Files) != (len(want)+int(size)-1)/int(size) {
			t.Fatalf("parts of %d: %d files differ from the archive", size, len(r.Files))
		}
		c.check(t, ref)
		for _, name := range []string{r.Files[0], r.Files[len(r.Files)/2], r.Files[len(r.Files)-1]} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if s, err := OpenSource(t.Context(), ref, nil); len(r.Files) > 1 && (err == nil || !strings.Contains(err.Error(), name)) {
				t.Errorf("parts of %d, without %s: %v, %v", size, name, s, err)
			}
			again, err := c.copyTo(t.Context(), ref, opts)
			if err != nil {
				t.Fatal(err)
			}
			if joined := join(t, r.Files); !bytes.Equal(joined, want) {
				t.Errorf("parts of %d, %s written again: they differ", size, name)
			}
			if again.Present == 0 && len(r.Files) > 3 {
				t.Errorf("parts of %d, %s written again: all was moved", size, name)
			}
		}
	}
}

func join(t *testing.T, names []string) []byte {
	t.Helper()
	var b []byte
	for _, name := range names {
		b = append(b, readFileT(t, name)...)
	}
	return b
}

// TestPartNames proves that "cat FILE.0*" finds all parts in their order.
func TestPartNames(t *testing.T) {
	for n, want := range map[int][2]string{
		1: {"f.001", "f.001"}, 99: {"f.001", "f.099"}, 100: {"f.0001", "f.0100"}, 999: {"f.0001", "f.0999"}, 1000: {"f.00001", "f.01000"}, 9999: {"f.00001", "f.09999"},
	} {
		if got := [2]string{partFile("f", partDigits(n), 0), partFile("f", partDigits(n), n-1)}; got != want {
			t.Errorf("%d parts: %q, want %q", n, got, want)
		}
	}
	if _, err := newArchiveWriter(filepath.Join(t.TempDir(), "f"), 100_000, 10); err == nil || !strings.Contains(err.Error(), "9999") {
		t.Errorf("10000 parts: %v", err)
	}
}

// TestOpenPartsRefuses damages a split archive: the error names the part.
func TestOpenPartsRefuses(t *testing.T) {
	t.Parallel()
	c := newImage(t, 222)
	for _, tt := range []struct {
		name  string
		do    func(path string) error
		names string
		want  error
	}{
		{"first missing", func(p string) error { return os.Remove(p + ".001") }, ".001", ErrNotFound},
		{"middle missing", func(p string) error { return os.Remove(p + ".003") }, ".003", ErrNotFound},
		{"middle cut", func(p string) error { return os.Truncate(p+".003", 1999) }, ".003", ErrCorrupt},
		{"longer", func(p string) error { return os.Truncate(p+".003", 2001) }, ".003", ErrCorrupt},
		{"a pipe", func(p string) error { return errors.Join(os.Remove(p+".002"), unix.Mkfifo(p+".002", 0o600)) }, ".002", nil},
		{"two archives", func(p string) error { return os.WriteFile(p+".0001", nil, 0o600) }, ".0001", nil},
	} {
		ref := parseRef(t, places[2].where(t))
		if _, err := c.copyTo(t.Context(), ref, &CopyOptions{PartSize: 2000}); err != nil {
			t.Fatal(err)
		}
		if err := tt.do(ref.path); err != nil {
			t.Fatal(err)
		}
		_, err := OpenSource(t.Context(), ref, nil)
		if err == nil || !strings.Contains(err.Error(), ref.path+tt.names) || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// Cut at every byte of the last part, which knows no size but its own.
	ref := parseRef(t, places[2].where(t))
	r, err := c.copyTo(t.Context(), ref, &CopyOptions{PartSize: 6000})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Files[len(r.Files)-1]
	for size := len(readFileT(t, last)) - 1; size >= 0; size-- {
		if err := os.Truncate(last, int64(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSource(t.Context(), ref, nil); err == nil || !strings.Contains(err.Error(), last) {
			t.Fatalf("cut to %d bytes: %v", size, err)
		}
	}
}

// TestSaveKeepsFinishedParts proves that what has its name is not written to: a
// damaged part, and parts and files of others, are named and left alone.
func TestSaveKeepsFinishedParts(t *testing.T) {
	c := newImage(t, 223)
	for _, tt := range []struct {
		name  string
		do    func(path string) error
		names string
	}{
		{"damaged", func(p string) error { return flipAt(p+".002", 700) }, ".002"},
		{"damaged header", func(p string) error { return flipAt(p+".001", 0) }, ".001"},
		{"cut", func(p string) error { return os.Truncate(p+".002", 100) }, ".002"},
		{"one more", func(p string) error { return os.WriteFile(p+".009", nil, 0o600) }, ".009"},
		{"more digits", func(p string) error { return os.Rename(p+".001", p+".0001") }, ".0001"},
		{"the archive", func(p string) error { return os.WriteFile(p, nil, 0o600) }, ""},
	} {
		ref := parseRef(t, places[2].where(t))
		opts := &CopyOptions{PartSize: 3000}
		r, err := c.copyTo(t.Context(), ref, opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.do(ref.path); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(ref.path)
		before := contents(t, dir)
		if _, err := c.copyTo(t.Context(), ref, opts); err == nil || !strings.Contains(err.Error(), ref.path+tt.names) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if after := contents(t, dir); after != before {
			t.Errorf("%s: files of %q were changed", tt.name, r.Files)
		}
	}
}

// contents is all that the files in dir hold.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range tree(t, dir) {
		fmt.Fprintf(&all, "%s: %q\n", name, readFileT(t, filepath.Join(dir, name)))
	}
	return all.String()
}

func flipAt(name string, at int) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(name, b, 0o600)
}

// TestSaveMendsArchive saves over a damaged archive of the same artifact, and over
// one of another: both are replaced when the new one is whole.
func TestSaveMendsArchive(t *testing.T) {
	t.Parallel()
	c := newImage(t, 224)
	want := saved(t, c)
	for at := 0; at < len(want); at += 100 {
		ref := parseRef(t, places[1].where(t))
		damaged := bytes.Clone(want)
		damaged[at] ^= 1
		if err := os.WriteFile(ref.path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c.copyTo(t.Context(), ref, &CopyOptions{})
		got := []byte(readFileT(t, ref.path))
		if err == nil && !bytes.Equal(got, want) || err != nil && !bytes.Equal(got, damaged) {
			t.Errorf("byte %d damaged: %v, and the archive is neither", at, err)
		}
		if err != nil && !strings.Contains(err.Error(), "choose another") {
			t.Errorf("byte %d damaged: %v", at, err)
		}
	}
	ref := parseRef(t, places[1].where(t))
	other := newImage(t, 225)
	for _, k := range []*cargo{other, c} {
		if _, err := k.copyTo(t.Context(), ref, &CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := []byte(readFileT(t, ref.path)); !bytes.Equal(got, want) {
		t.Error("the archive of another artifact was not replaced")
	}
	ref.tag = "v2"
	if _, err := c.copyTo(t.Context(), ref, &CopyOptions{}); err == nil || !strings.Contains(err.Error(), `"v1"`) {
		t.Errorf("over an archive of another tag: %v", err)
	}
}

// TestSaveOverLeftovers goes on with a file of foreign bytes.
func TestSaveOverLeftovers(t *testing.T) {
	c := newImage(t, 226)
	want := saved(t, c)
	for _, n := range []int{1, 700, 5000, len(want), len(want) + 10} {
		ref := parseRef(t, places[1].where(t))
		if err := os.WriteFile(ref.path+unfinished, bytes.Repeat([]byte("x"), n), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.copyTo(t.Context(), ref, &CopyOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := []byte(readFileT(t, ref.path)); !bytes.Equal(got, want) {
			t.Errorf("%d bytes of another file: the archive differs", n)
		}
	}
}

// TestSaveLocksPart proves that two processes do not write one file.
func TestSaveLocksPart(t *testing.T) {
	c := newImage(t, 227)
	ref := parseRef(t, places[1].where(t))
	f, err := os.Create(ref.path + unfinished)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := c.copyTo(t.Context(), ref, &CopyOptions{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
}

// TestSpaceOfParts proves that an archive in parts needs the space of one.
func TestSpaceOfParts(t *testing.T) {
	var warned []string
	c := &copier{opts: &Options{Warn: func(msg string) { warned = append(warned, msg) }}}
	w := &archiveWriter{path: filepath.Join(t.TempDir(), "f"), size: 1 << 60, part: 100, digits: 3}
	if err := c.checkArchiveSpace(w); err != nil || len(warned) != 1 {
		t.Errorf("small parts: %v, %q", err, warned)
	}
	w.part = 1 << 59
	if err := c.checkArchiveSpace(w); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("large parts: %v", err)
	}
}

// TestLoadFindsArtifact opens archives without their tag.
func TestLoadFindsArtifact(t *testing.T) {
	c := newImage(t, 228)
	for _, id := range []string{":v1", "@" + c.root.Digest.String()} {
		path := filepath.Join(t.TempDir(), "m.tar")
		if _, err := c.copyTo(t.Context(), parseRef(t, "oci-archive:"+path+id), &CopyOptions{}); err != nil {
			t.Fatal(err)
		}
		ref, err := Reference{}.InArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := resolve(t.Context(), ref); err != nil || d.Digest != c.root.Digest {
			t.Errorf("%s: %v, %v", id, d, err)
		}
	}
	if _, err := (Reference{}).InArchive(""); err == nil {
		t.Error("no file")
	}
}
