package oci

import "golang.org/x/sys/unix"

// preferHugePages asks for huge pages: without them a copy of large slices spends
// its time on address translation.
func preferHugePages(b []byte) {
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // without them it is only slower
}
