package oci

import (
	"context"
	"crypto/sha256"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A modelLayer is a layer of a model whose index document was read.
type modelLayer struct {
	index *mediatypes.Index
	layer int
}

// good says how much may stay of what an interrupted attempt left of d: of a layer
// of ours, the chunks that match the index. Of other blobs all may stay; their
// digest is checked at the end.
func (c *copier) good(d ocispec.Descriptor) func(io.ReaderAt, int64) int64 {
	if d.MediaType != mediatypes.BlockLayer && d.MediaType != mediatypes.FilesLayer {
		return nil
	}
	return func(r io.ReaderAt, size int64) int64 {
		models, err := c.models()
		if err != nil {
			return size
		}
		l, ok := models[d.Digest]
		if !ok {
			return size
		}
		return l.intact(r, size)
	}
}

// intact is where the first chunk starts that does not lie in the first size bytes
// of r or does not match the index.
func (l modelLayer) intact(r io.ReaderAt, size int64) int64 {
	chunks, err := l.index.ChunkTable(l.layer)
	if err != nil || len(chunks) == 0 || chunks[0].Offset > size {
		return 0
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	prologue := sha256.New()
	if _, err := io.CopyBuffer(prologue, io.NewSectionReader(r, 0, chunks[0].Offset), *b); err != nil || hexSum(prologue) != l.index.Layers[l.layer].Prologue {
		return 0
	}
	end := chunks[0].Offset
	for _, chunk := range chunks {
		next := chunk.Offset + int64(chunk.Encoded)
		if next > size {
			break
		}
		h := sha256.New()
		if _, err := io.CopyBuffer(h, io.NewSectionReader(r, chunk.Offset, int64(chunk.Encoded)), *b); err != nil || [sha256.Size]byte(h.Sum(nil)) != chunk.SHA256 {
			break
		}
		end = next
	}
	return end
}

// readModels reads the index layers of the models among the manifests.
func (c *copier) readModels(ctx context.Context) (map[digest.Digest]modelLayer, error) {
	layers := map[digest.Digest]modelLayer{}
	read := map[digest.Digest]bool{}
	for _, m := range c.closure.manifests {
		n := len(m.links.Layers)
		if m.links.ArtifactType != mediatypes.ArtifactType || n == 0 {
			continue
		}
		last := m.links.Layers[n-1]
		if last.MediaType != mediatypes.IndexLayer || read[last.Digest] {
			continue
		}
		read[last.Digest] = true
		a := &Artifact{src: c.src}
		if err := a.readIndex(ctx, last); err != nil {
			return nil, err
		}
		for i, l := range a.Index.Layers {
			layers[l.Digest] = modelLayer{a.Index, i}
		}
	}
	return layers, nil
}
