package mediatypes

import (
	// The two algorithms a digest may use; go-digest expects its caller to
	// link them.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// The check methods report what is wrong with one element, whatever its
// neighbours. The error's object is the member's JSON pointer from there.

func (l *Layer) check() *Error {
	if err := checkDigest(l.Digest); err != nil {
		return &Error{"/digest", -1, "invalid digest", err}
	}
	switch {
	case l.MediaType != BlockLayer && l.MediaType != FilesLayer:
		return wrong("/mediaType", "no layer type of a model: %q", printable(l.MediaType))
	case l.Encoded <= 0:
		return wrong("/encoded", "size %d", l.Encoded)
	case l.Decoded < 0:
		return wrong("/decoded", "size %d", l.Decoded)
	case l.Chunks < 0 || l.Chunks > MaxChunks:
		return wrong("/chunks", "%d chunks", l.Chunks)
	case int64(l.Chunks) > l.Decoded || l.Decoded > int64(l.Chunks)*MaxChunkDecoded:
		return wrong("/chunks", "%d chunks cannot hold %d decoded bytes", l.Chunks, l.Decoded)
	case !isHex(l.Prologue, 64):
		return wrong("/prologue", "not 64 lower-case hex digits")
	case (l.Stack == "") != (l.Block == nil):
		return wrong("/stack", "stack without block, or block without stack")
	case l.Block != nil && *l.Block < 0:
		return wrong("/block", "number %d", *l.Block)
	case l.Block != nil && l.MediaType != BlockLayer:
		return wrong("/block", "block in a layer of files")
	case len(l.Stack) > MaxName || !utf8.ValidString(l.Stack):
		return wrong("/stack", "not UTF-8 or longer than %d bytes", MaxName)
	}
	return nil
}

func (f *File) check() *Error {
	if err := checkPath(f.Path); err != nil {
		err.Object = "/path"
		return err
	}
	switch {
	case f.Size < 0:
		return wrong("/size", "size %d", f.Size)
	case f.Mode != 0o644 && f.Mode != 0o755:
		return wrong("/mode", "mode %#o is neither 0644 nor 0755", f.Mode)
	case !isHex(f.SHA256, 64):
		return wrong("/sha256", "not 64 lower-case hex digits")
	case f.Format != "" && f.Format != FormatSafetensors && f.Format != FormatGGUF:
		return wrong("/format", "unknown format %q", printable(f.Format))
	}
	return nil
}

func (t *Tensor) check() *Error {
	switch {
	case len(t.Name) > MaxName || !utf8.ValidString(t.Name):
		return wrong("/name", "not UTF-8 or longer than %d bytes", MaxName)
	case !isDtype(t.Dtype):
		return wrong("/dtype", "not a dtype: %q", printable(t.Dtype))
	case len(t.Shape) > MaxDims:
		return wrong("/shape", "more than %d dimensions", MaxDims)
	case t.File < 0:
		return wrong("/file", "file %d", t.File)
	case t.Offset < 0 || t.Length < 0 || t.Offset > math.MaxInt64-t.Length:
		return wrong("/offset", "range of %d bytes at %d", t.Length, t.Offset)
	case !isHex(t.MD5, 32):
		return wrong("/md5", "not 32 lower-case hex digits")
	case !isHex(t.SHA256, 64):
		return wrong("/sha256", "not 64 lower-case hex digits")
	case t.SharedWith != nil && *t.SharedWith < 0:
		return wrong("/sharedWith", "tensor %d", *t.SharedWith)
	case t.Base != nil:
		return wrong("/base", "is reserved")
	}
	_, err := t.elements()
	return err
}

// elements returns the product of the dimensions.
func (t *Tensor) elements() (uint64, *Error) {
	n := uint64(1)
	for i, d := range t.Shape {
		hi, lo := bits.Mul64(n, uint64(d))
		if d < 0 || hi != 0 || lo > math.MaxInt64 {
			return 0, wrong(fmt.Sprintf("/shape/%d", i), "dimension %d is negative or too large", d)
		}
		n = lo
	}
	return n, nil
}

// checkAcross reports what is wrong between the elements, each of which was
// checked by itself.
func (x *Index) checkAcross() *Error {
	if x.Level != "default" && x.Level != "max" {
		return wrong("/level", "unknown level %q", printable(x.Level))
	}
	if err := x.checkLayers(); err != nil {
		return err
	}
	if err := x.checkFiles(); err != nil {
		return err
	}
	return x.checkTensors()
}

// checkLayers bounds the totals and refuses one blob described in two ways.
func (x *Index) checkLayers() *Error {
	// The decoded sizes cannot overflow: their chunks are counted.
	var encoded int64
	chunks := 0
	first := make(map[digest.Digest]int, len(x.Layers))
	for i := range x.Layers {
		l := &x.Layers[i]
		if l.Encoded > math.MaxInt64-encoded {
			return wrong(fmt.Sprintf("/layers/%d", i), "total size overflows")
		}
		encoded += l.Encoded
		if chunks += l.Chunks; chunks > MaxChunks {
			return wrong(fmt.Sprintf("/layers/%d/chunks", i), "more than %d chunks in all", MaxChunks)
		}
		j, seen := first[l.Digest]
		if !seen {
			first[l.Digest] = i
		} else if o := &x.Layers[j]; o.Encoded != l.Encoded || o.Decoded != l.Decoded || o.Chunks != l.Chunks || o.MediaType != l.MediaType {
			return wrong(fmt.Sprintf("/layers/%d", i), "same digest as layer %d, but not the same type and sizes", j)
		}
	}
	return nil
}

// checkFiles checks the paths against each other and the segments against
// their layers and their file.
func (x *Index) checkFiles() *Error {
	var total int64
	paths := make([]string, len(x.Files))
	for i := range x.Files {
		f := &x.Files[i]
		paths[i] = f.Path
		if f.Size > math.MaxInt64-total {
			return wrong(fmt.Sprintf("/files/%d/size", i), "total size overflows")
		}
		total += f.Size
		left := f.Size
		for j, s := range f.Segments {
			if err := x.checkSegment(s, left); err != nil {
				err.Object = fmt.Sprintf("/files/%d/segments/%d", i, j)
				return err
			}
			left -= s.Length
		}
		if left != 0 {
			return wrong(fmt.Sprintf("/files/%d/segments", i), "%d bytes short of the file's %d", left, f.Size)
		}
	}
	if i, err := checkTwins(paths); err != nil {
		err.Object = fmt.Sprintf("/files/%d/path", i)
		return err
	}
	return nil
}

// checkSegment checks a segment of a file of which left bytes are wanted yet.
func (x *Index) checkSegment(s Segment, left int64) *Error {
	if s.Layer < 0 || s.Layer >= len(x.Layers) {
		return wrong("", "no layer %d", s.Layer)
	}
	size := x.Layers[s.Layer].Decoded
	switch {
	case s.Length <= 0 || s.Offset < 0 || s.Length > size-s.Offset:
		return wrong("", "range of %d bytes at %d is not in layer %d of %d decoded bytes", s.Length, s.Offset, s.Layer, size)
	case s.Length > left:
		return wrong("", "%d bytes, and the file lacks %d", s.Length, left)
	}
	return nil
}

// checkTensors checks that tensors are in order, apart and inside their files,
// and that shared ones are alike.
func (x *Index) checkTensors() *Error {
	file, end := -1, int64(0)
	names := make(map[string]struct{})
	for i := range x.Tensors {
		t := &x.Tensors[i]
		at := func(member, format string, args ...any) *Error {
			return wrong(fmt.Sprintf("/tensors/%d%s", i, member), format, args...)
		}
		switch {
		case t.File >= len(x.Files):
			return at("/file", "no file %d", t.File)
		case t.File < file:
			return at("/file", "not in order: file %d after %d", t.File, file)
		case t.File > file:
			file, end = t.File, 0
			clear(names)
		}
		f := &x.Files[file]
		switch {
		case f.Format == "":
			return at("/file", "file %d holds no tensors", file)
		case t.Offset < end:
			return at("/offset", "%d is before the end of the tensor before it, %d", t.Offset, end)
		case t.Offset+t.Length > f.Size:
			return at("/offset", "range of %d bytes at %d is not in its file of %d", t.Length, t.Offset, f.Size)
		}
		if err := t.checkLength(f.Format); err != nil {
			return at("/length", "%s", err.Reason)
		}
		end = t.Offset + t.Length
		if _, ok := names[t.Name]; ok {
			return at("/name", "second tensor of this name in its file")
		}
		names[t.Name] = struct{}{}
		if t.SharedWith == nil {
			continue
		}
		if *t.SharedWith >= i {
			return at("/sharedWith", "tensor %d is not an earlier one", *t.SharedWith)
		}
		o := &x.Tensors[*t.SharedWith]
		if o.SharedWith != nil || o.Length != t.Length || o.SHA256 != t.SHA256 || o.MD5 != t.MD5 {
			return at("/sharedWith", "tensor %d is shared itself, or differs in length or hash", *t.SharedWith)
		}
	}
	return nil
}

var errAlgorithm = errors.New("neither sha256 nor sha512")

// checkDigest accepts well-formed sha256 and sha512 digests.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return errAlgorithm
	}
	return nil
}

// isHex reports whether s is n lower-case hex digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isDtype reports whether s is spelled like a dtype of safetensors or a type of
// ggml: BF16, F8_E4M3, Q4_K. Which there are is for the parsers of those formats
// to know.
func isDtype(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && c != '_' {
			return false
		}
	}
	return true
}
