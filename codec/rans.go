package codec

import (
	"encoding/binary"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// FORMAT.md, "The rANS method".
const (
	ransHeader  = 12
	segmentSize = 5
	// largeElements is the number of elements from which all groups of lanes are
	// used; below, their states would cost too much: 0.07 % of 256 Ki F16 elements.
	largeElements = 512 << 10
	stripeUnit    = kernel.MaxLanes
	maxClasses    = 16
)

// How the plane of a rANS payload is stored.
const (
	planeRaw = iota
	planeConstant
	planeZstd
)

// Which tables a rANS payload uses.
const (
	modelInline  = iota // one table of its own
	modelShared         // segments, each with a table of the prologue
	modelClasses        // tables of its own, one for each class of stripes
)

func lanesFor(elements int) int {
	if elements >= largeElements {
		return kernel.MaxLanes
	}
	return kernel.GroupLanes
}

// segment is a run of elements coded with one model.
type segment struct {
	elements int
	model    kernel.Model
	id       int // of the only table in the prologue, or -1
}

// encodeRANS appends the payload of src, coded by segments, to dst. With one
// segment of id < 0 the tables are put inline. All tables have the same Top.
func (e *Encoder) encodeRANS(dst []byte, id layoutID, src []byte, segs []segment) []byte {
	f := layoutTable[id]
	n, top := f.Elements(len(src)), segs[0].model.Tables[0].Top
	r := e.split(f, top, src)
	lanes := lanesFor(n)
	e.rans.Reset(e.impl, n, lanes)
	end := n
	for i := len(segs) - 1; i >= 0; i-- {
		start := end - segs[i].elements
		e.rans.Encode(r.vals[start:end], &segs[i].model)
		end = start
	}

	at := len(dst)
	dst = append(dst, make([]byte, ransHeader)...)
	h := dst[at:]
	h[0], h[1] = byte(id), byte(top)|byte(lanes/kernel.GroupLanes)<<4
	binary.LittleEndian.PutUint32(h[4:], uint32(len(e.rans.Stream())))
	binary.LittleEndian.PutUint32(h[8:], uint32(e.rans.Escapes()))
	switch {
	case segs[0].id >= 0:
		h[3] = modelShared
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(segs)))
		for _, s := range segs {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(s.elements))
			dst = append(dst, byte(s.id))
		}
	case segs[0].model.Classes != nil:
		h[3] = modelClasses
		dst = appendClasses(dst, &segs[0].model)
	default:
		h[3] = modelInline
		dst = appendTable(dst, segs[0].model.Tables[0])
	}
	dst = e.rans.AppendStates(dst)
	dst = append(dst, e.rans.Stream()...)
	dst = e.rans.AppendEscapes(dst, top)
	dst, modes := e.appendRest(dst, r, f, top)
	dst[at+2] = modes
	return dst
}

// appendRest appends the planes of the rest and returns how they are stored.
func (e *Encoder) appendRest(dst []byte, r *parts, f kernel.Layout, top uint) ([]byte, byte) {
	modes, m := byte(0), byte(0)
	if len(r.packed) > 0 {
		dst, m = e.appendPlane(dst, r.packed)
		modes |= m
	}
	for p := range f.Planes(top) {
		dst, m = e.appendPlane(dst, r.planes[p])
		modes |= m << (2 * (p + 1))
	}
	return dst, modes
}

// classBits is how many bits a class takes when there are count of them.
func classBits(count int) int {
	switch {
	case count <= 2:
		return 1
	case count <= 4:
		return 2
	}
	return 4
}

// appendClasses appends a model of classes: FORMAT.md, "Payload".
func appendClasses(dst []byte, m *kernel.Model) []byte {
	dst = append(dst, byte(len(m.Tables)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Stripe/stripeUnit))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Skip/stripeUnit))
	bits := classBits(len(m.Tables))
	at := len(dst)
	dst = append(dst, make([]byte, (len(m.Classes)*bits+7)/8)...)
	for i, c := range m.Classes {
		dst[at+i*bits/8] |= c << (i * bits % 8)
	}
	for _, t := range m.Tables {
		dst = appendTable(dst, t)
	}
	return dst
}

// parts are the elements of a chunk, taken apart; scratch of an Encoder.
type parts struct {
	vals   []uint16
	packed []byte
	planes [3][]byte
}

func (e *Encoder) split(f kernel.Layout, top uint, src []byte) *parts {
	n, r := f.Elements(len(src)), &e.parts
	r.vals = resize(r.vals, n)
	r.packed = resize(r.packed, kernel.PackedSize(n, f.PackedBits(top)))
	for p := range f.Planes(top) {
		r.planes[p] = resize(r.planes[p], n)
	}
	e.impl.Split(r.vals, r.packed, r.planes[:f.Planes(top)], f, top, src)
	return r
}

// appendPlane appends a plane of the rest in its smallest form. The rest of
// trained weights is noise, so zstd is tried only where a sample says otherwise.
func (e *Encoder) appendPlane(dst, plane []byte) ([]byte, byte) {
	if constant(plane, 1) {
		return append(dst, plane[0]), planeConstant
	}
	if worthZstd(plane, len(plane)*15/16) {
		at := len(dst)
		z := appendZstd(append(dst, 0, 0, 0, 0), e.level, plane)
		if size := len(z) - at - 4; size+4 < len(plane) {
			binary.LittleEndian.PutUint32(z[at:], uint32(size))
			return z, planeZstd
		}
	}
	return append(dst, plane...), planeRaw
}

// resize returns a slice of length n, reusing the memory of s.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// payload is a rANS payload that is being read.
type payload struct {
	b  []byte
	at int // offset of b in the payload
}

// take cuts the next n bytes off.
func (p *payload) take(n int, what string) ([]byte, error) {
	if n < 0 || n > len(p.b) {
		return nil, corrupt(int64(p.at), "%s of %d bytes in %d", what, n, len(p.b))
	}
	b := p.b[:n:n]
	p.b, p.at = p.b[n:], p.at+n
	return b, nil
}

// end checks that nothing follows the last of what the payload is made of.
func (p *payload) end(last string) error {
	if len(p.b) != 0 {
		return corrupt(int64(p.at), "%d bytes follow the last %s", len(p.b), last)
	}
	return nil
}

func decodeRANS(d *Decoder, dst []byte, _ int, b []byte) error {
	p := &payload{b: b}
	h, err := p.take(ransHeader, "rans header")
	if err != nil {
		return err
	}
	id, top, groups := layoutID(h[0]), uint(h[1]&15), int(h[1]>>4)
	f, ok := id.kernel()
	if !ok {
		return unsupported("layout %d", id)
	}
	if top > f.TopLimit() || groups != 1 && groups != kernel.MaxGroups || !id.fits(len(dst)) {
		return corrupt(0, "rans chunk with %d mantissa bits, %d groups, %d bytes", top, groups, len(dst))
	}
	n := f.Elements(len(dst))
	if err := d.segments(p, id, top, n, h[3]); err != nil {
		return err
	}
	if err := d.resetRANS(p, h, f, top, groups); err != nil {
		return err
	}
	packed, planes, err := d.rest(p, f, top, n, h[2])
	if err != nil {
		return err
	}
	if err := p.end("plane"); err != nil {
		return err
	}
	if err := d.merge(dst, f, top, packed, planes); err != nil {
		return &CorruptError{Offset: ransHeader, Reason: "rans chunk", Err: err}
	}
	return nil
}

// segments reads which tables code which elements, to d.segs; n is the number of elements.
func (d *Decoder) segments(p *payload, id layoutID, top uint, n int, model byte) error {
	d.segs = d.segs[:0]
	switch model {
	case modelInline:
		t := &d.inline[0]
		d.one[0] = t
		d.segs = append(d.segs, segment{elements: n, model: kernel.Model{Tables: d.one[:1]}})
		return p.table(t, layoutTable[id], top)
	case modelClasses:
		return d.classes(p, id, top, n)
	case modelShared:
	default:
		return unsupported("rans model %d", model)
	}
	b, err := p.take(4, "segment count")
	if err != nil {
		return err
	}
	count := int(binary.LittleEndian.Uint32(b))
	if count > len(p.b)/segmentSize {
		return corrupt(int64(p.at-4), "%d segments in %d bytes", count, len(p.b))
	}
	left := n
	for range count {
		b, _ := p.take(segmentSize, "segment")
		elements, t := int(binary.LittleEndian.Uint32(b)), d.prologue.table(int(b[4]), id, top)
		if elements < 1 || elements > left || t == nil {
			return corrupt(int64(p.at-segmentSize), "segment of %d of %d elements with table %d", elements, left, b[4])
		}
		left -= elements
		d.segs = append(d.segs, segment{elements: elements, model: kernel.Model{Tables: t}})
	}
	if left != 0 {
		return corrupt(int64(p.at), "segments leave out %d elements", left)
	}
	return nil
}

// classes reads a model of classes.
func (d *Decoder) classes(p *payload, id layoutID, top uint, n int) error {
	b, err := p.take(5, "classes")
	if err != nil {
		return err
	}
	count := int(b[0])
	m := kernel.Model{
		Stripe: stripeUnit * int(binary.LittleEndian.Uint16(b[1:])),
		Skip:   stripeUnit * int(binary.LittleEndian.Uint16(b[3:])),
	}
	if count < 1 || count > maxClasses || m.Stripe == 0 || m.Skip >= m.Stripe {
		return corrupt(int64(p.at-5), "%d classes, stripes of %d elements, the first less %d", count, m.Stripe, m.Skip)
	}
	stripes := (n + m.Skip + m.Stripe - 1) / m.Stripe
	bits := classBits(count)
	if b, err = p.take((stripes*bits+7)/8, "classes"); err != nil {
		return err
	}
	d.classBuf = resize(d.classBuf, stripes)
	for i := range d.classBuf {
		d.classBuf[i] = b[i*bits/8] >> (i * bits % 8) & (1<<bits - 1)
		if int(d.classBuf[i]) >= count {
			return corrupt(int64(p.at-len(b)+i*bits/8), "stripe of class %d of %d", d.classBuf[i], count)
		}
	}
	if used := stripes * bits % 8; used != 0 && b[len(b)-1]>>used != 0 {
		return corrupt(int64(p.at-1), "classes have padding that is not zero")
	}
	m.Classes = d.classBuf
	for i := range count {
		d.one[i] = &d.inline[i]
		if err := p.table(d.one[i], layoutTable[id], top); err != nil {
			return err
		}
	}
	m.Tables = d.one[:count]
	d.segs = append(d.segs, segment{elements: n, model: m})
	return nil
}

// table reads a table to t.
func (p *payload) table(t *kernel.Table, f kernel.Layout, top uint) error {
	size, err := parseTable(t, p.b, f, top)
	if err != nil {
		return at(int64(p.at), err)
	}
	_, err = p.take(size, "table")
	return err
}

// resetRANS reads the states, the stream and the escapes.
func (d *Decoder) resetRANS(p *payload, h []byte, f kernel.Layout, top uint, groups int) error {
	statesAt := p.at
	states, err := p.take(2*groups*kernel.GroupLanes, "states")
	if err != nil {
		return err
	}
	stream, err := p.take(int(binary.LittleEndian.Uint32(h[4:])), "stream")
	if err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint32(h[8:]))
	if n > len(p.b) {
		return corrupt(8, "%d escapes in %d bytes", n, len(p.b))
	}
	escapesAt := p.at
	escapes, err := p.take(kernel.EscapeSize(n, top), "escapes")
	if err != nil {
		return err
	}
	for i, exp := range escapes[:n] {
		if int(exp) >= 1<<f.Exp {
			return corrupt(int64(escapesAt+i), "escape of exponent %d", exp)
		}
	}
	for plane := escapes[n:]; n%8 != 0 && len(plane) > 0; plane = plane[(n+7)/8:] {
		if plane[n/8]>>(n%8) != 0 {
			return corrupt(int64(escapesAt), "escapes have padding that is not zero")
		}
	}
	if err := d.rans.Reset(d.impl, f, top, states, stream, escapes, n); err != nil {
		return &CorruptError{Offset: int64(statesAt), Reason: "states", Err: err}
	}
	return nil
}

// rest reads the planes of what the symbols leave over of n elements.
func (d *Decoder) rest(p *payload, f kernel.Layout, top uint, n int, modes byte) (packed []byte, planes [][]byte, err error) {
	bits := f.PackedBits(top)
	if bits > 0 {
		if packed, err = d.plane(p, 0, kernel.PackedSize(n, bits), modes&3); err != nil {
			return nil, nil, err
		}
		if pad := uint(-n) % 8 * bits; pad > 0 {
			last := packed[len(packed)-int(bits):]
			var v uint64
			for i, c := range last {
				v |= uint64(c) << (8 * i)
			}
			if v>>(8*bits-pad) != 0 {
				return nil, nil, corrupt(int64(p.at), "packed plane has padding that is not zero")
			}
		}
	} else if modes&3 != 0 {
		return nil, nil, corrupt(2, "mode of a plane that is not there")
	}
	modes >>= 2
	planes = d.planes[:f.Planes(top)]
	for i := range planes {
		if planes[i], err = d.plane(p, i+1, n, modes&3); err != nil {
			return nil, nil, err
		}
		modes >>= 2
	}
	if modes != 0 {
		return nil, nil, corrupt(2, "mode of a plane that is not there")
	}
	return packed, planes, nil
}

// plane reads a plane of size bytes; i says which scratch memory it may use.
func (d *Decoder) plane(p *payload, i, size int, mode byte) ([]byte, error) {
	if mode == planeRaw {
		return p.take(size, "plane")
	}
	d.planeBuf[i] = resize(d.planeBuf[i], size)
	buf := d.planeBuf[i]
	if mode == planeConstant {
		b, err := p.take(1, "plane")
		if err != nil {
			return nil, err
		}
		for j := range buf {
			buf[j] = b[0]
		}
		return buf, nil
	}
	if mode != planeZstd {
		return nil, unsupported("plane mode %d", mode)
	}
	b, err := p.take(4, "plane size")
	if err != nil {
		return nil, err
	}
	start := p.at
	if b, err = p.take(int(binary.LittleEndian.Uint32(b)), "plane"); err != nil {
		return nil, err
	}
	return buf, at(int64(start), unzstd(buf, b))
}

// merge decodes the symbols of all segments and puts them and the rest together
// in dst.
func (d *Decoder) merge(dst []byte, f kernel.Layout, top uint, packed []byte, planes [][]byte) error {
	if len(d.segs) > 1 {
		return d.mergeSegments(dst, f, top, packed, planes)
	}
	if err := d.rans.Elements(dst, f, &d.segs[0].model, packed, planes, d.past); err != nil {
		return err
	}
	return d.rans.Close()
}

// mergeSegments is merge for small tensors. Segments start at any element, and
// planes are read in groups of eight, so it takes the chunk as a whole.
func (d *Decoder) mergeSegments(dst []byte, f kernel.Layout, top uint, packed []byte, planes [][]byte) error {
	d.words = resize(d.words, f.Elements(len(dst)))
	words := d.words
	for i := range d.segs {
		s := &d.segs[i]
		for at := 0; at < s.elements; at += kernel.Batch {
			if err := d.rans.Decode(words[at:min(at+kernel.Batch, s.elements)], &s.model, at); err != nil {
				return err
			}
		}
		words = words[s.elements:]
	}
	d.impl.Merge(dst, f, top, d.words, packed, planes)
	return d.rans.Close()
}
