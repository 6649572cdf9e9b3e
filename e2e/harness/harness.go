// Package harness is what the end-to-end tests and the demonstration share: it
// builds the programs of this module, runs and measures them, and compares
// directories. It needs a Go toolchain, and Linux to measure.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tool and Genmodel are the import paths of this module's programs.
const (
	Tool     = "github.com/oras-bsm/oras-bsm/cmd/oras-bsm"
	Genmodel = "github.com/oras-bsm/oras-bsm/e2e/genmodel"
)

// Build compiles programs, given by their import paths, into directory dir. The
// working directory must be inside the module.
func Build(ctx context.Context, dir string, programs ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir + "/"}, programs...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", strings.Join(programs, " "), err, out)
	}
	return nil
}

// Result is how a program ended and what it used.
type Result struct {
	Stdout string
	Stderr string
	Code   int           // the exit code; -1 if a signal ended it
	Took   time.Duration // wall clock
	CPU    time.Duration // of all its threads, in user and in system mode

	// Peak is the most memory that was resident, in bytes. Linux counts in what
	// the starting process had, so it is never less than this process's own
	// peak; AtMost says that it is no more than that, and so only a bound.
	Peak   int64
	AtMost bool
}

// Run runs cmd to its end. A program that failed is no error: see Result.Code.
// Standard output and error are kept unless cmd sends them elsewhere.
func Run(cmd *exec.Cmd) (*Result, error) {
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	own := ownPeak()
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return nil, fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	r := &Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode(), Took: took}
	r.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.Peak = usage.Maxrss << 10
		r.AtMost = r.Peak <= own
	}
	return r, nil
}

// ownPeak returns the most memory that was resident in this process, in bytes,
// or 0 where the system does not tell.
func ownPeak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return kib << 10
}
