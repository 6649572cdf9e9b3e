package oci

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Headers that files are cut down with are held in memory, and a few bytes of a
// layer can decode to many of them: all together are bounded.
func TestSelectionBoundsHeads(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	f := takeApart(t, ref)
	json := `{"__metadata__":{"k":"` + strings.Repeat("x", 4_000_000) + `"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(json)))
	file = append(append(file, json...), 'a', 'b')
	var chunks [][]byte
	enc := codec.NewEncoder(codec.Default)
	for b := file; len(b) > 0; {
		n := min(len(b), codec.Bytes.ChunkSize())
		c, err := enc.Encode(nil, codec.Bytes, b[:n], codec.Geometry{})
		if err != nil {
			t.Fatal(err)
		}
		chunks, b = append(chunks, c), b[n:]
	}
	f.addLayer(forgedLayer{chunks: chunks})
	size := int64(len(file))
	for i := range 30 { // 120 MB of headers
		n := len(f.index.Files)
		f.addFile(fmt.Sprintf("z%02d.safetensors", i), file, mediatypes.Segment{Layer: len(f.layers) - 1, Length: size})
		f.index.Files[n].Format = mediatypes.FormatSafetensors
		for j, name := range []string{"a", "b"} {
			m, s := md5.Sum([]byte(name)), sha256.Sum256([]byte(name))
			f.index.Tensors = append(f.index.Tensors, mediatypes.Tensor{
				Name: name, Dtype: "U8", Shape: []int64{1}, File: n, Offset: size - 2 + int64(j), Length: 1,
				MD5: hex.EncodeToString(m[:]), SHA256: hex.EncodeToString(s[:]),
			})
		}
	}
	a := openArtifact(t, f.write())
	_, err := a.choose(t.Context(), &Selection{Tensors: []string{"a"}}, nil)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "headers") {
		t.Errorf("error %v", err)
	}
}
