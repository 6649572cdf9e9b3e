// Package gguf reads the header of GGUF, the container in which models for
// llama.cpp and other programs built on ggml are published.
//
// A file is a header, which describes the model and its tensors, and the data
// of the tensors, each at a multiple of the alignment. All integers are
// little-endian; a string is a u64 length and so many bytes:
//
//	magic "GGUF", version u32, number of tensors u64, number of keys u64
//	keys:    name string, type u32, value
//	tensors: name string, number of dimensions u32, dimensions u64..., type u32, offset u64
//	padding up to the alignment
//	data:    tensor, padding, tensor, padding, ...
//
// [Parse] treats its input as hostile. It reads versions 2 and 3, which have the
// same layout, and refuses version 1 and files for big-endian machines. It
// accepts what the format's description
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and its reference
// reader (gguf.cpp in https://github.com/ggml-org/llama.cpp) both accept, less
// tensors without dimensions and what exceeds the limits below. It is wider than
// that reader in three places, where nothing can be misunderstood: tensors may
// lie in any order and with any gaps between them, may be of a type that this
// package does not know, and may have names longer than 63 bytes. Values of keys
// are walked over, not read: a vocabulary of any size takes no memory.
//
// Limits: 268,435,456 bytes of header, 65,536 keys, 1,048,576 tensors, 4
// dimensions, an alignment of 1,048,576, 65,535 bytes in the name of a key or a
// tensor, and 256 in that of the architecture.
package gguf

import "fmt"

// Magic is the first four bytes of every GGUF file.
const Magic = "GGUF"

// The limits of the package's documentation. The format itself sets those on
// dimensions and on the names of keys.
const (
	maxHeaderSize   = 1 << 28
	maxKeys         = 1 << 16
	maxTensors      = 1 << 20
	maxDims         = 4 // GGML_MAX_DIMS
	maxNameLength   = 1<<16 - 1
	maxAlignment    = 1 << 20
	maxArchitecture = 256 // bytes

	defaultAlignment = 32 // where the file has no key general.alignment
)

// A Header says what a GGUF file holds and where.
type Header struct {
	Version      uint32 // 2 or 3
	Alignment    int64  // of the data of every tensor, from Size; a power of two, at least 8
	Architecture string // key general.architecture: "llama", ...; "" where the file has none

	// Size is the number of bytes before the data: all of the above and the
	// padding after it.
	Size int64

	// Tensors is ordered by offset. Tensors without bytes come before the tensor
	// that begins at the same offset. They do not overlap, and lie between Size
	// and the end of the file; what lies between them, and after the last, is
	// padding and belongs to none.
	Tensors []Tensor
}

// A Tensor is the place and type of one tensor.
type Tensor struct {
	Name string // UTF-8
	Type string // as ggml calls it: "F32", "Q4_K", ...; see [Block]. "" for one that this package does not know
	ID   uint32 // of the type, as the file has it

	// Shape is the elements per dimension, the slowest first, as in
	// safetensors and NumPy. The file has them the other way round: the
	// elements of a row, which come first there, are last here. There are 1 to
	// 4, and their product fits an int64.
	Shape []int64

	Offset int64 // of the first byte, from the start of the file
	// Length is in bytes. For a tensor of unknown type it reaches up to the
	// next tensor or the end of the file, and so holds the padding as well.
	Length int64
}

// An Error is the reason why a file is not a GGUF file that [Parse] accepts. A
// failure to read the file is never an Error.
type Error struct {
	Key    string // the metadata key at fault, or ""
	Tensor string // the tensor at fault, or ""; both are "" where the file as a whole is at fault
	Offset int64  // of the fault, from the start of the file: in the header, or in the data for a wrong layout
	Reason string
}

// Error returns the key or the tensor, the reason and the offset in one line.
// Names from the file are quoted and cut to a readable length.
func (e *Error) Error() string {
	s := "gguf: "
	switch {
	case e.Key != "":
		s += "key " + clip(e.Key) + ": "
	case e.Tensor != "":
		s += "tensor " + clip(e.Tensor) + ": "
	}
	return fmt.Sprintf("%s%s at byte %d", s, e.Reason, e.Offset)
}

// clip quotes a string from the file for a message. The file chooses its
// length and its bytes, so neither may reach a terminal as they are.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// A blockType is a type of ggml, which stores a row in blocks.
type blockType struct {
	name     string // "": no such type, or one that was removed from the format
	bytes    int    // of a block
	elements int    // of a block
}

// types holds the types of ggml by their ids: enum ggml_type in ggml.h, sizes
// from the structs in ggml-common.h. Q8_1 is as there; the Python package has
// an older layout of 40 bytes. No file should hold it, as it is for
// intermediate results.
var types = [...]blockType{
	0:  {"F32", 4, 1},
	1:  {"F16", 2, 1},
	2:  {"Q4_0", 18, 32},
	3:  {"Q4_1", 20, 32},
	6:  {"Q5_0", 22, 32},
	7:  {"Q5_1", 24, 32},
	8:  {"Q8_0", 34, 32},
	9:  {"Q8_1", 36, 32},
	10: {"Q2_K", 84, 256},
	11: {"Q3_K", 110, 256},
	12: {"Q4_K", 144, 256},
	13: {"Q5_K", 176, 256},
	14: {"Q6_K", 210, 256},
	15: {"Q8_K", 292, 256},
	16: {"IQ2_XXS", 66, 256},
	17: {"IQ2_XS", 74, 256},
	18: {"IQ3_XXS", 98, 256},
	19: {"IQ1_S", 50, 256},
	20: {"IQ4_NL", 18, 32},
	21: {"IQ3_S", 110, 256},
	22: {"IQ2_S", 82, 256},
	23: {"IQ4_XS", 136, 256},
	24: {"I8", 1, 1},
	25: {"I16", 2, 1},
	26: {"I32", 4, 1},
	27: {"I64", 8, 1},
	28: {"F64", 8, 1},
	29: {"IQ1_M", 56, 256},
	30: {"BF16", 2, 1},
	34: {"TQ1_0", 54, 256},
	35: {"TQ2_0", 66, 256},
	39: {"MXFP4", 17, 32},
	40: {"NVFP4", 36, 64},
}

// Block returns the size in bytes of a block of a type and how many elements it
// holds, and whether this package knows the type. A row is a whole number of
// blocks. Types that are not quantised have blocks of one element. Names are
// case-sensitive.
func Block(typ string) (bytes, elements int, ok bool) {
	if typ == "" {
		return 0, 0, false
	}
	for _, t := range types {
		if t.name == typ {
			return t.bytes, t.elements, true
		}
	}
	return 0, 0, false
}
