package oci

import (
	"maps"
	"slices"

	"github.com/oras-bsm/oras-bsm/codec"
)

// A sample is chunks of one dtype from all over a model.
type sample struct {
	dtype     codec.Dtype
	stretches []stretch
	length    int64 // in bytes
	chunks    int
}

// A stretch is chunks that are taken together: one of a large tensor, or those of
// the small tensors of a group, since their tables depend on all of them. (Small
// tensors of other dtypes have tables of their own.)
type stretch struct {
	cuts   []cut
	length int64
}

// takeSamples takes a sample of at most most bytes of every dtype in groups, in
// the order of dtypes.
func takeSamples(groups []*group, most int64) (samples []*sample) {
	all := map[codec.Dtype][]stretch{}
	for _, g := range groups {
		small := map[codec.Dtype]int{} // the stretch of small tensors
		for _, c := range g.cuts() {
			list := all[c.dtype]
			i, ok := small[c.dtype]
			if !ok || !c.shared {
				i = len(list)
				list = append(list, stretch{})
			}
			if c.shared {
				small[c.dtype] = i
			}
			list[i].cuts = append(list[i].cuts, c)
			list[i].length += c.length
			all[c.dtype] = list
		}
	}
	for _, d := range slices.Sorted(maps.Keys(all)) {
		samples = append(samples, takeSample(d, all[d], most))
	}
	return samples
}

// takeSample takes stretches evenly from list until most bytes are taken.
func takeSample(d codec.Dtype, list []stretch, most int64) *sample {
	s := &sample{dtype: d}
	var total int64
	for _, t := range list {
		total += t.length
	}
	share := min(1, float64(most)/float64(total))
	due := 0.0 // bytes that should be taken by now
	for _, t := range list {
		due += share * float64(t.length)
		if half := float64(min(t.length, most)) / 2; float64(s.length)+half <= due {
			s.take(t, most)
		}
	}
	return s
}

// take takes t, or of a longer one the chunks that there is room for.
func (s *sample) take(t stretch, most int64) {
	n := 0
	for ; n < len(t.cuts) && s.length+t.cuts[n].length <= most; n++ {
		s.length += t.cuts[n].length
	}
	if n > 0 {
		s.stretches = append(s.stretches, stretch{cuts: t.cuts[:n]})
		s.chunks += n
	}
}
