package oci

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the MD5 of the index
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// randomFile writes n bytes to a file.
func randomFile(t *testing.T, n int) (path string, data []byte) {
	t.Helper()
	data = make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	path = filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// rangeOf is a message of length bytes of the file at path.
func rangeOf(path string, offset, length int64) *message {
	return &message{
		length: length,
		open:   func() (*os.File, error) { return os.Open(path) },
		read: func(f *os.File, b []byte, at int64) error {
			_, err := f.ReadAt(b, offset+at)
			return err
		},
	}
}

// Messages of all lengths, more and fewer than there are lanes.
func TestHashMessages(t *testing.T) {
	path, data := randomFile(t, 3*readSize)
	lengths := []int64{0, 1, 63, 64, 65, readSize - 1, readSize, readSize + 1, 2 * readSize, 2*readSize + 64}
	r := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		lengths = append(lengths, r.Int64N(2*readSize))
	}
	for _, workers := range []int{1, 3, 1000} {
		for _, count := range []int{0, 1, 5, len(lengths)} {
			got := make([]string, count)
			var msgs []*message
			for i, n := range lengths[:count] {
				m := rangeOf(path, int64(i), n)
				m.done = func(md5 string) error {
					got[i] += md5
					return nil
				}
				msgs = append(msgs, m)
			}
			g, ctx := errgroup.WithContext(t.Context())
			hashMessages(ctx, g, msgs, workers)
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			for i, n := range lengths[:count] {
				want := md5.Sum(data[i:][:n])
				if got[i] != hex.EncodeToString(want[:]) {
					t.Errorf("%d workers, %d messages: %d bytes at %d: %s, want %x", workers, count, n, i, got[i], want)
				}
			}
		}
	}
}

// The first error ends the work, and all files are closed.
func TestHashMessagesFails(t *testing.T) {
	path, _ := randomFile(t, 4*readSize)
	broken := errors.New("broken")
	for name, breakIt := range map[string]func(m *message, cancel context.CancelFunc){
		"open":   func(m *message, _ context.CancelFunc) { m.open = func() (*os.File, error) { return nil, broken } },
		"read":   func(m *message, _ context.CancelFunc) { m.read = func(*os.File, []byte, int64) error { return broken } },
		"done":   func(m *message, _ context.CancelFunc) { m.done = func(string) error { return broken } },
		"cancel": func(m *message, cancel context.CancelFunc) { m.done = func(string) error { cancel(); return nil } },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g, ctx := errgroup.WithContext(ctx)
			var msgs []*message
			opened := make(chan *os.File, 40)
			for i := range 40 {
				m := rangeOf(path, 0, 4*readSize)
				m.open = func() (*os.File, error) {
					f, err := os.Open(path)
					opened <- f
					return f, err
				}
				m.done = func(string) error { return nil }
				if i == 10 {
					m.length = readSize // done before the others
					breakIt(m, cancel)
				}
				msgs = append(msgs, m)
			}
			hashMessages(ctx, g, msgs, 2)
			if err := g.Wait(); !errors.Is(err, broken) && !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v", err)
			}
			close(opened)
			for f := range opened {
				if err := f.Close(); !errors.Is(err, os.ErrClosed) {
					t.Errorf("a file is still open: %v", err)
				}
			}
		})
	}
}

// A tensor that is another when it is read for its MD5 than for its sha256.
func TestChangeBetweenPasses(t *testing.T) {
	dir := smallModel(t).write(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ins, err := scan(root, dir, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(ins, func(in *input) bool { return in.path == "model.safetensors" })
	in := ins[i]
	whole, err := os.ReadFile(filepath.Join(dir, in.path))
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-1] ^= 1
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	// One job: the passes follow each other, MD5 first.
	open, left := in.open, 0
	for _, p := range in.pieces {
		if p.tensor != nil {
			left++
		}
	}
	in.open = func() (*os.File, error) {
		if left--; left >= 0 {
			return open()
		}
		return os.Open(other)
	}
	err = hashInputs(t.Context(), ins[i:i+1], 1, noProgress{})
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, errChanged) || e.Object != in.path {
		t.Errorf("error is %v", err)
	}
}

// A blob and each part of it are hashed together.
func TestWriteSum(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newSpool(f, digest.SHA256)
	_, data := randomFile(t, 1<<20)
	for part := range slices.Chunk(data, 300_001) {
		if _, err := io.Copy(s, strings.NewReader("some")); err != nil {
			t.Fatal(err)
		}
		sum, err := s.WriteSum(part)
		if err != nil || sum != sha256.Sum256(part) {
			t.Errorf("sum %x, error %v", sum, err)
		}
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(got); s.Digest().Encoded() != hex.EncodeToString(want[:]) || s.n != int64(len(got)) {
		t.Errorf("digest %s of %d bytes, want %x of %d", s.Digest(), s.n, want, len(got))
	}
	if len(got) != len(data)+16 || !bytes.HasSuffix(got, data[900_003:]) {
		t.Error("what was written is not in the file")
	}
	_ = f.Close()
	if _, err := s.WriteSum(data); err == nil {
		t.Error("no error after the file is closed")
	}
	if _, err := s.Write(data); err == nil {
		t.Error("an error is forgotten")
	}
}
