package safetensors

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteHeader(t *testing.T) {
	tests := []struct {
		name    string
		tensors []Tensor
		meta    map[string]string
		data    int
	}{
		{"nothing", nil, nil, 0},
		{"metadata", nil, map[string]string{"b": "2", "a": "\"\n\u2028<é"}, 0},
		{"empty metadata", nil, map[string]string{}, 0},
		{"tensors", []Tensor{
			{Name: "b\"\\\x01", Dtype: "F32", Shape: []int64{3}},
			{Name: "a", Dtype: "F4", Shape: []int64{2, 1}},
			{Name: "", Dtype: "BF16", Shape: []int64{}},
		}, map[string]string{"format": "pt"}, 12 + 1 + 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var buf, again bytes.Buffer
			wrote, err := WriteHeader(&buf, tt.tensors, tt.meta)
			if err != nil {
				t.Fatal(err)
			}
			if buf.Len()%8 != 0 || int64(buf.Len()) != wrote.Size {
				t.Errorf("%d bytes written, header of %d", buf.Len(), wrote.Size)
			}
			size := int64(buf.Len() + tt.data)
			read, err := Parse(bytes.NewReader(append(buf.Bytes(), make([]byte, tt.data)...)), size)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(wrote, read); d != "" {
				t.Errorf("-wrote +read:\n%s", d)
			}
			checkTiles(t, read, size)
			for i, want := range tt.tensors {
				got := read.Tensors[i]
				got.Offset, got.Length = 0, 0
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
			}
			if d := cmp.Diff(tt.meta, read.Metadata); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if _, err := WriteHeader(&again, read.Tensors, read.Metadata); err != nil || !bytes.Equal(buf.Bytes(), again.Bytes()) {
				t.Errorf("written again: %v\n%q\n%q", err, buf.Bytes(), again.Bytes())
			}
		})
	}
}

func TestWriteHeaderRefuses(t *testing.T) {
	a := Tensor{Name: "a", Dtype: "U8", Shape: []int64{1}}
	tests := []struct {
		name    string
		tensors []Tensor
		meta    map[string]string
	}{
		{"duplicate", []Tensor{a, a}, nil},
		{"dtype", []Tensor{{Name: "a", Dtype: "FP8"}}, nil},
		{"negative", []Tensor{{Name: "a", Dtype: "U8", Shape: []int64{0, -1}}}, nil},
		{"negative pair", []Tensor{{Name: "a", Dtype: "U8", Shape: []int64{-1, 0}}}, nil},
		{"bits", []Tensor{{Name: "a", Dtype: "F4", Shape: []int64{1}}}, nil},
		{"overflow", []Tensor{{Name: "a", Dtype: "U8", Shape: []int64{math.MaxInt64, 3}}}, nil},
		{"name", []Tensor{{Name: "\xff", Dtype: "U8", Shape: []int64{1}}}, nil},
		{"reserved name", []Tensor{{Name: "__metadata__", Dtype: "U8", Shape: []int64{1}}}, nil},
		{"metadata", nil, map[string]string{"a": "\xff"}},
		{"metadata key", nil, map[string]string{"\xff": "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var buf bytes.Buffer
			_, err := WriteHeader(&buf, tt.tensors, tt.meta)
			if _, isRefusal := errors.AsType[*Error](err); !isRefusal || buf.Len() != 0 {
				t.Errorf("%v, %d bytes written, want an *Error and none", err, buf.Len())
			}
		})
	}
	pr, pw := io.Pipe()
	pr.Close()
	if _, err := WriteHeader(pw, nil, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("to a closed pipe: %v", err)
	}
}
