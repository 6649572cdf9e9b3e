package codec

import (
	"encoding/binary"
)

// FORMAT.md, "The fields payload".
const (
	maxFields   = 16
	fieldHeader = 8
)

// fieldsPay reports whether d has fields and src is worth the attempt.
func (d Dtype) fieldsPay(src []byte) bool {
	return dtypeTable[d].fields != nil && len(src) >= 4*d.Width()
}

// appendFields appends the payload of src with the fields of its elements encoded
// apart.
func (e *Encoder) appendFields(dst []byte, d Dtype, src []byte) []byte {
	fields, width := dtypeTable[d].fields, d.Width()
	n, headers := len(src)/width, len(dst)+1
	dst = append(dst, byte(len(fields)))
	dst = append(dst, make([]byte, len(fields)*fieldHeader)...)
	e.plane = resize(e.plane, len(src))
	from := 0
	for i, w := range fields {
		plane := e.plane[:n*w]
		gather(plane, src, from, w, width)
		at := len(dst)
		var m Method
		m, dst = e.appendField(dst, plane, w)
		h := dst[headers+i*fieldHeader:]
		h[0], h[1], h[2] = byte(w), byte(w>>8), byte(m)
		binary.LittleEndian.PutUint32(h[4:], uint32(len(dst)-at))
		from += w
	}
	return dst
}

// appendField appends the payload of one field, w bytes of every element.
func (e *Encoder) appendField(dst, plane []byte, w int) (Method, []byte) {
	if constant(plane, w) {
		return Constant, append(dst, plane[:w]...)
	}
	try := tryBytes
	if w == 2 {
		try = tryHalfs
	}
	return e.appendSmallest(dst, plane, e.coding(try, plane, Geometry{}), Geometry{})
}

// gather copies w bytes from offset from of each element of src, of width bytes,
// to dst.
func gather(dst, src []byte, from, w, width int) {
	if w == 1 {
		for i := range dst {
			dst[i] = src[i*width+from]
		}
		return
	}
	for ; len(dst) > 0; dst, src = dst[w:], src[width:] {
		copy(dst[:w], src[from:])
	}
}

// scatter is the inverse of gather.
func scatter(dst, src []byte, from, w, width int) {
	if w == 1 {
		for i, b := range src {
			dst[i*width+from] = b
		}
		return
	}
	for ; len(src) > 0; dst, src = dst[width:], src[w:] {
		copy(dst[from:], src[:w])
	}
}

// decodeFields decodes a payload of fields. Their sizes need not be those of the
// dtype: the payload says what it has.
func decodeFields(d *Decoder, dst []byte, _ int, b []byte) error {
	p := &payload{b: b}
	h, err := p.take(1, "fields")
	if err != nil {
		return err
	}
	count := int(h[0])
	if count < 1 || count > maxFields {
		return corrupt(0, "%d fields", count)
	}
	headers, err := p.take(count*fieldHeader, "fields")
	if err != nil {
		return err
	}
	width := 0
	for i := range count {
		h := headers[i*fieldHeader:]
		w := int(binary.LittleEndian.Uint16(h))
		if w == 0 || h[3] != 0 {
			return corrupt(int64(1+i*fieldHeader), "field of %d bytes with flags %#x", w, h[3])
		}
		width += w
	}
	if len(dst)%width != 0 {
		return corrupt(1, "elements of %d bytes in %d", width, len(dst))
	}
	n, from := len(dst)/width, 0
	for i := range count {
		h := headers[i*fieldHeader:]
		w := int(binary.LittleEndian.Uint16(h))
		start := p.at
		b, err := p.take(int(binary.LittleEndian.Uint32(h[4:])), "field")
		if err != nil {
			return err
		}
		d.inner = resize(d.inner, n*w)
		if err := d.decodeInner(d.inner, Method(h[2]), w, b); err != nil {
			return at(int64(start), err)
		}
		scatter(dst, d.inner, from, w, width)
		from += w
	}
	return p.end("field")
}
