package oci

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// carry brings the blob d from src to dst, going on where an earlier attempt ended,
// and returns how many bytes it found of that. good is as Target.Receive has it.
// Wrong bytes are fetched once more, all of them, and elsewhere if that can be: what
// was left of the earlier attempt, or the way here, may have been damaged.
func carry(ctx context.Context, src Source, dst Target, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64, bar Bar) (have int64, err error) {
	m := &meter{bar: bar}
	have, wrong, err := carryOnce(ctx, src, dst, d, good, m)
	if wrong {
		nothing := func(io.ReaderAt, int64) int64 { return 0 }
		have, _, err = carryOnce(ctx, elsewhere(src), dst, d, nothing, m)
	}
	return have, err
}

// elsewhere returns src for a caller to whom it gave wrong bytes: at another host,
// if it has one.
func elsewhere(src Source) Source {
	if m, ok := src.(*mirrorSource); ok {
		return m.elsewhere()
	}
	return src
}

// carryOnce reports whether all bytes arrived and were not d.
func carryOnce(ctx context.Context, src Source, dst Target, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64, m *meter) (have int64, wrong bool, err error) {
	w, have, err := dst.Receive(ctx, d, good)
	if err != nil {
		return 0, false, err
	}
	defer w.Abort()
	m.skip(have)
	if err := transfer(ctx, src, d, have, w, m); err != nil {
		return 0, false, err
	}
	err = w.Commit(ctx, d)
	return have, errors.Is(err, ErrCorrupt), err
}

// transfer writes the bytes of d from have on to w.
func transfer(ctx context.Context, src Source, d ocispec.Descriptor, have int64, w io.Writer, m *meter) error {
	if have == d.Size {
		return nil
	}
	r, err := src.Blob(ctx, d, have, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for at := have; ; {
		n, err := r.Read((*b)[:1<<20])
		if n > 0 {
			if _, err := w.Write((*b)[:n]); err != nil {
				return fail("storing blob", d.Digest.String(), err)
			}
			at += int64(n)
			m.reach(at)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// meter tells a bar how far a blob is. What is moved twice counts once.
type meter struct {
	bar Bar
	at  int64
}

func (m *meter) skip(n int64) {
	if n > m.at {
		m.bar.Skip(n - m.at)
		m.at = n
	}
}

func (m *meter) reach(n int64) {
	if n > m.at {
		m.bar.Add(n - m.at)
		m.at = n
	}
}
