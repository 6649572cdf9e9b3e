package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
)

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// zeros is an endless file of a few bytes and then zeros. It counts what is read.
type zeros struct {
	start []byte
	read  int64
}

func (z *zeros) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(z.start)) {
		copy(b, z.start[off:])
	}
	z.read += int64(len(b))
	return len(b), nil
}

// TestParseBounds gives numbers that promise much in a file that may well hold
// it: what they promise is neither allocated, nor read where it can be jumped
// over, nor beyond the largest header.
func TestParseBounds(t *testing.T) {
	const size = 1 << 50
	tests := []struct {
		name string
		file []byte
		read int64
	}{
		{"CVE-2025-0315 2^63 tensors", raw(3, 1<<63, 0), 1 << 17},
		{"a million tensors", raw(3, maxTensors, 0), 1 << 17}, // the second has the name of the first
		{"65,536 keys", raw(3, 0, maxKeys), 1 << 17},          // the first is empty
		{"string of 2^40", raw(3, 0, 1, key("a", typeString, u64(1<<40))), 1 << 17},
		{"string of 2^64-1", raw(3, 0, 1, key("a", typeString, u64(math.MaxUint64))), 1 << 17},
		{"array of 2^45 numbers", raw(3, 0, 1, key("a", typeArray, u32(12), u64(1<<45))), 1 << 17},
		{"array of 2^45 strings", raw(3, 0, 1, key("a", typeArray, u32(typeString), u64(1<<45))), 1 << 17},
		{"array up to the limit", raw(3, 0, 2, key("a", typeArray, u32(0), u64(maxHeaderSize-100))), 1 << 18},
		{"strings up to the limit", raw(3, 0, 2, key("a", typeArray, u32(typeString), u64(maxHeaderSize/8-16))), maxHeaderSize + 1<<18},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z := &zeros{start: tt.file}
			var err error
			got := allocated(func() { _, err = Parse(z, size) })
			if _, isRefusal := errors.AsType[*Error](err); !isRefusal {
				t.Errorf("%v, want an *Error", err)
			}
			if got > 256<<10 || z.read > tt.read {
				t.Errorf("allocates %d bytes and reads %d: %v", got, z.read, err)
			}
		})
	}
}

// million returns a file of a million tensors without bytes, their names in an
// order that has nothing to do with sorting.
func million() []byte {
	infos := make(list, 1_000_000)
	for i := range infos {
		infos[i] = info(fmt.Sprintf("blk.%x", uint32(i)*2654435761), 0, 0, 0)
	}
	return file(nil, infos, 0)
}

func TestParseMillionTensors(t *testing.T) {
	b := million()
	var h *Header
	var err error
	got := allocated(func() { h, err = Parse(bytes.NewReader(b), int64(len(b))) })
	if err != nil || len(h.Tensors) != 1_000_000 {
		t.Fatalf("%v, %v", h, err)
	}
	if got > 1<<30 {
		t.Errorf("allocates %d bytes in all, want at most 1 GiB", got)
	}
	t.Logf("%d bytes of header, %d bytes allocated in all", len(b), got)
	checkTiles(t, h, int64(len(b)))
}

// TestVocabulary checks that the strings of a vocabulary, which are most of a
// real header, cost no memory.
func TestVocabulary(t *testing.T) {
	const n = 1 << 20
	b := file(list{key("tokenizer.ggml.tokens", typeArray, u32(typeString), u64(n), bytes.Repeat(str("token"), n))}, nil, 0)
	var err error
	got := allocated(func() { _, err = Parse(bytes.NewReader(b), int64(len(b))) })
	if err != nil || got > 256<<10 {
		t.Errorf("%v; %d bytes allocated for a header of %d", err, got, len(b))
	}
}

// modelFile returns a file with the names of a 32-block transformer and a
// vocabulary.
func modelFile() []byte {
	var infos list
	add := func(name string, typ uint32, dims ...uint64) {
		infos = append(infos, info(name, typ, 0, dims...))
	}
	for i := range 32 {
		for _, s := range []string{"attn_norm", "ffn_down", "ffn_gate", "ffn_up", "ffn_norm", "attn_k", "attn_output", "attn_q", "attn_v"} {
			add(fmt.Sprintf("blk.%d.%s.weight", i, s), 12, 0, 256)
		}
	}
	add("token_embd.weight", 14, 256)
	return file(list{
		key("general.architecture", typeString, str("llama")),
		key("tokenizer.ggml.tokens", typeArray, u32(typeString), u64(128256), bytes.Repeat(str("token"), 128256)),
	}, infos, 210)
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct {
		name string
		file []byte
	}{
		{"tensors=1000000", million()},
		{"tensors=289", modelFile()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.file)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(bytes.NewReader(bb.file), int64(len(bb.file))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
