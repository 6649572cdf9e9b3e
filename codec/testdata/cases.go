package main

import (
	"bytes"
	"fmt"
	"slices"
)

func vectors() []vector {
	return slices.Concat(
		good(), goodRANS(), goodSegments(), goodClasses(), goodFields(), goodWidened(), goodContext(),
		badPrologue(), badTables(), badHeader(), badTrailer(), badOrder(),
		badPayload(), badZstd(), badRANS(), badPlanes(), badSegments(), badClasses(), badFields(), badWidened(), badContext(),
	)
}

// seven is a chunk that is released before the bad one in most cases.
func seven() (encoded, decoded []byte) {
	decoded = []byte{7, 7, 7, 7}
	return chunk(constant, u8, []byte{7}, decoded), decoded
}

// success is a vector of one layer that decodes to decoded.
func success(name, comment string, d byte, l layer, decoded []byte) vector {
	return vector{name, "success", comment, d, l.bytes(), decoded}
}

// single is a vector of one chunk that decodes to decoded.
func single(name, comment string, method, d byte, payload, decoded []byte, tables ...[]byte) vector {
	return success(name, comment, d, layer{tables: tables, chunks: [][]byte{chunk(method, d, payload, decoded)}}, decoded)
}

// after is a vector whose second chunk is bad.
func after(name, expect, comment string, d byte, bad []byte, tables ...[]byte) vector {
	first, released := seven()
	l := layer{tables: tables, chunks: [][]byte{first, bad}}
	return vector{name, expect, comment, d, l.bytes(), released}
}

func corrupt(name, comment string, d byte, bad []byte, tables ...[]byte) vector {
	return after(name, "corrupt", comment, d, bad, tables...)
}

func ramp(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 37)
	}
	return b
}

func good() []vector {
	first, four := seven()
	text := bytes.Repeat([]byte("layer "), 40)
	lists := [][]byte{chunk(raw, bytesType, text, text), first, chunk(constant, bf16, []byte{0x80, 0x3f}, bytes.Repeat([]byte{0x80, 0x3f}, 9))}
	run := frame{single: true, size: 300, blocks: block(true, 1, 300, 'x')}.bytes()
	run240 := slices.Concat(text[:200], bytes.Repeat([]byte{0}, 40))
	mixed := frame{single: true, size: 240, blocks: append(block(false, 0, 200, text[:200]...), block(true, 1, 40, 0)...)}.bytes()
	return []vector{
		success("empty", "a layer without chunks", bytesType, layer{}, nil),
		single("raw", "method 0", raw, bytesType, text, text),
		single("raw-one-byte", "the smallest chunk", raw, u8, []byte{9}, []byte{9}),
		single("constant", "method 1, of one element", constant, u8, []byte{7}, four),
		single("constant-largest", "a constant chunk of 1 Mi elements", constant, bf16, []byte{1, 2}, bytes.Repeat([]byte{1, 2}, 1<<20)),
		single("constant-f64", "a constant of eight bytes", constant, f64, ramp(8), bytes.Repeat(ramp(8), 3)),
		single("constant-largest-q4_k", "a constant chunk of as many blocks of 144 bytes as 4 MiB hold", constant, q4K,
			ramp(144), bytes.Repeat(ramp(144), 4<<20/144)),
		success("chunks", "three chunks of three dtypes", bytesType, layer{chunks: lists},
			slices.Concat(text, four, bytes.Repeat([]byte{0x80, 0x3f}, 9))),
		success("repeated-chunk", "the same chunk twice, and the trailer says so", u8, layer{chunks: [][]byte{first, first}}, slices.Concat(four, four)),
		single("zstd-run", "method 2, a block that repeats one byte", zstd, bytesType, sum(run), bytes.Repeat([]byte{'x'}, 300)),
		single("zstd-blocks", "method 2, two blocks", zstd, bytesType, sum(mixed), run240),
		everyDtype(), workedExample(),
	}
}

// everyDtype has two elements of each dtype, as a constant, whose payload has the
// width of the dtype.
func everyDtype() vector {
	var l layer
	var decoded []byte
	for d, info := range dtypes {
		b := bytes.Repeat(ramp(info.width), 2)
		l.chunks = append(l.chunks, chunk(constant, byte(d), ramp(info.width), b))
		decoded = append(decoded, b...)
	}
	return success("dtypes", "two elements of every dtype", bytesType, l, decoded)
}

func workedExample() vector {
	elements := make([]uint64, 200)
	for i := range elements {
		elements[i] = uint64(127-i%5) << 7
	}
	elements[100] = 0
	t := table{0, 1, []symbol{{123, 0, 51}, {124, 0, 51}, {125, 0, 51}, {126, 0, 51}, {127, 0, 51}}}
	p := inline(asBF16, 1, t, elements)
	p.modes, p.rest = 1<<2, []byte{0}
	b := bytesOf(asBF16, elements)
	first, four := seven()
	return success("worked-example", "the example of FORMAT.md", bf16, layer{chunks: [][]byte{
		chunk(rans, bf16, p.bytes(), b), first,
	}}, append(b, four...))
}

// dtypeOf is the dtype that a layout is made for.
func dtypeOf(f layout) byte {
	return map[byte]byte{1: bf16, 2: f16, 3: f32, 4: e4m3, 5: e5m2, 6: u8, 7: f4}[f.id]
}

func goodRANS() (list []vector) {
	for _, f := range layouts {
		for top := range min(3, f.mant) + 1 {
			n, comment := 1501, "method 3; 1501 elements are not a multiple of 8 nor of 64"
			if f == asNibble {
				n, comment = 1502, "method 3; 1502 elements are not a multiple of 8 nor of 64"
			}
			elements := weights(f, n, uint64(f.id)*10+uint64(top))
			p := inline(f, 1, tableOf(f, top, 32, elements), elements)
			list = append(list, single(fmt.Sprintf("rans-%s-top%d", f.name, top), comment, rans, dtypeOf(f), p.bytes(), bytesOf(f, elements)))
		}
	}
	list = append(list, goodModels()...)
	foreign := func(name, comment string, f layout, d byte, n int) {
		elements := weights(f, n, uint64(d))
		p := inline(f, 1, tableOf(f, 0, 32, elements), elements)
		list = append(list, single(name, comment, rans, d, p.bytes(), bytesOf(f, elements)))
	}
	foreign("layout-of-bytes", "layout BF16 for bytes that are no tensor", asBF16, bytesType, 400)
	foreign("layout-of-i64", "layout F16 for elements of eight bytes", asF16, i64, 800)
	foreign("layout-wider", "layout F32 for BF16", asF32, bf16, 300)
	foreign("layout-narrower", "layout byte for F32", asByte, f32, 900)
	foreign("layout-of-blocks", "layout nibble for blocks of 18 bytes", asNibble, q4_0, 36*30)
	return list
}

// goodModels are chunks of one table and one top mantissa bit.
func goodModels() (list []vector) {
	add := func(name, comment string, f layout, groups, most int, elements []uint64, change func(p *payload)) {
		p := inline(f, groups, tableOf(f, min(1, f.mant), most, elements), elements)
		if change != nil {
			change(&p)
		}
		list = append(list, single(name, comment, rans, dtypeOf(f), p.bytes(), bytesOf(f, elements)))
	}
	w := weights(asBF16, 1536, 1)
	add("rans-four-groups", "256 lanes; six whole rows", asBF16, 4, 32, w, nil)
	add("rans-four-groups-partial", "256 lanes; the last row has one element", asBF16, 4, 32, weights(asBF16, 1281, 2), nil)
	add("rans-four-groups-nibble", "256 lanes; the last row ends within a group", asNibble, 4, 32, weights(asNibble, 2*1200+70, 2), nil)
	flat := make([]uint64, 60)
	for i := range flat {
		flat[i] = uint64(i%3) << 23
	}
	add("rans-idle-lanes", "60 elements, so that four lanes are never used", asF32, 1, 32, flat, func(p *payload) {
		p.modes, p.rest = 1|1<<2|1<<4, []byte{0, 0, 0}
	})
	add("rans-escapes", "a table of eight symbols and an escape", asBF16, 1, 9, w, nil)
	add("rans-escapes-nibble", "a table of four symbols and an escape; no mantissa bits", asNibble, 1, 5, weights(asNibble, 2400, 9), nil)
	same := slices.Repeat([]uint64{0x3f80}, 400)
	for i := range same {
		same[i] |= uint64(i*29) & 0x3f
	}
	add("rans-one-symbol", "all elements have one symbol: frequency 255, the escape takes the slot left", asBF16, 1, 32, same, nil)
	var many []uint64
	for i := range 1600 {
		many = append(many, uint64(i&1)<<15|uint64(100+i/2%16)<<7|uint64(i*13)&0x7f)
	}
	add("rans-32-symbols", "31 symbols and the escape; one value escapes", asBF16, 1, 32, many, nil)
	plain := weights(asBF16, 1000, 3)
	for i := range plain {
		plain[i] = plain[i]&^0x803f | 0x8015
	}
	add("rans-packed-zstd", "the packed plane in a zstd payload", asBF16, 1, 32, plain, func(p *payload) {
		p.modes = 2
		z := stored(p.rest)
		p.rest = append(le.AppendUint32(nil, uint32(len(z))), z...)
	})
	wide := weights(asBF16, 700, 5)
	for i := range wide {
		wide[i] <<= 16
	}
	add("rans-plane-constant", "F32 that holds BF16: two constant planes and one packed", asF32, 1, 32, wide, func(p *payload) {
		packed := (700 + 7) / 8 * 7
		p.modes, p.rest = 1<<2|1<<4, append(p.rest[:packed:packed], 0, 0)
	})
	add("rans-no-escape", "the frequency of the escape is 0", asE5M2, 1, 32, weights(asE5M2, 800, 4), nil)
	return list
}

// tensors is three tensors of two scales and their two tables.
func tensors() (elements []uint64, a, b table) {
	x, y, z := weights(asBF16, 301, 6), weights(asBF16, 70, 7), weights(asBF16, 259, 8)
	for i := range y {
		y[i] -= 20 << 7
	}
	a, b = tableOf(asBF16, 1, 8, x), tableOf(asBF16, 1, 8, y)
	return slices.Concat(x, y, z), a, b
}

func goodSegments() []vector {
	elements, a, b := tensors()
	segments := []segment{{run{301, a}, 1}, {run{70, b}, 2}, {run{259, a}, 1}}
	tables := [][]byte{table{0, 1, []symbol{{3, 0, 255}}}.shared(asF16), a.shared(asBF16), b.shared(asBF16)}
	p, four := segmented(asBF16, 1, segments, elements), segmented(asBF16, 4, segments, elements)
	decoded := bytesOf(asBF16, elements)
	nibbles := weights(asNibble, 1502, 10)
	n := tableOf(asNibble, 0, 32, nibbles)
	return []vector{
		single("shared-segments", "three tensors in one chunk, two tables of the prologue", rans, bf16, p.bytes(), decoded, tables...),
		single("shared-segments-four-groups", "segments are no multiple of 256 lanes", rans, bf16, four.bytes(), decoded, tables...),
		single("shared-foreign", "the tables are for the layout, whatever the dtype", rans, bytesType, p.bytes(), decoded, tables...),
		single("shared-nibble", "segments of 301 and 1201 halves of bytes", rans, f4,
			segmented(asNibble, 1, []segment{{run{301, n}, 0}, {run{1201, n}, 0}}, nibbles).bytes(), bytesOf(asNibble, nibbles), n.shared(asNibble)),
		success("shared-tables-unused", "tables that no chunk uses", bytesType, layer{tables: tables}, nil),
		success("shared-tables-layouts", "a table for every layout", bytesType, layer{tables: everyTable()}, nil),
	}
}

// everyTable is a table for each layout and top.
func everyTable() (list [][]byte) {
	for _, f := range layouts {
		for top := range min(3, f.mant) + 1 {
			list = append(list, table{top, 6, []symbol{{1, 0, 100}, {1<<f.exp - 1, 1<<top - 1, 150}}}.shared(f))
		}
	}
	return list
}
