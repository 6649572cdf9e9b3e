package oci

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// hostileManifests are artifacts whose manifests are forged.
var hostileManifests = []hostile{
	{"platforms of different layers", byOpen, "other platform", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(i int, m map[string]any) {
			if l := m["layers"].([]any); i == 1 {
				l[0], l[1] = l[1], l[0]
			}
		}
	}},
	{"second platform has a layer less", byOpen, "other platform", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(i int, m map[string]any) { m["layers"] = m["layers"].([]any)[i:] }
	}},
	{"layers in another order than in the index", byOpen, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { l := m["layers"].([]any); l[0], l[1] = l[1], l[0] }
	}},
	{"layer that the index does not know", byOpen, "layers", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			m["layers"] = slices.Insert(m["layers"].([]any), 0, m["layers"].([]any)[0])
		}
	}},
	{"type of a layer", byOpen, "layer 0", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["layers"].([]any)[0].(map[string]any))
			d["mediaType"] = ocispec.MediaTypeImageLayerGzip
			m["layers"].([]any)[0] = d
		}
	}},
	{"no index layer", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { l := m["layers"].([]any); m["layers"] = l[:len(l)-1] }
	}},
	{"both layers and manifests", byOpen, "manifest", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["manifests"] = []any{} }
	}},
	{"twin of layers", byOpen, "manifest", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["LAYERS"] = m["layers"] }
	}},
	{"urls", byOpen, "urls", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["layers"].([]any)[0].(map[string]any))
			d["urls"] = []string{"http://169.254.169.254/"}
			m["layers"].([]any)[0] = d
		}
	}},
	{"data that does not match", byOpen, "data", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["config"].(map[string]any))
			d["data"] = []byte("something else")
			m["config"] = d
		}
	}},
	{"negative size", byOpen, "size", nil, layerMember("size", -5)},
	{"digest that is a path", byOpen, "digest", nil, layerMember("digest", "sha256:../../../../etc/passwd")},
	{"upper-case digest", byOpen, "digest", nil, layerMember("digest", "sha256:"+strings.Repeat("A", 64))},
	{"sha1", byOpen, "digest", nil, layerMember("digest", "sha1:"+strings.Repeat("a", 40))},
	{"size of 100 GB for the config", byOpen, "config", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["config"].(map[string]any))
			d["size"] = 100_000_000_000
			m["config"] = d
		}
	}},
	{"too many layers", byOpen, "layers", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			m["layers"] = slices.Repeat(m["layers"].([]any)[:1], mediatypes.MaxLayers+1)
		}
	}},
	{"large annotation", byOpen, "annotation", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["annotations"] = map[string]string{"a": strings.Repeat("x", 1<<20)} }
	}},
	{"manifest of 5 MiB", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["x"] = strings.Repeat("x", 5<<20) }
	}},
	{"diff_ids that are not the layers", byPull, "diff_ids", nil, func(_ testing.TB, f *forgery) {
		f.editConfig = func(_ int, c map[string]any) {
			ids := slices.Clone(c["rootfs"].(map[string]any)["diff_ids"].([]string))
			ids[0] = ids[1]
			c["rootfs"] = map[string]any{"type": "layers", "diff_ids": ids}
		}
	}},
	{"config of no platform", byPull, "config", nil, func(_ testing.TB, f *forgery) {
		f.editConfig = func(_ int, c map[string]any) { delete(c, "os") }
	}},
	{"manifest of another artifact", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["artifactType"] = "application/vnd.example" }
	}},
	{"container image", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.editImage = func(x map[string]any) { delete(x, "artifactType") }
		f.editManifest = func(_ int, m map[string]any) { delete(m, "artifactType") }
	}},
	{"single container image", byOpen, "", ErrNotModel, func(_ testing.TB, f *forgery) {
		f.extra = func(put func([]byte) digest.Digest) string {
			c := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`)
			d := put(c)
			put(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
				ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, d, len(c), ocispec.MediaTypeImageLayerGzip, d, len(c)))
			return ocispec.MediaTypeImageManifest
		}
	}},
	{"no manifests", byOpen, "0 manifests", nil, func(_ testing.TB, f *forgery) {
		f.editImage = func(x map[string]any) { x["manifests"] = []any{} }
	}},
	{"very many manifests", byOpen, "1000 manifests", nil, func(_ testing.TB, f *forgery) {
		f.editImage = func(x map[string]any) { x["manifests"] = slices.Repeat(x["manifests"].([]any)[:1], 1000) }
	}},
	{"index of an index", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.extra = func(put func([]byte) digest.Digest) string {
			inner := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"manifests":[]}`, ocispec.MediaTypeImageIndex, mediatypes.ArtifactType)
			d := put(inner)
			put(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
				ocispec.MediaTypeImageIndex, mediatypes.ArtifactType, ocispec.MediaTypeImageIndex, d, len(inner)))
			return ocispec.MediaTypeImageIndex
		}
	}},
	{"manifest that says to be an index", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) { m["mediaType"] = ocispec.MediaTypeImageIndex }
	}},
	{"missing layer", byPull, "", ErrNotFound, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) { delete(blobs, f.index.Layers[block1].Digest) }
	}},
	{"missing manifest", byOpen, "", ErrNotFound, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) {
			maps.DeleteFunc(blobs, func(_ digest.Digest, b []byte) bool { return bytes.Contains(b, []byte(`"config":`)) })
		}
	}},
	{"missing config", byPull, "", ErrNotFound, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) {
			maps.DeleteFunc(blobs, func(_ digest.Digest, b []byte) bool { return bytes.Contains(b, []byte(`"diff_ids":`)) })
		}
	}},
	{"layer of another size", byPull, "", nil, func(_ testing.TB, f *forgery) {
		f.editLayout = func(blobs map[digest.Digest][]byte) {
			d := f.index.Layers[block1].Digest
			blobs[d] = blobs[d][:len(blobs[d])-1]
		}
	}},
}

func layerMember(name string, value any) func(testing.TB, *forgery) {
	return func(_ testing.TB, f *forgery) {
		f.editManifest = func(_ int, m map[string]any) {
			d := maps.Clone(m["layers"].([]any)[0].(map[string]any))
			d[name] = value
			m["layers"].([]any)[0] = d
		}
	}
}
