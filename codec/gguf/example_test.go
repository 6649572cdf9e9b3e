package gguf_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/oras-bsm/oras-bsm/codec/gguf"
)

// file is a GGUF file with one tensor of 2 rows of 32 elements, in Q8_0.
const file = "GGUF\x03\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x14\x00\x00\x00\x00\x00\x00\x00general.architecture" + "\x08\x00\x00\x00" + "\x05\x00\x00\x00\x00\x00\x00\x00llama" +
	"\x0d\x00\x00\x00\x00\x00\x00\x00output.weight" + "\x02\x00\x00\x00" +
	"\x20\x00\x00\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x08\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"

func Example() {
	data := make([]byte, 6+2*34) // padding, 2 blocks
	b := append([]byte(file), data...)

	h, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Architecture)
	for _, t := range h.Tensors {
		fmt.Printf("%s %s%v: %d bytes from %d\n", t.Name, t.Type, t.Shape, t.Length, t.Offset)
	}
	// Output:
	// llama
	// output.weight Q8_0[2 32]: 68 bytes from 128
}

func ExampleParse_refused() {
	b := []byte(file + "\x00\x00") // cut short

	_, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if _, refused := errors.AsType[*gguf.Error](err); refused {
		fmt.Println("keep it as plain bytes:", err)
	}
	// Output:
	// keep it as plain bytes: gguf: file of 124 bytes ends before its data begin at byte 122
}
