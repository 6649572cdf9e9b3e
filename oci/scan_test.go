package oci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// badFiles are safetensors files that the strict parser refuses.
func badFiles(t testing.TB) map[string][]byte {
	t.Helper()
	header := func(json string, data int) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(json)))
		return append(append(b, json...), noise(data, 5)...)
	}
	length := func(n uint64) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}} `...)
	}
	good := tensorFile(t, weight("w", "BF16", 100, 1))
	return map[string][]byte{
		"1 short":             {1, 2, 3, 4, 5, 6, 7},
		"2 zero header":       length(0),
		"3 header past end":   length(1000),
		"4 header 2^63":       length(1 << 63),
		"4 header 2^64-1":     length(1<<64 - 1),
		"5 header 100000001":  length(100_000_001),
		"6 not UTF-8":         header("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1),
		"7 not an object":     header(`[]`, 0),
		"7 white space":       header(` {}`, 0),
		"8 NUL padding":       header("{}\x00\x00", 0),
		"9 duplicate name":    header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2),
		"10 DTYPE twin":       header(`{"a":{"dtype":"U8","DTYPE":"I8","shape":[1],"data_offsets":[0,1]}}`, 1),
		"11 overlap":          header(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3),
		"12 hole":             header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3),
		"13 end before start": header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1),
		"14 end past data":    header(`{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`, 1),
		"15 trailing bytes":   append(bytes.Clone(good), "PK\x03\x04"...),
		"16 shape overflows":  header(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0),
		"17 size of shape":    header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4),
		"18 unknown dtype":    header(`{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}}`, 16),
		"19 half a byte":      header(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2),
		"20 one offset":       header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1),
		"20 three offsets":    header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1),
		"20 float":            header(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}}`, 1),
		"20 negative":         header(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1),
		"20 exponent":         header(`{"a":{"dtype":"U8","shape":[1000],"data_offsets":[0,1e3]}}`, 1000),
		"21 nested":           header(strings.Repeat(`{"a":`, 20_000)+"1"+strings.Repeat("}", 20_000), 0),
		"24 metadata":         header(`{"__metadata__":{"a":1}}`, 0),
		"truncated":           good[:len(good)-1],
		"25 lfs pointer":      []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"),
	}
}

func TestBadSafetensors(t *testing.T) {
	files := modelFiles{"good.safetensors": tensorFile(t, weight("w", "BF16", 100, 1))}
	bad := badFiles(t)
	for name, data := range bad {
		files["sub/"+name+".safetensors"] = data
	}
	dir := files.write(t)
	warned := map[string]string{}
	ref, _ := pushLayout(t, dir, &PushOptions{Options: Options{Warn: func(msg string) {
		name, why, _ := strings.Cut(msg, " is stored as opaque bytes: ")
		warned[name] = why
	}}})
	for name := range bad {
		why := warned["sub/"+name+".safetensors"]
		if why == "" {
			t.Errorf("no warning about %q", name)
		}
		if lfs := strings.Contains(why, "Git LFS pointer"); lfs != (name == "25 lfs pointer") {
			t.Errorf("%q: %s", name, why)
		}
	}
	if len(warned) != len(bad) {
		t.Errorf("%d warnings, want %d: %v", len(warned), len(bad), warned)
	}
	r := report(t, ref)
	for _, f := range r.Files {
		if (f.Format == "safetensors") != (f.Path == "good.safetensors") {
			t.Errorf("%s is of format %q", f.Path, f.Format)
		}
	}
	if len(r.Tensors) != 1 {
		t.Errorf("%d tensors", len(r.Tensors))
	}
	sameFiles(t, dir, pullNew(t, ref, nil))
}

// A sparse file with a header length over the limit costs no memory.
func TestSparseSafetensors(t *testing.T) {
	t.Parallel()
	dir := modelFiles{"model.safetensors": binary.LittleEndian.AppendUint64(nil, 100_000_001)}.write(t)
	if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 64<<20); err != nil {
		t.Fatal(err)
	}
	ref, res := pushLayout(t, dir, nil)
	if res.Encoded > 64<<10 {
		t.Errorf("64 MiB of zeros take %d bytes", res.Encoded)
	}
	sameFiles(t, dir, pullNew(t, ref, nil))
}

// A file that another program writes to while it is pushed.
func TestFileChanges(t *testing.T) {
	edit := func(f func(w *os.File) error) func(t *testing.T, name string) {
		return func(t *testing.T, name string) {
			w, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f(w), w.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(off int64, s string) func(t *testing.T, name string) {
		return edit(func(w *os.File) error { _, err := w.WriteAt([]byte(s), off); return err })
	}
	for _, tt := range []struct {
		name, phase, file string
		change            func(t *testing.T, name string)
		want              error
	}{
		{"opaque shrinks", "encoding", "tokenizer.json", edit(func(w *os.File) error { return w.Truncate(100) }), errChanged},
		{"opaque grows", "encoding", "tokenizer.json", write(44_000, "more"), errChanged},
		{"opaque changes", "encoding", "tokenizer.json", write(20_000, "other"), errChanged},
		{"empty grows", "encoding", "unet/empty/.gitignore", write(0, "*"), errChanged},
		{"small one changes", "encoding", "config.json", write(0, "["), errChanged},
		{"header changes", "encoding", "model.safetensors", write(20, "?"), errChanged},
		{"tensor changes", "encoding", "model.safetensors", write(300_000, "!!!!"), errChanged},
		{"tensors shrink", "encoding", "model.safetensors", edit(func(w *os.File) error { return w.Truncate(300_000) }), errChanged},
		{"tensors end early", "encoding", "model.safetensors", edit(func(w *os.File) error { return w.Truncate(300) }), errChanged},
		{"tensors grow", "encoding", "model.safetensors", write(2<<20, "more"), errChanged},
		{"shrinks before hashing", "hashing", "model.safetensors", edit(func(w *os.File) error { return w.Truncate(300_000) }), errChanged},
		{"removed", "encoding", "model.safetensors", func(t *testing.T, name string) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}, os.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallModel(t).write(t)
			ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
			changed := false
			_, err := Push(t.Context(), ref, dir, &PushOptions{Options: Options{Progress: at(tt.phase, func() {
				changed = true
				tt.change(t, filepath.Join(dir, tt.file))
			})}})
			if !changed || !errors.Is(err, tt.want) {
				t.Fatalf("changed %t, error %v", changed, err)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Object != tt.file {
				t.Errorf("error does not name the file: %v", err)
			}
			notTagged(t, ref)
		})
	}
}

func TestScanRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		make       func(dir string) error
	}{
		{"link out", "escapes", func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, "link.json")) }},
		{"relative link out", "escapes", func(dir string) error { return os.Symlink("../../../etc/hostname", filepath.Join(dir, "link.json")) }},
		{"almost a hub link", "escapes", func(dir string) error {
			return os.Symlink("../../blobs/../../../etc/hostname", filepath.Join(dir, "link.json"))
		}},
		{"link to a directory", "regular files", func(dir string) error { return os.Symlink("onnx", filepath.Join(dir, "link")) }},
		{"dangling link", "no such file", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "link")) }},
		{"FIFO", "regular files", func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600) }},
		{"link to a FIFO", "regular files", func(dir string) error {
			return errors.Join(unix.Mkfifo(filepath.Join(dir, "z"), 0o600), os.Symlink("z", filepath.Join(dir, "a")))
		}},
		{"socket", "regular files", func(dir string) error {
			return unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0)
		}},
		{"case twins", "case", func(dir string) error { return os.WriteFile(filepath.Join(dir, "CONFIG.json"), nil, 0o600) }},
		{"backslash", "backslash", func(dir string) error { return os.WriteFile(filepath.Join(dir, `a\b`), nil, 0o600) }},
		{"trailing dot", "dot", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a."), nil, 0o600) }},
		{"control character", "", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600) }},
		{"not UTF-8", "UTF-8", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\xffb"), nil, 0o600) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallModel(t).write(t)
			if err := tt.make(dir); err != nil {
				t.Skip(err) // the file system does not take such a name
			}
			ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
			_, err := Push(t.Context(), ref, dir, nil)
			if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
			if errors.Is(err, ErrCorrupt) {
				t.Errorf("a fault of the directory is not corruption: %v", err)
			}
			notTagged(t, ref)
		})
	}
	for name, dir := range map[string]string{"missing": "/nowhere/at/all", "a file": "push_test.go", "empty": t.TempDir()} {
		ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
		if _, err := Push(t.Context(), ref, dir, nil); err == nil {
			t.Errorf("%s directory was pushed", name)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s directory: error %v", name, err)
		}
	}
}

// Files that tools leave in a directory are no part of the model.
func TestScanSkips(t *testing.T) {
	files := modelFiles{
		"config.json":                       []byte("{}"),
		".gitattributes":                    []byte("*.safetensors filter=lfs"),
		".cache/other":                      []byte("kept"),
		"sub/huggingface/x":                 []byte("kept"),
		".git/HEAD":                         []byte("ref: refs/heads/main"),
		"sub/.git/HEAD":                     []byte("ref: refs/heads/main"),
		".cache/huggingface/download/x":     []byte("1"),
		"sub/.cache/huggingface/download/x": []byte("1"),
	}
	ref, _ := pushLayout(t, files.write(t), nil)
	var got []string
	for _, f := range report(t, ref).Files {
		got = append(got, f.Path)
	}
	want := []string{".cache/other", ".gitattributes", "config.json", "sub/huggingface/x"}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A snapshot of the Hugging Face cache is links into a directory of blobs
// beside it.
func TestHubCache(t *testing.T) {
	cache := t.TempDir()
	files := smallModel(t)
	plain := modelFiles{}
	i := 0
	for name, data := range files {
		name = strings.TrimSuffix(name, "*") // the cache has no modes
		plain[name] = data
		i++
		blob := fmt.Sprintf("%040x", i)
		if i%2 == 0 {
			blob = digest.FromBytes(data).Encoded()
		}
		link := filepath.Join(cache, "snapshots", "main", name)
		for _, d := range []string{filepath.Dir(link), filepath.Join(cache, "blobs")} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(cache, "blobs", blob), data, 0o644); err != nil {
			t.Fatal(err)
		}
		up := strings.Repeat("../", 2+strings.Count(name, "/"))
		if err := os.Symlink(up+"blobs/"+blob, link); err != nil {
			t.Fatal(err)
		}
	}
	want := plain.write(t)
	_, plainRes := pushLayout(t, want, nil)
	ref, res := pushLayout(t, filepath.Join(cache, "snapshots", "main"), nil)
	sameFiles(t, want, pullNew(t, ref, nil))
	if res.Digest != plainRes.Digest {
		t.Error("a model in the cache has another digest than the same files elsewhere")
	}

	// Who made the blob a link does not get to choose the file that is pushed.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	blob := strings.Repeat("a", 40)
	err := errors.Join(os.Symlink(secret, filepath.Join(cache, "blobs", blob)),
		os.Symlink("../../blobs/"+blob, filepath.Join(cache, "snapshots", "main", "innocent.json")))
	if err != nil {
		t.Fatal(err)
	}
	other := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	if _, err := Push(t.Context(), other, filepath.Join(cache, "snapshots", "main"), nil); err == nil {
		t.Error("a link to a link out of the cache was followed")
	}
	notTagged(t, other)
}
