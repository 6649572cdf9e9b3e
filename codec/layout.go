package codec

import "github.com/oras-bsm/oras-bsm/codec/internal/kernel"

// layoutID names a way to cut elements in symbol and rest. The values are wire
// values: FORMAT.md, "Layouts". A layout is a property of a payload: the dtype
// only says which ones the encoder tries.
type layoutID uint8

const (
	_ layoutID = iota // none
	layoutBF16
	layoutF16
	layoutF32
	layoutE4M3
	layoutE5M2
	layoutByte
	layoutNibble
	layouts
)

var layoutTable = [layouts]kernel.Layout{
	layoutBF16:   kernel.BF16,
	layoutF16:    kernel.F16,
	layoutF32:    kernel.F32,
	layoutE4M3:   kernel.E4M3,
	layoutE5M2:   kernel.E5M2,
	layoutByte:   kernel.Byte,
	layoutNibble: kernel.Nibble,
}

// kernel returns the layout with this id; ok says whether there is one.
func (id layoutID) kernel() (f kernel.Layout, ok bool) {
	if id == 0 || id >= layouts {
		return f, false
	}
	return layoutTable[id], true
}

// fits reports whether size bytes are whole elements of the layout.
func (id layoutID) fits(size int) bool { return size*8%int(layoutTable[id].Bits()) == 0 }

// Geometry says how the elements of a chunk lie in their tensor: rows and columns
// often differ in scale. The zero value says nothing. It changes how well a
// chunk is encoded, and nothing else.
type Geometry struct {
	Cols  int // elements of a row: the size of the tensor's last dimension, or of the last few
	First int // index in its row of the chunk's first element
}
