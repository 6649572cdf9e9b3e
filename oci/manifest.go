package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// platforms of the manifests: containerd unpacks an image only if the platform
// in its config is the node's. The weights are the same for all.
var platforms = []ocispec.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64"},
}

// publish stores the configs, the manifests and the image index over layers, and
// tags the index: mediatypes/ARTIFACT.md, "Manifests".
func (p *pusher) publish(ctx context.Context, layers []*layer) (*PushResult, error) {
	descs := make([]ocispec.Descriptor, len(layers))
	diffIDs := make([]digest.Digest, len(layers))
	for i, l := range layers {
		descs[i] = l.desc
		descs[i].Annotations = l.annotations(i)
		diffIDs[i] = l.desc.Digest
	}
	// No artifactType here, nor in the descriptors: skopeo 1.9 does not know it
	// in an index and would write the index anew without it, of another digest.
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
	}
	res := &PushResult{}
	for _, platform := range platforms {
		config, err := json.Marshal(ocispec.Image{
			Platform: platform,
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: diffIDs},
		})
		if err != nil {
			return nil, fmt.Errorf("writing config: %w", err)
		}
		configDesc, err := putBlob(ctx, p.target, ocispec.MediaTypeImageConfig, config)
		if err != nil {
			return nil, err
		}
		desc, err := p.putManifest(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned:    specs.Versioned{SchemaVersion: 2},
			MediaType:    ocispec.MediaTypeImageManifest,
			ArtifactType: mediatypes.ArtifactType,
			Config:       configDesc,
			Layers:       descs,
		})
		if err != nil {
			return nil, err
		}
		desc.Platform = &platform
		index.Manifests = append(index.Manifests, desc)
		res.Manifests = append(res.Manifests, ManifestDigest{platformName(&platform), desc.Digest})
	}
	desc, err := p.putManifest(ctx, ocispec.MediaTypeImageIndex, index)
	if err != nil {
		return nil, err
	}
	res.Digest = desc.Digest
	return res, p.target.Publish(ctx, desc)
}

func platformName(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return p.OS + "/" + p.Architecture
}

func (p *pusher) putManifest(ctx context.Context, mediaType string, v any) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing manifest: %w", err)
	}
	if len(raw) > mediatypes.MaxManifestSize {
		return ocispec.Descriptor{}, fmt.Errorf("manifest of %d bytes, registries take %d: use a larger layer size", len(raw), mediatypes.MaxManifestSize)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return d, p.target.PutManifest(ctx, d, raw)
}

// annotations of the layer with number i. Each has a title of its own, without
// which oras skips a layer.
func (l *layer) annotations(i int) map[string]string {
	kind := "tensors"
	a := map[string]string{mediatypes.AnnotationDecoded: strconv.FormatInt(l.decoded, 10)}
	switch b := l.group.block; {
	case l.group.mediaType == mediatypes.IndexLayer:
		kind = "index"
	case l.group.mediaType == mediatypes.FilesLayer:
		kind = "files"
	case b != (block{}):
		kind = "block"
		a[mediatypes.AnnotationStack] = b.stack
		a[mediatypes.AnnotationBlock] = strconv.Itoa(b.number)
	}
	a[mediatypes.AnnotationTitle] = fmt.Sprintf("%04d-%s.bsm", i, kind)
	if len(l.dtypes) > 0 {
		a[mediatypes.AnnotationDtypes] = strings.Join(slices.Sorted(maps.Keys(l.dtypes)), ",")
	}
	return a
}
