package oci

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"strconv"
	"sync"

	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci/internal/multihash"
)

// sums checks the hashes of files and tensors while the bytes of the files go by
// in order.
type sums struct {
	index   *mediatypes.Index
	tensors [][]*mediatypes.Tensor // of each file, by offset

	file   int // the current one; -1 before the first
	offset int64
	sha256 hash.Hash
	next   int // tensor of the file
	tMD5   hash.Hash
	tSHA   hash.Hash
}

func newSums(x *mediatypes.Index) *sums {
	return &sums{index: x, file: -1, tensors: tensorsByFile(x), tMD5: md5.New(), tSHA: sha256.New()}
}

// tensorsByFile lists the tensors of each file, by offset and without overlap,
// as the index has them.
func tensorsByFile(x *mediatypes.Index) [][]*mediatypes.Tensor {
	out := make([][]*mediatypes.Tensor, len(x.Files))
	for i := range x.Tensors {
		t := &x.Tensors[i]
		out[t.File] = append(out[t.File], t)
	}
	return out
}

// add takes the next bytes of file, which is the current one or a later one.
func (s *sums) add(file int, b []byte) error {
	for s.file < file {
		if err := s.nextFile(); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		t := s.tensor()
		n := int64(len(b))
		switch {
		case t == nil:
			s.sha256.Write(b)
		case s.offset < t.Offset:
			n = min(n, t.Offset-s.offset)
			s.sha256.Write(b[:n])
		default:
			n = min(n, t.Offset+t.Length-s.offset)
			var both sync.WaitGroup
			both.Go(func() { s.tMD5.Write(b[:n]) })
			multihash.WritePair(s.sha256, s.tSHA, b[:n])
			both.Wait()
		}
		b, s.offset = b[n:], s.offset+n
		if err := s.endTensors(); err != nil {
			return err
		}
	}
	return nil
}

// tensor is the current tensor, or the next, of the current file.
func (s *sums) tensor() *mediatypes.Tensor {
	if list := s.tensors[s.file]; s.next < len(list) {
		return list[s.next]
	}
	return nil
}

// endTensors checks the tensors that end at the current offset.
func (s *sums) endTensors() error {
	for t := s.tensor(); t != nil && t.Offset+t.Length == s.offset; t = s.tensor() {
		object := fmt.Sprintf("tensor %q of %q", t.Name, s.index.Files[s.file].Path)
		if err := matches(hexSum(s.tMD5), t.MD5, "MD5", object); err != nil {
			return err
		}
		if err := matches(hexSum(s.tSHA), t.SHA256, "sha256", object); err != nil {
			return err
		}
		s.tMD5.Reset()
		s.tSHA.Reset()
		s.next++
	}
	return nil
}

// nextFile checks the current file and begins the next.
func (s *sums) nextFile() error {
	if s.file >= 0 {
		f := &s.index.Files[s.file]
		if t := s.tensor(); t != nil {
			return corruptObject(strconv.Quote(f.Path), "it ends before tensor %q", t.Name)
		}
		if err := matches(hexSum(s.sha256), f.SHA256, "sha256", strconv.Quote(f.Path)); err != nil {
			return err
		}
	}
	s.file, s.offset, s.next, s.sha256 = s.file+1, 0, 0, sha256.New()
	if s.file < len(s.index.Files) {
		return s.endTensors() // those without bytes, at the start
	}
	return nil
}

// end checks what is left, after the last bytes.
func (s *sums) end() error {
	for s.file < len(s.index.Files) {
		if err := s.nextFile(); err != nil {
			return err
		}
	}
	return nil
}
