package codec

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
)

// decodeFunc decodes payload into dst, whose length is the decoded size, whole
// elements of width bytes, with the scratch memory of d. It checks everything
// that the chunk header does not.
type decodeFunc func(d *Decoder, dst []byte, width int, payload []byte) error

// methods is indexed by Method; nil is for those that are reserved. It is set by
// init, since some methods decode others.
var methods [Widened + 1]decodeFunc

func init() {
	methods = [...]decodeFunc{
		Raw:      decodeRaw,
		Constant: decodeConstant,
		Zstd:     decodeZstd,
		RANS:     decodeRANS,
		Fields:   decodeFields,
		Context:  decodeContext,
		Widened:  decodeWidened,
	}
}

// decode returns how m is decoded, or nil if it is not.
func (m Method) decode() decodeFunc {
	if int(m) >= len(methods) {
		return nil
	}
	return methods[m]
}

// decodeInner decodes a payload that is part of another one, of any method but
// those that have such parts themselves, into scratch memory: that is read next,
// and belongs in the caches, whatever holds for the chunk.
func (d *Decoder) decodeInner(dst []byte, m Method, width int, payload []byte) error {
	decode := m.decode()
	if decode == nil || m >= Fields && m != Context {
		return unsupported("method %d within another", m)
	}
	defer func(past bool) { d.past = past }(d.past)
	d.past = false
	return decode(d, dst, width, payload)
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s: a newer release made this layer", ErrUnsupported, fmt.Sprintf(format, args...))
}

func decodeRaw(_ *Decoder, dst []byte, _ int, payload []byte) error {
	if len(payload) != len(dst) {
		return corrupt(0, "raw chunk of %d bytes for %d", len(payload), len(dst))
	}
	copy(dst, payload)
	return nil
}

func decodeConstant(_ *Decoder, dst []byte, width int, payload []byte) error {
	if len(payload) != width {
		return corrupt(0, "constant of %d bytes for elements of %d", len(payload), width)
	}
	n := copy(dst, payload)
	for n < len(dst) {
		n += copy(dst[n:], dst[:n])
	}
	return nil
}

// A zstd payload is a check sum of the frame and the frame. The frame format has
// bits that a decoder ignores; the check sum makes every change an error.
const zstdPrefix = 4

// DecodeAll never writes more than the capacity of the slice it is given; the
// streaming decoder knows no such bound and is not used.
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(MaxChunk))
	if err != nil {
		panic("codec: internal error: " + err.Error())
	}
	return d
})

func newZstd(level zstd.EncoderLevel) func() *zstd.Encoder {
	return sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level),
			zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
			zstd.WithWindowSize(MaxChunk), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false))
		if err != nil {
			panic("codec: internal error: " + err.Error())
		}
		return e
	})
}

var zstdEncoders = [levels]func() *zstd.Encoder{
	Default: newZstd(zstd.SpeedBetterCompression),
	Max:     newZstd(zstd.SpeedBestCompression),
}

// sampler is for a quick look at what zstd could do.
var sampler = newZstd(zstd.SpeedFastest)

func appendZstd(dst []byte, level Level, src []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, zstdPrefix)...)
	dst = zstdEncoders[level]().EncodeAll(src, dst)
	binary.LittleEndian.PutUint32(dst[at:], uint32(xxh3.Hash(dst[at+zstdPrefix:])))
	return dst
}

func decodeZstd(_ *Decoder, dst []byte, _ int, payload []byte) error {
	return unzstd(dst, payload)
}

func unzstd(dst, payload []byte) error {
	if len(payload) < zstdPrefix {
		return corrupt(0, "zstd payload of %d bytes", len(payload))
	}
	sum, frame := binary.LittleEndian.Uint32(payload), payload[zstdPrefix:]
	if uint32(xxh3.Hash(frame)) != sum {
		return corrupt(0, "zstd frame does not match its check sum")
	}
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return corrupt(zstdPrefix, "zstd frame: %v", err) // not wrapped: the layer does not end early
	}
	if h.Skippable || !h.SingleSegment || h.FrameContentSize != uint64(len(dst)) {
		return corrupt(zstdPrefix, "zstd frame is not of %d bytes", len(dst))
	}
	if size := frameSize(frame, h); size != len(frame) {
		return corrupt(zstdPrefix, "zstd frame of %d bytes in %d", size, len(frame))
	}
	out, err := zstdDecoder().DecodeAll(frame, dst[:0:len(dst)])
	if err != nil {
		return corrupt(zstdPrefix, "zstd frame: %v", err) // not wrapped: the layer does not end early
	}
	if len(out) != len(dst) || &out[0] != &dst[0] {
		return corrupt(zstdPrefix, "zstd frame of %d bytes for %d", len(out), len(dst))
	}
	return nil
}

// frameSize is the length of the frame with header h at the start of b, or more
// than len(b) if b ends early. The decoder would go on with frames that follow.
func frameSize(b []byte, h zstd.Header) int {
	at := h.HeaderSize
	for at+3 <= len(b) {
		block := int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16
		size := block >> 3
		if block>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		if at += 3 + size; block&1 != 0 {
			if h.HasCheckSum {
				at += 4
			}
			return at
		}
	}
	return len(b) + 1
}
