package main

import "fmt"

// classes is a model of classes before it is put together.
type classes struct {
	count       int
	units, skip int
	ids         []int // of the stripes
	tables      []table
}

// classBits is the size of a class id.
func classBits(count int) int {
	switch {
	case count <= 2:
		return 1
	case count <= 4:
		return 2
	}
	return 4
}

// classesOf divides n elements in stripes and gives them classes in turn.
func classesOf(n, count, units, skip int) classes {
	c := classes{count: count, units: units, skip: skip}
	for i := range (n-1+256*skip)/(256*units) + 1 {
		c.ids = append(c.ids, (i*i+i)/2%count)
	}
	return c
}

func (c classes) bytes() []byte {
	b := []byte{byte(c.count)}
	b = le.AppendUint16(b, uint16(c.units))
	b = le.AppendUint16(b, uint16(c.skip))
	q := classBits(c.count)
	ids := make([]byte, (q*len(c.ids)+7)/8)
	for i, id := range c.ids {
		ids[q*i/8] |= byte(id << (q * i % 8))
	}
	b = append(b, ids...)
	for _, t := range c.tables {
		b = append(b, t.bytes()...)
	}
	return b
}

// runs are the stripes of n elements.
func (c classes) runs(n int) (list []run) {
	for i, id := range c.ids {
		from, to := 256*(c.units*i-c.skip), 256*(c.units*(i+1)-c.skip)
		list = append(list, run{min(to, n) - max(from, 0), c.tables[id]})
	}
	return list
}

// rows makes n elements whose scale depends on the class of their stripe.
func rows(f layout, n int, c classes, seed uint64) []uint64 {
	elements := weights(f, n, seed)
	for i := range elements {
		if e := elements[i] >> f.mant & (1<<f.exp - 1); int(e) > c.ids[(i+256*c.skip)/(256*c.units)] {
			elements[i] -= uint64(c.ids[(i+256*c.skip)/(256*c.units)]) << f.mant
		}
	}
	return elements
}

// classified makes a payload of model 2 of elements, and the tables of c, of at
// most most symbols.
func classified(f layout, groups, top, most int, c *classes, elements []uint64) payload {
	of := make([][]uint64, c.count)
	for i, w := range elements {
		id := c.ids[(i+256*c.skip)/(256*c.units)]
		of[id] = append(of[id], w)
	}
	c.tables = nil
	for _, list := range of {
		if len(list) == 0 {
			list = []uint64{1 << f.mant} // a class without stripes
		}
		c.tables = append(c.tables, tableOf(f, top, most, list))
	}
	p := encode(f, groups, c.runs(len(elements)), elements)
	p.model, p.tables = 2, c.bytes()
	return p
}

func goodClasses() (list []vector) {
	add := func(name, comment string, f layout, groups, top, most, n int, c classes) {
		elements := rows(f, n, c, uint64(n))
		p := classified(f, groups, top, most, &c, elements)
		list = append(list, single(name, comment, rans, dtypeOf(f), p.bytes(), bytesOf(f, elements)))
	}
	for i := range 16 {
		count := i + 1
		n := 256*max(count, 3) + 77
		c := classesOf(n, count, 1, 0)
		for i := range min(count, len(c.ids)) {
			c.ids[i] = count - 1 - i
		}
		add(fmt.Sprintf("classes-%d", count), fmt.Sprintf("%d bits for each of %d stripes", classBits(count), len(c.ids)), asBF16, 1, 0, 12, n, c)
	}
	add("classes-units", "stripes of three units, whole ones", asBF16, 1, 0, 32, 6*768, classesOf(6*768, 3, 3, 0))
	add("classes-skip", "the first stripe is two units shorter than the others, of three", asBF16, 1, 0, 32, 256+4*768, classesOf(256+4*768, 2, 3, 2))
	add("classes-skip-only", "the first stripe is the only one, and shorter than its length by all but one unit", asBF16, 1, 0, 32, 256, classesOf(256, 2, 65535, 65534))
	add("classes-one-stripe", "one stripe of 2^24 - 256 elements, of which the chunk has 1000", asBF16, 1, 0, 32, 1000, classesOf(1000, 1, 65535, 0))
	add("classes-last", "the last stripe has one element", asBF16, 1, 0, 32, 1025, classesOf(1025, 4, 1, 0))
	add("classes-whole", "the last stripe is whole, and so is the last byte of classes", asBF16, 1, 0, 32, 8*256, classesOf(8*256, 2, 1, 0))
	add("classes-four-groups", "256 lanes: a unit is one row", asBF16, 4, 1, 32, 1700, classesOf(1700, 3, 1, 0))
	add("classes-escapes", "escapes in every class, with a top mantissa bit", asBF16, 1, 1, 6, 1700, classesOf(1700, 3, 1, 0))
	add("classes-f32", "classes of elements of four bytes, three top mantissa bits", asF32, 1, 3, 32, 1100, classesOf(1100, 2, 2, 1))
	add("classes-e4m3", "classes of elements of one byte", asE4M3, 1, 1, 32, 1800, classesOf(1800, 2, 2, 0))
	add("classes-nibble", "classes of elements of half a byte", asNibble, 1, 0, 32, 2400, classesOf(2400, 2, 4, 3))
	unused := classesOf(1100, 2, 1, 0)
	unused.count = 5
	add("classes-unused", "five classes, of which stripes have two", asBF16, 1, 0, 32, 1100, unused)
	return list
}

func badClasses() (list []vector) {
	bad := func(name, comment string, count int, f func(c *classes, p *payload)) {
		const n = 1100
		c := classesOf(n, count, 1, 0)
		elements := rows(asBF16, n, c, 31)
		p := classified(asBF16, 1, 0, 32, &c, elements)
		f(&c, &p)
		list = append(list, corrupt(name, comment, bf16, chunk(rans, bf16, p.bytes(), bytesOf(asBF16, elements))))
	}
	// The five stripes of a chunk have the classes 0, 1, 3, 6 and 10, modulo their number.
	set := func(name, comment string, count int, f func(c *classes)) {
		bad(name, comment, count, func(c *classes, p *payload) {
			f(c)
			p.tables = c.bytes()
		})
	}
	const ids = 5 // offset of the first class
	set("classes-0", "no class", 1, func(c *classes) { c.count, c.tables = 0, nil })
	set("classes-17", "17 classes", 16, func(c *classes) { c.count, c.tables = 17, append(c.tables, c.tables[0]) })
	set("classes-255", "255 classes", 16, func(c *classes) { c.count = 255 })
	set("classes-units-0", "stripes of no elements", 2, func(c *classes) { c.units = 0 })
	set("classes-skip-all", "the first stripe is shorter by its length", 2, func(c *classes) { c.skip = 1 })
	set("classes-skip-more", "the first stripe is shorter by more than its length", 2, func(c *classes) { c.units, c.skip = 5, 6 })
	set("classes-skip-largest", "the first stripe is 65,535 units shorter", 2, func(c *classes) { c.skip = 65535 })
	set("classes-fewer", "a stripe less than the elements need", 5, func(c *classes) { c.ids = c.ids[:3] })
	set("classes-more", "classes for three stripes more", 5, func(c *classes) { c.ids = append(c.ids, 0, 0, 0) })
	set("classes-id-1", "class 1 of one", 1, func(c *classes) { c.ids[0] = 1 })
	set("classes-id-3", "class 3 of three, in the last stripe", 3, func(c *classes) { c.ids[4] = 3 })
	set("classes-id-5", "class 5 of five, in the first stripe", 5, func(c *classes) { c.ids[0] = 5 })
	set("classes-id-15", "class 15 of 15", 15, func(c *classes) { c.ids[2] = 15 })
	set("classes-id-other", "a class that is not the one the stripe was coded with", 3, func(c *classes) { c.ids[1] = 2 })
	bad("classes-padding", "the first padding bit is not 0", 2, func(_ *classes, p *payload) { p.tables[ids] |= 1 << 5 })
	bad("classes-padding-last", "the last padding bit is not 0", 3, func(_ *classes, p *payload) { p.tables[ids+1] |= 1 << 7 })
	bad("classes-padding-one", "a padding bit of one class is not 0", 1, func(_ *classes, p *payload) { p.tables[ids] |= 1 << 7 })
	set("classes-skip-other", "stripes other than those that were coded", 2, func(c *classes) { c.units, c.skip = 2, 1 })
	set("classes-table-sum", "the second table's frequencies sum to 255", 2, func(c *classes) { c.tables[1].symbols[len(c.tables[1].symbols)-1].freq-- })
	set("classes-table-top", "the second table has a top mantissa bit, the payload none", 2, func(c *classes) { c.tables[1].top = 1 })
	set("classes-tables-fewer", "a table less than there are classes", 4, func(c *classes) { c.tables = c.tables[:3] })
	cut := func(name, comment string, at func(c *classes) int) {
		bad(name, comment, 16, func(c *classes, p *payload) {
			*p = payload{layout: 1, groups: 1, model: 2, tables: p.tables[:at(c)]}
		})
	}
	cut("classes-cut-header", "the payload ends in the lengths of stripes", func(*classes) int { return 3 })
	cut("classes-cut-ids", "the payload ends in the classes of stripes", func(*classes) int { return ids + 2 })
	cut("classes-cut-table", "the payload ends in the last table", func(c *classes) int { return len(c.bytes()) - 1 })
	return list
}
