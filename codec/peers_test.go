package codec

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"
)

// A peer is a general coder that ours is compared with. Blocks are coded one by
// one, as chunks are.
type peer struct {
	name   string
	block  int
	encode func(dst, src []byte) []byte          // appends
	decode func(dst, src []byte) ([]byte, error) // appends
}

// BenchmarkPeers measures other coders on the file $BSM_PEERS_FILE, of elements of
// $BSM_PEERS_WIDTH bytes: e2e/peers runs it.
func BenchmarkPeers(b *testing.B) {
	name := os.Getenv("BSM_PEERS_FILE")
	if name == "" {
		b.Skip("no $BSM_PEERS_FILE: this is for make bench-peers")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	width, err := strconv.Atoi(os.Getenv("BSM_PEERS_WIDTH"))
	if err != nil || width < 1 || width > 8 {
		b.Fatalf("BSM_PEERS_WIDTH: %q is not 1 to 8", os.Getenv("BSM_PEERS_WIDTH"))
	}
	for _, p := range []peer{
		zstdPeer(b, "klauspost-zstd-fastest", zstd.SpeedFastest),
		zstdPeer(b, "klauspost-zstd-better", zstd.SpeedBetterCompression),
		huffPeer("klauspost-huff0-planes", width),
	} {
		b.Run("peer="+p.name, func(b *testing.B) { p.bench(b, data) })
	}
}

func (p *peer) bench(b *testing.B, data []byte) {
	var blocks [][]byte
	encoded := 0
	for src := range slices.Chunk(data, p.block) {
		x := p.encode(nil, src)
		blocks = append(blocks, x)
		encoded += len(x)
	}
	var buf []byte
	report := func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportMetric(float64(encoded)/float64(len(data)), "ratio")
	}
	b.Run("op=encode", func(b *testing.B) {
		for b.Loop() {
			for src := range slices.Chunk(data, p.block) {
				buf = p.encode(buf[:0], src)
			}
		}
		report(b)
	})
	b.Run("op=decode", func(b *testing.B) {
		for b.Loop() {
			rest := data
			for _, x := range blocks {
				var err error
				if buf, err = p.decode(buf[:0], x); err != nil {
					b.Fatal(err)
				}
				if len(buf) > len(rest) || buf[0] != rest[0] || buf[len(buf)-1] != rest[len(buf)-1] {
					b.Fatal("other bytes came back")
				}
				rest = rest[len(buf):]
			}
		}
		report(b)
	})
}

func zstdPeer(b *testing.B, name string, level zstd.EncoderLevel) peer {
	b.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		b.Fatal(err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = enc.Close(); dec.Close() })
	return peer{
		name: name, block: MaxChunk,
		encode: func(dst, src []byte) []byte { return enc.EncodeAll(src, dst) },
		decode: func(dst, src []byte) ([]byte, error) { return dec.DecodeAll(src, dst) },
	}
}

// huffPlane is how many bytes of a plane share a Huffman table.
const huffPlane = 128 << 10

// huffPeer codes each byte of the elements apart, with a Huffman table for each
// part of a plane, where that helps. A block is its length, and for each plane
// its encoded length, 0 for one that is stored, and its bytes.
func huffPeer(name string, width int) peer {
	var enc, dec huff0.Scratch
	enc.Reuse = huff0.ReusePolicyNone
	plane := make([]byte, huffPlane)
	return peer{
		name: name, block: huffPlane * width,
		encode: func(dst, src []byte) []byte {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
			for k := range width {
				p := plane[:(len(src)-k+width-1)/width]
				for i := range p {
					p[i] = src[i*width+k]
				}
				out, _, err := huff0.Compress4X(p, &enc)
				if err != nil { // not worth it, or of one value, which models do not have
					dst = append(binary.LittleEndian.AppendUint32(dst, 0), p...)
					continue
				}
				dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(out))), out...)
			}
			return dst
		},
		decode: func(dst, src []byte) ([]byte, error) {
			n := int(binary.LittleEndian.Uint32(src))
			at := len(dst)
			dst = slices.Grow(dst, n)[:at+n]
			src = src[4:]
			for k := range width {
				size, p := int(binary.LittleEndian.Uint32(src)), plane[:(n-k+width-1)/width]
				src = src[4:]
				if size == 0 {
					size = len(p)
					copy(p, src)
				} else {
					s, body, err := huff0.ReadTable(src[:size], &dec)
					if err == nil {
						p, err = s.Decoder().Decompress4X(p[:0:len(p)], body)
					}
					if err != nil {
						return nil, err
					}
				}
				src = src[size:]
				for i, x := range p {
					dst[at+i*width+k] = x
				}
			}
			return dst, nil
		},
	}
}

// TestHuffPeer proves that what is measured is lossless.
func TestHuffPeer(t *testing.T) {
	for width := 1; width <= 8; width++ {
		p := huffPeer("", width)
		for _, src := range [][]byte{
			elements(BF16, gaussian(huffPlane/2, 1)), elements(F32, gaussian(1001, 2)),
			make([]byte, p.block), []byte("short"),
		} {
			src = src[:min(len(src), p.block)]
			x := p.encode(nil, src)
			got, err := p.decode(nil, x)
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("width %d: %d bytes became %d, error %v", width, len(src), len(got), err)
			}
		}
	}
}
