package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// str returns a string as the format has it.
func str(s string) []byte { return append(u64(uint64(len(s))), s...) }

// key returns a key of a type, followed by the parts of its value.
func key(name string, typ uint32, value ...[]byte) []byte {
	return slices.Concat(str(name), u32(typ), slices.Concat(value...))
}

// info returns the description of a tensor. The dimensions are in the order of
// the file, the fastest first.
func info(name string, typ uint32, offset uint64, dims ...uint64) []byte {
	b := append(str(name), u32(uint32(len(dims)))...)
	for _, d := range dims {
		b = append(b, u64(d)...)
	}
	return slices.Concat(b, u32(typ), u64(offset))
}

// raw returns a header as it is told, right or wrong.
func raw(version uint32, tensors, keys uint64, parts ...[]byte) []byte {
	return slices.Concat([]byte(Magic), u32(version), u64(tensors), u64(keys), slices.Concat(parts...))
}

type list [][]byte

// header returns a header of version 3, without padding.
func header(keys, infos list) []byte {
	return raw(3, uint64(len(infos)), uint64(len(keys)), slices.Concat(keys...), slices.Concat(infos...))
}

// file returns a file aligned to 32, with so many bytes of data.
func file(keys, infos list, data int) []byte {
	b := header(keys, infos)
	b = append(b, make([]byte, -len(b)&31)...)
	return append(b, make([]byte, data)...)
}

// one returns a file with one tensor.
func one(typ uint32, offset uint64, data int, dims ...uint64) []byte {
	return file(nil, list{info("t", typ, offset, dims...)}, data)
}

func TestParseAccepts(t *testing.T) {
	vocabulary := list{
		key("tokenizer.ggml.model", typeString, str("gpt2")),
		key("tokenizer.ggml.tokens", typeArray, u32(typeString), u64(3), str("<s>"), str(""), str("\xff not UTF-8")),
		key("tokenizer.ggml.scores", typeArray, u32(6), u64(3), make([]byte, 12)),
		key("empty", typeArray, u32(typeString), u64(0)),
		key("empty.too", typeArray, u32(0), u64(0)),
	}
	every := list{}
	for typ, w := range widths {
		if w > 0 {
			every = append(every, key(fmt.Sprintf("x.%d", typ), uint32(typ), make([]byte, w)))
		}
	}
	aligned := func(n uint32) list { return list{key("general.alignment", typeUint32, u32(n))} }
	tests := []struct {
		name  string
		file  []byte
		want  []Tensor // with offsets in the data
		align int64
		arch  string
	}{
		{name: "no tensors, no keys", file: raw(3, 0, 0)},
		{name: "version 2", file: raw(2, 0, 0)},
		{name: "no tensors, padded", file: file(nil, nil, 0)},
		{name: "no tensors, bytes after the header", file: file(nil, nil, 100)},
		{name: "keys of every type", file: file(every, nil, 0)},
		{name: "vocabulary", file: file(vocabulary, nil, 0)},
		{name: "architecture", file: file(list{key("general.architecture", typeString, str("llama"))}, nil, 0), arch: "llama"},
		{name: "name of a key in use", file: file(list{key("general.Architecture", 0, []byte{1}), key("general.alignment.x", 0, []byte{3})}, nil, 0)},
		{name: "block_count of another type", file: file(list{key("llama.block_count", typeString, str("0"))}, nil, 0)},
		{name: "scalar in one dimension", file: one(0, 0, 4, 1), want: []Tensor{{"t", "F32", 0, []int64{1}, 0, 4}}},
		{name: "order of dimensions", file: one(1, 0, 48, 2, 3, 4, 1), want: []Tensor{{"t", "F16", 1, []int64{1, 4, 3, 2}, 0, 48}}},
		{name: "blocks in a row", file: one(12, 0, 6*144, 512, 3), want: []Tensor{{"t", "Q4_K", 12, []int64{3, 512}, 0, 6 * 144}}},
		{name: "bytes after the last", file: one(0, 0, 4+28, 1), want: []Tensor{{"t", "F32", 0, []int64{1}, 0, 4}}},
		{name: "empty name", file: file(nil, list{info("", 0, 0, 1)}, 4), want: []Tensor{{"", "F32", 0, []int64{1}, 0, 4}}},
		{
			name: "padding between", file: file(nil, list{info("a", 0, 0, 3), info("b", 30, 32, 1)}, 34),
			want: []Tensor{{"a", "F32", 0, []int64{3}, 0, 12}, {"b", "BF16", 30, []int64{1}, 32, 2}},
		},
		{
			name: "not in the order of the data, a gap first", file: file(nil, list{info("a", 24, 96, 1), info("b", 8, 32, 32)}, 97),
			want: []Tensor{{"b", "Q8_0", 8, []int64{32}, 32, 34}, {"a", "I8", 24, []int64{1}, 96, 1}},
		},
		{
			name: "zero size", file: file(nil, list{info("a", 0, 0, 8), info("y", 0, 32, 0, 7), info("z", 2, 0, 32, 0), info("u", 99, 32, 0)}, 32),
			want: []Tensor{{"z", "Q4_0", 2, []int64{0, 32}, 0, 0}, {"a", "F32", 0, []int64{8}, 0, 32}, {"y", "F32", 0, []int64{7, 0}, 32, 0}, {"u", "", 99, []int64{0}, 32, 0}},
		},
		{name: "31 alignment of 8", file: file(aligned(8), list{info("a", 24, 0, 1), info("b", 24, 8, 1)}, 9), align: 8, want: []Tensor{{"a", "I8", 24, []int64{1}, 0, 1}, {"b", "I8", 24, []int64{1}, 8, 1}}},
		{name: "32 unknown type", file: one(99, 0, 77, 5, 5), want: []Tensor{{"t", "", 99, []int64{5, 5}, 0, 77}}},
		{name: "32 negative type", file: one(math.MaxUint32, 0, 7, 1), want: []Tensor{{"t", "", math.MaxUint32, []int64{1}, 0, 7}}},
		{
			name: "32 unknown types before others", file: file(nil, list{info("a", 99, 0, 1), info("b", 0, 64, 1), info("c", 98, 96, 1)}, 100),
			want: []Tensor{{"a", "", 99, []int64{1}, 0, 64}, {"b", "F32", 0, []int64{1}, 64, 4}, {"c", "", 98, []int64{1}, 96, 4}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(bytes.NewReader(tt.file), int64(len(tt.file)))
			if err != nil {
				t.Fatal(err)
			}
			want := &Header{Version: 3, Alignment: 32, Architecture: tt.arch, Size: got.Size, Tensors: tt.want}
			if tt.name == "version 2" {
				want.Version = 2
			}
			if tt.align != 0 {
				want.Alignment = tt.align
			}
			for i := range want.Tensors {
				want.Tensors[i].Offset += got.Size
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			checkTiles(t, got, int64(len(tt.file)))
		})
	}
}

// TestRemovedTypes are 35 of the matrix, and CVE-2024-8063: of these types the
// reference's table has blocks of 0 elements, by which nobody may divide.
func TestRemovedTypes(t *testing.T) {
	for _, id := range []uint32{4, 5, 31, 32, 33, 36, 37, 38} {
		b := one(id, 0, 18, 32)
		h, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%d: %v", id, err)
			continue
		}
		want := []Tensor{{"t", "", id, []int64{32}, h.Size, 18}}
		if d := cmp.Diff(want, h.Tensors); d != "" {
			t.Errorf("%d: -want +got:\n%s", id, d)
		}
	}
}

// TestParseRefuses has at least one row for each malformed file of test matrix
// B, and for each published flaw of another reader; what is before the name is
// the number in the matrix, or of the flaw. Offset -1 in a row stands for any
// offset in the file.
func TestParseRefuses(t *testing.T) {
	const most = math.MaxUint64
	alignment := func(n uint32) []byte {
		return file(list{key("general.alignment", typeUint32, u32(n))}, list{info("t", 24, 0, 1)}, 1)
	}
	array := func(typ uint32, n uint64, rest ...[]byte) []byte {
		return file(list{key("a", typeArray, u32(typ), u64(n), slices.Concat(rest...))}, nil, 0)
	}
	dims := func(n uint32, rest int) []byte {
		return raw(3, 1, 0, str("t"), u32(n), make([]byte, rest))
	}
	two := func(a, b []byte, data int) []byte { return file(nil, list{a, b}, data) }
	tests := []struct {
		name        string
		file        []byte
		key, tensor string
		offset      int64
		reason      string
	}{
		{"27 empty file", nil, "", "", 0, "header ends beyond the file of 0 bytes"},
		{"27 three bytes", []byte("GGU"), "", "", 0, "header ends beyond the file of 3 bytes"},
		{"27 bad magic", []byte("GGML" + strings.Repeat("\x03\x00\x00\x00", 9)), "", "", 0, "does not start with GGUF"},
		{"27 magic of big-endian words", []byte("FUGG" + strings.Repeat("\x03\x00\x00\x00", 9)), "", "", 0, "does not start with GGUF"},
		{"27 magic in lower case", []byte("gguf" + strings.Repeat("\x03\x00\x00\x00", 9)), "", "", 0, "does not start with GGUF"},
		{"27 version 0", raw(0, 0, 0), "", "", 4, "version 0, not 2 or 3"},
		{"27 version 1", raw(1, 0, 0), "", "", 4, "version 1, not 2 or 3"},
		{"27 version 4", raw(4, 0, 0), "", "", 4, "version 4, not 2 or 3"},
		{"27 version 99", raw(99, 0, 0), "", "", 4, "version 99, not 2 or 3"},
		{"27 big-endian version 3", raw(3<<24, 0, 0), "", "", 4, "version 3 for big-endian machines"},
		{"27 big-endian version 2", raw(2<<24, 0, 0), "", "", 4, "version 2 for big-endian machines"},
		{"CVE-2024-39720 magic alone", []byte(Magic), "", "", 4, "header ends beyond the file of 4 bytes"},
		{"CVE-2024-39720 version alone", raw(3, 0, 0)[:8], "", "", 8, "header ends beyond the file of 8 bytes"},
		{"CVE-2024-39720 half of the counts", raw(3, 0, 0)[:20], "", "", 16, "header ends beyond the file of 20 bytes"},

		{"28 n_tensors=2^63", raw(3, 1<<63, 0), "", "", 8, "9223372036854775808 tensors, more than 1048576"},
		{"28 n_tensors=2^64-1", raw(3, most, 0), "", "", 8, "more than 1048576"},
		{"28 n_tensors beyond the file", raw(3, 2, 0, make([]byte, 40)), "", "", 8, "the last of 2 tensors ends beyond the file of 64 bytes"},
		{"28 n_kv=2^63", raw(3, 0, 1<<63), "", "", 16, "9223372036854775808 keys, more than 65536"},
		{"28 n_kv=2^64-1", raw(3, 0, most), "", "", 16, "more than 65536"},
		{"28 n_kv beyond the file", raw(3, 0, 3, make([]byte, 40)), "", "", 16, "the last of 3 keys ends beyond the file of 64 bytes"},
		{"CVE-2026-27940 n_tensors times the reader's overhead overflows", raw(3, most/368+1, 0, make([]byte, 4096)), "", "", 8, "more than 1048576"},
		{"CVE-2025-0315 a million keys in a small file", raw(3, 0, 65536, make([]byte, 4096)), "", "", 16, "beyond the file"},

		{"29 key longer than the file", raw(3, 0, 1, u64(60000), make([]byte, 40)), "", "", 24, "key of 60000 ends beyond the file of 72 bytes"},
		{"29 key of 2^64-1", raw(3, 0, 1, u64(most), make([]byte, 40)), "", "", 24, "more than 65535"},
		{"29 value longer than the file", file(list{key("a", typeString, u64(1000))}, nil, 0), "a", "", 37, "string of 1000 ends beyond the file of 64 bytes"},
		{"29 value of 2^63", file(list{key("a", typeString, u64(1<<63))}, nil, 0), "a", "", 37, "beyond the file"},
		{"29 architecture longer than the file", file(list{key("general.architecture", typeString, u64(200))}, nil, 0), "general.architecture", "", -1, "beyond the file"},
		{"29 architecture too long", file(list{key("general.architecture", typeString, str(strings.Repeat("x", maxArchitecture+1)))}, nil, 0), "general.architecture", "", -1, "more than 256"},
		{"29 name longer than the file", raw(3, 1, 0, u64(1000), make([]byte, 40)), "", "", 24, "name of 1000 ends beyond the file"},
		{"29 name of 2^63", raw(3, 1, 0, u64(1<<63), make([]byte, 40)), "", "", 24, "more than 65535"},
		{"29 name too long", file(nil, list{info(strings.Repeat("n", maxNameLength+1), 0, 0, 1)}, 4), "", "", 24, "more than 65535"},
		{"CVE-2024-12055 string that ends at the end of the file", raw(3, 0, 1, str("abc"))[:35], "", "", 16, "beyond the file"},
		{"CVE-2024-12055 value without bytes", raw(3, 0, 1, key("abc", 10)), "abc", "", -1, "value of 8 ends beyond the file"},
		{"CVE-2024-12055 type without bytes", raw(3, 0, 1, str("abcdefg")), "abcdefg", "", 39, "header ends beyond the file"},

		{"30 array of arrays", array(typeArray, 1, u32(0), u64(0)), "a", "", 37, "array holds values of type 9"},
		{"30 arrays nested 1,000 deep", file(list{key("a", typeArray, bytes.Repeat(slices.Concat(u32(typeArray), u64(1)), 1000))}, nil, 0), "a", "", 37, "array holds values of type 9"},
		{"30 array of an unknown type", array(13, 1), "a", "", 37, "array holds values of type 13"},
		{"30 array of a negative type", array(math.MaxUint32, 1), "a", "", 37, "array holds values of type 4294967295"},
		{"30 count x 8 overflows to 0", array(10, 1<<61), "a", "", 41, "array of 2305843009213693952 ends beyond the file"},
		{"30 count x 8 overflows to 8", array(12, 1<<61+1), "a", "", 41, "beyond the file"},
		{"30 count x 4 overflows", array(6, 1<<62), "a", "", 41, "beyond the file"},
		{"30 count of bytes 2^64-1", array(0, most), "a", "", 41, "beyond the file"},
		{"30 count of strings 2^61", array(typeString, 1<<61), "a", "", 41, "beyond the file"},
		{"30 count of strings beyond the file", array(typeString, 3, make([]byte, 8)), "a", "", 41, "beyond the file"},
		{"30 string of an array beyond the file", array(typeString, 2, str("ok"), u64(1000)), "a", "", 59, "string of 1000 ends beyond the file"},
		{"30 value of an unknown type", file(list{key("a", 13, make([]byte, 8))}, nil, 0), "a", "", 33, "value is of unknown type 13"},
		{"30 value of a negative type", file(list{key("a", math.MaxUint32, make([]byte, 8))}, nil, 0), "a", "", 33, "value is of unknown type 4294967295"},
		{"CVE-2025-0315 array of 2^40 strings", array(typeString, 1<<40, make([]byte, 100)), "a", "", 41, "beyond the file"},

		{"31 alignment 0", alignment(0), "general.alignment", "", 53, "alignment 0 is no power of two"},
		{"31 alignment 3", alignment(3), "general.alignment", "", 53, "alignment 3 is no power of two"},
		{"31 alignment 4", alignment(4), "general.alignment", "", 53, "from 8"},
		{"31 alignment 48", alignment(48), "general.alignment", "", 53, "alignment 48 is no power of two"},
		{"31 alignment 2^31", alignment(1 << 31), "general.alignment", "", 53, "to 1048576"},
		{"31 alignment 2^32-1", alignment(math.MaxUint32), "general.alignment", "", 53, "no power of two"},
		{"31 alignment of 64 bits", file(list{key("general.alignment", 10, u64(32))}, nil, 0), "general.alignment", "", 49, "value is of type 10, not 4"},
		{"31 alignment is a string", file(list{key("general.alignment", typeString, str("32"))}, nil, 0), "general.alignment", "", 49, "value is of type 8, not 4"},
		{"31 architecture is a number", file(list{key("general.architecture", typeUint32, u32(1))}, nil, 0), "general.architecture", "", 52, "value is of type 4, not 8"},
		{"31 padding beyond the file", header(nil, list{info("t", 0, 0, 0)}), "", "", 57, "ends before its data begin"},
		{"CVE-2025-0317 alignment 0 without tensors", file(list{key("general.alignment", typeUint32, u32(0))}, nil, 0), "general.alignment", "", 53, "alignment 0"},

		{"33 duplicate key", file(list{key("a", 0, []byte{1}), key("b", 0, []byte{1}), key("a", 0, []byte{2})}, nil, 0), "a", "", 52, "duplicate key"},
		{"33 duplicate alignment", file(list{key("general.alignment", typeUint32, u32(32)), key("general.alignment", typeUint32, u32(64))}, nil, 0), "general.alignment", "", -1, "duplicate key"},
		{"33 empty key", file(list{key("", 0, []byte{1})}, nil, 0), "", "", 24, "empty key"},
		{"33 key not ASCII", file(list{key("é", 0, []byte{1})}, nil, 0), "é", "", 24, "key is not ASCII"},
		{"33 key not UTF-8", file(list{key("\xff", 0, []byte{1})}, nil, 0), "", "", 24, "key is not UTF-8"},
		{"33 duplicate name", two(info("w", 0, 0, 8), info("w", 0, 32, 8), 64), "", "w", -1, "duplicate name"},
		{"33 duplicate long name", two(info(strings.Repeat("w", 5000), 0, 0, 8), info(strings.Repeat("w", 5000), 0, 32, 8), 64), "", strings.Repeat("w", 5000), -1, `www"...: duplicate name`},
		{"33 name not UTF-8", file(nil, list{info("\xc3", 0, 0, 8)}, 32), "", "", 24, "name is not UTF-8"},
		{"33 architecture not UTF-8", file(list{key("general.architecture", typeString, str("\xff"))}, nil, 0), "general.architecture", "", -1, "value is not UTF-8"},

		{"34 offset misaligned", one(0, 16, 64, 1), "", "t", 49, "offset 16 is no multiple of the alignment 32"},
		{"34 offset past the end", one(0, 64, 32, 1), "", "t", 96, "begin beyond the file of 96 bytes"},
		{"34 offset far past the end", one(0, 1<<40, 32, 1), "", "t", 49, "offset 1099511627776 is beyond the file of 96 bytes"},
		{"34 offset of 2^63", one(0, 1<<63, 32, 1), "", "t", 49, "is beyond the file"},
		{"34 offset of 2^64-32", one(0, most-31, 32, 1), "", "t", 49, "is beyond the file"},
		{"34 no bytes at the end", one(0, 32, 32, 1), "", "t", 96, "4 bytes of data end beyond the file"},
		{"34 unknown type without bytes", one(99, 32, 32, 1), "", "t", 96, "no bytes are left"},
		{"34 last byte missing", one(0, 0, 31, 8), "", "t", 64, "32 bytes of data end beyond the file of 95 bytes"},
		{"34 overlap", two(info("a", 0, 0, 9), info("b", 0, 32, 1), 64), "", "b", -1, `data overlap those of tensor "a"`},
		{"34 same bytes twice", two(info("a", 0, 0, 8), info("b", 0, 0, 8), 32), "", "b", -1, `data overlap those of tensor "a"`},
		{"34 same bytes, one of unknown type", two(info("a", 99, 0, 8), info("b", 0, 0, 8), 64), "", "a", -1, `data overlap those of tensor "b"`},
		{"34 same bytes, both of unknown type", two(info("a", 99, 0, 8), info("b", 99, 0, 8), 64), "", "a", -1, "no bytes are left"},
		{"34 zero size within another", two(info("a", 0, 0, 16), info("b", 0, 32, 0), 64), "", "b", -1, `data overlap those of tensor "a"`},
		{"CVE-2025-53630 sizes that overflow in sum", two(info("a", 24, 0, 1<<63-32), info("b", 24, 32, 1<<63-32), 64), "", "a", -1, "9223372036854775776 bytes of data end beyond the file"},
		{"CVE-2025-53630 size that overflows when padded", one(24, 0, 64, math.MaxInt64-1), "", "t", 64, "end beyond the file"},
		{"CVE-2026-7482 more elements than the file has", one(8, 0, 34, 32, 1<<20), "", "t", 96, "35651584 bytes of data end beyond the file"},

		{"35 half a block in a row", one(2, 0, 18, 16, 2), "", "t", 45, "rows of 16 elements are no whole blocks of 32, which Q4_0 has"},
		{"35 half a block", one(14, 0, 210, 128), "", "t", 37, "no whole blocks of 256"},
		{"35 row of no block", one(39, 0, 32, 1, 32), "", "t", 45, "rows of 1 elements"},
		{"CVE-2026-33298 product overflows", one(0, 0, 64, 1<<32, 1<<32), "", "t", -1, "number of elements overflows"},
		{"CVE-2026-33298 product overflows to the right size", one(24, 0, 64, 1<<63-1, 2, 2), "", "t", -1, "overflows"},
		{"CVE-2026-33298 product overflows before a zero", one(24, 0, 64, 0, 1<<32, 1<<32), "", "t", -1, "overflows"},
		{"CVE-2026-33298 product overflows, unknown type", one(99, 0, 64, 1<<62, 2), "", "t", -1, "overflows"},
		{"CVE-2026-33298 bytes overflow", one(28, 0, 64, 1<<61), "", "t", 37, "size in bytes overflows"},
		{"CVE-2026-33298 bytes of blocks almost overflow", one(8, 0, 64, 1<<62), "", "t", 64, "4899916394579099648 bytes of data end beyond"},
		{"CVE-2026-33298 dimension of 2^63", one(24, 0, 64, 1<<63), "", "t", 37, "dimension 9223372036854775808 is above"},
		{"CVE-2026-33298 dimension of -1", one(24, 0, 64, most), "", "t", 37, "is above 2^63-1"},

		{"36 n_dims 0", one(0, 0, 4), "", "t", 33, "0 dimensions, not 1 to 4"},
		{"36 n_dims 5", one(0, 0, 4, 1, 1, 1, 1, 1), "", "t", 33, "5 dimensions, not 1 to 4"},
		{"36 n_dims 2^32-1", dims(math.MaxUint32, 100), "", "t", 33, "4294967295 dimensions, not 1 to 4"},
		{"36 n_dims beyond the file", dims(4, 28), "", "t", 61, "header ends beyond the file of 65 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := Parse(bytes.NewReader(tt.file), int64(len(tt.file)))
			e, isRefusal := errors.AsType[*Error](err)
			if h != nil || !isRefusal {
				t.Fatalf("got %+v, %v, want an *Error", h, err)
			}
			if e.Key != tt.key || e.Tensor != tt.tensor {
				t.Errorf("key is %q, want %q; tensor is %q, want %q", e.Key, tt.key, e.Tensor, tt.tensor)
			}
			if e.Offset != tt.offset && (tt.offset >= 0 || e.Offset < 24 || e.Offset > int64(len(tt.file))) {
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
	if _, err := Parse(bytes.NewReader(nil), -1); err == nil {
		t.Error("a file of negative size")
	}
}

func TestBlock(t *testing.T) {
	// Each type of gguf-py's constants, as elements and bytes of a block there,
	// but Q8_1: that is 40 there, and 36 in ggml-common.h.
	const qk = 256
	want := map[string][2]int{
		"F32": {1, 4}, "F16": {1, 2}, "BF16": {1, 2}, "F64": {1, 8},
		"I8": {1, 1}, "I16": {1, 2}, "I32": {1, 4}, "I64": {1, 8},
		"Q4_0": {32, 2 + 16}, "Q4_1": {32, 2 + 2 + 16}, "Q5_0": {32, 2 + 4 + 16}, "Q5_1": {32, 2 + 2 + 4 + 16},
		"Q8_0": {32, 2 + 32}, "Q8_1": {32, 2 + 2 + 32},
		"Q2_K": {qk, 2 + 2 + qk/16 + qk/4}, "Q3_K": {qk, 2 + qk/4 + qk/8 + 12}, "Q4_K": {qk, 2 + 2 + qk/2 + 12},
		"Q5_K": {qk, 2 + 2 + qk/2 + qk/8 + 12}, "Q6_K": {qk, 2 + qk/2 + qk/4 + qk/16}, "Q8_K": {qk, 4 + qk + qk/8},
		"IQ2_XXS": {qk, 2 + qk/4}, "IQ2_XS": {qk, 2 + qk/4 + qk/32}, "IQ3_XXS": {qk, 2 + qk/4 + qk/8},
		"IQ1_S": {qk, 2 + qk/8 + qk/16}, "IQ4_NL": {32, 2 + 16}, "IQ3_S": {qk, 2 + qk/4 + qk/8 + qk/32 + 4},
		"IQ2_S": {qk, 2 + qk/4 + qk/16}, "IQ4_XS": {qk, 2 + 2 + qk/2 + qk/64}, "IQ1_M": {qk, qk/8 + qk/16 + qk/32},
		"TQ1_0": {qk, 2 + 4*13}, "TQ2_0": {qk, 2 + 64}, "MXFP4": {32, 1 + 16}, "NVFP4": {64, 4 + 32},
	}
	for name, w := range want {
		size, elements, ok := Block(name)
		if !ok || elements != w[0] || size != w[1] {
			t.Errorf("Block(%q) = %d, %d, %t, want %d, %d", name, size, elements, ok, w[1], w[0])
		}
	}
	known := 0
	for id, typ := range types {
		if typ.name == "" {
			continue
		}
		known++
		b := one(uint32(id), 0, 6*typ.bytes, uint64(2*typ.elements), 3)
		h, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil || h.Tensors[0].Type != typ.name || h.Tensors[0].Length != int64(6*typ.bytes) {
			t.Errorf("Parse of %s: %+v, %v", typ.name, h, err)
		}
	}
	if known != len(want) {
		t.Errorf("%d types known, want %d", known, len(want))
	}
	for _, name := range []string{"", "q4_0", "Q4_2", "Q4_0 ", "F8", "Q4_K_M"} {
		if _, _, ok := Block(name); ok {
			t.Errorf("Block(%q) is known", name)
		}
	}
}

// TestReadError checks that a file that cannot be read is told from a file
// that is refused, wherever the reading stops.
func TestReadError(t *testing.T) {
	keys := list{
		key("general.architecture", typeString, str("llama")),
		key("tokens", typeArray, u32(typeString), u64(300), bytes.Repeat(str("token"), 300)),
		key("scores", typeArray, u32(6), u64(20000), make([]byte, 80000)), // jumped over
		key("last", 0, []byte{1}),
	}
	b := file(keys, list{info("t", 24, 0, 4)}, 4)
	broken := errors.New("medium error")
	whole := len(b) - 4
	for n := 0; n < whole; n += 1 + n/97 {
		_, err := Parse(bytes.NewReader(b[:n]), int64(len(b)))
		if _, isRefusal := errors.AsType[*Error](err); isRefusal || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("shrunk to %d bytes: %v, want io.ErrUnexpectedEOF", n, err)
		}
		_, err = Parse(brokenAt{b[:n], broken}, int64(len(b)))
		if _, isRefusal := errors.AsType[*Error](err); isRefusal || !errors.Is(err, broken) {
			t.Fatalf("broken after %d bytes: %v, want %v", n, err, broken)
		}
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

// checkTiles fails unless the tensors are in order, aligned, apart and inside
// the file, and have the lengths that their types and shapes give.
func checkTiles(t *testing.T, h *Header, size int64) {
	t.Helper()
	pos := h.Size
	names := make(map[string]bool)
	for i, x := range h.Tensors {
		if x.Offset < pos || x.Length < 0 || x.Length > size-x.Offset {
			t.Fatalf("tensor %q is %d bytes at %d, after %d, in a file of %d", x.Name, x.Length, x.Offset, pos, size)
		}
		if (x.Offset-h.Size)%h.Alignment != 0 {
			t.Fatalf("tensor %q is at %d, which is not aligned", x.Name, x.Offset)
		}
		elements := int64(1)
		for _, d := range x.Shape {
			elements *= d
		}
		bytes, per, known := Block(x.Type)
		switch next := size; {
		case len(x.Shape) == 0 || len(x.Shape) > 4 || elements < 0:
			t.Fatalf("tensor %q has shape %v", x.Name, x.Shape)
		case known != (x.Type != ""):
			t.Fatalf("tensor %q has type %q", x.Name, x.Type)
		case known && (x.Shape[len(x.Shape)-1]%int64(per) != 0 || x.Length != elements/int64(per)*int64(bytes)):
			t.Fatalf("tensor %q of %s %v has %d bytes", x.Name, x.Type, x.Shape, x.Length)
		case !known && elements > 0:
			if i+1 < len(h.Tensors) {
				next = h.Tensors[i+1].Offset
			}
			if x.Length == 0 || x.Offset+x.Length != next {
				t.Fatalf("tensor %q of unknown type ends at %d, want %d", x.Name, x.Offset+x.Length, next)
			}
		}
		if names[x.Name] {
			t.Fatalf("tensor %q is there twice", x.Name)
		}
		names[x.Name] = true
		pos = x.Offset + x.Length
	}
}
