package codec

import "fmt"

// Dtype is an element type. The values are wire values: FORMAT.md, "Dtypes".
type Dtype uint8

// The element types, named as safetensors names them, and from Q4_0 on, the
// blocks of quantised elements, as ggml names them. Bytes is everything that is not a
// tensor.
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
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q8_1
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	Q8_K
	IQ2_XXS
	IQ2_XS
	IQ2_S
	IQ3_XXS
	IQ3_S
	IQ1_S
	IQ1_M
	IQ4_NL
	IQ4_XS
	TQ1_0
	TQ2_0
	MXFP4
	NVFP4
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

// dtypeInfo is a row of the table of dtypes.
type dtypeInfo struct {
	name  string
	width int // bytes of an element, or of a block; 1 for dtypes narrower than a byte

	// try are the layouts that the encoder tries, the one it expects first. For
	// floats and I8 it is the only one, and small tensors share tables for it.
	try []layoutID

	// fields are the sizes in bytes of the parts of an element that are better
	// encoded apart, in order.
	fields []int
}

var (
	tryFloats = []layoutID{layoutBF16, layoutF16, layoutF32} // weights in files of other formats
	tryBytes  = []layoutID{layoutByte, layoutNibble}
	tryWords  = []layoutID{layoutNibble, layoutBF16}
	tryHalfs  = []layoutID{layoutF16}
)

// Block sizes and fields are those of ggml-common.h (github.com/ggml-org/ggml).
var dtypeTable = [dtypes]dtypeInfo{
	Bytes:       {"bytes", 1, tryFloats, nil},
	BOOL:        {"BOOL", 1, tryBytes, nil},
	U8:          {"U8", 1, tryBytes, nil},
	I8:          {"I8", 1, tryBytes[:1], nil},
	F8_E4M3:     {"F8_E4M3", 1, []layoutID{layoutE4M3}, nil},
	F8_E5M2:     {"F8_E5M2", 1, []layoutID{layoutE5M2}, nil},
	F8_E8M0:     {"F8_E8M0", 1, tryBytes, nil},
	I16:         {"I16", 2, tryWords, []int{1, 1}},
	U16:         {"U16", 2, tryWords, []int{1, 1}},
	F16:         {"F16", 2, tryHalfs, nil},
	BF16:        {"BF16", 2, []layoutID{layoutBF16}, nil},
	I32:         {"I32", 4, tryWords[:1], []int{1, 1, 1, 1}},
	U32:         {"U32", 4, tryWords[:1], []int{1, 1, 1, 1}},
	F32:         {"F32", 4, []layoutID{layoutF32}, nil},
	I64:         {"I64", 8, nil, []int{1, 1, 1, 1, 1, 1, 1, 1}},
	U64:         {"U64", 8, nil, []int{1, 1, 1, 1, 1, 1, 1, 1}},
	F64:         {"F64", 8, nil, []int{6, 1, 1}},
	F4:          {"F4", 1, tryBytes, nil},
	F6_E2M3:     {"F6_E2M3", 1, tryBytes, nil},
	F6_E3M2:     {"F6_E3M2", 1, tryBytes, nil},
	C64:         {"C64", 8, []layoutID{layoutF32}, nil},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 1, []layoutID{layoutE4M3}, nil},
	F8_E5M2FNUZ: {"F8_E5M2FNUZ", 1, []layoutID{layoutE5M2}, nil},
	Q4_0:        {"Q4_0", 18, nil, []int{2, 16}},
	Q4_1:        {"Q4_1", 20, nil, []int{2, 2, 16}},
	Q5_0:        {"Q5_0", 22, nil, []int{2, 4, 16}},
	Q5_1:        {"Q5_1", 24, nil, []int{2, 2, 4, 16}},
	Q8_0:        {"Q8_0", 34, nil, []int{2, 32}},
	Q8_1:        {"Q8_1", 36, nil, []int{2, 2, 32}},
	Q2_K:        {"Q2_K", 84, nil, []int{16, 64, 2, 2}},
	Q3_K:        {"Q3_K", 110, nil, []int{32, 64, 12, 2}},
	Q4_K:        {"Q4_K", 144, nil, []int{2, 2, 12, 128}},
	Q5_K:        {"Q5_K", 176, nil, []int{2, 2, 12, 32, 128}},
	Q6_K:        {"Q6_K", 210, nil, []int{128, 64, 16, 2}},
	Q8_K:        {"Q8_K", 292, nil, []int{4, 256, 32}},
	IQ2_XXS:     {"IQ2_XXS", 66, nil, []int{2, 64}},
	IQ2_XS:      {"IQ2_XS", 74, nil, []int{2, 64, 8}},
	IQ2_S:       {"IQ2_S", 82, nil, []int{2, 64, 8, 8}},
	IQ3_XXS:     {"IQ3_XXS", 98, nil, []int{2, 96}},
	IQ3_S:       {"IQ3_S", 110, nil, []int{2, 64, 8, 32, 4}},
	IQ1_S:       {"IQ1_S", 50, nil, []int{2, 32, 16}},
	IQ1_M:       {"IQ1_M", 56, nil, []int{32, 16, 8}},
	IQ4_NL:      {"IQ4_NL", 18, nil, []int{2, 16}},
	IQ4_XS:      {"IQ4_XS", 136, nil, []int{2, 2, 4, 128}},
	TQ1_0:       {"TQ1_0", 54, nil, []int{48, 4, 2}},
	TQ2_0:       {"TQ2_0", 66, nil, []int{64, 2}},
	MXFP4:       {"MXFP4", 17, nil, []int{1, 16}},
	NVFP4:       {"NVFP4", 36, nil, []int{4, 32}},
}

// shares reports whether small tensors of d share tables: there is one layout for it.
func (d Dtype) shares() bool {
	try := dtypeTable[d].try
	return len(try) == 1 && try[0] <= layoutByte
}

// layout is the layout of a dtype that shares.
func (d Dtype) layout() layoutID { return dtypeTable[d].try[0] }

// DtypeOf returns the dtype that safetensors or ggml calls name, and Bytes for a
// name it does not know.
func DtypeOf(name string) Dtype {
	for d, info := range dtypeTable {
		if info.name == name {
			return Dtype(d)
		}
	}
	return Bytes
}

// String returns the name in safetensors or ggml, or "bytes".
func (d Dtype) String() string {
	if d >= dtypes {
		return fmt.Sprintf("Dtype(%d)", uint8(d))
	}
	return dtypeTable[d].name
}

// Width is the size in bytes of an element, or of a block of a quantised dtype; 1
// for Bytes and for dtypes narrower than a byte.
func (d Dtype) Width() int { return dtypeTable[d].width }

// ChunkSize is the decoded size in bytes of every chunk of a tensor but the
// last: a fixed number of elements, so that tensors of the same shape are cut at
// the same places.
func (d Dtype) ChunkSize() int { return min(MaxChunk/d.Width(), maxElements) * d.Width() }

// Small reports whether a tensor of size bytes may share a chunk with others.
func (d Dtype) Small(size int64) bool { return size < int64(SmallElements*min(d.Width(), 8)) }

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
