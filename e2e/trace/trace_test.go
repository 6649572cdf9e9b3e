//go:build linux

package trace

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// script runs a shell script in a directory of its own.
func script(t *testing.T, dir, text string, at func(Call) Verdict) (syscall.WaitStatus, string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	status, err := Run(cmd, at)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
		t.Skipf("tracing is not allowed here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(said)
}

// TestCalls proves that the calls are those of the program, in order, and that
// one which is the last is not made. The redirections are the shell's own calls.
func TestCalls(t *testing.T) {
	dir := t.TempDir()
	const text = "echo one >a; echo two >b; echo end"
	var all []string
	status, said := script(t, dir, text, func(c Call) Verdict {
		all = append(all, c.Name+" "+filepath.Base(c.Path))
		return Verdict{}
	})
	want := "openat a, write a, openat b, write b, write out"
	if got := strings.Join(all, ", "); got != want || !status.Exited() || said != "end\n" {
		t.Errorf("calls %s, want %s; %v, %q", got, want, status, said)
	}
	for k := range len(all) {
		dir := t.TempDir()
		n := 0
		status, said := script(t, dir, text, func(Call) Verdict {
			n++
			return Verdict{Kill: n == k+1}
		})
		if !status.Signaled() || status.Signal() != syscall.SIGKILL || said != "" {
			t.Errorf("killed at call %d: %v, %q", k+1, status, said)
		}
		for i, name := range []string{"a", "b"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			made, full := k > 2*i, k > 2*i+1
			if (err == nil) != made || (len(b) > 0) != full {
				t.Errorf("killed at call %d: file %s holds %q, %v", k+1, name, b, err)
			}
		}
	}
}

// TestErrors proves that a call fails as it is told, and has done nothing.
func TestErrors(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("calls fail on amd64 alone")
	}
	dir := t.TempDir()
	status, said := script(t, dir, "echo one >a; echo $?", func(c Call) Verdict {
		if c.Name == "openat" {
			return Verdict{Err: syscall.ENOSPC}
		}
		return Verdict{}
	})
	if !status.Exited() || !strings.Contains(strings.ToLower(said), "no space left") || !strings.HasSuffix(said, "2\n") {
		t.Errorf("%v, %q", status, said)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
}

// TestStart proves that a program that does not exist is an error.
func TestStart(t *testing.T) {
	if _, err := Run(exec.Command("/no/such/program"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run returned %v", err)
	}
}
