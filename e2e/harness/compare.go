package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// Compare returns an error that names the first difference between two
// directories: in names, types, modes of files, or bytes. Times and the modes of
// directories do not count.
func Compare(want, got string) error {
	have, err := tree(got)
	if err != nil {
		return err
	}
	wanted, err := tree(want)
	if err != nil {
		return err
	}
	for name, mode := range wanted {
		switch other, ok := have[name]; {
		case !ok:
			return fmt.Errorf("%s lacks %s", got, name)
		case other != mode:
			return fmt.Errorf("%s in %s is %v, want %v", name, got, other, mode)
		case mode.IsRegular():
			if err := sameBytes(filepath.Join(want, name), filepath.Join(got, name)); err != nil {
				return err
			}
		}
		delete(have, name)
	}
	for name := range maps.Keys(have) {
		return fmt.Errorf("%s holds %s, which is not in %s", got, name, want)
	}
	return nil
}

// tree returns everything below dir, and the modes of what is no directory.
func tree(dir string) (map[string]fs.FileMode, error) {
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		found[name] = info.Mode()
		if d.IsDir() {
			found[name] = fs.ModeDir
		}
		return nil
	})
	return found, err
}

// sameBytes compares two files, in little memory.
func sameBytes(want, got string) error {
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(got)
	if err != nil {
		return err
	}
	defer b.Close()
	var (
		x, y   [64 << 10]byte
		offset int64
	)
	for {
		n, errA := io.ReadFull(a, x[:])
		m, errB := io.ReadFull(b, y[:])
		if !bytes.Equal(x[:n], y[:m]) {
			return fmt.Errorf("%s and %s differ between bytes %d and %d", want, got, offset, offset+int64(len(x)))
		}
		for _, err := range []error{errA, errB} {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		offset += int64(n)
	}
}
