package mediatypes

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of Docker, which mean what OCI's mean.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Links are what a manifest or an image index says about other blobs, whatever
// it is an artifact of.
type Links struct {
	// ArtifactType is its own or, where it has none, the type of its config, as
	// the referrers API of the distribution spec v1.1 has it.
	ArtifactType string
	Annotations  map[string]string

	Manifests []ocispec.Descriptor // of an image index; not all are manifests
	Config    *ocispec.Descriptor  // of a manifest
	Layers    []ocispec.Descriptor // of a manifest; there may be none
	Subject   *ocispec.Descriptor  // what it refers to, or nil
}

// ParseLinks parses the manifest or image index, of OCI or of Docker, that d
// describes. It is as strict as [ParseManifest] is about what would make a copy
// differ from what another reader sees, and leaves the rest to those who know
// the artifact. An error is an [*Error].
func ParseLinks(raw []byte, d ocispec.Descriptor) (*Links, error) {
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, dockerList:
		return parseIndexLinks(raw, d)
	case ocispec.MediaTypeImageManifest, dockerManifest:
		return parseManifestLinks(raw, d)
	}
	return nil, wrong("manifest", "media type %q is not that of a manifest", printable(d.MediaType))
}

func parseIndexLinks(raw []byte, d ocispec.Descriptor) (*Links, error) {
	const object = "image index"
	var x ocispec.Index
	if err := parse(object, raw, d, MaxManifestSize, &x, "config", "layers", "fsLayers"); err != nil {
		return nil, err
	}
	err := checkLinks(x.SchemaVersion, x.MediaType, d.MediaType)
	if err == nil {
		err = checkHead(x.ArtifactType, x.Annotations, x.Subject)
	}
	sizes := newBlobSizes()
	for i := 0; i < len(x.Manifests) && err == nil; i++ {
		err = sizes.add(fmt.Sprintf("/manifests/%d", i), &x.Manifests[i])
	}
	if err != nil {
		return nil, within(object, err)
	}
	return &Links{ArtifactType: x.ArtifactType, Annotations: x.Annotations, Manifests: x.Manifests, Subject: x.Subject}, nil
}

func parseManifestLinks(raw []byte, d ocispec.Descriptor) (*Links, error) {
	const object = "manifest"
	var m ocispec.Manifest
	if err := parse(object, raw, d, MaxManifestSize, &m, "manifests", "fsLayers"); err != nil {
		return nil, err
	}
	err := checkLinks(m.SchemaVersion, m.MediaType, d.MediaType)
	if err == nil {
		err = checkHead(m.ArtifactType, m.Annotations, m.Subject)
	}
	sizes := newBlobSizes()
	if err == nil {
		err = sizes.add("/config", &m.Config)
	}
	for i := 0; i < len(m.Layers) && err == nil; i++ {
		err = sizes.add(fmt.Sprintf("/layers/%d", i), &m.Layers[i])
	}
	if err != nil {
		return nil, within(object, err)
	}
	l := &Links{ArtifactType: m.ArtifactType, Annotations: m.Annotations, Config: &m.Config, Layers: m.Layers, Subject: m.Subject}
	if l.ArtifactType == "" {
		l.ArtifactType = m.Config.MediaType
	}
	return l, nil
}

// checkLinks checks the version of a document and that the type it gives itself,
// if it does, is the one it was parsed as.
func checkLinks(version int, body, want string) *Error {
	if version != 2 {
		return wrong("/schemaVersion", "is %d, not 2", version)
	}
	return checkMediaType(body, want, want)
}
