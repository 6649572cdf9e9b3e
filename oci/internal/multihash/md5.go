package multihash

import (
	"crypto/md5" //nolint:gosec // a check sum that users compare with other tools, not a protection
	"encoding"
	"encoding/binary"
	"hash"
)

// Lanes is how many messages MD5 takes.
const Lanes = 16

// MD5Width is how many messages MD5 hashes in the time of one: Lanes, or 1 where
// it hashes them one after the other.
var MD5Width = md5Width()

func md5Width() int {
	if hasMD5x16 {
		return Lanes
	}
	return 1
}

// MD5 hashes up to Lanes messages of any lengths. The zero value is not ready:
// every lane is begun with Reset. Its methods are for one goroutine.
type MD5 struct {
	state [4][Lanes]uint32 // word, lane
	size  [Lanes]uint64    // bytes hashed
	slow  [Lanes]hash.Hash // instead, where there is no md5x16
}

// Reset begins a message in a lane.
func (m *MD5) Reset(lane int) {
	m.size[lane] = 0
	for i, w := range [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476} {
		m.state[i][lane] = w
	}
	if !hasMD5x16 {
		m.slow[lane] = md5.New()
	}
}

// Write hashes the next n bytes of each lane whose message is not nil. n is a
// multiple of the block size, 64, and no message is shorter.
func (m *MD5) Write(msgs *[Lanes][]byte, n int) {
	if n == 0 {
		return
	}
	if n%md5.BlockSize != 0 {
		panic("multihash: part of a block")
	}
	var any *byte
	for i, b := range msgs {
		if b == nil {
			continue
		}
		b = b[:n]
		any = &b[0]
		m.size[i] += uint64(n)
		if !hasMD5x16 {
			m.slow[i].Write(b)
		}
	}
	if !hasMD5x16 || any == nil {
		return
	}
	// A lane without a message hashes that of another, for nothing.
	var ptrs [Lanes]*byte
	old := m.state
	for i, b := range msgs {
		ptrs[i] = any
		if b != nil {
			ptrs[i] = &b[0]
		}
	}
	md5x16(&m.state, &ptrs, n/md5.BlockSize)
	for i, b := range msgs {
		if b == nil {
			for w := range m.state {
				m.state[w][i] = old[w][i]
			}
		}
	}
}

// Sum returns the sum of a lane whose message ends with tail, which is of any
// length. The lane needs a Reset then.
func (m *MD5) Sum(lane int, tail []byte) [md5.Size]byte {
	h := m.slow[lane]
	if h == nil {
		h = m.hash(lane)
	}
	h.Write(tail)
	return [md5.Size]byte(h.Sum(nil))
}

// hash returns a hash from crypto/md5 in the state of a lane, as its
// UnmarshalBinary takes it: a magic, four words, a block not yet hashed, and the
// length of all, big-endian.
func (m *MD5) hash(lane int) hash.Hash {
	b := append(make([]byte, 0, 128), "md5\x01"...)
	for _, word := range m.state {
		b = binary.BigEndian.AppendUint32(b, word[lane])
	}
	b = append(b, make([]byte, md5.BlockSize)...)
	b = binary.BigEndian.AppendUint64(b, m.size[lane])
	h := md5.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b); err != nil {
		panic("multihash: internal error: " + err.Error())
	}
	return h
}
