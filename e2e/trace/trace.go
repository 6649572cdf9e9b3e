//go:build linux

// Package trace runs a program and decides about each of its system calls that
// changes files: tests kill it there, or have the call fail. Unlike strace, which
// counts in each thread of its own, it counts the calls of all threads as one
// sequence.
package trace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Call is a system call that changes files, which is about to be made.
type Call struct {
	Name string // as in section 2 of the manual
	Path string // the file that it is about
}

// Bytes reports whether the call writes bytes. There are many of these.
func (c Call) Bytes() bool {
	return strings.Contains(c.Name, "write") || c.Name == "copy_file_range"
}

// A Verdict is what becomes of a call.
type Verdict struct {
	Kill bool          // the process is killed, and the call is not made
	Err  syscall.Errno // the call is not made and returns this; 0: it is made
}

// Run starts cmd, asks at about every call, and waits for the end. Standard output
// and error of cmd must be files. At is called from one goroutine. An error says
// that the program could not be traced, and not that it failed: see the status.
func Run(cmd *exec.Cmd, at func(Call) Verdict) (syscall.WaitStatus, error) {
	type result struct {
		status syscall.WaitStatus
		err    error
	}
	done := make(chan result)
	go func() {
		// The kernel knows one thread as the tracer. It ends with the goroutine.
		runtime.LockOSThread()
		status, err := run(cmd, at)
		done <- result{status, err}
	}()
	r := <-done
	return r.status, r.err
}

func run(cmd *exec.Cmd, at func(Call) Verdict) (status syscall.WaitStatus, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// This thread may have forked children of others, too: a group tells them apart.
	cmd.SysProcAttr.Ptrace, cmd.SysProcAttr.Setpgid = true, true
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	t := &tracer{pid: cmd.Process.Pid, at: at, failing: map[int]syscall.Errno{}}
	defer func() { _ = cmd.Process.Release() }()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &ws, unix.WALL, nil); err != nil {
		return 0, fmt.Errorf("waiting for the program to start: %w", err)
	}
	const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return 0, fmt.Errorf("tracing: %w", err)
	}
	if err := unix.PtraceSyscall(t.pid, 0); err != nil {
		return 0, fmt.Errorf("tracing: %w", err)
	}
	return t.follow()
}

// tracer follows one process.
type tracer struct {
	pid     int
	at      func(Call) Verdict
	failing map[int]syscall.Errno // threads in a call that is to fail
}

// follow handles what happens to the threads until the last of them is gone.
func (t *tracer) follow() (status syscall.WaitStatus, err error) {
	for {
		var ws unix.WaitStatus
		tid, werr := unix.Wait4(-t.pid, &ws, unix.WALL, nil)
		switch {
		case errors.Is(werr, unix.EINTR):
			continue
		case errors.Is(werr, unix.ECHILD):
			return status, err
		case werr != nil:
			return status, errors.Join(err, werr)
		case !ws.Stopped():
			if tid == t.pid {
				status = syscall.WaitStatus(ws)
			}
			continue
		}
		if serr := t.stopped(tid, ws); serr != nil && !errors.Is(serr, unix.ESRCH) {
			// Killed threads are gone at any time; the rest is a fault.
			err = errors.Join(err, serr, unix.Kill(t.pid, unix.SIGKILL))
		}
	}
}

// stopped lets a thread go on.
func (t *tracer) stopped(tid int, ws unix.WaitStatus) error {
	sig := ws.StopSignal()
	switch sig {
	case unix.SIGTRAP | 0x80:
		if err := t.call(tid); err != nil {
			return err
		}
		sig = 0
	case unix.SIGTRAP, unix.SIGSTOP: // a new thread
		sig = 0
	}
	return unix.PtraceSyscall(tid, int(sig))
}

// info is struct ptrace_syscall_info: ptrace(2).
type info struct {
	op    uint8
	_     [3]uint8
	arch  uint32
	ip    uint64
	sp    uint64
	entry struct {
		nr   uint64
		args [6]uint64
	}
	_ [2]uint64
}

const opEntry = 1 // PTRACE_SYSCALL_INFO_ENTRY

// call handles the begin or the end of a system call.
func (t *tracer) call(tid int) error {
	var i info
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("asking for the system call: %w", errno)
	}
	if i.op != opEntry {
		if e := t.failing[tid]; e != 0 {
			delete(t.failing, tid)
			return setResult(tid, e)
		}
		return nil
	}
	c, ok := describe(tid, i.entry.nr, i.entry.args)
	if !ok {
		return nil
	}
	v := t.at(c)
	switch {
	case v.Kill:
		return unix.Kill(t.pid, unix.SIGKILL)
	case v.Err != 0:
		t.failing[tid] = v.Err
		return skip(tid)
	}
	return nil
}

// A form says which arguments of a call name its file.
type form struct {
	name string
	path bool // a directory's descriptor and a name follow; else a descriptor
	from int  // the first of these
}

var forms = map[uint64]form{
	unix.SYS_OPENAT:          {"openat", true, 0},
	unix.SYS_MKDIRAT:         {"mkdirat", true, 0},
	unix.SYS_UNLINKAT:        {"unlinkat", true, 0},
	unix.SYS_RENAMEAT:        {"renameat", true, 2},
	unix.SYS_RENAMEAT2:       {"renameat2", true, 2},
	unix.SYS_LINKAT:          {"linkat", true, 2},
	unix.SYS_SYMLINKAT:       {"symlinkat", true, 1},
	unix.SYS_FCHMODAT:        {"fchmodat", true, 0},
	unix.SYS_UTIMENSAT:       {"utimensat", true, 0},
	unix.SYS_FCHMOD:          {"fchmod", false, 0},
	unix.SYS_FTRUNCATE:       {"ftruncate", false, 0},
	unix.SYS_FALLOCATE:       {"fallocate", false, 0},
	unix.SYS_FSYNC:           {"fsync", false, 0},
	unix.SYS_FDATASYNC:       {"fdatasync", false, 0},
	unix.SYS_WRITE:           {"write", false, 0},
	unix.SYS_PWRITE64:        {"pwrite64", false, 0},
	unix.SYS_WRITEV:          {"writev", false, 0},
	unix.SYS_PWRITEV:         {"pwritev", false, 0},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", false, 2},
}

// describe returns the call, unless it changes no files.
func describe(tid int, nr uint64, args [6]uint64) (Call, bool) {
	f, ok := forms[nr]
	if !ok || nr == unix.SYS_OPENAT && args[2]&unix.O_CREAT == 0 {
		return Call{}, false
	}
	c := Call{Name: f.name}
	if fd := int32(args[f.from]); fd != unix.AT_FDCWD {
		c.Path, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, fd))
	}
	if f.path {
		c.Path = filepath.Join(c.Path, text(tid, uintptr(args[f.from+1])))
	}
	// A socket, a pipe or a terminal is no file.
	regular := f.path || strings.HasPrefix(c.Path, "/") && !strings.HasPrefix(c.Path, "/dev/pts") && c.Path != os.DevNull
	return c, regular
}

// text reads a string of the program's memory, of at most 4 KiB.
func text(tid int, addr uintptr) string {
	var s []byte
	var word [8]byte
	for len(s) < unix.PathMax {
		if _, err := unix.PtracePeekData(tid, addr+uintptr(len(s)), word[:]); err != nil {
			break
		}
		for _, b := range word {
			if b == 0 {
				return string(s)
			}
			s = append(s, b)
		}
	}
	return string(s)
}
