package gguf

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
)

// FuzzParse gives a file of which the last bytes may be missing. The parser
// must take it, refuse it or report the missing bytes; never panic, never take
// memory out of proportion, never read beyond what the file holds for a verdict.
func FuzzParse(f *testing.F) {
	keys := list{
		key("general.architecture", typeString, str("llama")),
		key("general.alignment", typeUint32, u32(64)),
		key("tokens", typeArray, u32(typeString), u64(2), str("a"), str("")),
		key("scores", typeArray, u32(6), u64(2), make([]byte, 8)),
		key("flag", 7, []byte{1}),
	}
	infos := list{
		info("blk.0.w", 2, 64, 32, 2), info("token_embd", 30, 0, 3), info("blk.1.w", 99, 128, 1), info("none", 0, 128, 0, 4),
	}
	for _, b := range [][]byte{
		nil, []byte(Magic), raw(1, 0, 0), raw(2, 0, 0), raw(3<<24, 0, 0), raw(3, math.MaxUint64, 1<<63),
		file(keys, nil, 0), file(nil, infos[:2], 100), file(keys, infos, 300),
		file(keys[1:], infos, 32+130), file(list{keys[1], keys[1]}, infos, 300), file(nil, list{infos[1], infos[1]}, 300),
		one(12, 0, 144, 256), one(12, 32, 144, 128), one(0, 0, 64, 1<<63, 1<<63), one(4, 0, 18, 32), one(0, 0, 4),
		raw(3, 0, 1, key("a", typeArray, u32(typeArray), u64(1<<61))),
		raw(3, 0, 1, key("a", typeArray, u32(10), u64(1<<61))),
		raw(3, 0, 1, u64(1<<63)),
	} {
		f.Add(b, uint32(0))
		f.Add(b, uint32(1<<20))
	}

	f.Fuzz(func(t *testing.T, b []byte, missing uint32) {
		size := int64(len(b)) + int64(missing)
		var h *Header
		var err error
		got := allocated(func() { h, err = Parse(bytes.NewReader(b), size) })
		if most := uint64(256<<10 + 64*len(b)); got > most {
			t.Fatalf("%d bytes allocated for a file of %d", got, len(b))
		}
		if err != nil {
			checkError(t, err, size, missing)
			return
		}
		// Up to the padding, the header was read: all of it is there.
		if h.Size < 24 || h.Size > size || h.Size-h.Alignment >= int64(len(b)) {
			t.Fatalf("header of %d bytes in a file of %d, of which %d are there", h.Size, size, len(b))
		}
		if h.Version != 2 && h.Version != 3 || h.Alignment < 8 || h.Alignment&(h.Alignment-1) != 0 {
			t.Fatalf("version %d, alignment %d", h.Version, h.Alignment)
		}
		checkTiles(t, h, size)
	})
}

// checkError fails unless err is either a refusal that names a place in the
// file, or the end of a file that is too short.
func checkError(t *testing.T, err error, size int64, missing uint32) {
	t.Helper()
	short := errors.Is(err, io.ErrUnexpectedEOF)
	e, refused := errors.AsType[*Error](err)
	switch {
	case short == refused:
		t.Fatalf("neither or both a short file and a refusal: %v", err)
	case short && missing == 0:
		t.Fatalf("nothing is missing: %v", err)
	case refused && (e.Offset < 0 || e.Offset > size || e.Reason == ""):
		t.Fatalf("%+v in a file of %d bytes", e, size)
	case refused && len(e.Error()) > 2000:
		t.Fatalf("message of %d bytes", len(e.Error()))
	}
}
