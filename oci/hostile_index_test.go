package oci

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// hostileIndexes are artifacts whose index says what is not so.
var hostileIndexes = []hostile{
	{"sha256 of an opaque file", byPull, `"config.json": corrupt: its sha256`, nil, func(_ testing.TB, f *forgery) {
		f.index.Files[0].SHA256 = strings.Repeat("1", 64)
	}},
	{"sha256 of a file of tensors", byVerify, `"model.safetensors": corrupt: its sha256`, nil, func(_ testing.TB, f *forgery) {
		f.index.Files[2].SHA256 = strings.Repeat("1", 64)
	}},
	{"MD5 of a tensor", byVerify, `tensor "model.layers.1.down.weight" of "model.safetensors"`, nil, func(t testing.TB, f *forgery) {
		i := slices.IndexFunc(f.index.Tensors, func(x mediatypes.Tensor) bool { return x.Name == "model.layers.1.down.weight" })
		f.index.Tensors[i].MD5 = strings.Repeat("2", 32)
	}},
	{"sha256 of a tensor", byWhole, `tensor "model.layers.1.down.weight" of "model.safetensors"`, nil, func(_ testing.TB, f *forgery) {
		i := slices.IndexFunc(f.index.Tensors, func(x mediatypes.Tensor) bool { return x.Name == "model.layers.1.down.weight" })
		f.index.Tensors[i].SHA256 = strings.Repeat("2", 64)
	}},
	{"segments of two files swapped", byPull, "its sha256", nil, func(_ testing.TB, f *forgery) {
		a := &f.index.Files[0].Segments[0]
		a.Offset += 10
	}},
	{"path out of the target", byOpen, "/files/", nil, badPath("../../etc/x")},
	{"path through the parent", byOpen, "/files/", nil, badPath("a/../../../")},
	{"absolute path", byOpen, "/files/", nil, badPath("/etc/passwd")},
	{"drive letter", byOpen, "/files/", nil, badPath("C:/windows1")},
	{"backslashes", byOpen, "/files/", nil, badPath(`..\\..\\abc`)},
	{"dot", byOpen, "/files/", nil, badPath("./onfig.jso")},
	{"empty part", byOpen, "/files/", nil, badPath("aa//bb/cc/d")},
	{"NUL", byOpen, "/files/", nil, badPath(`ab\u0000.jsn`[:11])},
	{"trailing dot", byOpen, "/files/", nil, badPath("config.jso.")},
	{"trailing space", byOpen, "/files/", nil, badPath("config.jso ")},
	{"escape sequence", byOpen, "/files/", nil, badPath(`\u001b[2Jab`)},
	{"text direction", byOpen, "/files/", nil, badPath(`\u202enosjg`)},
	{"duplicate file", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[1].Path = "ZZZZZZ.json"
		f.rename(t, "ZZZZZZ.json", "config.json")
	}},
	{"twins by case", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[1].Path = "ZZZZZZ.json"
		f.rename(t, "ZZZZZZ.json", "CONFIG.json")
	}},
	{"twins by normalisation", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[0].Path, f.index.Files[1].Path = "xxxxxx.json", "yyyyyyy.json"
		f.editDoc = func(doc []byte) []byte {
			return sameLength(t, sameLength(t, doc, "xxxxxx.json", "caf\u00e9z.json"), "yyyyyyy.json", "cafe\u0301z.json")
		}
	}},
	{"file below a file", byOpen, "/files", nil, func(t testing.TB, f *forgery) {
		f.index.Files[1].Path = "ZZZZZZ.json/a"
		f.rename(t, "ZZZZZZ.json/a", "config.json/a")
	}},
	{"setuid", byOpen, "/mode", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"mode":420`, `"mode":2541`) }
	}},
	{"segment past the layer", byOpen, "/segments", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte {
			return sameLengthN(t, doc, fmt.Sprintf("[%d,0,38]", filesLayer), fmt.Sprintf("[%d,9999999999,38]", filesLayer))
		}
	}},
	{"segment of no layer", byOpen, "/segments", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte {
			return sameLength(t, doc, fmt.Sprintf("[%d,0,38]", filesLayer), "[9,0,38]")
		}
	}},
	{"size of a file", byOpen, "", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"size":38`, `"size":4611686018427387904`) }
	}},
	{"duplicate member", byOpen, "", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"size":38`, `"size":38,"size":38`) }
	}},
	{"twin of a member", byOpen, "", nil, func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"size":38`, `"size":38,"SIZE":39`) }
	}},
	{"magic of the document", byOpen, "", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return append([]byte("X"), doc[1:]...) }
	}},
	{"newer version of the document", byOpen, "", codec.ErrUnsupported, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { doc[8] = 9; return doc }
	}},
	{"document cut", byOpen, "index document", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return doc[:len(doc)-48] }
	}},
	{"document with more behind it", byOpen, "index document", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return append(doc, make([]byte, 48)...) }
	}},
	{"empty document", byOpen, "index document", nil, func(_ testing.TB, f *forgery) {
		f.editDoc = func([]byte) []byte { return nil }
	}},
	{"index layer is no layer", byOpen, "index layer", nil, func(_ testing.TB, f *forgery) {
		f.editIndex = func([]byte) []byte { return []byte(`{"layers":[]}`) }
	}},
	{"index layer cut", byOpen, "index layer", nil, func(_ testing.TB, f *forgery) {
		f.editIndex = func(b []byte) []byte { return b[:len(b)-1] }
	}},
	{"index layer with more behind it", byOpen, "index layer", nil, func(_ testing.TB, f *forgery) {
		f.editIndex = func(b []byte) []byte { return append(b, 0) }
	}},
	{"gap in the chunk table", byPull, "chunk", nil, func(_ testing.TB, f *forgery) {
		f.layers[block0].chunks = slices.Clone(f.layers[block0].chunks)
		f.editDoc = func(doc []byte) []byte {
			// The tables end the document: 4 + 4 + the chunks of the files.
			at := len(doc) - 48*(8+len(f.layers[filesLayer].chunks))
			doc[at+48]++
			return doc
		}
	}},
}

// badPath gives the first file, config.json, another path of 11 bytes in JSON.
func badPath(p string) func(testing.TB, *forgery) {
	return func(t testing.TB, f *forgery) {
		f.editDoc = func(doc []byte) []byte { return sameLengthN(t, doc, `"config.json"`, `"`+p+`"`) }
	}
}

// rename changes a path in the document to one that MarshalIndex would refuse.
func (f *forgery) rename(t testing.TB, from, to string) {
	f.editDoc = func(doc []byte) []byte { return sameLength(t, doc, `"`+from+`"`, `"`+to+`"`) }
}

// sameLengthN replaces old once by new of any length, and mends the lengths of
// the document.
func sameLengthN(t testing.TB, doc []byte, old, new string) []byte {
	t.Helper()
	n := binary.LittleEndian.Uint32(doc[12:])
	text, tables := doc[24:24+n], doc[(24+n+7)&^7:]
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("no %q in %s", old, text)
	}
	text = bytes.Replace(bytes.Clone(text), []byte(old), []byte(new), 1)
	out := append(bytes.Clone(doc[:24]), text...)
	out = append(out, make([]byte, -len(out)&7)...)
	out = append(out, tables...)
	binary.LittleEndian.PutUint32(out[12:], uint32(len(text)))
	binary.LittleEndian.PutUint64(out[16:], uint64(len(out)))
	return out
}
