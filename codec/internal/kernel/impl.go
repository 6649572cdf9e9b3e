package kernel

// An Impl is one implementation of the inner loops, for some kind of CPU. All
// give the same bytes and the same errors. Each function does as much of the
// work as it can do in whole vectors without a look beyond its slices, and
// returns how far it came; plain Go does what is left. So a function may also do
// nothing.
type Impl struct {
	Name string

	// decode decodes the first n symbols of words with t, n a multiple of
	// d.lanes, starting at lane 0. It advances d.lo, d.hi and d.stream, and
	// appends to d.escaped base plus the index of each escape, in order. The word of an
	// escape is unspecified.
	decode func(d *Decoder, words []uint16, t *Table, base int) (n int)

	// fused decodes elements of x from element i on, starting at lane 0, and
	// writes them to x.dst. It advances d.lo, d.hi, d.stream and d.next, and
	// returns how far it came: i plus a multiple of d.lanes. It may be nil.
	fused func(d *Decoder, x *elements, i int) int

	// encode codes the last n of vals, len(vals) a multiple of e.lanes, n too, ending at the last
	// lane. It advances e.lo, e.hi, e.free and the list of escapes.
	encode func(e *Encoder, vals []uint16, t *Table) (n int)

	// merge merges the first n elements, n a multiple of eight: see Merge.
	merge func(dst []byte, s *shape, words []uint16, packed []byte, planes [][]byte) (n int)

	// split splits the first n elements, n a multiple of eight: see Split.
	split func(vals []uint16, packed []byte, planes [][]byte, s *shape, src []byte) (n int)

	// sum is the sum of the symbols in the first n bytes of src: see Sum.
	sum func(f Layout, src []byte) (sum uint64, n int)

	// copy copies the first n bytes past the caches.
	copy func(dst, src []byte) (n int)

	// context decodes the first n elements of words, n a multiple of d.lanes:
	// see ContextDecoder.Decode. It advances d.states and d.stream and appends to
	// the escapes. It may be nil.
	context func(d *ContextDecoder, words []uint16, classes, sides []uint8) (n int)
}

var goImpl = Impl{
	Name:   "go",
	decode: decodeGo,
	encode: encodeGo,
	merge:  mergeGo,
	split:  splitGo,
	sum:    sumGo,
	copy:   func(_, _ []byte) int { return 0 },
}

// impls are the implementations that this CPU runs, the fastest first.
var impls = append(native(), &goImpl)

// Impls returns the implementations that this CPU runs, the fastest first. The
// last is plain Go.
func Impls() []*Impl { return impls }

// Best is the fastest implementation.
func Best() *Impl { return impls[0] }

// Copy copies src to dst, which is as long, past the caches if the
// implementation can: for a destination that is large and not read soon.
func (im *Impl) Copy(dst, src []byte) {
	n := im.copy(dst, src)
	copy(dst[n:], src[n:])
}
