package safetensors

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

// FuzzParse gives a file of which the last bytes may be missing. The parser
// must take it, refuse it or report the missing bytes; never panic, never take
// memory out of proportion, never read beyond what the file holds for a verdict.
func FuzzParse(f *testing.F) {
	all := `{"__metadata__":{"format":"pt"},` + member("a", "BF16", "[2,3]", "[0,12]") + `,` + member("b", "F4", "[2]", "[12,13]") + `,` + member("z", "I64", "[0]", "[0,0]") + `}`
	for _, json := range []string{
		``, `{}`, ` {}`, `[]`, "{}\x00", `{} `, all, all + `   `, all[:40],
		`{` + member("a", "U8", "[]", "[0,1]") + `,` + member("a", "U8", "[]", "[1,2]") + `}`,
		`{` + member("a", "U8", "[1e3]", "[0,-0]") + `}`,
		`{` + member("a", "F64", "[4294967296,4294967296,0]", "[0,13]") + `}`,
		`{` + member("a", "U8", "[9]", "[4,13]") + `,` + member("b", "U8", "[5]", "[0,5]") + `}`,
		`{"\ud83d\ude00":{"dtype":"F\u0034","DTYPE":"F4","shape":[26],"data_offsets":[0,13]}}`,
		`{"a":[[[[[[[[]]]]]]]]}`,
	} {
		for _, data := range []int{0, 13} {
			f.Add(file(json, data), uint32(0))
			f.Add(file(json, data), uint32(1<<20))
		}
	}
	f.Add(lengthField(1<<63, "{}"), uint32(0))
	f.Add(lengthField(99_999_999, `{"`), uint32(1<<30))
	f.Add(modelFile(f), uint32(0))

	f.Fuzz(func(t *testing.T, b []byte, missing uint32) {
		size := int64(len(b)) + int64(missing)
		var h *Header
		var err error
		got := allocated(func() { h, err = Parse(bytes.NewReader(b), size) })
		if most := uint64(256<<10 + 64*len(b)); got > most {
			t.Fatalf("%d bytes allocated for a file of %d", got, len(b))
		}
		if err != nil {
			checkError(t, err, size, missing)
			return
		}
		if h.Size < 10 || h.Size > int64(len(b)) {
			t.Fatalf("header of %d bytes in a file of %d", h.Size, len(b))
		}
		checkTiles(t, h, size)
		checkAgain(t, h)
	})
}

// checkError fails unless err is either a refusal that names a place in the
// file, or the end of a file that is too short.
func checkError(t *testing.T, err error, size int64, missing uint32) {
	t.Helper()
	short := errors.Is(err, io.ErrUnexpectedEOF)
	e, refused := errors.AsType[*Error](err)
	switch {
	case short == refused:
		t.Fatalf("neither or both a short file and a refusal: %v", err)
	case short && missing == 0:
		t.Fatalf("nothing is missing: %v", err)
	case refused && (e.Offset < 0 || e.Offset > size || e.Reason == ""):
		t.Fatalf("%+v in a file of %d bytes", e, size)
	case refused && len(e.Error()) > 2000:
		t.Fatalf("message of %d bytes", len(e.Error()))
	}
}

// checkAgain fails unless the header, once written and parsed, is the same.
func checkAgain(t *testing.T, h *Header) {
	t.Helper()
	var buf bytes.Buffer
	again, err := WriteHeader(&buf, h.Tensors, h.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	shift := again.Size - h.Size
	for i := range again.Tensors {
		again.Tensors[i].Offset -= shift
	}
	again.Size = h.Size
	if !reflect.DeepEqual(again, h) {
		t.Fatalf("%v once written, was %v", again, h)
	}
}
