package model

import (
	"encoding/binary"
	"math"
)

// The casts below round to nearest, ties to even, and expect finite values.
// Results are little-endian, in the order of the weights.

// F32 returns the bytes of w.
func F32(w []float32) []byte { return appendF32(nil, w) }

// BF16 returns w rounded to bfloat16.
func BF16(w []float32) []byte { return appendBF16(nil, w) }

// F16 returns w rounded to IEEE 754 binary16; what is too large is infinite.
func F16(w []float32) []byte { return appendF16(nil, w) }

// FP8 returns a matrix of cols columns as F8_E4M3 with one scale for each
// row, its largest magnitude over 448, in BF16.
func FP8(w []float32, cols int) (codes, scales []byte) {
	return appendFP8(nil, nil, w, cols)
}

// FP8Tensor returns w as F8_E4M3 with one scale for all, the largest magnitude
// over 448, in F32.
func FP8Tensor(w []float32) (codes, scale []byte) {
	s := largest(w) / 448
	if s == 0 {
		s = 1
	}
	codes = make([]byte, len(w))
	for i, x := range w {
		codes[i] = e4m3(x / s)
	}
	return codes, F32([]float32{s})
}

// FP8Blocks returns a matrix of cols columns as F8_E4M3 with a scale for each
// block of 128 rows and 128 columns, its largest magnitude over 448, in F32. Both
// are row-major; blocks at the edges are smaller.
func FP8Blocks(w []float32, cols int) (codes, scales []byte) {
	const block = 128
	codes = make([]byte, len(w))
	rows := len(w) / cols
	for top := 0; top < rows; top += block {
		for left := 0; left < cols; left += block {
			right := min(left+block, cols)
			var most float32
			for i := top; i < min(top+block, rows); i++ {
				most = max(most, largest(w[i*cols+left:i*cols+right]))
			}
			s := most / 448
			if s == 0 {
				s = 1
			}
			scales = appendF32(scales, []float32{s})
			for i := top; i < min(top+block, rows); i++ {
				for j := i*cols + left; j < i*cols+right; j++ {
					codes[j] = e4m3(w[j] / s)
				}
			}
		}
	}
	return codes, scales
}

// INT4 returns a matrix of cols columns, a multiple of 128, as numbers of four
// bits from -8 to 7, plus 8, eight to a little-endian I32, the first column
// lowest, and a scale for each 128 columns of a row, the largest magnitude over
// 7, in BF16.
func INT4(w []float32, cols int) (codes, scales []byte) {
	const group = 128
	mustDivide(cols, group)
	codes = make([]byte, 0, len(w)/2)
	for i := 0; i < len(w); i += group {
		s := bf16(largest(w[i:i+group]) / 7)
		if s == 0 {
			s = 0x3f80
		}
		scales = binary.LittleEndian.AppendUint16(scales, s)
		scale := math.Float32frombits(uint32(s) << 16)
		for j := i; j < i+group; j += 2 {
			codes = append(codes, int4(w[j]/scale)|int4(w[j+1]/scale)<<4)
		}
	}
	return codes, scales
}

// MXFP4 returns a matrix of cols columns, a multiple of 32, in the OCP
// microscaling format: E2M1 codes two to a byte, the even column in the low
// half, and an E8M0 scale for each 32 columns of a row.
func MXFP4(w []float32, cols int) (blocks, scales []byte) {
	return appendMXFP4(nil, nil, w, cols)
}

// NVFP4 returns a matrix of cols columns, a multiple of 16, as E2M1 codes,
// packed as by [MXFP4], and an E4M3 scale for each 16 columns of a row. The
// scale of a value is the product of its group's and global.
func NVFP4(w []float32, cols int, global float32) (codes, scales []byte) {
	return appendNVFP4(nil, nil, w, cols, global)
}

func appendF32(dst []byte, w []float32) []byte {
	for _, x := range w {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

func appendBF16(dst []byte, w []float32) []byte {
	for _, x := range w {
		dst = binary.LittleEndian.AppendUint16(dst, bf16(x))
	}
	return dst
}

func appendF16(dst []byte, w []float32) []byte {
	for _, x := range w {
		code := min(magnitude(x, 10, 15), 0x7c00) | sign(x)<<15
		dst = binary.LittleEndian.AppendUint16(dst, uint16(code))
	}
	return dst
}

func appendFP8(codes, scales []byte, w []float32, cols int) (_, _ []byte) {
	for i := 0; i < len(w); i += cols {
		row := w[i : i+cols]
		s := bf16(largest(row) / 448)
		scale := math.Float32frombits(uint32(s) << 16)
		if scale == 0 {
			s, scale = 0x3f80, 1
		}
		scales = binary.LittleEndian.AppendUint16(scales, s)
		for _, x := range row {
			codes = append(codes, e4m3(x/scale))
		}
	}
	return codes, scales
}

func appendMXFP4(blocks, scales []byte, w []float32, cols int) (_, _ []byte) {
	mustDivide(cols, 32)
	for i := 0; i < len(w); i += 32 {
		group := w[i : i+32]
		// The exponent of the largest value, less that of E2M1's largest, 2.
		e := math.Float32bits(largest(group)) >> 23
		e = max(e, 2) - 2
		scales = append(scales, byte(e))
		blocks = appendE2M1(blocks, group, float32(math.Ldexp(1, int(e)-127)))
	}
	return blocks, scales
}

func appendNVFP4(codes, scales []byte, w []float32, cols int, global float32) (_, _ []byte) {
	mustDivide(cols, 16)
	for i := 0; i < len(w); i += 16 {
		group := w[i : i+16]
		s := e4m3(largest(group) / 6 / global)
		scales = append(scales, s)
		codes = appendE2M1(codes, group, e4m3Value(s)*global)
	}
	return codes, scales
}

func appendE2M1(dst []byte, w []float32, scale float32) []byte {
	if scale == 0 {
		return append(dst, make([]byte, len(w)/2)...)
	}
	for i := 0; i < len(w); i += 2 {
		dst = append(dst, e2m1(w[i]/scale)|e2m1(w[i+1]/scale)<<4)
	}
	return dst
}

// mustDivide panics unless groups of n values tile rows of cols values.
func mustDivide(cols, n int) {
	if cols <= 0 || cols%n != 0 {
		panic("model: columns are not whole groups")
	}
}

func bf16(x float32) uint16 { return uint16(roundShift(math.Float32bits(x), 16)) }
func e4m3(x float32) byte   { return byte(min(magnitude(x, 3, 7), 0x7e) | sign(x)<<7) }
func e2m1(x float32) byte   { return byte(min(magnitude(x, 1, 1), 7) | sign(x)<<3) }

func int4(x float32) byte {
	return byte(8 + max(-8, min(7, math.RoundToEven(float64(x)))))
}

// e4m3Value returns the value of a finite positive E4M3 code.
func e4m3Value(code byte) float32 {
	if code < 8 {
		return float32(code) / 512
	}
	return math.Float32frombits(uint32(code)<<20 + (127-7)<<23)
}

func sign(x float32) uint32 { return math.Float32bits(x) >> 31 }

// magnitude rounds |x| to a float of the given mantissa bits and exponent
// bias, and returns its exponent and mantissa fields side by side. The
// exponent has no upper bound: the caller says what overflow becomes.
func magnitude(x float32, mantissa, bias int) uint32 {
	b := math.Float32bits(x) &^ (1 << 31)
	e := int(b>>23) - 127 + bias
	drop := 23 - mantissa
	if e >= 1 {
		return roundShift(b-uint32(127-bias)<<23, drop)
	}
	// Below the smallest normal value the leading one is explicit. Rounding
	// up to that value carries into the exponent field, as it should.
	if drop += 1 - e; drop > 24 {
		return 0
	}
	return roundShift(b&(1<<23-1)|1<<23, drop)
}

// roundShift returns v / 2**n to nearest, ties to even.
func roundShift(v uint32, n int) uint32 {
	return (v + (1<<(n-1) - 1) + v>>n&1) >> n
}

func largest(w []float32) float32 {
	var m float32
	for _, x := range w {
		m = max(m, max(x, -x))
	}
	return m
}
