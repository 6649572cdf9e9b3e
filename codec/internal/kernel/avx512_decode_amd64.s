//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The decoder: FORMAT.md, "Decoding" and "Why it is fast".
//
// A group is 64 lanes. Its state is two registers, the low and the high bytes.
// Everything else about a symbol is a lookup in registers.
//
// Registers:
//	DI   words of the row            R12  end of the words, less a row
//	SI   stream                      R9   last place where a row may start
//	R8   list of escapes             R10  last place where a row may start
//	R11  index of the row in its batch                   R13  constants
//	Z0-Z3    symbol of each slot     Z4   frequencies    Z5  first slots
//	Z6, Z7   low and high bytes of the words, all by symbol
//	Z8, Z9   what interleaves low and high bytes
//	Z10      0x00ff in each word     Z11  0x01 in each byte
//	Z12-Z15  low bytes of the states Z16-Z19  high bytes
//	Z20      OR of the low bytes of the words of a row: bit 0 is an escape
//	Z21-Z28  temporary               K1, K2   temporary

// LOAD reads arguments and tables; row is the lanes of a row.
//
// A group reads 64 bytes of the stream and goes on by at most as many, so a row
// reads at most row bytes. It finds at most row escapes, and NOTE stores 32
// words to append any.
#define LOAD(row) \
	MOVQ d+0(FP), BX; \
	MOVQ t+8(FP), DX; \
	MOVQ words_base+16(FP), DI; \
	MOVQ words_len+24(FP), R12; \
	LEAQ -(2*row)(DI)(R12*2), R12; \
	MOVQ stream_base+40(FP), SI; \
	MOVQ stream_len+48(FP), R9; \
	LEAQ -(row)(SI)(R9*1), R9; \
	MOVQ escaped_base+64(FP), R8; \
	MOVQ escaped_len+72(FP), R10; \
	LEAQ -(2*(row+32))(R8)(R10*2), R10; \
	MOVQ base+88(FP), R11; \
	VMOVDQU64 (Table_symbol+0)(DX), Z0; \
	VMOVDQU64 (Table_symbol+64)(DX), Z1; \
	VMOVDQU64 (Table_symbol+128)(DX), Z2; \
	VMOVDQU64 (Table_symbol+192)(DX), Z3; \
	VMOVDQU64 Table_freq(DX), Z4; \
	VMOVDQU64 Table_start(DX), Z5; \
	VMOVDQU64 Table_wlow(DX), Z6; \
	VMOVDQU64 Table_whigh(DX), Z7; \
	MOVQ k+96(FP), R13; \
	VMOVDQU64 (constants_interleave+0)(R13), Z8; \
	VMOVDQU64 (constants_interleave+64)(R13), Z9; \
	MOVL $0x00ff, AX; \
	VPBROADCASTW AX, Z10; \
	MOVL $1, AX; \
	VPBROADCASTB AX, Z11

// RETURN gives back how far DI, SI and R8 came.
#define RETURN \
	SUBQ words_base+16(FP), DI; \
	SHRQ $1, DI; \
	MOVQ DI, n+104(FP); \
	SUBQ stream_base+40(FP), SI; \
	MOVQ SI, used+112(FP); \
	SUBQ escaped_base+64(FP), R8; \
	SHRQ $1, R8; \
	MOVQ R8, found+120(FP); \
	VZEROUPPER

// GROUP decodes one symbol in each lane of a group, whose words go to off(DI).
//
// Z21 becomes the symbol, Z22 f, Z23 slot - c, and Z26 and Z27 the new states,
// f*(x>>8) + slot - c, of the even and the odd lanes. In the odd lanes the
// factors stay in the high bytes: the high half of that product is theirs.
// The VPTERNLOGQs are lo | Z26 & Z10 and Z26 | Z27 &^ Z10, the new low and high
// bytes. Lanes whose new high byte is 0 shift up and take a byte of the stream.
#define GROUP(lo, hi, off) \
	VPMOVB2M lo, K1; \
	VMOVDQA64 lo, Z21; \
	VPERMI2B Z1, Z0, Z21; \
	VMOVDQA64 lo, Z22; \
	VPERMI2B Z3, Z2, Z22; \
	VMOVDQU8 Z22, K1, Z21; \
	VPERMB Z4, Z21, Z22; \
	VPERMB Z5, Z21, Z23; \
	VPERMB Z6, Z21, Z24; \
	VPERMB Z7, Z21, Z25; \
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
	ADDQ AX, SI; \
	VPORQ Z24, Z20, Z20; \
	VMOVDQA64 Z24, Z21; \
	VPERMT2B Z25, Z8, Z21; \
	VMOVDQU64 Z21, off(DI); \
	VPERMT2B Z25, Z9, Z24; \
	VMOVDQU64 Z24, (off+64)(DI)

// NOTE appends the indices of the odd ones of the 32 words at off(DI), of which
// the first has the index in Z22; the next has it then.
#define NOTE(off) \
	VPTESTMW off(DI), Z21, K1; \
	VPCOMPRESSW.Z Z22, K1, Z23; \
	VMOVDQU64 Z23, (R8); \
	KMOVD K1, AX; \
	POPCNTL AX, AX; \
	LEAQ (R8)(AX*2), R8; \
	VPADDW Z24, Z22, Z22

// NOTES sets NOTE up.
#define NOTES \
	MOVL $1, AX; \
	VPBROADCASTW AX, Z21; \
	MOVL $32, AX; \
	VPBROADCASTW AX, Z24; \
	VPBROADCASTW R11, Z22; \
	VPADDW constants_words(R13), Z22, Z22

// func decodeRows4(d *Decoder, t *Table, words []uint16, stream []byte, escaped []uint16, base int, k *constants) (n, used, found int)
TEXT ·decodeRows4(SB), NOSPLIT, $0-128
	LOAD(256)
	VMOVDQU64 (Decoder_lo+0)(BX), Z12
	VMOVDQU64 (Decoder_lo+64)(BX), Z13
	VMOVDQU64 (Decoder_lo+128)(BX), Z14
	VMOVDQU64 (Decoder_lo+192)(BX), Z15
	VMOVDQU64 (Decoder_hi+0)(BX), Z16
	VMOVDQU64 (Decoder_hi+64)(BX), Z17
	VMOVDQU64 (Decoder_hi+128)(BX), Z18
	VMOVDQU64 (Decoder_hi+192)(BX), Z19

row4:
	CMPQ DI, R12
	JHI  done4
	CMPQ SI, R9
	JHI  done4
	CMPQ R8, R10
	JHI  done4
	PREFETCHT1 4096(SI)
	PREFETCHT1 4160(SI)
	VPXORQ Z20, Z20, Z20
	GROUP(Z12, Z16, 0)
	GROUP(Z13, Z17, 128)
	GROUP(Z14, Z18, 256)
	GROUP(Z15, Z19, 384)
	VPTESTMB Z11, Z20, K1
	KORTESTQ K1, K1
	JNZ  escapes4

next4:
	ADDQ $512, DI
	ADDQ $256, R11
	JMP  row4

escapes4:
	NOTES
	NOTE(0)
	NOTE(64)
	NOTE(128)
	NOTE(192)
	NOTE(256)
	NOTE(320)
	NOTE(384)
	NOTE(448)
	JMP  next4

done4:
	VMOVDQU64 Z12, (Decoder_lo+0)(BX)
	VMOVDQU64 Z13, (Decoder_lo+64)(BX)
	VMOVDQU64 Z14, (Decoder_lo+128)(BX)
	VMOVDQU64 Z15, (Decoder_lo+192)(BX)
	VMOVDQU64 Z16, (Decoder_hi+0)(BX)
	VMOVDQU64 Z17, (Decoder_hi+64)(BX)
	VMOVDQU64 Z18, (Decoder_hi+128)(BX)
	VMOVDQU64 Z19, (Decoder_hi+192)(BX)
	RETURN
	RET

// func decodeRows1(d *Decoder, t *Table, words []uint16, stream []byte, escaped []uint16, base int, k *constants) (n, used, found int)
TEXT ·decodeRows1(SB), NOSPLIT, $0-128
	LOAD(64)
	VMOVDQU64 Decoder_lo(BX), Z12
	VMOVDQU64 Decoder_hi(BX), Z16

row1:
	CMPQ DI, R12
	JHI  done1
	CMPQ SI, R9
	JHI  done1
	CMPQ R8, R10
	JHI  done1
	VPXORQ Z20, Z20, Z20
	GROUP(Z12, Z16, 0)
	VPTESTMB Z11, Z20, K1
	KORTESTQ K1, K1
	JNZ  escapes1

next1:
	ADDQ $128, DI
	ADDQ $64, R11
	JMP  row1

escapes1:
	NOTES
	NOTE(0)
	NOTE(64)
	JMP  next1

done1:
	VMOVDQU64 Z12, Decoder_lo(BX)
	VMOVDQU64 Z16, Decoder_hi(BX)
	RETURN
	RET
