//go:build amd64 && !purego

#include "textflag.h"

// Sixteen messages at once: each 32-bit lane of a register is one of them. The
// words of a block are in Z16 to Z31, the state is A to D in Z0 to Z3. RFC 1321,
// section 3.4.

// One step: a = b + rotate(a + f(b, c, d) + w + k, s), where the table of
// VPTERNLOGD is f.
#define STEP(f, a, b, c, d, w, k, s) \
	VMOVDQA32     d, Z4        \
	VPADDD        w, a, a      \
	VPADDD.BCST   k(R9), a, a  \
	VPTERNLOGD    f, b, c, Z4  \
	VPADDD        Z4, a, a     \
	VPROLD        s, a, a      \
	VPADDD        b, a, a

#define F $0xD8 // b ? c : d
#define G $0xAC // d ? b : c
#define H $0x96 // b ^ c ^ d
#define I $0x63 // c ^ (b | ^d)

// ROWS loads a block of each of four messages and transposes it within each 16
// bytes: u0 to u3 hold the words 0 to 3, 4 to 7 and so on of the four.
#define ROWS(p, u0, u1, u2, u3) \
	MOVQ        p+0(SI), R10          \
	MOVQ        p+8(SI), R11          \
	MOVQ        p+16(SI), R12         \
	MOVQ        p+24(SI), R13         \
	VMOVDQU32   (R10)(DX*1), Z0       \
	VMOVDQU32   (R11)(DX*1), Z1       \
	VMOVDQU32   (R12)(DX*1), Z2       \
	VMOVDQU32   (R13)(DX*1), Z3       \
	VPUNPCKLDQ  Z1, Z0, Z4            \
	VPUNPCKHDQ  Z1, Z0, Z5            \
	VPUNPCKLDQ  Z3, Z2, Z6            \
	VPUNPCKHDQ  Z3, Z2, Z7            \
	VPUNPCKLQDQ Z6, Z4, u0            \
	VPUNPCKHQDQ Z6, Z4, u1            \
	VPUNPCKLQDQ Z7, Z5, u2            \
	VPUNPCKHQDQ Z7, Z5, u3

// COLUMNS transposes the 16-byte parts of four registers, and leaves a word of
// all sixteen messages in each.
#define COLUMNS(u0, u1, u2, u3) \
	VSHUFI32X4 $0x44, u1, u0, Z0 \
	VSHUFI32X4 $0xEE, u1, u0, Z1 \
	VSHUFI32X4 $0x44, u3, u2, Z2 \
	VSHUFI32X4 $0xEE, u3, u2, Z3 \
	VSHUFI32X4 $0x88, Z2, Z0, u0 \
	VSHUFI32X4 $0xDD, Z2, Z0, u1 \
	VSHUFI32X4 $0x88, Z3, Z1, u2 \
	VSHUFI32X4 $0xDD, Z3, Z1, u3

// func md5x16(state *[4][16]uint32, msgs *[16]*byte, blocks int)
TEXT ·md5x16(SB), NOSPLIT, $0-24
	MOVQ state+0(FP), DI
	MOVQ msgs+8(FP), SI
	MOVQ blocks+16(FP), CX
	LEAQ md5k<>(SB), R9
	XORQ DX, DX
	SHLQ $6, CX
	JZ   done

loop:
	ROWS(0, Z16, Z17, Z18, Z19)
	ROWS(32, Z20, Z21, Z22, Z23)
	ROWS(64, Z24, Z25, Z26, Z27)
	ROWS(96, Z28, Z29, Z30, Z31)
	COLUMNS(Z16, Z20, Z24, Z28)
	COLUMNS(Z17, Z21, Z25, Z29)
	COLUMNS(Z18, Z22, Z26, Z30)
	COLUMNS(Z19, Z23, Z27, Z31)

	VMOVDQU32 0(DI), Z0
	VMOVDQU32 64(DI), Z1
	VMOVDQU32 128(DI), Z2
	VMOVDQU32 192(DI), Z3


	STEP(F, Z0, Z1, Z2, Z3, Z16, 0, $7)
	STEP(F, Z3, Z0, Z1, Z2, Z17, 4, $12)
	STEP(F, Z2, Z3, Z0, Z1, Z18, 8, $17)
	STEP(F, Z1, Z2, Z3, Z0, Z19, 12, $22)
	STEP(F, Z0, Z1, Z2, Z3, Z20, 16, $7)
	STEP(F, Z3, Z0, Z1, Z2, Z21, 20, $12)
	STEP(F, Z2, Z3, Z0, Z1, Z22, 24, $17)
	STEP(F, Z1, Z2, Z3, Z0, Z23, 28, $22)
	STEP(F, Z0, Z1, Z2, Z3, Z24, 32, $7)
	STEP(F, Z3, Z0, Z1, Z2, Z25, 36, $12)
	STEP(F, Z2, Z3, Z0, Z1, Z26, 40, $17)
	STEP(F, Z1, Z2, Z3, Z0, Z27, 44, $22)
	STEP(F, Z0, Z1, Z2, Z3, Z28, 48, $7)
	STEP(F, Z3, Z0, Z1, Z2, Z29, 52, $12)
	STEP(F, Z2, Z3, Z0, Z1, Z30, 56, $17)
	STEP(F, Z1, Z2, Z3, Z0, Z31, 60, $22)

	STEP(G, Z0, Z1, Z2, Z3, Z17, 64, $5)
	STEP(G, Z3, Z0, Z1, Z2, Z22, 68, $9)
	STEP(G, Z2, Z3, Z0, Z1, Z27, 72, $14)
	STEP(G, Z1, Z2, Z3, Z0, Z16, 76, $20)
	STEP(G, Z0, Z1, Z2, Z3, Z21, 80, $5)
	STEP(G, Z3, Z0, Z1, Z2, Z26, 84, $9)
	STEP(G, Z2, Z3, Z0, Z1, Z31, 88, $14)
	STEP(G, Z1, Z2, Z3, Z0, Z20, 92, $20)
	STEP(G, Z0, Z1, Z2, Z3, Z25, 96, $5)
	STEP(G, Z3, Z0, Z1, Z2, Z30, 100, $9)
	STEP(G, Z2, Z3, Z0, Z1, Z19, 104, $14)
	STEP(G, Z1, Z2, Z3, Z0, Z24, 108, $20)
	STEP(G, Z0, Z1, Z2, Z3, Z29, 112, $5)
	STEP(G, Z3, Z0, Z1, Z2, Z18, 116, $9)
	STEP(G, Z2, Z3, Z0, Z1, Z23, 120, $14)
	STEP(G, Z1, Z2, Z3, Z0, Z28, 124, $20)

	STEP(H, Z0, Z1, Z2, Z3, Z21, 128, $4)
	STEP(H, Z3, Z0, Z1, Z2, Z24, 132, $11)
	STEP(H, Z2, Z3, Z0, Z1, Z27, 136, $16)
	STEP(H, Z1, Z2, Z3, Z0, Z30, 140, $23)
	STEP(H, Z0, Z1, Z2, Z3, Z17, 144, $4)
	STEP(H, Z3, Z0, Z1, Z2, Z20, 148, $11)
	STEP(H, Z2, Z3, Z0, Z1, Z23, 152, $16)
	STEP(H, Z1, Z2, Z3, Z0, Z26, 156, $23)
	STEP(H, Z0, Z1, Z2, Z3, Z29, 160, $4)
	STEP(H, Z3, Z0, Z1, Z2, Z16, 164, $11)
	STEP(H, Z2, Z3, Z0, Z1, Z19, 168, $16)
	STEP(H, Z1, Z2, Z3, Z0, Z22, 172, $23)
	STEP(H, Z0, Z1, Z2, Z3, Z25, 176, $4)
	STEP(H, Z3, Z0, Z1, Z2, Z28, 180, $11)
	STEP(H, Z2, Z3, Z0, Z1, Z31, 184, $16)
	STEP(H, Z1, Z2, Z3, Z0, Z18, 188, $23)

	STEP(I, Z0, Z1, Z2, Z3, Z16, 192, $6)
	STEP(I, Z3, Z0, Z1, Z2, Z23, 196, $10)
	STEP(I, Z2, Z3, Z0, Z1, Z30, 200, $15)
	STEP(I, Z1, Z2, Z3, Z0, Z21, 204, $21)
	STEP(I, Z0, Z1, Z2, Z3, Z28, 208, $6)
	STEP(I, Z3, Z0, Z1, Z2, Z19, 212, $10)
	STEP(I, Z2, Z3, Z0, Z1, Z26, 216, $15)
	STEP(I, Z1, Z2, Z3, Z0, Z17, 220, $21)
	STEP(I, Z0, Z1, Z2, Z3, Z24, 224, $6)
	STEP(I, Z3, Z0, Z1, Z2, Z31, 228, $10)
	STEP(I, Z2, Z3, Z0, Z1, Z22, 232, $15)
	STEP(I, Z1, Z2, Z3, Z0, Z29, 236, $21)
	STEP(I, Z0, Z1, Z2, Z3, Z20, 240, $6)
	STEP(I, Z3, Z0, Z1, Z2, Z27, 244, $10)
	STEP(I, Z2, Z3, Z0, Z1, Z18, 248, $15)
	STEP(I, Z1, Z2, Z3, Z0, Z25, 252, $21)

	VPADDD    0(DI), Z0, Z0
	VPADDD    64(DI), Z1, Z1
	VPADDD    128(DI), Z2, Z2
	VPADDD    192(DI), Z3, Z3
	VMOVDQU32 Z0, 0(DI)
	VMOVDQU32 Z1, 64(DI)
	VMOVDQU32 Z2, 128(DI)
	VMOVDQU32 Z3, 192(DI)

	ADDQ $64, DX
	CMPQ DX, CX
	JB   loop

done:
	VZEROUPPER
	RET

DATA md5k<>+0(SB)/8, $0xe8c7b756d76aa478
DATA md5k<>+8(SB)/8, $0xc1bdceee242070db
DATA md5k<>+16(SB)/8, $0x4787c62af57c0faf
DATA md5k<>+24(SB)/8, $0xfd469501a8304613
DATA md5k<>+32(SB)/8, $0x8b44f7af698098d8
DATA md5k<>+40(SB)/8, $0x895cd7beffff5bb1
DATA md5k<>+48(SB)/8, $0xfd9871936b901122
DATA md5k<>+56(SB)/8, $0x49b40821a679438e
DATA md5k<>+64(SB)/8, $0xc040b340f61e2562
DATA md5k<>+72(SB)/8, $0xe9b6c7aa265e5a51
DATA md5k<>+80(SB)/8, $0x02441453d62f105d
DATA md5k<>+88(SB)/8, $0xe7d3fbc8d8a1e681
DATA md5k<>+96(SB)/8, $0xc33707d621e1cde6
DATA md5k<>+104(SB)/8, $0x455a14edf4d50d87
DATA md5k<>+112(SB)/8, $0xfcefa3f8a9e3e905
DATA md5k<>+120(SB)/8, $0x8d2a4c8a676f02d9
DATA md5k<>+128(SB)/8, $0x8771f681fffa3942
DATA md5k<>+136(SB)/8, $0xfde5380c6d9d6122
DATA md5k<>+144(SB)/8, $0x4bdecfa9a4beea44
DATA md5k<>+152(SB)/8, $0xbebfbc70f6bb4b60
DATA md5k<>+160(SB)/8, $0xeaa127fa289b7ec6
DATA md5k<>+168(SB)/8, $0x04881d05d4ef3085
DATA md5k<>+176(SB)/8, $0xe6db99e5d9d4d039
DATA md5k<>+184(SB)/8, $0xc4ac56651fa27cf8
DATA md5k<>+192(SB)/8, $0x432aff97f4292244
DATA md5k<>+200(SB)/8, $0xfc93a039ab9423a7
DATA md5k<>+208(SB)/8, $0x8f0ccc92655b59c3
DATA md5k<>+216(SB)/8, $0x85845dd1ffeff47d
DATA md5k<>+224(SB)/8, $0xfe2ce6e06fa87e4f
DATA md5k<>+232(SB)/8, $0x4e0811a1a3014314
DATA md5k<>+240(SB)/8, $0xbd3af235f7537e82
DATA md5k<>+248(SB)/8, $0xeb86d3912ad7d2bb
GLOBL md5k<>(SB), RODATA|NOPTR, $256
