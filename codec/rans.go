package codec

import (
	"encoding/binary"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// FORMAT.md, "The rANS method".
const (
	ransHeader  = 12
	segmentSize = 5
	// largeElements is the chunk size from which all groups of lanes are used;
	// below, their states would cost too much: 0.07 % of 256 Ki F16 elements.
	largeElements = 512 << 10
	// batch is how many elements are decoded before they are merged, so that
	// the symbols stay in the first-level cache. A multiple of kernel.MaxLanes.
	batch = 4096
)

// How the plane of a rANS payload is stored.
const (
	planeRaw = iota
	planeConstant
	planeZstd
)

// Which tables a rANS payload uses.
const (
	modelInline = iota // one table of its own
	modelShared        // segments, each with a table of the prologue
)

func lanesFor(elements int) int {
	if elements >= largeElements {
		return kernel.MaxLanes
	}
	return kernel.GroupLanes
}

// segment is a run of elements coded with one table.
type segment struct {
	elements int
	table    *kernel.Table
	id       int // in the prologue
}

// encodeRANS appends the payload of src, coded by segments, to dst. With one
// segment of id < 0 the table is put inline. All tables have the same Top.
func (e *Encoder) encodeRANS(dst []byte, f kernel.Float, src []byte, segs []segment) []byte {
	n, top := len(src)/f.Width, segs[0].table.Top
	r := e.split(f, top, src)
	lanes := lanesFor(n)
	e.rans.Reset(n, lanes)
	end := n
	for i := len(segs) - 1; i >= 0; i-- {
		start := end - segs[i].elements
		e.rans.Encode(r.vals[start:end], segs[i].table)
		end = start
	}

	at := len(dst)
	dst = append(dst, make([]byte, ransHeader)...)
	h := dst[at:]
	h[0], h[1] = byte(top), byte(lanes/kernel.GroupLanes)
	binary.LittleEndian.PutUint32(h[4:], uint32(len(e.rans.Stream())))
	binary.LittleEndian.PutUint32(h[8:], uint32(e.rans.Escapes()))
	if segs[0].id < 0 {
		h[3] = modelInline
		dst = appendTable(dst, segs[0].table)
	} else {
		h[3] = modelShared
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(segs)))
		for _, s := range segs {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(s.elements))
			dst = append(dst, byte(s.id))
		}
	}
	dst = e.rans.AppendStates(dst)
	dst = append(dst, e.rans.Stream()...)
	dst = e.rans.AppendEscapes(dst, top)

	modes := byte(0)
	if len(r.packed) > 0 {
		var m byte
		dst, m = e.appendPlane(dst, r.packed)
		modes |= m
	}
	for p := range f.Planes(top) {
		var m byte
		dst, m = e.appendPlane(dst, r.planes[p])
		modes |= m << (2 * (p + 1))
	}
	dst[at+2] = modes
	return dst
}

// parts are the elements of a chunk, taken apart; scratch of an Encoder.
type parts struct {
	vals   []uint16
	packed []byte
	planes [3][]byte
}

func (e *Encoder) split(f kernel.Float, top uint, src []byte) *parts {
	n, r := len(src)/f.Width, &e.parts
	r.vals = resize(r.vals, n)
	r.packed = resize(r.packed, kernel.PackedSize(n, f.PackedBits(top)))
	for p := range f.Planes(top) {
		r.planes[p] = resize(r.planes[p], n)
	}
	kernel.Split(r.vals, r.packed, r.planes[:], f, top, src)
	return r
}

// appendPlane appends a plane of the rest in its smallest form. The rest of
// trained weights is noise, so zstd is tried only where a sample says otherwise.
func (e *Encoder) appendPlane(dst, plane []byte) ([]byte, byte) {
	if constant(plane, 1) {
		return append(dst, plane[0]), planeConstant
	}
	if e.worthZstd(plane, len(plane)*15/16) {
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

func decodeRANS(d *Decoder, dst []byte, dtype Dtype, b []byte) error {
	if dtypeTable[dtype].float == nil {
		return corrupt(0, "rans chunk of dtype %v", dtype)
	}
	f := *dtypeTable[dtype].float
	p := &payload{b: b}
	h, err := p.take(ransHeader, "rans header")
	if err != nil {
		return err
	}
	top, groups := uint(h[0]), int(h[1])
	if top > f.TopLimit() || groups != 1 && groups != kernel.MaxGroups {
		return corrupt(0, "rans chunk with %d mantissa bits, %d groups", top, groups)
	}
	segs, err := d.segments(p, dtype, top, len(dst)/f.Width, h[3])
	if err != nil {
		return err
	}
	if err := d.resetRANS(p, h, f, top, groups); err != nil {
		return err
	}
	packed, planes, err := d.rest(p, f, top, len(dst)/f.Width, h[2])
	if err != nil {
		return err
	}
	if len(p.b) != 0 {
		return corrupt(int64(p.at), "%d bytes follow the last plane", len(p.b))
	}
	if err := d.merge(dst, f, top, segs, packed, planes); err != nil {
		return &CorruptError{Offset: ransHeader, Reason: "rans chunk", Err: err}
	}
	return nil
}

// segments reads which tables code which elements; n is the number of elements.
func (d *Decoder) segments(p *payload, dtype Dtype, top uint, n int, model byte) ([]segment, error) {
	d.segs = d.segs[:0]
	switch model {
	case modelInline:
		t, size, err := parseTable(p.b, *dtypeTable[dtype].float, top)
		if err != nil {
			return nil, at(int64(p.at), err)
		}
		_, err = p.take(size, "table")
		d.segs = append(d.segs, segment{elements: n, table: t})
		return d.segs, err
	case modelShared:
	default:
		return nil, unsupported("rans model %d", model)
	}
	b, err := p.take(4, "segment count")
	if err != nil {
		return nil, err
	}
	count := int(binary.LittleEndian.Uint32(b))
	if count > len(p.b)/segmentSize {
		return nil, corrupt(int64(p.at-4), "%d segments in %d bytes", count, len(p.b))
	}
	left := n
	for range count {
		b, _ := p.take(segmentSize, "segment")
		elements, id := int(binary.LittleEndian.Uint32(b)), int(b[4])
		t := d.prologue.table(id, dtype)
		if elements < 1 || elements > left || t == nil || t.Top != top {
			return nil, corrupt(int64(p.at-segmentSize), "segment of %d of %d elements with table %d", elements, left, id)
		}
		left -= elements
		d.segs = append(d.segs, segment{elements: elements, table: t})
	}
	if left != 0 {
		return nil, corrupt(int64(p.at), "segments leave out %d elements", left)
	}
	return d.segs, nil
}

// resetRANS reads the states, the stream and the escapes.
func (d *Decoder) resetRANS(p *payload, h []byte, f kernel.Float, top uint, groups int) error {
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
	if err := d.rans.Reset(states, stream, escapes, n); err != nil {
		return &CorruptError{Offset: int64(statesAt), Reason: "states", Err: err}
	}
	return nil
}

// rest reads the planes of what the symbols leave over of n elements.
func (d *Decoder) rest(p *payload, f kernel.Float, top uint, n int, modes byte) (packed []byte, planes [][]byte, err error) {
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
func (d *Decoder) merge(dst []byte, f kernel.Float, top uint, segs []segment, packed []byte, planes [][]byte) error {
	n := len(dst) / f.Width
	bits := int(f.PackedBits(top))
	if len(segs) == 1 {
		d.vals = resize(d.vals, min(batch, n))
		for i := 0; i < n; i += batch {
			vals := d.vals[:min(batch, n-i)]
			if err := d.rans.Decode(vals, segs[0].table); err != nil {
				return err
			}
			for p := range planes {
				d.cut[p] = planes[p][i:]
			}
			kernel.Merge(dst[i*f.Width:], f, top, vals, packed[i/8*bits:], d.cut[:len(planes)])
		}
		return d.rans.Close()
	}
	// Segments start at any element, planes are read in groups of eight.
	d.vals = resize(d.vals, n)
	vals := d.vals
	for _, s := range segs {
		if err := d.rans.Decode(vals[:s.elements], s.table); err != nil {
			return err
		}
		vals = vals[s.elements:]
	}
	kernel.Merge(dst, f, top, d.vals, packed, planes)
	return d.rans.Close()
}
