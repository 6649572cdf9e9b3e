package codec

import (
	"fmt"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Dtype is an element type. The values are wire values: FORMAT.md, "Dtypes".
type Dtype uint8

// The element types, named as safetensors names them. Bytes is everything that
// is not a tensor.
const (
	Bytes Dtype = iota
	BOOL
	U8
	I8
	F8_E4M3
	F8_E5M2
	F8_E8M0
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	I64
	U64
	F64
	F4
	F6_E2M3
	F6_E3M2
	C64
	F8_E4M3FNUZ
	F8_E5M2FNUZ
	dtypes
)

// Limits of a chunk: FORMAT.md, "Limits".
const (
	// MaxChunk is the largest decoded size of a chunk, in bytes.
	MaxChunk = 4 << 20
	// maxElements is the largest number of elements of a chunk.
	maxElements = 1 << 20
	// maxChunks is the largest number of chunks of a layer.
	maxChunks = 1 << 22
	// SmallElements is the number of elements below which tensors of one dtype
	// may share a chunk.
	SmallElements = 64 << 10
)

// dtypeInfo is a row of the table of dtypes; float is nil for a dtype that is
// not split into symbols.
type dtypeInfo struct {
	name  string
	width int // bytes of an element; 1 for dtypes narrower than a byte
	float *kernel.Float
}

var dtypeTable = [dtypes]dtypeInfo{
	Bytes:       {"bytes", 1, nil},
	BOOL:        {"BOOL", 1, nil},
	U8:          {"U8", 1, nil},
	I8:          {"I8", 1, nil},
	F8_E4M3:     {"F8_E4M3", 1, &kernel.E4M3},
	F8_E5M2:     {"F8_E5M2", 1, &kernel.E5M2},
	F8_E8M0:     {"F8_E8M0", 1, nil},
	I16:         {"I16", 2, nil},
	U16:         {"U16", 2, nil},
	F16:         {"F16", 2, &kernel.F16},
	BF16:        {"BF16", 2, &kernel.BF16},
	I32:         {"I32", 4, nil},
	U32:         {"U32", 4, nil},
	F32:         {"F32", 4, &kernel.F32},
	I64:         {"I64", 8, nil},
	U64:         {"U64", 8, nil},
	F64:         {"F64", 8, nil},
	F4:          {"F4", 1, nil},
	F6_E2M3:     {"F6_E2M3", 1, nil},
	F6_E3M2:     {"F6_E3M2", 1, nil},
	C64:         {"C64", 8, nil},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 1, &kernel.E4M3},
	F8_E5M2FNUZ: {"F8_E5M2FNUZ", 1, &kernel.E5M2},
}

// DtypeOf returns the dtype that safetensors calls name, and Bytes for a name it
// does not know.
func DtypeOf(name string) Dtype {
	for d, info := range dtypeTable {
		if info.name == name {
			return Dtype(d)
		}
	}
	return Bytes
}

// String returns the safetensors name, or "bytes".
func (d Dtype) String() string {
	if d >= dtypes {
		return fmt.Sprintf("Dtype(%d)", uint8(d))
	}
	return dtypeTable[d].name
}

// Width is the size of an element in bytes; 1 for Bytes and for dtypes narrower
// than a byte.
func (d Dtype) Width() int { return dtypeTable[d].width }

// ChunkSize is the decoded size in bytes of every chunk of a tensor but the
// last: a fixed number of elements, so that tensors of the same shape are cut at
// the same places.
func (d Dtype) ChunkSize() int { return min(MaxChunk, maxElements*d.Width()) }

// Small reports whether a tensor of size bytes may share a chunk with others.
func (d Dtype) Small(size int64) bool { return size < int64(SmallElements*d.Width()) }

// Level trades encoding time for size. Both levels are lossless.
type Level uint8

// The levels.
const (
	Default Level = iota
	Max
	levels
)

var levelNames = [levels]string{"default", "max"}

// String returns the name that ParseLevel takes.
func (l Level) String() string {
	if l >= levels {
		return fmt.Sprintf("Level(%d)", uint8(l))
	}
	return levelNames[l]
}

// ParseLevel is the inverse of Level.String.
func ParseLevel(s string) (Level, error) {
	for l, name := range levelNames {
		if name == s {
			return Level(l), nil
		}
	}
	return 0, fmt.Errorf("unknown level %q: use default or max", s)
}
