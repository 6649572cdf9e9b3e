package oci

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Kinds of failure. Every error of this package that has one of these causes
// satisfies errors.Is with it; an error that satisfies none comes from the
// local machine (a full disk, a missing permission) or from the context.
var (
	// ErrNotFound says that the tag, manifest or blob is not in the store.
	ErrNotFound = errors.New("not found")
	// ErrNotModel says that what was found is not a model of ours.
	ErrNotModel = errors.New("not a model artifact")
	// ErrCorrupt says that bytes do not match the digest or size that names
	// them, or that a document breaks its format.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnauthorized says that the registry wants other credentials.
	ErrUnauthorized = errors.New("not authorized")
	// ErrRegistry says that the network or the registry is at fault and that
	// trying again later may help.
	ErrRegistry = errors.New("registry fault")
)

// Error names the object that an operation failed on.
type Error struct {
	Op     string // what was being done: "reading blob", "publishing"
	Object string // reference, digest or path
	Offset int64  // byte in the object where it failed; -1: none
	Err    error
}

func (e *Error) Error() string {
	s := e.Op + " " + e.Object
	if e.Offset >= 0 {
		s += " at byte " + strconv.FormatInt(e.Offset, 10)
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// fail wraps err in an Error without an offset. A nil err stays nil, and an
// err that is an Error already keeps its own, narrower names.
func fail(op, object string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op, Object: object, Offset: -1, Err: err}
}

// refusal marks err as ErrCorrupt if it says that a document or a layer was
// refused. What needs a newer release is not damaged.
func refusal(err error) error {
	_, document := errors.AsType[*mediatypes.Error](err)
	_, layer := errors.AsType[*codec.CorruptError](err)
	if !document && !layer || errors.Is(err, ErrCorrupt) || errors.Is(err, codec.ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
