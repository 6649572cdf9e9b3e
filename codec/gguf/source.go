package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// A source reads a file in order, from its start to end, through a buffer.
type source struct {
	r        io.ReaderAt
	off, end int64  // of the next byte, and of the last that may be read
	ahead    []byte // bytes from off that are read already
	buf      [maxNameLength + 1]byte
}

// next returns the next n bytes, valid until the next call. The caller has
// checked that they are there, and fit the buffer.
func (s *source) next(n int) ([]byte, error) {
	if len(s.ahead) < n {
		b := s.buf[:min(int64(len(s.buf)), s.end-s.off)]
		if err := readAt(s.r, b, s.off); err != nil {
			return nil, err
		}
		s.ahead = b
	}
	b := s.ahead[:n]
	s.discard(int64(n))
	return b, nil
}

// discard moves on by n bytes, which the caller has checked are there.
func (s *source) discard(n int64) {
	s.ahead = s.ahead[min(n, int64(len(s.ahead))):]
	s.off += n
}

// left is the number of bytes that may still be read.
func (p *parser) left() uint64 { return uint64(p.src.end - p.src.off) }

// take returns the next n bytes, valid until the next call.
func (p *parser) take(n int) []byte {
	if p.err != nil {
		return nil
	}
	p.at = p.src.off
	if uint64(n) > p.left() {
		p.beyond("header")
		return nil
	}
	var b []byte
	b, p.err = p.src.next(n)
	return b
}

// u32 reads an integer.
func (p *parser) u32() uint32 {
	if b := p.take(4); p.err == nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// u64 reads an integer.
func (p *parser) u64() uint64 {
	if b := p.take(8); p.err == nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// text reads a string of at most limit bytes, which fit the buffer.
func (p *parser) text(what string, limit uint64) string {
	n := p.u64()
	switch {
	case n > limit:
		p.refuse("%s has %d bytes, more than %d", what, n, limit)
	case n > p.left():
		p.beyond(fmt.Sprintf("%s of %d", what, n))
	}
	at := p.at
	b := p.take(int(min(n, limit)))
	p.at = at // a fault of the string is said to be where it begins
	if p.err == nil && !utf8.Valid(b) {
		p.refuse("%s is not UTF-8", what)
	}
	return string(b)
}

// skip walks over n values of so many bytes each.
func (p *parser) skip(n, bytes uint64, what string) {
	if p.err != nil {
		return
	}
	if n > p.left()/bytes {
		p.beyond(fmt.Sprintf("%s of %d", what, n))
		return
	}
	p.src.discard(int64(n * bytes))
}

// beyond refuses what the file promises to hold, and does not.
func (p *parser) beyond(what string) {
	if p.src.end < p.size {
		p.refuse("%s ends beyond the %d bytes that a header may have", what, p.src.end)
		return
	}
	p.refuse("%s ends beyond the file of %d bytes", what, p.size)
}

// refuse makes an Error about the last value read, unless there is one already.
func (p *parser) refuse(format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Key: p.key, Tensor: p.tensor, Offset: p.at, Reason: fmt.Sprintf(format, args...)}
	}
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
	return fmt.Errorf("gguf: reading %d bytes at byte %d: %w", len(b), off, err)
}
