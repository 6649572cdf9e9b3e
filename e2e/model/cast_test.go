package model

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// A format is described by its positive finite values in the order of codes.
type format struct {
	name   string
	values []float64
	encode func(float32) uint32
	above  uint32 // the code of what is beyond the largest value
}

// values lists a float format's values below the given code, by definition.
func values(codes, mantissa, bias int) []float64 {
	v := make([]float64, codes)
	for c := range v {
		e, m := c>>mantissa, c&(1<<mantissa-1)
		if e == 0 {
			v[c] = math.Ldexp(float64(m), 1-bias-mantissa)
		} else {
			v[c] = math.Ldexp(float64(m+1<<mantissa), e-bias-mantissa)
		}
	}
	return v
}

var formats = []format{
	{"E2M1", values(8, 1, 1), func(x float32) uint32 { return uint32(e2m1(x)) }, 7},
	{"E4M3", values(0x7f, 3, 7), func(x float32) uint32 { return uint32(e4m3(x)) }, 0x7e},
	{"F16", values(0x7c00, 10, 15), func(x float32) uint32 {
		return uint32(binary.LittleEndian.Uint16(F16([]float32{x})))
	}, 0x7c00},
	{"BF16", values(0x7f80, 7, 127), func(x float32) uint32 { return uint32(bf16(x)) }, 0x7f80},
}

func TestCastsAreExactOnTheirValues(t *testing.T) {
	for _, f := range formats {
		for code, v := range f.values {
			if got := f.encode(float32(v)); got != uint32(code) {
				t.Fatalf("%s: %g became code %#x, want %#x", f.name, v, got, code)
			}
		}
	}
}

func TestCastsRoundToNearestEven(t *testing.T) {
	for _, f := range formats {
		for code := range len(f.values) - 1 {
			lo, hi := f.values[code], f.values[code+1]
			middle := float32((lo + hi) / 2)
			if float64(middle) != (lo+hi)/2 {
				continue // not a float32
			}
			even := uint32(code + code&1)
			below, above := math.Nextafter32(middle, 0), math.Nextafter32(middle, math.MaxFloat32)
			for _, test := range []struct {
				x    float32
				want uint32
			}{{middle, even}, {below, uint32(code)}, {above, uint32(code + 1)}} {
				if got := f.encode(test.x); got != test.want {
					t.Fatalf("%s: %g became code %#x, want %#x", f.name, test.x, got, test.want)
				}
			}
		}
	}
}

func TestCastsKeepSignAndBoundOverflow(t *testing.T) {
	for _, f := range formats {
		top := f.values[len(f.values)-1]
		bits := 1
		for 1<<bits <= f.above {
			bits++
		}
		if got, want := f.encode(float32(-top)), uint32(len(f.values)-1)|1<<bits; got != want {
			t.Errorf("%s: %g became code %#x, want %#x", f.name, -top, got, want)
		}
		if got := f.encode(math.MaxFloat32); got != f.above {
			t.Errorf("%s: the largest float32 became code %#x, want %#x", f.name, got, f.above)
		}
	}
}

func TestE4M3ValueInvertsE4M3(t *testing.T) {
	for code, v := range values(0x7f, 3, 7) {
		if got := e4m3Value(byte(code)); float64(got) != v {
			t.Errorf("code %#x has the value %g, want %g", code, got, v)
		}
	}
}

// Dequantised weights are as near to the weights as the codes' spacing says.
func TestQuantisedWeightsDequantise(t *testing.T) {
	const rows, cols, global = 16, 256, 1.0 / 2688
	w := Matrix(rows, cols, 11)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range cols {
		w[i] = 0 // a row of zeros, which has no scale of its own
		w[cols+i] *= float32(rng.IntN(2))
	}
	e2m1Values := values(8, 1, 1)
	signed := func(table []float64, code, signBit byte) float64 {
		if code&signBit != 0 {
			return -table[code&^signBit]
		}
		return table[code]
	}
	e4m3Values := values(0x7f, 3, 7)
	nibble := func(codes []byte, i int) float64 {
		return signed(e2m1Values, codes[i/2]>>(i%2*4)&15, 8)
	}
	fp8, fp8Scales := FP8(w, cols)
	mx, mxScales := MXFP4(w, cols)
	nv, nvScales := NVFP4(w, cols, global)
	whole, wholeScale := FP8Tensor(w)
	tiles, tileScales := FP8Blocks(w, cols)
	ints, intScales := INT4(w, cols)
	float := func(b []byte, i int) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i*4:])))
	}
	for i, x := range w {
		rowScale := math.Float32frombits(uint32(binary.LittleEndian.Uint16(fp8Scales[i/cols*2:])) << 16)
		intScale := float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(intScales[i/128*2:])) << 16))
		mxScale := math.Ldexp(1, int(mxScales[i/32])-127)
		nvScale := e4m3Values[nvScales[i/16]] * global
		for _, test := range []struct {
			name         string
			got, scale   float64
			step, offset float64
		}{
			// The step is the format's relative error, the offset that of
			// its subnormals or of a group scale that was rounded down.
			{"FP8", signed(e4m3Values, fp8[i], 0x80) * float64(rowScale), float64(rowScale), 1.0 / 16, 1.0 / 512},
			{"FP8 of a tensor", signed(e4m3Values, whole[i], 0x80) * float(wholeScale, 0), float(wholeScale, 0), 1.0 / 16, 1.0 / 512},
			{"FP8 of blocks", signed(e4m3Values, tiles[i], 0x80) * float(tileScales, i%cols/128), float(tileScales, i%cols/128), 1.0 / 16, 1.0 / 512},
			{"INT4", (float64(ints[i/2]>>(i%2*4)&15) - 8) * intScale, intScale, 1.0 / 256, 1.0 / 2},
			{"MXFP4", nibble(mx, i) * mxScale, mxScale, 1.0 / 4, 1.0 / 4},
			{"NVFP4", nibble(nv, i) * nvScale, nvScale, 1.0 / 4, 1.0 / 4},
		} {
			if d := math.Abs(test.got - float64(x)); d > math.Abs(float64(x))*test.step+test.scale*test.offset {
				t.Fatalf("%s: weight %d is %g, dequantised %g", test.name, i, x, test.got)
			}
		}
	}
}

// A block at an edge has the scale of what is left of it.
func TestFP8BlocksCutsEdges(t *testing.T) {
	const rows, cols = 130, 140
	w := make([]float32, rows*cols)
	want := []float32{1, 2, 3, 4} // of the blocks, the largest value over 448
	for i := range w {
		w[i] = 448 * want[i/cols/128*2+i%cols/128]
	}
	codes, scales := FP8Blocks(w, cols)
	if got := F32(want); string(scales) != string(got) {
		t.Errorf("scales %x, want %x", scales, got)
	}
	for i, c := range codes {
		if c != 0x7e {
			t.Fatalf("code %d is %#x, want the largest", i, c)
		}
	}
}
