package oci

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// checkFile compares the bytes of w with the sha256 of f.
func checkFile(ctx context.Context, w *os.File, f *mediatypes.File, bar Bar) error {
	sum, err := sumRange(ctx, w, 0, f.Size, bar)
	if err != nil {
		return fail("checking", f.Path, err)
	}
	return matches(sum, f.SHA256, "sha256", strconv.Quote(f.Path))
}

// checkTensor compares the bytes of t, in a file like f that open opens, with the
// MD5 of t.
func checkTensor(open func() (*os.File, error), f *mediatypes.File, t *mediatypes.Tensor) *message {
	return &message{
		length: t.Length,
		open:   open,
		read: func(w *os.File, b []byte, at int64) error {
			_, err := w.ReadAt(b, t.Offset+at)
			return fail("checking", f.Path, err)
		},
		done: func(md5 string) error {
			return matches(md5, t.MD5, "MD5", fmt.Sprintf("tensor %q of %q", t.Name, f.Path))
		},
	}
}

// matches compares a hash with that of the index, both in hex.
func matches(got, want, kind, object string) error {
	if got != want {
		return corruptObject(object, "its %s is %s, in the index %s", kind, got, want)
	}
	return nil
}

// sumRange is the sha256 of n bytes of f from offset on, in hex.
func sumRange(ctx context.Context, f io.ReaderAt, offset, n int64, bar Bar) (string, error) {
	h := sha256.New()
	err := copyTo(ctx, h, f, offset, n, bar)
	return hexSum(h), err
}

// copyTo writes n bytes of f from offset to w, in pieces between which ctx may
// end it.
func copyTo(ctx context.Context, w io.Writer, f io.ReaderAt, offset, n int64, bar Bar) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := (*buf)[:min(n, 1<<20)]
		if _, err := f.ReadAt(b, offset); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		offset, n = offset+int64(len(b)), n-int64(len(b))
		bar.Add(int64(len(b)))
	}
	return nil
}
