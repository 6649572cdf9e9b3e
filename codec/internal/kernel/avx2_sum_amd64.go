//go:build !purego

package kernel

// sumAVX2 is Impl.sum.
func sumAVX2(f Layout, src []byte) (sum uint64, n int) {
	// 4 MiB of symbols of 11 bits fit in lanes of 32.
	if n = min(len(src), 4<<20) &^ 63; n == 0 {
		return 0, 0
	}
	shift, mask := f.symbols()
	switch f.Bits() {
	case 8:
		return sum8AVX2(&src[0], n, shift, mask), n
	case 16:
		return sum16AVX2(&src[0], n, shift, mask), n
	case 32:
		return sum32AVX2(&src[0], n, shift, mask), n
	}
	return 0, 0
}

// sum8AVX2 and the others sum (element >> shift) & mask over n bytes of elements,
// n a multiple of 64 that is not 0. mask is repeated for each element.
//
//go:noescape
func sum8AVX2(src *byte, n int, shift, mask uint64) (sum uint64)

//go:noescape
func sum16AVX2(src *byte, n int, shift, mask uint64) (sum uint64)

//go:noescape
func sum32AVX2(src *byte, n int, shift, mask uint64) (sum uint64)
