//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// native returns the implementations in assembly that this CPU runs.
func native() (list []*Impl) {
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512VBMI && x.HasAVX512VBMI2 && x.HasBMI1 && x.HasBMI2 && x.HasPOPCNT {
		list = append(list, &avx512Impl)
	}
	if x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasPOPCNT {
		list = append(list, &avx2Impl)
	}
	return list
}
