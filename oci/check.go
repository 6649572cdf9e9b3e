package oci

import (
	"context"
	"crypto/md5" //nolint:gosec // the check sum of the contract
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// checkFile compares the bytes of w with the sha256 of f.
func checkFile(ctx context.Context, w *os.File, f *mediatypes.File, bar Bar) error {
	h := sha256.New()
	if err := copyTo(ctx, h, w, 0, f.Size, bar); err != nil {
		return fail("checking", f.Path, err)
	}
	return matches(h, f.SHA256, "sha256", strconv.Quote(f.Path))
}

// checkTensor compares the bytes of t in file w with the MD5 of t.
func checkTensor(ctx context.Context, w *os.File, f *mediatypes.File, t *mediatypes.Tensor) error {
	h := md5.New()
	if err := copyTo(ctx, h, w, t.Offset, t.Length, noProgress{}); err != nil {
		return fail("checking", f.Path, err)
	}
	return matches(h, t.MD5, "MD5", fmt.Sprintf("tensor %q of %q", t.Name, f.Path))
}

// matches compares a hash with the hex of the index.
func matches(h hash.Hash, want, kind, object string) error {
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return corruptObject(object, "its %s is %s, in the index %s", kind, got, want)
	}
	return nil
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
