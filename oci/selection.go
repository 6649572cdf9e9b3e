package oci

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A Selection is the part of a model that is wanted. The zero value is all of it.
//
// Files that a pattern of Files matches are wanted whole. Of other safetensors
// files those tensors are wanted that match both Tensors and Blocks, where these are
// set; the file is then cut down to them, with a header of its own. Patterns are
// those of [path.Match].
type Selection struct {
	Files   []string     // of the path; without a slash, of the last element of any path
	Tensors []string     // of the tensor's name, in which * also matches a slash
	Blocks  []BlockRange // of transformer blocks
}

// A BlockRange is the blocks First to Last of every stack.
type BlockRange struct{ First, Last int }

// ParseBlocks reads ranges such as "0-3,7".
func ParseBlocks(s string) ([]BlockRange, error) {
	var list []BlockRange
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(first, 10, 20)
		b := a
		if err == nil && isRange {
			b, err = strconv.ParseUint(last, 10, 20)
		}
		if err != nil || b < a {
			return nil, fmt.Errorf("%q is not a block or a range of blocks such as 0-3", part)
		}
		list = append(list, BlockRange{int(a), int(b)})
	}
	return list, nil
}

// String gives the selection one spelling, "" for all.
func (s *Selection) String() string {
	if s.all() {
		return ""
	}
	return fmt.Sprintf("%q %q %v", s.Files, s.Tensors, s.Blocks)
}

func (s *Selection) all() bool { return len(s.Files)+len(s.Tensors)+len(s.Blocks) == 0 }

// check refuses patterns that match nothing by their form.
func (s *Selection) check() error {
	for _, p := range append(append([]string{}, s.Files...), s.Tensors...) {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("%q is not a pattern: %w", p, err)
		}
	}
	return nil
}

// file reports whether the file name is wanted whole.
func (s *Selection) file(name string) bool {
	for _, p := range s.Files {
		if strings.Contains(p, "/") && match(p, name) || match(p, path.Base(name)) {
			return true
		}
	}
	return s.all()
}

// tensor reports whether the tensor name is wanted.
func (s *Selection) tensor(name string) bool {
	if len(s.Tensors)+len(s.Blocks) == 0 {
		return false
	}
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	named := len(s.Tensors) == 0
	for _, p := range s.Tensors {
		named = named || match(flat(p), flat(name))
	}
	if len(s.Blocks) == 0 || !named {
		return named
	}
	b, ok := blockOf(name)
	for _, r := range s.Blocks {
		if ok && r.First <= b.number && b.number <= r.Last {
			return true
		}
	}
	return false
}

// match is path.Match with a pattern that was checked.
func match(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

// A wanted file is one that a pull writes: a file of the model or, cut down to some
// of its tensors, one that begins with a header of its own.
type wanted struct {
	mediatypes.File                      // cut: without SHA256
	head            []byte               // cut: the header, which the segments follow
	tensors         []*mediatypes.Tensor // at their offsets in this file
}

// choose lists the files that s wants.
func (a *Artifact) choose(ctx context.Context, s *Selection, warn func(string)) ([]wanted, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var list []wanted
	heads := 0 // bytes that are held of all files
	for i, tensors := range tensorsByFile(a.Index) {
		f := a.Index.Files[i]
		if s.file(f.Path) {
			list = append(list, wanted{File: f, tensors: tensors})
			continue
		}
		var some []*mediatypes.Tensor
		for _, t := range tensors {
			if s.tensor(t.Name) {
				some = append(some, t)
			}
		}
		switch {
		case len(some) == 0:
		case len(some) == len(tensors):
			list = append(list, wanted{File: f, tensors: tensors})
		case f.Format != mediatypes.FormatSafetensors:
			warn(fmt.Sprintf("%s is left out: only safetensors files can be cut down to some tensors; name the file to have it whole", f.Path))
		default:
			w, err := a.cut(ctx, i, some, tensors[0].Offset)
			if err != nil {
				return nil, err
			}
			if heads += len(w.head); heads > maxHead {
				return nil, corruptObject(strconv.Quote(f.Path), "with it the headers of the files that are cut have more than %d bytes", maxHead)
			}
			list = append(list, *w)
		}
	}
	if len(list) == 0 && !s.all() {
		return nil, fmt.Errorf("%w: nothing in the model matches: see oras-bsm inspect --tensors %s", ErrNotFound, a.ref)
	}
	return list, nil
}

// cut cuts file i, of which the header has so many bytes, down to some of its
// tensors. Metadata are kept.
func (a *Artifact) cut(ctx context.Context, i int, some []*mediatypes.Tensor, header int64) (*wanted, error) {
	f := a.Index.Files[i]
	raw, err := a.readFile(ctx, i, header)
	if err != nil {
		return nil, err
	}
	h, err := safetensors.Parse(bytes.NewReader(raw), f.Size)
	if err != nil {
		return nil, corruptObject(strconv.Quote(f.Path), "its header: %v", err)
	}
	list := make([]safetensors.Tensor, len(some))
	for j, t := range some {
		list[j] = safetensors.Tensor{Name: t.Name, Dtype: t.Dtype, Shape: t.Shape}
	}
	var head bytes.Buffer
	if h, err = safetensors.WriteHeader(&head, list, h.Metadata); err != nil {
		return nil, corruptObject(strconv.Quote(f.Path), "its tensors: %v", err)
	}
	starts := segmentStarts(&f)
	w := &wanted{File: f, head: head.Bytes()}
	w.SHA256, w.Segments, w.Size = "", nil, h.Size
	for _, t := range some {
		w.Segments = append(w.Segments, cutSegments(f.Segments, starts, t.Offset, t.Length)...)
		moved := *t
		moved.Offset = w.Size
		w.tensors = append(w.tensors, &moved)
		w.Size += t.Length
	}
	return w, nil
}

// maxHead bounds what is read of a file into memory: the largest header of a
// safetensors file. All headers that a pull writes together have no more.
const maxHead = 100_000_000 + 8

// readFile returns the first n bytes of file i.
func (a *Artifact) readFile(ctx context.Context, i int, n int64) ([]byte, error) {
	f := a.Index.Files[i]
	if n > maxHead {
		return nil, corruptObject(strconv.Quote(f.Path), "a header of %d bytes", n)
	}
	var out []byte
	for _, s := range cutSegments(f.Segments, segmentStarts(&f), 0, n) {
		b, err := a.readSegment(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// readSegment returns the bytes of a segment, which the caller has bounded.
func (a *Artifact) readSegment(ctx context.Context, s mediatypes.Segment) (out []byte, err error) {
	l, err := a.openLayer(ctx, s.Layer, 0)
	if err != nil {
		return nil, err
	}
	defer l.drop()
	dec := codec.NewDecoder(l.prologue)
	var encoded, decoded []byte
	for r := range runs(l.chunks, s) {
		c := &l.chunks[r.chunk]
		if encoded, err = l.again(ctx, r.chunk, encoded); err != nil {
			return nil, err
		}
		decoded = slices.Grow(decoded[:0], c.Decoded)[:c.Decoded]
		if err := dec.Decode(decoded, encoded); err != nil {
			return nil, a.layerFault("decoding", s.Layer, c.Offset, err)
		}
		out = append(out, decoded[r.from:r.from+r.length]...)
	}
	return out, nil
}
