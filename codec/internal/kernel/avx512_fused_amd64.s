//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "avx512_amd64.h"

// The fused decoder: it decodes symbols and writes finished elements, so that
// words never go through memory. FORMAT.md, "Decoding" and "Symbol and rest".
//
// A group is 64 lanes; its state is two registers, the low and the high bytes.
// What a group decodes stays in two registers, too, the low and the high bytes
// of 64 words, until the rest is in its place and the bytes are interleaved.
//
// Registers:
//	DI  elements     SI  stream       R9  last place in it where a row may start
//	CX  rows left    R13 fusedTable   R14 bytes that 64 elements take in the top plane
//	R12 top plane    DX, BX  byte planes 0 and 1
//	R8  low bytes of the words of escapes, R11 from there to the high bytes
//	R10 end of the low bytes
//	Z0-Z3    symbol of each slot     Z4   frequencies    Z5  first slots
//	Z6, Z7   low and high bytes of the words, all by symbol
//	Z8, Z9   what interleaves low and high bytes
//	Z10      0x00ff in each word     Z11  0x01 in each byte
//	Z12-Z15  low bytes of the states Z16-Z19  high bytes
//	Z20      lookup in the top plane
//	Z29, Z30 shifts of the top plane for the low and the high bytes
//	Z31      mask for the low bytes
//	Z21-Z28  temporary               K1-K3   temporary
//	K4       bytes of the top plane that 64 elements take

#define LOAD \
	MOVQ a+0(FP), AX; \
	MOVQ fusedArgs_dst(AX), DI; \
	MOVQ fusedArgs_rows(AX), CX; \
	MOVQ fusedArgs_stream(AX), SI; \
	MOVQ fusedArgs_last(AX), R9; \
	MOVQ fusedArgs_escapes(AX), R8; \
	MOVQ fusedArgs_escapesEnd(AX), R10; \
	MOVQ fusedArgs_toHigh(AX), R11; \
	MOVQ fusedArgs_top(AX), R12; \
	MOVQ fusedArgs_plane0(AX), DX; \
	MOVQ fusedArgs_plane1(AX), BX; \
	MOVQ fusedArgs_k(AX), R13; \
	MOVQ fusedArgs_t(AX), AX; \
	TABLE(AX); \
	VMOVDQU64 (fusedTable_interleave+0)(R13), Z8; \
	VMOVDQU64 (fusedTable_interleave+64)(R13), Z9; \
	VMOVDQU64 fusedTable_top(R13), Z20; \
	VMOVDQU64 fusedTable_shiftLow(R13), Z29; \
	VMOVDQU64 fusedTable_shiftHigh(R13), Z30; \
	VMOVDQU64 fusedTable_maskLow(R13), Z31; \
	MOVQ fusedTable_size(R13), R14; \
	MOVQ $-1, AX; \
	BZHIQ R14, AX, AX; \
	KMOVQ AX, K4; \
	MASKS

// SYMBOLS decodes one symbol in each lane of a group. Z24 and Z25 become the low
// and the high bytes of their words. The words of escapes come from their list,
// out of line at esc.
#define SYMBOLS(lo, hi, esc, back) \
	LOOKUP(lo); \
	VPTESTMB Z11, Z24, K3; \
	STEP(lo, hi); \
	KORTESTQ K3, K3; \
	JNZ  esc; \
back:

// ESCAPES takes the words of the escapes, K3, from the list. What the list lacks
// is counted, too.
#define ESCAPES(esc, back) \
esc: \
	VPEXPANDB (R8), K3, Z24; \
	VPEXPANDB (R8)(R11*1), K3, Z25; \
	KMOVQ K3, AX; \
	POPCNTQ AX, AX; \
	ADDQ AX, R8; \
	CMPQ R8, R10; \
	CMOVQHI R10, R8; \
	MOVQ a+0(FP), R9; \
	ADDQ AX, fusedArgs_found(R9); \
	MOVQ fusedArgs_last(R9), R9; \
	JMP back

// TOP gathers the bits of the top plane, Z21, so that each eight bytes have those
// of their own eight elements.
#define TOP \
	VMOVDQU8.Z (R12), K4, Z21; \
	PREFETCHT1 8192(R12); \
	ADDQ R14, R12; \
	VPERMB Z21, Z20, Z21

// WORDS interleaves the bytes of words and stores them.
#define WORDS(off, MOV) \
	VMOVDQA64 Z24, Z21; \
	VPERMT2B Z25, Z8, Z21; \
	VPERMT2B Z25, Z9, Z24; \
	MOV Z21, off(DI); \
	MOV Z24, (off+64)(DI)

// REST16 puts in the rest where there is a packed plane alone: low mantissa bits
// in the low byte, the sign on top of the high one.
#define REST16 \
	TOP; \
	VPMULTISHIFTQB Z21, Z29, Z22; \
	VPMULTISHIFTQB Z21, Z30, Z23; \
	VPTERNLOGQ $0xf8, Z31, Z22, Z24; \
	VPTERNLOGQ $0xf8, fusedTable_maskHigh(R13), Z23, Z25

#define GROUP16(lo, hi, i, MOV, esc, back) \
	SYMBOLS(lo, hi, esc, back); \
	REST16; \
	WORDS(128*i, MOV)

// GROUP16B is GROUP16 where the rest is one byte plane.
#define GROUP16B(lo, hi, i, MOV, esc, back) \
	SYMBOLS(lo, hi, esc, back); \
	VMOVDQU64 (DX), Z22; \
	PREFETCHT1 8192(DX); \
	ADDQ $64, DX; \
	VPTERNLOGQ $0xf8, Z31, Z22, Z24; \
	VPTERNLOGQ $0xf8, fusedTable_maskHigh(R13), Z22, Z25; \
	WORDS(128*i, MOV)

// GROUP16C is GROUP16 where the low bytes are a plane, and the rest of the high
// ones is packed: Z30 brings mantissa bits to their place, and Z29 the sign.
#define GROUP16C(lo, hi, i, MOV, esc, back) \
	SYMBOLS(lo, hi, esc, back); \
	TOP; \
	VPMULTISHIFTQB Z21, Z29, Z22; \
	VPMULTISHIFTQB Z21, Z30, Z23; \
	VPTERNLOGQ $0xf8, Z31, Z22, Z25; \
	VPTERNLOGQ $0xf8, fusedTable_maskHigh(R13), Z23, Z25; \
	VMOVDQU64 (DX), Z24; \
	PREFETCHT1 8192(DX); \
	ADDQ $64, DX; \
	WORDS(128*i, MOV)

// GROUP32 makes the high halves of the elements as GROUP16 does, the low ones of
// two planes.
#define GROUP32(lo, hi, i, MOV, esc, back) \
	SYMBOLS(lo, hi, esc, back); \
	REST16; \
	VMOVDQA64 Z24, Z21; \
	VPERMT2B Z25, Z8, Z21; \
	VPERMT2B Z25, Z9, Z24; \
	VMOVDQU64 (DX), Z22; \
	VMOVDQU64 (BX), Z25; \
	PREFETCHT1 8192(DX); \
	PREFETCHT1 8192(BX); \
	ADDQ $64, DX; \
	ADDQ $64, BX; \
	VMOVDQA64 Z22, Z23; \
	VPERMT2B Z25, Z8, Z23; \
	VPERMT2B Z25, Z9, Z22; \
	VMOVDQU64 (fusedTable_words+0)(R13), Z26; \
	VMOVDQU64 (fusedTable_words+64)(R13), Z27; \
	VMOVDQA64 Z23, Z28; \
	VPERMT2W Z21, Z26, Z28; \
	VPERMT2W Z21, Z27, Z23; \
	MOV Z28, (256*i)(DI); \
	MOV Z23, (256*i+64)(DI); \
	VMOVDQA64 Z22, Z28; \
	VPERMT2W Z24, Z26, Z28; \
	VPERMT2W Z24, Z27, Z22; \
	MOV Z28, (256*i+128)(DI); \
	MOV Z22, (256*i+192)(DI)

// GROUP8 makes elements of a byte, the high bytes of words.
#define GROUP8(lo, hi, i, MOV, esc, back) \
	SYMBOLS(lo, hi, esc, back); \
	TOP; \
	VPMULTISHIFTQB Z21, Z29, Z22; \
	VPMULTISHIFTQB Z21, Z30, Z23; \
	VPTERNLOGQ $0xf8, Z31, Z22, Z25; \
	VPTERNLOGQ $0xf8, fusedTable_maskHigh(R13), Z23, Z25; \
	MOV Z25, (64*i)(DI)

// STRIPE starts the next stripe, with its table, and jumps to row; or it falls
// through if there is none. R9 is free for a moment.
#define STRIPE(row, none) \
	MOVQ a+0(FP), AX; \
	MOVQ fusedArgs_left(AX), CX; \
	TESTQ CX, CX; \
	JZ none; \
	CMPQ CX, fusedArgs_stripe(AX); \
	CMOVQGT fusedArgs_stripe(AX), CX; \
	SUBQ CX, fusedArgs_left(AX); \
	MOVQ fusedArgs_classes(AX), R9; \
	INCQ fusedArgs_classes(AX); \
	MOVBLZX (R9), R9; \
	SHLQ $3, R9; \
	ADDQ fusedArgs_tables(AX), R9; \
	MOVQ (R9), R9; \
	TABLE(R9); \
	MOVQ fusedArgs_last(AX), R9; \
	JMP row

// RETURN gives back how far rows and stream came.
#define RETURN \
	MOVQ a+0(FP), AX; \
	MOVQ CX, fusedArgs_rows(AX); \
	MOVQ SI, fusedArgs_stream(AX); \
	VZEROUPPER; \
	RET

// FOUR decodes rows of four groups of size bytes, stripe after stripe, while there
// are any and the stream cannot end in one.
#define FOUR(GROUP, MOV, size) \
	LOAD; \
	MOVQ a+0(FP), AX; \
	MOVQ fusedArgs_d(AX), AX; \
	LOADSTATES(AX, 0, Z12, Z16); \
	LOADSTATES(AX, 1, Z13, Z17); \
	LOADSTATES(AX, 2, Z14, Z18); \
	LOADSTATES(AX, 3, Z15, Z19); \
row: \
	CMPQ SI, R9; \
	JHI done; \
	PREFETCHT1 4096(SI); \
	PREFETCHT1 4160(SI); \
	GROUP(Z12, Z16, 0, MOV, esc0, back0); \
	GROUP(Z13, Z17, 1, MOV, esc1, back1); \
	GROUP(Z14, Z18, 2, MOV, esc2, back2); \
	GROUP(Z15, Z19, 3, MOV, esc3, back3); \
	ADDQ $size, DI; \
	DECQ CX; \
	JNZ row; \
	STRIPE(row, done); \
done: \
	MOVQ a+0(FP), AX; \
	MOVQ fusedArgs_d(AX), AX; \
	STORESTATES(AX, 0, Z12, Z16); \
	STORESTATES(AX, 1, Z13, Z17); \
	STORESTATES(AX, 2, Z14, Z18); \
	STORESTATES(AX, 3, Z15, Z19); \
	RETURN; \
	ESCAPES(esc0, back0); \
	ESCAPES(esc1, back1); \
	ESCAPES(esc2, back2); \
	ESCAPES(esc3, back3)

// ONE is FOUR for rows of one group.
#define ONE(GROUP, size) \
	LOAD; \
	MOVQ a+0(FP), AX; \
	MOVQ fusedArgs_d(AX), AX; \
	LOADSTATES(AX, 0, Z12, Z16); \
row: \
	CMPQ SI, R9; \
	JHI done; \
	GROUP(Z12, Z16, 0, VMOVDQU64, esc0, back0); \
	ADDQ $size, DI; \
	DECQ CX; \
	JNZ row; \
	STRIPE(row, done); \
done: \
	MOVQ a+0(FP), AX; \
	MOVQ fusedArgs_d(AX), AX; \
	STORESTATES(AX, 0, Z12, Z16); \
	RETURN; \
	ESCAPES(esc0, back0)

// func fence()
TEXT ·fence(SB), NOSPLIT, $0-0
	SFENCE
	RET

// func fused16x4(a *fusedArgs)
TEXT ·fused16x4(SB), NOSPLIT, $0-8
	FOUR(GROUP16, VMOVDQU64, 512)

// func fused16x4p(a *fusedArgs)
TEXT ·fused16x4p(SB), NOSPLIT, $0-8
	FOUR(GROUP16, VMOVNTDQ, 512)

// func fused16x1(a *fusedArgs)
TEXT ·fused16x1(SB), NOSPLIT, $0-8
	ONE(GROUP16, 128)

// func fused16Bx4(a *fusedArgs)
TEXT ·fused16Bx4(SB), NOSPLIT, $0-8
	FOUR(GROUP16B, VMOVDQU64, 512)

// func fused16Bx4p(a *fusedArgs)
TEXT ·fused16Bx4p(SB), NOSPLIT, $0-8
	FOUR(GROUP16B, VMOVNTDQ, 512)

// func fused16Bx1(a *fusedArgs)
TEXT ·fused16Bx1(SB), NOSPLIT, $0-8
	ONE(GROUP16B, 128)

// func fused16Cx4(a *fusedArgs)
TEXT ·fused16Cx4(SB), NOSPLIT, $0-8
	FOUR(GROUP16C, VMOVDQU64, 512)

// func fused16Cx4p(a *fusedArgs)
TEXT ·fused16Cx4p(SB), NOSPLIT, $0-8
	FOUR(GROUP16C, VMOVNTDQ, 512)

// func fused16Cx1(a *fusedArgs)
TEXT ·fused16Cx1(SB), NOSPLIT, $0-8
	ONE(GROUP16C, 128)

// func fused32x4(a *fusedArgs)
TEXT ·fused32x4(SB), NOSPLIT, $0-8
	FOUR(GROUP32, VMOVDQU64, 1024)

// func fused32x4p(a *fusedArgs)
TEXT ·fused32x4p(SB), NOSPLIT, $0-8
	FOUR(GROUP32, VMOVNTDQ, 1024)

// func fused32x1(a *fusedArgs)
TEXT ·fused32x1(SB), NOSPLIT, $0-8
	ONE(GROUP32, 256)

// func fused8x4(a *fusedArgs)
TEXT ·fused8x4(SB), NOSPLIT, $0-8
	FOUR(GROUP8, VMOVDQU64, 256)

// func fused8x4p(a *fusedArgs)
TEXT ·fused8x4p(SB), NOSPLIT, $0-8
	FOUR(GROUP8, VMOVNTDQ, 256)

// func fused8x1(a *fusedArgs)
TEXT ·fused8x1(SB), NOSPLIT, $0-8
	ONE(GROUP8, 64)
