package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci"
)

// The exit codes. They are a contract with scripts: exitCodesHelp.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotModel    = 3
	exitRegistry    = 4
	exitCorrupt     = 5
	exitUnsupported = 6
	exitInterrupted = 130 // as of a shell whose child SIGINT ended
)

// usageError is a command line that makes no sense. Without a hint of its own
// it points to the command's help.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// finish reports how cmd ended and returns the exit code.
func (a *app) finish(ctx context.Context, cmd *cobra.Command, err error) int {
	switch {
	case err != nil && ctx.Err() != nil:
		// Whatever broke, broke because of the signal.
		err = context.Canceled
	case err != nil && !a.started:
		if _, ok := errors.AsType[*usageError](err); !ok {
			err = &usageError{err: err}
		}
	case err == nil:
		err = a.stdout.failure()
	}
	if err != nil {
		a.complain(cmd, err)
	}
	return exitCode(err)
}

// complain writes the error, and a hint where there is one.
func (a *app) complain(cmd *cobra.Command, err error) {
	msg, h := "interrupted", hint(err, cmd.CommandPath())
	if !errors.Is(err, context.Canceled) {
		msg = err.Error()
	}
	if a.json {
		emit(a.stderr, event{Event: "error", Message: msg, Code: exitCode(err), Hint: h})
		return
	}
	_, _ = fmt.Fprintln(a.stderr, "oras-bsm: "+escape(msg))
	if h != "" {
		_, _ = fmt.Fprintln(a.stderr, "hint: "+h)
	}
}

// warn writes what a user should know to w, which is standard error or draws on
// it.
func (a *app) warn(w io.Writer, msg string) {
	if a.json {
		emit(w, event{Event: "warning", Message: msg})
		return
	}
	_, _ = fmt.Fprintln(w, "warning: "+escape(msg))
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case isA[*usageError](err):
		return exitUsage
	case errors.Is(err, codec.ErrUnsupported):
		return exitUnsupported
	case errors.Is(err, oci.ErrNotModel):
		return exitNotModel
	case errors.Is(err, oci.ErrCorrupt):
		return exitCorrupt
	case errors.Is(err, oci.ErrNotFound), errors.Is(err, oci.ErrUnauthorized), errors.Is(err, oci.ErrRegistry):
		return exitRegistry
	}
	return exitFailure
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// hint says what to do about err, or nothing where err itself does, as the
// errors of registries do.
func hint(err error, command string) string {
	if u, ok := errors.AsType[*usageError](err); ok {
		if u.hint != "" {
			return u.hint
		}
		return command + " --help"
	}
	switch exitCode(err) {
	case exitUnsupported:
		return "update oras-bsm: this is " + buildVersion().Version + ", with layer format " + fmt.Sprint(codec.Version)
	case exitNotModel:
		return "this program reads what oras-bsm push stored; for this, use " + reader(err.Error())
	case exitCorrupt:
		return "the stored copy or the way to it is damaged: try again, then another copy, then push anew"
	}
	switch {
	case strings.Contains(err.Error(), "oras-bsm "), strings.Contains(err.Error(), "--plain-http"):
		return ""
	case errors.Is(err, oci.ErrUnauthorized):
		return "oras-bsm login HOST"
	case errors.Is(err, oci.ErrNotFound):
		return "check the path or repository, and the tag: without one it is latest"
	}
	if p, ok := errors.AsType[*pushError](err); ok {
		return p.hint()
	}
	return ""
}

// readers are the programs for what is no model of ours, by a part of its media
// type.
var readers = []struct{ part, program string }{
	{"vnd.cncf.model.", "modctl pull"},
	{"vnd.kitops.", "kit unpack"},
	{"vnd.docker.ai.", "docker model pull"},
	{"vnd.ollama.", "ollama pull"},
	{"vnd.cncf.helm.", "helm pull"},
	{"container image", "docker pull"},
	{"vnd.docker.distribution.", "docker pull"},
}

// reader returns the program for what message says was found.
func reader(message string) string {
	for _, r := range readers {
		if strings.Contains(message, r.part) {
			return r.program
		}
	}
	return "oras pull"
}

// pushError is the failure of a push to ref. It is a type of its own because
// what to do about the same error differs from one verb and store to another.
type pushError struct {
	ref string // canonical
	err error
}

func (e *pushError) Error() string { return e.err.Error() }
func (e *pushError) Unwrap() error { return e.err }

func (e *pushError) hint() string {
	if bad, ok := errors.AsType[*mediatypes.Error](e.err); ok && strings.HasPrefix(bad.Object, "path ") {
		return "rename the file: every file system must be able to hold a model"
	}
	// Of what is written for a registry, only the spool is on a disk of ours.
	local := strings.HasPrefix(e.ref, "oci:") || strings.HasPrefix(e.ref, "oci-archive:")
	switch {
	case !errors.Is(e.err, syscall.ENOSPC):
	case local:
		return "make room for the encoded model, two thirds of its size for BF16 and more for other dtypes, or name a larger disk"
	default:
		return "a push to a registry keeps the layers in flight in TMPDIR: let it name a larger disk"
	}
	return ""
}
