package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci"
)

func TestExitCode(t *testing.T) {
	wrap := func(err error) error {
		return &oci.Error{Op: "reading", Object: "layer", Offset: -1, Err: fmt.Errorf("layer 3: %w", err)}
	}
	full := func(dir string) error {
		return wrap(&fs.PathError{Op: "write", Path: filepath.Join(dir, "oras-bsm-1"), Err: syscall.ENOSPC})
	}
	for _, c := range []struct {
		err  error
		want int
		hint string // a part of it
	}{
		{nil, exitOK, ""},
		{errors.New("any"), exitFailure, ""},
		{wrap(fs.ErrPermission), exitFailure, ""},
		{full("/tmp"), exitFailure, ""}, // a pull to /tmp
		{&pushError{"localhost:5000/org/model:v1", full("/tmp")}, exitFailure, "TMPDIR"},
		{&pushError{"oci:/tmp:v1", full("/tmp")}, exitFailure, "make room"},
		{&pushError{"oci:/tmp/model.oci:v1", full("/tmp/model.oci")}, exitFailure, "make room"},
		{&pushError{"oci-archive:/tmp/model.tar:v1", full("/tmp/.model.tar")}, exitFailure, "make room"},
		{&pushError{"localhost:5000/org/model:v1", wrap(fs.ErrPermission)}, exitFailure, ""},
		{&pushError{"oci:model:v1", wrap(mediatypes.ValidPath("a:b"))}, exitFailure, "rename"},
		{&pushError{"oci:model:v1", wrap(mediatypes.CheckPaths([]string{"README.md", "readme.md"}))}, exitFailure, "rename"},
		{&pushError{"oci:model:v1", wrap(oci.ErrCorrupt)}, exitCorrupt, "damaged"},
		{&usageError{err: errors.New("no such flag")}, exitUsage, "oras-bsm push --help"},
		{&usageError{err: oci.ErrCorrupt, hint: "look"}, exitUsage, "look"},
		{wrap(oci.ErrNotModel), exitNotModel, "oras pull"},
		{wrap(fmt.Errorf("%w: it is %q", oci.ErrNotModel, "application/vnd.cncf.model.manifest.v1+json")), exitNotModel, "modctl pull"},
		{wrap(oci.ErrNotFound), exitRegistry, "latest"},
		{wrap(oci.ErrUnauthorized), exitRegistry, "oras-bsm login HOST"},
		{wrap(fmt.Errorf("%w: run oras-bsm login ghcr.io", oci.ErrUnauthorized)), exitRegistry, ""},
		{wrap(oci.ErrRegistry), exitRegistry, ""},
		{wrap(oci.ErrCorrupt), exitCorrupt, "damaged"},
		{wrap(fmt.Errorf("%w: %w", oci.ErrCorrupt, &codec.CorruptError{Offset: 3, Reason: "bad hash"})), exitCorrupt, "damaged"},
		{wrap(&codec.CorruptError{Offset: 3, Reason: "bad hash"}), exitFailure, ""},
		{wrap(&mediatypes.Error{Object: "manifest", Offset: -1, Reason: "no layers"}), exitFailure, ""},
		{wrap(codec.ErrUnsupported), exitUnsupported, "update"},
		{wrap(fmt.Errorf("%w: %w", oci.ErrCorrupt, codec.ErrUnsupported)), exitUnsupported, "update"},
		{wrap(context.Canceled), exitInterrupted, ""},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exitCode(%v) = %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := hint(c.err, "oras-bsm push"); !strings.Contains(got, c.hint) || (c.hint == "") != (got == "") {
			t.Errorf("hint(%v) = %q, want %q in it", c.err, got, c.hint)
		}
	}
}

// TestFinish covers what an error becomes on its way out.
func TestFinish(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		started bool
		err     error
		stdout  error
		want    int
	}{
		{"fine", t.Context(), true, nil, nil, exitOK},
		{"done in spite of a signal", interrupted, true, nil, nil, exitOK},
		{"broken by a signal", interrupted, true, oci.ErrRegistry, nil, exitInterrupted},
		{"not understood", t.Context(), false, errors.New("unknown flag"), nil, exitUsage},
		{"failed", t.Context(), true, errors.New("no luck"), nil, exitFailure},
		{"full", t.Context(), true, nil, syscall.ENOSPC, exitFailure},
		{"closed", t.Context(), true, nil, syscall.EPIPE, exitOK},
		{"failed and closed", t.Context(), true, oci.ErrCorrupt, syscall.EPIPE, exitCorrupt},
	} {
		a := &app{started: c.started, stderr: io.Discard, stdout: &output{err: c.stdout}}
		if got := a.finish(c.ctx, &cobra.Command{Use: "oras-bsm"}, c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

// TestExitCodesAreDocumented compares the help with the codes that there are.
func TestExitCodesAreDocumented(t *testing.T) {
	for _, code := range []int{exitOK, exitFailure, exitUsage, exitNotModel, exitRegistry, exitCorrupt, exitUnsupported, exitInterrupted} {
		if !strings.Contains(exitCodesHelp, fmt.Sprintf("\n%5d  ", code)) {
			t.Errorf("exit code %d is not in the help", code)
		}
	}
}
