package oci

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oras-bsm/oras-bsm/codec"
)

// weightsDir holds published weights, which the project does not carry.
const weightsDir = "../../shared/weights"

// TestWeights measures the codec on real weights: encoded over decoded size of
// all tensors of a dtype, at most what is in the table.
func TestWeights(t *testing.T) {
	t.Parallel()
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
		// The most that the tensors may take, by level.
		standard, max float64
	}{
		{"aiwriter-eng-cast-f16", []string{"F16"}, 0.8485, 0.8422},
		{"realcugan-up2x-conservative-f16", []string{"F16", "F32"}, 0.8535, 0.8511},
		{"aiwriter-zh-0408-cast-bf16", nil, 0.6640, 0.6560},
		{"aiwriter-zh-0425-cast-bf16", nil, 0.6640, 0.6560},
		{"aiwriter-eng-f32", nil, 0.8305, 0.8280},
		{"rwkv7-834k-f32-of-bf16", nil, 0.3270, 0.3270},
		{"rwkv7-834k-native-bf16", nil, 0.6540, 0.6540},
		{"rxnmapper-albert-f32", nil, 0.7600, 0.7580},
		{"sdlora-analog-rank4-f16", []string{"F16"}, 0.8448, 0.8448},
		{"silero-vad-v1-int8", []string{"F32"}, 0.8315, 0.8312},
		{"aiwriter-eng-cast-fp8-block128", []string{"F8_E4M3"}, 0.8260, 0.8140},
		{"aiwriter-eng-cast-fp8-channel", []string{"F8_E4M3"}, 0.8230, 0.8140},
		{"aiwriter-eng-cast-mxfp4", nil, 0.9340, 0.9340},
		{"aiwriter-eng-cast-nvfp4", nil, 0.9350, 0.9350},
		{"aiwriter-eng-cast-int4", nil, 0.8450, 0.8450},
	} {
		t.Run(tt.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(weightsDir, tt.file+".safetensors"))
			if err != nil {
				t.Skip(err)
			}
			dir := modelFiles{"model.safetensors": data}.write(t)
			for level, most := range map[codec.Level]float64{codec.Default: tt.standard, codec.Max: tt.max} {
				ref, _ := pushLayout(t, dir, &PushOptions{Level: level})
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
				if level == codec.Default {
					ratios[tt.file] = ratio
				}
				t.Logf("%v: ratio %.4f, the bound is %.4f; whole artifact %.4f", level, ratio, most, float64(r.Encoded)/float64(r.Decoded))
				if decoded == 0 || ratio > most {
					t.Errorf("%v: ratio %.4f of %d bytes, want at most %.4f", level, ratio, decoded, most)
				}
			}
		})
	}
	// F32 that was widened from BF16 takes no more room than the BF16.
	wide, native := ratios["rwkv7-834k-f32-of-bf16"]*2, ratios["rwkv7-834k-native-bf16"]
	if wide > native*1.02 {
		t.Errorf("as F32 the weights take %.4f of their BF16 size, as BF16 %.4f", wide, native)
	}
}
