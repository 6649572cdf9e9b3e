package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Every flipped bit of a layout is found by verify, and pull gives the right
// files or an error that names the layer.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	dir := forgedModel(t).write(t)
	ref, _ := pushLayout(t, dir, nil)
	a := openArtifact(t, ref)
	r := rand.New(rand.NewPCG(1, 2))
	for i, d := range a.Layers {
		path := filepath.Join(ref.path, blobPath(d.Digest))
		good := []byte(readFileT(t, path))
		// The prologue, the first header and the end, and bits anywhere.
		bits := []int{0, 8 * 9, 8 * 20, 8*(len(good)-1) + 7, 8 * (len(good) - 20)}
		for range 40 {
			bits = append(bits, r.IntN(8*len(good)))
		}
		var trailer int64
		if i < len(a.Layers)-1 {
			table, err := a.Index.ChunkTable(i)
			if err != nil {
				t.Fatal(err)
			}
			last := table[len(table)-1]
			trailer = last.Offset + int64(last.Encoded)
		}
		for _, bit := range bits {
			bad := slices.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			target := t.TempDir()
			_, pullErr := Pull(t.Context(), ref, target, nil)
			_, err := Verify(t.Context(), ref, nil)
			for what, err := range map[string]error{"pull": pullErr, "verify": err} {
				if err == nil && what == "pull" && i < len(a.Layers)-1 && int64(bit/8) >= trailer {
					sameFiles(t, dir, target) // the trailer is for those who have no index
					continue
				}
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, ErrCorrupt) || !strings.Contains(e.Object, d.Digest.String()) {
					t.Fatalf("%s with bit %d of layer %d flipped: error %v", what, bit, i, err)
				}
				if what == "pull" && i < len(a.Layers)-1 && (e.Offset < 0 || e.Offset > int64(bit/8)) && !strings.Contains(e.Object, "prologue") {
					t.Errorf("error at byte %d, flipped was byte %d: %v", e.Offset, bit/8, err)
				}
			}
			if pullErr != nil {
				if left := withoutWork(entries(t, target)); len(left) != 0 {
					t.Fatalf("left are %v", left)
				}
			}
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Documents of a layout with flipped bits do not match their digest.
func TestFlippedDocuments(t *testing.T) {
	ref, _ := pushLayout(t, modelFiles{"a": []byte("a")}.write(t), nil)
	a := openArtifact(t, ref)
	docs := []ocispec.Descriptor{a.Descriptor, a.Manifests[0], a.Manifests[1], a.manifests[0].Config, a.manifests[1].Config}
	for i, d := range docs {
		path := filepath.Join(ref.path, blobPath(d.Digest))
		good := readFileT(t, path)
		for _, at := range []int{0, len(good) / 2, len(good) - 1} {
			bad := []byte(good)
			bad[at] ^= 1
			writeFileT(t, path, string(bad))
			_, err := Verify(t.Context(), ref, nil)
			if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrCorrupt) || !strings.Contains(e.Object, d.Digest.String()) {
				t.Errorf("document %d, byte %d: error %v", i, at, err)
			}
		}
		writeFileT(t, path, good)
	}
	if _, err := Verify(t.Context(), ref, nil); err != nil {
		t.Error(err)
	}
}

// Files use chunks several times, across files and backwards: chunks that files
// share are decoded once or read again.
func TestVerifySharedChunks(t *testing.T) {
	t.Parallel()
	a := weight("a", "BF16", 3<<20, 1)
	b := weight("b", "BF16", 70_000, 2)
	small := weight("small", "BF16", 300, 3)
	as := func(x tensorData, name string) tensorData { x.name = name; return x }
	files := modelFiles{}
	for i := range 5 {
		files[fmt.Sprintf("m%d.safetensors", i)] = tensorFile(t, b, as(a, fmt.Sprint("a", i)), small, as(a, "again"), as(b, "b2"))
		files[fmt.Sprintf("text%d", i)] = []byte(strings.Repeat("text", 300_000))
	}
	dir := files.write(t)
	ref, _ := pushLayout(t, dir, nil)
	for _, jobs := range []int{1, 3} {
		res, err := Verify(t.Context(), ref, &Options{Jobs: jobs})
		if err != nil || res.Tensors != 25 || res.Files != 10 {
			t.Errorf("%+v, error %v", res, err)
		}
		sameFiles(t, dir, pullNew(t, ref, &PullOptions{Options: Options{Jobs: jobs}, Verify: true}))
	}
	v := newVerifier(openArtifact(t, ref), nil)
	if err := v.plan(); err != nil {
		t.Fatal(err)
	}
	again := 0
	for i, u := range v.uses {
		again = max(again, v.left[u.step])
		if i > 0 && u.file < v.uses[i-1].file {
			t.Fatal("the uses are not in the order of the files")
		}
	}
	if again < 10 {
		t.Errorf("no chunk is used more than %d times", again)
	}
}

// What no file uses is checked as well: whole layers, without chunks too, and
// chunks before, between and after those of files.
func TestVerifyUnused(t *testing.T) {
	t.Parallel()
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	used := []byte("used")
	chunk := func(b []byte) []byte {
		out, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, b, codec.Geometry{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	good := chunk([]byte("unused"))
	wrongHash := resign(good, func(h []byte) { h[12] ^= 1 })
	for _, tt := range []struct {
		name  string
		layer forgedLayer
		uses  []int64 // offsets of "used" in the decoded layer
		want  string  // in the error; "": none
	}{
		{"one chunk", forgedLayer{chunks: [][]byte{good}}, nil, ""},
		{"sha256", forgedLayer{chunks: [][]byte{good}, table: func(c []mediatypes.Chunk) { c[0].SHA256[5] ^= 1 }}, nil, "sha256"},
		{"xxh3", forgedLayer{chunks: [][]byte{wrongHash}}, nil, "their hash"},
		{"trailer", forgedLayer{chunks: [][]byte{good}, trailer: make([]byte, codec.TrailerSize(1))}, nil, "checking layer 3"},
		{"no chunk", forgedLayer{}, nil, ""},
		{"trailer after no chunk", forgedLayer{trailer: make([]byte, codec.TrailerSize(0))}, nil, "checking layer 3"},
		{"around", forgedLayer{chunks: [][]byte{good, chunk(used), good, chunk(used), good}}, []int64{6, 16}, ""},
		{"before", forgedLayer{chunks: [][]byte{wrongHash, chunk(used)}}, []int64{6}, "their hash"},
		{"between", forgedLayer{chunks: [][]byte{chunk(used), wrongHash, chunk(used)}}, []int64{0, 10}, "their hash"},
		{"between, backwards", forgedLayer{chunks: [][]byte{chunk(used), wrongHash, chunk(used)}}, []int64{10, 0}, "their hash"},
		{"after", forgedLayer{chunks: [][]byte{chunk(used), wrongHash}}, []int64{0}, "their hash"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := takeApart(t, ref)
			f.addLayer(tt.layer)
			for i, at := range tt.uses {
				f.addFile(fmt.Sprint("z", i), used, mediatypes.Segment{Layer: len(f.layers) - 1, Offset: at, Length: int64(len(used))})
			}
			_, err := Verify(t.Context(), f.write(), nil)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// A layer whose end no file uses is read on after the files were checked, from a
// source that holds readers to the context that they were opened with.
func TestVerifyReadsOn(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	f := takeApart(t, ref)
	random := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	enc := codec.NewEncoder(codec.Default)
	used, err := enc.Encode(nil, codec.Bytes, []byte("used"), codec.Geometry{})
	if err != nil {
		t.Fatal(err)
	}
	unused, err := enc.Encode(nil, codec.Bytes, random, codec.Geometry{})
	if err != nil {
		t.Fatal(err)
	}
	f.addLayer(forgedLayer{chunks: [][]byte{used, unused, unused}})
	f.addFile("z", []byte("used"), mediatypes.Segment{Layer: len(f.layers) - 1, Length: 4})
	a := openArtifact(t, f.write())
	a.src = strictSource{a.src}
	if err := newVerifier(a, (*Options)(nil).withDefaults()).verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// strictSource is a Source whose readers end with their context, as those of a
// registry do.
type strictSource struct{ Source }

func (s strictSource) Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	r, err := s.Source.Blob(ctx, d, off, n)
	return strictReader{r, ctx}, err
}

type strictReader struct {
	io.ReadCloser
	ctx context.Context
}

func (r strictReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(b)
}

// addLayer adds a layer of opaque chunks.
func (f *forgery) addLayer(l forgedLayer) {
	l.mediaType, l.prologue = mediatypes.FilesLayer, f.layers[filesLayer].prologue
	f.layers = append(f.layers, l)
	f.index.Layers = append(f.index.Layers, mediatypes.Layer{Decoded: decodedOf(l.chunks)})
}

// addFile adds an opaque file with these bytes, which are said to be in segs.
func (f *forgery) addFile(path string, b []byte, segs ...mediatypes.Segment) {
	sum := sha256.Sum256(b)
	f.index.Files = append(f.index.Files, mediatypes.File{
		Path: path, Size: int64(len(b)), Mode: 0o644, SHA256: hex.EncodeToString(sum[:]), Segments: segs,
	})
}

func decodedOf(chunks [][]byte) (n int64) {
	l := forgedLayer{chunks: chunks}
	_, table := l.assemble()
	for _, c := range table {
		n += int64(c.Decoded)
	}
	return n
}

// total is a Progress that adds up.
type total struct {
	mu     sync.Mutex
	phases map[string]*phase
}

type phase struct {
	mu          sync.Mutex
	total, done int64
	ended       int
}

func (p *total) Begin(name string, n int64) Bar {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phases == nil {
		p.phases = map[string]*phase{}
	}
	p.phases[name] = &phase{total: n}
	return p.phases[name]
}

func (p *phase) Add(n int64)            { p.mu.Lock(); defer p.mu.Unlock(); p.done += n }
func (p *phase) Skip(n int64)           { p.Add(n) }
func (p *phase) Item(string, int64) Bar { return phaseItem{p} }
func (p *phase) End()                   { p.mu.Lock(); defer p.mu.Unlock(); p.ended++ }

// phaseItem is an item of a phase.
type phaseItem struct{ Bar }

func (phaseItem) End() {}

// Each phase ends once, with as many bytes as it began with.
func TestProgress(t *testing.T) {
	files := smallModel(t)
	files["copy.json"] = files["tokenizer.json"] // stored once
	dir := files.write(t)
	var p total
	o := Options{Progress: &p}
	ref, _ := pushLayout(t, dir, &PushOptions{Options: o})
	pullNew(t, ref, &PullOptions{Options: o, Verify: true})
	if _, err := Verify(t.Context(), ref, &o); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, x := range p.phases {
		names = append(names, name)
		if x.done != x.total || x.ended != 1 || x.total == 0 {
			t.Errorf("%s: %d of %d bytes, ended %d times", name, x.done, x.total, x.ended)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"checking", "encoding", "hashing", "pulling", "verifying"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A tag that moves while a model is pulled changes nothing: all of it is of one
// artifact.
func TestTagMovesDuringPull(t *testing.T) {
	files := smallModel(t)
	oldDir := files.write(t)
	files["config.json"] = []byte("[]")
	newDir := files.write(t)
	ref := parseRef(t, startRegistry(t)+"/org/model:v1")
	first, err := Push(t.Context(), ref, oldDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var second digest.Digest
	target := filepath.Join(t.TempDir(), "new")
	res, err := Pull(t.Context(), ref, target, &PullOptions{Options: Options{Progress: at("pulling", func() {
		moved, err := Push(context.WithoutCancel(t.Context()), ref, newDir, nil)
		if err != nil {
			t.Error(err)
			return
		}
		second = moved.Digest
	})}})
	if err != nil || res.Digest != first.Digest || second == first.Digest {
		t.Fatalf("pulled %+v, error %v; pushed %s and %s", res, err, first.Digest, second)
	}
	sameFiles(t, oldDir, target)
	sameFiles(t, newDir, pullNew(t, ref, nil))
}
