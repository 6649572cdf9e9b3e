package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	weightgen "github.com/oras-bsm/oras-bsm/e2e/model"
)

// tensorData is a tensor of a generated file.
type tensorData struct {
	name  string
	dtype string
	shape []int64
	data  []byte
}

// weight returns a tensor of n elements as a trained model would have them, or
// of random bits where dtype is none that models are trained in.
func weight(name, dtype string, n int, seed uint64) tensorData {
	t := tensorData{name: name, dtype: dtype, shape: []int64{int64(n)}}
	const cols = 64
	rows := (n + cols - 1) / cols
	switch dtype {
	case "BF16":
		t.data = weightgen.BF16(weightgen.Matrix(rows, cols, seed)[:n])
	case "F16":
		t.data = weightgen.F16(weightgen.Matrix(rows, cols, seed)[:n])
	case "F32":
		t.data = weightgen.F32(weightgen.Matrix(rows, cols, seed)[:n])
	default:
		bits, ok := safetensors.Bits(dtype)
		if !ok {
			panic("no dtype " + dtype)
		}
		t.data = noise(n*bits/8, seed)
		if dtype == "BOOL" {
			for i := range t.data {
				t.data[i] &= 1
			}
		}
	}
	return t
}

// noise is n bytes that do not compress.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	_, _ = r.Read(b)
	return b
}

// tensorFile returns a safetensors file.
func tensorFile(t testing.TB, tensors ...tensorData) []byte {
	t.Helper()
	var list []safetensors.Tensor
	for _, x := range tensors {
		list = append(list, safetensors.Tensor{Name: x.name, Dtype: x.dtype, Shape: x.shape})
	}
	var b bytes.Buffer
	if _, err := safetensors.WriteHeader(&b, list, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	for _, x := range tensors {
		b.Write(x.data)
	}
	return b.Bytes()
}

// blockTensors are the tensors of one block of a small model: 2 large, 2 small.
func blockTensors(stack string, number int, seed uint64) []tensorData {
	name := func(s string) string { return fmt.Sprintf("%s.%d.%s", stack, number, s) }
	seed += uint64(number) * 16
	return []tensorData{
		weight(name("input_layernorm.weight"), "BF16", 256, seed),
		weight(name("mlp.down_proj.weight"), "BF16", 70_000, seed+1),
		weight(name("mlp.up_proj.weight"), "BF16", 66_000, seed+2),
		weight(name("post_attention_layernorm.weight"), "F32", 257, seed+3),
	}
}

// modelFiles are the contents of a model directory, by slash-separated path. A
// path that ends in "*" is executable, without the star.
type modelFiles map[string][]byte

// smallModel is a model of every kind of layer, about 1 MB.
func smallModel(t testing.TB) modelFiles {
	t.Helper()
	embed := weight("model.embed_tokens.weight", "BF16", 80_000, 7)
	tied := embed
	tied.name = "lm_head.weight"
	tensors := []tensorData{embed}
	for i := range 2 {
		tensors = append(tensors, blockTensors("model.layers", i, 100)...)
	}
	return modelFiles{
		"config.json":           []byte(`{"architectures":["LlamaForCausalLM"]}`),
		"convert.sh*":           []byte("#!/bin/sh\n"),
		"model.safetensors":     tensorFile(t, append(tensors, tied)...),
		"tokenizer.json":        bytes.Repeat([]byte(`{"id":1,"token":"the"}`), 2000),
		"onnx/model.bin":        noise(3000, 9),
		"unet/empty/.gitignore": {},
	}
}

// write makes a directory of the files.
func (m modelFiles) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range m {
		mode := fs.FileMode(0o644)
		if n := len(name) - 1; name[n] == '*' {
			name, mode = name[:n], 0o755
		}
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil { // past the umask
			t.Fatal(err)
		}
	}
	return dir
}

// entries describes what is below dir: the mode and the bytes of files, the
// targets of links; directories end in "/".
func entries(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case e.IsDir():
			out[rel+"/"] = ""
		case e.Type()&fs.ModeSymlink != 0:
			out[rel], err = os.Readlink(p)
		case e.Type().IsRegular():
			info, err := e.Info()
			if err != nil {
				return err
			}
			b, err := os.ReadFile(p)
			out[rel] = fmt.Sprintf("%o %d %x", info.Mode().Perm(), len(b), xxh3.Hash(b))
			return err
		default:
			out[rel] = e.Type().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameFiles fails unless both directories hold the same files, with the same
// modes. Empty directories do not count.
func sameFiles(t testing.TB, want, got string) {
	t.Helper()
	w, g := entries(t, want), entries(t, got)
	for _, m := range []map[string]string{w, g} {
		maps.DeleteFunc(m, func(name, _ string) bool { return name[len(name)-1] == '/' })
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Fatalf("files differ (-want +got):\n%s", diff)
	}
}

// pushLayout pushes dir to a new layout.
func pushLayout(t testing.TB, dir string, o *PushOptions) (Reference, *PushResult) {
	t.Helper()
	ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	res, err := Push(t.Context(), ref, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return ref, res
}

// pullNew pulls ref to a new directory.
func pullNew(t testing.TB, ref Reference, o *PullOptions) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pulled")
	if _, err := Pull(t.Context(), ref, dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// report inspects ref.
func report(t testing.TB, ref Reference) *Report {
	t.Helper()
	r, err := Inspect(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tensorReport finds a tensor by file and name.
func tensorReport(t testing.TB, r *Report, file, name string) *TensorReport {
	t.Helper()
	i := slices.IndexFunc(r.Tensors, func(x TensorReport) bool { return x.File == file && x.Name == name })
	if i < 0 {
		t.Fatalf("no tensor %q of %q", name, file)
	}
	return &r.Tensors[i]
}

// openArtifact opens ref until the test ends.
func openArtifact(t testing.TB, ref Reference) *Artifact {
	t.Helper()
	a, err := Open(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// notTagged fails if ref names something.
func notTagged(t testing.TB, ref Reference) {
	t.Helper()
	// The context of the test may be what was canceled.
	d, err := resolve(context.WithoutCancel(t.Context()), ref)
	if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNotModel) && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s names %s, error %v", ref, d.Digest, err)
	}
}

// hook is a Progress that calls a function when a phase begins.
type hook struct {
	noProgress
	begin func(phase string)
}

func (h hook) Begin(phase string, _ int64) Bar {
	h.begin(phase)
	return noProgress{}
}

// at calls f when phase begins.
func at(phase string, f func()) Progress {
	return hook{begin: func(p string) {
		if p == phase {
			f()
		}
	}}
}

// firstBytes is a Progress that calls f when the first bytes after hashing are
// done.
type firstBytes struct {
	noProgress
	f func()
}

func (p firstBytes) Begin(phase string, _ int64) Bar {
	if phase == "hashing" {
		return noProgress{}
	}
	return p
}

func (p firstBytes) Add(int64) { p.f() }
