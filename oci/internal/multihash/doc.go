// Package multihash computes several hashes in the time of one, on one core.
//
// SHA-256 and MD5 are chains: each step waits for the step before it, and most of
// a core stands idle. The steps of another message fill that time. This package
// runs two SHA-256 side by side with the SHA instructions, and sixteen MD5 in the
// lanes of AVX-512. Where a CPU has neither, it gives the work to crypto/sha256
// and crypto/md5. The sums are the same everywhere.
//
// There are libraries for this. Those for Go hand the data to a server goroutine
// and keep hold of it there, and none runs two SHA-256 side by side.
package multihash
