package safetensors_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/oras-bsm/oras-bsm/codec/safetensors"
)

func Example() {
	var file bytes.Buffer
	_, err := safetensors.WriteHeader(&file, []safetensors.Tensor{
		{Name: "model.norm.weight", Dtype: "BF16", Shape: []int64{4}},
		{Name: "lm_head.scale", Dtype: "F32"},
	}, map[string]string{"format": "pt"})
	if err != nil {
		fmt.Println(err)
		return
	}
	file.WriteString("norm....head") // the data: 4 x 2 bytes, then 4

	h, err := safetensors.Parse(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Metadata)
	for _, t := range h.Tensors {
		fmt.Printf("%s %s%v: %d bytes from %d\n", t.Name, t.Dtype, t.Shape, t.Length, t.Offset)
	}
	// Output:
	// map[format:pt]
	// model.norm.weight BF16[4]: 8 bytes from 176
	// lm_head.scale F32[]: 4 bytes from 184
}

func ExampleParse_refused() {
	file := []byte("\x40\x00\x00\x00\x00\x00\x00\x00" + `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}           ` + "datamore")

	_, err := safetensors.Parse(bytes.NewReader(file), int64(len(file)))
	if _, refused := errors.AsType[*safetensors.Error](err); refused {
		fmt.Println("keep it as plain bytes:", err)
	}
	// Output:
	// keep it as plain bytes: safetensors: 4 bytes after the last tensor belong to none at byte 76
}
