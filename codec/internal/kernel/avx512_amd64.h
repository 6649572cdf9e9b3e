// What the decoder and the fused decoder of AVX-512 share: how 64 lanes, a group,
// decode a symbol each. FORMAT.md, "Decoding".
//
// The state of a group is two registers, the low and the high bytes. Everything
// else about a symbol is a lookup in registers.
//
// Registers:
//	SI       stream
//	Z0-Z3    symbol of each slot     Z4   frequencies    Z5  first slots
//	Z6, Z7   low and high bytes of the words, all by symbol
//	Z10      0x00ff in each word     Z11  0x01 in each byte
//	Z12-Z15  low bytes of the states Z16-Z19  high bytes
//	Z21-Z28  temporary               K1, K2   temporary

// TABLE loads a Table.
#define TABLE(t) \
	VMOVDQU64 (Table_symbol+0)(t), Z0; \
	VMOVDQU64 (Table_symbol+64)(t), Z1; \
	VMOVDQU64 (Table_symbol+128)(t), Z2; \
	VMOVDQU64 (Table_symbol+192)(t), Z3; \
	VMOVDQU64 Table_freq(t), Z4; \
	VMOVDQU64 Table_start(t), Z5; \
	VMOVDQU64 Table_wlow(t), Z6; \
	VMOVDQU64 Table_whigh(t), Z7

// MASKS loads Z10 and Z11.
#define MASKS \
	MOVL $0x00ff, AX; \
	VPBROADCASTW AX, Z10; \
	MOVL $1, AX; \
	VPBROADCASTB AX, Z11

// LOADSTATES and STORESTATES move the states of group i between Decoder d and
// registers.
#define LOADSTATES(d, i, lo, hi) \
	VMOVDQU64 (Decoder_lo+64*i)(d), lo; \
	VMOVDQU64 (Decoder_hi+64*i)(d), hi

#define STORESTATES(d, i, lo, hi) \
	VMOVDQU64 lo, (Decoder_lo+64*i)(d); \
	VMOVDQU64 hi, (Decoder_hi+64*i)(d)

// LOOKUP looks the symbols of a group up: Z21 becomes the symbol, Z22 f, Z23 c,
// Z24 and Z25 the low and the high bytes of their words.
#define LOOKUP(lo) \
	VPMOVB2M lo, K1; \
	VMOVDQA64 lo, Z21; \
	VPERMI2B Z1, Z0, Z21; \
	VMOVDQA64 lo, Z22; \
	VPERMI2B Z3, Z2, Z22; \
	VMOVDQU8 Z22, K1, Z21; \
	VPERMB Z4, Z21, Z22; \
	VPERMB Z5, Z21, Z23; \
	VPERMB Z6, Z21, Z24; \
	VPERMB Z7, Z21, Z25

// STEP goes on to the next states of a group, after LOOKUP.
//
// Z23 becomes slot - c, and Z26 and Z27 the new states, f*(x>>8) + slot - c, of
// the even and the odd lanes. In the odd lanes the factors stay in the high
// bytes: the high half of that product is theirs. The VPTERNLOGQs are
// lo | Z26 & Z10 and Z26 | Z27 &^ Z10, the new low and high bytes. Lanes whose
// new high byte is 0 shift up and take a byte of the stream.
#define STEP(lo, hi) \
	VPSUBB Z23, lo, Z23; \
	VPANDQ Z10, Z22, Z26; \
	VPANDQ Z10, hi, Z28; \
	VPMULLW Z28, Z26, Z26; \
	VPANDNQ Z22, Z10, Z27; \
	VPANDNQ hi, Z10, Z28; \
	VPMULHUW Z28, Z27, Z27; \
	VPANDQ Z10, Z23, Z28; \
	VPADDW Z28, Z26, Z26; \
	VPSRLW $8, Z23, Z28; \
	VPADDW Z28, Z27, Z27; \
	VPSLLW $8, Z27, lo; \
	VPTERNLOGQ $0xf8, Z10, Z26, lo; \
	VPSRLW $8, Z26, Z26; \
	VPTERNLOGQ $0xf4, Z10, Z27, Z26; \
	VPTESTNMB Z26, Z26, K2; \
	VPBLENDMB lo, Z26, K2, hi; \
	VPEXPANDB (SI), K2, lo; \
	KMOVQ K2, AX; \
	POPCNTQ AX, AX; \
	ADDQ AX, SI
