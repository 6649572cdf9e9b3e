//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Merge, eight elements at a time: FORMAT.md, "Symbol and rest". The functions
// have in common, from the restTable,
//
//	V16 index   V17 shift   V18 mask   V19 low   V20 sign   V21 up
//
// and R1 dst, R2 words, R3 top plane, R4 and R5 byte planes, R6 width, R7
// elements left.

// Not known to the assembler. A negative shift is to the right.
#define USHL(m, n, d) WORD $(0x6E604400 | (m)<<16 | (n)<<5 | (d)) // USHL Vd.8H, Vn.8H, Vm.8H

#define LOADTABLE \
	VLD1.P 64(R0), [V16.B16, V17.B16, V18.B16, V19.B16] \
	VLD1   (R0), [V20.B16, V21.B16]

// TOP loads what the top plane has of the rests to V0: the eight bytes of the
// next eight elements, and perhaps some of the ones after.
#define TOP \
	FMOVD (R3), F0                      \
	ADD   R6, R3                        \
	VTBL  V16.B16, [V0.B16], V0.B16     \
	USHL(17, 0, 0)                      \
	VAND  V18.B16, V0.B16, V0.B16

// ELEMENTS makes elements, or their upper halves, in V2, of the next words and the
// rests in V0.
#define ELEMENTS \
	VLD1.P 16(R2), [V2.H8]          \
	VAND   V19.B16, V0.B16, V1.B16  \
	VAND   V20.B16, V0.B16, V0.B16  \
	USHL(21, 0, 0)                  \
	VORR   V1.B16, V2.B16, V2.B16   \
	VORR   V0.B16, V2.B16, V2.B16

// func merge16NEON(r *restTable, dst *byte, words *uint16, top *byte, width, n int)
TEXT ·merge16NEON(SB), NOSPLIT, $0-48
	MOVD r+0(FP), R0
	MOVD dst+8(FP), R1
	MOVD words+16(FP), R2
	MOVD top+24(FP), R3
	MOVD width+32(FP), R6
	MOVD n+40(FP), R7
	LOADTABLE

loop:
	TOP
	ELEMENTS
	VST1.P [V2.H8], 16(R1)
	SUBS   $8, R7
	BNE    loop
	RET

// func merge16PlaneNEON(r *restTable, dst *byte, words *uint16, top, plane *byte, width, n int)
TEXT ·merge16PlaneNEON(SB), NOSPLIT, $0-56
	MOVD r+0(FP), R0
	MOVD dst+8(FP), R1
	MOVD words+16(FP), R2
	MOVD top+24(FP), R3
	MOVD plane+32(FP), R4
	MOVD width+40(FP), R6
	MOVD n+48(FP), R7
	LOADTABLE

loop:
	TOP
	FMOVD.P 8(R4), F3
	VUSHLL  $0, V3.B8, V3.H8
	VSLI    $8, V0.H8, V3.H8
	VMOV    V3.B16, V0.B16
	ELEMENTS
	VST1.P  [V2.H8], 16(R1)
	SUBS    $8, R7
	BNE     loop
	RET

// func merge32NEON(r *restTable, dst *byte, words *uint16, top, plane0, plane1 *byte, width, n int)
TEXT ·merge32NEON(SB), NOSPLIT, $0-64
	MOVD r+0(FP), R0
	MOVD dst+8(FP), R1
	MOVD words+16(FP), R2
	MOVD top+24(FP), R3
	MOVD plane0+32(FP), R4
	MOVD plane1+40(FP), R5
	MOVD width+48(FP), R6
	MOVD n+56(FP), R7
	LOADTABLE

loop:
	TOP
	ELEMENTS
	FMOVD.P 8(R4), F3
	FMOVD.P 8(R5), F4
	VZIP1   V4.B16, V3.B16, V3.B16 // lower halves
	VZIP1   V2.H8, V3.H8, V4.H8
	VZIP2   V2.H8, V3.H8, V5.H8
	VST1.P  [V4.H8, V5.H8], 32(R1)
	SUBS    $8, R7
	BNE     loop
	RET
