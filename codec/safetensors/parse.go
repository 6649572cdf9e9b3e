package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Parse reads the header of a safetensors file of size bytes from r.
//
// A file that is not in the format, or that two readers could understand
// differently, is refused with an [*Error]. Any other error means that r could
// not be read and wraps what r returned, or [io.ErrUnexpectedEOF] where r holds
// less than size promises.
//
// Parse reads the header in pieces and never the data. Its memory is bounded by
// a small multiple of the header that is really there, whatever the length
// field claims.
func Parse(r io.ReaderAt, size int64) (*Header, error) {
	end, err := headerEnd(r, size)
	if err != nil {
		return nil, err
	}
	src := &source{r: r, off: prefixSize, end: end}
	// The parser looks for duplicates itself: it holds the names in any case.
	dec := jsontext.NewDecoder(src, jsontext.AllowDuplicateNames(true))
	p := &parser{dec: dec, src: src, size: size, h: Header{Size: end}, names: make(map[string]struct{})}
	if err := p.header(); err != nil {
		return nil, err
	}
	if err := padding(r, prefixSize+p.dec.InputOffset(), end); err != nil {
		return nil, err
	}
	if err := layout(&p.h, size); err != nil {
		return nil, err
	}
	return &p.h, nil
}

// headerEnd returns the offset at which the header ends, from the length field.
func headerEnd(r io.ReaderAt, size int64) (int64, error) {
	if size < prefixSize {
		return 0, &Error{Reason: fmt.Sprintf("file of %d bytes is shorter than its length field", size)}
	}
	var prefix [prefixSize + 1]byte
	b := prefix[:min(size, int64(len(prefix)))]
	if err := readAt(r, b, 0); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b)
	switch {
	case n > maxHeaderSize:
		return 0, &Error{Reason: fmt.Sprintf("header length %d is above %d", n, maxHeaderSize)}
	case int64(n) > size-prefixSize:
		return 0, &Error{Reason: fmt.Sprintf("header length %d is beyond the file of %d bytes", n, size)}
	case n == 0:
		return 0, &Error{Reason: "header length is 0"}
	case b[prefixSize] != '{':
		return 0, &Error{Offset: prefixSize, Reason: "header does not start with '{'"}
	}
	return prefixSize + int64(n), nil
}

// A parser walks the JSON once, in step with the form that it must have, so
// that nothing but that form is ever held or descended into.
type parser struct {
	dec  *jsontext.Decoder
	src  *source
	size int64 // of the file
	h    Header

	names   map[string]struct{} // names of the members of the header
	tensor  string              // the member that is being read
	at      int64               // offset in the file of the last value read
	scratch []byte              // for strings with escapes
	numbers []int64             // for arrays
}

// header reads the whole JSON object.
func (p *parser) header() error {
	if err := p.token('{', "header"); err != nil {
		return err
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.text("name")
		if err != nil {
			return err
		}
		if len(name) > maxNameLength {
			return p.refuse("name %s has more than %d bytes", clip(name), maxNameLength)
		}
		p.tensor = string(name)
		n := len(p.names)
		p.names[p.tensor] = struct{}{}
		switch {
		case len(p.names) == n:
			err = p.refuse("duplicate name")
		case p.tensor == metadataKey:
			err = p.metadata()
		default:
			err = p.member()
		}
		if err != nil {
			return err
		}
		p.tensor = ""
	}
	return p.token('}', "header")
}

// metadata reads the value of __metadata__.
func (p *parser) metadata() error {
	if err := p.token('{', "value"); err != nil {
		return err
	}
	p.h.Metadata = make(map[string]string)
	for p.dec.PeekKind() != '}' {
		if len(p.h.Metadata) == maxMetadata {
			return p.refuse("more than %d entries", maxMetadata)
		}
		b, err := p.text("key")
		if err != nil {
			return err
		}
		key := string(b)
		if _, dup := p.h.Metadata[key]; dup {
			return p.refuse("duplicate key %s", clip(key))
		}
		if b, err = p.text("value"); err != nil {
			return err
		}
		p.h.Metadata[key] = string(b)
	}
	return p.token('}', "value")
}

// member reads the value of one tensor and checks all that can be checked
// without the other tensors.
func (p *parser) member() error {
	if len(p.h.Tensors) == maxTensors {
		return p.refuse("more than %d tensors", maxTensors)
	}
	if err := p.token('{', "value"); err != nil {
		return err
	}
	t := Tensor{Name: p.tensor}
	begin, end := int64(-1), int64(-1)
	var where int64 // of data_offsets, which most of the checks concern
	for p.dec.PeekKind() != '}' {
		key, err := p.text("key")
		if err != nil {
			return err
		}
		switch {
		case string(key) == "dtype" && t.Dtype == "":
			t.Dtype, err = p.dtype()
		case string(key) == "shape" && t.Shape == nil:
			t.Shape, err = p.shape()
		case string(key) == "data_offsets" && begin < 0:
			where = p.at
			begin, end, err = p.offsets()
		default:
			err = p.refuse("unknown or duplicate key %s", clip(key))
		}
		if err != nil {
			return err
		}
	}
	if err := p.token('}', "value"); err != nil {
		return err
	}
	switch {
	case t.Dtype == "":
		return p.refuse("no dtype")
	case t.Shape == nil:
		return p.refuse("no shape")
	case begin < 0:
		return p.refuse("no data_offsets")
	}
	want, err := byteLength(t.Dtype, t.Shape)
	switch {
	case err != nil:
		return &Error{Tensor: t.Name, Offset: where, Reason: err.Error()}
	case want != end-begin:
		return &Error{Tensor: t.Name, Offset: where, Reason: fmt.Sprintf("%d bytes where its dtype and shape take %d", end-begin, want)}
	}
	t.Offset, t.Length = p.h.Size+begin, want
	p.h.Tensors = append(p.h.Tensors, t)
	return nil
}

// dtype reads the value of dtype.
func (p *parser) dtype() (string, error) {
	b, err := p.text("dtype")
	if err != nil {
		return "", err
	}
	for _, d := range dtypes {
		if string(b) == d.name {
			return d.name, nil // the table's string: a million tensors share it
		}
	}
	return "", p.refuse("unknown dtype %s", clip(b))
}

// shape reads the value of shape. The result is not nil unless there is an error.
func (p *parser) shape() ([]int64, error) {
	dims, err := p.array("shape", maxRank)
	if err != nil {
		return nil, err
	}
	return append(make([]int64, 0, len(dims)), dims...), nil
}

// offsets reads the value of data_offsets, which lie within the data.
func (p *parser) offsets() (begin, end int64, err error) {
	n, err := p.array("data_offsets", 2)
	switch {
	case err != nil:
		return 0, 0, err
	case len(n) != 2:
		return 0, 0, p.refuse("data_offsets has %d elements, not 2", len(n))
	case n[1] < n[0]:
		return 0, 0, p.refuse("data_offsets end at %d, before they begin at %d", n[1], n[0])
	case n[1] > p.size-p.h.Size:
		return 0, 0, p.refuse("data_offsets end at %d, beyond the %d bytes of data", n[1], p.size-p.h.Size)
	}
	return n[0], n[1], nil
}

// array reads an array of at most limit non-negative integers. The result is
// valid until the next call.
func (p *parser) array(what string, limit int) ([]int64, error) {
	if err := p.token('[', what); err != nil {
		return nil, err
	}
	p.numbers = p.numbers[:0]
	for p.dec.PeekKind() != ']' {
		if len(p.numbers) == limit {
			return nil, p.refuse("%s has more than %d elements", what, limit)
		}
		v, err := p.value('0', what)
		if err != nil {
			return nil, err
		}
		// 63 bits, and neither sign, fraction nor exponent: a value that some
		// reader would have to round, or to convert, has no place in a header.
		n, err := strconv.ParseUint(string(v), 10, 63)
		if err != nil {
			return nil, p.refuse("%s holds %s, which is not an integer from 0 to 2^63-1", what, clip(v))
		}
		p.numbers = append(p.numbers, int64(n))
	}
	return p.numbers, p.token(']', what)
}

// text reads a string and returns its bytes, valid until the next read.
func (p *parser) text(what string) ([]byte, error) {
	v, err := p.value('"', what)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	p.scratch, err = jsontext.AppendUnquote(p.scratch[:0], v)
	if err != nil {
		return nil, p.fault(err)
	}
	return p.scratch, nil
}

// value reads a string or a number.
func (p *parser) value(want jsontext.Kind, what string) (jsontext.Value, error) {
	if err := p.expect(want, what); err != nil {
		return nil, err
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, p.fault(err)
	}
	p.at = prefixSize + p.dec.InputOffset() - int64(len(v))
	return v, nil
}

// token reads a bracket.
func (p *parser) token(want jsontext.Kind, what string) error {
	if err := p.expect(want, what); err != nil {
		return err
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.fault(err)
	}
	p.at = prefixSize + p.dec.InputOffset() - 1
	return nil
}

// expect refuses a value of another kind than want before it is read. It
// passes what is no JSON at all: reading that gives the better error.
func (p *parser) expect(want jsontext.Kind, what string) error {
	kind := p.dec.PeekKind()
	if kind == want || kind == jsontext.KindInvalid {
		return nil
	}
	p.at = prefixSize + p.dec.InputOffset()
	return p.refuse("%s is %s, not %s", what, kindName(kind), kindName(want))
}

// kindName returns the word for a kind.
func kindName(k jsontext.Kind) string {
	switch k {
	case '{', '}':
		return "an object"
	case '[', ']':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	}
	return k.String()
}

// refuse returns an Error about the last value read.
func (p *parser) refuse(format string, args ...any) error {
	return &Error{Tensor: p.tensor, Offset: p.at, Reason: fmt.Sprintf(format, args...)}
}

// fault converts an error of the decoder: to the error of the file where that
// could not be read, to a refusal otherwise.
func (p *parser) fault(err error) error {
	if p.src.err != nil {
		return p.src.err
	}
	e := &Error{Tensor: p.tensor, Offset: p.at, Reason: "invalid JSON", Err: err}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.Offset, e.Err = prefixSize+syntax.ByteOffset, syntax.Err
	}
	// The JSON ends too early, not the file: the file's own end must stay
	// recognisable by these two errors.
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		e.Offset, e.Reason, e.Err = p.h.Size, "header ends within its JSON", nil
	}
	return e
}

// padding checks that [off, end) of the file is spaces.
func padding(r io.ReaderAt, off, end int64) error {
	var buf [4096]byte
	for off < end {
		b := buf[:min(end-off, int64(len(buf)))]
		if err := readAt(r, b, off); err != nil {
			return err
		}
		for i, c := range b {
			if c != ' ' {
				return &Error{Offset: off + int64(i), Reason: fmt.Sprintf("header is padded with byte 0x%02x, not with spaces", c)}
			}
		}
		off += int64(len(b))
	}
	return nil
}

// layout orders the tensors and checks that they tile the data.
func layout(h *Header, size int64) error {
	// As in the reference, a tensor without bytes comes before the one that
	// begins where it lies. Names are not compared: that would cost a hostile
	// header more time than all the rest.
	order := func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length))
	}
	if !slices.IsSortedFunc(h.Tensors, order) {
		slices.SortStableFunc(h.Tensors, order)
	}
	pos := h.Size
	for i, t := range h.Tensors {
		switch {
		case t.Offset < pos:
			return &Error{Tensor: t.Name, Offset: t.Offset, Reason: fmt.Sprintf("data overlaps that of tensor %s", clip(h.Tensors[i-1].Name))}
		case t.Offset > pos:
			return &Error{Tensor: t.Name, Offset: pos, Reason: fmt.Sprintf("%d bytes before its data belong to no tensor", t.Offset-pos)}
		}
		pos += t.Length
	}
	if pos != size {
		return &Error{Offset: pos, Reason: fmt.Sprintf("%d bytes after the last tensor belong to none", size-pos)}
	}
	return nil
}

// A source reads [off, end) of a file in order and remembers why it could not.
type source struct {
	r        io.ReaderAt
	off, end int64
	err      error
}

// Read implements [io.Reader].
func (s *source) Read(b []byte) (int, error) {
	if s.off == s.end {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), s.end-s.off)]
	if s.err = readAt(s.r, b, s.off); s.err != nil {
		return 0, s.err
	}
	s.off += int64(len(b))
	return len(b), nil
}

// readAt fills b from offset off of r. Where r ends before, it is shorter than
// the caller of Parse was told.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("safetensors: reading %d bytes at byte %d: %w", len(b), off, err)
}
