package oci

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// weightsDir holds published weights, which the project does not carry.
const weightsDir = "../../shared/weights"

// TestWeights measures the codec on real weights: encoded over decoded size of
// all tensors of a dtype, at most what is in the table.
func TestWeights(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("real weights take a while")
	}
	if _, err := os.Stat(weightsDir); err != nil {
		t.Skipf("no real weights: %v", err)
	}
	ratios := map[string]float64{}
	for _, tt := range []struct {
		file   string
		dtypes []string // nil: all tensors
		most   float64
	}{
		{"aiwriter-eng-cast-f16", []string{"F16"}, 0.8482},
		{"realcugan-up2x-conservative-f16", []string{"F16", "F32"}, 0.8545},
		{"aiwriter-zh-0408-cast-bf16", nil, 0.6718},
		{"aiwriter-zh-0425-cast-bf16", nil, 0.6718},
		{"aiwriter-eng-f32", nil, 0.8386},
		{"rwkv7-834k-f32-of-bf16", nil, 0.3359},
		{"rwkv7-834k-native-bf16", nil, 0.6619},
		{"rxnmapper-albert-f32", nil, 0.7819},
		{"sdlora-analog-rank4-f16", []string{"F16"}, 0.8515},
		{"silero-vad-v1-int8", []string{"F32"}, 0.8412},
		{"aiwriter-eng-cast-fp8-block128", []string{"F8_E4M3"}, 0.84},
		{"aiwriter-eng-cast-fp8-channel", []string{"F8_E4M3"}, 0.84},
		{"aiwriter-eng-cast-mxfp4", nil, 0.96},
		{"aiwriter-eng-cast-nvfp4", nil, 0.96},
		{"aiwriter-eng-cast-int4", nil, 0.866},
	} {
		t.Run(tt.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(weightsDir, tt.file+".safetensors"))
			if err != nil {
				t.Skip(err)
			}
			dir := modelFiles{"model.safetensors": data}.write(t)
			ref, _ := pushLayout(t, dir, nil)
			sameFiles(t, dir, pullNew(t, ref, &PullOptions{Verify: true}))
			r := report(t, ref)
			var encoded, decoded int64
			for _, x := range r.Tensors {
				if tt.dtypes == nil || slices.Contains(tt.dtypes, x.Dtype) {
					encoded += x.Encoded
					decoded += x.Decoded
				}
			}
			ratio := float64(encoded) / float64(decoded)
			ratios[tt.file] = ratio
			t.Logf("ratio %.4f, the bound is %.4f; whole artifact %.4f", ratio, tt.most, float64(r.Encoded)/float64(r.Decoded))
			if decoded == 0 || ratio > tt.most {
				t.Errorf("ratio %.4f of %d bytes, want at most %.4f", ratio, decoded, tt.most)
			}
		})
	}
	// F32 that was widened from BF16 takes no more room than the BF16.
	wide, native := ratios["rwkv7-834k-f32-of-bf16"]*2, ratios["rwkv7-834k-native-bf16"]
	if wide > native*1.02 {
		t.Errorf("as F32 the weights take %.4f of their BF16 size, as BF16 %.4f", wide, native)
	}
}
