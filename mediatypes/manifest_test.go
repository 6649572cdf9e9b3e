package mediatypes

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	abc    = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	empty  = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	abc512 = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

	goodManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"artifactType":"application/vnd.oras-bsm.model.v1",` +
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + empty + `","size":2,"data":"e30="},` +
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.bsm.block.v1","digest":"` + abc + `","size":3,` +
		`"annotations":{"org.opencontainers.image.title":"model.layers.0.bsm"}},` +
		`{"mediaType":"application/vnd.oci.image.layer.bsm.index.v1","digest":"` + abc512 + `","size":3}],` +
		`"annotations":{"org.opencontainers.image.licenses":"MIT"}}`

	goodIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` +
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + abc + `","size":3,` +
		`"platform":{"architecture":"amd64","os":"linux"}}]}`

	goodConfig = `{"created":"2026-01-02T03:04:05Z","architecture":"arm64","os":"linux","config":{"Env":["A=B"]},` +
		`"rootfs":{"type":"layers","diff_ids":["` + abc + `","` + abc512 + `"]}}`
)

// describe returns the descriptor of raw.
func describe(raw []byte, mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

func parseManifest(raw []byte) error {
	_, err := ParseManifest(raw, describe(raw, ocispec.MediaTypeImageManifest))
	return err
}

func parseManifestIndex(raw []byte) error {
	_, err := ParseManifestIndex(raw, describe(raw, ocispec.MediaTypeImageIndex))
	return err
}

func parseConfig(raw []byte) error {
	_, err := ParseConfig(raw, describe(raw, ocispec.MediaTypeImageConfig))
	return err
}

func TestGoodDocuments(t *testing.T) {
	m, err := ParseManifest([]byte(goodManifest), describe([]byte(goodManifest), ""))
	if err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != ArtifactType || len(m.Layers) != 2 || m.Layers[1].Digest != abc512 ||
		m.Layers[0].Annotations[AnnotationTitle] != "model.layers.0.bsm" || string(m.Config.Data) != "{}" {
		t.Errorf("manifest %+v", m)
	}
	x, err := ParseManifestIndex([]byte(goodIndex), describe([]byte(goodIndex), ""))
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Manifests) != 1 || x.Manifests[0].Platform.Architecture != "amd64" {
		t.Errorf("image index %+v", x)
	}
	c, err := ParseConfig([]byte(goodConfig), describe([]byte(goodConfig), ""))
	if err != nil {
		t.Fatal(err)
	}
	if c.Architecture != "arm64" || len(c.RootFS.DiffIDs) != 2 || c.Created.Year() != 2026 {
		t.Errorf("config %+v", c)
	}
	// What image-spec tells readers to ignore, and a type given only outside.
	for _, raw := range []string{
		strings.Replace(goodManifest, `"layers"`, `"x-vendor":{"Size":[1]},"layers"`, 1),
		strings.Replace(goodManifest, `"size":3,`, `"size":3,"x":null,`, 1),
		strings.Replace(goodManifest, `"mediaType":"application/vnd.oci.image.manifest.v1+json",`, ``, 1),
		strings.Replace(goodManifest, `"org.opencontainers.image.title"`, `"SIZE":"a","Size":"b","org.opencontainers.image.title"`, 1),
		" \n" + goodManifest + "\t",
	} {
		if err := parseManifest([]byte(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestHostileDocuments edits a good document in one place.
func TestHostileDocuments(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	kinds := map[string]struct {
		text  string
		parse func([]byte) error
	}{
		"manifest":    {goodManifest, parseManifest},
		"image index": {goodIndex, parseManifestIndex},
		"config":      {goodConfig, parseConfig},
	}
	layer := `{"mediaType":"a/b","digest":"` + abc + `","size":3},`
	tests := []struct{ name, kind, member, old, new string }{
		{"manifest and index", "manifest", "/manifests", `"layers"`, `"manifests":[],"layers"`},
		{"manifest and index, other case", "manifest", "/Manifests", `"layers"`, `"Manifests":[],"layers"`},
		{"index and manifest", "image index", "/layers", `"manifests"`, `"layers":[],"manifests"`},
		{"index with a config", "image index", "/config", `"manifests"`, `"config":{},"manifests"`},
		{"case twin before", "manifest", "/LAYERS", `"layers"`, `"LAYERS":[],"layers"`},
		{"case variant alone", "manifest", "/LAYERS", `"layers"`, `"LAYERS"`},
		{"case twin in a descriptor", "manifest", "/layers/0/Size", `"size":3,`, `"size":3,"Size":4,`},
		{"case twin by Unicode", "manifest", "/layers/0/\u017fize", `"size":3,`, `"size":3,"ſize":4,`},
		{"case twin in a platform", "image index", "/manifests/0/platform/OS", `"os":"linux"`, `"os":"linux","OS":"x"`},
		{"case twin in a config", "config", "/rootfs/Diff_IDs", `"diff_ids"`, `"Diff_IDs":[],"diff_ids"`},
		{"member twice", "manifest", "/layers", `"layers"`, `"layers":[],"layers"`},
		{"unknown member twice", "manifest", "/x", `"layers"`, `"x":1,"x":2,"layers"`},
		{"annotation twice", "manifest", "/annotations/a", `{"org.opencontainers.image.licenses"`, `{"a":"1","a":"2","org.opencontainers.image.licenses"`},
		{"trailing garbage", "manifest", "", `"annotations":{"org.opencontainers.image.licenses":"MIT"}}`, `"x":1} {}`},
		{"not an object", "manifest", "", goodManifest, `[]`},
		{"nothing", "manifest", "", goodManifest, ``},
		{"comment", "manifest", "", `{"schemaVersion"`, `/**/{"schemaVersion"`},
		{"invalid UTF-8", "manifest", "/annotations/org.opencontainers.image.licenses", `"MIT"`, "\"\xff\""},
		{"nested deeply", "manifest", "/x" + strings.Repeat("/0", 79) + "...", `"layers"`, `"x":` + strings.Repeat("[", 20000) + `,"layers"`},
		{"body of another type", "manifest", "/mediaType", `image.manifest.v1`, `image.index.v1`},
		{"body of another type", "image index", "/mediaType", `image.index.v1`, `image.manifest.v1`},
		{"type of another case", "manifest", "/mediaType", `vnd.oci.image.manifest`, `vnd.OCI.image.manifest`},
		{"schema 1", "manifest", "/schemaVersion", `"schemaVersion":2`, `"schemaVersion":1`},
		{"schema missing", "image index", "/schemaVersion", `"schemaVersion":2,`, ``},
		{"artifact type", "manifest", "/artifactType", `vnd.oras-bsm.model.v1"`, `\u001b[2J"`},

		{"no layers", "manifest", "/layers", `"layers":[`, `"layers":[],"x":[`},
		{"null layers", "manifest", "/layers", `"layers":[`, `"layers":null,"x":[`},
		{"layers missing", "manifest", "/layers", `"layers":[`, `"x":[`},
		{"layers an object", "manifest", "/layers", `"layers":[`, `"layers":{},"x":[`},
		{"100,000 layers", "manifest", "/layers/4095", `"layers":[`, `"layers":[` + strings.Repeat(`{},`, 100000)},
		{"100,000 manifests", "image index", "/manifests/4095", `"manifests":[`, `"manifests":[` + strings.Repeat(`{},`, 100000)},
		{"100,000 diff_ids", "config", "/rootfs/diff_ids/4095", `"diff_ids":[`, `"diff_ids":[` + strings.Repeat(`"",`, 10000)},
		{"manifests missing", "image index", "/manifests", `"manifests":[`, `"x":[`},
		{"config missing", "manifest", "/config/digest", `"config":{`, `"x":{`},
		{"config of 100 GB", "manifest", "/config/size", `"size":2,`, `"size":100000000000,`},
		{"manifest of 5 MiB", "image index", "/manifests/0/size", `"size":3,`, `"size":5242880,`},
		{"size -5", "manifest", "/layers/0/size", `"size":3,`, `"size":-5,`},
		{"size 2^63-1", "manifest", "/layers/0/size", `"size":3,`, `"size":9223372036854775807,`},
		{"size 2^64", "manifest", "/layers/0/size", `"size":3,`, `"size":18446744073709551616,`},
		{"size 3.5", "manifest", "/layers/0/size", `"size":3,`, `"size":3.5,`},
		{"size a string", "manifest", "/layers/0/size", `"size":3,`, `"size":"3",`},
		{"sizes overflow", "manifest", "/layers/1/size", `"size":3}`, `"size":9223372036854775806}`},
		{"one digest, two sizes", "manifest", "/layers/1/size", `"layers":[` + layer[:0], `"layers":[` + strings.Replace(layer, `:3`, `:4`, 1)},
		{"digest traversal", "manifest", "/layers/0/digest", abc, `sha256:../../x`},
		{"digest upper case", "manifest", "/layers/0/digest", abc, "sha256:" + strings.ToUpper(abc[7:])},
		{"digest sha1", "manifest", "/layers/0/digest", abc, "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"digest sha384", "manifest", "/layers/0/digest", abc, "sha384:" + strings.Repeat("a", 96)},
		{"digest empty", "manifest", "/layers/0/digest", abc, ""},
		{"diff_id md5", "config", "/rootfs/diff_ids/0", abc, "md5:900150983cd24fb0d6963f7d28e17f72"},
		{"layer type missing", "manifest", "/layers/0/mediaType", `"mediaType":"application/vnd.oci.image.layer.bsm.block.v1",`, ``},
		{"layer type garbage", "manifest", "/layers/0/mediaType", `application/vnd.oci.image.layer.bsm.block.v1`, `a/b\u0000`},
		{"urls", "manifest", "/layers/0/urls", `"size":3,`, `"size":3,"urls":["http://169.254.169.254/"],`},
		{"urls empty", "manifest", "/layers/0/urls", `"size":3,`, `"size":3,"urls":[],`},
		{"data of other bytes", "manifest", "/config/data", `"e30="`, `"W10="`},
		{"data of other length", "manifest", "/config/data", `"e30="`, `"e30g"`},
		{"data not base64", "manifest", "/config/data", `"e30="`, `"****"`},
		{"data empty", "manifest", "/config/data", `"e30="`, `""`},
		{"annotations 129", "manifest", "/layers/0/annotations/a127", `"annotations":{"org.opencontainers.image.title"`, `"annotations":{` + many(128, `"a%d":"",`) + `"org.opencontainers.image.title"`},
		{"annotation of 1 MiB", "manifest", "/annotations", `"MIT"`, `"` + strings.Repeat("x", 1<<20) + `"`},
		{"annotation a number", "manifest", "/annotations/org.opencontainers.image.licenses", `"MIT"`, `5`},
		{"subject", "manifest", "/subject/digest", `"layers"`, `"subject":{"mediaType":"a/b","size":3,"digest":"sha256:x"},"layers"`},

		{"subject of an index", "image index", "/subject/mediaType", `"manifests"`, `"subject":{"size":3,"digest":"` + abc + `"},"manifests"`},
		{"digest in an index", "image index", "/manifests/0/digest", abc, "sha256:" + abc},
		{"artifact type of a manifest", "image index", "/manifests/0/artifactType", `"size":3,`, `"size":3,"artifactType":"a",`},
		{"artifact type of an index", "image index", "/artifactType", `"manifests"`, `"artifactType":"/b","manifests"`},
		{"type too long", "image index", "/artifactType", `"manifests"`, `"artifactType":"a/` + strings.Repeat("b", 128) + `","manifests"`},
		{"type of a config's descriptor", "manifest", "/config/mediaType", `vnd.oci.image.config`, `vnd oci`},
		{"truncated", "manifest", "/layers/0/mediaType", `application/vnd.oci.image.layer.bsm.block.v1","digest":"` + abc + after(goodManifest, abc), `app`},

		{"no os", "config", "/os", `"os":"linux",`, ``},
		{"no architecture", "config", "/architecture", `"architecture":"arm64",`, ``},
		{"rootfs of another type", "config", "/rootfs/type", `"type":"layers"`, `"type":"layer"`},
		{"no diff_ids", "config", "/rootfs/diff_ids", `"diff_ids":[`, `"diff_ids":[],"x":[`},
		{"rootfs missing", "config", "/rootfs/type", `"rootfs"`, `"x"`},
		{"created garbage", "config", "/created", `2026-01-02T03:04:05Z`, `yesterday`},
		{"config and manifest", "config", "/layers", `"rootfs"`, `"layers":[],"rootfs"`},
	}
	for _, tt := range tests {
		t.Run(tt.kind+"/"+tt.name, func(t *testing.T) {
			k := kinds[tt.kind]
			if !strings.Contains(k.text, tt.old) {
				t.Fatalf("no %s in the text", tt.old)
			}
			object := strings.TrimSpace(tt.kind + " " + tt.member)
			refused(t, k.parse([]byte(strings.Replace(k.text, tt.old, tt.new, 1))), object)
		})
	}
}

func TestHostileDescriptors(t *testing.T) {
	raw := []byte(goodManifest)
	good := describe(raw, ocispec.MediaTypeImageManifest)
	tests := []struct {
		name   string
		object string
		change func(*ocispec.Descriptor)
	}{
		{"size", "manifest", func(d *ocispec.Descriptor) { d.Size++ }},
		{"size of 5 MiB", "manifest", func(d *ocispec.Descriptor) { d.Size = 5 << 20 }},
		{"size negative", "manifest", func(d *ocispec.Descriptor) { d.Size = -1 }},
		{"digest", "manifest", func(d *ocispec.Descriptor) { d.Digest = abc }},
		{"digest missing", "manifest descriptor/digest", func(d *ocispec.Descriptor) { d.Digest = "" }},
		{"digest sha1", "manifest descriptor/digest", func(d *ocispec.Descriptor) { d.Digest = "sha1:a9993e364706816aba3e25717850c26c9cd0d89d" }},
		{"type", "manifest descriptor/mediaType", func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageIndex }},
		{"type of docker", "manifest descriptor/mediaType", func(d *ocispec.Descriptor) {
			d.MediaType = "application/vnd.docker.distribution.manifest.v2+json"
		}},
		{"annotations", "manifest descriptor/annotations", func(d *ocispec.Descriptor) {
			d.Annotations = map[string]string{}
			for i := range MaxAnnotations + 1 {
				d.Annotations[fmt.Sprint(i)] = ""
			}
		}},
		{"urls", "manifest descriptor/urls", func(d *ocispec.Descriptor) { d.URLs = []string{"http://x/"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := good
			tt.change(&d)
			m, err := ParseManifest(raw, d)
			refused(t, err, tt.object)
			if m != nil {
				t.Error("returned a manifest with the error")
			}
		})
	}
	sha512 := good
	sha512.Digest = digest.SHA512.FromBytes(raw)
	if _, err := ParseManifest(raw, sha512); err != nil {
		t.Errorf("sha512: %v", err)
	}
	silent := []byte(strings.Replace(goodIndex, `"mediaType":"application/vnd.oci.image.index.v1+json",`, "", 1))
	_, err := ParseConfig([]byte(goodConfig), describe([]byte(goodConfig), ocispec.MediaTypeEmptyJSON))
	refused(t, err, "config descriptor/mediaType")
	_, err = ParseManifestIndex(silent, describe(silent, ""))
	refused(t, err, "image index /mediaType")
	big := []byte(goodManifest + strings.Repeat(" ", MaxManifestSize))
	refused(t, parseManifest(big), "manifest")
	big = []byte(goodConfig + strings.Repeat(" ", MaxConfigSize))
	refused(t, parseConfig(big), "config")
}

func TestError(t *testing.T) {
	cause := errors.New("cause")
	err := error(&Error{"manifest /layers/0", 7, "is wrong", cause})
	if got, want := err.Error(), "manifest /layers/0: is wrong at byte 7: cause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("does not unwrap to its cause")
	}
}

// TestLimitsAgree keeps the arithmetic that the parsers rely on.
func TestLimitsAgree(t *testing.T) {
	sizes := map[string]int{
		"tables": MaxChunks * recordSize, "JSON": MaxIndexJSON, "paths": MaxPathPart, "annotations": MaxAnnotationBytes,
	}
	limits := map[string]int{
		"tables": MaxIndexDocument - MaxIndexJSON - headerSize - tableAlign, "JSON": MaxIndexDocument, "paths": MaxPath, "annotations": MaxManifestSize,
	}
	for k := range maps.Keys(sizes) {
		if sizes[k] > limits[k] {
			t.Errorf("%s: %d > %d", k, sizes[k], limits[k])
		}
	}
}

// after returns what follows the first sep in s.
func after(s, sep string) string {
	_, rest, _ := strings.Cut(s, sep)
	return rest
}
