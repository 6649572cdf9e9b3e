package main

import (
	"bytes"
	"fmt"
	"slices"
)

// field is a field of a fields payload and what it decodes to.
type field struct {
	width, method int
	payload       []byte
	decoded       []byte
	extra         int  // added to the size
	reserved      byte // must be 0
}

// fieldsPayload puts a fields payload together; count is added to their number.
func fieldsPayload(list []field, count int) []byte {
	b := []byte{byte(len(list) + count)}
	for _, f := range list {
		b = le.AppendUint16(b, uint16(f.width))
		b = append(b, byte(f.method), f.reserved)
		b = le.AppendUint32(b, uint32(len(f.payload)+f.extra))
	}
	for _, f := range list {
		b = append(b, f.payload...)
	}
	return b
}

// interleave is what a fields payload decodes to: n elements.
func interleave(list []field, n int) (b []byte) {
	for i := range n {
		for _, f := range list {
			b = append(b, f.decoded[i*f.width:(i+1)*f.width]...)
		}
	}
	return b
}

func rawField(width, n int) field {
	b := ramp(width * n)
	return field{width: width, method: raw, payload: b, decoded: b}
}

func constantField(width, n int) field {
	b := ramp(width)
	return field{width: width, method: constant, payload: b, decoded: bytes.Repeat(b, n)}
}

// zstdField repeats one byte.
func zstdField(width, n int, b byte) field {
	f := frame{single: true, size: uint64(width * n), blocks: block(true, 1, width*n, b)}
	return field{width: width, method: zstd, payload: sum(f.bytes()), decoded: bytes.Repeat([]byte{b}, width*n)}
}

// ransField has elements of a layout, with the table inline; n * width bytes.
func ransField(f layout, width, n int) field {
	elements := weights(f, 8*width*n/f.bits(), uint64(width))
	p := inline(f, 1, tableOf(f, 0, 32, elements), elements)
	return field{width: width, method: rans, payload: p.bytes(), decoded: bytesOf(f, elements)}
}

func goodFields() (list []vector) {
	add := func(name, comment string, d byte, n int, parts ...field) {
		list = append(list, single(name, comment, fields, d, fieldsPayload(parts, 0), interleave(parts, n)))
	}
	for i := range 16 {
		count := i + 1
		var parts []field
		for i := range count {
			if i%2 == 0 {
				parts = append(parts, constantField(1+i%3, 40))
			} else {
				parts = append(parts, rawField(1+i%4, 40))
			}
		}
		add(fmt.Sprintf("fields-%d", count), "method 4; fields that are constant and raw in turn", u8, 40, parts...)
	}
	add("fields-zstd", "the low bytes of U32 are in a zstd payload", u32, 300, zstdField(3, 300, 9), rawField(1, 300))
	add("fields-rans", "the high bytes of I16 are in a rANS payload, of the layout byte", i16, 900, rawField(1, 900), ransField(asByte, 1, 900))
	add("fields-rans-wide", "fields of eight bytes, of the layout F16", f64, 300, ransField(asF16, 8, 300))
	add("fields-blocks", "blocks of 144 bytes: two scales, six-bit scales, codes, each in a payload of another method", q4K, 40,
		ransField(asF16, 2, 40), constantField(2, 40), zstdField(12, 40, 5), ransField(asNibble, 128, 40))
	add("fields-stride", "elements of three bytes, of a dtype of two", i16, 200, constantField(1, 200), rawField(2, 200))
	add("fields-stride-wide", "a stride of four elements of the dtype", i16, 50, constantField(3, 50), rawField(5, 50))
	add("fields-one-element", "the stride is the decoded size, and the width of a field over 255", u8, 1, constantField(30, 1), zstdField(300, 1, 1))
	add("fields-same", "fields of one width and method", i16, 200, constantField(1, 200), zstdField(1, 200, 1))
	long := ransField(asByte, 1, 60)
	add("fields-longer", "a field is longer encoded than decoded, the chunk is not", i64, 60, constantField(7, 60), long)
	elements, a, b := tensors()
	segments := segmented(asBF16, 1, []segment{{run{301, a}, 0}, {run{70, b}, 1}, {run{259, a}, 0}}, elements)
	shared := []field{{width: 2, method: rans, payload: segments.bytes(), decoded: bytesOf(asBF16, elements)}, constantField(2, 630)}
	list = append(list, single("fields-shared", "a field has segments with shared tables", fields, f32,
		fieldsPayload(shared, 0), interleave(shared, 630), a.shared(asBF16), b.shared(asBF16)))
	c := classesOf(1200, 3, 1, 0)
	striped := rows(asByte, 1200, c, 1)
	p := classified(asByte, 4, 1, 32, &c, striped)
	add("fields-classes", "a field has classes, and 256 lanes", i16, 1200, constantField(1, 1200),
		field{width: 1, method: rans, payload: p.bytes(), decoded: bytesOf(asByte, striped)})
	return list
}

func badFields() (list []vector) {
	const n = 60
	add := func(name, expect, comment string, parts []field, count int, tail ...byte) {
		whole := interleave(goodPair(n), n)
		list = append(list, after(name, expect, comment, i64, chunk(fields, i64, append(fieldsPayload(parts, count), tail...), whole)))
	}
	bad := func(name, expect, comment string, f func(a, b *field)) {
		parts := goodPair(n)
		f(&parts[0], &parts[1])
		add(name, expect, comment, parts, 0)
	}
	add("fields-0", "corrupt", "no field", nil, 0)
	add("fields-count-255", "corrupt", "255 fields", goodPair(n), 253)
	add("fields-fewer", "corrupt", "one field instead of two", goodPair(n), -1)
	add("fields-trailing", "corrupt", "a byte after the last field", goodPair(n), 0, 0)
	bad("fields-width-0", "corrupt", "a field of width 0", func(a, _ *field) { a.width, a.payload = 0, nil })
	bad("fields-width-other", "corrupt", "fields of 11 bytes in 480", func(_, b *field) { b.width = 6 })
	bad("fields-width-large", "corrupt", "fields of 65,535 and 3 bytes in 480", func(a, _ *field) { a.width = 65535 })
	bad("fields-width-swapped", "corrupt", "the widths of two fields swapped", func(a, b *field) { a.width, b.width = b.width, a.width })
	bad("fields-reserved", "corrupt", "the reserved byte of a field is not 0", func(_, b *field) { b.reserved = 1 })
	bad("fields-size-long", "corrupt", "the last field is longer than the payload", func(_, b *field) { b.extra = 1 })
	bad("fields-size-short", "corrupt", "the last field leaves a byte of the payload", func(_, b *field) { b.extra = -1 })
	bad("fields-size-moved", "corrupt", "a byte moved from one field to the other", func(a, b *field) { a.extra, b.extra = 1, -1 })
	bad("fields-size-huge", "corrupt", "a field of 2^32-1 bytes", func(a, _ *field) { a.extra = 1<<32 - 1 - len(a.payload) })
	bad("fields-size-wraps", "corrupt", "sizes that sum to what there is, modulo 2^32", func(a, b *field) { a.extra, b.extra = 1<<31, 1<<31 })
	for _, m := range []int{fields, 6, 7, widened, 9, 254, 255} {
		bad(fmt.Sprintf("fields-method-%d", m), "unsupported", fmt.Sprintf("a field of method %d", m), func(_, b *field) { b.method = m })
	}
	bad("fields-raw-short", "corrupt", "a raw field that lacks a byte", func(_, b *field) { b.payload = b.payload[1:] })
	bad("fields-raw-long", "corrupt", "a raw field with a byte too many", func(_, b *field) { b.payload = append(b.payload, 0) })
	bad("fields-constant-dtype", "corrupt", "a constant of the width of the dtype, not of the field", func(a, _ *field) { a.payload = ramp(8) })
	bad("fields-constant-none", "corrupt", "a constant field without its element", func(a, _ *field) { a.payload = nil })
	bad("fields-zstd-size", "corrupt", "a zstd payload of the decoded size of the chunk, not of the field", func(_, b *field) {
		b.method, b.payload = zstd, zstdField(8, n, 0).payload
	})
	bad("fields-zstd-sum", "corrupt", "check sum of a zstd payload", func(_, b *field) {
		b.method, b.payload = zstd, zstdField(3, n, 0).payload
		b.payload[0] ^= 1
	})
	bad("fields-rans-cut", "corrupt", "a rANS payload of eleven bytes", func(_, b *field) { b.method, b.payload = rans, make([]byte, 11) })
	bad("fields-rans-layout", "unsupported", "a rANS payload of layout 8", func(_, b *field) {
		b.method, b.payload = rans, ransField(asByte, 1, n).payload
		b.payload[0] = 8
	})
	bad("fields-decoded", "corrupt", "a byte of a field is another than its hash covers", func(_, b *field) {
		b.payload = slices.Clone(b.payload)
		b.payload[7] ^= 1
	})
	many := slices.Repeat([]field{constantField(1, n)}, 17)
	whole := interleave(goodPair(n), n)
	payload := fieldsPayload(goodPair(n), 0)
	list = append(list,
		corrupt("fields-17", "17 fields", u8, chunk(fields, u8, fieldsPayload(many, 0), interleave(many, n))),
		corrupt("fields-none", "an empty payload", i64, chunk(fields, i64, nil, whole)),
		corrupt("fields-cut", "the payload ends in the widths", i64, chunk(fields, i64, payload[:12], whole)),
		corrupt("fields-cut-payload", "the payload ends before the fields", i64, chunk(fields, i64, payload[:17], whole)),
		badFieldSize())
	return list
}

// goodPair is two fields of elements of eight bytes: five that are constant and
// three that are raw.
func goodPair(n int) []field { return []field{constantField(5, n), rawField(3, n)} }

// badFieldSize is a field of an odd number of bytes in a layout of two.
func badFieldSize() vector {
	const n = 301
	parts := []field{constantField(7, n), rawField(1, n)}
	whole := interleave(parts, n)
	parts[1] = ransField(asBF16, 2, n/2)
	parts[1].width = 1
	return corrupt("fields-rans-size", "a field of 301 bytes in the layout BF16", i64, chunk(fields, i64, fieldsPayload(parts, 0), whole))
}
