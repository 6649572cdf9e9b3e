package main

import (
	"slices"

	"github.com/zeebo/xxh3"
)

func badPrologue() []vector {
	c, _ := seven()
	l := layer{chunks: [][]byte{c}}
	change := func(name, expect, comment string, f func(b []byte) []byte) vector {
		return vector{name, expect, comment, u8, f(l.bytes()), nil}
	}
	resum := func(b []byte) []byte {
		copy(b[24:], le.AppendUint64(nil, xxh3.Hash(b[:24])))
		return b
	}
	set := func(name, expect, comment string, l layer) vector {
		l.chunks = [][]byte{c}
		return vector{name, expect, comment, u8, l.bytes(), nil}
	}
	return []vector{
		change("prologue-magic", "corrupt", "another magic", func(b []byte) []byte { b[4] = 'X'; return resum(b) }),
		change("prologue-gzip", "corrupt", "starts like gzip", func(b []byte) []byte { b[0], b[1] = 0x1f, 0x8b; return resum(b) }),
		change("prologue-zstd", "corrupt", "starts like zstd", func(b []byte) []byte { copy(b, "\x28\xb5\x2f\xfd"); return resum(b) }),
		change("prologue-newline", "corrupt", "a transfer in text mode changed CR LF to LF", func(b []byte) []byte { return append(b[:5:5], b[6:]...) }),
		change("prologue-hash", "corrupt", "the hash of the prologue is wrong", func(b []byte) []byte { b[24] ^= 1; return b }),
		change("prologue-nothing", "truncated", "no bytes at all", func(b []byte) []byte { return nil }),
		change("prologue-cut", "truncated", "ends in the prologue", func(b []byte) []byte { return b[:20] }),
		change("prologue-cut-tables", "truncated", "ends in the shared tables", func([]byte) []byte {
			return layer{tables: everyTable()}.bytes()[:40]
		}),
		change("prologue-cut-hash", "truncated", "ends in the hash of the prologue", func(b []byte) []byte { return b[:31] }),
		change("prologue-draft", "unsupported", "a layer of version 0, a draft", func(b []byte) []byte { b[8] = 0; return resum(b) }),
		set("prologue-version", "unsupported", "a newer version", layer{version: 1}),
		change("prologue-version-only", "unsupported", "a newer version, whose hash this reader need not understand", func(b []byte) []byte { b[8] = 3; return b }),
		set("prologue-flags", "unsupported", "a flag that is not known", layer{flags: 1}),
		set("prologue-reserved", "unsupported", "a reserved bit", layer{reserved: 1 << 31}),
		set("prologue-bases", "unsupported", "a layer that is a difference from one base", layer{bases: 1}),
	}
}

func badTables() []vector {
	c, _ := seven()
	ok := table{1, 6, []symbol{{120, 0, 100}, {121, 1, 150}}}
	set := func(name, comment string, l layer) vector {
		l.chunks = [][]byte{c}
		return vector{name, "corrupt", comment, u8, l.bytes(), nil}
	}
	bad := func(name, comment string, t []byte) vector { return set(name, comment, layer{tables: [][]byte{t}}) }
	foreign := func(name, comment string, id byte) vector {
		v := bad(name, comment, ok.shared(layout{id: id}))
		v.expect = "unsupported"
		return v
	}
	var exps []symbol
	for e := range 32 {
		exps = append(exps, symbol{e, 0, 8})
	}
	largest := slices.Repeat([][]byte{ok.shared(asBF16)}, 1)
	return []vector{
		bad("table-sum-255", "frequencies sum to 255", table{1, 5, ok.symbols}.shared(asBF16)),
		bad("table-sum-512", "frequencies sum to 512", table{0, 2, []symbol{{1, 0, 255}, {2, 0, 255}}}.shared(asBF16)),
		bad("table-unsorted", "exponents descend", table{0, 6, []symbol{{121, 0, 100}, {120, 0, 150}}}.shared(asBF16)),
		bad("table-repeated", "an exponent twice", []byte{asBF16.id, 0, 2, 6, 120, 100, 120, 150}),
		bad("table-many", "32 symbols and the escape", table{0, 0, exps}.shared(asBF16)),
		bad("table-none", "no exponents", []byte{asBF16.id, 0, 0, 255}),
		bad("table-empty-exponent", "an exponent without a frequency", []byte{asBF16.id, 0, 2, 6, 120, 250, 121, 0}),
		bad("table-exponent", "exponent 32 of five bits", table{0, 6, []symbol{{32, 0, 250}}}.shared(asF16)),
		bad("table-top", "four top mantissa bits", table{4, 6, []symbol{{120, 0, 250}}}.shared(asBF16)),
		bad("table-top-e5m2", "three top mantissa bits of two", table{3, 6, []symbol{{12, 0, 250}}}.shared(asE5M2)),
		bad("table-exponent-byte", "exponent 32 of five bits, in the layout byte", table{0, 6, []symbol{{32, 0, 250}}}.shared(asByte)),
		bad("table-exponent-nibble", "exponent 16 of four bits", table{0, 6, []symbol{{16, 0, 250}}}.shared(asNibble)),
		bad("table-top-nibble", "a top mantissa bit of none", table{1, 6, []symbol{{12, 0, 250}}}.shared(asNibble)),
		foreign("table-layout-0", "layout 0", 0),
		foreign("table-layout-8", "layout 8", 8),
		foreign("table-layout-255", "layout 255", 255),
		bad("table-cut", "the last table ends early", ok.shared(asBF16)[:5]),
		set("table-fewer", "one table less than the number says", layer{tables: largest, tableCount: 1}),
		set("table-more", "one table more than the number says", layer{tables: slices.Repeat(largest, 2), tableCount: -1}),
		set("table-256", "256 tables", layer{tables: slices.Repeat(largest, 256)}),
		set("table-bytes", "65,537 bytes of tables", layer{tables: [][]byte{make([]byte, 65537)}}),
	}
}

func badHeader() []vector {
	four := []byte{1, 2, 3, 4}
	with := func(name, expect, comment string, d byte, f func(h *header), payload []byte) vector {
		h := header{raw, d, 0, uint32(len(payload)), uint32(len(payload)), xxh3.Hash(payload)}
		f(&h)
		return after(name, expect, comment, d, append(h.bytes(), payload...))
	}
	sized := func(n uint32) func(h *header) { return func(h *header) { h.decoded = n } }
	broken := chunk(raw, u8, four, four)
	broken[20] ^= 0x80
	wrong := chunk(raw, u8, four, four)
	h := header{raw, u8, 0, 4, 4, xxh3.Hash(four) + 1}
	copy(wrong, h.bytes())
	return []vector{
		corrupt("header-sum", "check sum of the header", u8, broken),
		corrupt("header-hash", "hash of the decoded bytes", u8, wrong),
		with("header-flag-base", "unsupported", "the chunk is a difference from a base", u8, func(h *header) { h.flags = 1 }, four),
		with("header-flag-low", "unsupported", "flag 1 is not known", u8, func(h *header) { h.flags = 2 }, four),
		with("header-flag-high", "unsupported", "flag 15 is not known", u8, func(h *header) { h.flags = 1 << 15 }, four),
		with("header-method-6", "unsupported", "method 6 is reserved for differences", u8, func(h *header) { h.method = 6 }, four),
		with("header-method-7", "unsupported", "method 7 is reserved for differences", u8, func(h *header) { h.method = 7 }, four),
		with("header-method-9", "unsupported", "method 9 is not known", u8, func(h *header) { h.method = 9 }, four),
		with("header-method-private", "unsupported", "a private method", u8, func(h *header) { h.method = 254 }, four),
		with("header-dtype", "unsupported", "dtype 48 is not known", 0, func(h *header) { h.dtype = 48 }, four),
		with("header-decoded-0", "corrupt", "decoded size 0", u8, func(h *header) { h.decoded, h.payload = 0, 0 }, nil),
		with("header-decoded-0-payload", "corrupt", "decoded size 0 with a payload", u8, sized(0), four),
		corrupt("header-decoded-large", "one element more than a chunk holds", bf16, chunk(constant, bf16, []byte{0, 0}, make([]byte, 2<<20+2))),
		corrupt("header-decoded-4MiB-u8", "4 MiB of a dtype of width 1", u8, chunk(constant, u8, []byte{0}, make([]byte, 4<<20))),
		corrupt("header-decoded-q4_k", "a block more than 4 MiB hold", q4K, chunk(constant, q4K, make([]byte, 144), make([]byte, 144*(4<<20/144+1)))),
		corrupt("header-decoded-odd-q4_k", "decoded size is not whole blocks", q4K, chunk(raw, q4K, ramp(145), ramp(145))),
		corrupt("header-decoded-mxfp4", "more than 1 Mi bytes, but fewer blocks", 46, chunk(constant, 46, make([]byte, 17), make([]byte, 17*(4<<20/17+1)))),
		corrupt("header-decoded-8MiB-f64", "8 MiB, though no more than 1 Mi elements", f64, chunk(constant, f64, make([]byte, 8), make([]byte, 8<<20))),
		with("header-decoded-huge", "corrupt", "decoded size 2^32-1", u8, sized(1<<32-1), four),
		corrupt("header-decoded-odd", "decoded size is not whole elements", bf16, chunk(raw, bf16, ramp(5), ramp(5))),
		corrupt("header-payload", "the payload is longer than the decoded bytes", u8, chunk(zstd, u8,
			sum(frame{single: true, size: 9, blocks: block(true, 0, 9, ramp(9)...)}.bytes()), ramp(9))),
		with("header-payload-huge", "corrupt", "payload size 2^32-1", u8, func(h *header) { h.payload = 1<<32 - 1 }, four),
		with("header-payload-negative", "corrupt", "payload size 2^31: negative where an int has 32 bits", u8, func(h *header) { h.payload = 1 << 31 }, four),
	}
}

func badTrailer() (list []vector) {
	first, decoded := seven()
	second := chunk(raw, bytesType, ramp(9), ramp(9))
	released := slices.Concat(decoded, ramp(9))
	bad := func(name, expect, comment string, f func(t *trailer)) {
		l := layer{chunks: [][]byte{first, second}, trailer: f}
		list = append(list, vector{name, expect, comment, u8, l.bytes(), released})
	}
	bad("trailer-header-sum", "corrupt", "check sum of the trailer's header", func(t *trailer) { t.headerHash = 1 })
	bad("trailer-hash", "corrupt", "hash of the trailer", func(t *trailer) { t.hash = 1 })
	bad("trailer-dtype", "corrupt", "a dtype in the trailer's header", func(t *trailer) { t.dtype = bf16 })
	bad("trailer-decoded-header", "corrupt", "a decoded size in the trailer's header", func(t *trailer) { t.headerDecoded = 13 })
	bad("trailer-flags", "unsupported", "a flag in the trailer's header", func(t *trailer) { t.flags = 4 })
	bad("trailer-count", "corrupt", "three chunks instead of two", func(t *trailer) { t.count = 3 })
	bad("trailer-count-huge", "corrupt", "2^32-1 chunks", func(t *trailer) { t.count = 1<<32 - 1 })
	bad("trailer-reserved", "corrupt", "the reserved field is not 0", func(t *trailer) { t.reserved = 1 })
	bad("trailer-offset", "corrupt", "the offset of the trailer is off by one", func(t *trailer) { t.offset++ })
	bad("trailer-decoded", "corrupt", "the decoded size of the layer is off by one", func(t *trailer) { t.decoded++ })
	bad("trailer-magic", "corrupt", "another end magic", func(t *trailer) { t.magic = "\x89BSML\r\n\x1a" })
	bad("trailer-record-offset", "corrupt", "the offset of the second chunk is off by one", func(t *trailer) { t.records[1][0]++ })
	bad("trailer-record-encoded", "corrupt", "the encoded sizes of the chunks, a byte moved from one to the other", func(t *trailer) { t.records[0][1]++; t.records[1][1]--; t.records[1][0]++ })
	bad("trailer-record-decoded", "corrupt", "the decoded sizes of the chunks, a byte moved from one to the other", func(t *trailer) { t.records[0][2]++; t.records[1][2]-- })
	bad("trailer-record-missing", "corrupt", "a record for one of two chunks", func(t *trailer) { t.records, t.count = t.records[:1], 1 })
	bad("trailer-record-more", "corrupt", "a record for a chunk that is not there", func(t *trailer) { t.records, t.count = append(t.records, t.records[1]), 3 })
	return list
}

func badOrder() []vector {
	first, decoded := seven()
	second := chunk(raw, bytesType, ramp(9), ramp(9))
	both := append(slices.Clone(decoded), ramp(9)...)
	whole := layer{chunks: [][]byte{first, second}}.bytes()
	trailerAt := 32 + len(first) + len(second)
	end := whole[trailerAt:]
	cut := func(name, comment string, at int, released []byte) vector {
		return vector{name, "truncated", comment, u8, whole[:at:at], released}
	}
	order := func(name, comment string, released []byte, parts ...[]byte) vector {
		return vector{name, "corrupt", comment, u8, slices.Concat(parts...), released}
	}
	return []vector{
		cut("cut-after-prologue", "ends after the prologue", 32, nil),
		cut("cut-header", "ends in a chunk header", 32+len(first)+10, decoded),
		cut("cut-after-header", "ends after a chunk header", 32+len(first)+24, decoded),
		cut("cut-payload", "ends one byte before the end of a chunk", trailerAt-1, decoded),
		cut("cut-no-trailer", "the trailer is missing", trailerAt, both),
		cut("cut-trailer-header", "ends in the header of the trailer", trailerAt+23, both),
		cut("cut-trailer", "ends one byte before the end", len(whole)-1, both),
		order("order-trailing-byte", "a byte after the trailer", both, whole, []byte{0}),
		order("order-trailing-layer", "a second layer after the first", both, whole, whole),
		order("order-second-trailer", "the trailer twice", both, whole, end),
		order("order-chunk-after-trailer", "a chunk after the trailer", both, whole, first),
		order("order-repeated", "a chunk twice, the trailer knows one", append(slices.Clone(both), ramp(9)...), whole[:trailerAt], second, end),
		order("order-missing", "a chunk of the trailer is missing", decoded, whole[:32], first, end),
		order("order-swapped", "two chunks swapped", append(ramp(9), decoded...), whole[:32], second, first, end),
		order("order-foreign", "a chunk of another layer in the place of one", append(slices.Clone(decoded), 5), whole[:32], first, chunk(raw, u8, []byte{5}, []byte{5}), end),
	}
}
