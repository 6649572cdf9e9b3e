package codec

import (
	"errors"
	"fmt"
)

// ErrUnsupported reports a layer that is not damaged but needs a newer release
// or a base that is not at hand. Errors wrap it with the reason.
var ErrUnsupported = errors.New("unsupported")

// CorruptError reports bytes that are not a valid layer.
type CorruptError struct {
	Offset int64  // bytes from the start of the layer, or of the chunk for a lone chunk
	Reason string // what is wrong
	Err    error  // the cause, if there is one
}

func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("corrupt layer at offset %d: %s: %v", e.Offset, e.Reason, e.Err)
	}
	return fmt.Sprintf("corrupt layer at offset %d: %s", e.Offset, e.Reason)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

func corrupt(offset int64, format string, args ...any) error {
	return &CorruptError{Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// at moves the offset of a CorruptError that counts from the start of a chunk
// to one that counts from the start of the layer.
func at(offset int64, err error) error {
	var c *CorruptError
	if errors.As(err, &c) {
		moved := *c
		moved.Offset += offset
		return &moved
	}
	return err
}
