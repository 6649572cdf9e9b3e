package oci

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/oci/internal/multihash"
)

// spool is a file that is hashed as it is written. It belongs to one goroutine.
type spool struct {
	f         *os.File
	algorithm digest.Algorithm
	hash      hash.Hash
	n         int64
	err       error
}

func newSpool(f *os.File, a digest.Algorithm) *spool {
	return &spool{f: f, algorithm: a, hash: a.Hash()}
}

// Digest implements BlobWriter.
func (s *spool) Digest() digest.Digest { return digest.NewDigest(s.algorithm, s.hash) }

// Write appends p. After an error every later Write and check fails.
func (s *spool) Write(p []byte) (int, error) {
	return s.write(p, func() { s.hash.Write(p) })
}

// WriteSum implements BlobWriter.
func (s *spool) WriteSum(p []byte) ([sha256.Size]byte, error) {
	sum := sha256.New()
	_, err := s.write(p, func() {
		if s.algorithm == digest.SHA256 {
			multihash.WritePair(s.hash, sum, p)
			return
		}
		s.hash.Write(p)
		sum.Write(p)
	})
	return [sha256.Size]byte(sum.Sum(nil)), err
}

// write writes p while add adds it to the hashes.
func (s *spool) write(p []byte, add func()) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	var g sync.WaitGroup
	g.Go(add)
	n, s.err = s.f.Write(p)
	g.Wait()
	s.n += int64(n)
	return n, s.err
}

// check compares what was written with d.
func (s *spool) check(d ocispec.Descriptor) error {
	if s.err != nil {
		return s.err
	}
	if err := checkDescriptor(d); err != nil {
		return err
	}
	if d.Digest.Algorithm() != s.algorithm {
		return fmt.Errorf("the digest was to be a %s, not a %s", s.algorithm, d.Digest.Algorithm())
	}
	if s.n != d.Size {
		return fmt.Errorf("%w: %d bytes were written, want %d", ErrCorrupt, s.n, d.Size)
	}
	if got := s.Digest(); got != d.Digest {
		return fmt.Errorf("%w: the digest of what was written is %s", ErrCorrupt, got)
	}
	return nil
}

// privateDir opens a directory below temp, or below os.TempDir() if that is "",
// that belongs to this user alone: everybody may write to /tmp, and nobody else
// is to choose what a resumed file begins with.
func privateDir(temp string) (_ *os.Root, err error) {
	if temp == "" {
		temp = os.TempDir()
	}
	parent, err := os.OpenRoot(temp)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	name := "oras-bsm-" + strconv.Itoa(os.Geteuid())
	if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// What is looked at is what is opened: a link in its place is not followed.
	fi, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || fi.Mode().Perm() != 0o700 || int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s/%s is not a directory that you alone may use: remove it, or name another place in TMPDIR", temp, name)
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if is, err := root.Stat("."); err != nil || !os.SameFile(is, fi) {
		return nil, errors.Join(err, fmt.Errorf("%s/%s is being replaced: name another place in TMPDIR", temp, name), root.Close())
	}
	return root, nil
}
