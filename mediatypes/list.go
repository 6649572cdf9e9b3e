package mediatypes

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// readList appends the elements of a JSON array, each read by read, to a list
// that may hold no more than most. The result is never nil.
func readList[T any](dec *jsontext.Decoder, list *[]T, most int, read func(*jsontext.Decoder, *T) error) error {
	open, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if open.Kind() != '[' {
		return here(dec, "is not an array")
	}
	if *list == nil {
		*list = []T{}
	}
	for dec.PeekKind() != ']' {
		if len(*list) == most {
			return here(dec, "is the last that is allowed, and is not the last")
		}
		*list = append(*list, *new(T))
		if err := read(dec, &(*list)[len(*list)-1]); err != nil {
			return err
		}
	}
	_, err = dec.ReadToken()
	return err
}

// readObject reads a JSON object and checks what can be checked without its
// neighbours.
func readObject[T any, P interface {
	*T
	check() *Error
}](dec *jsontext.Decoder, v *T) error {
	if err := json.UnmarshalDecode(dec, v); err != nil {
		return err
	}
	if err := P(v).check(); err != nil {
		err.Offset = dec.InputOffset()
		err.Object = string(dec.StackPointer()) + err.Object
		return err
	}
	return nil
}

// readFile is readObject for a file, which must say that it has no segments.
func readFile(dec *jsontext.Decoder, f *File) error {
	if err := readObject(dec, f); err != nil {
		return err
	}
	if f.Segments == nil {
		return here(dec, "has no segments member")
	}
	return nil
}

// readTensor is readObject for a tensor, which must say that it is a scalar.
func readTensor(dec *jsontext.Decoder, t *Tensor) error {
	if err := readObject(dec, t); err != nil {
		return err
	}
	if t.Shape == nil {
		return here(dec, "has no shape member")
	}
	return nil
}

// readInt reads a JSON integer.
func readInt(dec *jsontext.Decoder, n *int64) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if *n, err = strconv.ParseInt(string(v), 10, 64); err != nil {
		return here(dec, "is not an integer")
	}
	return nil
}

// readSegment reads [layer, offset, length].
func readSegment(dec *jsontext.Decoder, s *Segment) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() != '[' {
		return here(dec, "is not an array")
	}
	var layer int64
	rest, more := v[1:len(v)-1], true
	for _, n := range []*int64{&layer, &s.Offset, &s.Length} {
		var number []byte
		number, rest, more = bytes.Cut(rest, []byte{','})
		if *n, err = strconv.ParseInt(string(bytes.TrimSpace(number)), 10, 64); err != nil {
			return here(dec, "is not three integers")
		}
	}
	if more || layer < 0 || layer >= MaxLayers {
		return here(dec, "is not three integers, the first of them a layer")
	}
	s.Layer = int(layer)
	return nil
}

// here returns an Error about the value that dec read last.
func here(dec *jsontext.Decoder, reason string) error {
	return &Error{Object: string(dec.StackPointer()), Offset: dec.InputOffset(), Reason: reason}
}

// writeSegment is the inverse of readSegment.
func writeSegment(enc *jsontext.Encoder, s Segment) error {
	b := append(enc.AvailableBuffer(), '[')
	b = strconv.AppendInt(b, int64(s.Layer), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, s.Offset, 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, s.Length, 10)
	return enc.WriteValue(append(b, ']'))
}

// checkElements is what readObject does, for an index that was not read.
func (x *Index) checkElements() *Error {
	if len(x.Layers) >= MaxLayers || len(x.Files) > MaxFiles || len(x.Tensors) > MaxTensors {
		return wrong("", "%d layers, %d files, %d tensors: more than is allowed", len(x.Layers), len(x.Files), len(x.Tensors))
	}
	for i := range x.Layers {
		if err := x.Layers[i].check(); err != nil {
			err.Object = fmt.Sprintf("/layers/%d%s", i, err.Object)
			return err
		}
	}
	segments := 0
	for i := range x.Files {
		if err := x.Files[i].check(); err != nil {
			err.Object = fmt.Sprintf("/files/%d%s", i, err.Object)
			return err
		}
		segments += len(x.Files[i].Segments)
	}
	if segments > MaxSegments {
		return wrong("/files", "%d segments: more than is allowed", segments)
	}
	for i := range x.Tensors {
		if err := x.Tensors[i].check(); err != nil {
			err.Object = fmt.Sprintf("/tensors/%d%s", i, err.Object)
			return err
		}
	}
	return nil
}
