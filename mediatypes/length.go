package mediatypes

import "math/bits"

// blocks holds the types of ggml, of which a tensor's row is a whole number of
// blocks: bytes and elements of one. An index may hold types that are not here,
// which a later release knows, or none.
var blocks = map[string]struct{ bytes, elements int64 }{
	"F32": {4, 1}, "F16": {2, 1}, "BF16": {2, 1}, "F64": {8, 1},
	"I8": {1, 1}, "I16": {2, 1}, "I32": {4, 1}, "I64": {8, 1},
	"Q4_0": {18, 32}, "Q4_1": {20, 32}, "Q5_0": {22, 32}, "Q5_1": {24, 32}, "Q8_0": {34, 32}, "Q8_1": {36, 32},
	"Q2_K": {84, 256}, "Q3_K": {110, 256}, "Q4_K": {144, 256}, "Q5_K": {176, 256}, "Q6_K": {210, 256}, "Q8_K": {292, 256},
	"IQ1_S": {50, 256}, "IQ1_M": {56, 256}, "IQ2_XXS": {66, 256}, "IQ2_XS": {74, 256}, "IQ2_S": {82, 256},
	"IQ3_XXS": {98, 256}, "IQ3_S": {110, 256}, "IQ4_NL": {18, 32}, "IQ4_XS": {136, 256},
	"TQ1_0": {54, 256}, "TQ2_0": {66, 256}, "MXFP4": {17, 32}, "NVFP4": {36, 64},
}

// checkLength reports whether the elements, of which a file of this format holds
// as many as the shape says, can take the length.
func (t *Tensor) checkLength(format string) *Error {
	n, err := t.elements()
	if err != nil {
		return err
	}
	if (n == 0) != (t.Length == 0) {
		return wrong("/length", "%d bytes cannot hold %d elements", t.Length, n)
	}
	if format == FormatGGUF {
		return t.checkBlocks(int64(n))
	}
	// Each element has a whole number of bits.
	if hi, lo := bits.Mul64(uint64(t.Length), 8); n != 0 && bits.Rem64(hi, lo, n) != 0 {
		return wrong("/length", "%d bytes cannot hold %d elements", t.Length, n)
	}
	return nil
}

// checkBlocks reports whether n elements are whole blocks in every row, and
// those take the length. Of a type that is not known nothing can be said: its
// length may hold the padding after the tensor, too.
func (t *Tensor) checkBlocks(n int64) *Error {
	b, known := blocks[t.Dtype]
	if !known {
		return nil
	}
	row := int64(1)
	if len(t.Shape) > 0 {
		row = t.Shape[len(t.Shape)-1]
	}
	if row%b.elements != 0 || t.Length%b.bytes != 0 || t.Length/b.bytes != n/b.elements {
		return wrong("/length", "%d bytes are not %d elements of %s, %d bytes for each %d of a row", t.Length, n, t.Dtype, b.bytes, b.elements)
	}
	return nil
}
