package main

import (
	"bytes"
	"fmt"
	"slices"
)

// float is a binary format of IEEE 754, or one like it.
type float struct{ exp, mant int }

var half, single32, double = float{5, 10}, float{8, 23}, float{11, 52}

// widen converts the bits of a number to a wider format.
func widen(x uint64, from, to float) uint64 {
	sign := x >> (from.exp + from.mant) & 1
	exp := int(x >> from.mant & (1<<from.exp - 1))
	mant := x & (1<<from.mant - 1)
	bias := 1<<(to.exp-1) - 1<<(from.exp-1)
	switch {
	case exp == 1<<from.exp-1:
		exp = 1<<to.exp - 1
	case exp == 0 && mant == 0:
	case exp == 0:
		exp = 1 + bias
		for mant>>from.mant == 0 {
			mant <<= 1
			exp--
		}
		mant &= 1<<from.mant - 1
	default:
		exp += bias
	}
	return sign<<(to.exp+to.mant) | uint64(exp)<<to.mant | mant<<(to.mant-from.mant)
}

// halfOf is the F16 that widens to the F32 of each BF16 that has one.
var halfOf = func() map[uint64]uint64 {
	m := map[uint64]uint64{}
	for x := range uint64(1 << 16) {
		if w := widen(x, half, single32); w&0xffff == 0 {
			m[w>>16] = x
		}
	}
	return m
}()

// kind is a row of FORMAT.md, "The widened payload".
type kind struct {
	id           byte
	name         string
	wide, narrow int // widths
	dtype        byte
	convert      func(narrow uint64) uint64
}

var kinds = []kind{
	{0, "f32-of-f16", 4, 2, f32, func(x uint64) uint64 { return widen(x, half, single32) }},
	{1, "f16-of-bf16", 2, 2, f16, func(x uint64) uint64 { return halfOf[x] }},
	{2, "f64-of-f32", 8, 4, f64, func(x uint64) uint64 { return widen(x, single32, double) }},
}

// words lays out numbers of width bytes.
func words(width int, list []uint64) (b []byte) {
	for _, x := range list {
		b = append(b, le.AppendUint64(nil, x)[:width]...)
	}
	return b
}

func (k kind) widen(narrow []uint64) []byte {
	var list []uint64
	for _, x := range narrow {
		list = append(list, k.convert(x))
	}
	return words(k.wide, list)
}

// payload is a widened payload.
func (k kind) payload(method byte, inner []byte) []byte {
	return append([]byte{k.id, method}, inner...)
}

// special are numbers of format f at every edge: zeros, subnormals, normals, the
// largest, infinities, NaNs.
func special(f float) map[string][]uint64 {
	sign := uint64(1) << (f.exp + f.mant)
	inf := uint64(1<<f.exp-1) << f.mant
	one := uint64(1<<(f.exp-1)-1) << f.mant
	m := map[string][]uint64{
		"zeros":      {0},
		"subnormals": {1, 2, 3, 1<<f.mant - 1, 1 << (f.mant - 1), 5 << (f.mant / 2)},
		"normals":    {1 << f.mant, one, one + 1, inf - 1, inf - 1<<f.mant, one ^ 1<<f.mant},
		"infinities": {inf},
		"nans":       {inf | 1, inf | 1<<(f.mant-1), inf | 1<<f.mant - 1, inf | 1<<(f.mant-1) | 1, inf | 2},
	}
	for name, list := range m {
		for _, x := range list {
			m[name] = append(m[name], x|sign)
		}
	}
	return m
}

func goodWidened() (list []vector) {
	for _, k := range []kind{kinds[0], kinds[2]} {
		from := half
		if k.id == 2 {
			from = single32
		}
		for name, x := range special(from) {
			list = append(list, single(fmt.Sprintf("widened-%s-%s", k.name, name), "method 8; both signs of "+name, widened, k.dtype,
				k.payload(raw, words(k.narrow, x)), k.widen(x)))
		}
	}
	bf := map[string][]uint64{
		"zeros":      {0, 0x8000},
		"infinities": {0x7f80, 0xff80},
		"nans":       {0x7f81, 0xff81, 0x7fc0, 0xffc0, 0x7fff, 0xffff},
		"normals":    {0x3f80, 0xbf80, 0x3f81, 0x477f, 0xc77f, 0x3880, 0x38ff},
		"subnormals": {0x3380, 0xb380, 0x3400, 0x3440, 0x387f &^ 1, 0x3800, 0x37ff},
	}
	for name, x := range bf {
		for _, y := range x {
			if _, ok := halfOf[y]; !ok {
				panic(fmt.Sprintf("no F16 for %#x", y))
			}
		}
		list = append(list, single("widened-f16-of-bf16-"+name, "method 8; both signs of "+name+" of F16, and zeros to fill", widened, f16,
			filled(x), kinds[1].widen(append(x, make([]uint64, 40)...))))
	}
	return append(list, goodInner()...)
}

// filled is a payload of BF16 as wide as what they widen to, so that only a run of
// 40 zeros after them makes it shorter.
func filled(x []uint64) []byte {
	b := words(2, x)
	f := frame{single: true, size: uint64(len(b) + 80), blocks: append(block(false, 0, len(b), b...), block(true, 1, 80, 0)...)}
	return kinds[1].payload(zstd, sum(f.bytes()))
}

// goodInner are widened payloads by method of what they hold.
func goodInner() []vector {
	ones := slices.Repeat([]uint64{0x3c01}, 50)
	k := kinds[0]
	zeros := sum(frame{single: true, size: 100, blocks: block(true, 1, 100, 0x3c)}.bytes())
	elements := weights(asF16, 700, 21)
	p := inline(asF16, 1, tableOf(asF16, 1, 32, elements), elements)
	var short []uint64 // BF16 that F16 can hold
	for _, w := range weights(asBF16, 700, 22) {
		if _, ok := halfOf[w]; ok {
			short = append(short, w)
		}
	}
	q := inline(asBF16, 1, tableOf(asBF16, 1, 32, short), short)
	c := classesOf(1100, 2, 1, 0)
	rows32 := rows(asF32, 1100, c, 23)
	r := classified(asF32, 4, 0, 32, &c, rows32)
	return []vector{
		single("widened-constant", "a constant of the narrow dtype", widened, f32, k.payload(constant, []byte{1, 0x3c}), k.widen(ones)),
		single("widened-zstd", "a zstd payload of narrow elements", widened, f32, k.payload(zstd, zeros), k.widen(slices.Repeat([]uint64{0x3c3c}, 50))),
		single("widened-rans-f16", "a rANS payload of F16", widened, f32, k.payload(rans, p.bytes()), k.widen(elements)),
		single("widened-rans-bf16", "a rANS payload of BF16", widened, f16, kinds[1].payload(rans, q.bytes()), kinds[1].widen(short)),
		single("widened-rans-f32", "a rANS payload of F32, with classes and 256 lanes", widened, f64, kinds[2].payload(rans, r.bytes()), kinds[2].widen(rows32)),
		single("widened-foreign", "F32 of F16, whatever the dtype", widened, bytesType, k.payload(rans, p.bytes()), k.widen(elements)),
		single("widened-one", "one element", widened, f64, kinds[2].payload(raw, []byte{0, 0, 0x80, 0x3f}), []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}),
	}
}

func badWidened() (list []vector) {
	ones := slices.Repeat([]uint64{0x3c01}, 50)
	k := kinds[0]
	decoded := k.widen(ones)
	bad := func(name, expect, comment string, payload []byte) {
		list = append(list, after(name, expect, comment, f32, chunk(widened, f32, payload, decoded)))
	}
	narrow := words(2, ones)
	bad("widened-kind-3", "unsupported", "kind 3", []byte{3, constant, 1, 0x3c})
	bad("widened-kind-255", "unsupported", "kind 255", []byte{255, constant, 1, 0x3c})
	for _, m := range []byte{fields, 6, 7, widened, 9, 254, 255} {
		bad(fmt.Sprintf("widened-method-%d", m), "unsupported", fmt.Sprintf("narrow elements in a payload of method %d", m), k.payload(m, narrow))
	}
	bad("widened-none", "corrupt", "an empty payload", nil)
	bad("widened-cut", "corrupt", "a payload of one byte", []byte{0})
	bad("widened-raw-short", "corrupt", "an element less", k.payload(raw, narrow[2:]))
	bad("widened-raw-long", "corrupt", "an element more", k.payload(raw, append(slices.Clone(narrow), 1, 0x3c)))
	bad("widened-raw-none", "corrupt", "no elements", k.payload(raw, nil))
	bad("widened-constant-wide", "corrupt", "a constant of the wide dtype", k.payload(constant, decoded[:4]))
	bad("widened-zstd-wide", "corrupt", "a zstd payload of the size of the wide elements", k.payload(zstd,
		sum(frame{single: true, size: 200, blocks: block(true, 1, 200, 0)}.bytes())))
	bad("widened-rans-cut", "corrupt", "a rANS payload of eleven bytes", k.payload(rans, make([]byte, 11)))
	bad("widened-element", "corrupt", "an element is another than its hash covers", k.payload(raw, append([]byte{2, 0x3c}, narrow[2:]...)))
	bad("widened-kind-other", "corrupt", "F16 of BF16 where F32 of F16 is meant", []byte{1, constant, 1, 0x3c})
	size := func(name, comment string, d byte, payload []byte, size int) {
		list = append(list, corrupt(name, comment, d, chunk(widened, d, payload, bytes.Repeat(decoded[:2], size/2))))
	}
	size("widened-size-f32", "half an element of F32 too many", bf16, k.payload(constant, []byte{1, 0x3c}), 202)
	size("widened-size-f32-half", "half an element of F32", bf16, k.payload(raw, nil), 2)
	size("widened-size-f64", "half an element of F64 too many", f32, kinds[2].payload(constant, []byte{0, 0, 0x80, 0x3f}), 204)
	list = append(list, corrupt("widened-size-f16", "a byte that is half an element of F16", u8,
		chunk(widened, u8, kinds[1].payload(constant, []byte{0x80, 0x3f}), make([]byte, 101))))
	return append(list, badHalves()...)
}

// badHalves are BF16 elements that no F16 equals.
func badHalves() (list []vector) {
	add := func(name, comment string, x uint64) {
		if _, ok := halfOf[x]; ok {
			panic(fmt.Sprintf("an F16 for %#x", x))
		}
		list = append(list, corrupt("widened-half-"+name, "kind 1: "+comment, f16, chunk(widened, f16, filled([]uint64{x}), make([]byte, 82))))
	}
	add("large", "65,536 is too large for F16", 0x4780)
	add("largest", "the largest BF16", 0x7f7f)
	add("small", "2^-25 is too small for F16", 0x3300)
	add("tiny", "a subnormal BF16", 0x8001)
	add("inexact", "1.5 * 2^-24 lies between two F16", 0x33c0)
	return list
}
