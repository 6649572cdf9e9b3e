package oci

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// TestLayoutConcurrentWriters publishes many tags at once. No entry is lost,
// and no target removes the temporary files of another.
func TestLayoutConcurrentWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	const writers = 12
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			m := newModel(t, uint64(100+i%3))
			ref := Reference{kind: kindLayout, path: dir, tag: fmt.Sprintf("v%d", i)}
			target, err := OpenTarget(t.Context(), ref, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for _, x := range append(m.blobs(), append(m.manifests, m.index)...) {
				w, err := target.Create(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				_, err = w.Write(x.raw)
				if err := errors.Join(err, w.Commit(t.Context(), x.Descriptor)); err != nil {
					t.Error(err)
				}
			}
			if err := errors.Join(target.Publish(t.Context(), m.index.Descriptor), target.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range writers {
		d, err := resolve(t.Context(), parseRef(t, fmt.Sprintf("oci:%s:v%d", dir, i)))
		if want := newModel(t, uint64(100+i%3)).index.Digest; err != nil || d.Digest != want {
			t.Errorf("v%d: %v, %v", i, d, err)
		}
	}
	for _, name := range tree(t, dir) {
		if strings.Contains(name, tempPrefix) {
			t.Errorf("left over: %s", name)
		}
	}
}

// tree lists the regular files below dir.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestLayoutKeepsEntries publishes beside and over entries that other tools
// wrote, with members this package knows nothing of.
func TestLayoutKeepsEntries(t *testing.T) {
	dir := t.TempDir()
	newModel(t, 20).publish(t, parseRef(t, "oci:"+dir+":old"))
	m := newModel(t, 21)
	raw := readFileT(t, filepath.Join(dir, "index.json"))
	old := raw[strings.Index(raw, `"manifests":[`)+len(`"manifests":[`) : strings.LastIndex(raw, "]")]
	other := fmt.Sprintf(`{ "size":7,"digest":"sha256:%s", "x":[1.0,2e0],"mediaType":"application/vnd.oci.image.manifest.v1+json"}`, strings.Repeat("ab", 32))
	writeFileT(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[`+other+","+old+`],"future":{"b":1,"a":[]}}`)

	m.publish(t, parseRef(t, "oci:"+dir+":new"))
	m.publish(t, parseRef(t, "oci:"+dir+":old"))
	var got struct {
		Manifests []json.RawMessage
		Future    json.RawMessage
	}
	if err := json.Unmarshal([]byte(readFileT(t, filepath.Join(dir, "index.json"))), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Manifests) != 3 {
		t.Fatalf("%d entries, want 3", len(got.Manifests))
	}
	equal := func(a, b string) bool {
		var x, y any
		return errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)) == nil && cmp.Equal(x, y)
	}
	if !equal(string(got.Manifests[0]), other) || !equal(string(got.Future), `{"b":1,"a":[]}`) {
		t.Errorf("foreign parts changed: %s, %s", got.Manifests[0], got.Future)
	}
	for _, tag := range []string{"old", "new"} {
		if d, err := resolve(t.Context(), parseRef(t, "oci:"+dir+":"+tag)); err != nil || d.Digest != m.index.Digest {
			t.Errorf("%s: %v, %v", tag, d, err)
		}
	}
}

func readFileT(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func writeFileT(t testing.TB, name, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLayoutSingleEntry reads what skopeo and crane write: one entry, unnamed.
func TestLayoutSingleEntry(t *testing.T) {
	dir := t.TempDir()
	m := newModel(t, 22)
	m.publish(t, parseRef(t, "oci:"+dir+"@"+m.index.Digest.String()))
	if d, err := resolve(t.Context(), parseRef(t, "oci:"+dir)); err != nil || d.Digest != m.index.Digest {
		t.Errorf("no tag asked: %v, %v", d, err)
	}
	if _, err := resolve(t.Context(), parseRef(t, "oci:"+dir+":latest")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tag asked: %v", err)
	}
}

// TestLayoutMendsBlob commits a blob over a damaged one of the same size.
func TestLayoutMendsBlob(t *testing.T) {
	dir := t.TempDir()
	m := newModel(t, 23)
	ref := parseRef(t, "oci:"+dir+":v1")
	m.publish(t, ref)
	b := m.layers[0]
	name := filepath.Join(dir, blobPath(b.Digest))
	writeFileT(t, name, strings.Repeat("x", int(b.Size)))
	m.publish(t, ref)
	if readFileT(t, name) != string(b.raw) {
		t.Error("the damage stayed")
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode() != 0o644 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// TestLayoutIncomplete takes away one blob: Publish refuses and the tag stays.
func TestLayoutIncomplete(t *testing.T) {
	dir := t.TempDir()
	ref := parseRef(t, "oci:"+dir+":v1")
	old, m := newModel(t, 24), newModel(t, 25)
	old.publish(t, ref)
	target := openTarget(t, ref)
	m.put(t, target)
	if err := os.Remove(filepath.Join(dir, blobPath(m.layers[2].Digest))); err != nil {
		t.Fatal(err)
	}
	err := target.Publish(t.Context(), m.index.Descriptor)
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), m.layers[2].Digest.Encoded()) {
		t.Errorf("Publish: %v", err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err := resolve(t.Context(), ref); err != nil || d.Digest != old.index.Digest {
		t.Errorf("the tag: %v, %v", d, err)
	}
}

func TestLayoutRefusesOtherDirectory(t *testing.T) {
	dir := t.TempDir()
	writeFileT(t, filepath.Join(dir, "thesis.tex"), "x")
	if _, err := OpenTarget(t.Context(), parseRef(t, "oci:"+dir), nil); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("OpenTarget: %v", err)
	}
	if _, err := OpenSource(t.Context(), parseRef(t, "oci:"+dir), nil); !errors.Is(err, ErrNotModel) {
		t.Errorf("OpenSource: %v", err)
	}
}

// TestLayoutHostile damages a layout in one way each.
func TestLayoutHostile(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	m := newModel(t, 26)
	layer := m.layers[0]
	writeFileT(t, outside, string(layer.raw))
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:"v1"}}`, m.index.MediaType, m.index.Digest, m.index.Size, ocispec.AnnotationRefName)
	index := func(s string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { writeFileT(t, filepath.Join(dir, "index.json"), s) }
	}
	blob := func(f func(name string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			name := filepath.Join(dir, blobPath(layer.Digest))
			if err := errors.Join(os.Remove(name), f(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want error // nil: any
	}{
		{"not JSON", index("{"), ErrCorrupt},
		{"trailing", index(`{"schemaVersion":2,"manifests":[` + entry + `]}{}`), ErrCorrupt},
		{"duplicate key", index(`{"schemaVersion":2,"manifests":[],"manifests":[` + entry + `]}`), ErrCorrupt},
		{"other case", index(`{"schemaVersion":2,"MANIFESTS":[` + entry + `]}`), ErrNotFound},
		{"schema 1", index(`{"schemaVersion":1,"manifests":[` + entry + `]}`), ErrCorrupt},
		{"digest is a path", index(strings.Replace(`{"schemaVersion":2,"manifests":[`+entry+`]}`, m.index.Digest.Encoded(), "../../secret", 1)), ErrCorrupt},
		{"negative size", index(strings.Replace(`{"schemaVersion":2,"manifests":[`+entry+`]}`, `"size":`, `"size":-`, 1)), ErrCorrupt},
		{"tag names two", index(`{"schemaVersion":2,"manifests":[` + entry + "," + strings.Replace(entry, m.index.Digest.Encoded(), layer.Digest.Encoded(), 1) + `]}`), ErrCorrupt},
		{"too large", index(`{"schemaVersion":2,"manifests":[` + entry + `]` + strings.Repeat(" ", mediatypes.MaxManifestSize) + `}`), ErrCorrupt},
		{"missing", func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "index.json")) }, ErrNotFound},
		{"other version", func(t *testing.T, dir string) {
			writeFileT(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"2.0.0"}`)
		}, ErrNotModel},
		{"blob leads out", blob(func(name string) error { return os.Symlink(outside, name) }), nil},
		{"blob is a directory", blob(func(name string) error { return os.Mkdir(name, 0o755) }), ErrCorrupt},
		{"blob is a pipe", blob(func(name string) error { return syscall.Mkfifo(name, 0o644) }), ErrCorrupt},
		{"blob is short", blob(func(name string) error { return os.WriteFile(name, layer.raw[1:], 0o644) }), ErrCorrupt},
		{"blob is gone", blob(func(string) error { return nil }), ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			ref := parseRef(t, "oci:"+dir+":v1")
			m.publish(t, ref)
			tt.do(t, dir)
			err := readLayer(t, ref, layer)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// readLayer resolves ref and reads one blob.
func readLayer(t *testing.T, ref Reference, layer thing) error {
	s, err := OpenSource(t.Context(), ref, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Resolve(t.Context()); err != nil {
		return err
	}
	r, err := s.Blob(t.Context(), layer.Descriptor, 0, -1)
	if err != nil {
		return err
	}
	_, err = io.ReadAll(r)
	return errors.Join(err, r.Close())
}

// TestLayoutOpensFilesOnly opens an empty blob that is a pipe: its size fits.
func TestLayoutOpensFilesOnly(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := (dirFiles{root}).open("pipe"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a pipe: %v", err)
	}
}

const childEnv = "ORAS_BSM_TEST_CHILD"

// TestChild is no test: it is the writer that TestKilledTarget kills.
func TestChild(t *testing.T) {
	where := os.Getenv(childEnv)
	if where == "" {
		t.Skip("run by TestKilledTarget")
	}
	target := openTarget(t, parseRef(t, where))
	newModel(t, 31).put(t, target)
	w, err := target.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<16)); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

// TestKilledTarget kills a writer before it publishes. The old artifact stays,
// and the next writer removes what was left.
func TestKilledTarget(t *testing.T) {
	for _, prefix := range []string{"oci:", "oci-archive:"} {
		t.Run(prefix, func(t *testing.T) {
			parent := t.TempDir()
			ref := parseRef(t, prefix+filepath.Join(parent, "store")+":v1")
			old := newModel(t, 30)
			old.publish(t, ref)
			clean := temps(tree(t, parent))
			killChild(t, ref.String())
			if len(temps(tree(t, parent))) == len(clean) {
				t.Fatal("the child left nothing: this test tests nothing")
			}
			if d, err := resolve(t.Context(), ref); err != nil || d.Digest != old.index.Digest {
				t.Errorf("after the kill: %v, %v", d, err)
			}
			m := newModel(t, 32)
			m.publish(t, ref)
			if diff := cmp.Diff(clean, temps(tree(t, parent))); diff != "" {
				t.Errorf("left over (-want +got):\n%s", diff)
			}
			if d, err := resolve(t.Context(), ref); err != nil || d.Digest != m.index.Digest {
				t.Errorf("after the next: %v, %v", d, err)
			}
		})
	}
}

func temps(names []string) []string {
	var out []string
	for _, n := range names {
		if strings.Contains(n, tempPrefix) {
			out = append(out, n)
		}
	}
	return out
}

func killChild(t *testing.T, where string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+where)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Errorf("child says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child was not killed")
	}
}

// TestLayoutLiveTemp opens a second target while a first is in the middle of a
// blob: the first's file is left alone.
func TestLayoutLiveTemp(t *testing.T) {
	ref := parseRef(t, "oci:"+t.TempDir())
	first := openTarget(t, ref)
	b := randomThing(mediatypes.BlockLayer, 33, 100)
	w, err := first.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b.raw); err != nil {
		t.Fatal(err)
	}
	if err := openTarget(t, ref).Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Commit(t.Context(), b.Descriptor), first.Close()); err != nil {
		t.Fatal(err)
	}
}
