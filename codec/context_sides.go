package codec

import "github.com/oras-bsm/oras-bsm/codec/internal/kernel"

// neutral is the side of a column of no sign in particular.
const neutral = 127

// lean sets the sides of the columns, if signs are worth coding. In a column of
// mean b and variance v the odds of the sign of an element w are exp(2*b*w/v), if
// the elements are normally distributed; w is divided by the scale of its class.
func (t *contextFit) lean() {
	m := &t.m
	m.sides = nil
	if !t.known {
		return
	}
	peak := t.magnitudes()
	t.leans = resize(t.leans, m.cols)
	clear(t.leans)
	i := 0
	t.eachRow(func(_, col int, classes, symbols []uint8) {
		sums, signs := t.leans[col:col+len(symbols)], t.signs[i:i+len(symbols)]
		for j, s := range symbols {
			minus := -int64(signs[j])
			sums[j] += int64(t.sizes[classes[j]&(kernel.ContextClasses-1)][s]) ^ minus - minus
		}
		i += len(symbols)
	})
	t.sideBuf = resize(t.sideBuf, m.cols)
	if t.chooseSides(peak) {
		m.sides = t.sideBuf
		t.m.classes(t.impl, t.classes, t.sides, 0)
	}
}

// magnitudes sets sizes to the normalised magnitude of each symbol, and squares to
// the sum of their squares. It returns the place, from the smallest on, of the
// most common magnitude, which is 2^12, in quarters of an octave.
func (t *contextFit) magnitudes() (peak int) {
	m, fine, most := &t.m, contextTop(t.m.layout)-2, 0
	for i, w := range m.weights {
		if contextWeight(w) > contextWeight(m.weights[most]) {
			most = i
		}
	}
	peak = m.cell + most - 4*m.first + 1
	t.squares = 0
	for k := range t.sizes {
		for s := range t.sizes[k] {
			at := (s+int(fine))>>fine + kernel.ContextClasses - 1 - k - peak + 16
			at = max(0, min(at, 44))
			z := contextQuarters[at%4] << (at / 4)
			t.sizes[k][s] = int32(z)
			t.squares += z * z * int64(t.hist[k][s])
		}
	}
	return peak
}

// contextQuarters is 2^(8 + i/4).
var contextQuarters = [4]int64{256, 304, 362, 431}

// chooseSides sets sideBuf from leans. It reports whether it saves more than it
// takes to decode.
func (t *contextFit) chooseSides(peak int) bool {
	var have [256]int
	n := len(t.symbols)
	total := logTwo(uint64(n)) - logTwo(uint64(t.squares))
	saved := int64(0) // in 1/256 bit
	for i, sum := range t.leans {
		t.sideBuf[i] = neutral
		count := t.inColumn(i)
		if sum != 0 && count > 0 {
			l, c := logTwo(uint64(max(sum, -sum))), logTwo(uint64(count))
			// Twice the standard deviation of what chance brings about.
			if excess := 2*l + total - c; excess >= 2*256 {
				// An octave is fine enough.
				at := 48 - peak + int(rounded(int64(6*256+l+total-c), 256))*4
				t.sideBuf[i] = uint8(max(0, min(-1-at, neutral)))
				saved += min(185<<min(excess/256, 20), 128*int64(count))
			}
		}
		if sum < 0 && t.sideBuf[i] != neutral {
			t.sideBuf[i] |= 128
		}
		have[t.sideBuf[i]]++
	}
	for _, h := range have {
		if h > 0 {
			saved -= int64(h) * int64(logTwo(uint64(len(t.leans)))-logTwo(uint64(h)))
		}
	}
	return saved > int64(n) // 1/256 bit of each
}
