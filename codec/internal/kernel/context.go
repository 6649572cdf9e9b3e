package kernel

import (
	"encoding/binary"
	"math/bits"
)

// Constants of the context coder; FORMAT.md, "The context method".
const (
	// ContextBits is the precision of the probabilities of a class.
	ContextBits = 11
	// ContextClasses is the largest number of classes of a chunk.
	ContextClasses = 32
	// ContextSymbols is the number of symbols of a class, the escape included.
	ContextSymbols = 256
	// ContextLanes is the number of lanes of a large chunk. A small one has half.
	ContextLanes = 64

	contextLow   = 1 << 16 // states are in [contextLow, 1<<32)
	contextSlots = 1 << ContextBits
)

// contextSign is the probability, in 1/256, of the less likely sign by how far the
// element's magnitude is from zero for its column, in quarters of an octave:
// 256 / (1 + exp(2^(i/4 - 5))), rounded; the first is none at all.
var contextSign = [32]uint8{
	128, 126, 125, 125, 124, 123, 122, 121, 120, 119, 117, 115, 112, 109, 106, 101,
	97, 91, 85, 77, 69, 60, 50, 40, 31, 22, 14, 9, 5, 2, 1, 1,
}

// ContextShape says how the symbols of a class become words and signs.
type ContextShape struct {
	Base   int32 // value of symbol 0, if it had one: that of symbol s is Base+s
	Shift  uint  // of a value in a word: see Layout
	Signed bool  // whether signs are coded; the word then has it on top
	Fine   uint  // symbols of a quarter of an octave, as a power of two: 0 or 1
}

// ContextOf is the shape for layout f, whose symbols have top mantissa bits, where
// the values of exponent first come first.
func ContextOf(f Layout, top uint, first int, signed bool) ContextShape {
	return ContextShape{int32(first)<<top - 1, f.shift(top), signed, top - 2}
}

// ContextDecoder decodes the symbols of one chunk, each with the probabilities of
// its class, and their signs. The zero value is ready for SetClass and Reset.
type ContextDecoder struct {
	states [ContextLanes]uint32
	stream []byte // not yet read; words of 16 bits
	lanes  int
	shape  ContextShape
	impl   *Impl

	// slots is by class and slot: the frequency of its symbol (12 bits), the
	// offset of the slot in the symbol (12 bits), the symbol (8 bits).
	slots []uint32

	escapes int                    // in the batch
	escaped [Batch]uint16          // their indices
	row     [ContextLanes]uint8    // symbols
	last    [2 * ContextLanes]byte // a copy of the end of the stream
}

// SetClass gives the symbols of a class their frequencies, which must sum to
// 1<<ContextBits, none of them alone.
func (d *ContextDecoder) SetClass(class int, freqs *[ContextSymbols]uint16) {
	if d.slots == nil {
		d.slots = make([]uint32, ContextClasses*contextSlots)
	}
	slots := d.slots[class*contextSlots:][:contextSlots]
	for s, freq := range freqs {
		e := uint32(freq)<<20 | uint32(s)
		run := slots[:freq]
		for i := range run {
			run[i] = e
			e += 1 << 8
		}
		slots = slots[freq:]
	}
}

// Reset starts a chunk. states holds a u32 for each lane, of which there are
// ContextLanes or half as many. stream is read until the last Decode. A class that occurs must
// have been set.
func (d *ContextDecoder) Reset(im *Impl, s ContextShape, states, stream []byte) error {
	d.impl, d.shape, d.stream, d.lanes = im, s, stream, len(states)/4
	for l := range d.lanes {
		d.states[l] = le32(states[4*l:])
		if d.states[l] < contextLow {
			return ErrState
		}
	}
	return nil
}

// Decode decodes len(words) <= Batch symbols, each of its class; with signs, sides
// has the byte of each element's column. All but the last call have a multiple of
// ContextLanes. It returns the indices of the escapes, whose words have no bits
// but the sign that mean anything; the list is valid until the next call.
func (d *ContextDecoder) Decode(words []uint16, classes, sides []uint8) (escapes []uint16, err error) {
	d.escapes = 0
	_ = d.escaped[:len(words)] // all may be escapes
	n := 0
	if d.impl.context != nil {
		n = d.impl.context(d, words, classes, sides)
	}
	for n < len(words) {
		row := min(d.lanes, len(words)-n)
		if err := d.symbols(words[n:n+row], classes[n:], n); err != nil {
			return nil, err
		}
		if d.shape.Signed {
			if err := d.signs(words[n:n+row], classes[n:], sides[n:]); err != nil {
				return nil, err
			}
		}
		n += row
	}
	return d.escaped[:d.escapes], nil
}

// Close reports whether the chunk was read to its exact end.
func (d *ContextDecoder) Close() error {
	if len(d.stream) != 0 {
		return ErrFinal
	}
	for _, x := range d.states[:d.lanes] {
		if x != contextLow {
			return ErrFinal
		}
	}
	return nil
}

// symbols decodes the symbols of a row, or of part of one, whose first element has
// index base in the batch.
func (d *ContextDecoder) symbols(words []uint16, classes []uint8, base int) error {
	shift, add, none := d.shape.Shift&31, uint32(d.shape.Base), uint32(0)
	states, classes, row := d.states[:len(words)], classes[:len(words)], d.row[:len(words)]
	slots := (*[ContextClasses * contextSlots]uint32)(d.slots)
	for l, x := range states {
		e := slots[(uint32(classes[l])<<ContextBits|x&(contextSlots-1))%uint32(len(slots))]
		states[l] = e>>20*(x>>ContextBits) + e>>8&0xfff
		words[l] = uint16((e&255 + add) << shift)
		row[l] = uint8(e)
		none |= e&255 - 1
	}
	if int32(none) < 0 {
		for l, s := range row {
			if s == 0 {
				d.escaped[d.escapes] = uint16(base + l)
				d.escapes++
			}
		}
	}
	return d.refill(states)
}

// signs decodes the signs of the row whose symbols are in d.row.
func (d *ContextDecoder) signs(words []uint16, classes, sides []uint8) error {
	fine := d.shape.Fine
	states, classes, sides, row := d.states[:len(words)], classes[:len(words)], sides[:len(words)], d.row[:len(words)]
	for l, x := range states {
		p := signOdds(row[l], classes[l], sides[l], fine)
		t, y := p*(x>>8), x&255
		unlikely := uint32(int32(y-p) >> 31) // all ones when y < p
		x -= t + p
		states[l] = x ^ (x^(t+y))&unlikely
		words[l] = words[l]&0x7fff | (uint16(unlikely)^uint16(sides[l])<<8)&0x8000
	}
	return d.refill(states)
}

// refill takes a word of the stream for each of states that lacks one.
func (d *ContextDecoder) refill(states []uint32) error {
	in := (*[2 * ContextLanes]byte)(d.last[:])
	if len(d.stream) >= len(in) {
		in = (*[2 * ContextLanes]byte)(d.stream)
	} else {
		copy(in[:], d.stream)
	}
	used := uint32(0)
	for l, x := range states {
		// Whether a word is due is a coin toss: no branch.
		due := uint32(int32(x>>16-1) >> 31) // all ones when x < contextLow
		word := uint32(le16(in[used&(2*ContextLanes-2):][:2]))
		states[l] = x ^ (x^(x<<16|word))&due
		used += due & 2
	}
	if int(used) > len(d.stream) {
		return ErrStream
	}
	d.stream = d.stream[used:]
	return nil
}

// contextOdds is contextSign by an index that needs no bounds: see signOdds.
var contextOdds = func() (odds [512]uint8) {
	for i := range odds {
		odds[i] = contextSign[max(0, min(i-128, len(contextSign)-1))]
	}
	return odds
}()

// signOdds is the probability of the less likely sign of a symbol of class in a
// column of side.
func signOdds(symbol, class, side uint8, fine uint) uint32 {
	quarter := (uint(symbol) + fine&1) >> (fine & 1) // 0 for the escape
	return uint32(contextOdds[(quarter+127-uint(side&127)+31-uint(class))%uint(len(contextOdds))])
}

// AddClasses sets each of dst to the sum of row and what columns has there, but at
// most to the last class. All are below ContextClasses.
func (im *Impl) AddClasses(dst, columns []uint8, row uint8) {
	const ones, last = 0x0101010101010101, ContextClasses - 1
	columns = columns[:len(dst)]
	i := 0
	if im.context != nil {
		i = addClasses(dst, columns, row)
	}
	for ; i+8 <= len(dst); i += 8 {
		// No sum reaches 64: bit 5 says that it is beyond the last.
		sum := le64(columns[i:i+8]) + uint64(row)*ones
		binary.LittleEndian.PutUint64(dst[i:i+8], (sum|sum>>5&ones*last)&(last*ones))
	}
	for ; i < len(dst); i++ {
		dst[i] = min(columns[i]+row, last)
	}
}

// contextCode is how the encoder codes a symbol of a class.
type contextCode struct {
	reciprocal  uint64 // 2^63 / freq, rounded up: divides every state exactly
	freq, start uint16
	escape      bool
}

// ContextEncoder encodes the symbols of one chunk, from the last to the first.
type ContextEncoder struct {
	codes  [ContextClasses * ContextSymbols]contextCode // by class and symbol
	states [ContextLanes]uint32
	lanes  int
	row    [ContextLanes]uint16 // indices of codes
	buf    []byte               // the stream fills it from the end
	free   int
}

// SetClass gives the symbols of a class their frequencies: see
// ContextDecoder.SetClass. What has none is coded as an escape.
func (e *ContextEncoder) SetClass(class int, freqs *[ContextSymbols]uint16) {
	codes, start := e.codes[class*ContextSymbols:][:ContextSymbols], uint16(0)
	for s, freq := range freqs {
		if freq == 0 {
			codes[s] = codes[0]
			continue
		}
		codes[s] = contextCode{reciprocal(uint64(freq)), freq, start, s == 0}
		start += freq
	}
}

// Encode codes values in lanes lanes, each with its class and, with signs, its sign
// and the byte of its column. symbols are those of values, 0 where there is none. It
// returns the escaped values, last first, after escapes.
func (e *ContextEncoder) Encode(s ContextShape, lanes int, values []uint16, symbols, signs, classes, sides []uint8, escapes []uint16) []uint16 {
	e.lanes = lanes
	for l := range lanes {
		e.states[l] = contextLow
	}
	// An element puts out at most two words.
	if size := 4*len(values) + 2; cap(e.buf) < size {
		e.buf = make([]byte, size)
	}
	e.buf = e.buf[:cap(e.buf)]
	e.free = len(e.buf)
	var row [ContextLanes]uint8
	for end := len(values); end > 0; {
		i := (end - 1) &^ (lanes - 1)
		n := copy(row[:], symbols[i:end])
		classes, codes, escaped := classes[i:end], e.row[:n], false
		for l, s := range row[:n] {
			code := uint16(classes[l]&(ContextClasses-1))*ContextSymbols + uint16(s)
			codes[l] = code
			if e.codes[code].escape {
				row[l], escaped = 0, true
			}
		}
		if s.Signed {
			e.encodeSigns(row[:n], signs[i:end], classes, sides[i:end], s.Fine)
		}
		e.encodeSymbols(codes)
		for l := n - 1; l >= 0 && escaped; l-- {
			if row[l] == 0 {
				escapes = append(escapes, values[i+l])
			}
		}
		end = i
	}
	return escapes
}

// encodeSymbols codes the symbols of a row.
func (e *ContextEncoder) encodeSymbols(codes []uint16) {
	buf, free, states := e.buf, e.free, e.states[:len(codes)]
	for l := len(codes) - 1; l >= 0; l-- {
		c := &e.codes[codes[l]%uint16(len(e.codes))]
		x, freq := states[l], uint32(c.freq)
		binary.LittleEndian.PutUint16(buf[free-2:free], uint16(x))
		due := dueWord(x, freq<<(32-ContextBits))
		free -= int(due & 2)
		x >>= due & 16
		q := divide(x, c.reciprocal)
		states[l] = q<<ContextBits + x - q*freq + uint32(c.start)
	}
	e.free = free
}

// encodeSigns codes the signs of a row.
func (e *ContextEncoder) encodeSigns(symbols, signs, classes, sides []uint8, fine uint) {
	buf, free, states := e.buf, e.free, e.states[:len(symbols)]
	signs, classes, sides = signs[:len(symbols)], classes[:len(symbols)], sides[:len(symbols)]
	for l := len(symbols) - 1; l >= 0; l-- {
		odds := signOdds(symbols[l], classes[l], sides[l], fine)
		likely := uint32(signs[l]^sides[l]>>7) - 1 // all ones, or none
		freq := odds ^ (odds^(256-odds))&likely
		x := states[l]
		binary.LittleEndian.PutUint16(buf[free-2:free], uint16(x))
		due := dueWord(x, freq<<24)
		free -= int(due & 2)
		x >>= due & 16
		q := divide(x, contextReciprocals[freq&255])
		states[l] = q<<8 + x - q*freq + odds&likely
	}
	e.free = free
}

// dueWord is all ones if the low word of x is to be put out, since x is not below
// limit. The word is written in any case: no branch.
func dueWord(x, limit uint32) uint32 {
	return uint32(int64(uint64(limit)-uint64(x)-1) >> 63)
}

// divide divides by the number whose reciprocal it is given, exactly.
func divide(x uint32, reciprocal uint64) uint32 {
	q, _ := bits.Mul64(uint64(x)<<1, reciprocal)
	return uint32(q)
}

// reciprocal is 2^63 / x, rounded up.
func reciprocal(x uint64) uint64 { return (1<<63-1)/x + 1 }

// contextReciprocals are those of the frequencies of signs.
var contextReciprocals = func() (r [256]uint64) {
	for i := range r[1:] {
		r[1+i] = reciprocal(uint64(1 + i))
	}
	return r
}()

// AppendStates appends the states in the form that ContextDecoder.Reset reads.
func (e *ContextEncoder) AppendStates(dst []byte) []byte {
	for _, x := range e.states[:e.lanes] {
		dst = binary.LittleEndian.AppendUint32(dst, x)
	}
	return dst
}

// Stream returns the coded bytes, valid until the next Encode.
func (e *ContextEncoder) Stream() []byte { return e.buf[e.free:] }
