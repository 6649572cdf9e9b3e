//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The decoder of the context method: FORMAT.md, "Decoding in contexts". A vector
// is 16 lanes; a row has two or four. The states stay in registers. A row takes
// its words of the stream for all symbols, then for all signs: so the vectors of a
// row work side by side.
//
// Registers:
//	DI   words             SI   stream           R9   last place where a row may start
//	R10  classes           R11  sides            R12  end of the words
//	R8   list of escapes   R13  index of the row in its batch
//	DX   decoder           R14  slots            0(SP)  indices of the row's slots
//	Z0-Z3     states       Z4-Z7    symbols      Z8-Z15  temporary  K1-K3  temporary
//	Z16  slot mask         Z17  0xfff            Z18  0xff          Z19  contextLow
//	Z20  shape.Base        X21  shape.Shift
//	Z22  1                 X23  shape.Fine       Z24  127           Z25  31
//	Z26  0                 Z27, Z28  contextSign                    Z29  0x8000
//
// A row takes at most as many words as it has lanes, for symbols and again for
// signs, and a vector's load of 16 starts at most as far in as the vector: so where
// that many are left, all loads of a row are in the stream. A list of escapes has
// room for a batch. Classes are below ContextClasses, so all indices are in slots.

#define CONSTANT(value, z) \
	MOVL $value, AX; \
	VPBROADCASTD AX, z

// LOAD reads the arguments; most is how many bytes of the stream a row takes at
// most.
#define LOAD(most) \
	MOVQ d+0(FP), DX; \
	MOVQ words+8(FP), DI; \
	MOVQ classes+16(FP), R10; \
	MOVQ sides+24(FP), R11; \
	MOVQ n+32(FP), R12; \
	LEAQ (DI)(R12*2), R12; \
	MOVQ ContextDecoder_stream(DX), SI; \
	MOVQ (ContextDecoder_stream+8)(DX), R9; \
	LEAQ -most(SI)(R9*1), R9; \
	MOVQ ContextDecoder_slots(DX), R14; \
	MOVQ ContextDecoder_escapes(DX), R8; \
	LEAQ ContextDecoder_escaped(DX)(R8*2), R8; \
	VPBROADCASTD (ContextDecoder_shape+ContextShape_Base)(DX), Z20; \
	VMOVQ (ContextDecoder_shape+ContextShape_Shift)(DX), X21; \
	CONSTANT((1<<const_ContextBits)-1, Z16); \
	CONSTANT(0xfff, Z17); \
	CONSTANT(0xff, Z18); \
	CONSTANT(const_contextLow, Z19); \
	XORL R13, R13

#define LOADSIGN \
	VMOVQ (ContextDecoder_shape+ContextShape_Fine)(DX), X23; \
	CONSTANT(1, Z22); \
	CONSTANT(127, Z24); \
	CONSTANT(31, Z25); \
	CONSTANT(0x8000, Z29); \
	VPXORD Z26, Z26, Z26; \
	VPMOVZXBD ·contextSign+0(SB), Z27; \
	VPMOVZXBD ·contextSign+16(SB), Z28

// REFILL takes the words that are due of the stream, for the lanes of x that are
// below contextLow.
#define REFILL(x, t) \
	VPCMPUD $1, Z19, x, K2; \
	VPMOVZXWD (SI), t; \
	KMOVW K2, AX; \
	VPEXPANDD.Z t, K2, t; \
	POPCNTL AX, AX; \
	VPSLLD $16, x, K2, x; \
	VPORD t, x, x; \
	LEAQ (SI)(AX*2), SI

// FETCH sets x to the slots with the four indices at off(SP).
#define FETCH(off, x) \
	MOVL off(SP), AX; \
	MOVL (off+4)(SP), R15; \
	VMOVD (R14)(AX*4), x; \
	VPINSRD $1, (R14)(R15*4), x, x; \
	MOVL (off+8)(SP), AX; \
	MOVL (off+12)(SP), R15; \
	VPINSRD $2, (R14)(AX*4), x, x; \
	VPINSRD $3, (R14)(R15*4), x, x

// INDEX stores the indices of the slots of x, whose classes are at off(R10), on
// the stack. The VPTERNLOGD is class << bits | x & mask.
#define INDEX(x, off, t) \
	VPMOVZXBD off(R10), t; \
	VPSLLD $const_ContextBits, t, t; \
	VPTERNLOGD $0xf8, Z16, x, t; \
	VMOVDQU32 t, (4*off)(SP)

// SYMBOL takes a symbol from each lane of x. VPGATHERDD takes three times as long
// as loads one by one (Zen 4).
#define SYMBOL(x, symbol, off, t, u) \
	FETCH(4*off, X12); \
	FETCH(4*off+16, X13); \
	FETCH(4*off+32, X14); \
	FETCH(4*off+48, X15); \
	VINSERTI128 $1, X13, Y12, Y12; \
	VINSERTI128 $1, X15, Y14, Y14; \
	VINSERTI64X4 $1, Y14, Z12, u; \
	VPSRLD $const_ContextBits, x, x; \
	VPSRLD $20, u, t; \
	VPMULLD t, x, x; \
	VPSRLD $8, u, t; \
	VPANDD Z17, t, t; \
	VPADDD t, x, x; \
	VPANDD Z18, u, symbol; \
	VPADDD Z20, symbol, t; \
	VPSLLD X21, t, t; \
	VPMOVDW t, (2*off)(DI)

// SIGN takes a sign from each lane of x, whose classes and sides are at off(R10)
// and off(R11), to the word. p becomes p, t p*(x>>8), y x mod 256, side the sign.
// The VPTERNLOGD takes the highest bit of the word from it.
#define SIGN(x, symbol, off, t, y, side, p) \
	VPSUBD Z22, symbol, p; \
	VPMOVZXBD off(R10), t; \
	VPSRAD X23, p, p; \
	VPMOVZXBD off(R11), side; \
	VPSUBD t, p, p; \
	VPANDD Z24, side, t; \
	VPADDD Z25, p, p; \
	VPSUBD t, p, p; \
	VPMAXSD Z26, p, p; \
	VPMINSD Z25, p, p; \
	VPERMI2D Z28, Z27, p; \
	VPANDD Z18, x, y; \
	VPSRLD $8, x, t; \
	VPMULLD p, t, t; \
	VPCMPUD $1, p, y, K3; \
	VPSUBD p, x, x; \
	VPSUBD t, x, x; \
	VPADDD y, t, K3, x; \
	VPSLLD $8, side, side; \
	VPXORD Z29, side, K3, side; \
	VPMOVZXWD (2*off)(DI), t; \
	VPTERNLOGD $0xd8, Z29, side, t; \
	VPMOVDW t, (2*off)(DI)

// NOTE appends the indices of the escapes of two vectors, the first of which is
// off into the row, to their list.
#define NOTE(s0, s1, off, none, next) \
	VPTESTNMD s0, s0, K1; \
	VPTESTNMD s1, s1, K2; \
	KUNPCKWD K1, K2, K1; \
	KMOVD K1, AX; \
	TESTL AX, AX; \
	JZ none; \
next: \
	TZCNTL AX, R15; \
	LEAL off(R13)(R15*1), R15; \
	MOVW R15, (R8); \
	ADDQ $2, R8; \
	BLSRL AX, AX; \
	JNZ next; \
none:

// STEP goes on to the next row, while there is one.
#define STEP(row, loop) \
	ADDQ $row, R10; \
	ADDQ $row, R11; \
	ADDQ $row, R13; \
	ADDQ $(2*row), DI; \
	CMPQ DI, R12; \
	JEQ done; \
	CMPQ SI, R9; \
	JLS loop

#define RETURN \
	MOVQ R13, done+40(FP); \
	SUBQ ContextDecoder_stream(DX), SI; \
	MOVQ SI, used+48(FP); \
	LEAQ ContextDecoder_escaped(DX), AX; \
	SUBQ AX, R8; \
	SHRQ $1, R8; \
	MOVQ R8, ContextDecoder_escapes(DX); \
	VZEROUPPER

#define STATE(i) (ContextDecoder_states+64*i)(DX)

// The steps of a row, each for two registers of states, 32 lanes, and for four.
//
// SYMBOLS decodes a symbol in each lane, and SIGNS its sign.
#define LOADSTATES2 \
	VMOVDQU32 STATE(0), Z0; \
	VMOVDQU32 STATE(1), Z1

#define LOADSTATES4 \
	LOADSTATES2; \
	VMOVDQU32 STATE(2), Z2; \
	VMOVDQU32 STATE(3), Z3

#define STORESTATES2 \
	VMOVDQU32 Z0, STATE(0); \
	VMOVDQU32 Z1, STATE(1)

#define STORESTATES4 \
	STORESTATES2; \
	VMOVDQU32 Z2, STATE(2); \
	VMOVDQU32 Z3, STATE(3)

#define SYMBOLS2 \
	INDEX(Z0, 0, Z8); \
	INDEX(Z1, 16, Z9); \
	SYMBOL(Z0, Z4, 0, Z8, Z9); \
	SYMBOL(Z1, Z5, 16, Z8, Z9); \
	REFILL(Z0, Z8); \
	REFILL(Z1, Z9)

#define SYMBOLS4 \
	INDEX(Z0, 0, Z8); \
	INDEX(Z1, 16, Z9); \
	INDEX(Z2, 32, Z10); \
	INDEX(Z3, 48, Z11); \
	SYMBOL(Z0, Z4, 0, Z8, Z9); \
	SYMBOL(Z1, Z5, 16, Z8, Z9); \
	SYMBOL(Z2, Z6, 32, Z8, Z9); \
	SYMBOL(Z3, Z7, 48, Z8, Z9); \
	REFILL(Z0, Z8); \
	REFILL(Z1, Z9); \
	REFILL(Z2, Z10); \
	REFILL(Z3, Z11)

#define SIGNS2 \
	SIGN(Z0, Z4, 0, Z8, Z9, Z10, Z11); \
	SIGN(Z1, Z5, 16, Z8, Z9, Z10, Z11); \
	REFILL(Z0, Z8); \
	REFILL(Z1, Z9)

#define SIGNS4 \
	SIGN(Z0, Z4, 0, Z8, Z9, Z10, Z11); \
	SIGN(Z1, Z5, 16, Z8, Z9, Z10, Z11); \
	SIGN(Z2, Z6, 32, Z8, Z9, Z10, Z11); \
	SIGN(Z3, Z7, 48, Z8, Z9, Z10, Z11); \
	REFILL(Z0, Z8); \
	REFILL(Z1, Z9); \
	REFILL(Z2, Z10); \
	REFILL(Z3, Z11)

// func contextNarrowAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextNarrowAVX512(SB), NOSPLIT, $256-56
	LOAD(64)
	LOADSTATES2

row:
	SYMBOLS2
	NOTE(Z4, Z5, 0, none0, next0)
	STEP(32, row)

done:
	STORESTATES2
	RETURN
	RET

// func contextWideAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextWideAVX512(SB), NOSPLIT, $256-56
	LOAD(128)
	LOADSTATES4

row:
	SYMBOLS4
	NOTE(Z4, Z5, 0, none0, next0)
	NOTE(Z6, Z7, 32, none2, next2)
	STEP(64, row)

done:
	STORESTATES4
	RETURN
	RET

// func contextNarrowSignedAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextNarrowSignedAVX512(SB), NOSPLIT, $256-56
	LOAD(128)
	LOADSIGN
	LOADSTATES2

row:
	SYMBOLS2
	SIGNS2
	NOTE(Z4, Z5, 0, none0, next0)
	STEP(32, row)

done:
	STORESTATES2
	RETURN
	RET

// func contextWideSignedAVX512(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextWideSignedAVX512(SB), NOSPLIT, $256-56
	LOAD(256)
	LOADSIGN
	LOADSTATES4

row:
	SYMBOLS4
	SIGNS4
	NOTE(Z4, Z5, 0, none0, next0)
	NOTE(Z6, Z7, 32, none2, next2)
	STEP(64, row)

done:
	STORESTATES4
	RETURN
	RET
