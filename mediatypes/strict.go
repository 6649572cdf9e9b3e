package mediatypes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// checkMembers reads one JSON document and compares its shape with the struct
// that v points to, before anything is unmarshalled. It refuses a member whose
// name differs from a known one only by case, because readers disagree on what
// such a document says; the forbidden members, in any case; arrays of more
// than MaxLayers elements and maps of more than MaxAnnotations, so that a
// document cannot grow by being unmarshalled. Members it does not know are
// skipped.
func checkMembers(raw []byte, v any, forbidden []string) error {
	w := &walker{
		dec:   jsontext.NewDecoder(bytes.NewBuffer(raw)),
		known: map[reflect.Type]map[string]reflect.Type{},
	}
	if err := w.value(reflect.TypeOf(v), forbidden); err != nil {
		return err
	}
	if _, err := w.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return w.wrong("more than one JSON value")
	}
	return nil
}

// A walker reads a JSON document beside the type it is to be unmarshalled to.
type walker struct {
	dec   *jsontext.Decoder
	known map[reflect.Type]map[string]reflect.Type // the members of each struct met
}

func (w *walker) wrong(format string, args ...any) error {
	return &Error{
		Object: printable(string(w.dec.StackPointer())),
		Offset: w.dec.InputOffset(),
		Reason: fmt.Sprintf(format, args...),
	}
}

// value reads the next value, which is to become a t. Where the two do not
// fit, it skips: that is for the unmarshaller to report.
func (w *walker) value(t reflect.Type, forbidden []string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	kind := w.dec.PeekKind()
	switch {
	case kind == '{' && t.Kind() == reflect.Struct:
		return w.object(t, forbidden)
	case kind == '{' && t.Kind() == reflect.Map:
		return w.list(MaxAnnotations, func() error {
			if err := w.dec.SkipValue(); err != nil {
				return err
			}
			return w.value(t.Elem(), nil)
		})
	case kind == '[' && t.Kind() == reflect.Slice:
		return w.list(MaxLayers, func() error { return w.value(t.Elem(), nil) })
	}
	return w.dec.SkipValue()
}

// list reads an array or an object of at most most elements.
func (w *walker) list(most int, element func() error) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	for n := 0; w.dec.PeekKind() != ']' && w.dec.PeekKind() != '}'; n++ {
		if n == most {
			return w.wrong("is more than the %d allowed", most)
		}
		if err := element(); err != nil {
			return err
		}
	}
	_, err := w.dec.ReadToken()
	return err
}

// object reads an object that is to become a struct.
func (w *walker) object(t reflect.Type, forbidden []string) error {
	known := w.members(t)
	return w.list(int(^uint(0)>>1), func() error {
		token, err := w.dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		for _, k := range forbidden {
			if strings.EqualFold(k, name) {
				return w.wrong("belongs to another kind of document")
			}
		}
		if member, ok := known[name]; ok {
			return w.value(member, nil)
		}
		for k := range known {
			if strings.EqualFold(k, name) {
				return w.wrong("differs only by case from %q", k)
			}
		}
		return w.dec.SkipValue()
	})
}

// members returns the JSON names of a struct's fields with their types.
func (w *walker) members(t reflect.Type) map[string]reflect.Type {
	if m, ok := w.known[t]; ok {
		return m
	}
	m := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			m[name] = f.Type
		}
	}
	w.known[t] = m
	return m
}
