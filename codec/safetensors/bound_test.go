package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
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

// TestParseBoundsAllocation gives length fields that promise much: what they
// promise is neither allocated nor read.
func TestParseBoundsAllocation(t *testing.T) {
	for _, n := range []uint64{100_000_000, 100_000_001, 1 << 40, 1 << 63, math.MaxUint64} {
		z := &zeros{start: lengthField(n, "{")}
		var err error
		got := allocated(func() { _, err = Parse(z, 1<<50) })
		if _, isRefusal := errors.AsType[*Error](err); !isRefusal {
			t.Errorf("length %d: %v, want an *Error", n, err)
		}
		if got > 64<<10 || z.read > 64<<10 {
			t.Errorf("length %d: allocates %d bytes and reads %d", n, got, z.read)
		}
	}
}

// million returns a file of a million tensors without bytes, their names in an
// order that has nothing to do with sorting.
func million() []byte {
	return tooMany(1_000_000, func(i int) string {
		return fmt.Sprintf(`"model.t%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, uint32(i)*2654435761)
	})
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

func BenchmarkParse(b *testing.B) {
	many := million()
	for _, bb := range []struct {
		name string
		file []byte
	}{
		{"tensors=1000000", many},
		{"tensors=291", modelFile(b)},
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

// modelFile returns a file with the names of a 32-block transformer.
func modelFile(tb testing.TB) []byte {
	var tensors []Tensor
	add := func(name string) {
		tensors = append(tensors, Tensor{Name: name, Dtype: "BF16", Shape: []int64{2, 2}})
	}
	for i := range 32 {
		for _, s := range strings.Fields("input_layernorm mlp.down_proj mlp.gate_proj mlp.up_proj post_attention_layernorm self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj") {
			add(fmt.Sprintf("model.layers.%d.%s.weight", i, s))
		}
	}
	add("lm_head.weight")
	add("model.embed_tokens.weight")
	add("model.norm.weight")
	var buf bytes.Buffer
	if _, err := WriteHeader(&buf, tensors, map[string]string{"format": "pt"}); err != nil {
		tb.Fatal(err)
	}
	return append(buf.Bytes(), make([]byte, 8*len(tensors))...)
}
