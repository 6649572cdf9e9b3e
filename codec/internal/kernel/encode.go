package kernel

import (
	"encoding/binary"
	"slices"
)

// Encoder encodes the symbols of one chunk, from the last to the first.
type Encoder struct {
	impl   *Impl
	lanes  int
	lo, hi [MaxLanes]uint8 // bytes of the states
	buf    []byte          // stream bytes fill it from the end
	free   int             // buf[free:] is the stream so far
	exps   []byte          // escapes, last first
	tops   []byte
}

// streamSlack is how many bytes in front of the stream an implementation may
// overwrite.
const streamSlack = 64

// Reset starts a chunk of n symbols in lanes lanes.
func (e *Encoder) Reset(im *Impl, n, lanes int) {
	e.impl, e.lanes = im, lanes
	for l := range lanes {
		e.lo[l], e.hi[l] = stateLow&255, stateLow>>8
	}
	// A symbol puts out at most one byte.
	if cap(e.buf) < n+streamSlack {
		e.buf = make([]byte, n+streamSlack)
	}
	e.buf = e.buf[:n+streamSlack]
	e.free = n + streamSlack
	e.exps, e.tops = e.exps[:0], e.tops[:0]
}

// Encode codes vals with m before everything encoded so far: a chunk of several
// models encodes the last first. Each starts at lane 0.
func (e *Encoder) Encode(vals []uint16, m *Model) {
	for end := len(vals); end > 0; {
		start := 0
		if m.Classes != nil {
			start = max(0, (end-1+m.Skip)/m.Stripe*m.Stripe-m.Skip)
		}
		t, _ := m.run(start, 1)
		e.encode(vals[start:end], t)
		end = start
	}
}

// encode codes vals with t.
func (e *Encoder) encode(vals []uint16, t *Table) {
	whole := len(vals) - len(vals)%e.lanes
	if whole < len(vals) {
		e.row(vals[whole:], t)
	}
	whole -= e.impl.encode(e, vals[:whole], t)
	for ; whole > 0; whole -= e.lanes {
		e.row(vals[whole-e.lanes:whole], t)
	}
}

// encodeGo is Impl.encode.
func encodeGo(e *Encoder, vals []uint16, t *Table) int {
	if len(vals) == 0 {
		return 0
	}
	var c encodeCells
	var out [GroupLanes]byte
	c.load(e)
	for end := len(vals); end > 0; end -= GroupLanes {
		group := vals[end-GroupLanes : end]
		used, marks := encodeGroup(group, c[(end-GroupLanes)%e.lanes/GroupLanes][:], t.codes, &out)
		e.free -= int(used)
		copy(e.buf[e.free:], out[:used])
		if marks&codeEscape != 0 {
			for _, v := range slices.Backward(group) {
				if t.codes[v&(values-1)]&codeEscape != 0 {
					e.escape(v, t)
				}
			}
		}
	}
	c.store(e)
	return len(vals)
}

// encodeCells holds states so that to put out a byte needs neither a branch nor a
// selection: a state is in bytes 0 and 1 of its cell, and byte 2 is 0. Read
// from byte 1 on, it is without its low byte.
type encodeCells [MaxGroups][GroupLanes]encodeCell

type encodeCell [4]byte

func (c *encodeCells) load(e *Encoder) {
	for g := range e.lanes / GroupLanes {
		lo, hi, group := e.lo[g*GroupLanes:][:GroupLanes], e.hi[g*GroupLanes:][:GroupLanes], &c[g]
		for l := range group {
			group[l][0], group[l][1] = lo[l], hi[l]
		}
	}
}

func (c *encodeCells) store(e *Encoder) {
	for g := range e.lanes / GroupLanes {
		lo, hi, group := e.lo[g*GroupLanes:][:GroupLanes], e.hi[g*GroupLanes:][:GroupLanes], &c[g]
		for l := range group {
			lo[l], hi[l] = group[l][0], group[l][1]
		}
	}
}

// encodeGroup codes one symbol in each lane of a group. It returns how many
// bytes it put in out, and the codes or-ed together.
func encodeGroup(vals []uint16, cells []encodeCell, codes *[values]code, out *[GroupLanes]byte) (used uint, marks code) {
	_, _ = codes[0], out[0] // not nil: no checks in the loop
	for len(vals) >= 8 && len(cells) >= 8 {
		w, c := (*[8]uint16)(vals), (*[8]encodeCell)(cells)
		k := codes[w[0]&(values-1)]
		used, marks = used+c[0].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[1]&(values-1)]
		used, marks = used+c[1].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[2]&(values-1)]
		used, marks = used+c[2].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[3]&(values-1)]
		used, marks = used+c[3].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[4]&(values-1)]
		used, marks = used+c[4].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[5]&(values-1)]
		used, marks = used+c[5].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[6]&(values-1)]
		used, marks = used+c[6].put(k, &out[used&(GroupLanes-1)]), marks|k
		k = codes[w[7]&(values-1)]
		used, marks = used+c[7].put(k, &out[used&(GroupLanes-1)]), marks|k
		vals, cells = vals[8:], cells[8:]
	}
	return used, marks
}

// put codes a symbol in a lane. The byte goes out in any case; it counts if due
// is 1.
func (c *encodeCell) put(k code, out *byte) (due uint) {
	*out = c[0]
	due = uint((k&0xffff - code(le16(c[:2]))) >> 63)
	x := code(le16(c[due : due+2]))
	q := x * (k >> codeReciprocal) >> reciprocalScale
	x += q*(k>>codeRest&255) + k>>codeStart&255
	binary.LittleEndian.PutUint16(c[:2], uint16(x))
	return due
}

// row codes one symbol in each of the first len(vals) lanes.
func (e *Encoder) row(vals []uint16, t *Table) {
	for l := len(vals) - 1; l >= 0; l-- {
		k := t.codes[vals[l]&(values-1)]
		if k&codeEscape != 0 {
			e.escape(vals[l], t)
		}
		c := encodeCell{e.lo[l], e.hi[l]}
		e.free -= int(c.put(k, &e.buf[e.free-1]))
		e.lo[l], e.hi[l] = c[0], c[1]
	}
}

// escape appends value v to the escapes.
func (e *Encoder) escape(v uint16, t *Table) {
	e.exps = append(e.exps, byte(v>>t.Top))
	e.tops = append(e.tops, byte(v)&(1<<t.Top-1))
}

// AppendStates appends the states in the form that Decoder.Reset reads.
func (e *Encoder) AppendStates(dst []byte) []byte {
	dst = append(dst, e.lo[:e.lanes]...)
	return append(dst, e.hi[:e.lanes]...)
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
