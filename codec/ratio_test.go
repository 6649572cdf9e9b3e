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
	for _, c := range []struct {
		name  string
		most  float64 // of the decoded size
		parts []data
	}{
		{"BF16", 0.666, []data{{"", BF16, model.BF16(w)}}},
		{"F32", 0.834, []data{{"", F32, model.F32(w)}}},
		{"F16", 0.853, []data{{"", F16, model.F16(w)}}},
		{"FP8", 0.840, []data{{"", F8_E4M3, fp8}, {"", BF16, fp8Scales}}},
		{"MXFP4", 0.960, []data{{"", U8, mx}, {"", U8, mxScales}}},
		{"NVFP4", 0.960, []data{{"", U8, nv}, {"", F8_E4M3, nvScales}}},
	} {
		decoded, encoded := 0, 0
		for _, p := range c.parts {
			decoded += len(p.b)
			encoded += len(encode(t, Default, p.d, p.b))
		}
		ratio := float64(encoded) / float64(decoded)
		t.Logf("%s: %.2f %%", c.name, 100*ratio)
		if ratio > c.most {
			t.Errorf("%s: encoded to %.4f of its size, want at most %.4f", c.name, ratio, c.most)
		}
	}
}
