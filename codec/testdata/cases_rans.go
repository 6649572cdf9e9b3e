package main

import (
	"bytes"
	"slices"
)

func badPayload() []vector {
	return []vector{
		corrupt("raw-short", "three bytes for four", u8, chunk(raw, u8, []byte{1, 2, 3}, []byte{1, 2, 3, 0})),
		corrupt("raw-none", "no payload", u8, chunk(raw, u8, nil, []byte{0, 0})),
		corrupt("constant-narrow", "one byte for elements of two", bf16, chunk(constant, bf16, []byte{0}, make([]byte, 8))),
		corrupt("constant-wide", "four bytes for elements of two", bf16, chunk(constant, bf16, []byte{0, 0, 0, 0}, make([]byte, 8))),
		corrupt("constant-block", "two bytes for blocks of 18", q4_0, chunk(constant, q4_0, []byte{0, 0}, make([]byte, 36))),
		corrupt("constant-none", "no element", u8, chunk(constant, u8, nil, make([]byte, 8))),
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
	elements := weights(asBF16, 600, 11)
	decoded := bytesOf(asBF16, elements)
	bad := func(name, expect, comment string, most int, f func(p *payload)) {
		p := inline(asBF16, 1, tableOf(asBF16, 1, most, elements), elements)
		f(&p)
		list = append(list, after(name, expect, comment, bf16, chunk(rans, bf16, p.bytes(), decoded)))
	}
	bad("rans-layout-0", "unsupported", "layout 0", 32, func(p *payload) { p.layout = 0 })
	bad("rans-layout-8", "unsupported", "layout 8", 32, func(p *payload) { p.layout = 8 })
	bad("rans-layout-255", "unsupported", "layout 255", 32, func(p *payload) { p.layout = 255 })
	bad("rans-top", "corrupt", "four top mantissa bits", 32, func(p *payload) {
		*p = inline(asBF16, 1, tableOf(asBF16, 4, 32, elements), elements)
	})
	bad("rans-top-15", "corrupt", "15 top mantissa bits", 32, func(p *payload) { p.top = 15 })
	bad("rans-groups-0", "corrupt", "no group", 32, func(p *payload) { p.groups = 0 })
	bad("rans-groups-2", "corrupt", "two groups", 32, func(p *payload) {
		*p = inline(asBF16, 2, tableOf(asBF16, 1, 32, elements), elements)
	})
	bad("rans-groups-15", "corrupt", "15 groups", 32, func(p *payload) { p.groups = 15 })
	bad("rans-model", "unsupported", "model 3 is not known", 32, func(p *payload) { p.model = 3 })
	list = append(list, corrupt("rans-header", "a payload of eleven bytes", bf16, chunk(rans, bf16, make([]byte, 11), decoded)))
	bad("rans-table-sum", "corrupt", "the table's frequencies sum to 257", 32, func(p *payload) { p.tables[1]++ })
	bad("rans-table-cut", "corrupt", "the payload ends in the table", 32, func(p *payload) {
		*p = payload{layout: 1, top: 1, groups: 1, tables: p.tables[:4]}
	})
	bad("rans-trailing", "corrupt", "a byte after the last plane", 32, func(p *payload) { p.rest = append(p.rest, 0) })
	badStreams(bad)
	badEscapes(bad)
	return slices.Concat(list, badEscape(), badSizes())
}

// badCase adds a payload that f changed, with a table of most symbols.
type badCase func(name, expect, comment string, most int, f func(p *payload))

func badStreams(bad badCase) {
	bad("rans-state-255", "corrupt", "the state of lane 5 is 255", 32, func(p *payload) { p.states[5], p.states[64+5] = 255, 0 })
	bad("rans-state-0", "corrupt", "all states are 0", 32, func(p *payload) { clear(p.states) })
	bad("rans-state-other", "corrupt", "a state from which the stream does not end at 256", 32, func(p *payload) { p.states[64+9] ^= 0x40 })
	bad("rans-states-cut", "corrupt", "the payload ends in the states", 32, func(p *payload) {
		*p = payload{layout: 1, top: 1, groups: 1, tables: p.tables, states: p.states[:100]}
	})
	bad("rans-stream-short", "corrupt", "the stream lacks its last byte", 32, func(p *payload) { p.stream = p.stream[:len(p.stream)-1] })
	bad("rans-stream-long", "corrupt", "a byte of the stream is not used", 32, func(p *payload) { p.stream = append(p.stream, 0) })
	bad("rans-stream-none", "corrupt", "no stream", 32, func(p *payload) { p.stream = nil })
	bad("rans-stream-size", "corrupt", "the stream is longer than the payload", 32, func(p *payload) { p.extraStream = 1 << 20 })
	bad("rans-stream-size-huge", "corrupt", "a stream of 2^32-1 bytes", 32, func(p *payload) { p.extraStream = 1<<32 - 1 - len(p.stream) })
	bad("rans-stream-changed", "corrupt", "a byte of the stream is another", 32, func(p *payload) { p.stream[20] ^= 1 })
}

func badEscapes(bad badCase) {
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
}

// badEscape are exponents of escapes that do not fit in an element.
func badEscape() (list []vector) {
	add := func(name, comment string, f layout, exps []uint64, bit byte) {
		elements := make([]uint64, 2400)
		for i := range elements {
			elements[i] = exps[i%2] << f.mant
			if i%20 == 0 {
				elements[i] = exps[2] << f.mant
			}
		}
		p := inline(f, 1, table{0, 86, []symbol{{int(exps[1]), 0, 85}, {int(exps[0]), 0, 85}}}, elements)
		switch f { // planes of zeros
		case asF16:
			p.modes, p.rest = 1|1<<2, []byte{0, 0}
		case asByte:
			p.modes, p.rest = 1, []byte{0}
		}
		p.exps[7] |= bit
		d := dtypeOf(f)
		list = append(list, corrupt(name, comment, d, chunk(rans, d, p.bytes(), bytesOf(f, elements))))
	}
	add("rans-escape-exponent", "an escape of an exponent of seven bits where F16 has five", asF16, []uint64{15, 14, 3}, 0x40)
	add("rans-escape-exponent-byte", "an escape of an exponent of six bits where the layout byte has five", asByte, []uint64{15, 14, 3}, 0x20)
	add("rans-escape-exponent-nibble", "an escape of an exponent of five bits where the layout nibble has four", asNibble, []uint64{15, 14, 3}, 0x10)
	return list
}

// badSizes are decoded sizes that are not whole elements of the layout, and tops
// that the layout does not have.
func badSizes() (list []vector) {
	size := func(name, comment string, f layout, d byte, n, decoded int) {
		elements := weights(f, n, 14)
		b := append(bytesOf(f, elements), ramp(100)...)[:decoded]
		p := inline(f, 1, tableOf(f, 0, 32, elements), elements)
		list = append(list, corrupt(name, comment, d, chunk(rans, d, p.bytes(), b)))
	}
	size("rans-size-bf16", "a byte more than 600 elements of two bytes", asBF16, u8, 600, 1201)
	size("rans-size-f16", "a byte less than 600 elements of two bytes", asF16, u8, 600, 1199)
	size("rans-size-f32", "two bytes more than 300 elements of four bytes", asF32, bf16, 300, 1202)
	top := func(name, comment string, f layout, top byte) {
		elements := weights(f, 1200, 15)
		p := inline(f, 1, tableOf(f, 0, 32, elements), elements)
		p.top = top
		d := dtypeOf(f)
		list = append(list, corrupt(name, comment, d, chunk(rans, d, p.bytes(), bytesOf(f, elements))))
	}
	top("rans-top-e5m2", "three top mantissa bits of two", asE5M2, 3)
	top("rans-top-byte", "four top mantissa bits of three", asByte, 4)
	top("rans-top-nibble", "a top mantissa bit of none", asNibble, 1)
	return list
}

func badPlanes() (list []vector) {
	bad := func(name, expect, comment string, f layout, n int, change func(p *payload)) {
		elements := weights(f, n, 12)
		p := inline(f, 1, tableOf(f, min(1, f.mant), 32, elements), elements)
		change(&p)
		d := dtypeOf(f)
		list = append(list, after(name, expect, comment, d, chunk(rans, d, p.bytes(), bytesOf(f, elements))))
	}
	bad("plane-cut", "corrupt", "the packed plane ends early", asBF16, 600, func(p *payload) { p.rest = p.rest[:len(p.rest)-1] })
	bad("plane-padding", "corrupt", "the last padding bit is not 0", asBF16, 601, func(p *payload) { p.rest[len(p.rest)-1] |= 0x80 })
	bad("plane-padding-first", "corrupt", "the first padding bit is not 0", asBF16, 601, func(p *payload) { p.rest[len(p.rest)-7] |= 0x80 })
	bad("plane-padding-constant", "corrupt", "a constant fills the padding too", asBF16, 601, func(p *payload) { p.modes, p.rest = 1, []byte{0xff} })
	bad("plane-mode-3", "unsupported", "plane mode 3 is not known", asBF16, 600, func(p *payload) { p.modes = 3 })
	bad("plane-mode-absent", "corrupt", "a mode for plane 0, which BF16 with one top bit does not have", asBF16, 600, func(p *payload) { p.modes = 1 << 2 })
	bad("plane-mode-absent-2", "corrupt", "a mode for plane 2, which F32 with one top bit does not have", asF32, 600, func(p *payload) { p.modes = 1 << 6 })
	bad("plane-mode-absent-nibble", "corrupt", "a mode for the packed plane, which the layout nibble does not have", asNibble, 1400, func(p *payload) { p.modes = 1 })
	bad("plane-mode-absent-3", "corrupt", "mode 3 for plane 0, which BF16 with one top bit does not have", asBF16, 600, func(p *payload) { p.modes = 3 << 2 })
	bad("plane-constant-cut", "corrupt", "a constant plane without its byte", asBF16, 600, func(p *payload) { p.modes, p.rest = 1, nil })
	bad("plane-zstd-cut", "corrupt", "a zstd plane without its size", asBF16, 600, func(p *payload) { p.modes, p.rest = 2, []byte{1, 2} })
	bad("plane-zstd-size", "corrupt", "a zstd plane longer than the payload", asBF16, 600, func(p *payload) { p.modes, p.rest = 2, []byte{9, 0, 0, 0, 1, 2, 3} })
	bad("plane-zstd-short", "corrupt", "a zstd plane of one byte less than the elements need", asBF16, 600, func(p *payload) {
		z := sum(frame{single: true, size: 524, blocks: block(true, 1, 524, 0)}.bytes())
		p.modes, p.rest = 2, append(le.AppendUint32(nil, uint32(len(z))), z...)
	})
	return list
}

func badSegments() (list []vector) {
	elements, a, b := tensors()
	tables := [][]byte{a.shared(asBF16), b.shared(asBF16), a.shared(asF32), table{0, 1, []symbol{{3, 0, 255}}}.shared(asBF16)}
	bad := func(name, comment string, f func(p *payload)) {
		p := segmented(asBF16, 1, []segment{{run{301, a}, 0}, {run{70, b}, 1}, {run{259, a}, 0}}, elements)
		f(&p)
		list = append(list, corrupt(name, comment, bf16, chunk(rans, bf16, p.bytes(), bytesOf(asBF16, elements)), tables...))
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
	p := segmented(asBF16, 1, []segment{{run{301, a}, 0}, {run{70, b}, 1}, {run{258, a}, 0}}, zero[:629])
	p.rest, _ = restOf(asBF16, 1, zero)
	list = append(list, corrupt("segment-short-zero", "segments leave out the last element; its symbol is 0", bf16,
		chunk(rans, bf16, p.bytes(), bytesOf(asBF16, zero)), tables...))
	bad("segment-huge", "a segment of 2^32-1 elements", func(p *payload) { le.PutUint32(p.tables[second:], 1<<32-1) })
	bad("segment-none", "no segments", func(p *payload) { p.tables = make([]byte, 4) })
	bad("segment-count", "more segments than fit in the payload", func(p *payload) { le.PutUint32(p.tables, 1<<31) })
	bad("segment-table", "a table that the prologue does not have", func(p *payload) { p.tables[second+4] = 4 })
	bad("segment-layout", "a table for another layout of as many exponent bits", func(p *payload) { p.tables[second-1] = 2 })
	bad("segment-top", "a table with another number of top mantissa bits", func(p *payload) { p.tables[second+4] = 3 })
	bad("segment-swapped", "a table that is not the one the segment was coded with", func(p *payload) { p.tables[second+4] = 0 })
	return list
}
