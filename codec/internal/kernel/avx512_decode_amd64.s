//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "avx512_amd64.h"

// The decoder: FORMAT.md, "Decoding" and "Why it is fast".
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
	TABLE(DX); \
	MOVQ k+96(FP), R13; \
	VMOVDQU64 (constants_interleave+0)(R13), Z8; \
	VMOVDQU64 (constants_interleave+64)(R13), Z9; \
	MASKS

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
#define GROUP(lo, hi, off) \
	LOOKUP(lo); \
	STEP(lo, hi); \
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
	LOADSTATES(BX, 0, Z12, Z16)
	LOADSTATES(BX, 1, Z13, Z17)
	LOADSTATES(BX, 2, Z14, Z18)
	LOADSTATES(BX, 3, Z15, Z19)

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
	STORESTATES(BX, 0, Z12, Z16)
	STORESTATES(BX, 1, Z13, Z17)
	STORESTATES(BX, 2, Z14, Z18)
	STORESTATES(BX, 3, Z15, Z19)
	RETURN
	RET

// func decodeRows1(d *Decoder, t *Table, words []uint16, stream []byte, escaped []uint16, base int, k *constants) (n, used, found int)
TEXT ·decodeRows1(SB), NOSPLIT, $0-128
	LOAD(64)
	LOADSTATES(BX, 0, Z12, Z16)

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
	STORESTATES(BX, 0, Z12, Z16)
	RETURN
	RET
