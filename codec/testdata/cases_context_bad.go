package main

import (
	"fmt"
	"slices"
)

// badContextCase adds a payload of signs, two planes of the rest and escapes that
// change changed.
type badContextCase func(name, expect, comment string, change func(p *contextPayload))

// escaping is a model of F32 and its elements, of which 60 of 603 are escapes.
func escaping() (contextModel, []uint64) {
	m, elements := fitted(asF32, 603, 37, 11, coded)
	for i, w := range elements {
		exp := max(125, w>>23&255)
		if i%10 == 0 && i < 600 {
			exp = uint64(1 + i%3)
		}
		elements[i] = w&^(255<<23|0xffff) | exp<<23
	}
	return m, elements
}

func badContext() (list []vector) {
	bad := func(name, expect, comment string, change func(p *contextPayload)) {
		m, elements := escaping()
		p := m.encode(elements)
		p.planes[0].store(1)
		p.planes[1].store(1)
		change(&p)
		list = append(list, after("context-"+name, expect, comment, f32, chunk(context, f32, p.bytes(), bytesOf(asF32, elements))))
	}
	badContextHeader(bad)
	badContextModes(bad)
	badContextStream(bad)
	badContextPlanes(bad)
	badContextCuts(bad)
	return slices.Concat(list, badContextModels(), badContextSizes(), badContextInside(), badContextEnd())
}

func badContextHeader(bad badContextCase) {
	for _, id := range []byte{0, 8, 255} {
		bad(fmt.Sprint("layout-", id), "unsupported", fmt.Sprint("layout ", id), func(p *contextPayload) { p.layout = id })
	}
	for _, g := range []byte{0, 4, 255} {
		bad(fmt.Sprint("groups-", g), "corrupt", fmt.Sprint(g, " groups"), func(p *contextPayload) { p.groups = g })
	}
	for bit := 1; bit < 8; bit++ {
		bad(fmt.Sprint("flag-", bit), "unsupported", fmt.Sprintf("bit %d of the flags", bit), func(p *contextPayload) { p.flags |= 1 << bit })
	}
	bad("signs-not", "corrupt", "signs were coded, but the flag is not set", func(p *contextPayload) { p.flags = 0 })
	bad("first-other", "corrupt", "another first exponent", func(p *contextPayload) { p.first-- })
	bad("extra-other", "corrupt", "another number of extra slots", func(p *contextPayload) { p.extra += 9 })
	bad("weights-0", "corrupt", "no weight", func(p *contextPayload) { p.weights = nil })
	bad("weights-255", "corrupt", "255 weights", func(p *contextPayload) { p.weights = slices.Repeat([]byte{9}, 255) })
	bad("weights-fewer", "corrupt", "the number of weights is less by one", func(p *contextPayload) { p.extraWeights = -1 })
	bad("weights-more", "corrupt", "the number of weights is greater by one", func(p *contextPayload) { p.extraWeights = 1 })
	bad("weights-all-0", "corrupt", "all weights are 0", func(p *contextPayload) { p.weights = make([]byte, len(p.weights)) })
	bad("weight-other", "corrupt", "another weight", func(p *contextPayload) { p.weights[len(p.weights)-2] ^= 16 })
	bad("cell-1055", "corrupt", "the first weight is after the last cell", func(p *contextPayload) { p.cell, p.weights = cellCount, []byte{9} })
	bad("cell-65535", "corrupt", "the first weight is that of cell 65,535", func(p *contextPayload) { p.cell = 65535 })
	bad("cell-other", "corrupt", "the weights are a cell higher", func(p *contextPayload) { p.cell++ })
	bad("columns-0", "corrupt", "no column", func(p *contextPayload) { p.columns, p.skip, p.cols.b, p.sides.b = 0, 0, nil, nil })
	bad("columns-huge", "corrupt", "2^32-1 columns", func(p *contextPayload) { p.columns = 1<<32 - 1 })
	bad("columns-other", "corrupt", "a column less", func(p *contextPayload) {
		p.columns--
		p.cols.b, p.sides.b = p.cols.b[1:], p.sides.b[1:]
	})
	bad("skip-other", "corrupt", "a column less is skipped", func(p *contextPayload) { p.skip-- })
	bad("skip-huge", "corrupt", "2^32-1 columns are skipped", func(p *contextPayload) { p.skip = 1<<32 - 1 })
	bad("row-32", "corrupt", "a row has class 32", func(p *contextPayload) { p.rows.b[4] = 32 })
	bad("row-255", "corrupt", "the last row has class 255", func(p *contextPayload) { p.rows.b[len(p.rows.b)-1] = 255 })
	bad("row-other", "corrupt", "a row has another class", func(p *contextPayload) { p.rows.b[4]++ })
	bad("rows-fewer", "corrupt", "a row less", func(p *contextPayload) { p.rows.b = p.rows.b[1:] })
	bad("rows-more", "corrupt", "a row more", func(p *contextPayload) { p.rows.b = append(slices.Clone(p.rows.b), 0) })
	bad("column-32", "corrupt", "a column has class 32", func(p *contextPayload) { p.cols.b[4] = 32 })
	bad("column-255", "corrupt", "the last column has class 255", func(p *contextPayload) { p.cols.b[36] = 255 })
	bad("column-other", "corrupt", "a column has another class", func(p *contextPayload) { p.cols.b[4]++ })
	bad("side-sign", "corrupt", "the other sign of a column is the less likely one", func(p *contextPayload) { p.sides.b[4] ^= 128 })
	bad("side-distance", "corrupt", "a side of another distance", func(p *contextPayload) { p.sides.b[4] -= 9 })
}

func badContextModes(bad badContextCase) {
	names := []string{"packed", "plane-0", "plane-1", "plane-2", "rows", "columns", "sides", "exponents"}
	for i, name := range names {
		add := func(mode byte, expect, comment string) {
			bad(fmt.Sprintf("mode-%s-%d", name, mode), expect, comment, func(p *contextPayload) {
				for _, pl := range []*plane{&p.planes[0], &p.planes[1]} { // leave their modes alone
					pl.mode, pl.b = 0, make([]byte, 603)
				}
				p.modes[i/4] |= mode << (i % 4 * 2)
			})
		}
		if name == "plane-2" {
			add(1, "corrupt", "a mode for byte plane 2, which is not there")
			add(3, "corrupt", "mode 3 for byte plane 2, which is not there")
			continue
		}
		add(3, "unsupported", "plane mode 3 is not known")
	}
}

func badContextStream(bad badContextCase) {
	bad("state-65535", "corrupt", "the state of lane 5 is 65,535", func(p *contextPayload) { p.states[5] = 65535 })
	bad("state-0", "corrupt", "all states are 0", func(p *contextPayload) { clear(p.states) })
	bad("state-other", "corrupt", "a state from which the stream does not end at 65,536", func(p *contextPayload) { p.states[9] ^= 1 << 24 })
	bad("stream-short", "corrupt", "the stream lacks its last number", func(p *contextPayload) { p.stream = p.stream[:len(p.stream)-1] })
	bad("stream-long", "corrupt", "a number of the stream is not used", func(p *contextPayload) { p.stream = append(p.stream, 0) })
	bad("stream-odd", "corrupt", "the size of the stream is odd, and the byte is there", func(p *contextPayload) {
		p.extraStream, p.exps.b = 1, append([]byte{0}, p.exps.b...)
	})
	bad("stream-none", "corrupt", "no stream", func(p *contextPayload) { p.stream = nil })
	bad("stream-size", "corrupt", "the stream is longer than the payload", func(p *contextPayload) { p.extraStream = 1 << 20 })
	bad("stream-size-huge", "corrupt", "a stream of 2^32-2 bytes", func(p *contextPayload) { p.extraStream = 1<<32 - 2 - 2*len(p.stream) })
	bad("stream-changed", "corrupt", "a number of the stream is another", func(p *contextPayload) { p.stream[20] ^= 1 })
	bad("escapes-short", "corrupt", "an escape is missing", func(p *contextPayload) {
		p.escapes--
		p.exps.b = p.exps.b[:p.escapes]
		last := p.escapes * 3 // its first bit
		p.mants[last/8] &= 1<<(last%8) - 1
		p.mants[last/8+1] = 0
	})
	bad("escapes-long", "corrupt", "an escape is not used", func(p *contextPayload) {
		p.escapes++
		p.exps.b = append(p.exps.b, 0)
	})
	bad("escapes-none", "corrupt", "no escape, but the stream has some", func(p *contextPayload) { p.escapes, p.exps.b, p.mants = 0, nil, nil })
	bad("escapes-huge", "corrupt", "2^32-1 escapes", func(p *contextPayload) { p.extraEscapes = 1<<32 - 1 - p.escapes })
	bad("escape-padding", "corrupt", "the last padding bit of the escapes' mantissa bits is not 0", func(p *contextPayload) {
		p.mants[len(p.mants)-1] |= 0x80
	})
	bad("escape-padding-first", "corrupt", "the first padding bit of the escapes' mantissa bits is not 0", func(p *contextPayload) {
		p.mants[p.escapes*3/8] |= 1 << (p.escapes * 3 % 8)
	})
	bad("escape-other", "corrupt", "the exponent of an escape is another", func(p *contextPayload) { p.exps.b[3] ^= 64 })
}

func badContextPlanes(bad badContextCase) {
	bad("trailing", "corrupt", "a byte after the last plane", func(p *contextPayload) { p.planes[1].b = append(slices.Clone(p.planes[1].b), 0) })
	bad("padding", "corrupt", "the last padding bit of the rest is not 0", func(p *contextPayload) { p.packed.b[len(p.packed.b)-1] |= 0x80 })
	bad("padding-constant", "corrupt", "a constant fills the padding of the rest too", func(p *contextPayload) { p.packed = plane{1, []byte{0xff}} })
	bad("rows-constant-32", "corrupt", "all rows have class 32, in one byte", func(p *contextPayload) { p.rows = plane{1, []byte{32}} })
	bad("columns-constant-32", "corrupt", "all columns have class 32, in one byte", func(p *contextPayload) { p.cols = plane{1, []byte{32}} })
	size := func(name string, of func(p *contextPayload) *plane) {
		bad(name+"-zstd-short", "corrupt", "a zstd payload of a byte less than the plane", func(p *contextPayload) {
			pl := of(p)
			pl.b = pl.b[:len(pl.b)-1]
			pl.store(2)
		})
		bad(name+"-zstd-long", "corrupt", "a zstd payload of a byte more than the plane", func(p *contextPayload) {
			pl := of(p)
			pl.b = append(slices.Clone(pl.b), 0)
			pl.store(2)
		})
		bad(name+"-zstd-sum", "corrupt", "check sum of a zstd payload", func(p *contextPayload) {
			of(p).store(2)
			of(p).b[4] ^= 1
		})
		bad(name+"-zstd-size", "corrupt", "a zstd payload of 2^32-1 bytes", func(p *contextPayload) {
			of(p).store(2)
			le.PutUint32(of(p).b, 1<<32-1)
		})
	}
	size("rows", func(p *contextPayload) *plane { return &p.rows })
	size("columns", func(p *contextPayload) *plane { return &p.cols })
	size("sides", func(p *contextPayload) *plane { return &p.sides })
	size("exponents", func(p *contextPayload) *plane { return &p.exps })
	size("packed", func(p *contextPayload) *plane { return &p.packed })
}

// badContextCuts are payloads that end early.
func badContextCuts(bad badContextCase) {
	parts := []struct {
		name, comment string
		drop          func(p *contextPayload) // all parts after
	}{
		{"rest", "the payload ends in the last plane", func(p *contextPayload) {}},
		{"packed", "the payload ends in the packed plane", func(p *contextPayload) { p.planes[0].b, p.planes[1].b = nil, nil }},
		{"mantissas", "the payload ends in the escapes' mantissa bits", func(p *contextPayload) { p.packed.b = nil }},
		{"exponents", "the payload ends in the escapes' exponents", func(p *contextPayload) { p.mants = nil }},
		{"stream", "the payload ends in the stream", func(p *contextPayload) { p.exps.b = nil }},
		{"states", "the payload ends in the states", func(p *contextPayload) { p.extraStream, p.stream = 2*len(p.stream), nil }},
		{"sides", "the payload ends in the sides", func(p *contextPayload) { p.states = nil }},
		{"columns", "the payload ends in the classes of columns", func(p *contextPayload) { p.sides.b = nil }},
		{"rows", "the payload ends in the classes of rows", func(p *contextPayload) { p.cols.b = nil }},
		{"weights", "the payload ends in the weights", func(p *contextPayload) { p.rows.b = nil }},
		{"header", "the payload ends in the number of escapes", func(p *contextPayload) { p.extraWeights, p.weights = len(p.weights), nil }},
	}
	m, elements := escaping()
	p := m.encode(elements)
	p.planes[0].store(1)
	p.planes[1].store(1)
	for _, part := range parts {
		part.drop(&p)
		b := p.bytes()
		bad("cut-"+part.name, "corrupt", part.comment, func(q *contextPayload) { q.cut = b[:len(b)-1] })
	}
	bad("none", "corrupt", "an empty payload", func(q *contextPayload) { q.cut = []byte{} })
	bad("one-byte", "corrupt", "a payload of one byte", func(q *contextPayload) { q.cut = []byte{3} })
}

// badContextModels are payloads that are right but for one rule.
func badContextModels() (list []vector) {
	add := func(name, comment string, m contextModel, elements []uint64, change func(p *contextPayload)) {
		p := m.encode(elements)
		if change != nil {
			change(&p)
		}
		d := dtypeOf(m.layout)
		list = append(list, corrupt("context-"+name, comment, d, chunk(context, d, p.bytes(), bytesOf(m.layout, elements))))
	}
	with := func(name, comment string, f layout, n, columns, skip int, change func(m *contextModel)) {
		m, elements := fitted(f, n, columns, skip, coded)
		for i := range elements {
			elements[i] &^= 1<<(f.mant-3) - 1
		}
		change(&m)
		add(name, comment, m, elements, (*contextPayload).constantRest)
	}
	plain := func(name, comment string, f layout, change func(m *contextModel)) {
		with(name, comment, f, 2001, 37, 11, change)
	}
	plain("groups-3", "three groups, 96 lanes", asBF16, func(m *contextModel) { m.groups = 3 })
	plain("weights-first-0", "the first weight is 0", asBF16, func(m *contextModel) { m.weights[0] = 0 })
	plain("weights-last-0", "the last weight is 0", asBF16, func(m *contextModel) { m.weights = append(m.weights, 0) })
	plain("weights-129", "129 weights", asBF16, func(m *contextModel) {
		m.cell += len(m.weights) - 129
		m.weights = slices.Repeat([]byte{90}, 129)
	})
	plain("weights-beyond", "the last weight is beyond the last cell", asF32, func(m *contextModel) {
		m.weights = append([]byte{99}, slices.Repeat([]byte{9}, 20)...)
		m.cell = cellCount + 1 - len(m.weights)
		m.first = 225
	})
	with("skip-all", "as many columns are skipped as there are", asBF16, 2001, 37, 37, func(*contextModel) {})
	with("skip-more", "more columns are skipped than there are", asBF16, 2001, 37, 38, func(*contextModel) {})
	with("columns-more", "a column more than there are elements", asF32, 400, 401, 0, func(*contextModel) {})
	for i, class := range []byte{32, 64} {
		plain(fmt.Sprint("row-class-", class), "a row has a class of more than 31, which would count as 31", asBF16, func(m *contextModel) { m.rows[2+i] = class })
		plain(fmt.Sprint("column-class-", class), "a column has a class of more than 31, which would count as 31", asBF16, func(m *contextModel) { m.cols[2+i] = class })
	}
	m, elements := corner(0, 20, 0)
	m.rows = slices.Repeat([]byte{20}, len(m.rows))
	m.rows[0] = 0
	add("class-corner", "a class without symbols occurs, but no element has it", m, elements, nil)
	m, elements = fitted(asF16, 2001, 37, 11, coded)
	add("first-32", "first exponent 32 of F16", m, elements, func(p *contextPayload) { p.first = 32 })
	m, elements = fitted(asE4M3, 2001, 37, 11, coded)
	add("first-16", "first exponent 16 of E4M3", m, elements, func(p *contextPayload) { p.first = 16 })
	add("mode-packed-absent", "a mode for the packed plane, which E4M3 does not have without signs", m, elements, func(p *contextPayload) { p.modes[0] = 1 })
	m, elements = fitted(asF16, 2001, 37, 11, nil)
	add("mode-packed-absent-f16", "a mode for the packed plane, which F16 does not have with signs", m, elements, func(p *contextPayload) { p.modes[0] = 2 })
	add("mode-sides-absent", "a mode for the plane of sides, which is not there", m, elements, func(p *contextPayload) { p.modes[1] = 1 << 4 })
	m, elements = fitted(asF16, 2001, 37, 11, coded)
	m.first = 0
	add("mode-plane-absent", "a mode for byte plane 0, which F16 does not have without signs", m, elements, func(p *contextPayload) { p.modes[0] = 1 << 2 })
	m, elements = fitted(asF32, 2001, 37, 11, nil)
	for i, w := range elements {
		elements[i] = w&^(255<<23) | max(125, w>>23&255)<<23
	}
	add("mode-exponents-absent", "a mode for the exponents of escapes, of which there are none", m, elements, func(p *contextPayload) {
		if p.escapes > 0 {
			panic("escapes")
		}
		p.modes[1] = 1 << 6
	})
	m, elements = fitted(asF16, 2001, 37, 11, nil)
	m.first = 13
	add("escape-exponent", "an escape of an exponent of six bits where F16 has five", m, elements, func(p *contextPayload) { p.exps.b[7] |= 32 })
	m, elements = fitted(asE4M3, 2001, 37, 11, nil)
	m.first = 5
	add("escape-exponent-e4m3", "an escape of an exponent of five bits where E4M3 has four", m, elements, func(p *contextPayload) { p.exps.b[7] |= 16 })
	return list
}

// badContextSizes are layouts without a sign, and decoded sizes that are not whole
// elements.
func badContextSizes() (list []vector) {
	for _, f := range []layout{asByte, asNibble} {
		m, elements := fitted(asE4M3, 2400, 37, 11, nil)
		p := m.encode(elements)
		p.layout = f.id
		list = append(list, corrupt("context-layout-"+f.name, "the layout "+f.name+", which has no sign", u8,
			chunk(context, u8, p.bytes(), bytesOf(asE4M3, elements))))
	}
	size := func(name, comment string, f layout, d byte, by int) {
		m, elements := fitted(f, 1200, 37, 11, nil)
		b := bytesOf(f, elements)
		b = append(b, ramp(4)...)[:len(b)+by]
		list = append(list, corrupt("context-size-"+name, comment, d, chunk(context, d, m.encode(elements).bytes(), b)))
	}
	size("bf16", "a byte more than 1200 elements of two bytes", asBF16, u8, 1)
	size("f16", "a byte less than 1200 elements of two bytes", asF16, u8, -1)
	size("f32", "two bytes more than 1200 elements of four bytes", asF32, bf16, 2)
	return list
}

// badContextInside are context payloads in payloads of other methods.
func badContextInside() (list []vector) {
	add := func(name, comment string, n int, f field) {
		parts := []field{zstdField(28000/n, n, 9), f}
		list = append(list, corrupt("context-fields-"+name, comment, u8, chunk(fields, u8, fieldsPayload(parts, 0), interleave(parts, n))))
	}
	change := func(n int, change func(p *contextPayload)) field {
		m, elements := fitted(asBF16, n, n, 0, coded)
		m.groups = 2
		p := m.encode(elements)
		change(&p)
		return field{width: 2, method: context, payload: p.bytes(), decoded: bytesOf(asBF16, elements)}
	}
	add("idle-lane", "the state of a lane that is never used is not 65,536", 40, change(40, func(p *contextPayload) { p.states[63]++ }))
	add("escapes-more", "more escapes than elements", 40, change(40, func(p *contextPayload) {
		p.exps.b, p.escapes, p.mants = make([]byte, 48), 48, make([]byte, 18)
	}))
	add("trailing", "a byte after a context payload in a field", 40, change(40, func(p *contextPayload) { p.packed.b = append(p.packed.b, 0) }))
	odd := contextField(asBF16, 2, 150, coded)
	odd.width, odd.decoded = 1, append(odd.decoded, 7)
	add("size", "a field of 301 bytes in the layout BF16", 301, odd)
	m, elements := fitted(asF16, 1500, 37, 11, coded)
	p := m.encode(elements)
	p.states[3] = 1
	list = append(list, corrupt("context-widened-state", "a state of 1 in the context payload of narrow elements", f32,
		chunk(widened, f32, kinds[0].payload(context, p.bytes()), kinds[0].widen(elements))))
	return list
}

// badContextEnd are layers that end in a context payload.
func badContextEnd() (list []vector) {
	m, elements := escaping()
	first, released := seven()
	c := chunk(context, f32, m.encode(elements).bytes(), bytesOf(asF32, elements))
	whole := layer{chunks: [][]byte{first, c}}.bytes()
	start := 32 + len(first)
	cut := func(name, comment string, at int) {
		list = append(list, vector{"context-ends-" + name, "truncated", comment, f32, whole[: start+24+at : start+24+at], released})
	}
	cut("header", "the layer ends in the header of a context payload", 20)
	cut("states", "the layer ends in the states", 300)
	cut("last", "the layer ends a byte before the end of a context payload", len(c)-24-1)
	return list
}
