package oci

import "github.com/oras-bsm/oras-bsm/codec"

// geometry says how the elements of c, part of one tensor, lie in its rows. A row
// is what one index of the first dimension selects, at most: the last dimension,
// and of tensors whose last is short (kernels of convolutions), those before it.
func (c *cut) geometry() codec.Geometry {
	p := c.pieces[0]
	if p.tensor == nil || len(p.tensor.Shape) < 2 {
		return codec.Geometry{}
	}
	const short = 64
	cols := int64(1)
	for i := len(p.tensor.Shape) - 1; i > 0 && (cols < short || i == len(p.tensor.Shape)-1); i-- {
		cols *= max(p.tensor.Shape[i], 1)
		if cols > 1<<30 { // a shape may lie
			return codec.Geometry{}
		}
	}
	first := c.offset / int64(c.dtype.Width()) % cols
	return codec.Geometry{Cols: int(cols), First: int(first)}
}
