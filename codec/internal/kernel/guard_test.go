package kernel

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena hands out memory that touches a page which nobody may touch: an
// access beyond it is a fault and not luck.
type arena struct {
	all []byte // a guard page, pages, a guard page
}

var page = os.Getpagesize()

func newArena(t testing.TB, size int) *arena {
	t.Helper()
	n := (size + page - 1) / page * page
	all, err := unix.Mmap(-1, 0, n+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for _, guard := range [][]byte{all[:page], all[len(all)-page:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = unix.Munmap(all) })
	return &arena{all}
}

// end returns n bytes that end at a guard page, filled with c.
func (a *arena) end(n int, c byte) []byte {
	return fill(a.all[len(a.all)-page-n:len(a.all)-page:len(a.all)-page], c)
}

// start returns n bytes that begin at a guard page, filled with c.
func (a *arena) start(n int, c byte) []byte { return fill(a.all[page:page+n:page+n], c) }

func fill(b []byte, c byte) []byte {
	for i := range b {
		b[i] = c
	}
	return b
}

// words returns b as 16-bit words; len(b) is even.
func words(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// slow asks for the tests that take minutes.
var slow = os.Getenv("BSM_SLOW") != ""
