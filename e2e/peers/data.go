package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// data is what is compressed.
type data struct {
	file  string // safetensors
	raw   string // a file of its tensors alone, for coders that take numbers
	head  string // a file of the first slowSize bytes of raw
	size  int64  // of raw
	dtype string // of most bytes
	width int    // bytes of an element of that
}

// slowSize is how much slow coders are given.
const slowSize = 8 << 20

// newData writes the tensors of a safetensors file to dir, over those of the file
// before.
func newData(file, dir string) (*data, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	h, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if len(h.Tensors) == 0 {
		return nil, errors.New(file + ": no tensors")
	}
	raw := b[h.Tensors[0].Offset:]
	d := &data{file: file, raw: filepath.Join(dir, "raw"), head: filepath.Join(dir, "head"), size: int64(len(raw))}
	sizes := map[string]int64{}
	for _, t := range h.Tensors {
		if sizes[t.Dtype] += t.Length; sizes[t.Dtype] > sizes[d.dtype] {
			d.dtype = t.Dtype
		}
	}
	bits, _ := safetensors.Bits(d.dtype)
	d.width = max(1, bits/8)
	return d, errors.Join(os.WriteFile(d.raw, raw, 0o644), os.WriteFile(d.head, raw[:min(len(raw), slowSize)], 0o644))
}

// writeMatrix writes a safetensors file of one BF16 matrix of about size bytes.
func writeMatrix(name string, size int64) error {
	const cols = 4096
	rows := int(size / (2 * cols))
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	tensor := safetensors.Tensor{Name: "model.layers.0.mlp.up_proj.weight", Dtype: "BF16", Shape: []int64{int64(rows), cols}}
	_, err = safetensors.WriteHeader(f, []safetensors.Tensor{tensor}, nil)
	if err == nil {
		_, err = io.Copy(f, bytes.NewReader(model.BF16(model.Matrix(rows, cols, 1))))
	}
	return errors.Join(err, f.Close())
}
