package multihash

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// Two hashes that are anywhere in a block end as if each had been written alone.
func TestWritePair(t *testing.T) {
	data := random(3*minPair + 200)
	for before := range 130 {
		for _, n := range []int{0, 1, minPair - 1, minPair, minPair + 63, minPair + before, 2 * minPair} {
			a, b := sha256.New(), sha256.New()
			a.Write(data[:before])
			b.Write(data[:5*before%64])
			WritePair(a, b, data[before:before+n])
			WritePair(b, a, data[:minPair+before])
			a.Write(data[:7])

			wantA, wantB := sha256.New(), sha256.New()
			wantA.Write(data[:before+n])
			wantA.Write(data[:minPair+before])
			wantA.Write(data[:7])
			wantB.Write(data[:5*before%64])
			wantB.Write(data[before : before+n])
			wantB.Write(data[:minPair+before])
			if got, want := hex.EncodeToString(a.Sum(nil)), hex.EncodeToString(wantA.Sum(nil)); got != want {
				t.Fatalf("first hash, %d bytes after %d: %s, want %s", n, before, got, want)
			}
			if got, want := hex.EncodeToString(b.Sum(nil)), hex.EncodeToString(wantB.Sum(nil)); got != want {
				t.Fatalf("second hash, %d bytes after %d: %s, want %s", n, before, got, want)
			}
		}
	}
}

// Messages of all lengths, in lanes that begin and end at different times.
func TestMD5(t *testing.T) {
	data := random(1 << 16)
	r := rand.New(rand.NewPCG(1, 2))
	var (
		m     MD5
		whole [Lanes][]byte
		rest  [Lanes][]byte
	)
	for range 3000 {
		var msgs [Lanes][]byte
		n := 64 * (1 + r.IntN(40))
		for i := range Lanes {
			if whole[i] == nil {
				if r.IntN(4) == 0 {
					continue // this lane is idle for a while
				}
				at := r.IntN(64)
				whole[i] = data[at : at+r.IntN(20000)]
				rest[i] = whole[i]
				m.Reset(i)
			}
			if len(rest[i]) >= n {
				msgs[i], rest[i] = rest[i], rest[i][n:]
				continue
			}
			if got, want := m.Sum(i, rest[i]), md5.Sum(whole[i]); got != want {
				t.Fatalf("%d bytes in lane %d: %x, want %x", len(whole[i]), i, got, want)
			}
			whole[i] = nil
		}
		m.Write(&msgs, n)
	}
}
