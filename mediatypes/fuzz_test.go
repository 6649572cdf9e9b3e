package mediatypes

import (
	"bytes"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxGrowth bounds what a parser may allocate, in all and garbage included,
// for each byte of input; slack is for what does not depend on the input.
const (
	maxGrowth = 100
	slack     = 1 << 20
)

// measured runs parse and fails if it allocates out of proportion to n bytes
// of input.
func measured(t *testing.T, n int, parse func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := parse()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(n)*maxGrowth+slack {
		t.Errorf("allocated %d bytes for an input of %d", got, n)
	}
	return err
}

// checkRefusal checks that err says what was refused and is fit for a
// terminal.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Object == "" || e.Reason == "" {
		t.Errorf("untyped error %#v", err)
	}
	if s := err.Error(); len(s) > 2000 || strings.ContainsFunc(s, unsafeRune) {
		t.Errorf("message %q", s)
	}
}

func FuzzParseIndex(f *testing.F) {
	x, chunks := smallModel()
	doc := marshal(f, x, chunks)
	text, _ := splitIndex(doc)
	tables := doc[len(doc)-records(chunks)*recordSize:]
	f.Add(text, tables, false)
	f.Add(doc, []byte(nil), true)
	for _, edit := range []struct{ old, new string }{
		{`"layers"`, `"LAYERS":[],"layers"`},
		{`[2,0,10]`, `[2,0,9],[ 2 , 9 , 1 ]`},
		{`"size":34`, `"size":-34`},
		{`"md5"`, `"base":null,"md5"`},
		{`:"max"`, "\n:\t\"default\""},
	} {
		f.Add(bytes.Replace(text, []byte(edit.old), []byte(edit.new), 1), tables, false)
	}
	x, chunks = ggufModel()
	doc = marshal(f, x, chunks)
	text, _ = splitIndex(doc)
	tables = doc[len(doc)-records(chunks)*recordSize:]
	f.Add(text, tables, false)
	f.Add(bytes.Replace(text, []byte(`"shape":[32]`), []byte(`"shape":[64]`), 1), tables, false)
	// The JSON and the tables are mutated apart and framed, else hardly any
	// input gets past the frame; whole tells to parse the first as it is.
	f.Fuzz(func(t *testing.T, text, tables []byte, whole bool) {
		doc := text
		if !whole {
			doc = frame(string(text), tables)
		}
		before := bytes.Clone(doc)
		var x *Index
		err := measured(t, len(doc), func() (err error) {
			x, err = ParseIndex(doc)
			return err
		})
		if !bytes.Equal(before, doc) {
			t.Fatal("the document was changed")
		}
		if err != nil {
			checkRefusal(t, err)
			return
		}
		chunks := make([][]Chunk, len(x.Layers))
		for i := range x.Layers {
			if chunks[i], err = x.ChunkTable(i); err != nil {
				checkRefusal(t, err)
				return
			}
		}
		again, err := MarshalIndex(x, chunks)
		if err != nil {
			t.Fatalf("parsed, but cannot be written: %v", err)
		}
		y, err := ParseIndex(again)
		if err != nil {
			t.Fatalf("written, but cannot be parsed: %v", err)
		}
		if diff := cmp.Diff(x, y, sameIndex); diff != "" {
			t.Errorf("index after a round trip:\n%s", diff)
		}
		third, err := MarshalIndex(y, chunks)
		if err != nil || !bytes.Equal(again, third) {
			t.Errorf("two ways to write one index: %v", err)
		}
		checkFilesFit(t, x)
	})
}

// checkFilesFit checks what a reader relies on without looking again.
func checkFilesFit(t *testing.T, x *Index) {
	for _, f := range x.Files {
		var size int64
		for _, s := range f.Segments {
			if s.Offset < 0 || s.Offset+s.Length > x.Layers[s.Layer].Decoded || s.Offset+s.Length < s.Offset {
				t.Errorf("segment %v leaves its layer", s)
			}
			size += s.Length
		}
		if size != f.Size {
			t.Errorf("%s: segments of %d bytes, file of %d", f.Path, size, f.Size)
		}
	}
	for _, v := range x.Tensors {
		if v.Offset+v.Length > x.Files[v.File].Size {
			t.Errorf("tensor %q leaves its file", v.Name)
		}
		n := product(v.Shape)
		if b, known := blocks[v.Dtype]; known && x.Files[v.File].Format == FormatGGUF && v.Length*b.elements != n*b.bytes {
			t.Errorf("tensor %q: %d bytes of %s %v", v.Name, v.Length, v.Dtype, v.Shape)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	for _, s := range []string{
		goodManifest, goodIndex, goodConfig, `{}`, `[]`, `{"layers":[{},{}]}`,
		strings.Replace(goodManifest, `"layers"`, `"LAYERS":[],"layers"`, 1),
		strings.Replace(goodManifest, `"layers"`, `"manifests":[],"layers"`, 1),
		strings.Replace(goodManifest, `"layers"`, `"subject":{"mediaType":"a/b","digest":"`+abc+`","size":3},"layers"`, 1),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		accepted := 0
		accepted += roundTrip(t, raw, ocispec.MediaTypeImageManifest, ParseManifest)
		accepted += roundTrip(t, raw, ocispec.MediaTypeImageIndex, ParseManifestIndex)
		accepted += roundTrip(t, raw, ocispec.MediaTypeImageConfig, ParseConfig)
		if accepted > 1 {
			t.Error("one document, two meanings")
		}
	})
}

// roundTrip parses raw, writes the result and parses that. It returns 1 if raw
// was accepted.
func roundTrip[T any](t *testing.T, raw []byte, mediaType string, parse func([]byte, ocispec.Descriptor) (*T, error)) int {
	t.Helper()
	var v *T
	err := measured(t, len(raw), func() (err error) {
		v, err = parse(raw, describe(raw, mediaType))
		return err
	})
	if err != nil {
		checkRefusal(t, err)
		return 0
	}
	// A reader that ignores case, as encoding/json does, sees the same.
	var lax T
	if err := json.Unmarshal(raw, &lax, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Errorf("a lax reader refuses it: %v", err)
	} else if diff := cmp.Diff(v, &lax); diff != "" {
		t.Errorf("a lax reader sees another document:\n%s", diff)
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("parsed, but cannot be written: %v", err)
	}
	w, err := parse(again, describe(again, mediaType))
	if err != nil {
		t.Fatalf("written, but cannot be parsed: %v\n%s", err, again)
	}
	if diff := cmp.Diff(v, w, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after a round trip:\n%s", diff)
	}
	return 1
}

// TestGrowth feeds the parsers short elements in long lists.
func TestGrowth(t *testing.T) {
	x, chunks := smallModel()
	text, _ := splitIndex(marshal(t, x, chunks))
	const n = 300_000
	tests := []struct{ name, old, new string }{
		{"tensors", `"tensors":[`, `"tensors":[` + strings.Repeat(`{},`, n)},
		{"files", `"files":[`, `"files":[` + strings.Repeat(`{},`, n)},
		{"layers", `"layers":[`, `"layers":[` + strings.Repeat(`{},`, n)},
		{"segments", `[2,0,10]`, strings.Repeat(`[2,0,1],`, n) + `[2,0,10]`},
		{"shape", `"shape":[`, `"shape":[` + strings.Repeat(`1,`, n)},
		{"members", `{"level"`, `{` + strings.Repeat(`"":0,`, n) + `"level"`},
		{"nulls", `"tensors":[`, `"tensors":[` + strings.Repeat(`null,`, n)},
	}
	for _, tt := range tests {
		doc := frame(strings.Replace(string(text), tt.old, tt.new, 1), nil)
		err := measured(t, len(doc), func() error { _, err := ParseIndex(doc); return err })
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
	for _, list := range []string{`"layers":[`, `"annotations":{"a":"",`} {
		raw := []byte(strings.Replace(goodManifest, `"layers":[`, list+strings.Repeat(`{},`, n), 1))
		if err := measured(t, len(raw), func() error { return parseManifest(raw) }); err == nil {
			t.Errorf("%s: accepted", list)
		}
	}
	// The deepest paths, none of which share a directory. In an index document
	// each comes with a hash and the names of the members.
	paths := make([]string, 1000)
	size := 0
	for i := range paths {
		paths[i] = strconv.Itoa(i) + strings.Repeat("/a", MaxPathDepth-1)
		size += len(paths[i]) + 64 + len(`{"path":"","size":0,"mode":420,"sha256":"","segments":[]},`)
	}
	if err := measured(t, size, func() error { return CheckPaths(paths) }); err != nil {
		t.Error(err)
	}
}
