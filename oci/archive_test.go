package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestArchiveBytes checks the order of the entries, their headers, and that
// two runs give the same bytes.
func TestArchiveBytes(t *testing.T) {
	m := newModel(t, 40)
	var files [2]string
	for i := range files {
		name := filepath.Join(t.TempDir(), "m.tar")
		m.publish(t, parseRef(t, "oci-archive:"+name+":v1"))
		files[i] = readFileT(t, name)
		if got := tree(t, filepath.Dir(name)); len(got) != 1 {
			t.Errorf("left over: %v", got)
		}
	}
	if files[0] != files[1] {
		t.Error("two runs differ")
	}
	want := []string{"oci-layout", "index.json", blobPath(m.index.Digest)}
	for _, x := range append(append([]thing{}, m.manifests...), m.configs...) {
		want = append(want, blobPath(x.Digest))
	}
	for _, i := range []int{3, 0, 1, 2} { // the index layer first
		want = append(want, blobPath(m.layers[i].Digest))
	}
	var got []string
	tr := tar.NewReader(strings.NewReader(files[0]))
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, hdr.Name)
		if hdr.Format != tar.FormatUSTAR || hdr.Mode != 0o644 || hdr.Uid != 0 || hdr.Gid != 0 || hdr.Uname != "" || hdr.ModTime.Unix() != 0 {
			t.Errorf("header %+v", hdr)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// TestArchivePublishOnce publishes twice: the blobs are in the first archive.
func TestArchivePublishOnce(t *testing.T) {
	ref := parseRef(t, "oci-archive:"+filepath.Join(t.TempDir(), "m.tar"))
	m := newModel(t, 41)
	target := openTarget(t, ref)
	m.put(t, target)
	if err := target.Publish(t.Context(), m.index.Descriptor); err != nil {
		t.Fatal(err)
	}
	if err := target.Publish(t.Context(), m.index.Descriptor); err == nil {
		t.Error("published twice")
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestArchiveLeavesLiveTarget opens a second target of one archive: the first
// one's files stay.
func TestArchiveLeavesLiveTarget(t *testing.T) {
	ref := parseRef(t, "oci-archive:"+filepath.Join(t.TempDir(), "m.tar"))
	m := newModel(t, 42)
	first := openTarget(t, ref)
	m.put(t, first)
	if err := openTarget(t, ref).Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Publish(t.Context(), m.index.Descriptor), first.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestTarHeaderLarge checks the one size from which USTAR is not enough.
func TestTarHeaderLarge(t *testing.T) {
	for size, want := range map[int64]byte{ustarMax - 1: tar.TypeReg, ustarMax: tar.TypeXHeader} {
		h, err := tarHeader("f", size)
		if err != nil {
			t.Fatal(err)
		}
		if got := h[156]; got != want {
			t.Errorf("%d bytes: first header of type %q, want %q", size, got, want)
		}
	}
}

// entry is an entry of a tar for tests.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}, data}
}

func makeTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range entries {
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestReadArchive(t *testing.T) {
	raw := makeTar(
		t,
		entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}},
		entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./blobs/", Mode: 0o755}},
		file("./oci-layout", "a"),
		file("index.json", "bc"),
		file("manifest.json", ""), // docker save of today writes both
		file("blobs/"+strings.Repeat("long/", 60)+"x", "def"),
	)
	spans, err := readArchive(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, s := range spans {
		got[name] = string(raw[s.off : s.off+s.size])
	}
	want := map[string]string{"oci-layout": "a", "index.json": "bc", "manifest.json": "", "blobs/" + strings.Repeat("long/", 60) + "x": "def"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// gzipped returns raw, compressed.
func gzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func hostileArchives(t testing.TB) map[string][]byte {
	long := makeTar(t, file("index.json", strings.Repeat("x", 5000)))
	// The writer writes no sparse files: the name of the record is changed after.
	sparse := file("x", "data")
	sparse.PAXRecords = map[string]string{"VND.sparse.name": "y"}
	return map[string][]byte{
		"leads out":       makeTar(t, file("../index.json", "x")),
		"absolute":        makeTar(t, file("/index.json", "x")),
		"dots inside":     makeTar(t, file("blobs/../../x", "x")),
		"backslash":       makeTar(t, file(`blobs\..\x`, "x")),
		"symlink":         makeTar(t, entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "blobs", Linkname: "/etc"}}),
		"hard link":       makeTar(t, file("a", ""), entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "a"}}),
		"device":          makeTar(t, entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "b"}}),
		"twice":           makeTar(t, file("index.json", "x"), file("./index.json", "y")),
		"file, directory": makeTar(t, file("blobs", "x"), entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "blobs/"}}),
		"cut":             long[:600],
		"cut header":      long[:300],
		"sparse":          bytes.Replace(makeTar(t, sparse), []byte("VND."), []byte("GNU."), 1),
		"gzip":            gzipped(t, long),
		"zstd":            []byte("\x28\xb5\x2f\xfd and so on"),
		"docker-archive":  makeTar(t, file("manifest.json", "[]"), file("abc/layer.tar", "x")),
	}
}

func TestReadArchiveRefuses(t *testing.T) {
	t.Parallel()
	want := map[string]string{"sparse": "sparse", "cut": "cut off", "gzip": "gunzip", "zstd": "unzstd", "docker-archive": "skopeo"}
	for name, raw := range hostileArchives(t) {
		spans, err := readArchive(bytes.NewReader(raw), int64(len(raw)))
		if err == nil || !strings.Contains(err.Error(), want[name]) {
			t.Errorf("%s: %v, %v", name, spans, err)
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotModel) {
			t.Errorf("%s: untyped %v", name, err)
		}
	}
	if _, err := readArchive(manyEntries{}, 1<<40); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "entries") {
		t.Errorf("a million entries: %v", err)
	}
}

// manyEntries is a tar without end: empty files of ever new names.
type manyEntries struct{}

func (manyEntries) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		block := (off + int64(i)) / 512
		if i == 0 || (off+int64(i))%512 == 0 {
			var buf bytes.Buffer
			hdr := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(block), Format: tar.FormatUSTAR}
			if err := tar.NewWriter(&buf).WriteHeader(hdr); err != nil {
				return i, err
			}
			copy(p[i:], buf.Bytes()[(off+int64(i))%512:])
		}
	}
	return len(p), nil
}

// TestArchiveNotAFile opens what cannot be an archive.
func TestArchiveNotAFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "missing")} {
		if _, err := OpenSource(t.Context(), parseRef(t, "oci-archive:"+name), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := OpenTarget(t.Context(), parseRef(t, "oci-archive:"+dir), nil); err == nil {
		t.Error("a directory is taken for an archive to replace")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// FuzzReadArchive: whatever the bytes, every file that is reported lies within
// them, under a clean name.
func FuzzReadArchive(f *testing.F) {
	f.Add(makeTar(f, file("oci-layout", layoutFile), file("index.json", "{}"), file("blobs/sha256/x", "data")))
	for _, raw := range hostileArchives(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		spans, err := readArchive(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		for name, s := range spans {
			if s.off < 0 || s.size < 0 || s.off+s.size > int64(len(raw)) || !filepath.IsLocal(name) {
				t.Fatalf("%q lies at %+v of %d bytes", name, s, len(raw))
			}
		}
		files := &memFiles{spans, bytes.NewReader(raw)}
		if x, err := readIndexFile(files); err == nil {
			if _, err := x.with(ocispec.Descriptor{MediaType: "a/b", Digest: newThing("", nil).Digest}, "t"); err != nil {
				t.Fatalf("index.json is read but not written: %v", err)
			}
		}
	})
}

// memFiles is a tar in memory.
type memFiles struct {
	spans map[string]span
	r     io.ReaderAt
}

func (m *memFiles) open(name string) (section, error) {
	s, ok := m.spans[name]
	if !ok {
		return section{}, ErrNotFound
	}
	return section{io.NewSectionReader(m.r, s.off, s.size), io.NopCloser(nil), s.size}, nil
}

func (m *memFiles) Close() error { return nil }
