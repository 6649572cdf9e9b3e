package mediatypes

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"
)

// IndexVersion is the version of the index document that this package writes,
// and the only one it reads.
const IndexVersion = 1

// The binary frame of the index document (ARTIFACT.md, "Index document").
const (
	indexMagic  = "\x89BSMX\r\n\x1a"
	headerSize  = len(indexMagic) + 4 + 4 + 8
	recordSize  = 8 + 4 + 4 + 32
	tableAlign  = 8
	indexObject = "index document"
)

// An Index describes a model: its layers, its files and its tensors.
type Index struct {
	// Version is the version of the document; to MarshalIndex, 0 means
	// [IndexVersion].
	Version int `json:"-"`
	// Level is the level the layers were encoded at: "default" or "max".
	Level string `json:"level"`
	// Layers lists every layer of the manifest but the index layer itself, in
	// the manifest's order.
	Layers []Layer `json:"layers"`
	// Files lists the files of the model.
	Files []File `json:"files"`
	// Tensors lists the tensors of all files, by file, then by offset.
	Tensors []Tensor `json:"tensors"`

	doc    []byte // the document, for the tables
	tables []int  // where each layer's table starts in doc
}

// A Layer is one blob of the model.
type Layer struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"` // BlockLayer or FilesLayer
	Encoded   int64         `json:"encoded"`   // size of the blob
	Decoded   int64         `json:"decoded"`   // size of what it decodes to
	Chunks    int           `json:"chunks"`    // records in its chunk table
	Prologue  string        `json:"prologue"`  // sha256 of the bytes before the first chunk; lower-case hex
	// Stack and Block say which transformer block the layer holds; both are
	// absent when it holds none. Several layers may hold parts of one block.
	Stack string `json:"stack,omitzero"`
	Block *int   `json:"block,omitzero"`
}

// A File is one file of the model. Its bytes are its segments', one after the
// other.
type File struct {
	Path     string    `json:"path"` // see [ValidPath]
	Size     int64     `json:"size"`
	Mode     uint32    `json:"mode"`            // 0644 or 0755
	SHA256   string    `json:"sha256"`          // lower-case hex
	Format   string    `json:"format,omitzero"` // FormatSafetensors, FormatGGUF, or "" for opaque bytes
	Segments []Segment `json:"segments"`
}

// A Segment is a range of the decoded bytes of a layer.
type Segment struct {
	Layer          int
	Offset, Length int64
}

// A Tensor is a range of the bytes of a file.
type Tensor struct {
	Name   string  `json:"name"`  // any UTF-8: escape it before it is shown
	Dtype  string  `json:"dtype"` // as the file's format spells it
	Shape  []int64 `json:"shape"` // the slowest dimension first; empty for a scalar
	File   int     `json:"file"`
	Offset int64   `json:"offset"` // from the start of the file
	Length int64   `json:"length"`
	MD5    string  `json:"md5"`    // lower-case hex
	SHA256 string  `json:"sha256"` // lower-case hex
	// SharedWith is the index in Tensors of an earlier tensor that holds the
	// same bytes, which are stored once, or nil.
	SharedWith *int `json:"sharedWith,omitzero"`
	// Base is reserved; it must be nil.
	Base *int `json:"base,omitzero"`
}

// MarshalIndex returns the index document of x. The chunks of layer i are
// chunks[i]; their DecodedOffset is not looked at. It refuses, with an
// [*Error], what ParseIndex or ChunkTable would refuse. The same input gives
// the same bytes.
func MarshalIndex(x *Index, chunks [][]Chunk) ([]byte, error) {
	if x.Version != 0 && x.Version != IndexVersion {
		return nil, wrong(indexObject, "cannot write version %d", x.Version)
	}
	if err := x.checkElements(); err != nil {
		return nil, within(indexObject, err)
	}
	if err := x.checkAcross(); err != nil {
		return nil, within(indexObject, err)
	}
	if len(chunks) != len(x.Layers) {
		return nil, wrong(indexObject, "%d chunk tables for %d layers", len(chunks), len(x.Layers))
	}
	records := 0
	for i, t := range chunks {
		if err := x.Layers[i].checkChunks(t); err != nil {
			return nil, within(fmt.Sprintf("%s /layers/%d", indexObject, i), err)
		}
		records += len(t)
	}
	text, err := json.Marshal(x, json.WithMarshalers(json.MarshalToFunc(writeSegment)))
	if err != nil {
		return nil, &Error{indexObject, -1, "cannot be written as JSON", err}
	}
	size := alignTable(headerSize+len(text)) + records*recordSize
	if len(text) > MaxIndexJSON || size > MaxIndexDocument {
		return nil, wrong(indexObject, "is too large: %d bytes, %d of JSON", size, len(text))
	}

	doc := make([]byte, 0, size)
	doc = append(doc, indexMagic...)
	doc = binary.LittleEndian.AppendUint32(doc, IndexVersion)
	doc = binary.LittleEndian.AppendUint32(doc, uint32(len(text)))
	doc = binary.LittleEndian.AppendUint64(doc, uint64(size))
	doc = append(doc, text...)
	doc = append(doc, make([]byte, alignTable(len(doc))-len(doc))...)
	for _, t := range chunks {
		for i := range t {
			doc = t[i].appendRecord(doc)
		}
	}
	return doc, nil
}

// ParseIndex parses an index document and checks all that it says about
// itself but the chunk tables, which [Index.ChunkTable] checks when asked for.
// The index keeps doc, which must not change any more. An error is an
// [*Error].
func ParseIndex(doc []byte) (*Index, error) {
	text, err := splitIndex(doc)
	if err != nil {
		return nil, within(indexObject, err)
	}
	x := &Index{Version: IndexVersion, doc: doc}
	// What a list may hold is checked element by element, as it is read: so a
	// short document cannot ask for a long list.
	segments := 0
	err2 := json.Unmarshal(text, x,
		json.RejectUnknownMembers(true),
		json.WithUnmarshalers(json.JoinUnmarshalers(
			json.UnmarshalFromFunc(func(dec *jsontext.Decoder, l *[]Layer) error {
				return readList(dec, l, MaxLayers-1, readObject)
			}),
			json.UnmarshalFromFunc(func(dec *jsontext.Decoder, l *[]File) error {
				return readList(dec, l, MaxFiles, readFile)
			}),
			json.UnmarshalFromFunc(func(dec *jsontext.Decoder, l *[]Tensor) error {
				// A guess that costs less than the document and saves most of
				// the growing.
				*l = make([]Tensor, 0, len(text)/512)
				return readList(dec, l, MaxTensors, readTensor)
			}),
			json.UnmarshalFromFunc(func(dec *jsontext.Decoder, l *[]Segment) error {
				err := readList(dec, l, MaxSegments-segments, readSegment)
				segments += len(*l)
				return err
			}),
			json.UnmarshalFromFunc(func(dec *jsontext.Decoder, l *[]int64) error {
				return readList(dec, l, MaxDims, readInt)
			}),
		)))
	if err2 != nil {
		return nil, jsonError(indexObject, int64(headerSize), err2)
	}
	if x.Layers == nil || x.Files == nil || x.Tensors == nil {
		return nil, wrong(indexObject, "has no layers, files or tensors member")
	}
	if err := x.checkAcross(); err != nil {
		return nil, within(indexObject, err)
	}
	if err := x.placeTables(alignTable(headerSize + len(text))); err != nil {
		return nil, within(indexObject, err)
	}
	return x, nil
}

// splitIndex checks the frame of an index document and returns its JSON.
func splitIndex(doc []byte) ([]byte, *Error) {
	if len(doc) < headerSize || string(doc[:len(indexMagic)]) != indexMagic {
		return nil, &Error{Offset: 0, Reason: "is not one: wrong first bytes"}
	}
	version := binary.LittleEndian.Uint32(doc[8:])
	size := uint64(binary.LittleEndian.Uint32(doc[12:]))
	total := binary.LittleEndian.Uint64(doc[16:])
	// The version comes first: a newer one may change all that follows it.
	switch {
	case version > IndexVersion:
		return nil, &Error{Offset: 8, Reason: fmt.Sprintf("version %d, this release reads %d", version, IndexVersion), Err: ErrNewer}
	case version != IndexVersion:
		return nil, &Error{Offset: 8, Reason: fmt.Sprintf("there is no version %d", version)}
	case len(doc) > MaxIndexDocument:
		return nil, &Error{Offset: 16, Reason: fmt.Sprintf("is larger than %d bytes", MaxIndexDocument)}
	case total != uint64(len(doc)):
		return nil, &Error{Offset: 16, Reason: fmt.Sprintf("says it has %d bytes and has %d", total, len(doc))}
	case size > MaxIndexJSON:
		return nil, &Error{Offset: 12, Reason: fmt.Sprintf("its JSON is larger than %d bytes", MaxIndexJSON)}
	case size > uint64(len(doc)-headerSize):
		return nil, &Error{Offset: 12, Reason: fmt.Sprintf("its JSON of %d bytes does not fit into it", size)}
	}
	end := headerSize + int(size)
	pad := alignTable(end)
	if pad > len(doc) || len(bytes.Trim(doc[end:pad], "\x00")) != 0 {
		return nil, &Error{Offset: int64(end), Reason: "its JSON is not padded with zeros to a multiple of 8"}
	}
	return doc[headerSize:end], nil
}

// placeTables notes where the table of each layer starts, the first at byte
// at. The tables must fill the rest of the document.
func (x *Index) placeTables(at int) *Error {
	x.tables = make([]int, len(x.Layers))
	// The counts were checked: their sum is at most MaxChunks.
	end := at
	for i := range x.Layers {
		x.tables[i] = end
		end += x.Layers[i].Chunks * recordSize
	}
	if end != len(x.doc) {
		return &Error{Offset: int64(at), Reason: fmt.Sprintf("its chunk tables have %d bytes, its layers need %d", len(x.doc)-at, end-at)}
	}
	return nil
}

// alignTable rounds n up to where the chunk tables may start.
func alignTable(n int) int { return (n + tableAlign - 1) &^ (tableAlign - 1) }
