//go:build race

package oci

// raceEnabled: the race detector makes the codec ten times slower, and adds to
// the heap.
const raceEnabled = true
