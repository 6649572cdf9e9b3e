package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/oras-bsm/oras-bsm/codec"
)

// weights are 100,000 BF16 elements, two magnitudes and noise below.
func weights() []byte {
	var b []byte
	x := uint32(1)
	for range 100_000 {
		x = x*1664525 + 1013904223
		b = binary.LittleEndian.AppendUint16(b, uint16(x>>31<<15|(120+x>>30&1)<<7|x>>20&127))
	}
	return b
}

func Example() {
	src := weights()

	var blob bytes.Buffer
	w, err := codec.NewWriter(&blob, nil)
	if err != nil {
		log.Fatal(err)
	}
	enc := codec.NewEncoder(codec.Default)
	var chunk []byte
	for rest := src; len(rest) > 0; {
		n := min(len(rest), codec.BF16.ChunkSize())
		if chunk, err = enc.Encode(chunk[:0], codec.BF16, rest[:n], codec.Geometry{}); err != nil {
			log.Fatal(err)
		}
		if err := w.WriteChunk(chunk); err != nil {
			log.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("smaller:", blob.Len() < len(src)*6/10)

	// Front to back, each chunk into memory of the caller's choice.
	r, err := codec.NewReader(&blob)
	if err != nil {
		log.Fatal(err)
	}
	dst := make([]byte, len(src))
	for at := 0; ; {
		c, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		if err := r.Decode(dst[at : at+c.Decoded]); err != nil {
			log.Fatal(err)
		}
		at += c.Decoded
	}
	fmt.Println("equal:", bytes.Equal(dst, src))
	// Output:
	// smaller: true
	// equal: true
}

// Any range of the decoded bytes can be read from any io.ReaderAt.
func ExampleLayer() {
	var blob bytes.Buffer
	w, err := codec.NewWriter(&blob, nil)
	if err != nil {
		log.Fatal(err)
	}
	enc := codec.NewEncoder(codec.Default)
	for _, text := range []string{"first chunk, ", "second chunk, ", "third chunk"} {
		chunk, err := enc.Encode(nil, codec.Bytes, []byte(text), codec.Geometry{})
		if err != nil {
			log.Fatal(err)
		}
		if err := w.WriteChunk(chunk); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	layer, err := codec.OpenLayer(bytes.NewReader(blob.Bytes()), int64(blob.Len()))
	if err != nil {
		log.Fatal(err)
	}
	part := make([]byte, 15)
	if _, err := layer.ReadAt(part, 6); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes in %d chunks: %q\n", layer.Size(), len(layer.Chunks()), part)
	// Output:
	// 38 bytes in 3 chunks: "chunk, second c"
}
