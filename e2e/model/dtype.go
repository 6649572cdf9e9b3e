package model

import (
	"fmt"
	"slices"
)

// A Dtype is the format the weights are stored in.
type Dtype string

// The formats of quantised models hold the projections of each block only;
// embedding, head and norms stay BF16.
const (
	DtypeBF16  Dtype = "bf16"
	DtypeF16   Dtype = "f16"
	DtypeF32   Dtype = "f32"
	DtypeFP8   Dtype = "fp8"   // F8_E4M3 and a BF16 scale for each row (weight_scale)
	DtypeMXFP4 Dtype = "mxfp4" // U8 weight_blocks and weight_scales, as gpt-oss has them
	DtypeNVFP4 Dtype = "nvfp4" // U8 weight, F8_E4M3 weight_scale and one F32 weight_scale_2
)

var dtypes = []Dtype{DtypeBF16, DtypeF16, DtypeF32, DtypeFP8, DtypeMXFP4, DtypeNVFP4}

// ParseDtype returns the format of a name such as "bf16".
func ParseDtype(s string) (Dtype, error) {
	if d := Dtype(s); slices.Contains(dtypes, d) {
		return d, nil
	}
	return "", fmt.Errorf("unknown dtype %q: have %v", s, dtypes)
}

// dense returns the format of what a model of dtype d does not quantise.
func (d Dtype) dense() Dtype {
	switch d {
	case DtypeF16, DtypeF32:
		return d
	}
	return DtypeBF16
}

// parts returns the tensors that store a matrix called name, in the order in
// which encode appends to them.
func (d Dtype) parts(name string, rows, cols int64) []*tensor {
	switch d {
	case DtypeFP8:
		return []*tensor{
			newTensor(name, "F8_E4M3", 1, rows, cols),
			newTensor(name+"_scale", "BF16", 2, rows, 1),
		}
	case DtypeMXFP4:
		return []*tensor{
			newTensor(name+"_blocks", "U8", 1, rows, cols/32, 16),
			newTensor(name+"_scales", "U8", 1, rows, cols/32),
		}
	case DtypeNVFP4:
		return []*tensor{
			newTensor(name, "U8", 1, rows, cols/2),
			newTensor(name+"_scale", "F8_E4M3", 1, rows, cols/16),
		}
	case DtypeF32:
		return []*tensor{newTensor(name, "F32", 4, rows, cols)}
	case DtypeF16:
		return []*tensor{newTensor(name, "F16", 2, rows, cols)}
	}
	return []*tensor{newTensor(name, "BF16", 2, rows, cols)}
}

// encode appends rows of cols weights to the buffers of their parts.
func (d Dtype) encode(dst [][]byte, w []float32, cols int, global float32) {
	switch d {
	case DtypeFP8:
		dst[0], dst[1] = appendFP8(dst[0], dst[1], w, cols)
	case DtypeMXFP4:
		dst[0], dst[1] = appendMXFP4(dst[0], dst[1], w, cols)
	case DtypeNVFP4:
		dst[0], dst[1] = appendNVFP4(dst[0], dst[1], w, cols, global)
	case DtypeF32:
		dst[0] = appendF32(dst[0], w)
	case DtypeF16:
		dst[0] = appendF16(dst[0], w)
	default:
		dst[0] = appendBF16(dst[0], w)
	}
}
