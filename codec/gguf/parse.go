package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads the header of a GGUF file of size bytes from r.
//
// A file that is not in the format, or that two readers could understand
// differently, is refused with an [*Error]. Any other error means that r could
// not be read and wraps what r returned, or [io.ErrUnexpectedEOF] where r holds
// less than size promises.
//
// Parse reads the header in pieces, each byte at most twice, and never the
// data. Its memory is bounded by a small multiple of the keys and tensors that
// are really there, whatever numbers the header claims.
func Parse(r io.ReaderAt, size int64) (*Header, error) {
	p := &parser{src: source{r: r, end: max(0, min(size, maxHeaderSize))}, size: size, h: Header{Alignment: defaultAlignment}}
	p.preamble()
	p.keys()
	p.infos()
	p.layout()
	if p.err != nil {
		return nil, p.err
	}
	return &p.h, nil
}

// The types of values: enum gguf_metadata_value_type.
const (
	typeUint32 = 4
	typeString = 8
	typeArray  = 9
)

// widths are the bytes of a value, by its type; 0 for a string and an array.
var widths = [...]uint64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, typeString: 0, typeArray: 0, 10: 8, 11: 8, 12: 8}

// width returns the bytes of a value of a type that has a fixed size.
func width(typ uint32) (uint64, bool) {
	if uint64(typ) >= uint64(len(widths)) || widths[typ] == 0 {
		return 0, false
	}
	return widths[typ], true
}

// The least bytes that a key and a tensor take: where more are promised than
// fit, none needs to be read.
const (
	minKey    = 8 + 1 + 4 + 1
	minTensor = 8 + 4 + 8 + 4 + 8
)

// A parser walks the header once. After its first error it reads zeros, and
// every loop ends.
type parser struct {
	src  source
	size int64 // of the file
	h    Header
	err  error

	nKeys, nTensors uint64
	key, tensor     string // what is being read
	at              int64  // offset of the value read last
}

// preamble reads what comes before the keys.
func (p *parser) preamble() {
	if b := p.take(len(Magic)); p.err == nil && string(b) != Magic {
		p.refuse("does not start with %s", Magic)
	}
	p.h.Version = p.u32()
	switch v := p.h.Version; {
	case p.err != nil || v == 2 || v == 3:
	case v != 0 && v&0xffff == 0:
		p.refuse("a file of version %d for big-endian machines, which is not supported", bits.ReverseBytes32(v))
	default:
		p.refuse("version %d, not 2 or 3", v)
	}
	p.nTensors = p.count("tensors", maxTensors, minTensor)
	p.nKeys = p.count("keys", maxKeys, minKey)
}

// count reads how many things follow, each of which takes at least so many bytes.
func (p *parser) count(what string, limit, bytes uint64) uint64 {
	n := p.u64()
	switch {
	case n > limit:
		p.refuse("%d %s, more than %d", n, what, limit)
	case n > p.left()/bytes:
		p.beyond(fmt.Sprintf("the last of %d %s", n, what))
	}
	return n
}

// keys reads the metadata.
func (p *parser) keys() {
	seen := make(map[string]struct{})
	for range p.nKeys {
		p.key = ""
		key := p.text("key", maxNameLength)
		if p.err != nil {
			return
		}
		p.key = key
		switch {
		case key == "":
			p.refuse("empty key")
		case strings.ContainsFunc(key, func(r rune) bool { return r >= utf8.RuneSelf }):
			p.refuse("key is not ASCII")
		}
		n := len(seen)
		if seen[key] = struct{}{}; len(seen) == n {
			p.refuse("duplicate key")
		}
		p.value(key)
	}
	p.key = ""
}

// value reads or skips the value of a key.
func (p *parser) value(key string) {
	typ := p.u32()
	switch {
	case key == "general.alignment":
		p.want(typ, typeUint32)
		a := p.u32()
		if a < 8 || a > maxAlignment || a&(a-1) != 0 {
			p.refuse("alignment %d is no power of two from 8 to %d", a, maxAlignment)
		}
		p.h.Alignment = int64(a)
	case key == "general.architecture":
		p.want(typ, typeString)
		p.h.Architecture = p.text("value", maxArchitecture)
	case typ == typeArray:
		p.skipArray()
	case typ == typeString:
		p.skip(p.u64(), 1, "string")
	default:
		n, ok := width(typ)
		if !ok {
			p.refuse("value is of unknown type %d", typ)
		}
		p.skip(n, 1, "value")
	}
}

func (p *parser) want(typ, want uint32) {
	if typ != want {
		p.refuse("value is of type %d, not %d", typ, want)
	}
}

// skipArray walks over an array. The reference reader takes no array of arrays,
// so there is no depth to bound.
func (p *parser) skipArray() {
	typ, at := p.u32(), p.at
	n := p.u64()
	if w, ok := width(typ); ok {
		p.skip(n, w, "array")
		return
	}
	if typ != typeString {
		p.at = at
		p.refuse("array holds values of type %d, which is an array or unknown", typ)
		return
	}
	if n > p.left()/8 {
		p.beyond(fmt.Sprintf("array of %d", n))
	}
	for range n {
		if p.err != nil {
			return
		}
		p.skip(p.u64(), 1, "string")
	}
}

// infos reads the descriptions of the tensors.
func (p *parser) infos() {
	names := make(map[string]struct{})
	for range p.nTensors {
		p.tensor = ""
		t := Tensor{Name: p.text("name", maxNameLength)}
		if p.err != nil {
			return
		}
		p.tensor = t.Name
		n := len(names)
		if names[t.Name] = struct{}{}; len(names) == n {
			p.refuse("duplicate name")
		}
		p.info(&t)
		if p.err != nil {
			return
		}
		p.h.Tensors = append(p.h.Tensors, t)
	}
	p.tensor = ""
}

// unknown is the length of a tensor of unknown type that holds elements, until
// the next tensor is known. It sorts after all others.
const unknown = math.MaxInt64

// info reads the description of a tensor but its name, and checks all that can
// be checked without the other tensors. The offset still counts from the data.
func (p *parser) info(t *Tensor) {
	dims := p.u32()
	if dims == 0 || dims > maxDims {
		p.refuse("%d dimensions, not 1 to %d", dims, maxDims)
		return
	}
	t.Shape = make([]int64, dims)
	for i := range t.Shape {
		d := p.u64()
		if d > math.MaxInt64 {
			p.refuse("dimension %d is above 2^63-1", d)
		}
		t.Shape[len(t.Shape)-1-i] = int64(d)
	}
	at := p.at
	t.ID = p.u32()
	var typ blockType
	if uint64(t.ID) < uint64(len(types)) {
		typ = types[t.ID]
	}
	t.Type = typ.name
	var err error
	if t.Length, err = typ.length(t.Shape); err != nil {
		p.at = at
		p.refuse("%v", err)
	}
	offset := p.u64()
	switch {
	case offset%uint64(p.h.Alignment) != 0:
		p.refuse("offset %d is no multiple of the alignment %d", offset, p.h.Alignment)
	case offset > uint64(p.size):
		p.refuse("offset %d is beyond the file of %d bytes", offset, p.size)
	}
	t.Offset = int64(offset)
}

// length returns the bytes that a tensor of this type and shape occupies. It
// refuses dimensions of which the product overflows, and does so even where
// another is zero.
func (typ blockType) length(shape []int64) (int64, error) {
	count, zero := uint64(1), false
	for _, d := range shape {
		if d == 0 {
			zero = true
			continue
		}
		over, n := bits.Mul64(count, uint64(d))
		if over != 0 || n > math.MaxInt64 {
			return 0, errors.New("number of elements overflows 63 bits")
		}
		count = n
	}
	switch {
	case typ.name == "" && !zero:
		return unknown, nil
	case typ.name != "" && shape[len(shape)-1]%int64(typ.elements) != 0:
		return 0, fmt.Errorf("rows of %d elements are no whole blocks of %d, which %s has", shape[len(shape)-1], typ.elements, typ.name)
	case zero:
		return 0, nil
	}
	over, n := bits.Mul64(count/uint64(typ.elements), uint64(typ.bytes))
	if over != 0 || n >= math.MaxInt64 {
		return 0, errors.New("size in bytes overflows 63 bits")
	}
	return int64(n), nil
}

// layout finds where the data are and that the tensors lie there, apart.
func (p *parser) layout() {
	if p.err != nil {
		return
	}
	mask := p.h.Alignment - 1
	p.h.Size = (p.src.off + mask) &^ mask
	if len(p.h.Tensors) == 0 {
		p.h.Size = min(p.h.Size, p.size) // nothing needs the padding
	}
	if p.h.Size > p.size {
		p.at = p.src.off
		p.refuse("file of %d bytes ends before its data begin", p.size)
		return
	}
	for i := range p.h.Tensors {
		t := &p.h.Tensors[i]
		if t.Offset > p.size-p.h.Size {
			p.err = &Error{Tensor: t.Name, Offset: p.size, Reason: fmt.Sprintf("data begin beyond the file of %d bytes", p.size)}
			return
		}
		t.Offset += p.h.Size
	}
	p.order()
	p.err = p.h.tile(p.size)
}

// order sorts the tensors by offset. Names are not compared: that would cost a
// hostile header more time than all the rest.
func (p *parser) order() {
	order := func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length))
	}
	if !slices.IsSortedFunc(p.h.Tensors, order) {
		slices.SortStableFunc(p.h.Tensors, order)
	}
}

// tile fills in the lengths of tensors of unknown type, and checks that no
// tensor overlaps another or ends beyond the file.
func (h *Header) tile(size int64) error {
	pos := h.Size
	for i := range h.Tensors {
		t := &h.Tensors[i]
		if t.Length == unknown {
			end := size
			if i+1 < len(h.Tensors) {
				end = h.Tensors[i+1].Offset
			}
			if t.Length = end - t.Offset; t.Length == 0 {
				return &Error{Tensor: t.Name, Offset: t.Offset, Reason: "no bytes are left for its data"}
			}
		}
		switch {
		case t.Offset < pos:
			return &Error{Tensor: t.Name, Offset: t.Offset, Reason: "data overlap those of tensor " + clip(h.Tensors[i-1].Name)}
		case t.Length > size-t.Offset:
			return &Error{Tensor: t.Name, Offset: t.Offset, Reason: fmt.Sprintf("%d bytes of data end beyond the file of %d bytes", t.Length, size)}
		}
		pos = t.Offset + t.Length
	}
	return nil
}
