package main

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// TestBenchJSON holds the document of bench --json, which is a contract: an array
// of objects with these fields, one for each dtype, level and implementation.
func TestBenchJSON(t *testing.T) {
	dir := t.TempDir()
	if err := model.Generate(dir, model.Options{Layers: 1, Hidden: 64, Dtype: model.DtypeFP8}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files:", err)
	}
	out, err := exec.Command("oras-bsm", "bench", "--json", "-q", "--level", "default", "--impl", "all", files[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Dtype   string  `json:"dtype"`
		Level   string  `json:"level"`
		Impl    string  `json:"impl"`
		Encode  float64 `json:"encode_gbps"`
		Decode  float64 `json:"decode_gbps"`
		Memcpy  float64 `json:"memcpy_gbps"`
		Ratio   float64 `json:"ratio"`
		Decoded int64   `json:"decoded"`
		Encoded int64   `json:"encoded"`
	}
	var rows []row
	if err := json.Unmarshal(out, &rows, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	impls := map[string][]string{}
	for _, r := range rows {
		impls[r.Dtype] = append(impls[r.Dtype], r.Impl)
		if r.Level != "default" || min(r.Encode, r.Decode, r.Memcpy) <= 0 || r.Encoded <= 0 || r.Ratio != float64(r.Encoded)/float64(r.Decoded) {
			t.Errorf("%+v", r)
		}
	}
	for _, d := range []string{"bytes", "BF16", "F8_E4M3"} {
		if diff := cmp.Diff(codec.Implementations(), impls[d]); diff != "" {
			t.Errorf("implementations measured with %s (-want +got):\n%s", d, diff)
		}
		delete(impls, d)
	}
	if len(impls) > 0 {
		t.Errorf("dtypes nobody stored: %v", impls)
	}
	var fields []map[string]any
	if err := json.Unmarshal(out, &fields); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		if len(f) != reflect.TypeFor[row]().NumField() {
			t.Errorf("fields %v", f)
		}
	}
}
