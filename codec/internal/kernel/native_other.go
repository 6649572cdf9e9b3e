//go:build purego || !(amd64 || arm64)

package kernel

// native returns the implementations in assembly that this CPU runs.
func native() []*Impl { return nil }
