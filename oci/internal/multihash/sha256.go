package multihash

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
)

// minPair is the size from which two hashes are worth the change of their states,
// or a goroutine.
const minPair = 16 << 10

// WritePair writes p to a and to b, which come from sha256.New.
func WritePair(a, b hash.Hash, p []byte) {
	switch {
	case len(p) < minPair:
		a.Write(p)
		b.Write(p)
	case !hasSHA256x2:
		var g sync.WaitGroup
		g.Go(func() { a.Write(p) })
		b.Write(p)
		g.Wait()
	default:
		writePair(a, b, p)
	}
}

// writePair brings both hashes to the end of a block with their own code, does
// with sha256x2 the blocks that both have whole, and leaves the rest to them.
func writePair(a, b hash.Hash, p []byte) {
	var s, t sha256State
	na, nb := s.open(a, p), t.open(b, p)
	blocks := (len(p) - max(na, nb)) / sha256.BlockSize
	sha256x2(&s.words, &t.words, &p[na], &p[nb], blocks)
	n := blocks * sha256.BlockSize
	s.close(a, n)
	t.close(b, n)
	a.Write(p[na+n:])
	b.Write(p[nb+n:])
}

// sha256State is the state of a hash from crypto/sha256 at the end of a block, as
// its AppendBinary gives it: a magic, eight words, a block not yet hashed, and
// the length of all, big-endian.
type sha256State struct {
	binary [sha256Length + 8]byte
	words  [8]uint32 // in the order of the SHA instructions: F E B A, H G D C
}

const (
	sha256Magic  = "sha\x03"
	sha256Length = len(sha256Magic) + 8*4 + sha256.BlockSize // where the length is
)

// wordOf says which word of the hash is at each place of sha256State.words.
var wordOf = [8]int{5, 4, 1, 0, 7, 6, 3, 2}

// open writes the start of p to h, so that h is at the end of a block, and takes
// the state of h. It returns how much it wrote.
func (s *sha256State) open(h hash.Hash, p []byte) int {
	s.read(h)
	length := binary.BigEndian.Uint64(s.binary[sha256Length:])
	n := int(-length % sha256.BlockSize)
	if n > 0 {
		h.Write(p[:n])
		s.read(h)
	}
	for i, w := range wordOf {
		s.words[i] = binary.BigEndian.Uint32(s.binary[len(sha256Magic)+4*w:])
	}
	return n
}

func (s *sha256State) read(h hash.Hash) {
	b, err := h.(encoding.BinaryAppender).AppendBinary(s.binary[:0])
	if err != nil || len(b) != len(s.binary) || !bytes.HasPrefix(b, []byte(sha256Magic)) {
		panic("multihash: internal error: crypto/sha256 has another state")
	}
}

// close puts the state back, after n more bytes.
func (s *sha256State) close(h hash.Hash, n int) {
	for i, w := range wordOf {
		binary.BigEndian.PutUint32(s.binary[len(sha256Magic)+4*w:], s.words[i])
	}
	length := s.binary[sha256Length:]
	binary.BigEndian.PutUint64(length, binary.BigEndian.Uint64(length)+uint64(n))
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.binary[:]); err != nil {
		panic("multihash: internal error: " + err.Error())
	}
}
