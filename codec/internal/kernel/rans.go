package kernel

import "errors"

// Coder constants; FORMAT.md, "The rANS method".
const (
	GroupLanes = 64             // lanes of one group
	MaxGroups  = 4              // groups of a large chunk
	MaxLanes   = 64 * MaxGroups // 256
	MaxSymbols = 32             // symbols of a table, the escape included
	stateLow   = 256            // states are in [stateLow, 1<<16)
)

// Errors of a stream that does not decode. Callers add the place.
var (
	ErrState   = errors.New("rans state out of range")
	ErrStream  = errors.New("rans stream ends early")
	ErrEscapes = errors.New("escape list ends early")
	ErrFinal   = errors.New("rans stream does not close")
)

// Table is a probability model of at most MaxSymbols symbols. Symbol 0 is the
// escape: its value follows in a list of its own.
type Table struct {
	Top    uint               // mantissa bits in a symbol's value
	N      int                // symbols, the escape included
	Values [MaxSymbols]uint16 // exponent<<Top | top mantissa bits; ascending from index 1
	Freqs  [MaxSymbols]uint8  // in 1/256; sum 256; only the escape's may be 0
	slots  [256]uint32        // for Decode: freq | offset in symbol<<8 | value<<16 | escape<<31
	codes  *[values]code      // for Encode, by value
}

// code is how the encoder codes a value: the frequency of its symbol (8 bits),
// the first slot (8 bits), whether it is the escape (1 bit), and from bit 24 on
// 2^24/freq rounded up, which divides every 16-bit state exactly.
type code uint64

const (
	codeEscape      = 1 << 16
	codeReciprocal  = 24
	escapeFlag      = 1 << 31
	reciprocalScale = 24
)

// InitDecode completes a table whose Top, N, Values and Freqs are set and valid,
// for decoding.
func (t *Table) InitDecode() {
	slot := 0
	for s, f := range t.Freqs[:t.N] {
		entry := uint32(f) | uint32(t.Values[s])<<16
		if s == 0 {
			entry = uint32(f) | escapeFlag
		}
		for k := range uint32(f) {
			t.slots[slot] = entry | k<<8
			slot++
		}
	}
}

// InitEncode completes such a table for encoding.
func (t *Table) InitEncode() {
	t.codes = new([values]code)
	start := code(0)
	for s, f := range t.Freqs[:t.N] {
		if f == 0 {
			continue
		}
		c := code(f) | start<<8 | (1<<reciprocalScale/code(f)+1)<<codeReciprocal
		start += code(f)
		if s > 0 {
			t.codes[t.Values[s]] = c
			continue
		}
		for v := range t.codes {
			t.codes[v] = c | codeEscape
		}
	}
}

// Freq returns the frequency, in 1/256, of the symbol that codes value v, and
// whether that is the escape. It is 0 for a value that t cannot code.
func (t *Table) Freq(v int) (freq int, escape bool) {
	c := t.codes[v]
	return int(c & 255), c&codeEscape != 0
}

// Decoder decodes the symbols of one chunk. The zero value is not usable; see
// Reset.
type Decoder struct {
	lanes  int
	state  [MaxLanes]uint16
	stream []byte // not yet read
	exps   []byte // escaped exponents
	tops   []byte // and their top mantissa bits: Top bit planes, see EscapeSize
	next   int    // escape
}

// EscapeSize is the length in bytes of a list of n escapes: an exponent byte
// each, then for each of top mantissa bits, the lowest first, a plane of n bits,
// padded with zero bits to whole bytes.
func EscapeSize(n int, top uint) int { return n + (n+7)/8*int(top) }

// Reset starts a chunk. states holds the low bytes of the lanes' states, then
// the high bytes: 2*lanes bytes, lanes a multiple of GroupLanes. escapes is a
// list of n of EscapeSize bytes. The slices are read until the last Decode.
func (d *Decoder) Reset(states, stream, escapes []byte, n int) error {
	d.lanes = len(states) / 2
	d.stream, d.exps, d.tops, d.next = stream, escapes[:n], escapes[n:], 0
	for l := range d.lanes {
		d.state[l] = uint16(states[l]) | uint16(states[d.lanes+l])<<8
		if d.state[l] < stateLow {
			return ErrState
		}
	}
	return nil
}

// Decode decodes len(vals) symbols with t. Each call starts at lane 0.
func (d *Decoder) Decode(vals []uint16, t *Table) error {
	for len(vals) > 0 {
		n := min(d.lanes, len(vals))
		escaped, err := d.row(vals[:n], t)
		if err != nil {
			return err
		}
		if escaped != 0 {
			if err := d.escapes(vals[:n], t); err != nil {
				return err
			}
		}
		vals = vals[n:]
	}
	return nil
}

// row decodes one symbol of each of the first len(vals) lanes. An escape leaves
// escapeFlag>>16 in vals.
func (d *Decoder) row(vals []uint16, t *Table) (escaped uint32, err error) {
	if len(d.stream) < MaxLanes {
		return d.lastRows(vals, t)
	}
	in := (*[MaxLanes]byte)(d.stream)
	state := d.state[:len(vals)]
	used := uint32(0)
	for l := range vals {
		x := uint32(state[l])
		e := t.slots[x&255]
		vals[l] = uint16(e >> 16)
		escaped |= e
		x = (e&255)*(x>>8) + e>>8&255
		// Whether a byte is due is a coin toss: no branch.
		due := uint32(int32(x-stateLow) >> 31) // all ones when x < stateLow
		x ^= (x ^ (x<<8 | uint32(in[used&(MaxLanes-1)]))) & due
		used -= due
		state[l] = uint16(x)
	}
	d.stream = d.stream[used:]
	return escaped & escapeFlag, nil
}

// lastRows is row with a check of every read.
func (d *Decoder) lastRows(vals []uint16, t *Table) (escaped uint32, err error) {
	for l := range vals {
		x := uint32(d.state[l])
		e := t.slots[x&255]
		vals[l] = uint16(e >> 16)
		escaped |= e
		x = (e&255)*(x>>8) + e>>8&255
		if x < stateLow {
			if len(d.stream) == 0 {
				return 0, ErrStream
			}
			x = x<<8 | uint32(d.stream[0])
			d.stream = d.stream[1:]
		}
		d.state[l] = uint16(x)
	}
	return escaped & escapeFlag, nil
}

// escapes fills in the values of the escaped symbols of a row.
func (d *Decoder) escapes(vals []uint16, t *Table) error {
	for l, v := range vals {
		if v&(escapeFlag>>16) == 0 {
			continue
		}
		if d.next == len(d.exps) {
			return ErrEscapes
		}
		v = uint16(d.exps[d.next]) << t.Top
		for b := range t.Top {
			plane := d.tops[(len(d.exps)+7)/8*int(b):]
			v |= uint16(plane[d.next/8]>>(d.next%8)&1) << b
		}
		vals[l] = v
		d.next++
	}
	return nil
}

// Close reports whether the chunk was read to its exact end: a free check of
// integrity, since every lane comes back to the state the encoder started from.
func (d *Decoder) Close() error {
	if len(d.stream) != 0 || d.next != len(d.exps) {
		return ErrFinal
	}
	for _, x := range d.state[:d.lanes] {
		if x != stateLow {
			return ErrFinal
		}
	}
	return nil
}

// Encoder encodes the symbols of one chunk, from the last to the first.
type Encoder struct {
	lanes int
	state [MaxLanes]uint16
	buf   []byte // stream bytes fill it from the end
	free  int    // buf[free:] is the stream so far
	exps  []byte // escapes, last first
	tops  []byte
}

// Reset starts a chunk of n symbols in lanes lanes.
func (e *Encoder) Reset(n, lanes int) {
	e.lanes = lanes
	for l := range e.state {
		e.state[l] = stateLow
	}
	// A symbol puts out at most one byte; row writes one more.
	if cap(e.buf) < n+1 {
		e.buf = make([]byte, n+1)
	}
	e.buf = e.buf[:n+1]
	e.free = n + 1
	e.exps, e.tops = e.exps[:0], e.tops[:0]
}

// Encode codes vals with t before everything encoded so far: a chunk of several
// parts encodes the last part first. The part starts at lane 0.
func (e *Encoder) Encode(vals []uint16, t *Table) {
	for end := len(vals); end > 0; {
		start := (end - 1) / e.lanes * e.lanes
		e.row(vals[start:end], t)
		end = start
	}
}

// row codes one symbol in each of the first len(vals) lanes.
func (e *Encoder) row(vals []uint16, t *Table) {
	buf, free, state := e.buf, e.free, e.state[:len(vals)]
	for l := len(vals) - 1; l >= 0; l-- {
		v := vals[l]
		c := t.codes[v&(values-1)]
		if c&codeEscape != 0 {
			e.exps = append(e.exps, byte(v>>t.Top))
			e.tops = append(e.tops, byte(v)&(1<<t.Top-1))
		}
		x, freq := uint32(state[l]), uint32(c&255)
		// The byte is written in any case and counts only if the state would
		// grow too large: no branch. buf has a byte to spare in front.
		due := ^uint32(int32(x-freq<<8) >> 31)
		buf[free-1] = byte(x)
		free += int(int32(due))
		x >>= due & 8
		q := uint32(uint64(x) * uint64(c>>codeReciprocal) >> reciprocalScale)
		state[l] = uint16(q<<8 + x - q*freq + uint32(c>>8&255))
	}
	e.free = free
}

// AppendStates appends the states in the form that Decoder.Reset reads.
func (e *Encoder) AppendStates(dst []byte) []byte {
	for _, x := range e.state[:e.lanes] {
		dst = append(dst, byte(x))
	}
	for _, x := range e.state[:e.lanes] {
		dst = append(dst, byte(x>>8))
	}
	return dst
}

// Stream returns the coded bytes, valid until the next Reset.
func (e *Encoder) Stream() []byte { return e.buf[e.free:] }

// AppendEscapes appends the list of escapes: see EscapeSize.
func (e *Encoder) AppendEscapes(dst []byte, top uint) []byte {
	n := len(e.exps)
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, e.exps[i])
	}
	planes := len(dst)
	dst = append(dst, make([]byte, (n+7)/8*int(top))...)
	for b := range int(top) {
		plane := dst[planes+(n+7)/8*b:]
		for i := range n {
			plane[i/8] |= e.tops[n-1-i] >> b & 1 << (i % 8)
		}
	}
	return dst
}

// Escapes is the number of escaped symbols so far.
func (e *Encoder) Escapes() int { return len(e.exps) }
