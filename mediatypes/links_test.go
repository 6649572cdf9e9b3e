package mediatypes

import (
	"errors"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker returns a document with Docker's names for its types.
func docker(doc string) string {
	return strings.NewReplacer(ocispec.MediaTypeImageIndex, dockerList, ocispec.MediaTypeImageManifest, dockerManifest).Replace(doc)
}

func TestParseLinks(t *testing.T) {
	head, _, _ := strings.Cut(goodManifest, `"layers"`)
	noLayers := head + `"layers":[]}`
	subject := strings.Replace(goodManifest, `"config"`, `"subject":{"mediaType":"a/b","digest":"`+abc+`","size":3},"config"`, 1)
	plain := strings.Replace(goodManifest, `"artifactType":"application/vnd.oras-bsm.model.v1",`, "", 1)
	for _, tt := range []struct {
		name, doc, mediaType string
		manifests, layers    int
		artifactType         string
	}{
		{"manifest", goodManifest, ocispec.MediaTypeImageManifest, 0, 2, ArtifactType},
		{"docker manifest", docker(goodManifest), dockerManifest, 0, 2, ArtifactType},
		{"index", goodIndex, ocispec.MediaTypeImageIndex, 1, 0, ""},
		{"docker list", docker(goodIndex), dockerList, 1, 0, ""},
		{"no layers", noLayers, ocispec.MediaTypeImageManifest, 0, 0, ArtifactType},
		{"subject", subject, ocispec.MediaTypeImageManifest, 0, 2, ArtifactType},
		{"type of the config", plain, ocispec.MediaTypeImageManifest, 0, 2, ocispec.MediaTypeImageConfig},
		{"large blob in an index", strings.Replace(goodIndex, `"size":3`, `"size":99999999999`, 1), ocispec.MediaTypeImageIndex, 1, 0, ""},
	} {
		l, err := ParseLinks([]byte(tt.doc), describe([]byte(tt.doc), tt.mediaType))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(l.Manifests) != tt.manifests || len(l.Layers) != tt.layers || (l.Config == nil) != (tt.manifests > 0) || l.Kind() != tt.artifactType || (l.Subject == nil) != (tt.name != "subject") {
			t.Errorf("%s: %+v", tt.name, l)
		}
	}
}

func TestParseLinksRefuses(t *testing.T) {
	for _, tt := range []struct{ name, doc, mediaType, object string }{
		{"type", goodManifest, "application/json", "manifest"},
		{"other type", goodManifest, dockerManifest, "manifest /mediaType"},
		{"index as manifest", goodIndex, ocispec.MediaTypeImageManifest, "manifest /manifests"},
		{"manifest as index", goodManifest, ocispec.MediaTypeImageIndex, "image index /config"},
		{"version", strings.Replace(goodIndex, `"schemaVersion":2`, `"schemaVersion":1`, 1), ocispec.MediaTypeImageIndex, "image index /schemaVersion"},
		{"urls", strings.Replace(goodManifest, `"size":3`, `"size":3,"urls":["https://example.com"]`, 1), ocispec.MediaTypeImageManifest, "manifest /layers/0/urls"},
		{"twin", strings.Replace(goodManifest, `"layers"`, `"LAYERS"`, 1), ocispec.MediaTypeImageManifest, "manifest"},
		{"size", strings.Replace(goodIndex, `"size":3`, `"size":-3`, 1), ocispec.MediaTypeImageIndex, "image index /manifests/0/size"},
		{"subject", strings.Replace(goodIndex, `"manifests"`, `"subject":{"mediaType":"a/b","digest":"x","size":1},"manifests"`, 1), ocispec.MediaTypeImageIndex, "image index /subject/digest"},
		{"trailing", goodIndex + "{}", ocispec.MediaTypeImageIndex, "image index"},
	} {
		_, err := ParseLinks([]byte(tt.doc), describe([]byte(tt.doc), tt.mediaType))
		if e, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(e.Object, tt.object) {
			t.Errorf("%s: %v, want an error about %q", tt.name, err, tt.object)
		}
	}
}

// TestReadLinks reads what breaks a rule, as long as it is one kind of document.
func TestReadLinks(t *testing.T) {
	for _, tt := range []struct {
		name, doc, mediaType string
		layers               int // -1: refused
	}{
		{"version", strings.Replace(goodManifest, `"schemaVersion":2`, `"schemaVersion":1`, 1), ocispec.MediaTypeImageManifest, 2},
		{"urls", strings.Replace(goodManifest, `"size":3`, `"size":3,"urls":["https://example.com"]`, 1), ocispec.MediaTypeImageManifest, 2},
		{"no config", strings.Replace(goodManifest, `"config"`, `"other"`, 1), ocispec.MediaTypeImageManifest, 2},
		{"size", strings.Replace(goodManifest, `"size":3`, `"size":-3`, 1), ocispec.MediaTypeImageManifest, 2},
		{"other type", goodManifest, dockerManifest, 2},
		{"manifest as index", goodManifest, ocispec.MediaTypeImageIndex, -1},
		{"index as manifest", goodIndex, ocispec.MediaTypeImageManifest, -1},
		{"twin", strings.Replace(goodManifest, `"layers"`, `"LAYERS"`, 1), ocispec.MediaTypeImageManifest, -1},
		{"type", goodManifest, "application/json", -1},
	} {
		l, err := ReadLinks([]byte(tt.doc), describe([]byte(tt.doc), tt.mediaType))
		if (err != nil) != (tt.layers < 0) || err == nil && len(l.Layers) != tt.layers {
			t.Errorf("%s: %+v, %v", tt.name, l, err)
		}
		if _, err := ParseLinks([]byte(tt.doc), describe([]byte(tt.doc), tt.mediaType)); err == nil {
			t.Errorf("%s: ParseLinks takes it", tt.name)
		}
	}
}

// FuzzParseLinks: what ParseManifest and ParseManifestIndex take, ParseLinks takes,
// with the same blobs.
func FuzzParseLinks(f *testing.F) {
	f.Add([]byte(goodManifest))
	f.Add([]byte(goodIndex))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ParseLinks(raw, describe(raw, ocispec.MediaTypeImageManifest))
		if m, merr := ParseManifest(raw, describe(raw, ocispec.MediaTypeImageManifest)); merr == nil {
			if err != nil || len(l.Layers) != len(m.Layers) {
				t.Fatalf("manifest: %v, %v", l, err)
			}
		}
		l, err = ParseLinks(raw, describe(raw, ocispec.MediaTypeImageIndex))
		if x, xerr := ParseManifestIndex(raw, describe(raw, ocispec.MediaTypeImageIndex)); xerr == nil {
			if err != nil || len(l.Manifests) != len(x.Manifests) {
				t.Fatalf("index: %v, %v", l, err)
			}
		}
	})
}
