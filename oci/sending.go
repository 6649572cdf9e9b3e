package oci

import (
	"context"
	"io"
	"strconv"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// layerName is what progress calls a layer: "model.layers 0", or what it holds
// if it is that of no block.
func layerName(mediaType string, b block) string {
	switch {
	case b != block{}:
		return b.stack + " " + strconv.Itoa(b.number)
	case mediaType == mediatypes.FilesLayer:
		return "files"
	case mediaType == mediatypes.IndexLayer:
		return "index"
	}
	return "tensors"
}

// commit stores the layer of blob. For one that goes to a registry bar, the phase
// of all of them, has an item.
func (l *layer) commit(ctx context.Context, blob BlobWriter, bar Bar) error {
	if u, ok := blob.(*upload); ok {
		it := bar.Item(layerName(l.desc.MediaType, l.group.block), l.desc.Size)
		defer it.End()
		u.bar = it
	}
	return blob.Commit(ctx, l.desc)
}

// sending is a blob while it is sent. It says on bar how far that is: by the first
// time that bytes are read, however often they are sent. Requests that overlap may
// read it.
type sending struct {
	io.ReaderAt
	bar Bar

	mu  sync.Mutex
	far int64 // everything before was read
}

// sending returns the blob of u. Without a bar nobody is told.
func (u *upload) sending() *sending {
	s := &sending{ReaderAt: u.f, bar: u.bar}
	if s.bar == nil {
		s.bar = noProgress{}
	}
	return s
}

// ReadAt implements io.ReaderAt.
func (s *sending) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(b, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := off + int64(n); end > s.far {
		s.bar.Add(end - s.far)
		s.far = end
	}
	return n, err
}

// sent says that the registry has d. What was not sent it had before.
func (s *sending) sent(d ocispec.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.far < d.Size {
		s.bar.Skip(d.Size - s.far)
		s.far = d.Size
	}
}
