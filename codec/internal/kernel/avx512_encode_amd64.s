//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The encoder: FORMAT.md, the end of "Decoding". Groups and states are those of
// the decoder, in avx512_decode_amd64.s; it goes from the last symbol to the
// first, and the stream grows downwards.

// Registers:
//	DI   symbols of the row          SI   end of what is free of the stream
//	CX   rows left                   R8   what rotates bytes
//	Z0   frequencies    Z1  first slots, by symbol
//	Z2   65535 / frequency, by symbol, 32 words
//	Z3   0x00ff in each word         Z4   1 in each word
//	Z12-Z15  low bytes of the states Z16-Z19  high bytes
//	Z20-Z28  temporary               K1, K2   temporary

#define LOAD \
	MOVQ e+0(FP), BX; \
	MOVQ t+8(FP), DX; \
	MOVQ syms+16(FP), DI; \
	MOVQ rows+24(FP), CX; \
	MOVQ free_base+32(FP), SI; \
	ADDQ free_len+40(FP), SI; \
	MOVQ k+56(FP), R8; \
	LEAQ constants_ascending(R8), R8; \
	VMOVDQU64 Table_freq(DX), Z0; \
	VMOVDQU64 Table_start(DX), Z1; \
	VPMOVZXBW Table_recipL(DX), Z2; \
	VPMOVZXBW Table_recipH(DX), Z3; \
	VPSLLW $8, Z3, Z3; \
	VPORQ Z3, Z2, Z2; \
	MOVL $0x00ff, AX; \
	VPBROADCASTW AX, Z3; \
	MOVL $1, AX; \
	VPBROADCASTW AX, Z4

// RETURN gives back how far SI came.
#define RETURN \
	MOVQ free_base+32(FP), AX; \
	ADDQ free_len+40(FP), AX; \
	SUBQ SI, AX; \
	MOVQ AX, used+64(FP); \
	VZEROUPPER

// GROUP encodes the 64 symbols at off(DI).
//
// Z21 is f and Z22 c. The lanes of which the high byte is not below f put out
// their low byte, and shift down. These bytes, compressed and rotated, end a
// register that is stored up to SI: what is in front of them is written again
// later, or is slack.
//
// Then x / f, in words, of the even lanes in Z25 and of the odd ones in Z26. The
// quotient of x with r = 65535 / f rounded down, x * r >> 16, is at most 1 too
// small: x * r / 65536 > x / f - x / 65536. Z23 and Z24 are r, then the quotient;
// VPERMW takes the lowest five bits of a word for its index.
//
// The VPTERNLOGQs are Z25 | lo & Z3 and Z26 | hi &^ Z3.
#define GROUP(lo, hi, off) \
	VMOVDQU64 off(DI), Z20; \
	VPERMB Z0, Z20, Z21; \
	VPERMB Z1, Z20, Z22; \
	VPERMW Z2, Z20, Z23; \
	VPSRLW $8, Z20, Z20; \
	VPERMW Z2, Z20, Z24; \
	VPCMPUB $5, Z21, hi, K1; \
	KMOVQ K1, AX; \
	POPCNTQ AX, AX; \
	VPCOMPRESSB.Z lo, K1, Z25; \
	VMOVDQU64 (R8)(AX*1), Z26; \
	VPERMB Z25, Z26, Z25; \
	VMOVDQU64 Z25, -64(SI); \
	SUBQ AX, SI; \
	VMOVDQU8 hi, K1, lo; \
	VPSUBB hi, hi, K1, hi; \
	VPSLLW $8, hi, Z25; \
	VPTERNLOGQ $0xf8, Z3, lo, Z25; \
	VPSRLW $8, lo, Z26; \
	VPTERNLOGQ $0xf4, Z3, hi, Z26; \
	VPMULHUW Z23, Z25, Z23; \
	VPMULHUW Z24, Z26, Z24; \
	VPANDQ Z3, Z21, Z27; \
	VPSRLW $8, Z21, Z21; \
	VPMULLW Z27, Z23, Z28; \
	VPSUBW Z28, Z25, Z25; \
	VPMULLW Z21, Z24, Z28; \
	VPSUBW Z28, Z26, Z26; \
	VPCMPUW $5, Z27, Z25, K1; \
	VPCMPUW $5, Z21, Z26, K2; \
	VPSUBW Z27, Z25, K1, Z25; \
	VPADDW Z4, Z23, K1, Z23; \
	VPSUBW Z21, Z26, K2, Z26; \
	VPADDW Z4, Z24, K2, Z24; \
	VPSLLW $8, Z24, hi; \
	VPORQ Z23, hi, hi; \
	VPSLLW $8, Z26, lo; \
	VPORQ Z25, lo, lo; \
	VPADDB Z22, lo, lo

// func encodeRows4(e *Encoder, t *Table, syms *uint8, rows int, free []byte, k *constants) (used int)
TEXT ·encodeRows4(SB), NOSPLIT, $0-72
	LOAD
	MOVQ CX, AX
	SHLQ $8, AX
	ADDQ AX, DI
	VMOVDQU64 (Encoder_lo+0)(BX), Z12
	VMOVDQU64 (Encoder_lo+64)(BX), Z13
	VMOVDQU64 (Encoder_lo+128)(BX), Z14
	VMOVDQU64 (Encoder_lo+192)(BX), Z15
	VMOVDQU64 (Encoder_hi+0)(BX), Z16
	VMOVDQU64 (Encoder_hi+64)(BX), Z17
	VMOVDQU64 (Encoder_hi+128)(BX), Z18
	VMOVDQU64 (Encoder_hi+192)(BX), Z19

row4:
	SUBQ $256, DI
	GROUP(Z15, Z19, 192)
	GROUP(Z14, Z18, 128)
	GROUP(Z13, Z17, 64)
	GROUP(Z12, Z16, 0)
	DECQ CX
	JNZ  row4
	VMOVDQU64 Z12, (Encoder_lo+0)(BX)
	VMOVDQU64 Z13, (Encoder_lo+64)(BX)
	VMOVDQU64 Z14, (Encoder_lo+128)(BX)
	VMOVDQU64 Z15, (Encoder_lo+192)(BX)
	VMOVDQU64 Z16, (Encoder_hi+0)(BX)
	VMOVDQU64 Z17, (Encoder_hi+64)(BX)
	VMOVDQU64 Z18, (Encoder_hi+128)(BX)
	VMOVDQU64 Z19, (Encoder_hi+192)(BX)
	RETURN
	RET

// func encodeRows1(e *Encoder, t *Table, syms *uint8, rows int, free []byte, k *constants) (used int)
TEXT ·encodeRows1(SB), NOSPLIT, $0-72
	LOAD
	MOVQ CX, AX
	SHLQ $6, AX
	ADDQ AX, DI
	VMOVDQU64 Encoder_lo(BX), Z12
	VMOVDQU64 Encoder_hi(BX), Z16

row1:
	SUBQ $64, DI
	GROUP(Z12, Z16, 0)
	DECQ CX
	JNZ  row1
	VMOVDQU64 Z12, Encoder_lo(BX)
	VMOVDQU64 Z16, Encoder_hi(BX)
	RETURN
	RET

// func symbolsOf(syms *uint8, escapes *uint64, vals *uint16, n int, window *[256]uint8, base int, k *constants)
//
// The window is four registers: a lookup in 256 bytes is two in 128, and one of
// these for each lane. What is below base wraps to a large number, and all that
// is beyond the window becomes 255.
TEXT ·symbolsOf(SB), NOSPLIT, $0-56
	MOVQ syms+0(FP), DI
	MOVQ escapes+8(FP), R8
	MOVQ vals+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ window+32(FP), DX
	MOVQ base+40(FP), AX
	VPBROADCASTW AX, Z4
	MOVL $255, AX
	VPBROADCASTW AX, Z5
	MOVQ k+48(FP), AX
	VMOVDQU64 constants_lowBytes(AX), Z6
	VMOVDQU64 (DX), Z0
	VMOVDQU64 64(DX), Z1
	VMOVDQU64 128(DX), Z2
	VMOVDQU64 192(DX), Z3

symbols:
	VMOVDQU64 (SI), Z16
	VMOVDQU64 64(SI), Z17
	VPSUBW Z4, Z16, Z16
	VPSUBW Z4, Z17, Z17
	VPMINUW Z5, Z16, Z16
	VPMINUW Z5, Z17, Z17
	VPERMT2B Z17, Z6, Z16
	VPMOVB2M Z16, K1
	VMOVDQA64 Z16, Z17
	VPERMI2B Z1, Z0, Z16
	VPERMI2B Z3, Z2, Z17
	VMOVDQU8 Z17, K1, Z16
	VPTESTNMB Z16, Z16, K2
	VMOVDQU64 Z16, (DI)
	KMOVQ K2, (R8)
	ADDQ $128, SI
	ADDQ $64, DI
	ADDQ $8, R8
	SUBQ $64, CX
	JNZ  symbols
	VZEROUPPER
	RET
