package oci

import "github.com/opencontainers/go-digest"

// The JSON forms in this file are a contract with scripts: fields are only ever
// added.

// ServeResult says where Serve answers.
type ServeResult struct {
	Ref     string `json:"ref"`
	Address string `json:"address"` // HOST:PORT
	URL     string `json:"url"`
}

// ListResult is what List found.
type ListResult struct {
	Ref     string        `json:"ref"`
	Entries []EntryReport `json:"entries"`
	// Truncated says that there are more tags than List takes.
	Truncated bool `json:"truncated"`
}

// EntryReport is a tag, and what it names where that is on this machine. Sizes
// are in bytes.
type EntryReport struct {
	Tag          string        `json:"tag"` // empty: an entry of a layout without a name
	Digest       digest.Digest `json:"digest,omitempty"`
	MediaType    string        `json:"mediaType,omitempty"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Encoded      int64         `json:"encoded,omitempty"` // size of all layers
	Decoded      *int64        `json:"decoded,omitempty"` // size of all files, of a model
	Problem      string        `json:"problem,omitempty"` // why it could not be read
}

// TagResult is what Tag did.
type TagResult struct {
	Ref    string        `json:"ref"` // what the tag was given to
	Tagged string        `json:"tagged"`
	Digest digest.Digest `json:"digest"`
}

// GCResult is what GC or GCDir removed, or would remove. Sizes are in bytes.
type GCResult struct {
	Ref       string `json:"ref"`
	Blobs     int    `json:"blobs"`     // that nothing names
	Temporary int    `json:"temporary"` // files and directories of writers that died, and what repair moved aside
	Bytes     int64  `json:"bytes"`
	Kept      int    `json:"kept"` // blobs that are in use
	DryRun    bool   `json:"dryRun"`
}

// CheckResult is what Check found in a store. Sizes are in bytes.
type CheckResult struct {
	Ref          string          `json:"ref"`
	Blobs        int             `json:"blobs"`   // in the store
	Checked      int             `json:"checked"` // of these, read whole
	Bytes        int64           `json:"bytes"`   // that were read
	Damaged      []BlobFault     `json:"damaged"`
	Missing      []BlobFault     `json:"missing"`
	Unreferenced []digest.Digest `json:"unreferenced"`
	Waste        int64           `json:"waste"` // size of the unreferenced
	Seconds      float64         `json:"seconds"`
}

// BlobFault is a blob that is not as it should be.
type BlobFault struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType,omitempty"` // where something names it
	Size      int64         `json:"size"`                // as it is named, or else of the file
	Entries   []string      `json:"entries"`             // tags that need it; @DIGEST for an entry without a tag
	Problem   string        `json:"problem"`
}

// FilesResult is how the files in a directory compare with those of a model.
type FilesResult struct {
	Ref     string        `json:"ref"`
	Digest  digest.Digest `json:"digest"`
	Files   int           `json:"files"` // of the model
	Bytes   int64         `json:"bytes"` // that were read
	Missing []string      `json:"missing"`
	Changed []FileFault   `json:"changed"`
	Extra   []string      `json:"extra"` // files that are not the model's
	Seconds float64       `json:"seconds"`
}

// FileFault is a file that is not the model's.
type FileFault struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
	Tensor  string `json:"tensor,omitempty"` // the first that differs
}

// RepairResult is what Repair did to a layout. Sizes are in bytes.
type RepairResult struct {
	Ref         string      `json:"ref"`
	Store       string      `json:"store"`
	Damaged     int         `json:"damaged"`
	Missing     int         `json:"missing"`
	Quarantined int         `json:"quarantined"` // damaged blobs that were moved aside
	Fetched     int         `json:"fetched"`
	Bytes       int64       `json:"bytes"` // fetched
	Left        []BlobFault `json:"left"`  // what the reference does not have
	Seconds     float64     `json:"seconds"`
}

// DiffResult is how two models differ. Sizes are in bytes.
type DiffResult struct {
	A       DiffSide    `json:"a"`
	B       DiffSide    `json:"b"`
	Files   FileDiff    `json:"files"`
	Tensors TensorDiff  `json:"tensors"`
	Layers  []LayerDiff `json:"layers"` // of B, in manifest order, the index layer last
	Fetch   FetchSize   `json:"fetch"`
}

// DiffSide is one of the two.
type DiffSide struct {
	Ref     string        `json:"ref"`
	Digest  digest.Digest `json:"digest"`
	Decoded int64         `json:"decoded"`
	Encoded int64         `json:"encoded"`
}

// FileDiff compares files by path and sha256.
type FileDiff struct {
	Same    int      `json:"same"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Changed []string `json:"changed"`
}

// TensorDiff compares tensors by name; in which shard one lies does not count.
type TensorDiff struct {
	Same    int            `json:"same"`
	Added   []TensorRef    `json:"added"`
	Removed []TensorRef    `json:"removed"`
	Changed []TensorChange `json:"changed"`
}

// TensorRef names a tensor.
type TensorRef struct {
	Name  string  `json:"name"`
	File  string  `json:"file"`
	Dtype string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	Size  int64   `json:"size"`
}

// TensorChange is a tensor of B that has another dtype, shape or sha256 in A.
type TensorChange struct {
	TensorRef
	WasDtype  string  `json:"wasDtype"`
	WasShape  []int64 `json:"wasShape"`
	SameBytes bool    `json:"sameBytes"`
}

// LayerDiff is a layer of B. Same says that A has the same blob.
type LayerDiff struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Stack     string        `json:"stack,omitempty"`
	Block     *int          `json:"block"`
	Encoded   int64         `json:"encoded"`
	Same      bool          `json:"same"`
}

// FetchSize is how many encoded bytes a node that has A fetches for B.
type FetchSize struct {
	Layers  int64 `json:"layers"`  // if it takes whole layers
	Tensors int64 `json:"tensors"` // if it takes the chunks with tensors and files that A does not have
}
