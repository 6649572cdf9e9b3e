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
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"` // what it says itself; "": nothing
	ArtifactType  string               `json:"artifactType"`
	Manifests     []ocispec.Descriptor `json:"manifests"` // of an image index; not all are manifests
	Config        *ocispec.Descriptor  `json:"config"`    // of a manifest
	Layers        []ocispec.Descriptor `json:"layers"`    // of a manifest; there may be none
	Subject       *ocispec.Descriptor  `json:"subject"`   // what it refers to, or nil
	Annotations   map[string]string    `json:"annotations"`
}

// Kind is the artifact type or, where there is none, the type of the config, as the
// referrers API of the distribution spec v1.1 has it.
func (l *Links) Kind() string {
	if l.ArtifactType == "" && l.Config != nil {
		return l.Config.MediaType
	}
	return l.ArtifactType
}

// ReadLinks parses the manifest or image index, of OCI or of Docker, that d
// describes. It is for those who look for what is damaged or foreign: only the form
// is checked, and that it can be taken for one of the two alone, not what it says.
// An error is an [*Error].
func ReadLinks(raw []byte, d ocispec.Descriptor) (*Links, error) {
	object, forbidden, err := linksKind(d)
	if err != nil {
		return nil, err
	}
	l := &Links{}
	if err := parse(object, raw, d, MaxManifestSize, l, forbidden...); err != nil {
		return nil, err
	}
	return l, nil
}

// ParseLinks is ReadLinks, as strict as [ParseManifest] about what would make a copy
// differ from what another reader sees. It leaves the rest to those who know the
// artifact.
func ParseLinks(raw []byte, d ocispec.Descriptor) (*Links, error) {
	l, err := ReadLinks(raw, d)
	if err != nil {
		return nil, err
	}
	object, _, _ := linksKind(d)
	if err := l.check(d.MediaType); err != nil {
		return nil, within(object, err)
	}
	return l, nil
}

// linksKind names the kind of document that d describes, and the members that only
// others have.
func linksKind(d ocispec.Descriptor) (object string, forbidden []string, err error) {
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, dockerList:
		return "image index", []string{"config", "layers", "fsLayers"}, nil
	case ocispec.MediaTypeImageManifest, dockerManifest:
		return "manifest", []string{"manifests", "fsLayers"}, nil
	}
	return "", nil, wrong("manifest", "media type %q is not that of a manifest", printable(d.MediaType))
}

// check checks a document of that media type.
func (l *Links) check(mediaType string) *Error {
	if l.SchemaVersion != 2 {
		return wrong("/schemaVersion", "is %d, not 2", l.SchemaVersion)
	}
	// The type it gives itself, if it does, is the one it was parsed as.
	if err := checkMediaType(l.MediaType, mediaType, mediaType); err != nil {
		return err
	}
	if err := checkHead(l.ArtifactType, l.Annotations, l.Subject); err != nil {
		return err
	}
	sizes := newBlobSizes()
	name, list := "manifests", l.Manifests
	if mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest {
		if l.Config == nil {
			return wrong("/config", "missing")
		}
		if err := sizes.add("/config", l.Config); err != nil {
			return err
		}
		name, list = "layers", l.Layers
	}
	for i := range list {
		if err := sizes.add(fmt.Sprintf("/%s/%d", name, i), &list[i]); err != nil {
			return err
		}
	}
	return nil
}
