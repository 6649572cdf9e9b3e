package oci

import "github.com/opencontainers/go-digest"

// The JSON forms in this file are a contract with scripts: fields are only ever
// added.

// PushResult is what Push made. Sizes are in bytes.
type PushResult struct {
	Ref       string           `json:"ref"`
	Digest    digest.Digest    `json:"digest"` // of the image index
	Manifests []ManifestDigest `json:"manifests"`
	Layers    int              `json:"layers"`  // of each manifest, the index layer included
	Blocks    int              `json:"blocks"`  // transformer blocks found
	Decoded   int64            `json:"decoded"` // size of all files
	Encoded   int64            `json:"encoded"` // size of all layers
	Seconds   float64          `json:"seconds"`
}

// ManifestDigest is the manifest of one platform, such as "linux/amd64".
type ManifestDigest struct {
	Platform string        `json:"platform"`
	Digest   digest.Digest `json:"digest"`
}

// PullResult is what Pull wrote. Sizes are in bytes.
type PullResult struct {
	Ref      string        `json:"ref"`
	Digest   digest.Digest `json:"digest"`
	Files    int           `json:"files"`
	Decoded  int64         `json:"decoded"`
	Encoded  int64         `json:"encoded"`  // of the whole model
	Fetched  int64         `json:"fetched"`  // of the layers, in this pull: the rest was in place or not wanted
	Verified bool          `json:"verified"` // tensor MD5 and file sha256 were checked
	Seconds  float64       `json:"seconds"`
}

// VerifyResult is what Verify checked.
type VerifyResult struct {
	Ref     string        `json:"ref"`
	Digest  digest.Digest `json:"digest"`
	Layers  int           `json:"layers"`
	Files   int           `json:"files"`
	Tensors int           `json:"tensors"`
	Decoded int64         `json:"decoded"`
	Seconds float64       `json:"seconds"`
}

// Report is what Inspect tells of an artifact, from its manifest and index alone.
type Report struct {
	Ref       string           `json:"ref"`
	Digest    digest.Digest    `json:"digest"`
	Manifests []ManifestDigest `json:"manifests"`
	Level     string           `json:"level"`
	Blocks    int              `json:"blocks"`
	Layers    []LayerReport    `json:"layers"` // in manifest order, the index layer last
	Files     []FileReport     `json:"files"`
	Tensors   []TensorReport   `json:"tensors"`
	Dtypes    []DtypeReport    `json:"dtypes"` // "bytes" stands for everything that is no tensor
	Decoded   int64            `json:"decoded"`
	Encoded   int64            `json:"encoded"`
}

// LayerReport is a layer; Block is null for a layer of no transformer block.
type LayerReport struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Stack     string        `json:"stack,omitempty"` // what the block is counted in: "model.layers"
	Block     *int          `json:"block"`
	Encoded   int64         `json:"encoded"`
	Decoded   int64         `json:"decoded"`
}

// FileReport is a file of the model.
type FileReport struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Format string `json:"format,omitempty"` // "safetensors", "gguf", or empty for opaque bytes
}

// TensorReport is a tensor. Encoded is its share of the chunks it lies in, 0 for
// one that shares the bytes of another.
type TensorReport struct {
	Name       string          `json:"name"`
	File       string          `json:"file"`
	Dtype      string          `json:"dtype"`
	Shape      []int64         `json:"shape"`
	MD5        string          `json:"md5"`
	Segments   []SegmentReport `json:"segments"`
	SharedWith *string         `json:"sharedWith"` // name of the tensor that holds the bytes
	Base       *string         `json:"base"`
	Decoded    int64           `json:"decoded"`
	Encoded    int64           `json:"encoded"`
}

// SegmentReport is a range of a decoded layer; Layer counts in Report.Layers.
type SegmentReport struct {
	Layer  int   `json:"layer"`
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// DtypeReport sums up the tensors of one dtype. Shared tensors count as decoded
// and take nothing encoded.
type DtypeReport struct {
	Dtype   string `json:"dtype"`
	Tensors int    `json:"tensors"`
	Decoded int64  `json:"decoded"`
	Encoded int64  `json:"encoded"`
}

// CopyResult is what Copy brought where. Sizes are in bytes.
type CopyResult struct {
	Ref       string        `json:"ref"` // where it is now
	Source    string        `json:"source"`
	Digest    digest.Digest `json:"digest"`
	Manifests int           `json:"manifests"`       // image indexes included, and those of referrers
	Referrers int           `json:"referrers"`       // signatures and the like
	Blobs     int           `json:"blobs"`           // configs and layers
	Size      int64         `json:"size"`            // of all blobs: Copied, Mounted and Present together
	Copied    int64         `json:"copied"`          // was moved
	Mounted   int64         `json:"mounted"`         // the registry had it, in another repository
	Present   int64         `json:"present"`         // was there
	Files     []string      `json:"files,omitempty"` // of an archive: the file, or its parts
	Seconds   float64       `json:"seconds"`
}
