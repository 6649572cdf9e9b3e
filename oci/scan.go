package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/codec/gguf"
	"github.com/oras-bsm/oras-bsm/codec/safetensors"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// errChanged says that a file is not what it was when push first read it.
var errChanged = errors.New("file changed while it was read: nothing was tagged; push again when nobody writes to the directory")

// input is a file of the model directory.
type input struct {
	path   string // slash-separated, relative to the directory
	size   int64
	mode   uint32
	format string // mediatypes.FormatSafetensors, FormatGGUF or ""
	sha256 string // hex; set by hashing
	pieces []*piece
	open   func() (*os.File, error)
}

// A piece is a run of bytes of a file that is encoded on its own: a tensor, or
// what lies between tensors. The pieces of a file tile it.
type piece struct {
	in     *input
	offset int64
	length int64
	dtype  codec.Dtype
	tensor *mediatypes.Tensor // without its file and hashes; nil: no tensor

	sums   []uint64 // xxh3 of each readSize bytes, against changes of the file
	md5    string   // hex, of a tensor
	sha256 string   // hex, of a tensor or a whole file

	same  *piece               // an earlier piece with the same bytes, which stand for these
	place []mediatypes.Segment // where the bytes are, once they are encoded
}

// segments returns where the bytes of p are.
func (p *piece) segments() []mediatypes.Segment {
	if p.same != nil {
		return p.same.place
	}
	return p.place
}

// readAt fills b from offset in the file. The file is opened for each read:
// models have more shards than a process may have open files.
func (in *input) readAt(b []byte, offset int64) error {
	f, err := in.open()
	if err != nil {
		return fail("reading", in.path, err)
	}
	defer f.Close()
	return in.readFrom(f, b, offset)
}

// readFrom is readAt with the file opened already.
func (in *input) readFrom(f *os.File, b []byte, offset int64) error {
	n, err := f.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = errChanged
	}
	return &Error{Op: "reading", Object: in.path, Offset: offset + int64(n), Err: err}
}

// unchanged compares the size of the file with what it was: what was appended
// meanwhile is read by nobody.
func (in *input) unchanged() error {
	f, err := in.open()
	if err != nil {
		return fail("reading", in.path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() != in.size {
		err = errChanged
	}
	return fail("reading", in.path, err)
}

// skipped are directories that tools leave in a model directory and that are no
// part of the model.
func skipped(p string) bool {
	base := path.Base(p)
	return base == ".git" || strings.HasPrefix(base, workPrefix) || p == ".cache/huggingface" || strings.HasSuffix(p, "/.cache/huggingface")
}

// scan lists the files of a model directory, by path, and cuts them into pieces.
func scan(root *os.Root, dir string, warn func(string)) ([]*input, error) {
	var ins []*input
	err := fs.WalkDir(root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			if skipped(p) {
				return fs.SkipDir
			}
			return nil
		}
		in, err := newInput(root, dir, p, e)
		if err != nil {
			return fail("reading", p, err)
		}
		ins = append(ins, in)
		return nil
	})
	if err != nil {
		return nil, fail("reading", dir, err)
	}
	if len(ins) == 0 {
		return nil, fail("reading", dir, errors.New("directory holds no files"))
	}
	if len(ins) > mediatypes.MaxFiles {
		return nil, fail("reading", dir, fmt.Errorf("%d files, a model has at most %d", len(ins), mediatypes.MaxFiles))
	}
	paths := make([]string, len(ins))
	for i, in := range ins {
		paths[i] = in.path
	}
	if err := mediatypes.CheckPaths(paths); err != nil {
		return nil, fail("reading", dir, fmt.Errorf("a file must be renamed first: %w", err))
	}
	tensors := 0
	for _, in := range ins {
		if err := in.cut(warn); err != nil {
			return nil, err
		}
		for _, p := range in.pieces {
			if p.tensor != nil {
				tensors++
			}
		}
		if tensors > mediatypes.MaxTensors {
			return nil, fail("reading", dir, fmt.Errorf("more than %d tensors", mediatypes.MaxTensors))
		}
	}
	return ins, nil
}

// hubBlob is what the links of a Hugging Face cache point to: the files of a
// snapshot lie in a directory of blobs beside it.
var hubBlob = regexp.MustCompile(`^(\.\./)+blobs/[0-9a-f]{40,64}$`)

func newInput(root *os.Root, dir, p string, e fs.DirEntry) (*input, error) {
	if err := mediatypes.ValidPath(p); err != nil {
		return nil, fmt.Errorf("the file must be renamed first: %w", err)
	}
	// Without O_NONBLOCK, a FIFO behind a link would wait for a writer.
	const flags = os.O_RDONLY | unix.O_NONBLOCK
	open := func() (*os.File, error) { return root.OpenFile(filepath.FromSlash(p), flags, 0) }
	if e.Type()&fs.ModeSymlink != 0 {
		// os.Root follows links that stay inside; of the others, only those
		// of a Hugging Face cache.
		link, err := root.Readlink(filepath.FromSlash(p))
		if err != nil {
			return nil, err
		}
		if hubBlob.MatchString(filepath.ToSlash(link)) {
			target := filepath.Join(dir, filepath.Dir(filepath.FromSlash(p)), link)
			open = func() (*os.File, error) { return os.OpenFile(target, flags|unix.O_NOFOLLOW, 0) }
		}
	} else if !e.Type().IsRegular() {
		return nil, fmt.Errorf("no regular file (%s): only regular files can be part of a model", e.Type())
	}
	f, err := open()
	if err != nil && e.Type()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("a link that leads out of the directory, or to nothing: put the file in its place: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("a link to what is no regular file: only regular files can be part of a model")
	}
	in := &input{path: p, size: info.Size(), mode: 0o644, open: open}
	if info.Mode()&0o100 != 0 {
		in.mode = 0o755
	}
	return in, nil
}

// cut divides the file into pieces: the tensors of a safetensors or GGUF file,
// and what lies before, between and after them; any other file, and what only
// looks like one, is a piece of its own.
func (in *input) cut(warn func(string)) error {
	tensors, err := in.tensors()
	if refused(err) {
		warn(fmt.Sprintf("%s is stored as opaque bytes: %s", in.path, in.why(err)))
		in.format, err = "", nil
	}
	if err != nil {
		return fail("reading", in.path, err)
	}
	at := int64(0)
	rest := func(end int64) {
		if at < end {
			in.pieces = append(in.pieces, &piece{in: in, offset: at, length: end - at})
		}
	}
	for i := range tensors {
		t := &tensors[i]
		rest(t.Offset)
		in.pieces = append(in.pieces, &piece{in: in, offset: t.Offset, length: t.Length, dtype: codec.DtypeOf(t.Dtype), tensor: t})
		at = t.Offset + t.Length
	}
	rest(in.size)
	return nil
}

// tensors finds the format of the file and lists its tensors, which are in order
// and apart.
func (in *input) tensors() ([]mediatypes.Tensor, error) {
	magic := make([]byte, min(in.size, int64(len(gguf.Magic))))
	if err := in.readAt(magic, 0); err != nil {
		return nil, err
	}
	parse := parseGGUF
	switch name := strings.ToLower(in.path); {
	case string(magic) == gguf.Magic || strings.HasSuffix(name, ".gguf"):
		in.format = mediatypes.FormatGGUF
	case strings.HasSuffix(name, ".safetensors"):
		in.format, parse = mediatypes.FormatSafetensors, parseSafetensors
	default:
		return nil, nil
	}
	f, err := in.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f, in.size)
}

func parseSafetensors(f io.ReaderAt, size int64) ([]mediatypes.Tensor, error) {
	h, err := safetensors.Parse(f, size)
	if err != nil {
		return nil, err
	}
	list := make([]mediatypes.Tensor, len(h.Tensors))
	for i, t := range h.Tensors {
		list[i] = mediatypes.Tensor{Name: t.Name, Dtype: t.Dtype, Shape: t.Shape, Offset: t.Offset, Length: t.Length}
	}
	return list, nil
}

func parseGGUF(f io.ReaderAt, size int64) ([]mediatypes.Tensor, error) {
	h, err := gguf.Parse(f, size)
	if err != nil {
		return nil, err
	}
	list := make([]mediatypes.Tensor, len(h.Tensors))
	for i, t := range h.Tensors {
		if t.Type == "" {
			t.Type = fmt.Sprintf("GGML_%d", t.ID)
		}
		list[i] = mediatypes.Tensor{Name: t.Name, Dtype: t.Type, Shape: t.Shape, Offset: t.Offset, Length: t.Length}
	}
	return list, nil
}

// refused reports whether a parser refused the file, which can be read.
func refused(err error) bool {
	var s *safetensors.Error
	var g *gguf.Error
	return errors.As(err, &s) || errors.As(err, &g)
}

// why explains to a user what is wrong with a file that was refused.
func (in *input) why(bad error) string {
	prefix := make([]byte, min(in.size, 64))
	if in.readAt(prefix, 0) == nil && safetensors.IsLFSPointer(prefix) {
		return "it is a Git LFS pointer, not the weights: run git lfs pull"
	}
	return bad.Error()
}
