package mediatypes

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden index document")

var sameIndex = cmpopts.IgnoreUnexported(Index{})

func marshal(t testing.TB, x *Index, chunks [][]Chunk) []byte {
	t.Helper()
	doc, err := MarshalIndex(x, chunks)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestGolden pins the bytes of version 1: a document written by any release
// must be the same, and must parse for ever.
func TestGolden(t *testing.T) {
	const name = "testdata/index-v1.hex"
	x, chunks := smallModel()
	doc := marshal(t, x, chunks)
	if *update {
		if err := os.WriteFile(name, []byte(hexLines(doc)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), hexLines(doc)); diff != "" {
		t.Errorf("document changed (-golden +now):\n%s", diff)
	}
	golden, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	y, err := ParseIndex(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, y, sameIndex); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	for i := range chunks {
		got, err := y.ChunkTable(i)
		if diff := cmp.Diff(chunks[i], got); diff != "" || err != nil {
			t.Errorf("chunks of layer %d: %v (-want +got):\n%s", i, err, diff)
		}
	}
}

func records(chunks [][]Chunk) int {
	n := 0
	for _, t := range chunks {
		n += len(t)
	}
	return n
}

func hexLines(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(32, len(b))
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}

func TestIndexOfNothing(t *testing.T) {
	y, err := ParseIndex(marshal(t, &Index{Level: "default"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	x := &Index{Version: IndexVersion, Level: "default", Layers: []Layer{}, Files: []File{}, Tensors: []Tensor{}}
	if !cmp.Equal(x, y, sameIndex) {
		t.Errorf("got %+v", y)
	}
	if _, err := y.ChunkTable(0); err == nil {
		t.Error("a chunk table of a layer that is not there")
	}
}

func TestLargeShapes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds indexes of whole models")
	}
	for name, s := range map[string]shape{"70B": shape70B(), "MoE": shapeMoE()} {
		x, chunks := s.build()
		y, err := ParseIndex(marshal(t, x, chunks))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !cmp.Equal(x, y, sameIndex) {
			t.Errorf("%s: differs after a round trip", name)
		}
		last := len(chunks) - 1
		for _, i := range []int{0, last / 2, last} {
			if got, err := y.ChunkTable(i); err != nil || !cmp.Equal(chunks[i], got) {
				t.Errorf("%s: chunk table %d differs: %v", name, i, err)
			}
		}
	}
}

// frame wraps a JSON text and tables as MarshalIndex would, unchecked.
func frame(text string, tables []byte) []byte {
	n := alignTable(headerSize + len(text))
	doc := append([]byte(indexMagic), 1, 0, 0, 0)
	doc = binary.LittleEndian.AppendUint32(doc, uint32(len(text)))
	doc = binary.LittleEndian.AppendUint64(doc, uint64(n+len(tables)))
	doc = append(doc, text...)
	doc = append(doc, make([]byte, n-len(doc))...)
	return append(doc, tables...)
}

// refused checks that err is an *Error about the object, and that its message
// is fit for a terminal.
func refused(t *testing.T, err error, object string) {
	t.Helper()
	var e *Error
	switch {
	case !errors.As(err, &e):
		t.Errorf("got %v, want an *Error about %s", err, object)
	case e.Object != object:
		t.Errorf("object %q, want %q (%v)", e.Object, object, err)
	case e.Reason == "" || strings.ContainsFunc(err.Error(), unsafeRune):
		t.Errorf("message %q", err)
	}
}

// TestHostileIndex changes a good index in one way and expects both the writer
// and the reader to refuse it, by the same name.
func TestHostileIndex(t *testing.T) {
	num := func(n int) *int { return &n }
	tests := []struct {
		name   string
		object string // under "index document "
		change func(x *Index)
	}{
		{"level", "/level", func(x *Index) { x.Level = "fast" }},
		{"layer digest traversal", "/layers/0/digest", func(x *Index) { x.Layers[0].Digest = "sha256:../../x" }},
		{"layer digest upper case", "/layers/0/digest", func(x *Index) {
			x.Layers[0].Digest = "sha256:" + x.Layers[0].Digest[7:39] + "ABCDEF" + x.Layers[0].Digest[45:]
		}},
		{"layer without prologue", "/layers/0/prologue", func(x *Index) { x.Layers[0].Prologue = "" }},
		{"layer digest sha1", "/layers/1/digest", func(x *Index) { x.Layers[1].Digest = "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709" }},
		{"layer type", "/layers/0/mediaType", func(x *Index) { x.Layers[0].MediaType = IndexLayer }},
		{"layer encoded zero", "/layers/0/encoded", func(x *Index) { x.Layers[0].Encoded = 0 }},
		{"layer encoded negative", "/layers/0/encoded", func(x *Index) { x.Layers[0].Encoded = -5 }},
		{"layer decoded negative", "/layers/0/decoded", func(x *Index) { x.Layers[0].Decoded = -1 }},
		{"layer chunks negative", "/layers/2/chunks", func(x *Index) { x.Layers[2].Chunks = -1 }},
		{"layer chunks too many", "/layers/2/chunks", func(x *Index) { x.Layers[2].Chunks = MaxChunks + 1 }},
		{"layer chunks too few", "/layers/0/chunks", func(x *Index) { x.Layers[0].Decoded = 2*MaxChunkDecoded + 1 }},
		{"layer chunks without bytes", "/layers/0/chunks", func(x *Index) { x.Layers[0].Decoded = 0 }},
		{"layer sizes overflow", "/layers/1", func(x *Index) {
			x.Layers[0].Encoded, x.Layers[1].Encoded = math.MaxInt64, math.MaxInt64
		}},
		{"layer chunks in all", "/layers/1/chunks", func(x *Index) {
			for i := range 2 {
				x.Layers[i].Chunks, x.Layers[i].Decoded = MaxChunks/2+1, MaxChunks
			}
		}},
		{"one digest, two sizes", "/layers/1", func(x *Index) { x.Layers[1].Digest = x.Layers[0].Digest }},
		{"stack without block", "/layers/0/stack", func(x *Index) { x.Layers[0].Block = nil }},
		{"block without stack", "/layers/0/stack", func(x *Index) { x.Layers[0].Stack = "" }},
		{"block negative", "/layers/0/block", func(x *Index) { x.Layers[0].Block = num(-1) }},
		{"block of files", "/layers/2/block", func(x *Index) { x.Layers[2].Stack, x.Layers[2].Block = "h", num(0) }},
		{"stack too long", "/layers/0/stack", func(x *Index) { x.Layers[0].Stack = strings.Repeat("x", MaxName+1) }},

		{"path up", "/files/2/path", func(x *Index) { x.Files[2].Path = "bin/../../x" }},
		{"path twice", "/files/1/path", func(x *Index) { x.Files[1].Path = x.Files[0].Path }},
		{"path is a directory", "/files/3/path", func(x *Index) { x.Files[3].Path = "bin" }},
		{"path twin by case", "/files/3/path", func(x *Index) { x.Files[3].Path = "Bin/nothing" }},
		{"file size negative", "/files/3/size", func(x *Index) { x.Files[3].Size = -1 }},
		{"file sizes overflow", "/files/1/size", func(x *Index) { x.Files[1].Size = math.MaxInt64 }},
		{"setuid", "/files/2/mode", func(x *Index) { x.Files[2].Mode = 0o4755 }},
		{"device", "/files/2/mode", func(x *Index) { x.Files[2].Mode = 1<<23 | 0o644 }},
		{"mode missing", "/files/2/mode", func(x *Index) { x.Files[2].Mode = 0 }},
		{"file hash short", "/files/0/sha256", func(x *Index) { x.Files[0].SHA256 = x.Files[0].SHA256[1:] }},
		{"file hash upper case", "/files/0/sha256", func(x *Index) { x.Files[0].SHA256 = strings.ToUpper(x.Files[0].SHA256) }},
		{"format", "/files/2/format", func(x *Index) { x.Files[2].Format = "onnx" }},
		{"segment layer", "/files/0/segments/1", func(x *Index) { x.Files[0].Segments[1].Layer = 3 }},
		{"segment of length zero", "/files/0/segments/1", func(x *Index) { x.Files[0].Segments[1].Length = 0 }},
		{"segment negative", "/files/0/segments/1", func(x *Index) { x.Files[0].Segments[1].Offset = -1 }},
		{"segment past the layer", "/files/0/segments/1", func(x *Index) { x.Files[0].Segments[1].Offset = 1 }},
		{"segment overflows", "/files/0/segments/1", func(x *Index) { x.Files[0].Segments[1].Length = math.MaxInt64 }},
		{"segments too short", "/files/0/segments", func(x *Index) { x.Files[0].Segments[1].Length-- }},
		{"segments too long", "/files/2/segments/0", func(x *Index) { x.Files[2].Size-- }},

		{"name too long", "/tensors/0/name", func(x *Index) { x.Tensors[0].Name = strings.Repeat("x", MaxName+1) }},
		{"name twice in a file", "/tensors/4/name", func(x *Index) { x.Tensors[4].Name = x.Tensors[3].Name }},
		{"dtype empty", "/tensors/0/dtype", func(x *Index) { x.Tensors[0].Dtype = "" }},
		{"dtype escape", "/tensors/0/dtype", func(x *Index) { x.Tensors[0].Dtype = "BF16\x1b[2J" }},
		{"dimension negative", "/tensors/0/shape/1", func(x *Index) { x.Tensors[0].Shape[1] = -4 }},
		{"shape overflows", "/tensors/0/shape/1", func(x *Index) { x.Tensors[0].Shape = []int64{1 << 32, 1 << 32} }},
		{"shape does not fit", "/tensors/0/length", func(x *Index) { x.Tensors[0].Shape = []int64{5, 7} }},
		{"shape empty, bytes not", "/tensors/0/length", func(x *Index) { x.Tensors[0].Shape = []int64{0} }},
		{"tensor file", "/tensors/4/file", func(x *Index) { x.Tensors[4].File = 4 }},
		{"tensor file negative", "/tensors/4/file", func(x *Index) { x.Tensors[4].File = -1 }},
		{"first tensor's file negative", "/tensors/0/file", func(x *Index) { x.Tensors[0].File = -1 }},
		{"tensor length negative", "/tensors/0/offset", func(x *Index) { x.Tensors[0].Length = -24 }},
		{"empty dimension, then negative", "/tensors/1/shape/1", func(x *Index) { x.Tensors[1].Shape[1] = -4 }},
		{"shape of 2^63", "/tensors/0/shape/1", func(x *Index) { x.Tensors[0].Shape = []int64{1 << 62, 2} }},
		{"tensor file not in order", "/tensors/4/file", func(x *Index) { x.Tensors[4].File = 0 }},
		{"tensor in opaque file", "/tensors/4/file", func(x *Index) { x.Tensors[4].File = 2 }},
		{"tensor past its file", "/tensors/4/offset", func(x *Index) { x.Tensors[4].Offset = 37 }},
		{"tensor negative", "/tensors/0/offset", func(x *Index) { x.Tensors[0].Offset = -1 }},
		{"tensor overflows", "/tensors/0/offset", func(x *Index) { x.Tensors[0].Offset = math.MaxInt64 }},
		{"tensors overlap", "/tensors/4/offset", func(x *Index) { x.Tensors[4].Offset = 35 }},
		{"tensor md5", "/tensors/1/md5", func(x *Index) { x.Tensors[1].MD5 = strings.Repeat("g", 32) }},
		{"tensor sha256", "/tensors/1/sha256", func(x *Index) { x.Tensors[1].SHA256 = "" }},
		{"shared with itself", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].SharedWith = num(2) }},
		{"shared with a later one", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].SharedWith = num(3) }},
		{"shared with none", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].SharedWith = num(-1) }},
		{"shared with another length", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].SharedWith = num(1) }},
		{"shared with other bytes", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].SHA256 = testHash("other") }},
		{"shared with one past the end", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].SharedWith = num(1 << 30) }},
		{"shared with a later equal", "/tensors/0/sharedWith", func(x *Index) {
			x.Tensors[0].SharedWith, x.Tensors[2].SharedWith = num(2), nil
		}},
		{"shared with a shared one", "/tensors/3/sharedWith", func(x *Index) {
			for _, i := range []int{0, 2} {
				x.Tensors[i].Length, x.Tensors[i].Shape = 12, []int64{6}
			}
			x.Tensors[3] = x.Tensors[2]
			x.Tensors[3].Name, x.Tensors[3].Offset, x.Tensors[3].SharedWith = "third", 22, num(2)
		}},
		{"shared with equal hashes of another length", "/tensors/4/sharedWith", func(x *Index) {
			x.Tensors[4].SharedWith, x.Tensors[4].MD5, x.Tensors[4].SHA256 = num(3), x.Tensors[3].MD5, x.Tensors[3].SHA256
		}},
		{"shared with another MD5", "/tensors/2/sharedWith", func(x *Index) { x.Tensors[2].MD5 = x.Tensors[3].MD5 }},
		{"base", "/tensors/0/base", func(x *Index) { x.Tensors[0].Base = num(0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, chunks := smallModel()
			good := marshal(t, x, chunks)
			tt.change(x)
			_, err := MarshalIndex(x, chunks)
			refused(t, err, "index document "+tt.object)

			text, err := json.Marshal(x, json.WithMarshalers(json.MarshalToFunc(writeSegment)))
			if err != nil {
				t.Fatal(err)
			}
			tables := good[len(good)-records(chunks)*recordSize:]
			_, err = ParseIndex(frame(string(text), tables))
			refused(t, err, "index document "+tt.object)
		})
	}
}

// TestGGUF has lengths that agree with the types of ggml, and others that do not.
func TestGGUF(t *testing.T) {
	x, chunks := ggufModel()
	y, err := ParseIndex(marshal(t, x, chunks))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, y, sameIndex); diff != "" {
		t.Errorf("index after a round trip:\n%s", diff)
	}
	tests := []struct {
		name   string
		tensor int
		dtype  string
		shape  []int64
		length int64
		ok     bool
	}{
		{"as it is", 0, "Q8_0", []int64{1, 32}, 34, true},
		{"another type of this length", 0, "BF16", []int64{17}, 34, true},
		{"scalar", 1, "F64", []int64{}, 8, true},
		{"nothing of a type", 0, "Q8_0", []int64{3, 0}, 0, true},
		{"unknown type with padding", 2, "GGML_99", []int64{5}, 7, true},
		{"unknown type of part of a byte", 2, "GGML_99", []int64{999}, 7, true},
		{"unknown type without bytes", 2, "GGML_99", []int64{5}, 0, false},
		{"unknown type without elements", 2, "GGML_99", []int64{0}, 7, false},
		{"a byte short", 0, "Q8_0", []int64{1, 32}, 33, false},
		{"a block short", 0, "Q4_0", []int64{2, 32}, 18, false},
		{"a block too many", 1, "Q4_0", []int64{0}, 18, false},
		{"half a block in each row", 1, "Q4_0", []int64{2, 16}, 18, false},
		{"part of a block", 1, "Q4_0", []int64{16}, 18, false},
		{"scalar of blocks", 1, "Q4_0", []int64{}, 18, false},
		{"bits of an element", 0, "I8", []int64{17}, 34, false},
		{"blocks that overflow", 0, "Q4_0", []int64{1 << 62}, 34, false},
		{"type of the other format", 0, "BF16", []int64{34}, 34, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, chunks := ggufModel()
			v := &x.Tensors[tt.tensor]
			v.Dtype, v.Shape, v.Length = tt.dtype, tt.shape, tt.length
			_, err := MarshalIndex(x, chunks)
			if tt.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, fmt.Sprintf("index document /tensors/%d/length", tt.tensor))
		})
	}
	// In safetensors, a type of ggml is a dtype that is not known, of whole bits.
	x, chunks = ggufModel()
	x.Files[0].Path, x.Files[0].Format = "model.safetensors", FormatSafetensors
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document /tensors/0/length")
}

// TestHostileJSON edits the text of a good index.
func TestHostileJSON(t *testing.T) {
	tests := []struct{ name, object, old, new string }{
		{"not an object", "", `{"level"`, `["level"`},
		{"trailing data", "", `"shape":[2],`, `"shape":[2]}]}{"`},
		{"unknown member", " /extra", `"level"`, `"extra":1,"level"`},
		{"unknown member of a tensor", " /tensors/0/extra", `"dtype"`, `"extra":1,"dtype"`},
		{"escape in a name", ` /\x1b[2J`, `"level"`, `"\u001b[2J":1,"level"`},
		{"case twin", " /LAYERS", `"layers"`, `"LAYERS":[],"layers"`},
		{"member twice", " /level", `"layers"`, `"level":"max","layers"`},
		{"level missing", " /level", `"level":"max",`, ``},
		{"layers null", " /layers", `"layers":[{`, `"layers":null,"files":[],"x":[{`},
		{"layers an object", " /layers", `"layers":[{`, `"layers":{"a":[{`},
		{"layer null", " /layers/0/digest", `"layers":[`, `"layers":[null,`},
		{"tensors missing", "", `,"tensors":[{`, `}`},
		{"invalid UTF-8", " /tensors/0/name", `model.layers.0.weight`, "model.\xff"},
		{"lone surrogate", " /tensors/0/name", `model.layers.0.weight`, `model.\ud800`},
		{"float", " /files/0/size", `"size":34`, `"size":34.0`},
		{"exponent", " /files/0/size", `"size":34`, `"size":34e0`},
		{"string for a number", " /files/0/size", `"size":34`, `"size":"34"`},
		{"number too large", " /files/0/size", `"size":34`, `"size":9223372036854775808`},
		{"float dimension", " /tensors/0/shape/0", `"shape":[3,4]`, `"shape":[3.0,4]`},
		{"string dimension", " /tensors/0/shape/0", `"shape":[3,4]`, `"shape":["3",4]`},
		{"shape missing", " /tensors/3", `"shape":[],`, ``},
		{"segments missing", " /files/3", `,"segments":[]`, ``},
		{"segment of two", " /files/0/segments/0", `[2,0,10]`, `[2,0]`},
		{"segment of four", " /files/0/segments/0", `[2,0,10]`, `[2,0,10,1]`},
		{"segment an object", " /files/0/segments/0", `[2,0,10]`, `{"layer":2}`},
		{"segment a string", " /files/0/segments/0", `[2,0,10]`, `"2,0,10"`},
		{"segment with a float", " /files/0/segments/0", `[2,0,10]`, `[2,0.5,10]`},
		{"segment layer 2^62", " /files/0/segments/0", `[2,0,10]`, `[4611686018427387904,0,10]`},
		{"too many dimensions", " /tensors/0/shape", `[3,4]`, `[3,4` + strings.Repeat(",1", MaxDims) + `]`},
		{"too many layers", " /layers", `"layers":[`, ""},
		{"nested deeply", " /tensors/0/shape/0", `[3,4]`, strings.Repeat("[", 20000)},
		{"truncated", " /tensors/4", `"shape":[2],`, ""},
	}
	x, chunks := smallModel()
	doc := marshal(t, x, chunks)
	text, err := splitIndex(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, after, ok := strings.Cut(string(text), tt.old)
			if !ok {
				t.Fatalf("no %s in the text", tt.old)
			}
			edited := before + tt.new + after
			switch tt.name {
			case "truncated":
				edited = before
			case "too many layers":
				layer := after[:strings.Index(after, "},{")+2]
				edited = before + tt.old + strings.Repeat(layer, MaxLayers) + after
			}
			_, err := ParseIndex(frame(edited, nil))
			if tt.name == "trailing data" || tt.name == "nested deeply" || tt.name == "truncated" || tt.name == "too many dimensions" || tt.name == "too many layers" {
				// Where exactly these are noticed is the JSON package's to say.
				var e *Error
				if !errors.As(err, &e) || !strings.HasPrefix(e.Object, "index document"+tt.object) || e.Offset < int64(headerSize) {
					t.Errorf("got %v", err)
				}
				return
			}
			refused(t, err, "index document"+tt.object)
		})
	}
}

func TestHostileFrame(t *testing.T) {
	x, chunks := smallModel()
	good := marshal(t, x, chunks)
	text := int(binary.LittleEndian.Uint32(good[12:]))
	if (headerSize+text)%tableAlign == 0 {
		t.Fatal("the small model needs no padding; change it")
	}
	put32 := func(at int, n uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], n); return b }
	}
	tests := []struct {
		name   string
		reason string
		change func([]byte) []byte
	}{
		{"empty", "first bytes", func([]byte) []byte { return nil }},
		{"header only", "says it has", func(b []byte) []byte { return b[:headerSize] }},
		{"short header", "first bytes", func(b []byte) []byte { return b[:headerSize-1] }},
		{"magic", "first bytes", func(b []byte) []byte { b[0] ^= 0x80; return b }},
		{"newer version, all else unknown", "newer release", func(b []byte) []byte {
			return append(put32(8, 2)(b)[:12], bytes.Repeat([]byte{0xff}, 99)...)
		}},
		{"version 0", "no version 0", put32(8, 0)},
		{"JSON 4 GiB", "JSON is larger", put32(12, math.MaxUint32)},
		{"JSON past the end", "does not fit", put32(12, 1<<20)},
		{"total 2^64-1", "says it has", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[16:], math.MaxUint64); return b }},
		{"trailing byte", "says it has", func(b []byte) []byte { return append(b, 0) }},
		{"truncated", "says it has", func(b []byte) []byte { return b[:len(b)-1] }},
		{"padding", "padded", func(b []byte) []byte { b[headerSize+text] = ' '; return b }},
		{"a record more", "chunk tables have", func(b []byte) []byte {
			b = append(b, make([]byte, recordSize)...)
			binary.LittleEndian.PutUint64(b[16:], uint64(len(b)))
			return b
		}},
		{"a record less", "chunk tables have", func(b []byte) []byte {
			b = b[:len(b)-recordSize]
			binary.LittleEndian.PutUint64(b[16:], uint64(len(b)))
			return b
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseIndex(tt.change(bytes.Clone(good)))
			refused(t, err, "index document")
			if err != nil && !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want %q", err, tt.reason)
			}
		})
	}
}

// TestHostileChunks changes one record of layer 0, which has two chunks.
func TestHostileChunks(t *testing.T) {
	tests := []struct {
		name   string
		object string // under "index document /layers/0"
		change func(c []Chunk)
	}{
		{"first in the prologue", " chunk 0", func(c []Chunk) { c[0].Offset = 0 }},
		{"offset 2^63", " chunk 0", func(c []Chunk) { c[0].Offset = math.MinInt64 }},
		{"offset past the layer", " chunk 0", func(c []Chunk) { c[0].Offset = math.MaxInt64 }},
		{"gap", " chunk 1", func(c []Chunk) { c[1].Offset++ }},
		{"overlap", " chunk 1", func(c []Chunk) { c[1].Offset-- }},
		{"swapped", " chunk 1", func(c []Chunk) { c[0], c[1] = c[1], c[0] }},
		{"encoded nothing", " chunk 0", func(c []Chunk) { c[0].Encoded = 0 }},
		{"encoded past the layer", " chunk 1", func(c []Chunk) { c[1].Encoded = 1 << 20 }},
		{"encoded too much", " chunk 1", func(c []Chunk) { c[1].Encoded = math.MaxUint32 }},
		{"decoded nothing", " chunk 1", func(c []Chunk) { c[1].Decoded = 0 }},
		{"decoded too much", " chunk 1", func(c []Chunk) { c[1].Decoded = MaxChunkDecoded + 1 }},
		{"decoded 4 GiB", " chunk 1", func(c []Chunk) { c[1].Decoded = math.MaxUint32 }},
		{"decoded sum", "", func(c []Chunk) { c[1].Decoded++ }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, chunks := smallModel()
			good := marshal(t, x, chunks)
			tt.change(chunks[0])
			_, err := MarshalIndex(x, chunks)
			refused(t, err, "index document /layers/0"+tt.object)

			doc := good[:len(good)-records(chunks)*recordSize]
			for i := range chunks {
				for j := range chunks[i] {
					doc = chunks[i][j].appendRecord(doc)
				}
			}
			y, err := ParseIndex(doc)
			if err != nil {
				t.Fatal(err)
			}
			_, err = y.ChunkTable(0)
			refused(t, err, "index document /layers/0"+tt.object)
			if _, err := y.ChunkTable(1); err != nil {
				t.Errorf("the next layer's table: %v", err)
			}
		})
	}
}

func TestMarshalRefuses(t *testing.T) {
	x, chunks := smallModel()
	_, err := MarshalIndex(x, chunks[:2])
	refused(t, err, "index document")
	_, err = MarshalIndex(x, [][]Chunk{chunks[0], chunks[1], chunks[2][:1]})
	refused(t, err, "index document /layers/2")
	one := []Chunk{{Offset: 64, Encoded: 50, Decoded: 30}} // all of the layer, but not in two chunks
	_, err = MarshalIndex(x, [][]Chunk{chunks[0], chunks[1], one})
	refused(t, err, "index document /layers/2")
	x.Layers[0].Encoded, chunks[0][1].Encoded = 1<<30, MaxChunkEncoded+1
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document /layers/0 chunk 1")
	x.Version = 2
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document")
	x, chunks = smallModel()
	x.Tensors[0].Name = "\xff"
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document /tensors/0/name")
	x, chunks = smallModel()
	x.Tensors[0].Shape = make([]int64, MaxDims+1)
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document /tensors/0/shape")
	x, chunks = smallModel()
	x.Files = make([]File, 64)
	for i := range x.Files {
		x.Files[i] = File{Path: "a", Mode: 0o644, SHA256: testHash(0), Segments: make([]Segment, MaxSegments/64+1)}
	}
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document /files")
	x.Files = make([]File, MaxFiles+1)
	_, err = MarshalIndex(x, chunks)
	refused(t, err, "index document")
}
