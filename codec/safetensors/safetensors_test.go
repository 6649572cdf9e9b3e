package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file returns a file with the given JSON and so many bytes of data.
func file(json string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(json)))
	return append(append(b, json...), make([]byte, data)...)
}

// lengthField returns a file whose length field and what follows disagree.
func lengthField(n uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, n), rest...)
}

// member returns the JSON of one tensor.
func member(name, dtype, shape, offsets string) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":%s}`, name, dtype, shape, offsets)
}

func TestParseAccepts(t *testing.T) {
	const escaped = `"\u0061\/b":{"data_offsets":[0,4],"sh\u0061pe":[],"dtype":"F\u00332"}`
	tests := []struct {
		name string
		json string
		data int
		want []Tensor // with offsets in the data
		meta map[string]string
	}{
		{name: "no tensors", json: `{}`},
		{name: "no tensors, padded", json: `{}      `},
		{name: "white space within", json: "{\n\t\"a\" : {\"dtype\":\"U8\",\r\n\"shape\":[ 1 , 2 ],\"data_offsets\":[0,2]}\n}  ", data: 2, want: []Tensor{{"a", "U8", []int64{1, 2}, 0, 2}}},
		{name: "metadata only", json: `{"__metadata__":{"format":"pt","":"é\n"}}`, meta: map[string]string{"format": "pt", "": "é\n"}},
		{name: "empty metadata", json: `{"__metadata__":{}}`, meta: map[string]string{}},
		{name: "metadata last", json: `{` + member("a", "I64", "[]", "[0,8]") + `,"__metadata__":{"a":"b"}}`, data: 8, want: []Tensor{{"a", "I64", []int64{}, 0, 8}}, meta: map[string]string{"a": "b"}},
		{name: "scalar", json: `{` + member("a", "F64", "[]", "[0,8]") + `}`, data: 8, want: []Tensor{{"a", "F64", []int64{}, 0, 8}}},
		{name: "escapes", json: `{` + escaped + `}`, data: 4, want: []Tensor{{"a/b", "F32", []int64{}, 0, 4}}},
		{name: "names that differ in case", json: `{` + member("W", "U8", "[1]", "[0,1]") + `,` + member("w", "U8", "[1]", "[1,2]") + `}`, data: 2, want: []Tensor{{"W", "U8", []int64{1}, 0, 1}, {"w", "U8", []int64{1}, 1, 1}}},
		{name: "empty name", json: `{` + member("", "U8", "[1]", "[0,1]") + `}`, data: 1, want: []Tensor{{"", "U8", []int64{1}, 0, 1}}},
		{
			name: "header not in the order of the data", data: 5,
			json: `{` + member("a", "BF16", "[2]", "[1,5]") + `,` + member("b", "U8", "[1]", "[0,1]") + `}`,
			want: []Tensor{{"b", "U8", []int64{1}, 0, 1}, {"a", "BF16", []int64{2}, 1, 4}},
		},
		{
			name: "zero size", data: 4,
			json: `{` + member("a", "F32", "[1]", "[0,4]") + `,` + member("z", "F32", "[0,7]", "[0,0]") + `,` + member("e", "F4", "[3,0]", "[4,4]") + `,` + member("d", "F4", "[0]", "[4,4]") + `}`,
			want: []Tensor{{"z", "F32", []int64{0, 7}, 0, 0}, {"a", "F32", []int64{1}, 0, 4}, {"e", "F4", []int64{3, 0}, 4, 0}, {"d", "F4", []int64{0}, 4, 0}},
		},
		{name: "sub-byte", json: `{` + member("a", "F4", "[3,2]", "[0,3]") + `,` + member("b", "F6_E2M3", "[4]", "[3,6]") + `}`, data: 6, want: []Tensor{{"a", "F4", []int64{3, 2}, 0, 3}, {"b", "F6_E2M3", []int64{4}, 3, 3}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := file(tt.json, tt.data)
			want := &Header{Size: int64(8 + len(tt.json)), Tensors: tt.want, Metadata: tt.meta}
			for i := range want.Tensors {
				want.Tensors[i].Offset += want.Size
			}
			got, err := Parse(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestParseRefuses has at least one row for each malformed file of test matrix
// A; the number before the name is the one in the matrix. Offset -1 in a row
// stands for any offset in the header.
func TestParseRefuses(t *testing.T) {
	u8 := func(name, offsets string) string { return member(name, "U8", "[4]", offsets) }
	ok := u8("ok", "[0,4]")
	tests := []struct {
		name   string
		file   []byte
		tensor string
		offset int64
		reason string
	}{
		{"1 empty file", nil, "", 0, "shorter than its length field"},
		{"1 seven bytes", []byte("\x02\x00\x00\x00\x00\x00\x00"), "", 0, "shorter than its length field"},
		{"2 N=0", lengthField(0, ""), "", 0, "header length is 0"},
		{"2 N=0 before data", lengthField(0, "{}"), "", 0, "header length is 0"},
		{"3 N beyond the file", lengthField(3, "{}"), "", 0, "beyond the file of 10 bytes"},
		{"3 N alone", lengthField(2, ""), "", 0, "beyond the file of 8 bytes"},
		{"4 N=2^63", lengthField(1<<63, "{}"), "", 0, "is above 100000000"},
		{"4 N=2^64-1", lengthField(math.MaxUint64, "{}"), "", 0, "is above 100000000"},
		{"4 N=2^64-8", lengthField(math.MaxUint64-7, "{}"), "", 0, "is above 100000000"},
		{"4 N=2^63-1", lengthField(math.MaxInt64, "{}"), "", 0, "is above 100000000"},
		{"5 N=100000001", lengthField(100_000_001, "{}"), "", 0, "is above 100000000"}, // see also TestParseBoundsAllocation
		{"6 name not UTF-8", file("{\"a\xff\":{}}", 0), "", 11, "invalid UTF-8"},
		{"6 metadata not UTF-8", file("{\"__metadata__\":{\"a\":\"\xc3\"}}", 0), "__metadata__", 30, "invalid UTF-8"},
		{"6 overlong NUL", file("{\"\xc0\x80\":{}}", 0), "", 10, "invalid UTF-8"},
		{"6 lone surrogate", file(`{"\ud800":{}}`, 0), "", -1, "invalid surrogate"},
		{"7 starts with a space", file(` {}`, 0), "", 8, "does not start with '{'"},
		{"7 starts with a BOM", file("\ufeff{}", 0), "", 8, "does not start with '{'"},
		{"7 array", file(`[]`, 0), "", 8, "does not start with '{'"},
		{"8 NUL padding", file("{}\x00\x00", 0), "", 10, "padded with byte 0x00"},
		{"8 NUL after spaces", file("{}"+strings.Repeat(" ", 9000)+"\x00", 0), "", 9010, "padded with byte 0x00"},
		{"8 newline padding", file("{} \n", 0), "", 11, "padded with byte 0x0a"},
		{"8 second value", file("{}{}", 0), "", 10, "padded with byte 0x7b"},
		{"9 duplicate name", file(`{`+ok+`,`+ok+`}`, 4), "ok", 8 + 54, "duplicate name"},
		{"9 duplicate by escape", file(`{`+ok+`,"\u006fk":{}}`, 4), "ok", 8 + 54, "duplicate name"},
		{"9 duplicate metadata", file(`{"__metadata__":{},"__metadata__":{}}`, 0), "__metadata__", 27, "duplicate name"},
		{"9 duplicate metadata key", file(`{"__metadata__":{"a":"","a":""}}`, 0), "__metadata__", 32, `duplicate key "a"`},
		{"9 duplicate dtype", file(`{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), "a", 27, `duplicate key "dtype"`},
		{"9 duplicate shape", file(`{"a":{"shape":[],"shape":[],"dtype":"U8","data_offsets":[0,1]}}`, 1), "a", 25, `duplicate key "shape"`},
		{"9 duplicate data_offsets", file(`{"a":{"data_offsets":[0,0],"data_offsets":[0,0],"shape":[0],"dtype":"U8"}}`, 0), "a", 35, `duplicate key "data_offsets"`},
		{"10 dtype and DTYPE", file(`{"a":{"dtype":"U8","DTYPE":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), "a", 27, `unknown or duplicate key "DTYPE"`},
		{"10 Shape", file(`{"a":{"dtype":"U8","Shape":[0],"data_offsets":[0,0]}}`, 0), "a", 27, `unknown or duplicate key "Shape"`},
		{"10 unknown key", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":0}}`, 0), "a", -1, `unknown or duplicate key "x"`},
		{"10 no dtype", file(`{"a":{"shape":[0],"data_offsets":[0,0]}}`, 0), "a", -1, "no dtype"},
		{"10 no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,0]}}`, 0), "a", -1, "no shape"},
		{"10 no data_offsets", file(`{"a":{"dtype":"U8","shape":[0]}}`, 0), "a", -1, "no data_offsets"},
		{"10 empty tensor", file(`{"a":{}}`, 0), "a", -1, "no dtype"},
		{"10 tensor is null", file(`{"a":null}`, 0), "a", -1, "value is null, not an object"},
		{"11 overlap", file(`{`+u8("a", "[0,4]")+`,`+u8("b", "[2,6]")+`}`, 6), "b", 8 + 105 + 2, `overlaps that of tensor "a"`},
		{"11 same bytes twice", file(`{`+u8("a", "[0,4]")+`,`+u8("b", "[0,4]")+`}`, 4), "b", 8 + 105, `overlaps that of tensor "a"`},
		{"11 zero size within another", file(`{`+u8("a", "[0,4]")+`,`+member("b", "U8", "[0]", "[2,2]")+`}`, 4), "b", 8 + 105 + 2, `overlaps that of tensor "a"`},
		{"12 hole before the first", file(`{`+u8("a", "[1,5]")+`}`, 5), "a", 8 + 53, "1 bytes before its data belong to no tensor"},
		{"12 hole between", file(`{`+u8("a", "[0,4]")+`,`+u8("b", "[6,10]")+`}`, 10), "b", 8 + 106 + 4, "2 bytes before its data belong to no tensor"},
		{"13 end before start", file(`{`+u8("a", "[4,0]")+`}`, 4), "a", -1, "end at 0, before they begin at 4"},
		{"14 end past the data", file(`{`+ok+`}`, 3), "ok", -1, "end at 4, beyond the 3 bytes of data"},
		{"14 end at 2^63-1", file(`{`+u8("a", "[9223372036854775803,9223372036854775807]")+`}`, 4), "a", -1, "beyond the 4 bytes of data"},
		{"14 end at 2^64", file(`{`+u8("a", "[0,18446744073709551616]")+`}`, 4), "a", -1, "not an integer"},
		{"15 trailing byte", file(`{`+ok+`}`, 5), "", 8 + 54 + 4, "1 bytes after the last tensor"},
		{"15 data without tensors", file(`{}`, 3), "", 10, "3 bytes after the last tensor"},
		{"16 product overflows", file(`{`+member("a", "U8", "[4294967296,4294967296]", "[0,0]")+`}`, 0), "a", -1, "overflows"},
		{"16 product overflows to the right size", file(`{`+member("a", "U8", "[9223372036854775807,2,3]", "[0,4]")+`}`, 4), "a", -1, "overflows"},
		{"16 product overflows before a zero", file(`{`+member("a", "U8", "[4294967296,4294967296,0]", "[0,0]")+`}`, 0), "a", -1, "overflows"},
		{"16 bits overflow", file(`{`+member("a", "F64", "[288230376151711744]", "[0,0]")+`}`, 0), "a", -1, "overflows"},
		{"16 dimension of 2^63", file(`{`+member("a", "U8", "[9223372036854775808]", "[0,0]")+`}`, 0), "a", -1, "not an integer"},
		{"17 too small", file(`{`+member("a", "F32", "[2]", "[0,4]")+`}`, 4), "a", -1, "4 bytes where its dtype and shape take 8"},
		{"17 too large", file(`{`+member("a", "F16", "[1]", "[0,4]")+`}`, 4), "a", -1, "4 bytes where its dtype and shape take 2"},
		{"17 scalar of no bytes", file(`{`+member("a", "U8", "[]", "[0,0]")+`}`, 0), "a", -1, "0 bytes where its dtype and shape take 1"},
		{"18 unknown dtype", file(`{`+member("a", "F128", "[0]", "[0,0]")+`}`, 0), "a", 22, `unknown dtype "F128"`},
		{"18 dtype in lower case", file(`{`+member("a", "f32", "[0]", "[0,0]")+`}`, 0), "a", 22, `unknown dtype "f32"`},
		{"18 empty dtype", file(`{`+member("a", "", "[0]", "[0,0]")+`}`, 0), "a", 22, `unknown dtype ""`},
		{"18 dtype is a number", file(`{"a":{"dtype":8,"shape":[0],"data_offsets":[0,0]}}`, 0), "a", -1, "dtype is a number, not a string"},
		{"19 F4 of 3", file(`{`+member("a", "F4", "[3]", "[0,1]")+`}`, 1), "a", -1, "12 bits of F4 do not fill whole bytes"},
		{"19 F4 of 3, rounded up", file(`{`+member("a", "F4", "[3]", "[0,2]")+`}`, 2), "a", -1, "12 bits of F4 do not fill whole bytes"},
		{"19 F6 of 2", file(`{`+member("a", "F6_E3M2", "[2]", "[0,1]")+`}`, 1), "a", -1, "12 bits of F6_E3M2 do not fill whole bytes"},
		{"20 no element", file(`{`+u8("a", "[]")+`}`, 4), "a", -1, "data_offsets has 0 elements, not 2"},
		{"20 one element", file(`{`+u8("a", "[0]")+`}`, 4), "a", -1, "data_offsets has 1 elements, not 2"},
		{"20 three elements", file(`{`+u8("a", "[0,4,4]")+`}`, 4), "a", -1, "data_offsets has more than 2 elements"},
		{"20 fraction", file(`{`+u8("a", "[0,4.0]")+`}`, 4), "a", -1, `data_offsets holds "4.0"`},
		{"20 negative", file(`{`+u8("a", "[-4,0]")+`}`, 4), "a", -1, `data_offsets holds "-4"`},
		{"20 negative zero", file(`{`+u8("a", "[-0,4]")+`}`, 4), "a", -1, `data_offsets holds "-0"`},
		{"20 exponent", file(`{`+member("a", "U8", "[1000]", "[0,1e3]")+`}`, 1000), "a", -1, `data_offsets holds "1e3"`},
		{"20 exponent in shape", file(`{`+member("a", "U8", "[1e3]", "[0,1000]")+`}`, 1000), "a", -1, `shape holds "1e3"`},
		{"20 leading zero", file(`{`+u8("a", "[04,4]")+`}`, 4), "a", -1, "invalid JSON"},
		{"20 strings", file(`{`+u8("a", `["0","4"]`)+`}`, 4), "a", -1, "data_offsets is a string, not a number"},
		{"20 object", file(`{`+u8("a", `{"0":0,"1":4}`)+`}`, 4), "a", -1, "data_offsets is an object, not an array"},
		{"21 nested arrays", file(`{"a":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`}`, 0), "a", -1, "value is an array, not an object"},
		{"21 nested objects", file(strings.Repeat(`{"a":`, 20000)+`0`+strings.Repeat("}", 20000), 0), "a", -1, `unknown or duplicate key "a"`},
		{"21 nested shape", file(`{`+member("a", "U8", strings.Repeat("[", 20000)+strings.Repeat("]", 20000), "[0,0]")+`}`, 0), "a", -1, "shape is an array, not a number"},
		{"22 too many tensors", tooMany(maxTensors+1, func(i int) string { return fmt.Sprintf(`"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i) }), fmt.Sprintf("%x", maxTensors), -1, "more than 1048576 tensors"},
		{"22 too many dimensions", file(`{`+member("a", "U8", "[0"+strings.Repeat(",0", maxRank)+"]", "[0,0]")+`}`, 0), "a", -1, "shape has more than 64 elements"},
		{"22 name too long", file(`{`+u8(strings.Repeat("n", maxNameLength+1), "[0,4]")+`}`, 4), "", 9, "has more than 65535 bytes"},
		// 23 is in TestParseAccepts.
		{"24 metadata of a number", file(`{"__metadata__":{"epoch":3}}`, 0), "__metadata__", -1, "value is a number, not a string"},
		{"24 metadata of an object", file(`{"__metadata__":{"config":{}}}`, 0), "__metadata__", -1, "value is an object, not a string"},
		{"24 metadata is null", file(`{"__metadata__":null}`, 0), "__metadata__", -1, "value is null, not an object"},
		{"24 metadata is a string", file(`{"__metadata__":"pt"}`, 0), "__metadata__", -1, "value is a string, not an object"},
		{"24 too much metadata", file(`{"__metadata__":`+string(tooMany(maxMetadata+1, func(i int) string { return fmt.Sprintf(`"%x":""`, i) })[8:])+`}`, 0), "__metadata__", -1, "more than 65536 entries"},
		{"JSON ends early", file(`{"a":{"dtype":"U8"`, 0), "a", 26, "header ends within its JSON"},
		{"JSON ends in a name", file(`{"a`, 40), "", 11, "header ends within its JSON"},
		{"trailing comma", file(`{`+ok+`,}`, 4), "", -1, "invalid JSON"},
		{"comment", file(`{/**/}`, 0), "", 9, "invalid JSON"},
		{"control character in a name", file("{\"a\x00\":{}}", 0), "", -1, "invalid JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := Parse(bytes.NewReader(tt.file), int64(len(tt.file)))
			e, isRefusal := errors.AsType[*Error](err)
			if h != nil || !isRefusal {
				t.Fatalf("got %v, %v, want an *Error", h, err)
			}
			if e.Tensor != tt.tensor {
				t.Errorf("tensor is %q, want %q", e.Tensor, tt.tensor)
			}
			end := int64(8 + len(tt.file))
			if e.Offset != tt.offset && (tt.offset >= 0 || e.Offset <= 8 || e.Offset >= end) {
				t.Errorf("offset is %d, want %d", e.Offset, tt.offset)
			}
			if !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("error is %q, want %q in it", err, tt.reason)
			}
			if len(err.Error()) > 500 {
				t.Errorf("message has %d bytes", len(err.Error()))
			}
			if errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error("a refusal looks like a short file")
			}
		})
	}
}

// tooMany returns a file without data whose JSON has n members.
func tooMany(n int, member func(i int) string) []byte {
	var b strings.Builder
	for i := range n {
		b.WriteString(",")
		b.WriteString(member(i))
	}
	return file(`{`+b.String()[1:]+`}`, 0)
}

func TestBits(t *testing.T) {
	// Every variant of enum Dtype and its bitsize, safetensors 0.8, tensor.rs.
	want := map[int]string{
		4:  "F4",
		6:  "F6_E2M3 F6_E3M2",
		8:  "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ",
		16: "I16 U16 F16 BF16",
		32: "I32 U32 F32",
		64: "C64 F64 I64 U64",
	}
	n := 0
	for width, names := range want {
		for _, name := range strings.Fields(names) {
			n++
			if got, ok := Bits(name); !ok || got != width {
				t.Errorf("Bits(%q) = %d, %t, want %d", name, got, ok, width)
			}
			// 8 elements fill whole bytes at any width.
			b := file(`{`+member("a", name, "[2,4]", fmt.Sprintf("[0,%d]", width))+`}`, width)
			if h, err := Parse(bytes.NewReader(b), int64(len(b))); err != nil || h.Tensors[0].Dtype != name {
				t.Errorf("Parse of %s: %v, %v", name, h, err)
			}
		}
	}
	if n != len(dtypes) {
		t.Errorf("%d dtypes known, want %d", len(dtypes), n)
	}
	for _, name := range []string{"", "bf16", "BF16 ", "F8", "F8_E4M3FN", "I4"} {
		if got, ok := Bits(name); ok {
			t.Errorf("Bits(%q) = %d, want none", name, got)
		}
	}
}

// TestReadError checks that a file that cannot be read is told from a file
// that is refused, wherever the reading stops.
func TestReadError(t *testing.T) {
	b := file(`{`+member("a", "U8", "[4]", "[0,4]")+`}`+strings.Repeat(" ", 5000), 4)
	header := len(b) - 4
	broken := errors.New("medium error")
	for n := range header {
		_, err := Parse(bytes.NewReader(b[:n]), int64(len(b)))
		if _, isRefusal := errors.AsType[*Error](err); isRefusal || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("shrunk to %d bytes: %v, want io.ErrUnexpectedEOF", n, err)
		}
		_, err = Parse(brokenAt{b[:n], broken}, int64(len(b)))
		if _, isRefusal := errors.AsType[*Error](err); isRefusal || !errors.Is(err, broken) {
			t.Fatalf("broken after %d bytes: %v, want %v", n, err, broken)
		}
	}
	// The data are not read: whoever reads them finds what is missing.
	if _, err := Parse(bytes.NewReader(b[:header]), int64(len(b))); err != nil {
		t.Errorf("without the data: %v", err)
	}
}

// A brokenAt is a file of which only the start can be read.
type brokenAt struct {
	start []byte
	err   error
}

func (f brokenAt) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, f.start[min(off, int64(len(f.start))):])
	if n < len(b) {
		return n, f.err
	}
	return n, nil
}

// TestWeights parses real files.
func TestWeights(t *testing.T) {
	paths, err := filepath.Glob("../../../shared/weights/*.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip("no real weights in ../shared/weights beside the repository")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			h, err := Parse(f, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			if len(h.Tensors) == 0 {
				t.Error("no tensors")
			}
			checkTiles(t, h, info.Size())
		})
	}
}

// checkTiles fails unless the tensors, in order, cover [h.Size, size) and have
// the length that their type and shape give.
func checkTiles(t *testing.T, h *Header, size int64) {
	t.Helper()
	pos := h.Size
	names := make(map[string]bool)
	for _, x := range h.Tensors {
		if x.Offset != pos {
			t.Fatalf("tensor %q is at %d, want %d", x.Name, x.Offset, pos)
		}
		width, ok := Bits(x.Dtype)
		elements := int64(1)
		for _, d := range x.Shape {
			elements *= d
		}
		if !ok || x.Shape == nil || elements*int64(width) != x.Length*8 {
			t.Fatalf("tensor %q of %s %v has %d bytes", x.Name, x.Dtype, x.Shape, x.Length)
		}
		if names[x.Name] {
			t.Fatalf("tensor %q is there twice", x.Name)
		}
		names[x.Name] = true
		pos += x.Length
	}
	if pos != size {
		t.Fatalf("tensors end at %d, the file at %d", pos, size)
	}
}

func TestIsLFSPointer(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	tests := []struct {
		prefix string
		want   bool
	}{
		{pointer, true},
		{pointer[:42], true},
		{pointer[:41], false},
		{"", false},
		{" " + pointer, false},
		{string(file("{}", 0)), false},
	}
	for _, tt := range tests {
		if got := IsLFSPointer([]byte(tt.prefix)); got != tt.want {
			t.Errorf("IsLFSPointer(%q) = %t", tt.prefix, got)
		}
	}
	_, err := Parse(strings.NewReader(pointer), int64(len(pointer)))
	if _, isRefusal := errors.AsType[*Error](err); !isRefusal {
		t.Errorf("Parse of a pointer: %v, want an *Error", err)
	}
}
