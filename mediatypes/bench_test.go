package mediatypes

import "testing"

func benchmarkShapes(b *testing.B, run func(b *testing.B, doc []byte, x *Index, chunks [][]Chunk)) {
	for _, s := range []struct {
		name  string
		shape func() shape
	}{{"model=70B", shape70B}, {"model=800GB-MoE", shapeMoE}} {
		b.Run(s.name, func(b *testing.B) {
			x, chunks := s.shape().build()
			doc := marshal(b, x, chunks)
			b.ReportAllocs()
			b.SetBytes(int64(len(doc)))
			b.ResetTimer()
			run(b, doc, x, chunks)
			b.ReportMetric(float64(len(x.Tensors)), "tensors")
			b.ReportMetric(float64(records(chunks)), "chunks")
			b.ReportMetric(float64(len(doc)), "doc-bytes")
		})
	}
}

func BenchmarkParseIndex(b *testing.B) {
	benchmarkShapes(b, func(b *testing.B, doc []byte, _ *Index, _ [][]Chunk) {
		for b.Loop() {
			if _, err := ParseIndex(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMarshalIndex(b *testing.B) {
	benchmarkShapes(b, func(b *testing.B, _ []byte, x *Index, chunks [][]Chunk) {
		for b.Loop() {
			if _, err := MarshalIndex(x, chunks); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChunkTable parses the tables of all layers.
func BenchmarkChunkTable(b *testing.B) {
	benchmarkShapes(b, func(b *testing.B, doc []byte, _ *Index, _ [][]Chunk) {
		x, err := ParseIndex(doc)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for i := range x.Layers {
				if _, err := x.ChunkTable(i); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
