package codec

import (
	"fmt"
	"strings"

	"github.com/oras-bsm/oras-bsm/codec/internal/kernel"
)

// Implementations lists the implementations of the inner loops that this CPU
// runs, the fastest first, and "go" last: plain Go, which is always there. All
// read and write the same bytes; encoders and decoders use the first unless told
// otherwise.
func Implementations() (names []string) {
	for _, im := range kernel.Impls() {
		names = append(names, im.Name)
	}
	return names
}

// Use makes e use one of the Implementations: to measure or to compare them.
func (e *Encoder) Use(name string) (err error) {
	e.impl, err = implementation(name)
	return err
}

// Use makes d use one of the Implementations: to measure or to compare them.
func (d *Decoder) Use(name string) (err error) {
	d.impl, err = implementation(name)
	return err
}

func implementation(name string) (*kernel.Impl, error) {
	for _, im := range kernel.Impls() {
		if im.Name == name {
			return im, nil
		}
	}
	return kernel.Best(), fmt.Errorf("unknown implementation %q: this CPU has %s", name, strings.Join(Implementations(), ", "))
}

// Copy copies src to dst, of the same length, the way that is fastest for large
// slices which are not read soon: what decoding is measured against.
func Copy(dst, src []byte) { kernel.Best().Copy(dst, src) }
