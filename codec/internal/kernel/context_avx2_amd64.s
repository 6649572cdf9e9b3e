//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The decoder of the context method: FORMAT.md, "Decoding in contexts". A vector
// is 8 lanes. States stay in memory, and so do the symbols of a row.
//
// Registers:
//	DI   words             SI   stream           R9   last place where a row may start
//	R10  classes           R11  sides            R12  end of the words
//	R8   list of escapes   R13  index of the row in its batch
//	DX   decoder           R14  slots            CX   contextExpand
//	BX   a bit for each escape of a row
//	0(SP)    indices of the slots                256(SP)  symbols of the row
//	Y0-Y5    temporary
//	Y6, Y7   contextSign: its first half, and its second, each twice
//	Y8   slot mask    Y9   0xfff    Y10  0xff    Y11  0
//	Y12  shape.Base   X13  shape.Shift           X14  shape.Fine
//
// A row takes at most as many words as it has lanes, for symbols and again for
// signs, and a vector's load of eight starts at most as far in as the vector: so
// where that many are left, all loads of a row are in the stream. Classes are below
// ContextClasses, so all indices are in slots.

// contextConst are constants of SIGN: 1, 31, 127, 15, 0x80808000 and 0x8000 in each
// lane, and 0x7fff in each word.
DATA contextConst<>+0(SB)/8, $0x0000000100000001
DATA contextConst<>+8(SB)/8, $0x0000000100000001
DATA contextConst<>+16(SB)/8, $0x0000000100000001
DATA contextConst<>+24(SB)/8, $0x0000000100000001
DATA contextConst<>+32(SB)/8, $0x0000001f0000001f
DATA contextConst<>+40(SB)/8, $0x0000001f0000001f
DATA contextConst<>+48(SB)/8, $0x0000001f0000001f
DATA contextConst<>+56(SB)/8, $0x0000001f0000001f
DATA contextConst<>+64(SB)/8, $0x0000007f0000007f
DATA contextConst<>+72(SB)/8, $0x0000007f0000007f
DATA contextConst<>+80(SB)/8, $0x0000007f0000007f
DATA contextConst<>+88(SB)/8, $0x0000007f0000007f
DATA contextConst<>+96(SB)/8, $0x0000000f0000000f
DATA contextConst<>+104(SB)/8, $0x0000000f0000000f
DATA contextConst<>+112(SB)/8, $0x0000000f0000000f
DATA contextConst<>+120(SB)/8, $0x0000000f0000000f
DATA contextConst<>+128(SB)/8, $0x8080800080808000
DATA contextConst<>+136(SB)/8, $0x8080800080808000
DATA contextConst<>+144(SB)/8, $0x8080800080808000
DATA contextConst<>+152(SB)/8, $0x8080800080808000
DATA contextConst<>+160(SB)/8, $0x0000800000008000
DATA contextConst<>+168(SB)/8, $0x0000800000008000
DATA contextConst<>+176(SB)/8, $0x0000800000008000
DATA contextConst<>+184(SB)/8, $0x0000800000008000
DATA contextConst<>+192(SB)/8, $0x7fff7fff7fff7fff
DATA contextConst<>+200(SB)/8, $0x7fff7fff7fff7fff
DATA contextConst<>+208(SB)/8, $0x7fff7fff7fff7fff
DATA contextConst<>+216(SB)/8, $0x7fff7fff7fff7fff
GLOBL contextConst<>(SB), RODATA|NOPTR, $224

#define CONSTANT(value, x, y) \
	MOVL         $value, AX \
	VMOVD        AX, x      \
	VPBROADCASTD x, y

// LOAD reads the arguments; most is how many bytes of the stream a row takes at
// most.
#define LOAD(most) \
	MOVQ         d+0(FP), DX                                            \
	MOVQ         words+8(FP), DI                                        \
	MOVQ         classes+16(FP), R10                                    \
	MOVQ         sides+24(FP), R11                                      \
	MOVQ         n+32(FP), R12                                          \
	LEAQ         (DI)(R12*2), R12                                       \
	MOVQ         ContextDecoder_stream(DX), SI                          \
	MOVQ         (ContextDecoder_stream+8)(DX), R9                      \
	LEAQ         -most(SI)(R9*1), R9                                    \
	MOVQ         ContextDecoder_slots(DX), R14                          \
	MOVQ         ContextDecoder_escapes(DX), R8                         \
	LEAQ         ContextDecoder_escaped(DX)(R8*2), R8                   \
	LEAQ         ·contextExpand(SB), CX                                    \
	CONSTANT((1<<const_ContextBits)-1, X8, Y8)                          \
	CONSTANT(0xfff, X9, Y9)                                             \
	CONSTANT(0xff, X10, Y10)                                            \
	VPXOR        Y11, Y11, Y11                                          \
	VPBROADCASTD (ContextDecoder_shape+ContextShape_Base)(DX), Y12      \
	VMOVQ        (ContextDecoder_shape+ContextShape_Shift)(DX), X13     \
	VMOVQ        (ContextDecoder_shape+ContextShape_Fine)(DX), X14      \
	VBROADCASTI128 ·contextSign+0(SB), Y6                          \
	VBROADCASTI128 ·contextSign+16(SB), Y7                         \
	XORL         R13, R13

#define STATE(lane) (ContextDecoder_states+4*lane)(DX)

// INDEX stores the indices of the slots of a vector: class << bits | x & mask.
#define INDEX(lane) \
	VPMOVZXBD lane(R10), Y0                 \
	VPSLLD    $const_ContextBits, Y0, Y0    \
	VPAND     STATE(lane), Y8, Y1           \
	VPOR      Y0, Y1, Y0                    \
	VMOVDQU   Y0, (4*lane)(SP)

// FETCH sets x to the slots with the four indices at off(SP). Loads one by one
// are faster than VPGATHERDD (Zen 4).
#define FETCH(off, x) \
	MOVL    off(SP), AX                \
	MOVL    (off+4)(SP), R15           \
	VMOVD   (R14)(AX*4), x             \
	VPINSRD $1, (R14)(R15*4), x, x     \
	MOVL    (off+8)(SP), AX            \
	MOVL    (off+12)(SP), R15          \
	VPINSRD $2, (R14)(AX*4), x, x      \
	VPINSRD $3, (R14)(R15*4), x, x

// REFILL takes the words that are due of the stream, for the lanes of Y0 that are
// below contextLow, and stores the states.
#define REFILL(lane) \
	VPSRLD    $16, Y0, Y1        \
	VPCMPEQD  Y11, Y1, Y1        \
	VMOVMSKPS Y1, AX             \
	VPMOVZXWD (SI), Y2           \
	VPMOVZXBD (CX)(AX*8), Y3     \
	VPERMD    Y2, Y3, Y2         \
	POPCNTL   AX, AX             \
	VPSLLD    $16, Y0, Y3        \
	VPOR      Y2, Y3, Y2         \
	VPBLENDVB Y1, Y2, Y0, Y0     \
	LEAQ      (SI)(AX*2), SI     \
	VMOVDQU   Y0, STATE(lane)

// SYMBOL takes a symbol from each lane of a vector.
#define SYMBOL(lane) \
	FETCH(4*lane, X1)                           \
	FETCH(4*lane+16, X2)                        \
	VINSERTI128  $1, X2, Y1, Y1                 \
	VMOVDQU      STATE(lane), Y0                \
	VPSRLD       $const_ContextBits, Y0, Y0     \
	VPSRLD       $20, Y1, Y2                    \
	VPMULLD      Y2, Y0, Y0                     \
	VPSRLD       $8, Y1, Y2                     \
	VPAND        Y9, Y2, Y2                     \
	VPADDD       Y2, Y0, Y0                     \
	VPAND        Y10, Y1, Y4                    \
	VMOVDQU      Y4, (256+4*lane)(SP)           \
	VPCMPEQD     Y11, Y4, Y5                    \
	VMOVMSKPS    Y5, R15                        \
	SHLQ         $lane, R15                     \
	ORQ          R15, BX                        \
	VPADDD       Y12, Y4, Y4                    \
	VPSLLD       X13, Y4, Y4                    \
	VEXTRACTI128 $1, Y4, X5                     \
	VPACKUSDW    X5, X4, X4                     \
	VMOVDQU      X4, (2*lane)(DI)               \
	REFILL(lane)

// SIGN takes a sign from each lane of a vector: Y1 becomes p, Y2 p*(x>>8), Y3
// x mod 256, Y4 where the sign is the less likely one.
#define SIGN(lane) \
	VMOVDQU      (256+4*lane)(SP), Y1             \
	VPSUBD       contextConst<>+0(SB), Y1, Y1     \
	VPSRAD       X14, Y1, Y1                      \
	VPMOVZXBD    lane(R10), Y2                    \
	VPSUBD       Y2, Y1, Y1                       \
	VPADDD       contextConst<>+32(SB), Y1, Y1    \
	VPMOVZXBD    lane(R11), Y5                    \
	VPAND        contextConst<>+64(SB), Y5, Y2    \
	VPSUBD       Y2, Y1, Y1                       \
	VPMAXSD      Y11, Y1, Y1                      \
	VPMINSD      contextConst<>+32(SB), Y1, Y1    \
	VPCMPGTD     contextConst<>+96(SB), Y1, Y2    \
	VPOR         contextConst<>+128(SB), Y1, Y1   \
	VPSHUFB      Y1, Y6, Y3                       \
	VPSHUFB      Y1, Y7, Y1                       \
	VPBLENDVB    Y2, Y1, Y3, Y1                   \
	VMOVDQU      STATE(lane), Y0                  \
	VPAND        Y10, Y0, Y3                      \
	VPSRLD       $8, Y0, Y2                       \
	VPMULLD      Y1, Y2, Y2                       \
	VPCMPGTD     Y3, Y1, Y4                       \
	VPSUBD       Y1, Y0, Y0                       \
	VPSUBD       Y2, Y0, Y0                       \
	VPADDD       Y3, Y2, Y2                       \
	VPBLENDVB    Y4, Y2, Y0, Y0                   \
	VPSLLD       $8, Y5, Y5                       \
	VPXOR        Y4, Y5, Y5                       \
	VPAND        contextConst<>+160(SB), Y5, Y5     \
	VEXTRACTI128 $1, Y5, X4                       \
	VPACKUSDW    X4, X5, X5                       \
	VMOVDQU      (2*lane)(DI), X4                 \
	VPAND        contextConst<>+192(SB), X4, X4     \
	VPOR         X5, X4, X4                       \
	VMOVDQU      X4, (2*lane)(DI)                 \
	REFILL(lane)

// NOTE appends the indices of the escapes of a row to their list.
#define NOTE \
	TESTQ  BX, BX      \
	JZ     noted       \
note:                  \
	TZCNTQ BX, AX      \
	ADDL   R13, AX     \
	MOVW   AX, (R8)    \
	ADDQ   $2, R8      \
	BLSRQ  BX, BX      \
	JNZ    note        \
noted:

// STEP goes on to the next row, while there is one.
#define STEP(lanes) \
	ADDQ $lanes, R10     \
	ADDQ $lanes, R11     \
	ADDQ $lanes, R13     \
	ADDQ $(2*lanes), DI  \
	CMPQ DI, R12       \
	JEQ  done          \
	CMPQ SI, R9        \
	JLS  row

#define RETURN \
	MOVQ R13, done+40(FP)                  \
	SUBQ ContextDecoder_stream(DX), SI     \
	MOVQ SI, used+48(FP)                   \
	LEAQ ContextDecoder_escaped(DX), AX    \
	SUBQ AX, R8                            \
	SHRQ $1, R8                            \
	MOVQ R8, ContextDecoder_escapes(DX)    \
	VZEROUPPER

// FOUR and EIGHT do M to the groups of a row of 32 and of 64 lanes.
#define FOUR(M) \
	M(0)  \
	M(8)  \
	M(16) \
	M(24)

#define EIGHT(M) \
	FOUR(M) \
	M(32)   \
	M(40)   \
	M(48)   \
	M(56)

// func contextNarrowAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextNarrowAVX2(SB), NOSPLIT, $512-56
	LOAD(64)

row:
	XORL BX, BX
	FOUR(INDEX)
	FOUR(SYMBOL)
	NOTE
	STEP(32)

done:
	RETURN
	RET

// func contextWideAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextWideAVX2(SB), NOSPLIT, $512-56
	LOAD(128)

row:
	XORL BX, BX
	EIGHT(INDEX)
	EIGHT(SYMBOL)
	NOTE
	STEP(64)

done:
	RETURN
	RET

// func contextNarrowSignedAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextNarrowSignedAVX2(SB), NOSPLIT, $512-56
	LOAD(128)

row:
	XORL BX, BX
	FOUR(INDEX)
	FOUR(SYMBOL)
	FOUR(SIGN)
	NOTE
	STEP(32)

done:
	RETURN
	RET

// func contextWideSignedAVX2(d *ContextDecoder, words *uint16, classes, sides *uint8, n int) (done, used int)
TEXT ·contextWideSignedAVX2(SB), NOSPLIT, $512-56
	LOAD(256)

row:
	XORL BX, BX
	EIGHT(INDEX)
	EIGHT(SYMBOL)
	EIGHT(SIGN)
	NOTE
	STEP(64)

done:
	RETURN
	RET

// func addClassesAVX2(dst, columns *uint8, row uint8, n int)
TEXT ·addClassesAVX2(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         columns+8(FP), SI
	VPBROADCASTB row+16(FP), Y0
	MOVQ         n+24(FP), CX
	MOVL         $(const_ContextClasses-1), AX
	VMOVD        AX, X1
	VPBROADCASTB X1, Y1

add:
	VPADDB  (SI), Y0, Y2
	VPMINUB Y1, Y2, Y2
	VMOVDQU Y2, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	SUBQ    $32, CX
	JNZ     add
	VZEROUPPER
	RET
