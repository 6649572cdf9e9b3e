//go:build ignore

package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"
)

func vectors() []vector {
	return slices.Concat(good(), goodRANS(), badPrologue(), badTables(), badHeader(), badPayload(), badZstd(), badRANS(), badPlanes(), badSegments(), badTrailer(), badOrder())
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
	list := []vector{
		success("empty", "a layer without chunks", bytesType, layer{}, nil),
		success("raw", "method 0", bytesType, layer{chunks: lists[:1]}, text),
		success("raw-one-byte", "the smallest chunk", u8, layer{chunks: [][]byte{chunk(raw, u8, []byte{9}, []byte{9})}}, []byte{9}),
		success("constant", "method 1, of one element", u8, layer{chunks: [][]byte{first}}, four),
		success("constant-largest", "a constant chunk of 1 Mi elements", bf16, layer{chunks: [][]byte{
			chunk(constant, bf16, []byte{1, 2}, bytes.Repeat([]byte{1, 2}, 1<<20)),
		}}, bytes.Repeat([]byte{1, 2}, 1<<20)),
		success("constant-f64", "a constant of eight bytes", f64, layer{chunks: [][]byte{
			chunk(constant, f64, ramp(8), bytes.Repeat(ramp(8), 3)),
		}}, bytes.Repeat(ramp(8), 3)),
		success("chunks", "three chunks of three dtypes", bytesType, layer{chunks: lists},
			slices.Concat(text, four, bytes.Repeat([]byte{0x80, 0x3f}, 9))),
		success("repeated-chunk", "the same chunk twice, and the trailer says so", u8, layer{chunks: [][]byte{first, first}}, slices.Concat(four, four)),
		success("zstd-run", "method 2, a block that repeats one byte", bytesType, layer{chunks: [][]byte{
			chunk(zstd, bytesType, sum(run), bytes.Repeat([]byte{'x'}, 300)),
		}}, bytes.Repeat([]byte{'x'}, 300)),
		success("zstd-blocks", "method 2, two blocks", bytesType, layer{chunks: [][]byte{
			chunk(zstd, bytesType, sum(mixed), run240),
		}}, run240),
	}
	elements := make([]uint64, 200)
	for i := range elements {
		elements[i] = uint64(127-i%5) << 7
	}
	elements[100] = 0
	t := table{0, 1, []symbol{{123, 0, 51}, {124, 0, 51}, {125, 0, 51}, {126, 0, 51}, {127, 0, 51}}}
	p := encode(dtypes[bf16], 1, []segment{{len(elements), -1, t}}, elements)
	p.modes, p.rest = 1<<2, []byte{0}
	b := bytesOf(dtypes[bf16], elements)
	return append(list, success("worked-example", "the example of FORMAT.md", bf16, layer{chunks: [][]byte{
		chunk(rans, bf16, p.bytes(), b), first,
	}}, append(b, four...)))
}

// one is a layer of one rANS chunk.
func one(d byte, p payload, elements []uint64, tables ...[]byte) layer {
	return layer{tables: tables, chunks: [][]byte{chunk(rans, d, p.bytes(), bytesOf(dtypes[d], elements))}}
}

func goodRANS() (list []vector) {
	for _, d := range []byte{bf16, f16, f32, e4m3, e5m2, 21, 22} {
		dt := dtypes[d]
		for top := range min(3, dt.mant) + 1 {
			elements := weights(dt, 1501, uint64(d)*10+uint64(top))
			t := tableOf(dt, top, 32, elements)
			p := encode(dt, 1, []segment{{len(elements), -1, t}}, elements)
			list = append(list, success(fmt.Sprintf("rans-%s-top%d", dt.name, top),
				"method 3; 1501 elements are not a multiple of 8 nor of 64", d, one(d, p, elements), bytesOf(dt, elements)))
		}
	}
	add := func(name, comment string, d byte, groups, most int, elements []uint64, change func(p *payload)) {
		dt := dtypes[d]
		p := encode(dt, groups, []segment{{len(elements), -1, tableOf(dt, 1, most, elements)}}, elements)
		if change != nil {
			change(&p)
		}
		list = append(list, success(name, comment, d, one(d, p, elements), bytesOf(dt, elements)))
	}
	dt := dtypes[bf16]
	w := weights(dt, 1536, 1)
	add("rans-four-groups", "256 lanes; six whole rows", bf16, 4, 32, w, nil)
	add("rans-four-groups-partial", "256 lanes; the last row has one element", bf16, 4, 32, weights(dt, 1281, 2), nil)
	flat := make([]uint64, 60)
	for i := range flat {
		flat[i] = uint64(i%3) << 23
	}
	add("rans-idle-lanes", "60 elements, so that four lanes are never used", f32, 1, 32, flat, func(p *payload) {
		p.modes, p.rest = 1|1<<2|1<<4, []byte{0, 0, 0}
	})
	add("rans-escapes", "a table of eight symbols and an escape", bf16, 1, 9, w, nil)
	same := slices.Repeat([]uint64{0x3f80}, 400)
	for i := range same {
		same[i] |= uint64(i*29) & 0x3f
	}
	add("rans-one-symbol", "all elements have one symbol: frequency 255, the escape takes the slot left", bf16, 1, 32, same, nil)
	var many []uint64
	for i := range 1600 {
		many = append(many, uint64(i&1)<<15|uint64(100+i/2%16)<<7|uint64(i*13)&0x7f)
	}
	add("rans-32-symbols", "31 symbols and the escape; one value escapes", bf16, 1, 32, many, nil)
	plain := weights(dt, 1000, 3)
	for i := range plain {
		plain[i] = plain[i]&^0x803f | 0x8015
	}
	add("rans-packed-zstd", "the packed plane in a zstd payload", bf16, 1, 32, plain, func(p *payload) {
		p.modes = 2
		z := sum(frame{single: true, size: 875, blocks: block(true, 0, 875, p.rest...)}.bytes())
		p.rest = append(le.AppendUint32(nil, uint32(len(z))), z...)
	})
	add("rans-plane-constant", "F32 that holds BF16: two constant planes and one packed", f32, 1, 32, widened(), func(p *payload) {
		packed := (700 + 7) / 8 * 7
		p.modes, p.rest = 1<<2|1<<4, append(p.rest[:packed:packed], 0, 0)
	})
	add("rans-no-escape", "the frequency of the escape is 0", e5m2, 1, 32, weights(dtypes[e5m2], 800, 4), nil)
	return append(list, goodSegments()...)
}

func widened() []uint64 {
	w := weights(dtypes[bf16], 700, 5)
	for i := range w {
		w[i] <<= 16
	}
	return w
}

// tensors is three tensors of two scales and their two tables.
func tensors() (elements []uint64, a, b table) {
	dt := dtypes[bf16]
	x, y, z := weights(dt, 301, 6), weights(dt, 70, 7), weights(dt, 259, 8)
	for i := range y {
		y[i] -= 20 << 7
	}
	a, b = tableOf(dt, 1, 8, x), tableOf(dt, 1, 8, y)
	return slices.Concat(x, y, z), a, b
}

func goodSegments() []vector {
	dt := dtypes[bf16]
	elements, a, b := tensors()
	segments := []segment{{301, 1, a}, {70, 2, b}, {259, 1, a}}
	tables := [][]byte{table{0, 1, []symbol{{3, 0, 255}}}.shared(f16), a.shared(bf16), b.shared(bf16)}
	p := encode(dt, 1, segments, elements)
	four := encode(dt, 4, segments, elements)
	decoded := bytesOf(dt, elements)
	return []vector{
		success("shared-segments", "three tensors in one chunk, two tables of the prologue", bf16, one(bf16, p, elements, tables...), decoded),
		success("shared-segments-four-groups", "segments are no multiple of 256 lanes", bf16, one(bf16, four, elements, tables...), decoded),
		success("shared-tables-unused", "tables that no chunk uses", bytesType, layer{tables: tables}, nil),
	}
}

func badPrologue() []vector {
	c, _ := seven()
	l := layer{chunks: [][]byte{c}}
	change := func(name, expect, comment string, f func(b []byte) []byte) vector {
		return vector{name, expect, comment, u8, f(l.bytes()), nil}
	}
	resum := func(b []byte) []byte {
		copy(b[24:], le.AppendUint64(nil, xxh3.Hash(b[:24])))
		return b
	}
	set := func(name, expect, comment string, l layer) vector {
		l.chunks = [][]byte{c}
		return vector{name, expect, comment, u8, l.bytes(), nil}
	}
	return []vector{
		change("prologue-magic", "corrupt", "another magic", func(b []byte) []byte { b[4] = 'X'; return resum(b) }),
		change("prologue-gzip", "corrupt", "starts like gzip", func(b []byte) []byte { b[0], b[1] = 0x1f, 0x8b; return resum(b) }),
		change("prologue-zstd", "corrupt", "starts like zstd", func(b []byte) []byte { copy(b, "\x28\xb5\x2f\xfd"); return resum(b) }),
		change("prologue-newline", "corrupt", "a transfer in text mode changed CR LF to LF", func(b []byte) []byte { return append(b[:5:5], b[6:]...) }),
		change("prologue-hash", "corrupt", "the hash of the prologue is wrong", func(b []byte) []byte { b[24] ^= 1; return b }),
		change("prologue-nothing", "truncated", "no bytes at all", func(b []byte) []byte { return nil }),
		change("prologue-cut", "truncated", "ends in the prologue", func(b []byte) []byte { return b[:20] }),
		change("prologue-cut-hash", "truncated", "ends in the hash of the prologue", func(b []byte) []byte { return b[:31] }),
		set("prologue-version", "unsupported", "a newer version", layer{version: 1}),
		change("prologue-version-only", "unsupported", "a newer version, whose hash this reader need not understand", func(b []byte) []byte { b[8] = 2; return b }),
		set("prologue-flags", "unsupported", "a flag that is not known", layer{flags: 1}),
		set("prologue-reserved", "unsupported", "a reserved bit", layer{reserved: 1 << 31}),
		set("prologue-bases", "unsupported", "a layer that is a difference from one base", layer{bases: 1}),
	}
}

func badTables() []vector {
	c, _ := seven()
	ok := table{1, 6, []symbol{{120, 0, 100}, {121, 1, 150}}}
	set := func(name, comment string, l layer) vector {
		l.chunks = [][]byte{c}
		return vector{name, "corrupt", comment, u8, l.bytes(), nil}
	}
	bad := func(name, comment string, t []byte) vector { return set(name, comment, layer{tables: [][]byte{t}}) }
	var exps []symbol
	for e := range 32 {
		exps = append(exps, symbol{e, 0, 8})
	}
	largest := slices.Repeat([][]byte{ok.shared(bf16)}, 1)
	return []vector{
		bad("table-sum-255", "frequencies sum to 255", table{1, 5, ok.symbols}.shared(bf16)),
		bad("table-sum-512", "frequencies sum to 512", table{0, 2, []symbol{{1, 0, 255}, {2, 0, 255}}}.shared(bf16)),
		bad("table-unsorted", "exponents descend", table{0, 6, []symbol{{121, 0, 100}, {120, 0, 150}}}.shared(bf16)),
		bad("table-repeated", "an exponent twice", []byte{bf16, 0, 2, 6, 120, 100, 120, 150}),
		bad("table-many", "32 symbols and the escape", table{0, 0, exps}.shared(bf16)),
		bad("table-none", "no exponents", []byte{bf16, 0, 0, 255}),
		bad("table-empty-exponent", "an exponent without a frequency", []byte{bf16, 0, 2, 6, 120, 250, 121, 0}),
		bad("table-exponent", "exponent 32 of five bits", table{0, 6, []symbol{{32, 0, 250}}}.shared(f16)),
		bad("table-top", "four top mantissa bits", table{4, 6, []symbol{{120, 0, 250}}}.shared(bf16)),
		bad("table-top-e5m2", "three top mantissa bits of two", table{3, 6, []symbol{{12, 0, 250}}}.shared(e5m2)),
		bad("table-dtype", "a table for a dtype without a float layout", table{0, 6, []symbol{{120, 0, 250}}}.shared(u8)),
		bad("table-dtype-unknown", "a table for a dtype that is not known", table{0, 6, []symbol{{120, 0, 250}}}.shared(200)),
		bad("table-cut", "the last table ends early", ok.shared(bf16)[:5]),
		set("table-fewer", "one table less than the number says", layer{tables: largest, tableCount: 1}),
		set("table-more", "one table more than the number says", layer{tables: slices.Repeat(largest, 2), tableCount: -1}),
		set("table-256", "256 tables", layer{tables: slices.Repeat(largest, 256)}),
		set("table-bytes", "65,537 bytes of tables", layer{tables: [][]byte{make([]byte, 65537)}}),
	}
}

func badHeader() []vector {
	four := []byte{1, 2, 3, 4}
	with := func(name, expect, comment string, d byte, f func(h *header), payload []byte) vector {
		h := header{raw, d, 0, uint32(len(payload)), uint32(len(payload)), xxh3.Hash(payload)}
		f(&h)
		return after(name, expect, comment, d, append(h.bytes(), payload...))
	}
	sized := func(n uint32) func(h *header) { return func(h *header) { h.decoded = n } }
	broken := chunk(raw, u8, four, four)
	broken[20] ^= 0x80
	wrong := chunk(raw, u8, four, four)
	h := header{raw, u8, 0, 4, 4, xxh3.Hash(four) + 1}
	copy(wrong, h.bytes())
	return []vector{
		corrupt("header-sum", "check sum of the header", u8, broken),
		corrupt("header-hash", "hash of the decoded bytes", u8, wrong),
		with("header-flag-base", "unsupported", "the chunk is a difference from a base", u8, func(h *header) { h.flags = 1 }, four),
		with("header-flag-low", "unsupported", "flag 1 is not known", u8, func(h *header) { h.flags = 2 }, four),
		with("header-flag-high", "unsupported", "flag 15 is not known", u8, func(h *header) { h.flags = 1 << 15 }, four),
		with("header-method", "unsupported", "method 4 is reserved", u8, func(h *header) { h.method = 4 }, four),
		with("header-method-private", "unsupported", "a private method", u8, func(h *header) { h.method = 254 }, four),
		with("header-dtype", "unsupported", "dtype 23 is not known", 0, func(h *header) { h.dtype = 23 }, four),
		with("header-decoded-0", "corrupt", "decoded size 0", u8, func(h *header) { h.decoded, h.payload = 0, 0 }, nil),
		with("header-decoded-0-payload", "corrupt", "decoded size 0 with a payload", u8, sized(0), four),
		corrupt("header-decoded-large", "one element more than a chunk holds", bf16, chunk(constant, bf16, []byte{0, 0}, make([]byte, 2<<20+2))),
		corrupt("header-decoded-4MiB-u8", "4 MiB of a dtype of width 1", u8, chunk(constant, u8, []byte{0}, make([]byte, 4<<20))),
		corrupt("header-decoded-8MiB-f64", "8 MiB, though no more than 1 Mi elements", f64, chunk(constant, f64, make([]byte, 8), make([]byte, 8<<20))),
		with("header-decoded-huge", "corrupt", "decoded size 2^32-1", u8, sized(1<<32-1), four),
		corrupt("header-decoded-odd", "decoded size is not whole elements", bf16, chunk(raw, bf16, ramp(5), ramp(5))),
		corrupt("header-payload", "the payload is longer than the decoded bytes", u8, chunk(zstd, u8,
			sum(frame{single: true, size: 9, blocks: block(true, 0, 9, ramp(9)...)}.bytes()), ramp(9))),
		with("header-payload-huge", "corrupt", "payload size 2^32-1", u8, func(h *header) { h.payload = 1<<32 - 1 }, four),
		with("header-payload-negative", "corrupt", "payload size 2^31: negative where an int has 32 bits", u8, func(h *header) { h.payload = 1 << 31 }, four),
	}
}

func badPayload() []vector {
	return []vector{
		corrupt("raw-short", "three bytes for four", u8, chunk(raw, u8, []byte{1, 2, 3}, []byte{1, 2, 3, 0})),
		corrupt("raw-none", "no payload", u8, chunk(raw, u8, nil, []byte{0, 0})),
		corrupt("constant-narrow", "one byte for elements of two", bf16, chunk(constant, bf16, []byte{0}, make([]byte, 8))),
		corrupt("constant-wide", "four bytes for elements of two", bf16, chunk(constant, bf16, []byte{0, 0, 0, 0}, make([]byte, 8))),
		corrupt("constant-none", "no element", u8, chunk(constant, u8, nil, make([]byte, 8))),
		corrupt("rans-dtype", "the rANS method for integers", u32, chunk(rans, u32, ramp(200), ramp(400))),
	}
}

func badZstd() []vector {
	decoded := bytes.Repeat([]byte{'x'}, 300)
	run := block(true, 1, 300, 'x')
	bad := func(name, comment string, payload []byte) vector {
		return corrupt(name, comment, bytesType, chunk(zstd, bytesType, payload, decoded))
	}
	good := frame{single: true, size: 300, blocks: run}.bytes()
	flip := sum(good)
	flip[0] ^= 1
	return []vector{
		bad("zstd-sum", "check sum of the frame", flip),
		bad("zstd-no-sum", "a payload of three bytes", []byte{1, 2, 3}),
		bad("zstd-no-frame", "a payload without a frame", sum(nil)),
		bad("zstd-magic", "not a frame", sum(ramp(40))),
		bad("zstd-size-less", "content size 299 for 300", sum(frame{single: true, size: 299, blocks: block(true, 1, 299, 'x')}.bytes())),
		bad("zstd-size-more", "content size 301 for 300", sum(frame{single: true, size: 301, blocks: block(true, 1, 301, 'x')}.bytes())),
		bad("zstd-size-lie", "content size 300, but 299 bytes", sum(frame{single: true, size: 300, blocks: block(true, 1, 299, 'x')}.bytes())),
		bad("zstd-bomb", "content size 300, but a block of 128 KiB", sum(frame{single: true, size: 300, blocks: block(true, 1, 128<<10, 'x')}.bytes())),
		bad("zstd-bomb-size", "content size 1 TiB", sum(frame{single: true, size: 1 << 40, blocks: run}.bytes())),
		bad("zstd-two-frames", "two frames of 150 bytes", sum(slices.Repeat(frame{single: true, size: 150, blocks: block(true, 1, 150, 'x')}.bytes(), 2))),
		bad("zstd-second-frame", "a second frame of 300 bytes", sum(slices.Repeat(good, 2))),
		bad("zstd-empty-frame", "a second frame, of no bytes", sum(append(slices.Clone(good), frame{single: true, blocks: block(true, 0, 0)}.bytes()...))),
		bad("zstd-skippable-after", "a skippable frame after the frame", sum(append(slices.Clone(good), 0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9))),
		bad("zstd-trailing", "two bytes after the frame", sum(append(slices.Clone(good), 0, 0))),
		bad("zstd-window", "a window of 3.75 TB", sum(frame{window: 0xff, size: 300, blocks: run}.bytes())),
		bad("zstd-window-small", "a window where a single segment is required", sum(frame{window: 0, size: 300, blocks: run}.bytes())),
		bad("zstd-dictionary", "a frame that needs a dictionary", sum(frame{single: true, size: 300, dictionary: 9, blocks: run}.bytes())),
		bad("zstd-reserved-block", "a block of the reserved kind 3", sum(frame{single: true, size: 300, blocks: block(true, 3, 300, 'x')}.bytes())),
		bad("zstd-skippable", "a skippable frame and nothing else", sum([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4})),
		bad("zstd-cut-header", "the frame ends in its header", sum(good[:6])),
		bad("zstd-cut-block", "the frame ends in its block", sum(good[:len(good)-1])),
		bad("zstd-not-last", "the frame ends without a last block", sum(frame{single: true, size: 300, blocks: block(false, 1, 300, 'x')}.bytes())),
	}
}

func badRANS() (list []vector) {
	dt := dtypes[bf16]
	elements := weights(dt, 600, 11)
	bad := func(name, expect, comment string, most int, f func(p *payload)) {
		p := encode(dt, 1, []segment{{len(elements), -1, tableOf(dt, 1, most, elements)}}, elements)
		f(&p)
		list = append(list, after(name, expect, comment, bf16, chunk(rans, bf16, p.bytes(), bytesOf(dt, elements))))
	}
	bad("rans-top", "corrupt", "four top mantissa bits", 32, func(p *payload) {
		*p = encode(dt, 1, []segment{{len(elements), -1, tableOf(dt, 4, 32, elements)}}, elements)
	})
	bad("rans-groups-0", "corrupt", "no group", 32, func(p *payload) { p.groups = 0 })
	bad("rans-groups-2", "corrupt", "two groups", 32, func(p *payload) {
		*p = encode(dt, 2, []segment{{len(elements), -1, tableOf(dt, 1, 32, elements)}}, elements)
	})
	bad("rans-model", "unsupported", "model 2 is not known", 32, func(p *payload) { p.model = 2 })
	list = append(list, corrupt("rans-header", "a payload of eleven bytes", bf16, chunk(rans, bf16, make([]byte, 11), bytesOf(dt, elements))))
	bad("rans-table-sum", "corrupt", "the table's frequencies sum to 257", 32, func(p *payload) { p.tables[1]++ })
	bad("rans-table-cut", "corrupt", "the payload ends in the table", 32, func(p *payload) { *p = payload{top: 1, groups: 1, tables: p.tables[:4]} })
	bad("rans-state-255", "corrupt", "the state of lane 5 is 255", 32, func(p *payload) { p.states[5], p.states[64+5] = 255, 0 })
	bad("rans-state-0", "corrupt", "all states are 0", 32, func(p *payload) { clear(p.states) })
	bad("rans-state-other", "corrupt", "a state from which the stream does not end at 256", 32, func(p *payload) { p.states[64+9] ^= 0x40 })
	bad("rans-states-cut", "corrupt", "the payload ends in the states", 32, func(p *payload) {
		*p = payload{top: 1, groups: 1, tables: p.tables, states: p.states[:100]}
	})
	bad("rans-stream-short", "corrupt", "the stream lacks its last byte", 32, func(p *payload) { p.stream = p.stream[:len(p.stream)-1] })
	bad("rans-stream-long", "corrupt", "a byte of the stream is not used", 32, func(p *payload) { p.stream = append(p.stream, 0) })
	bad("rans-stream-none", "corrupt", "no stream", 32, func(p *payload) { p.stream = nil })
	bad("rans-stream-size", "corrupt", "the stream is longer than the payload", 32, func(p *payload) { p.extraStream = 1 << 20 })
	bad("rans-stream-size-huge", "corrupt", "a stream of 2^32-1 bytes", 32, func(p *payload) { p.extraStream = 1<<32 - 1 - len(p.stream) })
	bad("rans-stream-changed", "corrupt", "a byte of the stream is another", 32, func(p *payload) { p.stream[20] ^= 1 })
	bad("rans-escapes-short", "corrupt", "an escape is missing", 4, func(p *payload) {
		p.exps = p.exps[:len(p.exps)-1]
		if len(p.exps)%8 == 0 {
			p.mants = p.mants[:len(p.mants)-1]
		} else {
			p.mants[len(p.mants)-1] &= 1<<(len(p.exps)%8) - 1
		}
	})
	bad("rans-escapes-long", "corrupt", "an escape is not used", 4, func(p *payload) {
		if len(p.exps)%8 == 0 {
			p.mants = append(p.mants, 0)
		}
		p.exps = append(p.exps, 0)
	})
	bad("rans-escapes-huge", "corrupt", "2^32-1 escapes", 4, func(p *payload) { p.extraEscapes = 1<<32 - 1 - len(p.exps) })
	bad("rans-escape-padding", "corrupt", "a padding bit of the escapes' mantissa bits is not 0", 4, func(p *payload) {
		if len(p.exps)%8 == 0 {
			panic("no padding")
		}
		p.mants[len(p.mants)-1] |= 0x80
	})
	half := slices.Repeat([]uint64{15 << 10, 14 << 10, 3 << 10}, 200)
	wide := encode(dtypes[f16], 1, []segment{{len(half), -1, table{0, 86, []symbol{{14, 0, 85}, {15, 0, 85}}}}}, half)
	wide.modes, wide.rest = 1|1<<2, []byte{0, 0}
	wide.exps[7] |= 0x40 // does not fit in an element
	list = append(list, corrupt("rans-escape-exponent", "an escape of an exponent of seven bits where F16 has five", f16,
		chunk(rans, f16, wide.bytes(), bytesOf(dtypes[f16], half))))
	bad("rans-trailing", "corrupt", "a byte after the last plane", 32, func(p *payload) { p.rest = append(p.rest, 0) })
	return list
}

func badPlanes() (list []vector) {
	bad := func(name, expect, comment string, d byte, n int, f func(p *payload)) {
		dt := dtypes[d]
		elements := weights(dt, n, 12)
		p := encode(dt, 1, []segment{{n, -1, tableOf(dt, 1, 32, elements)}}, elements)
		f(&p)
		list = append(list, after(name, expect, comment, d, chunk(rans, d, p.bytes(), bytesOf(dt, elements))))
	}
	bad("plane-cut", "corrupt", "the packed plane ends early", bf16, 600, func(p *payload) { p.rest = p.rest[:len(p.rest)-1] })
	bad("plane-padding", "corrupt", "the last padding bit is not 0", bf16, 601, func(p *payload) { p.rest[len(p.rest)-1] |= 0x80 })
	bad("plane-padding-first", "corrupt", "the first padding bit is not 0", bf16, 601, func(p *payload) { p.rest[len(p.rest)-7] |= 0x80 })
	bad("plane-padding-constant", "corrupt", "a constant fills the padding too", bf16, 601, func(p *payload) { p.modes, p.rest = 1, []byte{0xff} })
	bad("plane-mode-3", "unsupported", "plane mode 3 is not known", bf16, 600, func(p *payload) { p.modes = 3 })
	bad("plane-mode-absent", "corrupt", "a mode for plane 0, which BF16 with one top bit does not have", bf16, 600, func(p *payload) { p.modes = 1 << 2 })
	bad("plane-mode-absent-2", "corrupt", "a mode for plane 2, which F32 with one top bit does not have", f32, 600, func(p *payload) { p.modes = 1 << 6 })
	bad("plane-constant-cut", "corrupt", "a constant plane without its byte", bf16, 600, func(p *payload) { p.modes, p.rest = 1, nil })
	bad("plane-zstd-cut", "corrupt", "a zstd plane without its size", bf16, 600, func(p *payload) { p.modes, p.rest = 2, []byte{1, 2} })
	bad("plane-zstd-size", "corrupt", "a zstd plane longer than the payload", bf16, 600, func(p *payload) { p.modes, p.rest = 2, []byte{9, 0, 0, 0, 1, 2, 3} })
	bad("plane-zstd-short", "corrupt", "a zstd plane of one byte less than the elements need", bf16, 600, func(p *payload) {
		z := sum(frame{single: true, size: 524, blocks: block(true, 1, 524, 0)}.bytes())
		p.modes, p.rest = 2, append(le.AppendUint32(nil, uint32(len(z))), z...)
	})
	return list
}

func badSegments() (list []vector) {
	elements, a, b := tensors()
	tables := [][]byte{a.shared(bf16), b.shared(bf16), a.shared(f32), table{0, 1, []symbol{{3, 0, 255}}}.shared(bf16)}
	dt := dtypes[bf16]
	bad := func(name, comment string, f func(p *payload)) {
		p := encode(dt, 1, []segment{{301, 0, a}, {70, 1, b}, {259, 0, a}}, elements)
		f(&p)
		list = append(list, corrupt(name, comment, bf16, chunk(rans, bf16, p.bytes(), bytesOf(dt, elements)), tables...))
	}
	second := 4 + 5
	bad("segment-short", "segments leave out an element", func(p *payload) { p.tables[second]-- })
	bad("segment-long", "segments have an element too many", func(p *payload) { p.tables[second]++ })
	bad("segment-empty", "a segment of no elements", func(p *payload) {
		p.tables[0]++
		p.tables = slices.Insert(p.tables, second, 0, 0, 0, 0, 1)
	})
	zero := slices.Clone(elements)
	zero[629] = 0
	p := encode(dt, 1, []segment{{301, 0, a}, {70, 1, b}, {258, 0, a}}, zero[:629])
	p.rest, _ = restOf(dt, 1, zero)
	list = append(list, corrupt("segment-short-zero", "segments leave out the last element; its symbol is 0", bf16,
		chunk(rans, bf16, p.bytes(), bytesOf(dt, zero)), tables...))
	bad("segment-huge", "a segment of 2^32-1 elements", func(p *payload) { le.PutUint32(p.tables[second:], 1<<32-1) })
	bad("segment-none", "no segments", func(p *payload) { p.tables = make([]byte, 4) })
	bad("segment-count", "more segments than fit in the payload", func(p *payload) { le.PutUint32(p.tables, 1<<31) })
	bad("segment-table", "a table that the prologue does not have", func(p *payload) { p.tables[second+4] = 4 })
	bad("segment-dtype", "a table of another dtype", func(p *payload) { p.tables[second-1] = 2 })
	bad("segment-top", "a table with another number of top mantissa bits", func(p *payload) { p.tables[second+4] = 3 })
	bad("segment-swapped", "a table that is not the one the segment was coded with", func(p *payload) { p.tables[second+4] = 0 })
	return list
}

func badTrailer() (list []vector) {
	first, decoded := seven()
	second := chunk(raw, bytesType, ramp(9), ramp(9))
	released := append(decoded, ramp(9)...)
	bad := func(name, expect, comment string, f func(t *trailer)) {
		l := layer{chunks: [][]byte{first, second}, trailer: f}
		list = append(list, vector{name, expect, comment, u8, l.bytes(), released})
	}
	bad("trailer-header-sum", "corrupt", "check sum of the trailer's header", func(t *trailer) { t.headerHash = 1 })
	bad("trailer-hash", "corrupt", "hash of the trailer", func(t *trailer) { t.hash = 1 })
	bad("trailer-dtype", "corrupt", "a dtype in the trailer's header", func(t *trailer) { t.dtype = bf16 })
	bad("trailer-decoded-header", "corrupt", "a decoded size in the trailer's header", func(t *trailer) { t.headerDecoded = 13 })
	bad("trailer-flags", "unsupported", "a flag in the trailer's header", func(t *trailer) { t.flags = 4 })
	bad("trailer-count", "corrupt", "three chunks instead of two", func(t *trailer) { t.count = 3 })
	bad("trailer-count-huge", "corrupt", "2^32-1 chunks", func(t *trailer) { t.count = 1<<32 - 1 })
	bad("trailer-reserved", "corrupt", "the reserved field is not 0", func(t *trailer) { t.reserved = 1 })
	bad("trailer-offset", "corrupt", "the offset of the trailer is off by one", func(t *trailer) { t.offset++ })
	bad("trailer-decoded", "corrupt", "the decoded size of the layer is off by one", func(t *trailer) { t.decoded++ })
	bad("trailer-magic", "corrupt", "another end magic", func(t *trailer) { t.magic = "\x89BSML\r\n\x1a" })
	bad("trailer-record-offset", "corrupt", "the offset of the second chunk is off by one", func(t *trailer) { t.records[1][0]++ })
	bad("trailer-record-encoded", "corrupt", "the encoded sizes of the chunks, a byte moved from one to the other", func(t *trailer) { t.records[0][1]++; t.records[1][1]--; t.records[1][0]++ })
	bad("trailer-record-decoded", "corrupt", "the decoded sizes of the chunks, a byte moved from one to the other", func(t *trailer) { t.records[0][2]++; t.records[1][2]-- })
	bad("trailer-record-missing", "corrupt", "a record for one of two chunks", func(t *trailer) { t.records, t.count = t.records[:1], 1 })
	bad("trailer-record-more", "corrupt", "a record for a chunk that is not there", func(t *trailer) { t.records, t.count = append(t.records, t.records[1]), 3 })
	return list
}

func badOrder() []vector {
	first, decoded := seven()
	second := chunk(raw, bytesType, ramp(9), ramp(9))
	both := append(slices.Clone(decoded), ramp(9)...)
	whole := layer{chunks: [][]byte{first, second}}.bytes()
	trailerAt := 32 + len(first) + len(second)
	end := whole[trailerAt:]
	cut := func(name, comment string, at int, released []byte) vector {
		return vector{name, "truncated", comment, u8, whole[:at:at], released}
	}
	order := func(name, comment string, released []byte, parts ...[]byte) vector {
		return vector{name, "corrupt", comment, u8, slices.Concat(parts...), released}
	}
	return []vector{
		cut("cut-after-prologue", "ends after the prologue", 32, nil),
		cut("cut-header", "ends in a chunk header", 32+len(first)+10, decoded),
		cut("cut-after-header", "ends after a chunk header", 32+len(first)+24, decoded),
		cut("cut-payload", "ends one byte before the end of a chunk", trailerAt-1, decoded),
		cut("cut-no-trailer", "the trailer is missing", trailerAt, both),
		cut("cut-trailer-header", "ends in the header of the trailer", trailerAt+23, both),
		cut("cut-trailer", "ends one byte before the end", len(whole)-1, both),
		order("order-trailing-byte", "a byte after the trailer", both, whole, []byte{0}),
		order("order-trailing-layer", "a second layer after the first", both, whole, whole),
		order("order-second-trailer", "the trailer twice", both, whole, end),
		order("order-chunk-after-trailer", "a chunk after the trailer", both, whole, first),
		order("order-repeated", "a chunk twice, the trailer knows one", append(slices.Clone(both), ramp(9)...), whole[:trailerAt], second, end),
		order("order-missing", "a chunk of the trailer is missing", decoded, whole[:32], first, end),
		order("order-swapped", "two chunks swapped", append(ramp(9), decoded...), whole[:32], second, first, end),
		order("order-foreign", "a chunk of another layer in the place of one", append(slices.Clone(decoded), 5), whole[:32], first, chunk(raw, u8, []byte{5}, []byte{5}), end),
	}
}
