package kernel

// Coder constants; FORMAT.md, "The rANS method".
const (
	GroupLanes = 64             // lanes of one group
	MaxGroups  = 4              // groups of a large chunk
	MaxLanes   = 64 * MaxGroups // 256
	MaxSymbols = 32             // symbols of a table, the escape included
	stateLow   = 256            // states are in [stateLow, 1<<16)
)

// Table is a probability model of at most MaxSymbols symbols. Symbol 0 is the
// escape: its value follows in a list of its own.
type Table struct {
	Top    uint               // mantissa bits in a symbol's value
	N      int                // symbols, the escape included
	Values [MaxSymbols]uint16 // exponent<<Top | top mantissa bits; ascending from index 1
	Freqs  [MaxSymbols]uint8  // in 1/256; sum 256; only the escape's may be 0

	// Set by InitDecode. slots is by slot: the symbol's word (16 bits; see
	// Layout.shift), for the escape wordEscape; from bit slotOffset on the offset
	// of the slot in the symbol, from bit slotFreq on the symbol's frequency.
	slots [256]uint64
	tree  tree // of vectors that look up 16 entries at a time
	// The same for vectors: symbol is by slot; the others by symbol, 0 where
	// there is none: frequency, first slot, low and high byte of the word.
	symbol                   [256]uint8
	freq, start, wlow, whigh [GroupLanes]uint8

	codes *[values]code // set by InitEncode, by value
	// Also set by InitEncode. index is the symbol of each value, 0 for the escape; of the
	// others, by symbol: recip is 65535 / frequency.
	index  *[values]uint8
	recipL [GroupLanes]uint8
	recipH [GroupLanes]uint8
}

const (
	slotOffset = 16
	slotFreq   = 32
)

// wordEscape marks the word of an escape: no symbol's word is odd.
const wordEscape = 1

// code is how the encoder codes a value, from the lowest bit up: 16 bits, the
// largest state that its symbol can follow without putting out a byte; 8 bits
// each, the first slot of the symbol and 256 less its frequency; 1 bit, whether
// it is the escape; from codeReciprocal on, 2^24/frequency rounded up, which
// divides every 16-bit state exactly.
type code uint64

const (
	codeStart       = 16
	codeRest        = 24
	codeEscape      = 1 << 32
	codeReciprocal  = 39
	reciprocalScale = 24
)

// InitDecode completes a table whose Top, N, Values and Freqs are set and valid,
// for decoding elements of layout f.
func (t *Table) InitDecode(f Layout) {
	slot := 0
	for s, freq := range t.Freqs[:t.N] {
		word := t.Values[s] << f.shift(t.Top)
		if s == 0 {
			word = wordEscape
		}
		t.freq[s], t.start[s] = freq, uint8(slot)
		t.wlow[s], t.whigh[s] = uint8(word), uint8(word>>8)
		for k := range uint64(freq) {
			t.slots[slot] = uint64(word) | k<<slotOffset | uint64(freq)<<slotFreq
			t.symbol[slot] = uint8(s)
			slot++
		}
	}
	t.initTree()
}

// InitEncode completes such a table for encoding.
func (t *Table) InitEncode() {
	t.codes, t.index = new([values]code), new([values]uint8)
	start := code(0)
	for s, f := range t.Freqs[:t.N] {
		if f == 0 {
			continue
		}
		c := code(f)<<8 - 1 | start<<codeStart | (256-code(f))<<codeRest | (1<<reciprocalScale/code(f)+1)<<codeReciprocal
		t.freq[s], t.start[s] = f, uint8(start)
		t.recipL[s], t.recipH[s] = uint8(65535/uint(f)), uint8(65535/uint(f)>>8)
		start += code(f)
		if s > 0 {
			t.codes[t.Values[s]], t.index[t.Values[s]] = c, uint8(s)
			continue
		}
		for v := range t.codes {
			t.codes[v] = c | codeEscape
		}
	}
}

// Freq returns the frequency, in 1/256, of the symbol that codes value v, and
// whether that is the escape. It is 0 for a value that t cannot code.
func (t *Table) Freq(v int) (freq int, escape bool) {
	c := t.codes[v]
	return int(c&0xffff+1) >> 8, c&codeEscape != 0
}

// Model says which table codes which element of a chunk: element i is coded with
// Tables[Classes[(i+Skip)/Stripe]], or with Tables[0] where there are no Classes.
type Model struct {
	Tables  []*Table
	Classes []uint8
	Stripe  int // elements; a multiple of MaxLanes
	Skip    int // elements by which the first stripe is shorter; likewise
}

// run returns the table of element i and how many elements from there on it codes, of n.
func (m *Model) run(i, n int) (*Table, int) {
	if m.Classes == nil {
		return m.Tables[0], n
	}
	c := (i + m.Skip) / m.Stripe
	return m.Tables[m.Classes[c]], min(n, (c+1)*m.Stripe-m.Skip-i)
}
