package mediatypes

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ParseManifest parses an OCI image manifest that d describes. Members that it
// does not know are ignored, as image-spec v1.1.1 demands, but not one that a
// reader which ignores case would take for a known one, nor one that would
// make the document an image index as well.
//
// It does not ask for a model: the types of the artifact, the config and the
// layers are the caller's to compare. The result shares no memory with raw.
// An error is an [*Error].
func ParseManifest(raw []byte, d ocispec.Descriptor) (*ocispec.Manifest, error) {
	const object = "manifest"
	var m ocispec.Manifest
	if err := parse(object, raw, d, MaxManifestSize, &m, "manifests", "fsLayers"); err != nil {
		return nil, err
	}
	if err := checkMediaType(m.MediaType, d.MediaType, ocispec.MediaTypeImageManifest); err != nil {
		return nil, within(object, err)
	}
	if err := checkManifest(&m); err != nil {
		return nil, within(object, err)
	}
	return &m, nil
}

// ParseManifestIndex parses an OCI image index that d describes, as
// [ParseManifest] does a manifest.
func ParseManifestIndex(raw []byte, d ocispec.Descriptor) (*ocispec.Index, error) {
	const object = "image index"
	var x ocispec.Index
	if err := parse(object, raw, d, MaxManifestSize, &x, "config", "layers", "fsLayers"); err != nil {
		return nil, err
	}
	if err := checkMediaType(x.MediaType, d.MediaType, ocispec.MediaTypeImageIndex); err != nil {
		return nil, within(object, err)
	}
	if err := checkManifestIndex(&x); err != nil {
		return nil, within(object, err)
	}
	return &x, nil
}

// ParseConfig parses an OCI image config that d describes, as [ParseManifest]
// does a manifest. The config must name a platform and at least one layer:
// containerd mounts nothing, in silence, for one that does not.
func ParseConfig(raw []byte, d ocispec.Descriptor) (*ocispec.Image, error) {
	const object = "config"
	var c ocispec.Image
	if err := parse(object, raw, d, MaxConfigSize, &c, "layers", "manifests"); err != nil {
		return nil, err
	}
	// A config does not carry its type.
	if err := checkMediaType(ocispec.MediaTypeImageConfig, d.MediaType, ocispec.MediaTypeImageConfig); err != nil {
		return nil, within(object, err)
	}
	if err := checkConfig(&c); err != nil {
		return nil, within(object, err)
	}
	return &c, nil
}

// parse checks raw against its descriptor and unmarshals it strictly into v, a
// pointer to a struct. The members in forbidden must not be there.
func parse(object string, raw []byte, d ocispec.Descriptor, most int64, v any, forbidden ...string) error {
	switch {
	case d.Size > most || int64(len(raw)) > most:
		return wrong(object, "is larger than %d bytes", most)
	case d.Size != int64(len(raw)):
		return wrong(object, "has %d bytes, its descriptor says %d", len(raw), d.Size)
	}
	if err := checkDescriptor(&d); err != nil {
		err.Object = "descriptor" + err.Object
		return within(object, err)
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return wrong(object, "has digest %s, its descriptor says %s", got, d.Digest)
	}
	if err := checkMembers(raw, v, forbidden); err != nil {
		return jsonError(object, 0, err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return jsonError(object, 0, err)
	}
	return nil
}

// checkMediaType compares the type that a document and its descriptor give
// with the one it was parsed as. Either may be silent, but not both.
func checkMediaType(body, descriptor, want string) *Error {
	switch {
	case body != "" && body != want:
		return wrong("/mediaType", "is %q, not %q", printable(body), want)
	case descriptor != "" && descriptor != want:
		return wrong("descriptor/mediaType", "is %q, not %q", printable(descriptor), want)
	case body == "" && descriptor == "":
		return wrong("/mediaType", "missing, here and in the descriptor")
	}
	return nil
}

func checkManifest(m *ocispec.Manifest) *Error {
	switch {
	case m.SchemaVersion != 2:
		return wrong("/schemaVersion", "is %d, not 2", m.SchemaVersion)
	case len(m.Layers) == 0:
		return wrong("/layers", "no layers")
	case m.Config.Size > MaxConfigSize:
		return wrong("/config/size", "is larger than %d bytes", MaxConfigSize)
	}
	if err := checkHead(m.ArtifactType, m.Annotations, m.Subject); err != nil {
		return err
	}
	sizes := newBlobSizes()
	if err := sizes.add("/config", &m.Config); err != nil {
		return err
	}
	for i := range m.Layers {
		if err := sizes.add(fmt.Sprintf("/layers/%d", i), &m.Layers[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkManifestIndex(x *ocispec.Index) *Error {
	switch {
	case x.SchemaVersion != 2:
		return wrong("/schemaVersion", "is %d, not 2", x.SchemaVersion)
	case x.Manifests == nil:
		return wrong("/manifests", "missing")
	}
	if err := checkHead(x.ArtifactType, x.Annotations, x.Subject); err != nil {
		return err
	}
	sizes := newBlobSizes()
	for i := range x.Manifests {
		d := &x.Manifests[i]
		if err := sizes.add(fmt.Sprintf("/manifests/%d", i), d); err != nil {
			return err
		}
		if d.Size > MaxManifestSize {
			return wrong(fmt.Sprintf("/manifests/%d/size", i), "is larger than %d bytes", MaxManifestSize)
		}
	}
	return nil
}

func checkConfig(c *ocispec.Image) *Error {
	switch {
	case c.OS == "":
		return wrong("/os", "missing")
	case c.Architecture == "":
		return wrong("/architecture", "missing")
	case c.RootFS.Type != "layers":
		return wrong("/rootfs/type", "is %q, not \"layers\"", printable(c.RootFS.Type))
	case len(c.RootFS.DiffIDs) == 0:
		return wrong("/rootfs/diff_ids", "no layers")
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := checkDigest(d); err != nil {
			return &Error{fmt.Sprintf("/rootfs/diff_ids/%d", i), -1, "invalid digest", err}
		}
	}
	return nil
}

// checkHead checks what manifests and image indexes have in common.
func checkHead(artifactType string, annotations map[string]string, subject *ocispec.Descriptor) *Error {
	if artifactType != "" && !isMediaType(artifactType) {
		return wrong("/artifactType", "not a media type")
	}
	if err := checkAnnotations(annotations); err != nil {
		return err
	}
	if subject == nil {
		return nil
	}
	return newBlobSizes().add("/subject", subject)
}

// blobSizes holds the sizes that a document gives for the blobs it names.
type blobSizes struct {
	size  map[digest.Digest]int64
	total int64
}

func newBlobSizes() *blobSizes { return &blobSizes{size: map[digest.Digest]int64{}} }

// add checks a descriptor in a document, that the document gives the blob one
// size only, and that the sizes can be added up.
func (s *blobSizes) add(object string, d *ocispec.Descriptor) *Error {
	err := checkDescriptor(d)
	size, seen := s.size[d.Digest]
	switch {
	case err != nil:
	case d.MediaType == "":
		err = wrong("/mediaType", "missing")
	case seen && size != d.Size:
		err = wrong("/size", "is %d, and was %d for the same digest", d.Size, size)
	case d.Size > math.MaxInt64-s.total:
		err = wrong("/size", "total size overflows")
	}
	if err != nil {
		err.Object = object + err.Object
		return err
	}
	s.size[d.Digest] = d.Size
	s.total += d.Size
	return nil
}

// checkDescriptor checks a descriptor, whose media type may be empty.
func checkDescriptor(d *ocispec.Descriptor) *Error {
	if err := checkDigest(d.Digest); err != nil {
		return &Error{"/digest", -1, "invalid digest", err}
	}
	switch {
	case d.MediaType != "" && !isMediaType(d.MediaType):
		return wrong("/mediaType", "not a media type")
	case d.ArtifactType != "" && !isMediaType(d.ArtifactType):
		return wrong("/artifactType", "not a media type")
	case d.Size < 0 || d.Size == math.MaxInt64:
		// One less than the largest number, so that a reader can ask for one
		// byte more than it expects.
		return wrong("/size", "size %d", d.Size)
	case d.URLs != nil:
		return wrong("/urls", "content is only taken from the registry")
	case d.Data != nil && (int64(len(d.Data)) != d.Size || d.Digest.Algorithm().FromBytes(d.Data) != d.Digest):
		return wrong("/data", "does not match size and digest")
	}
	return checkAnnotations(d.Annotations)
}

func checkAnnotations(annotations map[string]string) *Error {
	if len(annotations) > MaxAnnotations {
		return wrong("/annotations", "more than %d", MaxAnnotations)
	}
	size := 0
	for k, v := range annotations {
		size += len(k) + len(v)
	}
	if size > MaxAnnotationBytes {
		return wrong("/annotations", "more than %d bytes", MaxAnnotationBytes)
	}
	return nil
}

// isMediaType reports whether s is type/subtype as RFC 6838, section 4.2,
// restricts their names.
func isMediaType(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	return ok && isRestrictedName(kind) && isRestrictedName(sub)
}

func isRestrictedName(s string) bool {
	if s == "" || len(s) > 127 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !alnum && (i == 0 || bytes.IndexByte([]byte("!#$&-^_.+"), c) < 0) {
			return false
		}
	}
	return true
}
