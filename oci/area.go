package oci

import "golang.org/x/sys/unix"

// newArea returns size bytes of memory outside the heap, all of it present, in
// huge pages where the system has them. freeArea gives them back.
func newArea(size int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	preferHugePages(b)
	clear(b)
	return b, nil
}

// freeArea frees what newArea returned, or nothing of a nil slice.
func freeArea(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // it cannot fail: the slice is what Mmap gave
	}
}
