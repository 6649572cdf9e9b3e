package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
goarch: amd64
pkg: github.com/oras-bsm/oras-bsm/codec
cpu: Some CPU: fast
BenchmarkEncode/dtype=bf16/level=default/impl=avx2-16         	      13	  25616836 ns/op	 654.93 MB/s	 0.6549 GB/cpu-s	         0.6611 ratio	         0.04870 xmemcpy	         0.4920 xsha256
BenchmarkEncode/dtype=bf16/level=max/impl=go 	      13	  25616836 ns/op	 54.93 MB/s	 0.05493 GB/cpu-s	         0.6600 ratio	         0.00870 xmemcpy	         0.4920 xsha256
BenchmarkDecode/dtype=bf16/level=default/impl=avx2-16         	      48	   4933637 ns/op	3400.58 MB/s	 3.401 GB/cpu-s	         0.6611 ratio	         0.2104 xmemcpy	         2.009 xsha256
BenchmarkReader/dtype=bf16/level=default/impl=avx2-16         	      40	   7597036 ns/op	2208.39 MB/s	 2.208 GB/cpu-s	         0.6611 ratio	         0.1515 xmemcpy	         1.247 xsha256
BenchmarkCopy/impl=go-16                                      	      13	  35251041 ns/op	7614.97 MB/s
PASS
ok  	github.com/oras-bsm/oras-bsm/codec	26.150s
`

const table = `
Some CPU: fast, linux/amd64
| dtype | level | impl | ratio | encode GB/s | decode GB/s | Reader GB/s | encode xmemcpy | decode xmemcpy | Reader xmemcpy |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|
| bf16 | default | avx2 | 0.6611 | 0.65 | 3.40 | 2.21 | 0.049 | 0.210 | 0.151 |
| bf16 | max | go | 0.6600 | 0.05 | - | - | 0.009 | - | - |
`

func TestTable(t *testing.T) {
	var got strings.Builder
	if err := run(strings.NewReader(output), &got, ""); err != nil {
		t.Fatal(err)
	}
	if want := output + table; got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestTableRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":        "",
		"no codec":       "BenchmarkCopy-2 \t 1 \t 5 ns/op\n",
		"a failure":      output + "--- FAIL: BenchmarkReader\n",
		"a build":        output + "FAIL\tgithub.com/oras-bsm/oras-bsm/codec [build failed]\n",
		"no number":      "BenchmarkDecode/dtype=bf16/level=max/impl=go 1 many GB/cpu-s\n",
		"half a name":    "BenchmarkDecode/dtype=bf16/impl=go 1 1 MB/s\n",
		"without values": "BenchmarkDecode/dtype=bf16/level=max/impl=go\n",
	} {
		var out strings.Builder
		if err := run(strings.NewReader(in), &out, ""); err == nil {
			t.Errorf("%s: a table was made:\n%s", name, out.String())
		}
	}
}
