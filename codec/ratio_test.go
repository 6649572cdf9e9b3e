package codec

import (
	"testing"

	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// TestRatio holds the ratios on realistic weights: rows of different scale, a
// few strong columns, heavy tails.
func TestRatio(t *testing.T) {
	const rows, cols = 512, 2048 // a full chunk
	w := model.Matrix(rows, cols, 20260101)
	fp8, fp8Scales := model.FP8(w, cols)
	mx, mxScales := model.MXFP4(w, cols)
	nv, nvScales := model.NVFP4(w, cols, 1.0/2688)
	tensor, tensorScale := model.FP8Tensor(w)
	block, blockScales := model.FP8Blocks(w, cols)
	for _, c := range []struct {
		name string
		// The most that the chunks may take of the decoded size, by level.
		standard, max float64
		parts         []data
	}{
		{"BF16", 0.6635, 0.6590, []data{{"", BF16, model.BF16(w)}}},
		{"F32", 0.832, 0.830, []data{{"", F32, model.F32(w)}}},
		{"F16", 0.849, 0.846, []data{{"", F16, model.F16(w)}}},
		{"FP8, a scale per tensor", 0.830, 0.825, []data{{"", F8_E4M3, tensor}, {"", F32, tensorScale}}},
		{"FP8, a scale per row", 0.830, 0.825, []data{{"", F8_E4M3, fp8}, {"", BF16, fp8Scales}}},
		{"FP8, a scale per 128x128", 0.840, 0.835, []data{{"", F8_E4M3, block}, {"", F32, blockScales}}},
		{"MXFP4", 0.940, 0.940, []data{{"", U8, mx}, {"", U8, mxScales}}},
		{"NVFP4", 0.950, 0.950, []data{{"", U8, nv}, {"", F8_E4M3, nvScales}}},
	} {
		for level, most := range []float64{Default: c.standard, Max: c.max} {
			decoded, encoded := 0, 0
			for _, p := range c.parts {
				decoded += len(p.b)
				chunk, err := NewEncoder(Level(level)).Encode(nil, p.d, p.b, Geometry{Cols: cols})
				if err != nil {
					t.Fatal(err)
				}
				encoded += len(chunk)
			}
			ratio := float64(encoded) / float64(decoded)
			t.Logf("%s, %v: %.2f %%", c.name, Level(level), 100*ratio)
			if ratio > most {
				t.Errorf("%s, %v: encoded to %.4f of its size, want at most %.4f", c.name, Level(level), ratio, most)
			}
		}
	}
}
