package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// The scripts are given the safetensors file, the tensors alone, and the dtype.
// They print one line of JSON: sizes in bytes, times in seconds. What comes back
// must be what was compressed.

const zipnnScript = `
import json, sys, time
import zipnn
file, raw, dtype = sys.argv[1:]
data = open(raw, "rb").read()
names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
if dtype not in names:
    sys.exit("no " + dtype)
z = zipnn.ZipNN(bytearray_dtype=names[dtype], input_format="byte", threads=1)
best = [1e9, 1e9]
for _ in range(3):
    t0 = time.perf_counter()
    packed = z.compress(bytearray(data))
    t1 = time.perf_counter()
    back = z.decompress(packed)
    t2 = time.perf_counter()
    best = [min(best[0], t1 - t0), min(best[1], t2 - t1)]
    if bytes(back) != data:
        sys.exit("other bytes came back")
print(json.dumps({"decoded": len(data), "encoded": len(packed), "compress": best[0], "decompress": best[1]}))
`

const bigsmallScript = `
import json, os, sys, tempfile, time
import bigsmall
file, raw, dtype = sys.argv[1:]
with tempfile.TemporaryDirectory(dir=os.path.dirname(raw)) as d:
    packed, back = os.path.join(d, "model.bs"), os.path.join(d, "back.safetensors")
    t0 = time.perf_counter()
    bigsmall.compress(file, packed)
    t1 = time.perf_counter()
    bigsmall.decompress(packed, back)
    t2 = time.perf_counter()
    encoded = os.path.getsize(packed)
print(json.dumps({"decoded": os.path.getsize(file), "encoded": encoded, "compress": t1 - t0, "decompress": t2 - t1}))
`

// python runs a script that measures a module.
func python(name, script string) func(context.Context, *data) ([]result, error) {
	return func(ctx context.Context, d *data) ([]result, error) {
		one := []string{"OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"}
		out, err := output(ctx, one, "python3", "-c", script, d.file, d.raw, d.dtype)
		if err != nil {
			return nil, err
		}
		return parsePython(name, out)
	}
}

// parsePython reads the line of JSON, which modules may write other lines before
// and after.
func parsePython(name string, out []byte) ([]result, error) {
	for line := range bytes.Lines(out) {
		var x struct{ Decoded, Encoded, Compress, Decompress float64 }
		if json.Unmarshal(line, &x) == nil && x.Compress > 0 && x.Decompress > 0 && x.Decoded > 0 {
			return []result{{name, x.Encoded / x.Decoded, x.Decoded / x.Compress / 1e9, x.Decoded / x.Decompress / 1e9}}, nil
		}
	}
	return nil, fmt.Errorf("%s: no result in %q", name, out)
}
