package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Version is the format version that this package reads and writes.
const Version = 1

// FORMAT.md, "Prologue".
const (
	magic          = "\x89BSML\r\n\x1a"
	prologueHeader = 24
	baseSize       = 64

	// MaxPrologue is the largest size of a prologue in bytes.
	MaxPrologue = prologueHeader + maxTableBytes + 8
)

// Prologue is the start of a layer: what a chunk needs besides its own bytes to
// be decoded. It is read-only and may be shared by goroutines.
type Prologue struct {
	Size   int64 // bytes from the start of the layer to its first chunk
	tables *Tables
}

// appendPrologue appends the prologue of a layer with the given tables.
func appendPrologue(dst []byte, t *Tables) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, make([]byte, prologueHeader-len(magic))...)
	if t != nil {
		dst = t.append(dst)
		binary.LittleEndian.PutUint16(dst[at+16:], uint16(len(t.list)))
	}
	binary.LittleEndian.PutUint16(dst[at+8:], Version)
	binary.LittleEndian.PutUint32(dst[at+12:], uint32(len(dst)-at-prologueHeader))
	return binary.LittleEndian.AppendUint64(dst, xxh3.Hash(dst[at:]))
}

// ReadPrologue reads the prologue from the start of a layer. It reads
// Prologue.Size bytes and not one more.
func ReadPrologue(r io.Reader) (*Prologue, error) {
	b := make([]byte, prologueHeader, 1<<10)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, readError(0, "prologue", err)
	}
	if string(b[:len(magic)]) != magic {
		return nil, corrupt(0, "not a layer of this format: it starts with %x", b[:len(magic)])
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != Version {
		return nil, unsupported("layer has format version %d, this release reads %d", v, Version)
	}
	tableBytes, count := binary.LittleEndian.Uint32(b[12:]), int(binary.LittleEndian.Uint16(b[16:]))
	bases := binary.LittleEndian.Uint16(b[18:])
	switch {
	case bases != 0:
		return nil, unsupported("layer is a difference from %d bases", bases)
	case binary.LittleEndian.Uint16(b[10:]) != 0 || binary.LittleEndian.Uint32(b[20:]) != 0:
		return nil, unsupported("layer has unknown flags")
	case tableBytes > maxTableBytes || count > maxTables:
		return nil, corrupt(12, "%d shared tables in %d bytes", count, tableBytes)
	}
	b = append(b, make([]byte, tableBytes+8)...)
	if _, err := io.ReadFull(r, b[prologueHeader:]); err != nil {
		return nil, readError(prologueHeader, "prologue", err)
	}
	end := len(b) - 8
	if xxh3.Hash(b[:end]) != binary.LittleEndian.Uint64(b[end:]) {
		return nil, corrupt(0, "prologue does not match its check sum")
	}
	tables, err := parseTables(b[prologueHeader:end], count)
	if err != nil {
		return nil, at(prologueHeader, err)
	}
	return &Prologue{Size: int64(len(b)), tables: tables}, nil
}

// table returns shared table i if it is for the layout and top, and nil
// otherwise.
func (p *Prologue) table(i int, id layoutID, top uint) []*kernel.Table {
	if i >= len(p.tables.list) {
		return nil
	}
	if s := &p.tables.list[i]; s.layout == id && s.table[0].Top == top {
		return s.table[:]
	}
	return nil
}

// readError tells a layer that ends early, which is corrupt, from one that cannot
// be read.
func readError(offset int64, what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &CorruptError{Offset: offset, Reason: "reading " + what, Err: io.ErrUnexpectedEOF}
	}
	return fmt.Errorf("reading %s at offset %d of the layer: %w", what, offset, err)
}
