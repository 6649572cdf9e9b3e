package mediatypes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNewer is the cause of an Error about a document that is not damaged but of a
// version that this package does not know.
var ErrNewer = errors.New("made by a newer release")

// An Error says why a document was refused.
type Error struct {
	// Object names what is wrong: the kind of document ("manifest", "image
	// index", "config", "index document"), then, where there is one, the place
	// inside it as a JSON pointer: "index document /tensors/5/md5". Characters
	// that a terminal might obey are escaped.
	Object string
	// Offset is the byte of the document at which the fault was noticed, or -1.
	Offset int64
	// Reason says what is wrong with the object.
	Reason string
	// Err is the cause, or nil.
	Err error
}

func (e *Error) Error() string {
	s := e.Object + ": " + e.Reason
	if e.Offset >= 0 {
		s += " at byte " + strconv.FormatInt(e.Offset, 10)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// wrong returns an Error about an object, without an offset.
func wrong(object, format string, args ...any) *Error {
	return &Error{Object: object, Offset: -1, Reason: fmt.Sprintf(format, args...)}
}

// within puts the enclosing object's name in front of err's. It returns nil
// for nil.
func within(object string, err *Error) error {
	if err == nil {
		return nil
	}
	err.Object = strings.TrimSuffix(object+" "+err.Object, " ")
	return err
}

// jsonError turns what the JSON package reports about a document that starts
// at byte base of the object into an Error.
func jsonError(object string, base int64, err error) error {
	var (
		own *Error
		syn *jsontext.SyntacticError
		sem *json.SemanticError
	)
	switch {
	case errors.As(err, &own):
		if own.Offset >= 0 {
			own.Offset += base
		}
		return within(object, own)
	case errors.As(err, &syn):
		return &Error{member(object, syn.JSONPointer), base + syn.ByteOffset, "malformed JSON", syn.Err}
	case errors.As(err, &sem):
		reason := "unacceptable value"
		if sem.Err == nil {
			reason = "unexpected JSON " + sem.JSONKind.String()
		}
		return &Error{member(object, sem.JSONPointer), base + sem.ByteOffset, reason, sem.Err}
	}
	return &Error{object, -1, "malformed JSON", err}
}

// member names a place inside an object.
func member(object string, p jsontext.Pointer) string {
	if p == "" {
		return object
	}
	return object + " " + printable(string(p))
}

// printable returns s shortened and escaped, fit for a message on a terminal.
func printable(s string) string {
	const most = 160
	if len(s) > most {
		n := most
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "..."
	}
	q := strconv.QuoteToGraphic(s)
	return q[1 : len(q)-1]
}
