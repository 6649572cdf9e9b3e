package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is quick to generate and has what a large model has.
var small = Options{Size: 4 << 20, Hidden: 128, Layers: 4, Shards: 3, Seed: 7}

func with(change func(*Options)) Options {
	o := small
	change(&o)
	return o
}

func generate(t *testing.T, o Options) string {
	t.Helper()
	dir := t.TempDir()
	if err := Generate(dir, o); err != nil {
		t.Fatalf("Generate(%+v): %v", o, err)
	}
	return dir
}

// stored is a tensor as a reader of the files finds it.
type stored struct {
	Dtype   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
	file    string
	data    []byte
}

// read parses all shards of dir and checks that the tensors of each tile it.
// It shares no code with the writer.
func read(t *testing.T, dir string) map[string]stored {
	t.Helper()
	bits := map[string]int64{"BF16": 16, "F16": 16, "F32": 32, "U8": 8, "F8_E4M3": 8}
	tensors := make(map[string]stored)
	paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("shards of %s: %v, %v", dir, paths, err)
	}
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := binary.LittleEndian.Uint64(file)
		data := file[8+n:]
		header := make(map[string]json.RawMessage)
		if err := json.Unmarshal(file[8:8+n], &header); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		covered := make([]bool, len(data))
		for name, raw := range header {
			if name == "__metadata__" {
				continue
			}
			var s stored
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatalf("%s: %s: %v", path, name, err)
			}
			size := bits[s.Dtype] / 8
			for _, n := range s.Shape {
				size *= n
			}
			if s.Offsets[1]-s.Offsets[0] != size || size == 0 {
				t.Errorf("%s: %s %s%v at %v", path, name, s.Dtype, s.Shape, s.Offsets)
			}
			for i := s.Offsets[0]; i < s.Offsets[1]; i++ {
				if covered[i] {
					t.Fatalf("%s: %s overlaps another tensor at %d", path, name, i)
				}
				covered[i] = true
			}
			s.file, s.data = filepath.Base(path), data[s.Offsets[0]:s.Offsets[1]]
			tensors[name] = s
		}
		for i, c := range covered {
			if !c {
				t.Fatalf("%s: byte %d of the data is in no tensor", path, i)
			}
		}
	}
	return tensors
}

func TestShardsTileAndAgreeWithIndex(t *testing.T) {
	for _, d := range dtypes {
		t.Run(string(d), func(t *testing.T) {
			dir := generate(t, with(func(o *Options) { o.Dtype = d }))
			tensors := read(t, dir)
			var index struct {
				Metadata struct {
					Size int64 `json:"total_size"`
				}
				Map map[string]string `json:"weight_map"`
			}
			raw, err := os.ReadFile(filepath.Join(dir, "model.safetensors.index.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &index); err != nil {
				t.Fatal(err)
			}
			files := make(map[string]string)
			var total int64
			for name, s := range tensors {
				files[name] = s.file
				total += int64(len(s.data))
			}
			if diff := cmp.Diff(files, index.Map); diff != "" {
				t.Errorf("weight_map (-files +index):\n%s", diff)
			}
			if total != index.Metadata.Size {
				t.Errorf("total_size %d, tensors have %d bytes", index.Metadata.Size, total)
			}
			if off := small.Size - total; off < 0 || off > 1024 {
				t.Errorf("%d bytes of tensors, asked for %d", total, small.Size)
			}
		})
	}
}

func TestShardBordersCutBlocks(t *testing.T) {
	tensors := read(t, generate(t, small))
	shards := make(map[string]map[string]bool) // by block
	for name, s := range tensors {
		if b := blockOf(name); b != "" {
			if shards[b] == nil {
				shards[b] = make(map[string]bool)
			}
			shards[b][s.file] = true
		}
	}
	cut := 0
	for _, files := range shards {
		cut += len(files) - 1
	}
	if cut != small.Shards-1 {
		t.Errorf("%d of %d shard borders are inside blocks: %v", cut, small.Shards-1, shards)
	}
}

func TestFilesAreComplete(t *testing.T) {
	for _, shards := range []int{1, 2} {
		dir := generate(t, with(func(o *Options) { o.Shards = shards }))
		want := []string{"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
		if shards == 1 {
			want = append(want, "model.safetensors")
		} else {
			want = append(want, "model.safetensors.index.json",
				"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != len(want) {
			t.Errorf("%d shards: %v, want %v", shards, entries, want)
		}
		for _, name := range want {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
			}
			if strings.HasSuffix(name, ".json") && !json.Valid(raw) {
				t.Errorf("%s is not valid JSON", name)
			}
		}
	}
}

func TestTokenizerMergesMakeItsTokens(t *testing.T) {
	v := newVocabulary(4000, 3)
	if len(v.tokens) != 4000 {
		t.Fatalf("%d tokens, want 4000", len(v.tokens))
	}
	id := make(map[string]int)
	for i, token := range v.tokens {
		if _, ok := id[token]; ok {
			t.Fatalf("token %q appears twice", token)
		}
		id[token] = i
	}
	for _, m := range v.merges {
		a, okA := id[m[0]]
		b, okB := id[m[1]]
		if joined, ok := id[m[0]+m[1]]; !okA || !okB || !ok || joined < max(a, b) {
			t.Fatalf("merge %q does not make a later token of earlier ones", m)
		}
	}
}

// digest hashes the names and bytes of all files of dir.
func digest(t *testing.T, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		h.Write([]byte(e.Name()))
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}

func TestSameSeedGivesSameBytes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, d := range dtypes {
		o := with(func(o *Options) { o.Dtype = d })
		runtime.GOMAXPROCS(1)
		one := digest(t, generate(t, o))
		runtime.GOMAXPROCS(4)
		if four := digest(t, generate(t, o)); four != one {
			t.Errorf("%s: GOMAXPROCS 1 and 4 give different bytes", d)
		}
		o.Seed++
		if other := digest(t, generate(t, o)); other == one {
			t.Errorf("%s: another seed gives the same bytes", d)
		}
	}
}

func TestBlocksDoNotDependOnShardsOrLayers(t *testing.T) {
	a := read(t, generate(t, small))
	b := read(t, generate(t, Options{Hidden: small.Hidden, Layers: 2, Shards: 1, Seed: small.Seed}))
	for name, s := range b {
		if blockOf(name) != "" && !bytes.Equal(s.data, a[name].data) {
			t.Errorf("%s differs between models of %d and of 2 blocks", name, small.Layers)
		}
	}
}

func TestTiedHeadIsTheEmbedding(t *testing.T) {
	for _, tied := range []bool{false, true} {
		tensors := read(t, generate(t, with(func(o *Options) { o.Tied = tied })))
		same := bytes.Equal(tensors["lm_head.weight"].data, tensors["model.embed_tokens.weight"].data)
		if same != tied {
			t.Errorf("tied %v: head equals embedding: %v", tied, same)
		}
	}
}

// A matrix on disk is the one a test gets in memory.
func TestMatrixIsWhatShardsHold(t *testing.T) {
	p, err := newPlan(small)
	if err != nil {
		t.Fatal(err)
	}
	tensors := read(t, generate(t, small))
	for _, m := range p.matrices {
		if m.kind != kindWeight {
			continue
		}
		want := BF16(Matrix(int(m.rows), int(m.cols), m.seed))
		if !bytes.Equal(tensors[m.parts[0].name].data, want) {
			t.Errorf("%s is not BF16(Matrix(%d, %d, seed))", m.parts[0].name, m.rows, m.cols)
		}
	}
}

// Published dense models have 2.6 bits of exponent, and 2.74 and 7.97 bits in
// the two bytes; 268 million weights drawn the same way by another program had
// 2.627, 2.737 and 7.971.
func TestEntropyIsThatOfTrainedWeights(t *testing.T) {
	data := BF16(Matrix(1024, 2048, 1))
	var exponent, high, low [256]int
	for i := 0; i < len(data); i += 2 {
		x := binary.LittleEndian.Uint16(data[i:])
		exponent[x>>7&0xff]++
		high[x>>8]++
		low[x&0xff]++
	}
	for _, test := range []struct {
		what     string
		counts   *[256]int
		from, to float64
	}{
		{"exponent", &exponent, 2.55, 2.75},
		{"high byte", &high, 2.65, 2.85},
		{"low byte", &low, 7.9, 8},
	} {
		if h := entropy(test.counts[:]); h < test.from || h > test.to {
			t.Errorf("%s: %.3f bits, want %.2f to %.2f", test.what, h, test.from, test.to)
		}
	}
}

func entropy(counts []int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	var h float64
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(total)
			h -= p * math.Log2(p)
		}
	}
	return h
}

func TestPlanFitsSize(t *testing.T) {
	for _, size := range []int64{1 << 20, 64 << 20, 1 << 30, 4 << 30, 140 << 30} {
		for _, d := range dtypes {
			p, err := newPlan(Options{Size: size, Dtype: d})
			if err != nil {
				t.Errorf("%d bytes of %s: %v", size, d, err)
				continue
			}
			if got := p.size(); got > size || got < size*99/100 {
				t.Errorf("%d bytes of %s: planned %d", size, d, got)
			}
			if p.layers < 1 || p.layers > 200 || p.vocab > size/8 {
				t.Errorf("%d bytes of %s: %d layers of %d, %d tokens", size, d, p.layers, p.hidden, p.vocab)
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"unknown dtype":            with(func(o *Options) { o.Dtype = "q4_k" }),
		"odd width":                with(func(o *Options) { o.Hidden = 100 }),
		"negative size":            with(func(o *Options) { o.Size = -1 }),
		"negative shards":          with(func(o *Options) { o.Shards = -1 }),
		"too little room":          with(func(o *Options) { o.Size = 4096 }),
		"more shards than tensors": with(func(o *Options) { o.Shards = 1 << 40 }),
	} {
		dir := filepath.Join(t.TempDir(), "model")
		if err := Generate(dir, o); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the directory was made all the same", name)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	o := Options{Size: 32 << 20}
	b.SetBytes(o.Size)
	for b.Loop() {
		if err := Generate(b.TempDir(), o); err != nil {
			b.Fatal(err)
		}
	}
}
