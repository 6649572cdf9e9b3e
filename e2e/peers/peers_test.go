package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var near = cmpopts.EquateApprox(1e-9, 0)

var allowResult = cmp.AllowUnexported(result{})

func TestParseBench(t *testing.T) {
	for name, tt := range map[string]struct {
		out  string
		want result
	}{
		"zstd 1.5.4 -q": {"bench 1.5.4 : input 8000000 bytes, 1 seconds, 0 KB blocks\n-1      6258080 (1.278) 226.77 MB/s  715.6 MB/s  x.bin\n", result{"", 0.78226, 0.22677, 0.7156}},
		"zstd 1.5.5":    {"\r 1#x.bin  :   8000000 ->   6258080 (x1.278),  226.8 MB/s,  715.6 MB/s\n", result{"", 0.78226, 0.2268, 0.7156}},
		"lz4 1.9.4":     {"\r/-x.bin :   8000000 ->   8025820 (0.997),3668.9 MB/s ,2139.3 MB/s\r|-x.bin :   8000000 ->   8025820 (0.997),4751.5 MB/s ,10265.5 MB/s\r 1#\n", result{"", 1.0032275, 4.7515, 10.2655}},
	} {
		got, err := parseBench([]byte(tt.out), 8_000_000)
		if d := cmp.Diff(tt.want, got, near, allowResult); err != nil || d != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, d)
		}
	}
	if _, err := parseBench([]byte("zstd: no such file\n"), 1); err == nil {
		t.Error("speeds were found where there are none")
	}
}

func TestParseGoBench(t *testing.T) {
	got, err := parseGoBench([]byte(`cpu: AMD EPYC
BenchmarkPeers/peer=zstd-better/op=encode-2          	       5	  65082680 ns/op	 122.92 MB/s	         0.7822 ratio
BenchmarkPeers/peer=zstd-better/op=decode-2          	      21	  14534226 ns/op	 550.42 MB/s	         0.7822 ratio
BenchmarkPeers/peer=huff0/op=encode         	      16	  19287868 ns/op	 414.77 MB/s	         0.6736 ratio
BenchmarkPeers/peer=huff0/op=decode         	      15	  26017260 ns/op	 307.49 MB/s	         0.6736 ratio
PASS
`))
	want := []result{{"zstd-better", 0.7822, 0.12292, 0.55042}, {"huff0", 0.6736, 0.41477, 0.30749}}
	if d := cmp.Diff(want, got, near, allowResult); err != nil || d != "" {
		t.Errorf("error %v (-want +got):\n%s", err, d)
	}
	if _, err := parseGoBench([]byte("--- SKIP: BenchmarkPeers\nPASS\n")); err == nil {
		t.Error("benchmarks were found where there are none")
	}
}

// TestPython runs the scripts with modules that stand in for those of others.
func TestPython(t *testing.T) {
	if err := exec.Command("python3", "-c", "import zlib").Run(); err != nil {
		t.Skip("no python3")
	}
	const zipnn = `
import zlib
class ZipNN:
    def __init__(self, bytearray_dtype, input_format, threads):
        assert (bytearray_dtype, input_format, threads) == ("bfloat16", "byte", 1)
    def compress(self, b): return zlib.compress(b, 1)
    def decompress(self, b): return zlib.decompress(b)
print("a word of greeting")
`
	const bigsmall = `
import zlib
def compress(a, b): open(b, "wb").write(zlib.compress(open(a, "rb").read(), 1))
def decompress(a, b): open(b, "wb").write(zlib.decompress(open(a, "rb").read()))
`
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("zipnn.py", zipnn)
	write("bigsmall.py", bigsmall)
	t.Setenv("PYTHONPATH", dir)
	text := string(bytes.Repeat([]byte("weights "), 10_000))
	d := &data{file: write("model.safetensors", text), raw: write("raw", text), dtype: "BF16"}
	for _, p := range peers {
		if p.name != "ZipNN" && p.name != "BigSmall" {
			continue
		}
		if err := p.find(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := p.run(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || list[0].name != p.name || list[0].ratio <= 0 || list[0].ratio > 0.1 || list[0].compress <= 0 || list[0].decompress <= 0 {
			t.Errorf("%+v", list)
		}
	}
	write("zipnn.py", zipnn+"ZipNN.decompress = lambda self, b: b''\n")
	if _, err := python("ZipNN", zipnnScript)(t.Context(), d); err == nil {
		t.Error("a coder that loses bytes was measured")
	}
}

// TestMissing proves that what is not installed is named, and that what fails has
// a row.
func TestMissing(t *testing.T) {
	if err := program("no-such-program")(t.Context()); err == nil {
		t.Error("a program was found that is not there")
	}
	if err := module("no_such_module")(t.Context()); err == nil {
		t.Error("a module was found that is not there")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "matrix.safetensors")
	if err := writeMatrix(file, 1<<20); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	broken := peer{"broken", nil, builtinBench("false", []string{"-b1"}, nil)}
	if err := measure(t.Context(), &out, []peer{broken}, file, dir); err != nil {
		t.Fatal(err)
	}
	if want := "| matrix, BF16 | broken | failed: false: exit status 1:  | | |\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
