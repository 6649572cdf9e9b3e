package codec

import (
	"encoding/binary"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// FORMAT.md, "The context method".
const (
	contextHeader = 26
	// contextElements is the fewest elements that are worth a model.
	contextElements = 4096
	// contextLarge is the number of elements from which all lanes are used.
	contextLarge = 512 << 10
)

// Bits of the flags of a context payload.
const contextSigned = 1

// encodeContext appends the payload of src, elements of layout id, to dst. It
// returns dst as it is if there is no model for it.
func (e *Encoder) encodeContext(dst []byte, id layoutID, src []byte, g Geometry) []byte {
	f := layoutTable[id]
	n, top := f.Elements(len(src)), contextTop(f)
	if n < contextElements || f.Sign == 0 || top < 2 {
		return dst
	}
	if e.fit == nil { // megabytes, which level default does without
		e.fit = new(contextFit)
	}
	fit := e.fit
	r := e.split(f.Signed(), top, src)
	fit.impl = e.impl
	m := fit.model(f, r.vals, g)
	if m == nil {
		return dst
	}
	if m.sides == nil {
		r = e.split(f, top, src)
	}
	lanes := kernel.ContextLanes
	if n < contextLarge {
		lanes /= 2
	}
	fit.escapes = fit.enc.Encode(m.shape(), lanes, fit.values, fit.symbols, fit.signs, fit.classes, fit.sides, fit.escapes[:0])
	stream := fit.enc.Stream()

	at := len(dst)
	dst = append(dst, make([]byte, contextHeader)...)
	h := dst[at:]
	h[0], h[1] = byte(id), byte(2*lanes/kernel.ContextLanes)
	if m.sides != nil {
		h[4] = contextSigned
	}
	h[5], h[6], h[7] = byte(m.first), byte(m.extra), byte(len(m.weights))
	binary.LittleEndian.PutUint16(h[8:], uint16(m.cell))
	binary.LittleEndian.PutUint32(h[10:], uint32(m.cols))
	binary.LittleEndian.PutUint32(h[14:], uint32(m.skip))
	binary.LittleEndian.PutUint32(h[18:], uint32(len(stream)))
	binary.LittleEndian.PutUint32(h[22:], uint32(len(fit.escapes)))
	dst = append(dst, m.weights...)
	dst = e.appendContextPlanes(dst, at, m)
	dst = fit.enc.AppendStates(dst)
	dst = append(dst, stream...)
	dst = e.appendContextEscapes(dst, at, fit.escapes, top)
	dst, modes := e.appendRest(dst, r, m.rest(), top)
	dst[at+2] = modes
	return dst
}

// appendContextPlanes appends the classes and sides to the payload that begins
// at at.
func (e *Encoder) appendContextPlanes(dst []byte, at int, m *contextModel) []byte {
	var mode byte
	for i, plane := range [][]uint8{m.rows, m.columns, m.sides} {
		if plane != nil {
			dst, mode = e.appendPlane(dst, plane)
			dst[at+3] |= mode << (2 * i)
		}
	}
	return dst
}

// appendContextEscapes appends the escaped values, of which the last comes first.
func (e *Encoder) appendContextEscapes(dst []byte, at int, values []uint16, top uint) []byte {
	if len(values) == 0 {
		return dst
	}
	n := len(values)
	exps, tops := make([]byte, n), make([]byte, kernel.PackedSize(n, top))
	for i := range exps {
		v := values[n-1-i]
		exps[i] = byte(v >> top)
		for b := range int(top) {
			bit := i*int(top) + b
			tops[bit/8] |= byte(v) >> b & 1 << (bit % 8)
		}
	}
	dst, mode := e.appendPlane(dst, exps)
	dst[at+3] |= mode << 6
	return append(dst, tops...)
}

// contextDecoder is what it takes to decode a context payload.
type contextDecoder struct {
	contextModel
	cells cells
	dec   kernel.ContextDecoder

	words      []uint16
	batch      struct{ classes, sides []uint8 }
	exps, tops []byte // of the escapes
	next       int    // escape
	planes     [4][]byte
}

func decodeContext(d *Decoder, dst []byte, _ int, b []byte) error {
	if d.context == nil { // half a megabyte, which few layers need
		d.context = new(contextDecoder)
	}
	c := d.context
	p := &payload{b: b}
	h, err := p.take(contextHeader, "context header")
	if err != nil {
		return err
	}
	if err := c.parse(d, p, h, len(dst)); err != nil {
		return err
	}
	f, top := c.rest(), contextTop(c.layout)
	n := f.Elements(len(dst))
	packed, planes, err := d.rest(p, f, top, n, h[2])
	if err != nil {
		return err
	}
	if err := p.end("plane"); err != nil {
		return err
	}
	if err := c.merge(d, dst, f, packed, planes); err != nil {
		return &CorruptError{Offset: contextHeader, Reason: "context chunk", Err: err}
	}
	return nil
}

// parse reads everything before the rest of a payload with header h, which decodes
// to size bytes.
func (c *contextDecoder) parse(d *Decoder, p *payload, h []byte, size int) error {
	id := layoutID(h[0])
	f, ok := id.kernel()
	if !ok {
		return unsupported("layout %d", id)
	}
	if f.Sign == 0 || contextTop(f) < 2 || !id.fits(size) || h[1] < 1 || h[1] > 2 {
		return corrupt(0, "context chunk of layout %d, %d bytes, %d groups", id, size, h[1])
	}
	if h[4] > contextSigned {
		return unsupported("context flags %#x", h[4])
	}
	n := f.Elements(size)
	c.layout, c.first, c.extra = f, int(h[5]), int(h[6])
	c.cols, c.skip = int(binary.LittleEndian.Uint32(h[10:])), int(binary.LittleEndian.Uint32(h[14:]))
	if c.first >= 1<<f.Exp || c.cols < 1 || c.cols > n || c.skip < 0 || c.skip >= c.cols {
		return corrupt(5, "first exponent %d, %d columns, the first of them %d", c.first, c.cols, c.skip)
	}
	if err := c.parseShape(p, h); err != nil {
		return err
	}
	if err := c.parsePlanes(d, p, h, n); err != nil {
		return err
	}
	if err := c.setClasses(); err != nil {
		return err
	}
	statesAt := p.at
	states, err := p.take(int(h[1])*kernel.ContextLanes/2*4, "states")
	if err != nil {
		return err
	}
	stream, err := p.take(int(binary.LittleEndian.Uint32(h[18:])), "stream")
	if err != nil {
		return err
	}
	if err := c.dec.Reset(d.impl, c.shape(), states, stream); err != nil {
		return &CorruptError{Offset: int64(statesAt), Reason: "states", Err: err}
	}
	return c.parseEscapes(d, p, h, n)
}

// parseShape reads the weights.
func (c *contextDecoder) parseShape(p *payload, h []byte) error {
	count, cell := int(h[7]), int(binary.LittleEndian.Uint16(h[8:]))
	if count < 1 || count > contextWeights || cell+count > contextCells {
		return corrupt(7, "%d weights from cell %d", count, cell)
	}
	w, err := p.take(count, "weights")
	if err != nil {
		return err
	}
	if w[0] == 0 || w[count-1] == 0 {
		return corrupt(int64(p.at-count), "outer weight is zero")
	}
	c.cell, c.weights = cell, append(c.weights[:0], w...)
	return nil
}

// parsePlanes reads the classes and sides of n elements.
func (c *contextDecoder) parsePlanes(d *Decoder, p *payload, h []byte, n int) (err error) {
	if c.rows, err = c.plane(d, p, 0, (c.skip+n-1)/c.cols+1, h[3]); err != nil {
		return err
	}
	if c.columns, err = c.plane(d, p, 1, c.cols, h[3]); err != nil {
		return err
	}
	for _, plane := range [][]uint8{c.rows, c.columns} {
		for _, class := range plane {
			if class >= kernel.ContextClasses {
				return corrupt(int64(p.at), "class %d", class)
			}
		}
	}
	c.sides = nil
	if h[4]&contextSigned != 0 {
		c.sides, err = c.plane(d, p, 2, c.cols, h[3])
	} else if h[3]>>4&3 != 0 {
		err = corrupt(3, "mode of a plane that is not there")
	}
	return err
}

// plane reads plane i, one of those whose modes are in modes, and keeps it.
func (c *contextDecoder) plane(d *Decoder, p *payload, i, size int, modes byte) ([]byte, error) {
	b, err := d.plane(p, 0, size, modes>>(2*i)&3)
	if err != nil {
		return nil, err
	}
	c.planes[i] = append(c.planes[i][:0], b...)
	return c.planes[i], nil
}

// setClasses gives the decoder the tables of all classes that occur.
func (c *contextDecoder) setClasses() error {
	var rows, columns, occurs [2 * kernel.ContextClasses]bool
	for _, class := range c.rows {
		rows[class] = true
	}
	for _, class := range c.columns {
		columns[class] = true
	}
	for row, ok := range rows[:kernel.ContextClasses] {
		for column, too := range columns[:kernel.ContextClasses] {
			if ok && too {
				occurs[min(row+column, kernel.ContextClasses-1)] = true
			}
		}
	}
	c.expand(&c.cells)
	var f [kernel.ContextSymbols]uint16
	for class, ok := range occurs {
		if !ok {
			continue
		}
		if !c.freqs(&c.cells, class, &f) {
			return corrupt(contextHeader, "class %d has no symbols", class)
		}
		c.dec.SetClass(class, &f)
	}
	return nil
}

// parseEscapes reads the list of escapes.
func (c *contextDecoder) parseEscapes(d *Decoder, p *payload, h []byte, elements int) (err error) {
	n, top := int(binary.LittleEndian.Uint32(h[22:])), contextTop(c.layout)
	c.exps, c.tops, c.next = nil, nil, 0
	if n < 0 || n > elements {
		return corrupt(22, "%d escapes of %d elements", n, elements)
	}
	if n == 0 {
		if h[3]>>6 != 0 {
			return corrupt(3, "mode of a plane that is not there")
		}
		return nil
	}
	if c.exps, err = c.plane(d, p, 3, n, h[3]); err != nil {
		return err
	}
	for _, exp := range c.exps {
		if int(exp) >= 1<<c.layout.Exp {
			return corrupt(int64(p.at), "escape of exponent %d", exp)
		}
	}
	if c.tops, err = p.take(kernel.PackedSize(n, top), "escapes"); err != nil {
		return err
	}
	used := n * int(top)
	for bit := used; bit < 8*len(c.tops); bit++ {
		if c.tops[bit/8]>>(bit%8)&1 != 0 {
			return corrupt(int64(p.at), "escapes have padding that is not zero")
		}
	}
	return nil
}

// merge decodes the symbols and puts them and the rest, of layout f, together in
// dst, a batch at a time.
func (c *contextDecoder) merge(d *Decoder, dst []byte, f kernel.Layout, packed []byte, planes [][]byte) error {
	top := contextTop(c.layout)
	n, bits := f.Elements(len(dst)), int(f.PackedBits(top))
	c.words = resize(c.words, kernel.Batch)
	c.batch.classes, c.batch.sides = resize(c.batch.classes, kernel.Batch), resize(c.batch.sides, kernel.Batch)
	for i := 0; i < n; i += kernel.Batch {
		words := c.words[:min(kernel.Batch, n-i)]
		classes, sides := c.batch.classes[:len(words)], c.batch.sides[:len(words)]
		c.classes(d.impl, classes, sides, i)
		escapes, err := c.dec.Decode(words, classes, sides)
		if err != nil {
			return err
		}
		c.patch(words, escapes)
		for p := range planes {
			d.cut[p] = planes[p][i:]
		}
		d.impl.Merge(dst[f.Size(i):], f, top, words, packed[i/8*bits:], d.cut[:len(planes)])
	}
	if c.next > len(c.exps) {
		return kernel.ErrEscapes
	}
	if c.next < len(c.exps) {
		return kernel.ErrFinal
	}
	return c.dec.Close()
}

// patch fills in the words of escapes. It counts those that the list lacks, too.
func (c *contextDecoder) patch(words []uint16, escapes []uint16) {
	top, shape, sign := contextTop(c.layout), c.shape(), uint16(0)
	if shape.Signed {
		sign = 0x8000
	}
	for _, i := range escapes {
		v := uint16(0)
		if c.next < len(c.exps) {
			at := c.next * int(top)
			v = uint16(c.exps[c.next]) << top
			for b := range int(top) {
				v |= uint16(c.tops[(at+b)/8]>>((at+b)%8)&1) << b
			}
		}
		words[i] = words[i]&sign | v<<shape.Shift
		c.next++
	}
}
