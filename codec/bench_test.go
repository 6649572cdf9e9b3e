package codec

import (
	"fmt"
	"testing"
)

// benchData is one full chunk of weights of each dtype.
func benchData() (list []data) {
	w := gaussian(1<<20, 1)
	for _, d := range []Dtype{BF16, F16, F32, F8_E4M3, F8_E5M2} {
		list = append(list, data{fmt.Sprintf("dtype=%v", d), d, elements(d, w)})
	}
	return list
}

func BenchmarkDecode(b *testing.B) {
	dec := NewDecoder(&Prologue{tables: &Tables{}})
	for _, c := range benchData() {
		b.Run(c.name+"/level=default/impl=go", func(b *testing.B) {
			chunk, dst := encode(b, Default, c.d, c.b), make([]byte, len(c.b))
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if err := dec.Decode(dst, chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	enc := NewEncoder(Default)
	var buf []byte
	for _, c := range benchData() {
		b.Run(c.name+"/level=default/impl=go", func(b *testing.B) {
			b.SetBytes(int64(len(c.b)))
			for b.Loop() {
				var err error
				if buf, err = enc.Encode(buf[:0], c.d, c.b); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCopy is what the others are measured against.
func BenchmarkCopy(b *testing.B) {
	src, dst := make([]byte, 256<<20), make([]byte, 256<<20)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		copy(dst, src)
	}
}
