package oci

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Bounds on the manifests and image indexes of one artifact, its referrers
// included: they are held in memory.
const (
	maxManifests     = 8192
	maxManifestBytes = 64 << 20
)

// A closure is an artifact and everything below it, each blob once, and maybe its
// referrers with everything below them.
type closure struct {
	manifests []closureManifest // each before what it names, unless that came earlier
	configs   []ocispec.Descriptor
	layers    []ocispec.Descriptor // see parts
	referrers []referrer

	read func(context.Context, ocispec.Descriptor) ([]byte, error) // a manifest
	look func(ocispec.Descriptor) error                            // whether a blob is there; nil: do not

	size map[digest.Digest]int64 // of all that is listed
	raw  int64                   // bytes of all manifests
}

// closureManifest is a manifest or image index that was read and checked.
type closureManifest struct {
	ocispec.Descriptor // its media type, digest and size alone
	raw                []byte
	links              *mediatypes.Links
}

// reachable lists d and everything below it in a layout. Whatever is missing or
// has another size is an error.
func reachable(ctx context.Context, f files, d ocispec.Descriptor) (*closure, error) {
	t := newClosure(func(_ context.Context, d ocispec.Descriptor) ([]byte, error) { return readManifest(f, d) })
	t.look = func(d ocispec.Descriptor) error {
		s, err := f.open(blobPath(d.Digest))
		if err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		if s.size != d.Size {
			return fmt.Errorf("%w: %s has %d bytes, want %d", ErrCorrupt, d.Digest, s.size, d.Size)
		}
		return nil
	}
	return t, t.add(ctx, d)
}

// newClosure returns an empty closure of which read gives the manifests. Their size and
// digest match the descriptor.
func newClosure(read func(context.Context, ocispec.Descriptor) ([]byte, error)) *closure {
	return &closure{read: read, size: map[digest.Digest]int64{}}
}

// add reads d and all manifests below it.
func (t *closure) add(ctx context.Context, d ocispec.Descriptor) error { return t.manifest(ctx, d, 0) }

// blobs lists all that is no manifest: configs first.
func (t *closure) blobs() []ocispec.Descriptor { return slices.Concat(t.configs, t.layers) }

// find returns a manifest that is listed, or nil.
func (t *closure) find(d digest.Digest) *closureManifest {
	i := slices.IndexFunc(t.manifests, func(m closureManifest) bool { return m.Digest == d })
	if i < 0 {
		return nil
	}
	return &t.manifests[i]
}

// isNew reports whether d is not listed yet. One digest with two sizes is an
// error.
func (t *closure) isNew(d ocispec.Descriptor) (bool, error) {
	if err := checkDescriptor(d); err != nil {
		return false, err
	}
	size, ok := t.size[d.Digest]
	if ok && size != d.Size {
		return false, fmt.Errorf("%w: %s is listed with %d and with %d bytes", ErrCorrupt, d.Digest, size, d.Size)
	}
	t.size[d.Digest] = d.Size
	return !ok, nil
}

// blob appends d to list unless it is listed.
func (t *closure) blob(list *[]ocispec.Descriptor, d ocispec.Descriptor) error {
	fresh, err := t.isNew(d)
	if err != nil || !fresh {
		return err
	}
	if t.look != nil {
		if err := t.look(d); err != nil {
			return err
		}
	}
	*list = append(*list, d)
	return nil
}

func (t *closure) manifest(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("%w: image indexes nest deeper than %d", ErrCorrupt, maxDepth)
	}
	fresh, err := t.isNew(d)
	if err != nil || !fresh {
		return err
	}
	if len(t.manifests) == maxManifests || d.Size > maxManifestBytes-t.raw {
		return fmt.Errorf("%w: more than %d manifests, or %d MiB of them", ErrCorrupt, maxManifests, maxManifestBytes>>20)
	}
	t.raw += d.Size
	raw, err := t.read(ctx, d)
	if err != nil {
		return err
	}
	links, err := mediatypes.ParseLinks(raw, d)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, d.Digest, err)
	}
	m := closureManifest{ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, raw, links}
	t.manifests = append(t.manifests, m)
	for _, c := range links.Manifests {
		if !isManifest(c.MediaType) {
			// What BuildKit caches, for example, is an image index of layers.
			err = t.blob(&t.layers, c)
		} else {
			err = t.manifest(ctx, c, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return t.parts(links)
}

// parts adds the config and the layers of a manifest. The index layer comes
// before the other layers, so that who reads an archive as a stream knows the
// places of all files before the first of their bytes.
func (t *closure) parts(l *mediatypes.Links) error {
	if l.Config != nil {
		if err := t.blob(&t.configs, *l.Config); err != nil {
			return err
		}
	}
	for _, first := range []bool{true, false} {
		for _, d := range l.Layers {
			if (d.MediaType == mediatypes.IndexLayer) != first {
				continue
			}
			if err := t.blob(&t.layers, d); err != nil {
				return err
			}
		}
	}
	return nil
}
