//go:build linux

package trace

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// skip has the thread, at the begin of a system call, make none.
func skip(tid int) error {
	return change(tid, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) })
}

// setResult has a system call, at its end, return an error.
func setResult(tid int, e syscall.Errno) error {
	return change(tid, func(r *unix.PtraceRegs) { r.Rax = -uint64(e) })
}

func change(tid int, do func(*unix.PtraceRegs)) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	do(&r)
	return unix.PtraceSetRegs(tid, &r)
}
