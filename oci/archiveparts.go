package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An archive may be split into parts, of the same size but the last: FILE.001,
// FILE.002 and so on. Joined in the order of their names, "cat FILE.0* > FILE",
// they are the archive.

const (
	// maxParts bounds the parts of an archive.
	maxParts = 9999
	// unfinished ends the name of a file that is being written.
	unfinished = ".part"
)

// errNoParts says that there are no parts of an archive, either.
var errNoParts = errors.New("no parts")

// partDigits is how many digits the names of n parts have: the first is always 0.
func partDigits(n int) int { return max(3, len(strconv.Itoa(n))+1) }

func partFile(path string, digits, i int) string { return fmt.Sprintf("%s.%0*d", path, digits, i+1) }

// listParts finds the parts of the archive of that path: the numbers, from 0, of
// those that are there, in order.
func listParts(path string) (digits int, there []int, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return 0, nil, err
	}
	for _, e := range entries {
		s, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		n, err := strconv.Atoi(s)
		if !ok || err != nil || n < 1 || n > maxParts || len(s) < 3 || len(s) > 5 || s[0] != '0' {
			continue
		}
		if digits == 0 {
			digits = len(s)
		}
		if len(s) != digits {
			return 0, nil, fmt.Errorf("%s.%0*d and %s.%s are parts of two archives: move one away", path, digits, 1, path, s)
		}
		there = append(there, n-1)
	}
	slices.Sort(there)
	return digits, there, nil
}

// parts are the files of a split archive. They are opened for each read: there may
// be more of them than a process may have open.
type parts struct {
	path   string
	digits int
	count  int
	size   int64 // of each but the last
	total  int64
}

// openParts returns the parts of an archive as one, and their size.
func openParts(path string) (tarBytes, int64, error) {
	digits, there, err := listParts(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(there) == 0 {
		return nil, 0, errNoParts
	}
	if err != nil {
		return nil, 0, err
	}
	p := &parts{path: path, digits: digits, count: len(there)}
	for i, n := range there {
		if i != n {
			return nil, 0, fmt.Errorf("%w: no file %s, a part of the archive", ErrNotFound, p.name(i))
		}
		f, size, err := openRegular(p.name(i))
		if err != nil {
			return nil, 0, err
		}
		if err := f.Close(); err != nil {
			return nil, 0, err
		}
		switch {
		case i == 0:
			p.size = size
		case size > p.size:
			return nil, 0, fmt.Errorf("%w: %s has %d bytes and %s %d: one of them is of another archive", ErrCorrupt, p.name(0), p.size, p.name(i), size)
		case size < p.size && i < len(there)-1:
			return nil, 0, fmt.Errorf("%w: %s is cut off: it has %d of %d bytes", ErrCorrupt, p.name(i), size, p.size)
		}
		p.total += size
	}
	return p, p.total, nil
}

func (p *parts) name(i int) string { return partFile(p.path, p.digits, i) }

// short implements tarBytes.
func (p *parts) short() error {
	last, next := p.name(p.count-1), p.name(p.count)
	if p.total == int64(p.count)*p.size {
		return fmt.Errorf("%w: no file %s, or %s is cut off: the archive goes on after it", ErrNotFound, next, last)
	}
	return fmt.Errorf("%w: %s is cut off, and %s may be missing: the archive goes on after it", ErrCorrupt, last, next)
}

// ReadAt implements io.ReaderAt.
func (p *parts) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := off + int64(n)
		if at < 0 || at >= p.total {
			return n, io.EOF
		}
		i := at / p.size
		most := int(min(int64(len(b)-n), min((i+1)*p.size, p.total)-at))
		m, err := readPart(p.name(int(i)), b[n:n+most], at-i*p.size)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readPart reads len(b) bytes of a file at off.
func readPart(name string, b []byte, off int64) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
		if n < len(b) {
			err = fmt.Errorf("%w: %s was cut off while it was read", ErrCorrupt, name)
		}
	}
	return n, err
}

// Close implements io.Closer.
func (p *parts) Close() error { return nil }
