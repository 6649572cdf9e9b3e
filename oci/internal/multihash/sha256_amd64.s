//go:build amd64 && !purego

#include "textflag.h"

// Two messages at once with the SHA instructions. A round of one message waits
// for the round before it; the second message fills that time. FIPS 180-4,
// section 6.2; the states are as the instructions have them: A, B, E, F in one
// register and C, D, G, H in another, from the highest word down.
//
// X1, X2 and X7, X8 are the states, X3-X6 and X9-X12 the message schedules, X13
// and X14 the schedules with constants added, X15 the order of bytes. The
// instructions take X0 as given.

#define LOAD(p, off, m) \
	VMOVDQU off(p)(DX*1), m \
	VPSHUFB X15, m, m

#define FIRST(k, m, wk, abef, cdgh) \
	VPADDD      k(R9), m, wk   \
	VMOVDQA     wk, X0         \
	SHA256RNDS2 X0, abef, cdgh

#define SECOND(wk, abef, cdgh) \
	VPSHUFD     $0x0E, wk, X0  \
	SHA256RNDS2 X0, cdgh, abef

// NEXT makes the next four words in m1 of m0, the words before it, and m3, those
// before them; m1 has been through SHA256MSG1.
#define NEXT(m3, m0, m1) \
	VPALIGNR   $4, m3, m0, X0 \
	VPADDD     X0, m1, m1     \
	SHA256MSG2 m0, m1

// ROUNDS is four rounds that also make the words for those after them: in m1, of
// m3 and m0, the words of these rounds, and in n1 of n3 and n0. m3 and n3 go
// through SHA256MSG1. k is the offset of the constants.
#define ROUNDS(k, m3, m0, m1, n3, n0, n1) \
	FIRST(k, m0, X13, X1, X2) \
	FIRST(k, n0, X14, X7, X8) \
	NEXT(m3, m0, m1)          \
	NEXT(n3, n0, n1)          \
	SECOND(X13, X1, X2)       \
	SECOND(X14, X7, X8)       \
	SHA256MSG1 m0, m3         \
	SHA256MSG1 n0, n3

// func sha256x2(a, b *[8]uint32, p, q *byte, blocks int)
TEXT ·sha256x2(SB), NOSPLIT, $64-40
	MOVQ    a+0(FP), DI
	MOVQ    b+8(FP), SI
	MOVQ    p+16(FP), R10
	MOVQ    q+24(FP), R11
	MOVQ    blocks+32(FP), CX
	LEAQ    sha256k<>(SB), R9
	VMOVDQU bigEndian<>(SB), X15
	VMOVDQU 0(DI), X1
	VMOVDQU 16(DI), X2
	VMOVDQU 0(SI), X7
	VMOVDQU 16(SI), X8
	XORQ    DX, DX
	SHLQ    $6, CX
	JZ      done

loop:
	VMOVDQU X1, 0(SP)
	VMOVDQU X2, 16(SP)
	VMOVDQU X7, 32(SP)
	VMOVDQU X8, 48(SP)

	// Rounds 0 to 3.
	LOAD(R10, 0, X3)
	LOAD(R11, 0, X9)
	FIRST(0, X3, X13, X1, X2)
	FIRST(0, X9, X14, X7, X8)
	SECOND(X13, X1, X2)
	SECOND(X14, X7, X8)

	// Rounds 4 to 7.
	LOAD(R10, 16, X4)
	LOAD(R11, 16, X10)
	FIRST(16, X4, X13, X1, X2)
	FIRST(16, X10, X14, X7, X8)
	SECOND(X13, X1, X2)
	SECOND(X14, X7, X8)
	SHA256MSG1 X4, X3
	SHA256MSG1 X10, X9

	// Rounds 8 to 11.
	LOAD(R10, 32, X5)
	LOAD(R11, 32, X11)
	FIRST(32, X5, X13, X1, X2)
	FIRST(32, X11, X14, X7, X8)
	SECOND(X13, X1, X2)
	SECOND(X14, X7, X8)
	SHA256MSG1 X5, X4
	SHA256MSG1 X11, X10

	// Rounds 12 to 51.
	LOAD(R10, 48, X6)
	LOAD(R11, 48, X12)
	ROUNDS(48, X5, X6, X3, X11, X12, X9)
	ROUNDS(64, X6, X3, X4, X12, X9, X10)
	ROUNDS(80, X3, X4, X5, X9, X10, X11)
	ROUNDS(96, X4, X5, X6, X10, X11, X12)
	ROUNDS(112, X5, X6, X3, X11, X12, X9)
	ROUNDS(128, X6, X3, X4, X12, X9, X10)
	ROUNDS(144, X3, X4, X5, X9, X10, X11)
	ROUNDS(160, X4, X5, X6, X10, X11, X12)
	ROUNDS(176, X5, X6, X3, X11, X12, X9)
	ROUNDS(192, X6, X3, X4, X12, X9, X10)

	// Rounds 52 to 55.
	FIRST(208, X4, X13, X1, X2)
	FIRST(208, X10, X14, X7, X8)
	NEXT(X3, X4, X5)
	NEXT(X9, X10, X11)
	SECOND(X13, X1, X2)
	SECOND(X14, X7, X8)

	// Rounds 56 to 59.
	FIRST(224, X5, X13, X1, X2)
	FIRST(224, X11, X14, X7, X8)
	NEXT(X4, X5, X6)
	NEXT(X10, X11, X12)
	SECOND(X13, X1, X2)
	SECOND(X14, X7, X8)

	// Rounds 60 to 63.
	FIRST(240, X6, X13, X1, X2)
	FIRST(240, X12, X14, X7, X8)
	SECOND(X13, X1, X2)
	SECOND(X14, X7, X8)

	VPADDD 0(SP), X1, X1
	VPADDD 16(SP), X2, X2
	VPADDD 32(SP), X7, X7
	VPADDD 48(SP), X8, X8
	ADDQ   $64, DX
	CMPQ   DX, CX
	JB     loop

done:
	VMOVDQU X1, 0(DI)
	VMOVDQU X2, 16(DI)
	VMOVDQU X7, 0(SI)
	VMOVDQU X8, 16(SI)
	RET

DATA bigEndian<>+0(SB)/8, $0x0405060700010203
DATA bigEndian<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL bigEndian<>(SB), RODATA|NOPTR, $16

DATA sha256k<>+0(SB)/8, $0x71374491428a2f98
DATA sha256k<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA sha256k<>+16(SB)/8, $0x59f111f13956c25b
DATA sha256k<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA sha256k<>+32(SB)/8, $0x12835b01d807aa98
DATA sha256k<>+40(SB)/8, $0x550c7dc3243185be
DATA sha256k<>+48(SB)/8, $0x80deb1fe72be5d74
DATA sha256k<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA sha256k<>+64(SB)/8, $0xefbe4786e49b69c1
DATA sha256k<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA sha256k<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA sha256k<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA sha256k<>+96(SB)/8, $0xa831c66d983e5152
DATA sha256k<>+104(SB)/8, $0xbf597fc7b00327c8
DATA sha256k<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA sha256k<>+120(SB)/8, $0x1429296706ca6351
DATA sha256k<>+128(SB)/8, $0x2e1b213827b70a85
DATA sha256k<>+136(SB)/8, $0x53380d134d2c6dfc
DATA sha256k<>+144(SB)/8, $0x766a0abb650a7354
DATA sha256k<>+152(SB)/8, $0x92722c8581c2c92e
DATA sha256k<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA sha256k<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA sha256k<>+176(SB)/8, $0xd6990624d192e819
DATA sha256k<>+184(SB)/8, $0x106aa070f40e3585
DATA sha256k<>+192(SB)/8, $0x1e376c0819a4c116
DATA sha256k<>+200(SB)/8, $0x34b0bcb52748774c
DATA sha256k<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA sha256k<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA sha256k<>+224(SB)/8, $0x78a5636f748f82ee
DATA sha256k<>+232(SB)/8, $0x8cc7020884c87814
DATA sha256k<>+240(SB)/8, $0xa4506ceb90befffa
DATA sha256k<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL sha256k<>(SB), RODATA|NOPTR, $256
