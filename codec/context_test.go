package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// contextDtypes are dtypes with a layout that the context method takes.
var contextDtypes = []Dtype{BF16, F16, F32, F8_E4M3, F8_E5M2}

// leaning adds to each column of w a number of its own, so that it tends to one sign.
func leaning(w []float32, cols int) []float32 {
	r := rand.New(rand.NewPCG(uint64(cols), 5))
	means := make([]float32, cols)
	for i := range means {
		means[i] = float32(0.02 * r.NormFloat64())
	}
	for i := range w {
		w[i] += means[i%cols]
	}
	return w
}

// contextEncode encodes src, which must have a model.
func contextEncode(t testing.TB, d Dtype, src []byte, g Geometry) []byte {
	t.Helper()
	prefix := []byte("prefix")
	b := NewEncoder(Max).encodeContext(prefix, d.layout(), src, g)
	if !bytes.HasPrefix(b, prefix) || len(b) == len(prefix) {
		t.Fatalf("%v: %d bytes are not encoded", d, len(src))
	}
	return b[len(prefix):]
}

// contextDecode decodes b with im to size bytes.
func contextDecode(im *kernel.Impl, b []byte, size int) ([]byte, error) {
	d := NewDecoder(nil)
	d.impl = im
	dst := bytes.Repeat([]byte{0xa5}, size)
	return dst, decodeContext(d, dst, 1, b)
}

// checkContext checks that src survives, whatever the implementation, and
// returns the payload.
func checkContext(t *testing.T, d Dtype, src []byte, g Geometry) []byte {
	t.Helper()
	b := contextEncode(t, d, src, g)
	for _, im := range kernel.Impls() {
		got, err := contextDecode(im, b, len(src))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("%v, %d bytes, %+v, %s: not what was encoded: %v", d, len(src), g, im.Name, err)
		}
		e := NewEncoder(Max)
		e.impl = im
		if !bytes.Equal(e.encodeContext(nil, d.layout(), src, g), b) {
			t.Fatalf("%v, %d bytes, %+v, %s: encoded in another way", d, len(src), g, im.Name)
		}
	}
	return b
}

func TestContextRoundTrip(t *testing.T) {
	for _, d := range contextDtypes {
		for _, g := range []Geometry{
			{},
			{Cols: 1024},
			{Cols: 512, First: 100},
			{Cols: 1000, First: 999},
			{Cols: 333, First: 7},
			{Cols: 9, First: 4},
			{Cols: 1},
			{Cols: 1 << 20, First: 1 << 19},
		} {
			for _, n := range []int{contextElements, 12345} {
				cols := max(1, g.Cols)
				w := model.Matrix(n/cols+1, cols, 3)[:n]
				checkContext(t, d, elements(d, w), g)
				checkContext(t, d, elements(d, leaning(w, cols)), g)
			}
		}
	}
}

// TestContextAny: whatever the bit patterns, they survive, if they are encoded.
func TestContextAny(t *testing.T) {
	const n = 9000
	r := rand.New(rand.NewPCG(1, 9))
	for _, d := range contextDtypes {
		width := d.Width()
		noise := make([]byte, n*width)
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		pruned := elements(d, model.Matrix(n/250, 250, 8))
		for i := 0; i < len(pruned); i += width {
			if r.IntN(4) > 0 {
				clear(pruned[i : i+width])
			}
		}
		outliers := elements(d, model.Matrix(n/250, 250, 8))
		copy(outliers[1000*width:2000*width], noise)
		for name, src := range map[string][]byte{
			"noise":    noise,
			"ones":     bytes.Repeat([]byte{0xff}, n*width),
			"zeros":    make([]byte, n*width),
			"tiny":     bytes.Repeat(append(make([]byte, width-1), 1), n),
			"pruned":   pruned,
			"outliers": outliers,
		} {
			for _, g := range []Geometry{{}, {Cols: 250}, {Cols: 77, First: 3}} {
				t.Run(fmt.Sprintf("%v/%s/cols=%d", d, name, g.Cols), func(t *testing.T) {
					if len(NewEncoder(Max).encodeContext(nil, d.layout(), src, g)) > 0 {
						checkContext(t, d, src, g)
					}
				})
			}
		}
	}
}

// TestContextLarge: chunks of two groups of lanes, of several batches.
func TestContextLarge(t *testing.T) {
	const cols = 1500
	for _, n := range []int{contextLarge - 1, contextLarge, 1<<20 - 37} {
		w := leaning(model.Matrix(n/cols+1, cols, 1)[:n], cols)
		b := checkContext(t, BF16, elements(BF16, w), Geometry{Cols: cols, First: 200})
		if groups := int(b[1]); groups != 1+n/contextLarge {
			t.Errorf("%d elements in %d groups", n, groups)
		}
		if b[4] != contextSigned {
			t.Errorf("%d elements of columns that lean: flags %#x", n, b[4])
		}
	}
}

// TestContextRefuses: there is no payload for what has no model.
func TestContextRefuses(t *testing.T) {
	w := elements(BF16, gaussian(10000, 1))
	for name, c := range map[string]struct {
		id  layoutID
		src []byte
	}{
		"few":   {layoutBF16, w[:2*contextElements-2]},
		"bytes": {layoutByte, w},
		"zeros": {layoutBF16, make([]byte, len(w))},
	} {
		if b := NewEncoder(Max).encodeContext([]byte{1}, c.id, c.src, Geometry{}); !bytes.Equal(b, []byte{1}) {
			t.Errorf("%s: encoded in %d bytes", name, len(b)-1)
		}
	}
}

// TestContextRatio holds the ratio on realistic weights, and that rows, columns
// and signs each save something.
func TestContextRatio(t *testing.T) {
	const rows, cols = 512, 2048
	w := model.Matrix(rows, cols, 20260101)
	plain := len(contextEncode(t, BF16, model.BF16(w), Geometry{}))
	known := len(contextEncode(t, BF16, model.BF16(w), Geometry{Cols: cols}))
	lean := model.BF16(leaning(w, cols))
	signed := contextEncode(t, BF16, lean, Geometry{Cols: cols})
	size := float64(len(lean))
	t.Logf("%.2f %%, without geometry %.2f %%, with signs %.2f %%", 100*float64(known)/size, 100*float64(plain)/size, 100*float64(len(signed))/size)
	if float64(known) > 0.6580*size || known >= plain {
		t.Errorf("encoded to %.4f of its size, %.4f without geometry", float64(known)/size, float64(plain)/size)
	}
	if signed[4] != contextSigned {
		t.Error("no signs")
	}
}

// TestContextGolden: model and stream do not depend on the CPU. What zstd makes of
// the model is left out.
func TestContextGolden(t *testing.T) {
	const cols = 300
	w := leaning(model.Matrix(200, cols, 4), cols)
	for d, want := range map[Dtype]uint64{BF16: 0xf3b78b10c5238c74, F16: 0xe6238116ea838e7b, F32: 0xf3b78b10c5238c74, F8_E4M3: 0xe6238116ea838e7b, F8_E5M2: 0x60adb5430396fae0} {
		e, f := NewEncoder(Max), layoutTable[d.layout()]
		fit := &contextFit{impl: e.impl}
		m := fit.model(f, e.split(f.Signed(), contextTop(f), elements(d, w)).vals, Geometry{Cols: cols, First: 50})
		fit.enc.Encode(m.shape(), kernel.ContextLanes, fit.values, fit.symbols, fit.signs, fit.classes, fit.sides, nil)
		b := []byte{byte(m.first), byte(m.extra), byte(m.cell), byte(m.cell >> 8)}
		b = slices.Concat(b, m.weights, m.rows, m.columns, m.sides, fit.enc.AppendStates(nil), fit.enc.Stream())
		if got := xxh3.Hash(b); got != want {
			t.Errorf("%v: %#x, want %#x", d, got, want)
		}
	}
}

// TestContextHeader: every field of the header is held to its rule.
func TestContextHeader(t *testing.T) {
	const cols = 512
	src := elements(BF16, leaning(model.Matrix(40, cols, 6), cols))
	good := contextEncode(t, BF16, src, Geometry{Cols: cols})
	u16, u32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	for name, c := range map[string]struct {
		change      func(h []byte)
		unsupported bool
	}{
		"layout 0":            {change: func(h []byte) { h[0] = 0 }, unsupported: true},
		"layout of no sign":   {change: func(h []byte) { h[0] = byte(layoutByte) }},
		"no groups":           {change: func(h []byte) { h[1] = 0 }},
		"three groups":        {change: func(h []byte) { h[1] = 3 }},
		"plane too many":      {change: func(h []byte) { h[2] |= 1 << 6 }},
		"plane of mode 3":     {change: func(h []byte) { h[3] |= 3 }, unsupported: true},
		"flags":               {change: func(h []byte) { h[4] |= 2 }, unsupported: true},
		"sides without flag":  {change: func(h []byte) { h[3] |= 1 << 4; h[4] = 0 }},
		"weights":             {change: func(h []byte) { h[7] = 129 }},
		"no weights":          {change: func(h []byte) { h[7] = 0 }},
		"cell":                {change: func(h []byte) { u16(h[8:], contextCells) }},
		"no symbols":          {change: func(h []byte) { u16(h[8:], 0) }},
		"first weight zero":   {change: func(h []byte) { h[contextHeader] = 0 }},
		"last weight zero":    {change: func(h []byte) { h[contextHeader+int(h[7])-1] = 0 }},
		"no columns":          {change: func(h []byte) { u32(h[10:], 0) }},
		"columns":             {change: func(h []byte) { u32(h[10:], uint32(len(src)/2+1)) }},
		"columns, 32 bits":    {change: func(h []byte) { u32(h[10:], 1<<32-1) }},
		"skip":                {change: func(h []byte) { u32(h[14:], cols) }},
		"stream":              {change: func(h []byte) { u32(h[18:], 1<<32-1) }},
		"stream of odd size":  {change: func(h []byte) { u32(h[18:], binary.LittleEndian.Uint32(h[18:])-1) }},
		"escapes":             {change: func(h []byte) { u32(h[22:], uint32(len(src)/2+1)) }},
		"no escapes":          {change: func(h []byte) { u32(h[22:], 0) }},
		"escapes, 32 bits":    {change: func(h []byte) { u32(h[22:], 1<<32-1) }},
		"first exponent":      {change: func(h []byte) { h[5] = 255 }},
		"more for the escape": {change: func(h []byte) { h[6] ^= 1 }},
	} {
		bad := bytes.Clone(good)
		c.change(bad)
		for _, im := range kernel.Impls() {
			_, err := contextDecode(im, bad, len(src))
			var corrupt *CorruptError
			if c.unsupported && !errors.Is(err, ErrUnsupported) || !c.unsupported && !errors.As(err, &corrupt) {
				t.Errorf("%s, %s: %v", name, im.Name, err)
			}
		}
	}
}

// TestContextDamage: a damaged payload gives the same, and errors of the
// documented types only, whatever the implementation.
func TestContextDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, d := range contextDtypes {
		src := elements(d, leaning(model.Matrix(30, 300, 6), 300))
		good := contextEncode(t, d, src, Geometry{Cols: 300, First: 10})
		for i := range 150 {
			bad := bytes.Clone(good)
			switch i % 3 {
			case 0:
				bad = bad[:r.IntN(len(bad))]
			case 1:
				bad[r.IntN(200)] ^= 1 << r.IntN(8)
			case 2:
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			}
			agreeContext(t, bad, len(src))
		}
	}
}

// agreeContext checks that all implementations do the same with a payload.
func agreeContext(t *testing.T, b []byte, size int) {
	t.Helper()
	want, wantErr := contextDecode(kernel.Impls()[len(kernel.Impls())-1], b, size)
	var corrupt *CorruptError
	if wantErr != nil && !errors.As(wantErr, &corrupt) && !errors.Is(wantErr, ErrUnsupported) {
		t.Fatalf("error of type %T: %v", wantErr, wantErr)
	}
	for _, im := range kernel.Impls() {
		got, err := contextDecode(im, b, size)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", im.Name, err, wantErr)
		}
	}
}

// TestContextShares derives contextShares from its meaning.
func TestContextShares(t *testing.T) {
	for c := range 4 {
		sum := uint64(0)
		for m := range contextShares {
			sum += contextShares[m][c]
		}
		if sum != contextShare {
			t.Errorf("quarter %d: shares sum to %d", c, sum)
		}
	}
}

// TestContextFreqs: the frequencies of any shape sum to all slots.
func TestContextFreqs(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		m := contextModel{layout: layoutTable[layoutBF16], first: r.IntN(256), extra: r.IntN(256), cell: r.IntN(contextCells - contextWeights)}
		if r.IntN(2) == 0 {
			m.layout, m.first = kernel.E5M2, r.IntN(32)
		}
		for range 1 + r.IntN(contextWeights) {
			m.weights = append(m.weights, uint8(r.Uint32())>>r.IntN(8))
		}
		m.weights[0] |= 1
		var s cells
		m.expand(&s)
		for class := range kernel.ContextClasses {
			var f [kernel.ContextSymbols]uint16
			if !m.freqs(&s, class, &f) {
				continue
			}
			sum := 0
			for _, x := range f {
				sum += int(x)
			}
			if sum != 1<<kernel.ContextBits || f[0] == 0 || slices.Max(f[:]) == 1<<kernel.ContextBits {
				t.Fatalf("class %d: frequencies sum to %d, the escape has %d", class, sum, f[0])
			}
		}
	}
}

// FuzzContext decodes any payload.
func FuzzContext(f *testing.F) {
	for i, d := range contextDtypes {
		w := model.Matrix(20, 250, 6)
		if i%2 == 0 {
			w = leaning(w, 250)
		}
		f.Add(contextEncode(f, d, elements(d, w), Geometry{Cols: 250}), uint16(len(w)), uint8(d.Width()))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint16, width uint8) {
		if n > 0 {
			agreeContext(t, b, int(n)*int(max(1, width%5)))
		}
	})
}

func BenchmarkContext(b *testing.B) {
	const rows, cols = 512, 2048
	for name, w := range map[string][]float32{"signs=raw": model.Matrix(rows, cols, 1), "signs=coded": leaning(model.Matrix(rows, cols, 1), cols)} {
		for _, d := range []Dtype{BF16, F16, F32} {
			src := elements(d, w)
			payload := contextEncode(b, d, src, Geometry{Cols: cols})
			b.Run(fmt.Sprintf("Encode/dtype=%v/%s", d, name), func(b *testing.B) {
				b.SetBytes(int64(len(src)))
				e, out := NewEncoder(Max), []byte(nil)
				for b.Loop() {
					out = e.encodeContext(out[:0], d.layout(), src, Geometry{Cols: cols})
				}
			})
			for _, im := range kernel.Impls() {
				b.Run(fmt.Sprintf("Decode/dtype=%v/%s/impl=%s", d, name, im.Name), func(b *testing.B) {
					b.SetBytes(int64(len(src)))
					dec, dst := NewDecoder(nil), make([]byte, len(src))
					dec.impl = im
					for b.Loop() {
						if err := decodeContext(dec, dst, d.Width(), payload); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
