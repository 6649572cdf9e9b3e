package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// archiveWriter writes an archive of which every byte has its place, as one file
// or in parts, from its start to its end. A file is called NAME.part and is locked
// until it is finished; then it is on disk, has its name and does not change any
// more: what is written to it again is compared with it. A second writer of the
// same archive goes on where the first one was killed. It belongs to one
// goroutine.
type archiveWriter struct {
	path   string
	size   int64 // of the archive
	part   int64 // of each part but the last
	digits int   // of the names of parts; 0: one file

	have     []int64 // for each part: how many bytes are there, from its start
	finished []bool
	next     int              // the first part that finish has not seen
	files    map[int]*os.File // those being written
}

// errDiffers says that a finished part does not hold what it should.
var errDiffers = errors.New("it does not hold what it should")

// newArchiveWriter looks at what is there of the archive. part is the size of a
// part, or 0 for an archive in one file.
func newArchiveWriter(path string, size, part int64) (*archiveWriter, error) {
	w := &archiveWriter{path: path, size: size, part: size, files: map[int]*os.File{}}
	n := int64(1)
	if part > 0 {
		if n = (size + part - 1) / part; n > maxParts {
			return nil, fmt.Errorf("it would have %d parts of %d bytes, the most is %d: let the parts be larger", n, part, maxParts)
		}
		w.part, w.digits = part, partDigits(int(n))
		if err := w.onlyOurs(int(n)); err != nil {
			return nil, err
		}
	}
	w.have, w.finished = make([]int64, n), make([]bool, n)
	for i := range w.have {
		if err := w.look(i); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// onlyOurs refuses to write n parts beside files that would be taken for the
// archive, or for parts of it.
func (w *archiveWriter) onlyOurs(n int) error {
	if _, err := os.Lstat(w.path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there and would be read in place of its parts: remove it, or write no parts", w.path)
	}
	digits, there, err := listParts(w.path)
	if err != nil || len(there) == 0 {
		return err
	}
	if last := there[len(there)-1]; digits != w.digits || last >= n {
		return fmt.Errorf("%s is there, and the archive has %d parts: move those of another archive away", partFile(w.path, digits, last), n)
	}
	return nil
}

// look finds out what is there of part i.
func (w *archiveWriter) look(i int) error {
	fi, err := os.Stat(w.name(i))
	if err == nil && fi.Mode().IsRegular() && fi.Size() == w.length(i) {
		w.have[i], w.finished[i] = fi.Size(), true
		return nil
	}
	if err == nil && w.digits > 0 {
		return fmt.Errorf("%s has %d bytes and should have %d: remove it, or move it away", w.name(i), fi.Size(), w.length(i))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return w.lookUnfinished(i)
}

func (w *archiveWriter) lookUnfinished(i int) error {
	w.have[i], w.finished[i] = 0, false
	fi, err := os.Lstat(w.name(i) + unfinished)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s%s is not a regular file", w.name(i), unfinished)
	}
	if err != nil {
		return err
	}
	w.have[i] = min(fi.Size(), w.length(i))
	return nil
}

// anew forgets a finished archive in one file, which is another: it will be
// replaced when its successor is whole.
func (w *archiveWriter) anew() error {
	w.next = 0
	return w.lookUnfinished(0)
}

// name is the name of part i when it is finished.
func (w *archiveWriter) name(i int) string {
	if w.digits == 0 {
		return w.path
	}
	return partFile(w.path, w.digits, i)
}

// names lists all parts.
func (w *archiveWriter) names() []string {
	names := make([]string, len(w.have))
	for i := range names {
		names[i] = w.name(i)
	}
	return names
}

// length is the size of part i.
func (w *archiveWriter) length(i int) int64 { return min(w.part, w.size-int64(i)*w.part) }

// missing is the size of all that is not there.
func (w *archiveWriter) missing() int64 {
	n := w.size
	for _, have := range w.have {
		n -= have
	}
	return n
}

// each calls f for the range of each part that the n bytes at off lie in, until it
// returns false.
func (w *archiveWriter) each(off, n int64, f func(i int, at, n int64) bool) {
	for n > 0 {
		i := off / w.part
		at := off - i*w.part
		m := min(n, w.length(int(i))-at)
		if !f(int(i), at, m) {
			return
		}
		off, n = off+m, n-m
	}
}

// present is how many of the n bytes at off are there, from the first on.
func (w *archiveWriter) present(off, n int64) (there int64) {
	w.each(off, n, func(i int, at, n int64) bool {
		m := max(0, min(n, w.have[i]-at))
		there += m
		return m == n
	})
	return there
}

// ReadAt implements io.ReaderAt for what is there.
func (w *archiveWriter) ReadAt(b []byte, off int64) (read int, err error) {
	w.each(off, int64(len(b)), func(i int, at, n int64) bool {
		name := w.name(i)
		if !w.finished[i] {
			name += unfinished
		}
		var m int
		m, err = readPart(name, b[read:read+int(n)], at)
		read += m
		return err == nil
	})
	return read, err
}

// WriteAt implements io.WriterAt. Where a part is finished it compares.
func (w *archiveWriter) WriteAt(b []byte, off int64) (written int, err error) {
	w.each(off, int64(len(b)), func(i int, at, n int64) bool {
		p := b[written : written+int(n)]
		if w.finished[i] {
			err = w.compare(i, p, at)
		} else {
			err = w.write(i, p, at)
		}
		if err == nil {
			written += int(n)
		}
		return err == nil
	})
	return written, err
}

func (w *archiveWriter) compare(i int, b []byte, at int64) error {
	there := make([]byte, len(b))
	if _, err := readPart(w.name(i), there, at); err != nil {
		return err
	}
	if !bytes.Equal(there, b) {
		return &Error{Op: "comparing", Object: w.name(i), Offset: at, Err: fmt.Errorf("%w: it is damaged, or of another archive: remove it, or move it away", errDiffers)}
	}
	return nil
}

func (w *archiveWriter) write(i int, b []byte, at int64) error {
	f, err := w.file(i)
	if err != nil {
		return err
	}
	n, err := f.WriteAt(b, at)
	w.have[i] = max(w.have[i], at+int64(n))
	return err
}

// file opens part i for writing.
func (w *archiveWriter) file(i int) (*os.File, error) {
	if f, ok := w.files[i]; ok {
		return f, nil
	}
	name := w.name(i) + unfinished
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	err = lockNamed(f, func() (fs.FileInfo, error) { return os.Lstat(name) })
	if errors.Is(err, errInUse) {
		err = fmt.Errorf("%s is being written by another process: wait for it, or choose another file", name)
	}
	if err == nil {
		err = cutTo(f, w.length(i))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w.files[i] = f
	return f, nil
}

// cutTo cuts off what a file has more than size bytes.
func cutTo(f *os.File, size int64) error {
	fi, err := f.Stat()
	if err != nil || fi.Size() <= size {
		return err
	}
	return f.Truncate(size)
}

// finish gives all parts that end at or before off their names.
func (w *archiveWriter) finish(off int64) error {
	for ; w.next < len(w.have) && int64(w.next)*w.part+w.length(w.next) <= off; w.next++ {
		if w.finished[w.next] {
			continue
		}
		if err := w.finishPart(w.next); err != nil {
			return err
		}
	}
	return nil
}

func (w *archiveWriter) finishPart(i int) error {
	f, err := w.file(i)
	if err != nil {
		return err
	}
	delete(w.files, i)
	err = f.Sync()
	if err != nil {
		// Pages may be lost that a second sync would not speak of.
		return errors.Join(err, os.Remove(w.name(i)+unfinished), f.Close())
	}
	err = os.Rename(w.name(i)+unfinished, w.name(i))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	w.finished[i] = true
	return syncDir(os.Open(filepath.Dir(w.path)))
}

// Close lets go of what is unfinished, which stays for the next writer.
func (w *archiveWriter) Close() error {
	var err error
	for _, f := range w.files {
		err = errors.Join(err, f.Close())
	}
	clear(w.files)
	return err
}

var (
	_ io.ReaderAt = (*archiveWriter)(nil)
	_ io.WriterAt = (*archiveWriter)(nil)
)
