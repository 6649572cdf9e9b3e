//go:build !purego

#include "textflag.h"

// Splitting: FORMAT.md, "Symbol and rest". For each width of elements there is a
// loop that finds the values of the symbols, 32 at a time, and one that packs the
// bits of the rest, eight elements at a time: PEXT closes the gap between the
// sign and the mantissa and those between elements.
//
// Registers:
//	SI  elements    DI  values, bytes of a plane    CX  elements left
//	Z0  shift       Z1  mask of a symbol
//	R8  mask of the rest in 64 bits of elements
//	R9  bits of the rest in 64 bits of elements, R10 and R11 its multiples
//	R12 bytes of eight rests

// VALUES reads the arguments of a loop for values.
#define VALUES \
	MOVQ vals+0(FP), DI; \
	MOVQ src+8(FP), SI; \
	MOVQ n+16(FP), CX; \
	MOVQ shift+24(FP), AX; \
	VMOVQ AX, X0; \
	MOVQ mask+32(FP), AX

// PACK reads the arguments of a loop that packs.
#define PACK \
	MOVQ top+0(FP), DI; \
	MOVQ src+8(FP), SI; \
	MOVQ n+16(FP), CX; \
	MOVQ mask+24(FP), R8; \
	MOVQ bits+32(FP), R12; \
	POPCNTQ R8, R9

// func values4(vals *uint16, src *byte, n int, shift, mask uint)
//
// Two symbols are the halves of a byte.
TEXT ·values4(SB), NOSPLIT, $0-40
	VALUES
	MOVL $0x0000000f, AX
	VPBROADCASTD AX, Z1
	MOVL $0x000f0000, AX
	VPBROADCASTD AX, Z2

loop4:
	VPMOVZXBD (SI), Z3
	VPSLLD $12, Z3, Z4
	VPANDQ Z1, Z3, Z3
	VPTERNLOGQ $0xf8, Z2, Z4, Z3 // Z3 | Z4 & Z2
	VMOVDQU64 Z3, (DI)
	ADDQ $16, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JNZ  loop4
	VZEROUPPER
	RET

// func values8(vals *uint16, src *byte, n int, shift, mask uint)
TEXT ·values8(SB), NOSPLIT, $0-40
	VALUES
	VPBROADCASTW AX, Z1

loop8:
	VPMOVZXBW (SI), Z3
	VPSRLW X0, Z3, Z3
	VPANDQ Z1, Z3, Z3
	VMOVDQU64 Z3, (DI)
	ADDQ $32, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JNZ  loop8
	VZEROUPPER
	RET

// func values16(vals *uint16, src *byte, n int, shift, mask uint)
TEXT ·values16(SB), NOSPLIT, $0-40
	VALUES
	VPBROADCASTW AX, Z1

loop16:
	VMOVDQU64 (SI), Z3
	VPSRLW X0, Z3, Z3
	VPANDQ Z1, Z3, Z3
	VMOVDQU64 Z3, (DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JNZ  loop16
	VZEROUPPER
	RET

// func values32(vals *uint16, src *byte, n int, shift, mask uint)
TEXT ·values32(SB), NOSPLIT, $0-40
	VALUES
	VPBROADCASTD AX, Z1

loop32:
	VMOVDQU64 (SI), Z3
	VMOVDQU64 64(SI), Z4
	VPSRLD X0, Z3, Z3
	VPSRLD X0, Z4, Z4
	VPANDQ Z1, Z3, Z3
	VPANDQ Z1, Z4, Z4
	VPMOVDW Z3, Y3
	VPMOVDW Z4, Y4
	VMOVDQU Y3, (DI)
	VMOVDQU Y4, 32(DI)
	ADDQ $128, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JNZ  loop32
	VZEROUPPER
	RET

// func pack8(top, src *byte, n int, mask uint64, bits uint)
TEXT ·pack8(SB), NOSPLIT, $0-40
	PACK

loop8:
	MOVQ (SI), AX
	PEXTQ R8, AX, AX
	MOVQ AX, (DI)
	ADDQ $8, SI
	ADDQ R12, DI
	SUBQ $8, CX
	JNZ  loop8
	RET

// func pack16(top, src *byte, n int, mask uint64, bits uint)
TEXT ·pack16(SB), NOSPLIT, $0-40
	PACK

loop16:
	MOVQ (SI), AX
	MOVQ 8(SI), BX
	PEXTQ R8, AX, AX
	PEXTQ R8, BX, BX
	SHLXQ R9, BX, BX
	ORQ BX, AX
	MOVQ AX, (DI)
	ADDQ $16, SI
	ADDQ R12, DI
	SUBQ $8, CX
	JNZ  loop16
	RET

// func pack32(top, src *byte, n int, mask uint64, bits uint)
TEXT ·pack32(SB), NOSPLIT, $0-40
	PACK
	LEAQ (R9)(R9*1), R10
	LEAQ (R9)(R10*1), R11

loop32:
	MOVQ (SI), AX
	MOVQ 8(SI), BX
	PEXTQ R8, AX, AX
	PEXTQ R8, BX, BX
	SHLXQ R9, BX, BX
	ORQ BX, AX
	MOVQ 16(SI), BX
	MOVQ 24(SI), DX
	PEXTQ R8, BX, BX
	PEXTQ R8, DX, DX
	SHLXQ R10, BX, BX
	SHLXQ R11, DX, DX
	ORQ BX, AX
	ORQ DX, AX
	MOVQ AX, (DI)
	ADDQ $32, SI
	ADDQ R12, DI
	SUBQ $8, CX
	JNZ  loop32
	RET

// func plane16(plane, src *byte, n int)
TEXT ·plane16(SB), NOSPLIT, $0-24
	MOVQ plane+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

loop16:
	VMOVDQU64 (SI), Z0
	VPMOVWB Z0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $64, SI
	ADDQ $32, DI
	SUBQ $32, CX
	JNZ  loop16
	VZEROUPPER
	RET

// func planes32(plane0, plane1, src *byte, n int)
TEXT ·planes32(SB), NOSPLIT, $0-32
	MOVQ plane0+0(FP), DI
	MOVQ plane1+8(FP), R8
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX

loop32:
	VMOVDQU64 (SI), Z0
	VPSRLD $8, Z0, Z1
	VPMOVDB Z0, X0
	VPMOVDB Z1, X1
	VMOVDQU X0, (DI)
	VMOVDQU X1, (R8)
	ADDQ $64, SI
	ADDQ $16, DI
	ADDQ $16, R8
	SUBQ $16, CX
	JNZ  loop32
	VZEROUPPER
	RET

// func copyStream(dst, src *byte, n int) (done int)
//
// The first bytes, up to a multiple of 64, are an ordinary store; the rest, as
// far as it is 256 bytes at a time, are stores past the caches. These may become
// visible late, hence SFENCE.
TEXT ·copyStream(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	VMOVDQU64 (SI), Z0
	VMOVDQU64 Z0, (DI)
	MOVQ DI, AX
	NEGQ AX
	ANDQ $63, AX
	ADDQ AX, DI
	ADDQ AX, SI
	SUBQ AX, CX
	ANDQ $-256, CX
	ADDQ CX, AX
	MOVQ AX, done+24(FP)

copy:
	VMOVDQU64 (SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	VMOVNTDQ Z0, (DI)
	VMOVNTDQ Z1, 64(DI)
	VMOVNTDQ Z2, 128(DI)
	VMOVNTDQ Z3, 192(DI)
	ADDQ $256, SI
	ADDQ $256, DI
	SUBQ $256, CX
	JNZ  copy
	SFENCE
	VZEROUPPER
	RET
