// Package safetensors reads and writes the header of the safetensors format,
// the container in which most open models publish their weights.
//
// A file is an 8-byte little-endian length N, N bytes of JSON, and the data of
// the tensors, one directly after the other:
//
//	0        8                8+N                                     size
//	| N: u64 | {"name":{...}} | tensor | tensor | ........... | tensor |
//
// The JSON is one object. Each member names a tensor and holds its dtype, its
// shape and the two data_offsets between which its bytes lie, counted from 8+N;
// the optional member __metadata__ maps strings to strings. The JSON may be
// padded with spaces.
//
// [Parse] treats its input as hostile. It accepts what the reference crate
// (https://github.com/huggingface/safetensors, version 0.8) accepts, less what
// two readers could take in two ways (a member of a tensor other than the three
// above, a byte other than a space in the padding, white space before the JSON,
// a __metadata__ of null) and less what exceeds the limits below.
// What it accepts covers the file exactly: every byte after the header belongs
// to one tensor.
//
// Limits: 100,000,000 bytes of header (as in the reference), 1,048,576 tensors,
// 64 dimensions, 65,535 bytes of name and 65,536 metadata entries.
package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
)

const (
	prefixSize    = 8           // bytes of the length field
	maxHeaderSize = 100_000_000 // bytes of JSON with its padding; MAX_HEADER_SIZE of the reference

	// The reference sets no limit here. Those below keep the memory of a parse
	// within a small multiple of the header, and lie far above any real model.
	maxTensors    = 1 << 20
	maxRank       = 64 // what NumPy and PyTorch can index
	maxNameLength = 1<<16 - 1
	maxMetadata   = 1 << 16

	metadataKey = "__metadata__" // the one member of the header that is not a tensor
)

// A Header says what a safetensors file holds and where.
type Header struct {
	// Size is the number of bytes before the data: the length field, the JSON
	// and its padding.
	Size int64

	// Tensors is ordered by offset. Tensors without bytes come before the
	// tensor that begins at the same offset, in the order of the header. So the
	// tensors, in this order, tile the file from Size to its end.
	Tensors []Tensor

	// Metadata is the member __metadata__, nil where the file has none.
	Metadata map[string]string
}

// A Tensor is the place and type of one tensor.
type Tensor struct {
	Name  string
	Dtype string  // as the file spells it: "BF16", "F8_E4M3", ...; see [Bits]
	Shape []int64 // elements per dimension, row-major; empty for a scalar, never nil after Parse

	Offset int64 // of the first byte, from the start of the file
	Length int64 // in bytes
}

// An Error is the reason why a file is not a safetensors file that [Parse]
// accepts. A failure to read the file is never an Error.
type Error struct {
	Tensor string // the tensor, "__metadata__", or "" where the file as a whole is at fault
	Offset int64  // of the fault, from the start of the file: in the header, or in the data for a wrong layout
	Reason string
	Err    error // the fault in the JSON, if that is the reason
}

// Error returns the tensor, the reason and the offset in one line.
// Names from the file are quoted and cut to a readable length.
func (e *Error) Error() string {
	s := "safetensors: "
	if e.Tensor != "" {
		s += "tensor " + clip(e.Tensor) + ": "
	}
	s += e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s at byte %d", s, e.Offset)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// clip quotes a string from the file for a message. The file chooses its
// length and its bytes, so neither may reach a terminal as they are.
func clip[S ~string | ~[]byte](s S) string {
	const most = 100
	if len(s) > most {
		return fmt.Sprintf("%q...", string(s[:most]))
	}
	return fmt.Sprintf("%q", string(s))
}

// dtypes holds each Dtype of the reference crate, in its order.
var dtypes = [...]struct {
	name string
	bits int // of one element
}{
	{"BOOL", 8},
	{"F4", 4}, // E2M1, two to a byte
	{"F6_E2M3", 6},
	{"F6_E3M2", 6},
	{"U8", 8},
	{"I8", 8},
	{"F8_E5M2", 8},
	{"F8_E4M3", 8},
	{"F8_E8M0", 8}, // a power of two: the scale of MX formats
	{"F8_E4M3FNUZ", 8},
	{"F8_E5M2FNUZ", 8},
	{"I16", 16},
	{"U16", 16},
	{"F16", 16},
	{"BF16", 16},
	{"I32", 32},
	{"U32", 32},
	{"F32", 32},
	{"C64", 64}, // two F32
	{"F64", 64},
	{"I64", 64},
	{"U64", 64},
}

// Bits returns the width of one element of dtype in bits, and whether the
// reference crate knows the dtype at all. Names are case-sensitive.
func Bits(dtype string) (bits int, ok bool) {
	for _, d := range dtypes {
		if d.name == dtype {
			return d.bits, true
		}
	}
	return 0, false
}

// byteLength returns the bytes that a tensor of this type and shape occupies.
// Like the reference it multiplies from the left and refuses an overflow even
// where a later dimension is zero.
func byteLength(dtype string, shape []int64) (int64, error) {
	width, ok := Bits(dtype)
	if !ok {
		return 0, fmt.Errorf("unknown dtype %s", clip(dtype))
	}
	count, over := uint64(1), uint64(0)
	for _, d := range shape {
		if over, count = bits.Mul64(count, uint64(d)); over != 0 {
			return 0, errors.New("number of elements overflows 64 bits")
		}
	}
	if over, count = bits.Mul64(count, uint64(width)); over != 0 {
		return 0, errors.New("size in bits overflows 64 bits")
	}
	if count%8 != 0 {
		return 0, fmt.Errorf("%d bits of %s do not fill whole bytes", count, dtype)
	}
	return int64(count / 8), nil
}

// IsLFSPointer reports whether a file that begins with prefix is a Git LFS
// pointer: the small text that stands for a large file in a repository cloned
// without its LFS objects. It needs the first 42 bytes. Parse refuses such a
// file for its length field; this tells the user what he really has.
// Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
func IsLFSPointer(prefix []byte) bool {
	return bytes.HasPrefix(prefix, []byte("version https://git-lfs.github.com/spec/v1"))
}
