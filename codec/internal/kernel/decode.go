package kernel

import (
	"encoding/binary"
	"errors"
)

// Errors of a stream that does not decode. Callers add the place.
var (
	ErrState   = errors.New("rans state out of range")
	ErrStream  = errors.New("rans stream ends early")
	ErrEscapes = errors.New("escape list ends early")
	ErrFinal   = errors.New("rans stream does not close")
)

// Batch is the largest number of elements that are decoded at once: their words
// stay in the first-level cache until they are merged.
const Batch = 4096

// Decoder decodes the symbols of one chunk. The zero value is not usable; see
// Reset.
type Decoder struct {
	impl   *Impl
	lanes  int
	lo, hi [MaxLanes]uint8 // bytes of the states
	stream []byte          // not yet read

	// low and high are the bytes of the words of all escapes, and GroupLanes more;
	// next is the next of them. It counts on when there are no more.
	low, high []uint8
	next      int

	escaped []uint16 // indices of the escapes of a batch
	words   []uint16 // of a batch
	cut     [3][]byte
	work    elements
}

// EscapeSize is the length in bytes of a list of n escapes: an exponent byte
// each, then for each of top mantissa bits, the lowest first, a plane of n bits,
// padded with zero bits to whole bytes.
func EscapeSize(n int, top uint) int { return n + (n+7)/8*int(top) }

// Reset starts a chunk of layout f with top mantissa bits in the symbols. states
// holds the low bytes of the lanes' states, then the high bytes: 2*lanes bytes,
// lanes a multiple of GroupLanes. escapes is a list of n of EscapeSize bytes. The
// stream is read until the last Decode.
func (d *Decoder) Reset(im *Impl, f Layout, top uint, states, stream, escapes []byte, n int) error {
	d.impl, d.lanes, d.stream = im, len(states)/2, stream
	copy(d.lo[:], states[:d.lanes])
	copy(d.hi[:], states[d.lanes:])
	for _, hi := range d.hi[:d.lanes] {
		if hi == 0 { // below stateLow
			return ErrState
		}
	}
	if d.escaped == nil {
		d.escaped, d.words = make([]uint16, 0, Batch), make([]uint16, Batch)
	}
	d.readEscapes(f, top, escapes, n)
	return nil
}

// readEscapes makes words of a list of n escapes.
func (d *Decoder) readEscapes(f Layout, top uint, escapes []byte, n int) {
	d.next = 0
	if size := n + GroupLanes; cap(d.low) < size {
		d.low, d.high = make([]uint8, size), make([]uint8, size)
	} else {
		d.low, d.high = d.low[:size], d.high[:size]
	}
	shift, size := f.shift(top), (n+7)/8
	for i := 0; i < n; i += 8 {
		var bits [MaxTop]uint16 // of eight escapes
		for b := range int(top) {
			bits[b] = uint16(escapes[n+b*size+i/8])
		}
		exps := escapes[i:min(i+8, n)]
		low, high := d.low[i:][:len(exps)], d.high[i:][:len(exps)]
		for k, exp := range exps {
			v := uint16(exp)<<top | bits[0]>>k&1 | bits[1]>>k&1<<1 | bits[2]>>k&1<<2
			v <<= shift
			low[k], high[k] = uint8(v), uint8(v>>8)
		}
	}
}

// elements is what Decoder.Elements works on.
type elements struct {
	shape  shape
	dst    []byte
	n      int
	model  *Model
	packed []byte
	planes [][]byte
	past   bool // dst is large and not read soon
}

// Elements decodes the elements of a chunk, or of a part of one that has a model
// of its own, to dst: all of them, and their rests begin with packed and planes.
// With past, dst is large and not read soon.
func (d *Decoder) Elements(dst []byte, f Layout, m *Model, packed []byte, planes [][]byte, past bool) error {
	top := m.Tables[0].Top
	d.work = elements{shapeOf(f, top), dst, f.Elements(len(dst)), m, packed, planes, past}
	x := &d.work
	for i := 0; i < x.n; {
		if d.impl.fused != nil {
			i = d.impl.fused(d, x, i)
		}
		words := d.words[:min(Batch, x.n-i)]
		if err := d.Decode(words, m, i); err != nil {
			return err
		}
		for k := range planes {
			d.cut[k] = planes[k][i:]
		}
		d.impl.Merge(dst[f.Size(i):], f, top, words, packed[PackedSize(i, x.shape.packed):], d.cut[:len(planes)])
		i += len(words)
	}
	return nil
}

// Decode decodes len(words) <= Batch symbols, from element i of the model on, to
// words: see Layout. All but the last call for a chunk, or for a Model of it,
// have a multiple of MaxLanes of them; each call starts at lane 0.
func (d *Decoder) Decode(words []uint16, m *Model, i int) error {
	d.escaped = d.escaped[:0]
	for at := 0; at < len(words); {
		t, n := m.run(i+at, len(words)-at)
		if err := d.decode(words[at:at+n], t, at); err != nil {
			return err
		}
		at += n
	}
	if len(d.escaped) > 0 {
		d.escapes(words)
	}
	return nil
}

// decode decodes words, of which the first has index base in its batch, with t.
func (d *Decoder) decode(words []uint16, t *Table, base int) error {
	whole := len(words) - len(words)%d.lanes
	n := d.impl.decode(d, words[:whole], t, base)
	for ; n < len(words); n += d.lanes {
		if err := d.lastRow(words[n:min(n+d.lanes, len(words))], t, base+n); err != nil {
			return err
		}
	}
	return nil
}

// decodeGo is Impl.decode: it goes on while a whole row cannot exhaust the
// stream.
func decodeGo(d *Decoder, words []uint16, t *Table, base int) int {
	if min(len(words), len(d.stream)) < d.lanes {
		return 0
	}
	var c cells
	c.load(d)
	n := 0
	for ; n+d.lanes <= len(words) && len(d.stream) >= d.lanes; n += d.lanes {
		for g := 0; g < d.lanes; g += GroupLanes {
			group := words[n+g : n+g+GroupLanes]
			used, marks := decodeGroup(group, c[g/GroupLanes][:], &t.slots, d.stream)
			d.stream = d.stream[used:]
			if marks&wordEscape != 0 {
				d.noteEscapes(group, base+n+g)
			}
		}
	}
	c.store(d)
	return n
}

// cells holds states so that to renormalise needs neither a branch nor a
// selection. A state is in bytes 1 and 2 of its cell. First the next byte of the
// stream goes to byte 1; then a state that needs no byte goes to bytes 1 and 2,
// over it, and one that does to bytes 2 and 3, where it is shifted by eight bits.
type cells [MaxGroups][GroupLanes]cell

type cell [4]byte

func (c *cells) load(d *Decoder) {
	for g := range d.lanes / GroupLanes {
		lo, hi, group := d.lo[g*GroupLanes:][:GroupLanes], d.hi[g*GroupLanes:][:GroupLanes], &c[g]
		for l := range group {
			group[l][1], group[l][2] = lo[l], hi[l]
		}
	}
}

func (c *cells) store(d *Decoder) {
	for g := range d.lanes / GroupLanes {
		lo, hi, group := d.lo[g*GroupLanes:][:GroupLanes], d.hi[g*GroupLanes:][:GroupLanes], &c[g]
		for l := range group {
			lo[l], hi[l] = group[l][1], group[l][2]
		}
	}
}

// decodeGroup decodes one symbol in each lane of a group. It returns how many
// bytes of in it took, of at least GroupLanes, and the words or-ed together.
func decodeGroup(words []uint16, cells []cell, slots *[256]uint64, in []byte) (used uint, marks uint16) {
	_ = slots[0] // not nil: no checks in the loop
	// Fewer lanes at a time spend more on the slices than on the lanes.
	for len(words) >= 16 && len(cells) >= 16 && used+16 <= uint(len(in)) {
		w, c, p := (*[16]uint16)(words), (*[16]cell)(cells), (*[16]byte)(in[used:used+16])
		u := uint(0) // at most the number of the lane
		w[0], u, marks = c[0].step(slots, p[u], u, marks)
		w[1], u, marks = c[1].step(slots, p[u], u, marks)
		w[2], u, marks = c[2].step(slots, p[u], u, marks)
		w[3], u, marks = c[3].step(slots, p[u], u, marks)
		w[4], u, marks = c[4].step(slots, p[u], u, marks)
		w[5], u, marks = c[5].step(slots, p[u], u, marks)
		w[6], u, marks = c[6].step(slots, p[u], u, marks)
		w[7], u, marks = c[7].step(slots, p[u], u, marks)
		w[8], u, marks = c[8].step(slots, p[u], u, marks)
		w[9], u, marks = c[9].step(slots, p[u], u, marks)
		w[10], u, marks = c[10].step(slots, p[u], u, marks)
		w[11], u, marks = c[11].step(slots, p[u], u, marks)
		w[12], u, marks = c[12].step(slots, p[u], u, marks)
		w[13], u, marks = c[13].step(slots, p[u], u, marks)
		w[14], u, marks = c[14].step(slots, p[u], u, marks)
		w[15], u, marks = c[15].step(slots, p[u], u, marks)
		used += u
		words, cells = words[16:], cells[16:]
	}
	return used, marks
}

// step decodes a symbol, given the next byte of the stream. It returns used and
// marks with what the symbol adds to them.
func (c *cell) step(slots *[256]uint64, next byte, used uint, marks uint16) (word uint16, _ uint, _ uint16) {
	e := slots[c[1]]
	x := uint32(e>>slotFreq)*uint32(c[2]) + uint32(e)>>slotOffset
	c[1] = next
	due := uint((x - stateLow) >> 31) // 1 if x < stateLow
	binary.LittleEndian.PutUint16(c[1+due:3+due], uint16(x))
	return uint16(e), used + due, marks | uint16(e)
}

// noteEscapes appends the escapes in row to the list of the batch.
func (d *Decoder) noteEscapes(row []uint16, base int) {
	for l, w := range row {
		if w&wordEscape != 0 {
			d.escaped = append(d.escaped, uint16(base+l))
		}
	}
}

// lastRow decodes a row, or part of one, with a check of every read.
func (d *Decoder) lastRow(row []uint16, t *Table, base int) error {
	for l := range row {
		e := t.slots[d.lo[l]]
		x := uint32(e>>slotFreq)*uint32(d.hi[l]) + uint32(e)>>slotOffset
		row[l] = uint16(e)
		if x < stateLow {
			if len(d.stream) == 0 {
				return ErrStream
			}
			x = x<<8 | uint32(d.stream[0])
			d.stream = d.stream[1:]
		}
		d.lo[l], d.hi[l] = uint8(x), uint8(x>>8)
	}
	d.noteEscapes(row, base)
	return nil
}

// escapes fills in the words of the escapes of a batch. It counts those that the
// list lacks, too; Close reports them.
func (d *Decoder) escapes(words []uint16) {
	for _, i := range d.escaped {
		if d.next < len(d.low)-GroupLanes {
			words[i] = uint16(d.low[d.next]) | uint16(d.high[d.next])<<8
		}
		d.next++
	}
}

// Close reports whether the chunk was read to its exact end: a free check of
// integrity, since every lane comes back to the state the encoder started from.
func (d *Decoder) Close() error {
	list := len(d.low) - GroupLanes
	if d.next > list {
		return ErrEscapes
	}
	if len(d.stream) != 0 || d.next != list {
		return ErrFinal
	}
	for l := range d.lanes {
		if d.lo[l] != stateLow&255 || d.hi[l] != stateLow>>8 {
			return ErrFinal
		}
	}
	return nil
}
