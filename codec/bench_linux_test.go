package codec

import "golang.org/x/sys/unix"

func init() {
	preferHugePages = func(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) } // without, it is only slower
}
