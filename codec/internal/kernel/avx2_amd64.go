//go:build !purego

package kernel

// avx2Impl is for CPUs with AVX2, BMI1 and BMI2: Intel from Haswell, AMD from Zen. It
// does without PDEP and PEXT, which are slow on AMD before Zen 3.
var avx2Impl = Impl{
	Name:   "avx2",
	decode: decodeAVX2,
	encode: encodeAVX2,
	merge:  mergeAVX2,
	split:  splitAVX2,
	sum:    sumAVX2,
	copy:   copyAVX2,
}

// groupShuffles are for a group of eight lanes of a vector of 16, by which group
// and by the set of its lanes.
type groupShuffles [2][256][8]uint8

// expandAVX2 has a shuffle for each set of lanes in a group of eight: the lanes of
// the set take bytes 0, 1, 2, ..., or 8, 9, ... in the upper group; the others
// become 0.
var expandAVX2 = func() (x groupShuffles) {
	for half := range x {
		for set := range x[half] {
			next := uint8(8 * half)
			for lane := range x[half][set] {
				x[half][set][lane] = 0x80
				if set>>lane&1 != 0 {
					x[half][set][lane] = next
					next++
				}
			}
		}
	}
	return x
}()

// decodeAVX2 is Impl.decode.
func decodeAVX2(d *Decoder, words []uint16, t *Table, base int) (n int) {
	// All may be escapes.
	room := cap(d.escaped) - len(d.escaped)
	words = words[:min(len(words), room-room%d.lanes)]
	loop := decodeWideAVX2
	if t.N <= narrowSymbols {
		loop = decodeNarrowAVX2
	}
	n, used, escapes := loop(d, words, &t.tree, &expandAVX2, base)
	d.stream, d.escaped = d.stream[used:], d.escaped[:escapes]
	return n
}

// decodeWideAVX2 is decodeAVX2 for tables of any size, except that it does not
// advance d.stream, of which it used so many bytes, nor d.escaped, which now
// has so many entries.
//
//go:noescape
func decodeWideAVX2(d *Decoder, words []uint16, t *tree, expand *groupShuffles, base int) (n, used, escapes int)

// decodeNarrowAVX2 is decodeWideAVX2 for tables of at most narrowSymbols symbols.
//
//go:noescape
func decodeNarrowAVX2(d *Decoder, words []uint16, t *tree, expand *groupShuffles, base int) (n, used, escapes int)
