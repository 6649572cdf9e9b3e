//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Merging: FORMAT.md, "Symbol and rest". The lookups and shifts that bring the
// bits of a rest to their places are in a mergeTable; the loops are one for each
// width of elements, and take 64 elements at a time.
//
// The rest of 64 elements is gathered so that each word of 64 bits has the bits
// that belong to its own elements (VPERMB, VPERMI2B); VPMULTISHIFTQB then gives
// each byte eight of these 64 bits, and a mask keeps what is meant for it.
// VPTERNLOGQ $0xea is A & B | C, $0xf8 is A | B & C.
//
// Registers:
//	DI  elements     SI  words        CX  elements left
//	R8  top plane    R9, R10  byte planes 0 and 1
//	R11 bytes of the top plane that 64 elements take; K1 masks them
//	K2  bytes 2 and 3 of each four
//	Z0  mask         Z1  shift        Z2  mask2       Z3  shift2
//	Z4-Z7  top       Z8-Z11  planes   Z12-Z13  words
//	Z16-   temporary

// LOAD reads arguments and what all loops need of the table, BX.
#define LOAD \
	MOVQ m+0(FP), BX; \
	MOVQ dst+8(FP), DI; \
	MOVQ words+16(FP), SI; \
	MOVQ mergeTable_size(BX), R11; \
	MOVQ $-1, AX; \
	BZHIQ R11, AX, AX; \
	KMOVQ AX, K1; \
	VMOVDQU64 mergeTable_mask(BX), Z0; \
	VMOVDQU64 mergeTable_shift(BX), Z1; \
	VMOVDQU64 mergeTable_mask2(BX), Z2; \
	VMOVDQU64 mergeTable_shift2(BX), Z3; \
	VMOVDQU64 (mergeTable_top+0)(BX), Z4; \
	VMOVDQU64 (mergeTable_top+64)(BX), Z5

// func merge4(m *mergeTable, dst *byte, words *uint16, n int)
//
// There is no rest. The symbols are bits 12 to 15 and 28 to 31 of 32 bits, and
// $0xca is A ? B : C.
TEXT ·merge4(SB), NOSPLIT, $0-32
	LOAD
	MOVQ n+24(FP), CX
	MOVL $0x0f, AX
	VPBROADCASTD AX, Z12

loop4:
	VPSRLD $12, (SI), Z16
	VPSRLD $12, 64(SI), Z17
	VPSRLD $24, (SI), Z18
	VPSRLD $24, 64(SI), Z19
	VMOVDQA64 Z12, Z20
	VMOVDQA64 Z12, Z21
	VPTERNLOGQ $0xca, Z18, Z16, Z20
	VPTERNLOGQ $0xca, Z19, Z17, Z21
	VPMOVDB Z20, X20
	VPMOVDB Z21, X21
	VMOVDQU64 X20, (DI)
	VMOVDQU64 X21, 16(DI)
	ADDQ $128, SI
	ADDQ $32, DI
	SUBQ $64, CX
	JNZ  loop4
	VZEROUPPER
	RET

// func merge8(m *mergeTable, dst *byte, words *uint16, top *byte, n int)
TEXT ·merge8(SB), NOSPLIT, $0-40
	LOAD
	MOVQ top+24(FP), R8
	MOVQ n+32(FP), CX
	VMOVDQU64 mergeTable_high(BX), Z12

loop8:
	PREFETCHT1 8192(R8)
	VMOVDQU8.Z (R8), K1, Z16
	VPERMB Z16, Z4, Z16
	VPMULTISHIFTQB Z16, Z1, Z17
	VPMULTISHIFTQB Z16, Z3, Z18
	VMOVDQU64 (SI), Z19
	VPERMT2B 64(SI), Z12, Z19
	VPTERNLOGQ $0xf8, Z0, Z17, Z19
	VPTERNLOGQ $0xf8, Z2, Z18, Z19
	VMOVDQU64 Z19, (DI)
	ADDQ $128, SI
	ADDQ R11, R8
	ADDQ $64, DI
	SUBQ $64, CX
	JNZ  loop8
	VZEROUPPER
	RET

// func merge16(m *mergeTable, dst *byte, words *uint16, top *byte, n int)
TEXT ·merge16(SB), NOSPLIT, $0-40
	LOAD
	MOVQ top+24(FP), R8
	MOVQ n+32(FP), CX

loop16:
	PREFETCHT1 8192(R8)
	VMOVDQU8.Z (R8), K1, Z16
	VPERMB Z16, Z4, Z17
	VPERMB Z16, Z5, Z18
	VPMULTISHIFTQB Z17, Z1, Z17
	VPMULTISHIFTQB Z18, Z1, Z18
	VPTERNLOGQ $0xea, (SI), Z0, Z17
	VPTERNLOGQ $0xea, 64(SI), Z0, Z18
	VMOVDQU64 Z17, (DI)
	VMOVDQU64 Z18, 64(DI)
	ADDQ $128, SI
	ADDQ R11, R8
	ADDQ $128, DI
	SUBQ $64, CX
	JNZ  loop16
	VZEROUPPER
	RET

// func merge16p(m *mergeTable, dst *byte, words *uint16, top, plane *byte, n int)
//
// merge16p also has a byte plane: the lookups are in the top plane and that.
TEXT ·merge16p(SB), NOSPLIT, $0-48
	LOAD
	MOVQ top+24(FP), R8
	MOVQ n+40(FP), CX
	MOVQ plane+32(FP), R9

loop16p:
	PREFETCHT1 8192(R8)
	VMOVDQU8.Z (R8), K1, Z16
	PREFETCHT1 8192(R9)
	VMOVDQU64 (R9), Z17
	VMOVDQA64 Z4, Z18
	VMOVDQA64 Z5, Z19
	VPERMI2B Z17, Z16, Z18
	VPERMI2B Z17, Z16, Z19
	VPMULTISHIFTQB Z18, Z1, Z20
	VPMULTISHIFTQB Z19, Z1, Z21
	VPMULTISHIFTQB Z18, Z3, Z18
	VPMULTISHIFTQB Z19, Z3, Z19
	VPTERNLOGQ $0xea, (SI), Z0, Z20
	VPTERNLOGQ $0xea, 64(SI), Z0, Z21
	VPTERNLOGQ $0xf8, Z2, Z18, Z20
	VPTERNLOGQ $0xf8, Z2, Z19, Z21
	VMOVDQU64 Z20, (DI)
	VMOVDQU64 Z21, 64(DI)
	ADDQ $128, SI
	ADDQ R11, R8
	ADDQ $64, R9
	ADDQ $128, DI
	SUBQ $64, CX
	JNZ  loop16p
	VZEROUPPER
	RET

// MERGE32 merges 16 elements: Z16 is the top plane, Z17 and Z18 the byte planes.
// Of each four bytes, bytes 0 and 1 come from the planes and bytes 2 and 3 from
// the words, and the bits of the top plane go on top of these.
#define MERGE32(top, planes, half, words, off) \
	VMOVDQA64 planes, Z21; \
	VPERMI2B Z18, Z17, Z21; \
	VPERMB words, half, K2, Z21; \
	VPERMB Z16, top, Z22; \
	VPMULTISHIFTQB Z22, Z1, Z22; \
	VPTERNLOGQ $0xf8, Z0, Z22, Z21; \
	VMOVDQU64 Z21, off(DI)

// func merge32(m *mergeTable, dst *byte, words *uint16, top, plane0, plane1 *byte, n int)
TEXT ·merge32(SB), NOSPLIT, $0-56
	LOAD
	MOVQ top+24(FP), R8
	MOVQ n+48(FP), CX
	MOVQ plane0+32(FP), R9
	MOVQ plane1+40(FP), R10
	VMOVDQU64 (mergeTable_top+128)(BX), Z6
	VMOVDQU64 (mergeTable_top+192)(BX), Z7
	VMOVDQU64 (mergeTable_planes+0)(BX), Z8
	VMOVDQU64 (mergeTable_planes+64)(BX), Z9
	VMOVDQU64 (mergeTable_planes+128)(BX), Z10
	VMOVDQU64 (mergeTable_planes+192)(BX), Z11
	VMOVDQU64 (mergeTable_words+0)(BX), Z12
	VMOVDQU64 (mergeTable_words+64)(BX), Z13
	MOVQ $0xcccccccccccccccc, AX
	KMOVQ AX, K2

loop32:
	PREFETCHT1 8192(R8)
	VMOVDQU8.Z (R8), K1, Z16
	PREFETCHT1 8192(R9)
	VMOVDQU64 (R9), Z17
	PREFETCHT1 8192(R10)
	VMOVDQU64 (R10), Z18
	VMOVDQU64 (SI), Z19
	VMOVDQU64 64(SI), Z20
	MERGE32(Z4, Z8, Z12, Z19, 0)
	MERGE32(Z5, Z9, Z13, Z19, 64)
	MERGE32(Z6, Z10, Z12, Z20, 128)
	MERGE32(Z7, Z11, Z13, Z20, 192)
	ADDQ $128, SI
	ADDQ R11, R8
	ADDQ $64, R9
	ADDQ $64, R10
	ADDQ $256, DI
	SUBQ $64, CX
	JNZ  loop32
	VZEROUPPER
	RET
