// Package codec encodes and decodes one layer: a sequence of chunks of tensor
// bytes, losslessly, forward-only or by random access. FORMAT.md beside this
// file is the specification; the code cites its sections.
//
//	prologue | chunk | chunk | ... | trailer
//
// A layer is written by an [Encoder], which turns decoded bytes into chunks, and
// a [Writer], which puts chunks in sequence:
//
//	w, err := codec.NewWriter(file, nil)
//	chunk, err := enc.Encode(nil, codec.BF16, weights)
//	err = w.WriteChunk(chunk)
//	err = w.Close() // the trailer
//
// It is read front to back by a [Reader], in the manner of archive/tar: Next,
// then Decode into memory of the caller's choice. A [Layer] reads any range of
// the decoded bytes through an io.ReaderAt. Callers that fetch chunks by
// themselves, from an index of their own, parse the [Prologue] and use a
// [Decoder].
//
// Every input is treated as hostile: no length is trusted before it is bounded,
// and a damaged layer gives a [*CorruptError] with the offset, never wrong bytes.
// Encoding depends on dtype, bytes, order, level and format version alone: not
// on the CPU, nor on the number of goroutines.
package codec
