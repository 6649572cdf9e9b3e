package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// WriteHeader writes the header of a file that holds the tensors in the order
// given, and returns it as [Parse] would. The caller then writes the data of
// each tensor, in that order, with nothing between.
//
// Only Name, Dtype and Shape of a tensor are used; the places follow from them.
// Metadata may be nil. The same arguments give the same bytes, padded so that
// the data begin at a multiple of 8. Nothing is written where Parse would refuse
// the file; the error is then an [*Error].
func WriteHeader(w io.Writer, tensors []Tensor, metadata map[string]string) (*Header, error) {
	b := make([]byte, prefixSize, 1<<10)
	b = append(b, '{')
	var err error
	if metadata != nil {
		b = append(b, `"`+metadataKey+`":{`...)
		for _, key := range slices.Sorted(maps.Keys(metadata)) {
			if b, err = appendText(b, key, ':'); err == nil {
				b, err = appendText(b, metadata[key], ',')
			}
			if err != nil {
				return nil, &Error{Tensor: metadataKey, Reason: "invalid text", Err: err}
			}
		}
		b = append(trimComma(b), "},"...)
	}
	var end int64 // of the data so far
	for _, t := range tensors {
		n, err := byteLength(t.Dtype, t.Shape)
		if err != nil {
			return nil, &Error{Tensor: t.Name, Reason: err.Error()}
		}
		if end+n < end {
			return nil, &Error{Tensor: t.Name, Reason: "data end beyond 2^63-1"}
		}
		if b, err = appendText(b, t.Name, ':'); err != nil {
			return nil, &Error{Tensor: t.Name, Reason: "invalid name", Err: err}
		}
		b = fmt.Appendf(b, `{"dtype":%q,"shape":`, t.Dtype)
		b = appendArray(b, t.Shape)
		b = append(b, `,"data_offsets":`...)
		b = append(appendArray(b, []int64{end, end + n}), "},"...)
		end += n
	}
	b = append(trimComma(b), '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-prefixSize))

	// One judge of what is valid: the parser.
	h, err := Parse(bytes.NewReader(b), int64(len(b))+end)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(b)
	return h, err
}

// appendText appends s as a JSON string, and then sep.
func appendText(b []byte, s string, sep byte) ([]byte, error) {
	b, err := jsontext.AppendQuote(b, s)
	return append(b, sep), err
}

// appendArray appends n as a JSON array.
func appendArray(b []byte, n []int64) []byte {
	b = append(b, '[')
	for _, v := range n {
		b = append(strconv.AppendInt(b, v, 10), ',')
	}
	return append(trimComma(b), ']')
}

// trimComma drops the comma after the last element.
func trimComma(b []byte) []byte { return bytes.TrimSuffix(b, []byte(",")) }
