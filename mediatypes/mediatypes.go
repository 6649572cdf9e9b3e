// Package mediatypes holds every name that appears in the manifests of a
// model artifact, and the strict parsers of its documents: the OCI manifest,
// image index and config, and the index document that describes the files, the
// tensors and the chunks of a model.
//
// The documents are untrusted input. Every parser checks all that a document
// says about itself and about its other parts, allocates in proportion to the
// document and never to a number read from it, and reports a refusal as an
// [*Error] that names the object.
//
// The artifact is specified in ARTIFACT.md beside this file:
//
//	image index -> manifest (linux/amd64) \   config, one per platform
//	            -> manifest (linux/arm64)  -> layers: blocks..., files..., index
//	                                                                       |
//	                      index document: files, tensors, chunk tables  <--+
package mediatypes

// The media types of a model artifact (ARTIFACT.md, "Media types"). The layer
// types start with "application/vnd.oci.image.layer." because containerd takes
// nothing else for a layer.
const (
	// ArtifactType is the artifactType of the manifests. The image index has none.
	ArtifactType = "application/vnd.oras-bsm.model.v1"
	// BlockLayer holds one transformer block or a part of it, or tensors that
	// belong to no block.
	BlockLayer = "application/vnd.oci.image.layer.bsm.block.v1"
	// FilesLayer holds the bytes of files that are not tensors.
	FilesLayer = "application/vnd.oci.image.layer.bsm.files.v1"
	// IndexLayer holds the index document.
	IndexLayer = "application/vnd.oci.image.layer.bsm.index.v1"
)

// The annotations of a layer (ARTIFACT.md, "Annotations").
const (
	// AnnotationTitle is the file name under which a generic client saves the
	// blob.
	AnnotationTitle = "org.opencontainers.image.title"
	// AnnotationStack names the stack of blocks, as [Layer.Stack].
	AnnotationStack = "org.oras-bsm.block.stack"
	// AnnotationBlock is the block's number in its stack, in decimal.
	AnnotationBlock = "org.oras-bsm.block.number"
	// AnnotationDecoded is the decoded size of the layer in bytes, in decimal.
	AnnotationDecoded = "org.oras-bsm.decoded.size"
	// AnnotationDtypes lists the dtypes of the layer's tensors in alphabetical
	// order, separated by commas.
	AnnotationDtypes = "org.oras-bsm.dtypes"
)

// The formats of a file that holds tensors (ARTIFACT.md, "Index document").
const (
	FormatSafetensors = "safetensors"
	FormatGGUF        = "gguf"
)

// Limits on what the parsers accept (ARTIFACT.md, "Limits"). Sizes are bytes.
const (
	// MaxManifestSize bounds a manifest and an image index.
	MaxManifestSize = 4 << 20
	// MaxConfigSize bounds a config.
	MaxConfigSize = 1 << 20
	// MaxLayers bounds the layers of a manifest, and every other array in a
	// manifest, an image index or a config.
	MaxLayers = 4096
	// MaxAnnotations bounds the entries of one annotations map.
	MaxAnnotations = 128
	// MaxAnnotationBytes bounds the keys and values of one annotations map.
	MaxAnnotationBytes = 64 << 10

	// MaxIndexDocument bounds the whole index document.
	MaxIndexDocument = 1 << 30
	// MaxIndexJSON bounds the JSON part of the index document.
	MaxIndexJSON = 256 << 20
	// MaxTensors bounds the tensors of a model.
	MaxTensors = 1 << 20
	// MaxFiles bounds the files of a model.
	MaxFiles = 1 << 16
	// MaxSegments bounds the segments of all files of a model together.
	MaxSegments = 1 << 22
	// MaxChunks bounds the chunks of all layers of a model together.
	MaxChunks = 1 << 22
	// MaxChunkDecoded bounds the decoded size of one chunk.
	MaxChunkDecoded = 4 << 20
	// MaxChunkEncoded bounds the encoded size of one chunk, header included: a
	// chunk that does not shrink is stored raw.
	MaxChunkEncoded = MaxChunkDecoded + 64<<10

	// MaxName bounds a tensor name and a stack name.
	MaxName = 64 << 10
	// MaxDims bounds the dimensions of a tensor.
	MaxDims = 64
	// MaxPath bounds a file path.
	MaxPath = 4095
	// MaxPathPart bounds one part of a file path.
	MaxPathPart = 255
	// MaxPathDepth bounds the parts of a file path.
	MaxPathDepth = 32
)
