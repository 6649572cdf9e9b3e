//go:build linux && !amd64

package trace

import (
	"errors"
	"syscall"
)

// Calls can be made to fail on amd64 alone: elsewhere the registers are others.

func skip(int) error { return errors.ErrUnsupported }

func setResult(int, syscall.Errno) error { return errors.ErrUnsupported }
