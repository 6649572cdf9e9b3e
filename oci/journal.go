package oci

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/zeebo/xxh3"
)

// A journal notes which chunks a pull has checked and written, so that the next one
// goes on from there. A note holds the hash of what was written: whether that is on
// the disk is seen when it is read back, so no note has to wait for the disk.
//
// A note is 24 bytes, little-endian: the layer and the chunk (4 bytes each), the
// xxh3 of the places in the wanted files where the chunk's bytes stand and of the
// bytes there, and the xxh3 of these 16 bytes. A note that was cut off is none.
type journal struct {
	mu sync.Mutex
	f  *os.File
	n  int // notes
}

const (
	journalName = "journal"
	noteSize    = 24
)

// openJournal opens the journal in a work directory, and returns the first most notes
// in it. It drops all others.
func openJournal(dir *os.Root, most int) (*journal, map[step]uint64, error) {
	f, err := dir.OpenFile(journalName, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	notes := map[step]uint64{}
	r := bufio.NewReader(io.LimitReader(f, int64(most)*noteSize))
	var size int64
	for {
		var b [noteSize]byte
		if _, err = io.ReadFull(r, b[:]); err != nil || binary.LittleEndian.Uint64(b[16:]) != xxh3.Hash(b[:16]) {
			break
		}
		size += noteSize
		s := step{int(binary.LittleEndian.Uint32(b[:])), int(binary.LittleEndian.Uint32(b[4:]))}
		notes[s] = binary.LittleEndian.Uint64(b[8:])
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = f.Truncate(size)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &journal{f: f, n: len(notes)}, notes, nil
}

// note adds a note.
func (j *journal) note(s step, hash uint64) error {
	var b [noteSize]byte
	binary.LittleEndian.PutUint32(b[:], uint32(s.layer))
	binary.LittleEndian.PutUint32(b[4:], uint32(s.chunk))
	binary.LittleEndian.PutUint64(b[8:], hash)
	binary.LittleEndian.PutUint64(b[16:], xxh3.Hash(b[:16]))
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.f.Write(b[:])
	j.n++
	return err
}

// empty reports whether there are no notes.
func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.n == 0
}

func (j *journal) close() error { return j.f.Close() }
