package oci

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// partSize is how much of a blob one request asks for. A part is large beside what
// a request costs, a redirect to storage included, and small beside memory.
const partSize = 8 << 20

// defaultConnections is how many parts of blobs are fetched at once.
const defaultConnections = 8

// A budget bounds what the readers of one store fetch ahead of those who read from
// them: so many parts are on their way or wait to be read. A part that finds no
// room is read as it comes, so a reader that nobody reads from keeps no other from
// going on.
type budget struct {
	mu      sync.Mutex
	parts   int // that may be begun
	readers int
	most    int // parts in all

	free []*[partSize]byte // of parts that were read: memory that stays is not made anew
}

func newBudget(connections int) *budget {
	return &budget{parts: connections, most: connections}
}

// join counts a reader in; n = -1 counts it out.
func (b *budget) join(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers += n
}

// take takes room for a part, of which the reader has some already: each gets its
// share.
func (b *budget) take(has int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts == 0 || has > 0 && has*b.readers >= b.most {
		return false
	}
	b.parts--
	return true
}

// give gives back the room of a part, and its memory.
func (b *budget) give(buf *[partSize]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts++
	b.free = append(b.free, buf)
}

// memory returns memory for a part.
func (b *budget) memory() *[partSize]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	return new([partSize]byte)
}

// aheadReader reads a range of a blob, several parts at once: one as it comes, for
// whoever reads, and others into memory.
type aheadReader struct {
	budget *budget
	open   func(ctx context.Context, off, end int64) (io.ReadCloser, error)
	ctx    context.Context
	cancel context.CancelFunc

	now    io.ReadCloser // the part that is read; nil: between parts
	parts  []*part       // begun, those that follow
	next   int64         // where the part after these begins
	end    int64
	err    error
	closed bool
}

// newAheadReader goes on where first, which is at the start of the range, ends.
func newAheadReader(ctx context.Context, b *budget, first io.ReadCloser, next, end int64,
	open func(ctx context.Context, off, end int64) (io.ReadCloser, error),
) *aheadReader {
	r := &aheadReader{budget: b, open: open, now: first, next: next, end: end}
	r.ctx, r.cancel = context.WithCancel(ctx)
	b.join(1)
	r.begin()
	return r
}

// begin begins as many parts as there is room for.
func (r *aheadReader) begin() {
	for r.next < r.end && r.budget.take(len(r.parts)) {
		off := r.next
		r.next = min(r.end, off+partSize)
		p := &part{budget: r.budget, size: int(r.next - off)}
		p.more.L = &p.mu
		r.parts = append(r.parts, p)
		r.budget.fetch(r.ctx, p, func() (io.ReadCloser, error) { return r.open(r.ctx, off, off+int64(p.size)) })
	}
}

// Read returns bytes of the range and never more. An error is final.
func (r *aheadReader) Read(b []byte) (int, error) {
	switch {
	case r.closed:
		return 0, http.ErrBodyReadAfterClose
	case r.err != nil:
		return 0, r.err
	case len(b) == 0:
		return 0, nil
	}
	for {
		if r.now == nil {
			if r.err = r.advance(); r.err != nil {
				return 0, r.err
			}
		}
		n, err := r.now.Read(b)
		if errors.Is(err, io.EOF) {
			err = r.now.Close()
			r.now = nil
			r.begin()
		}
		if n > 0 || err != nil {
			r.err = err
			return n, err
		}
	}
}

// advance makes the next part the one that is read.
func (r *aheadReader) advance() (err error) {
	r.begin()
	switch {
	case len(r.parts) > 0:
		r.now, r.parts = r.parts[0], r.parts[1:]
	case r.next < r.end:
		off := r.next
		r.next = min(r.end, off+partSize)
		r.now, err = r.open(r.ctx, off, r.next)
	default:
		err = io.EOF
	}
	return err
}

// Close ends all requests.
func (r *aheadReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.cancel()
	if r.now != nil {
		_ = r.now.Close() // nobody wants what is left
	}
	for _, p := range r.parts {
		_ = p.Close()
	}
	r.budget.join(-1)
	return nil
}

// part is a part of a blob that is fetched into memory.
type part struct {
	budget *budget
	size   int
	done   chan struct{} // closed when nothing is written to buf any more
	buf    *[partSize]byte

	mu     sync.Mutex
	more   sync.Cond
	filled int
	err    error // why there is no more: io.EOF at the end

	read int
}

// fetch fills p from what open returns, in a goroutine that never waits for who
// reads from p and ends with the context of the request.
func (b *budget) fetch(ctx context.Context, p *part, open func() (io.ReadCloser, error)) {
	p.buf = b.memory()
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		body, err := open()
		if err != nil {
			p.grow(0, err)
			return
		}
		defer body.Close()
		for n := 0; n < p.size && err == nil; {
			var m int
			m, err = body.Read(p.buf[n:p.size])
			n += m
			switch {
			case n == p.size:
				err = io.EOF
			case errors.Is(err, io.EOF):
				err = io.ErrUnexpectedEOF
			case err == nil:
				err = ctx.Err()
			}
			p.grow(n, err)
		}
	}()
}

// grow tells of bytes that came.
func (p *part) grow(filled int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filled, p.err = filled, err
	p.more.Broadcast()
}

// Read waits for bytes if none are there.
func (p *part) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.read == p.filled && p.err == nil {
		p.more.Wait()
	}
	if p.read == p.filled {
		return 0, p.err
	}
	n := copy(b, p.buf[p.read:p.filled])
	p.read += n
	return n, nil
}

// Close gives back the memory once the request has ended, which the end of its
// context or its last byte does.
func (p *part) Close() error {
	<-p.done
	p.budget.give(p.buf)
	return nil
}
