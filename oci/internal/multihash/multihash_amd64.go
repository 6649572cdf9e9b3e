//go:build amd64 && !purego

package multihash

import "github.com/klauspost/cpuid/v2"

var (
	hasSHA256x2 = cpuid.CPU.Supports(cpuid.SHA, cpuid.AVX)
	hasMD5x16   = cpuid.CPU.Supports(cpuid.AVX512F)
)

// sha256x2 hashes blocks of p into a and as many of q into b.
//
//go:noescape
func sha256x2(a, b *[8]uint32, p, q *byte, blocks int)

// md5x16 hashes blocks of each message.
//
//go:noescape
func md5x16(state *[4][Lanes]uint32, msgs *[Lanes]*byte, blocks int)
