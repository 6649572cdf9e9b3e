package main

import (
	"fmt"
	"slices"
)

// signed are the layouts that the context method may have.
var signed = layouts[:5]

// ofContext is a vector of one chunk by the context method.
func ofContext(name, comment string, m contextModel, elements []uint64, change func(p *contextPayload)) vector {
	p := m.encode(elements)
	if change != nil {
		change(&p)
	}
	d := dtypeOf(m.layout)
	return single("context-"+name, comment, context, d, p.bytes(), bytesOf(m.layout, elements))
}

func coded(m *contextModel) { m.signs = true }

// constantRest stores the planes of a rest of zeros as one byte each.
func (p *contextPayload) constantRest() {
	if len(p.packed.b) > 0 {
		p.packed.store(1)
	}
	for i := range p.planes {
		p.planes[i].store(1)
	}
}

func goodContext() (list []vector) {
	for _, f := range signed {
		for _, signs := range []bool{false, true} {
			for groups := 1; groups <= 2; groups++ {
				m, elements := fitted(f, 3001, 37, 11, func(m *contextModel) { m.groups, m.signs = groups, signs })
				name, comment := f.name, fmt.Sprintf("method 5; %d lanes", 32*groups)
				if signs {
					name, comment = name+"-signs", comment+", signs are coded"
				}
				if groups == 2 {
					name += "-two-groups"
				}
				list = append(list, ofContext(name, comment, m, elements, nil))
			}
		}
	}
	return slices.Concat(list, goodGeometries(), goodClassSums(), goodShapes(), goodFrequencies(), goodSides(),
		goodContextEscapes(), goodContextPlanes(), goodContextInside())
}

func goodGeometries() (list []vector) {
	add := func(name, comment string, f layout, n, columns, skip int) {
		m, elements := fitted(f, n, columns, skip, coded)
		for i := range elements {
			elements[i] &^= 1<<(f.mant-3) - 1
		}
		list = append(list, ofContext(name, comment, m, elements, (*contextPayload).constantRest))
	}
	add("whole", "whole rows, and whole rows of lanes", asBF16, 2048, 64, 0)
	add("skip-none", "the first row is whole, the last has one element", asBF16, 1801, 100, 0)
	add("skip-most", "the first row has its last column only, and the last row ends", asBF16, 1801, 100, 99)
	add("columns-1", "one column: a class for every element", asF32, 1500, 1, 0)
	add("columns-2", "two columns, the first element is in the second", asF32, 1500, 2, 1)
	add("columns-31", "rows of a column less than there are lanes", asBF16, 1500, 31, 7)
	add("columns-33", "rows of a column more than there are lanes", asBF16, 1500, 33, 7)
	add("columns-all", "one row", asF32, 1500, 1500, 0)
	add("columns-all-skip", "two rows, of 500 and 1000 columns of 1500", asF32, 1500, 1500, 1000)
	add("columns-all-skip-most", "the first row has one element, the second all but one of as many", asF32, 1500, 1500, 1499)

	m := contextOf(asE5M2, 1<<20, 1024, 0)
	m.groups = 2
	clear(m.rows)
	clear(m.cols)
	elements := slices.Repeat([]uint64{0x3c}, 1<<20)
	m.cell, m.weights = 4*15+31-4, []byte{1, 0, 0, 0, 255} // one symbol has all slots but one
	list = append(list, ofContext("largest", "a chunk of 1 Mi elements, in 1024 rows", m, elements, func(p *contextPayload) {
		p.rows.store(1)
		p.cols.store(1)
		p.constantRest()
	}))
	foreign := func(name, comment string, f layout, d byte) {
		m, elements := fitted(f, 2400, 60, 1, nil)
		list = append(list, single("context-"+name, comment, context, d, m.encode(elements).bytes(), bytesOf(f, elements)))
	}
	foreign("layout-of-bytes", "layout BF16 for bytes that are no tensor", asBF16, bytesType)
	foreign("layout-of-i64", "layout F16 for elements of eight bytes", asF16, i64)
	foreign("layout-narrower", "layout E4M3 for BF16", asE4M3, bf16)
	return list
}

// goodClassSums are classes at their limits.
func goodClassSums() (list []vector) {
	for _, f := range signed {
		for _, signs := range []bool{false, true} {
			m, elements := fitted(f, 3001, 37, 11, func(m *contextModel) {
				m.signs = signs
				for i := range m.rows {
					m.rows[i] = byte(i * 5 % 32)
				}
				for i := range m.cols {
					m.cols[i] = byte(i * 7 % 32)
				}
				m.rows[0], m.cols[0], m.rows[3], m.cols[3] = 31, 31, 0, 0
			})
			name := "classes-" + f.name
			if signs {
				name += "-signs"
			}
			list = append(list, ofContext(name, "classes of rows and columns from 0 to 31, whose sums of up to 62 count as 31", m, elements, nil))
		}
	}
	add := func(name, comment string, row, column byte) {
		m, elements := fitted(asBF16, 1200, 40, 0, func(m *contextModel) {
			for i := range m.rows {
				m.rows[i] = row
			}
			for i := range m.cols {
				m.cols[i] = column
			}
		})
		list = append(list, ofContext(name, comment, m, elements, nil))
	}
	add("class-0", "all elements have class 0", 0, 0)
	add("class-31", "all elements have class 31", 15, 16)
	add("class-32", "the classes sum to 32", 16, 16)
	add("class-62", "the classes sum to 62", 31, 31)
	m, elements := corner(0, 20, 20)
	return append(list, ofContext("class-empty", "a class without symbols, which does not occur", m, elements, nil))
}

// corner makes a model of 603 elements in rows of 60 columns, the first of which
// lacks its first 30. Class 0 has no symbol, 20 and 31 have one.
func corner(first, others, row byte) (contextModel, []uint64) {
	m := contextOf(asF32, 603, 60, 30)
	for i := range m.rows {
		m.rows[i] = row
	}
	for i := range m.cols {
		m.cols[i] = others
	}
	m.cols[0] = first
	m.first, m.cell, m.weights = 100, 420, []byte{77}
	var elements []uint64
	for i := range 603 {
		elements = append(elements, uint64(100+i%3)<<23)
	}
	return m, elements
}

// shifted adds to the exponents of elements, from 0 up.
func shifted(f layout, elements []uint64, by int) []uint64 {
	for i, w := range elements {
		exp := int(w >> f.mant & (1<<f.exp - 1))
		elements[i] = w + uint64(max(by, -exp))<<f.mant
	}
	return elements
}

// goodShapes are weights and exponents at their limits.
func goodShapes() (list []vector) {
	add := func(name, comment string, f layout, by int, change func(m *contextModel)) {
		m, elements := fitted(f, 2001, 37, 11, coded)
		elements = shifted(f, elements, by)
		for i := range elements {
			elements[i] &^= 1<<(f.mant-m.top()) - 1
		}
		m.fit(elements)
		if change != nil {
			change(&m)
		}
		list = append(list, ofContext(name, comment, m, elements, (*contextPayload).constantRest))
	}
	last := func(weights ...byte) func(m *contextModel) {
		return func(m *contextModel) {
			m.cell += len(m.weights) - len(weights)
			m.weights = weights
		}
	}
	var rising []byte
	for i := range 128 {
		rising = append(rising, byte(2*i+1))
	}
	add("weights-1", "one weight; the others are made of it", asF32, 0, last(200))
	add("weights-1-least", "one weight, of 17: the others are 8, 4, 2 and 1", asF32, 0, last(1))
	add("weights-4", "four weights, of 31, 32, 0 and 34", asF32, 0, last(15, 16, 0, 17))
	add("weights-128", "128 weights, of all sizes", asF32, 0, last(rising...))
	add("weights-largest", "128 weights of 31 * 2^15", asF32, 0, last(slices.Repeat([]byte{255}, 128)...))
	add("weights-gaps", "weights of which two in three are 0", asF32, 0, func(m *contextModel) {
		for i := range m.weights[:len(m.weights)-1] {
			if i%3 != 0 {
				m.weights[i] = 0
			}
		}
	})
	add("cell-0", "the weights start with cell 0", asF32, -113, func(m *contextModel) {
		m.weights = append(slices.Repeat([]byte{40}, m.cell), m.weights...)
		m.cell = 0
	})
	add("cell-last", "the last weight is that of the last cell", asF32, 126, func(m *contextModel) {
		m.weights = append(m.weights, slices.Repeat([]byte{9}, cellCount-m.cell-len(m.weights))...)
	})
	add("first-0", "from exponent 0 on: zero and denormal numbers have symbols", asF32, -122, nil)
	add("first-1", "from exponent 1 on: zero and denormal numbers are escapes", asF32, -122, func(m *contextModel) { m.first = 1 })
	add("first-few", "the symbols begin with exponent 125 of 128, what is less is an escape", asF32, 0, func(m *contextModel) { m.first = 125 })
	add("first-f16", "the symbols begin with exponent 13 of 31", asF16, 0, func(m *contextModel) { m.first = 13 })
	add("first-e4m3", "the symbols begin with exponent 5 of 15", asE4M3, 0, func(m *contextModel) { m.first = 5 })
	add("first-e5m2", "the symbols begin with exponent 11 of 31", asE5M2, 0, func(m *contextModel) { m.first = 11 })
	m, elements := fitted(asF32, 2001, 37, 11, coded)
	for i := range elements {
		elements[i] |= 255 << 23
	}
	m.fit(elements)
	m.first = 255
	list = append(list, ofContext("first-255", "one exponent, the last, has symbols", m, elements, nil))
	m = contextOf(asF32, 2001, 37, 11)
	clear(m.rows)
	clear(m.cols)
	m.signs, m.first, m.cell, m.weights = true, 250, cellCount-1, []byte{200}
	for i := range elements {
		elements[i] = uint64(254+i%2)<<23 | uint64(i%8)<<20
	}
	list = append(list, ofContext("cell-1054", "one weight, of the last cell, so that the three below are 0", m, elements, (*contextPayload).constantRest))
	for _, f := range signed {
		m, elements := fitted(f, 2001, 37, 11, coded)
		inf := uint64(1<<f.exp-1) << f.mant
		edges := []uint64{0, 1, 1<<f.mant - 1, 1 << f.mant, inf, inf | 1, inf | 1<<f.mant - 1}
		for i := range elements {
			if i%12 == 0 {
				elements[i] = edges[i/12%7] | uint64(i/84%2)<<(f.exp+f.mant)
			}
		}
		list = append(list, ofContext("special-"+f.name, "zeros, denormal numbers, infinities and NaNs of both signs", m, elements, nil))
	}
	return list
}

// goodFrequencies are frequencies of the escape at their limits.
func goodFrequencies() (list []vector) {
	add := func(name, comment string, change func(m *contextModel), want func(f []int) bool) {
		m, elements := fitted(asF32, 2001, 37, 11, coded)
		change(&m)
		if !want(m.frequencies(3)) {
			panic(fmt.Sprintf("%s: frequencies %d", name, m.frequencies(3)))
		}
		for i := range elements {
			elements[i] &^= 1<<20 - 1
		}
		list = append(list, ofContext(name, comment, m, elements, (*contextPayload).constantRest))
	}
	first := func(want int) func(f []int) bool { return func(f []int) bool { return f[0] == want } }
	extra := func(n int) func(m *contextModel) {
		return func(m *contextModel) { // nearly all of the shape is in five octaves
			m.cell += len(m.weights) - 24
			m.weights = append([]byte{1, 0, 0, 0}, slices.Repeat([]byte{200}, 20)...)
			m.extra = n
		}
	}
	add("extra-0", "the escape would have no slot, and has one", extra(0), first(1))
	add("extra-1", "the escape has one slot, an extra one", extra(1), first(1))
	add("extra-2", "two extra slots", extra(2), first(2))
	add("extra-255", "255 extra slots", extra(255), first(255))
	add("escape-half", "the escape has more than half of the slots, and extra ones", func(m *contextModel) {
		m.first, m.extra, m.weights[0] = 126, 100, 184
	}, func(f []int) bool { return f[0] > 1024 && f[0] < 2047 })
	add("escape-2047", "the escape has all slots but one, and symbols with a mass have none", func(m *contextModel) {
		m.first, m.extra, m.weights[0] = 126, 255, 255
	}, first(2047))
	return list
}

// goodSides are sides at their limits.
func goodSides() (list []vector) {
	add := func(name, comment string, f layout, side func(i int) byte, change func(m *contextModel)) {
		m, elements := fitted(f, 3001, 40, 11, coded)
		for i := range m.sides {
			m.sides[i] = side(i)
		}
		if change != nil {
			change(&m)
		}
		list = append(list, ofContext(name, comment, m, elements, nil))
	}
	half := func(i int) byte { return byte(i/2%2) << 7 } // as they were drawn
	add("sides-0", "a distance of 0: one sign has 1/256 in all but the least elements", asF32, half, nil)
	add("sides-127", "a distance of 127: both signs have one half in all but the largest elements", asF32, func(i int) byte { return half(i) | 127 }, nil)
	add("sides-all", "distances from 0 to 127, for both signs", asF32, func(i int) byte { return half(i) | byte(i*127/39) }, nil)
	add("sides-all-e4m3", "distances from 0 to 127, for both signs", asE4M3, func(i int) byte { return half(i) | byte(i*127/39) }, nil)
	add("sides-all-e5m2", "distances from 0 to 127, for both signs", asE5M2, func(i int) byte { return half(i) | byte(i*127/39) }, nil)
	add("sides-other", "the sign said to be less likely is the more likely one", asF32, func(i int) byte { return half(i) ^ 128 | byte(i*127/39) }, nil)
	add("sides-escapes", "signs of escaped elements", asF32, func(i int) byte { return half(i) | byte(i%32) }, func(m *contextModel) { m.first = 126 })
	return list
}

// goodContextEscapes are escapes, by number.
func goodContextEscapes() (list []vector) {
	add := func(name, comment string, f layout, rare func(i int) bool, want int) {
		m, elements := fitted(f, 2400, 37, 11, nil)
		for i, w := range elements { // all have symbols from exponent 125 on
			exp := max(125, w>>f.mant&255)
			if rare(i) {
				exp = uint64(1 + i%3)
			}
			elements[i] = w&^(255<<f.mant) | exp<<f.mant
		}
		list = append(list, ofContext("escapes-"+name, comment, m, elements, func(p *contextPayload) {
			if p.escapes != want {
				panic(fmt.Sprintf("%s: %d escapes", name, p.escapes))
			}
		}))
	}
	add("0", "no escape", asBF16, func(int) bool { return false }, 0)
	add("1", "one escape, the first element", asBF16, func(i int) bool { return i == 0 }, 1)
	add("1-last", "one escape, the last element", asBF16, func(i int) bool { return i == 2399 }, 1)
	add("7", "seven escapes", asF32, func(i int) bool { return i%400 == 50 || i == 3 }, 7)
	add("8", "eight escapes: a whole byte of each bit", asF32, func(i int) bool { return i%300 == 50 }, 8)
	add("600", "600 escapes", asF32, func(i int) bool { return i%4 == 3 }, 600)
	add("row", "32 escapes in one row of lanes", asBF16, func(i int) bool { return i/32 == 20 }, 32)
	m, elements := fitted(asBF16, 2400, 37, 11, coded)
	m.needless = true
	return append(list, ofContext("escapes-needless", "150 escapes of elements that have a symbol", m, elements, nil))
}

// goodContextPlanes are planes stored in every way.
func goodContextPlanes() (list []vector) {
	add := func(name, comment string, f layout, same func(m *contextModel), f2 func(p *contextPayload)) {
		m, elements := fitted(f, 2403, 37, 11, coded)
		for i, w := range elements { // escapes of one exponent, with differing mantissas
			exp := max(125, w>>f.mant&255)
			if i%9 == 0 {
				exp = 3
			}
			elements[i] = w&^(255<<f.mant) | exp<<f.mant
			elements[i] &^= 1<<(f.mant-m.top()) - 1
		}
		if same != nil {
			same(&m)
		}
		list = append(list, ofContext("plane-"+name, comment, m, elements, f2))
	}
	add("rows-constant", "one class of rows, in one byte", asBF16, func(m *contextModel) {
		for i := range m.rows {
			m.rows[i] = 2
		}
	}, func(p *contextPayload) { p.rows.store(1) })
	add("rows-zstd", "classes of rows in a zstd payload", asBF16, nil, func(p *contextPayload) { p.rows.store(2) })
	add("columns-constant", "one class of columns, in one byte", asBF16, func(m *contextModel) {
		for i := range m.cols {
			m.cols[i] = 4
		}
	}, func(p *contextPayload) { p.cols.store(1) })
	add("columns-zstd", "classes of columns in a zstd payload", asBF16, nil, func(p *contextPayload) { p.cols.store(2) })
	add("sides-constant", "one side of columns, in one byte", asBF16, func(m *contextModel) {
		for i := range m.sides {
			m.sides[i] = 128 | 100
		}
	}, func(p *contextPayload) { p.sides.store(1) })
	add("sides-zstd", "sides of columns in a zstd payload", asBF16, nil, func(p *contextPayload) { p.sides.store(2) })
	add("exponents-constant", "exponents of escapes in one byte", asBF16, nil, func(p *contextPayload) { p.exps.store(1) })
	add("exponents-zstd", "exponents of escapes in a zstd payload", asBF16, nil, func(p *contextPayload) { p.exps.store(2) })
	add("packed-constant", "a constant packed plane, with padding", asBF16, nil, func(p *contextPayload) { p.packed.store(1) })
	add("packed-zstd", "a packed plane in a zstd payload", asBF16, nil, func(p *contextPayload) { p.packed.store(2) })
	add("all-constant", "F32 that holds what F16 could: two constant planes and a constant packed one", asF32, nil, (*contextPayload).constantRest)
	add("0-zstd", "byte plane 0 in a zstd payload", asF32, nil, func(p *contextPayload) { p.planes[0].store(2) })
	add("1-zstd", "byte plane 1 in a zstd payload, and byte plane 0 in one byte", asF32, nil, func(p *contextPayload) {
		p.planes[0].store(1)
		p.planes[1].store(2)
	})
	add("all-zstd", "every plane in a zstd payload", asF32, nil, func(p *contextPayload) {
		for _, pl := range []*plane{&p.rows, &p.cols, &p.sides, &p.exps, &p.packed, &p.planes[0], &p.planes[1]} {
			pl.store(2)
		}
	})
	return list
}

// contextField is a field of n * width bytes.
func contextField(f layout, width, n int, change func(m *contextModel)) field {
	count := 8 * width * n / f.bits()
	m, elements := fitted(f, count, min(37, count), 0, change)
	return field{width: width, method: context, payload: m.encode(elements).bytes(), decoded: bytesOf(f, elements)}
}

// goodContextInside are context payloads in payloads of other methods; those of
// fields may be longer than what they decode to.
func goodContextInside() (list []vector) {
	add := func(name, comment string, d byte, n int, parts ...field) {
		list = append(list, single("context-fields-"+name, comment, fields, d, fieldsPayload(parts, 0), interleave(parts, n)))
	}
	add("halves", "a context payload of the upper halves of F32", f32, 900, constantField(2, 900), contextField(asBF16, 2, 900, coded))
	add("two", "two context payloads", f64, 500, contextField(asF32, 4, 500, nil), contextField(asF16, 4, 500, coded))
	for _, n := range []int{1, 31, 32, 33, 63, 64, 65} {
		for _, signs := range []bool{false, true} {
			name := fmt.Sprint(n)
			if signs {
				name += "-signs"
			}
			add(name, fmt.Sprintf("%d elements for 64 lanes", n), u8, n, zstdField(700, n, 9),
				contextField(asBF16, 2, n, func(m *contextModel) { m.groups, m.signs = 2, signs }))
		}
	}
	one := contextOf(asE5M2, 1, 1, 0)
	one.first, one.cell, one.weights = 15, 31+60, []byte{99}
	p := one.encode([]uint64{60})
	if p.stream != nil {
		panic("a stream")
	}
	add("stream-none", "one element, and no stream", u8, 1, zstdField(300, 1, 9),
		field{width: 1, method: context, payload: p.bytes(), decoded: []byte{60}})
	wide := func(name string, k kind, elements []uint64, m contextModel) {
		list = append(list, single("context-widened-"+name, "method 8; a context payload of narrow elements", widened, k.dtype,
			k.payload(context, m.encode(elements).bytes()), k.widen(elements)))
	}
	m, elements := fitted(asF16, 1500, 37, 11, coded)
	wide("f32-of-f16", kinds[0], elements, m)
	m, elements = fitted(asBF16, 1500, 37, 11, coded)
	for i, x := range elements {
		if _, ok := halfOf[x]; !ok {
			elements[i] = 0x3f80
		}
	}
	m.fit(elements)
	wide("f16-of-bf16", kinds[1], elements, m)
	m, elements = fitted(asF32, 1500, 37, 11, coded)
	wide("f64-of-f32", kinds[2], elements, m)
	return list
}
