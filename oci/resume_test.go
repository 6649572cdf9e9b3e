package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oras-bsm/oras-bsm/codec/safetensors"
)

// afterChunks is a Progress that calls f once, when n chunks were pulled.
type afterChunks struct {
	noProgress
	n    *atomic.Int64
	stop func()
}

func (p afterChunks) Begin(phase string, _ int64) Bar {
	if phase != "pulling" {
		return noProgress{}
	}
	return p
}

func (p afterChunks) Item(string, int64) Bar { return p }

func (p afterChunks) Add(int64) {
	if p.n.Add(-1) == 0 {
		p.stop()
	}
}

// manyChunks is a model of some 20 chunks.
func manyChunks(t testing.TB) modelFiles {
	t.Helper()
	var tensors []tensorData
	for i := range 6 {
		tensors = append(tensors, blockTensors("model.layers", i, 100)...)
	}
	return modelFiles{"model.safetensors": tensorFile(t, tensors...), "config.json": []byte("{}")}
}

// noted returns the chunks that the pull that was interrupted in dir has noted, and
// how many bytes of layers they are.
func noted(t *testing.T, ref Reference, dir string) (notes map[step]uint64, encoded int64) {
	t.Helper()
	work, err := filepath.Glob(filepath.Join(dir, workPrefix+"*"))
	if err != nil || len(work) > 1 {
		t.Fatalf("work directories %v, %v", work, err)
	}
	if len(work) == 0 {
		return nil, 0
	}
	root, err := os.OpenRoot(work[0])
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	j, notes, err := openJournal(root, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	a := openArtifact(t, ref)
	for s := range notes {
		chunks, err := a.Index.ChunkTable(s.layer)
		if err != nil {
			t.Fatal(err)
		}
		encoded += int64(chunks[s.chunk].Encoded)
	}
	return notes, encoded
}

// TestPullGoesOn ends a pull after each number of chunks. What the next one fetches
// is what the first has not noted, and what was noted but is not on the disk.
func TestPullGoesOn(t *testing.T) {
	dir := manyChunks(t).write(t)
	s := newStub(t, nil)
	ref := s.ref(t)
	res, err := Push(t.Context(), ref, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var whole *PullResult
	if whole, err = Pull(t.Context(), ref, t.TempDir(), nil); err != nil {
		t.Fatal(err)
	}
	if whole.Fetched <= 0 || whole.Fetched > res.Encoded {
		t.Fatalf("a whole pull fetches %d of %d bytes", whole.Fetched, res.Encoded)
	}
	went := 0
	for n := int64(1); n < 24; n++ {
		target := filepath.Join(t.TempDir(), "out")
		ctx, cancel := context.WithCancel(t.Context())
		var left atomic.Int64
		left.Store(n)
		o := &PullOptions{Options: Options{Progress: afterChunks{n: &left, stop: cancel}}}
		if _, err = Pull(ctx, ref, target, o); err == nil {
			cancel()
			break // all was there before it noticed
		}
		cancel()
		notes, kept := noted(t, ref, target)
		var lost int64
		if n%3 == 0 && len(notes) > 0 {
			lost = damageNoted(t, ref, target, notes)
		}
		again, err := Pull(t.Context(), ref, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The prologue and trailer of a layer come again if any of its chunks do.
		want := whole.Fetched - kept + lost
		if again.Fetched > want || again.Fetched < want-2000 {
			t.Errorf("after %d chunks, %d bytes of them noted, %d lost: fetched %d, want %d", n, kept, lost, again.Fetched, want)
		}
		if kept > 0 {
			went++
		}
		sameFiles(t, dir, target)
	}
	if went < 5 {
		t.Errorf("only %d pulls went on: this proves nothing", went)
	}
}

// damageNoted flips a bit of a noted chunk in its file, as a power cut may leave it.
// It returns the encoded size of the chunk.
func damageNoted(t *testing.T, ref Reference, dir string, notes map[step]uint64) (lost int64) {
	t.Helper()
	a := openArtifact(t, ref)
	steps := slices.SortedFunc(maps.Keys(notes), func(a, b step) int { return a.layer*1000 + a.chunk - b.layer*1000 - b.chunk })
	first := steps[0]
	chunks, err := a.Index.ChunkTable(first.layer)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range a.Index.Files {
		at := int64(0)
		for _, s := range f.Segments {
			for r := range runs(chunks, s) {
				if s.Layer == first.layer && r.chunk == first.chunk {
					part := filepath.Join(dir, workPrefix+"*", partName(i))
					flipOnDisk(t, part, at+chunks[r.chunk].DecodedOffset+int64(r.from)-s.Offset)
					return int64(chunks[r.chunk].Encoded)
				}
			}
			at += s.Length
		}
	}
	t.Fatal("the chunk is in no file")
	return 0
}

func flipOnDisk(t *testing.T, pattern string, offset int64) {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	f, err := os.OpenFile(found[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	b[0] ^= 4
	if _, werr := f.WriteAt(b, offset); errors.Join(err, werr, f.Close()) != nil {
		t.Fatal(err, werr)
	}
}

// A note that was cut off, and what follows one that was damaged, is no note.
func TestJournalDamage(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	j, _, err := openJournal(root, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := j.note(step{i, 2 * i}, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	raw, err := root.ReadFile(journalName)
	if err != nil || len(raw) != 4*noteSize {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	for n := range raw {
		for name, b := range map[string][]byte{"cut": raw[:n], "flipped": append(append(slices.Clone(raw[:n]), raw[n]^1), raw[n+1:]...)} {
			if err := root.WriteFile(journalName, b, 0o600); err != nil {
				t.Fatal(err)
			}
			j, notes, err := openJournal(root, 100)
			if err != nil {
				t.Fatal(err)
			}
			if len(notes) != n/noteSize {
				t.Fatalf("%s at %d: %d notes", name, n, len(notes))
			}
			for s, hash := range notes {
				if s.chunk != 2*s.layer || hash != uint64(s.layer) {
					t.Fatalf("%s at %d: note %v of %d", name, n, s, hash)
				}
			}
			// What comes next stands after the last good note.
			if err := errors.Join(j.note(step{7, 14}, 7), j.close()); err != nil {
				t.Fatal(err)
			}
			if _, notes, err = openJournal(root, 100); err != nil || len(notes) != n/noteSize+1 {
				t.Fatalf("%s at %d: then %d notes, %v", name, n, len(notes), err)
			}
		}
	}
}

// A journal of any length takes no more memory than that of the model's chunks.
func TestJournalBounded(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	j, _, err := openJournal(root, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := j.note(step{i, math.MaxInt32}, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	j, notes, err := openJournal(root, 4)
	if err != nil || len(notes) != 4 {
		t.Errorf("%d notes, %v, want 4", len(notes), err)
	}
	if info, err := root.Stat(journalName); err != nil || info.Size() != 4*noteSize {
		t.Errorf("%v, %v", info, err)
	}
	p := &puller{opts: (*Options)(nil).withDefaults()}
	if err := errors.Join(p.resume(t.Context(), notes), j.close()); err != nil {
		t.Error(err)
	}
}

// blobGets returns which blobs were asked for since the last call.
func (s *stub) blobGets() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[string]bool{}
	for _, r := range s.blobs {
		got[r] = true
	}
	s.blobs = nil
	return got
}

// A newer version fetches only what changed, whether or not the tensors moved in
// their files; the same version fetches nothing.
func TestPullOverOldVersionFetchesChanges(t *testing.T) {
	var tensors []tensorData
	for i := range 4 {
		tensors = append(tensors, blockTensors("model.layers", i, 100)...)
	}
	pack := func(t *testing.T, config string, tensors ...tensorData) string {
		return modelFiles{"model.safetensors": tensorFile(t, tensors...), "config.json": []byte(config)}.write(t)
	}
	changed := slices.Clone(tensors)
	changed[5] = weight(changed[5].name, "BF16", 70_000, 999)
	reordered := append(slices.Clone(tensors[4:]), tensors[:4]...)
	extended := append([]tensorData{weight("model.embed_tokens.weight", "BF16", 300, 5)}, tensors...)
	for _, tt := range []struct {
		name string
		dir  string
		gets int // layers, the index aside
	}{
		{"the same", pack(t, "{}", tensors...), 0},
		{"one tensor", pack(t, "{}", changed...), 2}, // and the header
		{"another config", pack(t, `{"a":1}`, tensors...), 1},
		{"moved tensors", pack(t, "{}", reordered...), 1}, // the header
		{"one more tensor", pack(t, "{}", extended...), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStub(t, nil)
			old, ref := parseRef(t, s.host+"/org/model:old"), parseRef(t, s.host+"/org/model:new")
			target := filepath.Join(t.TempDir(), "out")
			if _, err := Push(t.Context(), old, pack(t, "{}", tensors...), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := Push(t.Context(), ref, tt.dir, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := Pull(t.Context(), old, target, nil); err != nil {
				t.Fatal(err)
			}
			a := openArtifact(t, ref)
			s.blobGets()
			res, err := Pull(t.Context(), ref, target, &PullOptions{Verify: true})
			if err != nil {
				t.Fatal(err)
			}
			sameFiles(t, tt.dir, target)
			got, gets := s.blobGets(), 0
			for _, d := range a.Layers[:len(a.Layers)-1] {
				if got[d.Digest.String()] {
					gets++
				}
			}
			if gets != tt.gets || (res.Fetched == 0) != (tt.gets == 0) {
				t.Errorf("%d layers were asked for and %d bytes fetched, want %d layers", gets, res.Fetched, tt.gets)
			}
		})
	}
}

// The old files may be anything, and change while they are looked at.
func TestPullOverHostileOldFiles(t *testing.T) {
	files := manyChunks(t)
	dir := files.write(t)
	ref, _ := pushLayout(t, dir, nil)
	good := files["model.safetensors"]
	for name, old := range map[string][]byte{
		"empty":          {},
		"cut":            good[:len(good)/2],
		"longer":         append(slices.Clone(good), 1),
		"huge header":    append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, good[8:]...),
		"data all zeros": append(slices.Clone(good[:5000]), make([]byte, len(good)-5000)...),
		"one bit":        append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1),
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			writeFileT(t, filepath.Join(target, "model.safetensors"), string(old))
			if _, err := Pull(t.Context(), ref, target, &PullOptions{Verify: true}); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, dir, target)
		})
	}
}

func TestPullOverChangingOldFile(t *testing.T) {
	files := manyChunks(t)
	dir := files.write(t)
	newer := maps.Clone(files)
	newer["config.json"] = []byte(`{"newer":1}`)
	ref, _ := pushLayout(t, dir, nil)
	target := filepath.Join(t.TempDir(), "out")
	name := filepath.Join(target, "model.safetensors")
	old := slices.Clone(files["model.safetensors"])
	old[len(old)-1] ^= 1 // not the whole file, but most of its tensors
	writeFileT(t, name, string(old))
	// Between the look at it and the copy of its tensors it becomes another.
	change := sync.OnceFunc(func() { writeFileT(t, name, strings.Repeat("x", len(old))) })
	o := Options{Progress: endOf{phase: "comparing", f: change}}
	if _, err := Pull(t.Context(), ref, target, &PullOptions{Options: o, Verify: true}); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, dir, target)
}

// endOf is a Progress that calls f when a phase ends.
type endOf struct {
	noProgress
	phase string
	f     func()
}

func (p endOf) Begin(phase string, _ int64) Bar {
	if phase != p.phase {
		return noProgress{}
	}
	return p
}

func (p endOf) End() { p.f() }

// TestSelection pulls parts of a model: each file is there whole, cut down or not at
// all, and no chunk is fetched that nobody wants.
func TestSelection(t *testing.T) {
	files := smallModel(t)
	files["other.safetensors"] = tensorFile(t, blockTensors("model.layers", 3, 300)...)
	s := newStub(t, nil)
	ref := s.ref(t)
	res, err := Push(t.Context(), ref, files.write(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	const model, other = "model.safetensors", "other.safetensors"
	for _, tt := range []struct {
		name string
		s    Selection
		want map[string]int // tensors of a cut file, 0 of a whole one
		err  error
	}{
		{"json", Selection{Files: []string{"*.json"}}, map[string]int{"config.json": 0, "tokenizer.json": 0}, nil},
		{"path", Selection{Files: []string{"onnx/*"}}, map[string]int{"onnx/model.bin": 0}, nil},
		{"base name", Selection{Files: []string{"model.*"}}, map[string]int{model: 0, "onnx/model.bin": 0}, nil},
		{"block", Selection{Blocks: []BlockRange{{1, 1}}}, map[string]int{model: 4}, nil},
		{"blocks", Selection{Blocks: []BlockRange{{0, 9}}}, map[string]int{model: 8, other: 0}, nil},
		{"tensors", Selection{Tensors: []string{"*.down_proj.*"}}, map[string]int{model: 2, other: 1}, nil},
		{"shared tensor", Selection{Tensors: []string{"lm_head.weight"}}, map[string]int{model: 1}, nil},
		{"both", Selection{Tensors: []string{"*norm*", "lm_head.weight"}, Blocks: []BlockRange{{0, 0}, {3, 3}}}, map[string]int{model: 2, other: 2}, nil},
		{"with files", Selection{Files: []string{"config.json"}, Blocks: []BlockRange{{3, 3}}}, map[string]int{"config.json": 0, other: 0}, nil},
		{"nothing", Selection{Tensors: []string{"nope"}}, nil, ErrNotFound},
		{"no pattern", Selection{Files: []string{"["}}, nil, path.ErrBadPattern},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "out")
			for _, again := range []bool{false, true} {
				r, err := Pull(t.Context(), ref, target, &PullOptions{Selection: tt.s, Verify: true})
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if err != nil {
					return
				}
				if r.Files != len(tt.want) || r.Fetched >= res.Encoded/2 && len(tt.s.Files) == 0 && tt.name != "blocks" {
					t.Errorf("%d files, %d of %d bytes fetched", r.Files, r.Fetched, res.Encoded)
				}
				if again && r.Fetched != 0 {
					t.Errorf("a second time %d bytes are fetched", r.Fetched)
				}
			}
			checkSelected(t, files, target, tt.want)
		})
	}
}

// checkSelected compares the files in dir, some of them cut down, with the originals.
func checkSelected(t *testing.T, files modelFiles, dir string, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(b) == string(files[name]) {
			got[name] = 0
			return err
		}
		h, err := safetensors.Parse(strings.NewReader(string(b)), int64(len(b)))
		if err != nil {
			return err
		}
		whole, err := safetensors.Parse(strings.NewReader(string(files[name])), int64(len(files[name])))
		if err != nil {
			return err
		}
		if diff := cmp.Diff(whole.Metadata, h.Metadata); diff != "" {
			t.Errorf("%s: metadata: %s", name, diff)
		}
		got[name] = len(h.Tensors)
		for _, x := range h.Tensors {
			i := slices.IndexFunc(whole.Tensors, func(y safetensors.Tensor) bool { return x.Name == y.Name })
			y := whole.Tensors[i]
			if x.Dtype != y.Dtype || !slices.Equal(x.Shape, y.Shape) || string(b[x.Offset:x.Offset+x.Length]) != string(files[name][y.Offset:y.Offset+y.Length]) {
				t.Errorf("%s: tensor %s differs", name, x.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tensors of files (-want +got):\n%s", diff)
	}
}

func TestParseBlocks(t *testing.T) {
	for s, want := range map[string]string{
		"0": "[{0 0}]", "0-3": "[{0 3}]", "7,2-4": "[{7 7} {2 4}]",
		"": "", "-": "", "3-1": "", "-1": "", "a": "", "1,": "", "1-": "", "9999999999": "", "0x1": "",
	} {
		got, err := ParseBlocks(s)
		if (err == nil) != (want != "") || err == nil && fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", s, got, err, want)
		}
	}
}

// TestWrongBytesOnce damages one answer: the chunk is asked for once more. If it is
// always wrong, that is the error.
func TestWrongBytesOnce(t *testing.T) {
	dir := manyChunks(t).write(t)
	for _, always := range []bool{false, true} {
		var damaged atomic.Pointer[thing]
		var times atomic.Int32
		s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
			b := damaged.Load()
			if b == nil || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, b.Digest.String()) {
				return false
			}
			raw := slices.Clone(b.raw)
			if times.Add(1) == 1 || always {
				raw[len(raw)/2] ^= 1
			}
			return serveRange(w, r, raw, -1)
		})
		ref := s.ref(t)
		if _, err := Push(t.Context(), ref, dir, nil); err != nil {
			t.Fatal(err)
		}
		a := openArtifact(t, ref)
		d := a.Layers[0]
		damaged.Store(&thing{d, readBlob(t, a.src, d, 0, -1)})
		target := filepath.Join(t.TempDir(), "out")
		_, err := Pull(t.Context(), ref, target, nil)
		if always != (err != nil) || always && !errors.Is(err, ErrCorrupt) {
			t.Errorf("always %v: error %v", always, err)
		}
		if n := times.Load(); n != 2 {
			t.Errorf("always %v: asked %d times, want 2", always, n)
		}
		if err == nil {
			sameFiles(t, dir, target)
		}
	}
}

// A note is good for the place that it was made for: where another part of the same
// chunk, all zeros, was written and its file renamed, the hole in a file that is
// still missing is not taken for written.
func TestNoteIsOfItsPlace(t *testing.T) {
	zeros := weight("model.layers.0.attn.bias", "BF16", 256, 1)
	clear(zeros.data)
	files := modelFiles{
		"model-00001-of-00002.safetensors": tensorFile(t, zeros),
		"model-00002-of-00002.safetensors": tensorFile(t, weight("model.layers.0.norm.bias", "BF16", 256, 2)),
	}
	const first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	dir := files.write(t)
	ref, _ := pushLayout(t, dir, nil)
	target := t.TempDir()
	writeFileT(t, filepath.Join(target, second), string(files[second]))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Pull(ctx, ref, target, &PullOptions{Options: Options{Progress: at("checking", cancel)}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	work, err := filepath.Glob(filepath.Join(target, workPrefix+"*"))
	if err != nil || len(work) != 1 {
		t.Fatalf("%v, %v", work, err)
	}
	if err := os.Rename(filepath.Join(work[0], partName(0)), filepath.Join(target, first)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(target, first), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(target, second)); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), ref, target, nil); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, dir, target)
}
