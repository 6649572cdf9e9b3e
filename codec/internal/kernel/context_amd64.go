//go:build !purego

package kernel

func init() {
	avx512Impl.context = contextAVX512
	avx2Impl.context = contextAVX2
}

// A contextLoop decodes up to n elements, whole rows and more than none, while
// enough of the stream is left for a row. It advances d.states and the list of
// escapes. It returns how many elements it decoded, and the bytes of the stream it
// used.
type contextLoop func(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

// contextAVX512 is Impl.context.
func contextAVX512(d *ContextDecoder, words []uint16, classes, sides []uint8) int {
	loops := [2][2]contextLoop{{contextNarrowAVX512, contextNarrowSignedAVX512}, {contextWideAVX512, contextWideSignedAVX512}}
	return d.loop(&loops, words, classes, sides)
}

// contextAVX2 is Impl.context.
func contextAVX2(d *ContextDecoder, words []uint16, classes, sides []uint8) int {
	loops := [2][2]contextLoop{{contextNarrowAVX2, contextNarrowSignedAVX2}, {contextWideAVX2, contextWideSignedAVX2}}
	return d.loop(&loops, words, classes, sides)
}

// addClasses does the first elements of AddClasses, n a multiple of 32.
func addClasses(dst, columns []uint8, row uint8) int {
	n := len(dst) &^ 31
	if n > 0 {
		addClassesAVX2(&dst[0], &columns[:n][0], row, n)
	}
	return n
}

// addClassesAVX2 is addClasses for n elements, a multiple of 32 that is not 0.
//
//go:noescape
func addClassesAVX2(dst, columns *uint8, row uint8, n int)

// contextExpand has a shuffle for each set of eight lanes: the lanes of the set take
// words 0, 1, 2, ..., the others any.
//
//nolint:unused // the assembly reads it
var contextExpand = func() (x [256][8]uint8) {
	for set := range x {
		next := uint8(0)
		for lane := range x[set] {
			x[set][lane] = next
			next += uint8(set >> lane & 1)
		}
	}
	return x
}()

// loop runs one of loops, which are for 32 and 64 lanes, without and with signs.
func (d *ContextDecoder) loop(loops *[2][2]contextLoop, words []uint16, classes, sides []uint8) int {
	n := len(words) / d.lanes * d.lanes
	wide, signed := d.lanes/ContextLanes, 0
	if n == 0 || len(d.stream) < 4*d.lanes {
		return 0
	}
	side := &classes[:n][0] // not read
	if d.shape.Signed {
		signed, side = 1, &sides[:n][0]
	}
	n, used := loops[wide][signed](d, &words[0], &classes[0], side, n)
	d.stream = d.stream[used:]
	return n
}

//go:noescape
func contextNarrowAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextWideAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextNarrowSignedAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextWideSignedAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextNarrowAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextWideAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextNarrowSignedAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)

//go:noescape
func contextWideSignedAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
