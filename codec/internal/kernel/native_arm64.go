//go:build !purego

package kernel

// native returns the implementations in assembly that this CPU runs. Every arm64
// CPU has NEON.
func native() []*Impl { return []*Impl{&neonImpl} }
