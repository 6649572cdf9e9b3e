//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// From lo to hi.
#define HI (Encoder_hi-Encoder_lo)

// The rANS encoder of FORMAT.md, "Decoding", 32 lanes at a time, from the last
// row to the first and from the last lane to the first. A step of 32 lanes is
//
//	where x >= freq << 8: put lo before the stream; x = x >> 8
//	x = x / freq << 8 | x mod freq + start
//
// Registers, all through encodeRowsAVX2:
//
//	R8  lo of lane 0     DI  lo of the 32 lanes
//	R9  pack             R10 lanes - 32
//	R11 first symbol     DX  symbols of the 32 lanes
//	SI  stream
//	R12 the table        R13 Encoder.buf
//	Y0 to Y3 freq and start, of symbols 0-15 and 16-31
//	Y15 high bytes of words

// SYMBOL looks up one symbol.
#define SYMBOL(at)             \
	MOVWLZX (2*at)(SI), AX \
	ANDL    R9, AX         \
	MOVBLZX (R8)(AX*1), AX \
	MOVB    AX, at(DI)

// func symbolsAVX2(syms *uint8, vals *uint16, n int, index *[values]uint8)
TEXT ·symbolsAVX2(SB), NOSPLIT, $0-32
	MOVQ syms+0(FP), DI
	MOVQ vals+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ index+24(FP), R8
	MOVL $(const_values-1), R9

symbols:
	SYMBOL(0)
	SYMBOL(1)
	SYMBOL(2)
	SYMBOL(3)
	SYMBOL(4)
	SYMBOL(5)
	SYMBOL(6)
	SYMBOL(7)
	ADDQ $16, SI
	ADDQ $8, DI
	SUBQ $8, CX
	JNE  symbols
	RET

// func nearSymbolsAVX2(syms *uint8, vals *uint16, n int, near *nearValues)
//
// A value below the least wraps to one far above it.
TEXT ·nearSymbolsAVX2(SB), NOSPLIT, $0-32
	MOVQ           syms+0(FP), DI
	MOVQ           vals+8(FP), SI
	MOVQ           n+16(FP), CX
	MOVQ           near+24(FP), R8
	VBROADCASTI128 nearValues_symbols(R8), Y0
	VBROADCASTI128 (nearValues_symbols+16)(R8), Y1
	VBROADCASTI128 (nearValues_symbols+32)(R8), Y2
	VBROADCASTI128 (nearValues_symbols+48)(R8), Y3
	VPBROADCASTW   nearValues_least(R8), Y4
	VPCMPEQW       Y5, Y5, Y5
	VPSRLW         $10, Y5, Y5 // 63

nearSymbols:
	VMOVDQU   (SI), Y8
	VMOVDQU   32(SI), Y9
	VPSUBW    Y4, Y8, Y8
	VPSUBW    Y4, Y9, Y9
	VPMINUW   Y5, Y8, Y8
	VPMINUW   Y5, Y9, Y9
	VPACKUSWB Y9, Y8, Y8
	VPERMQ    $0xd8, Y8, Y8
	VPSLLW    $3, Y8, Y9  // bit 4 is on top
	VPSLLW    $2, Y8, Y10 // bit 5 is on top
	VPSHUFB   Y8, Y0, Y11
	VPSHUFB   Y8, Y1, Y12
	VPSHUFB   Y8, Y2, Y13
	VPSHUFB   Y8, Y3, Y14
	VPBLENDVB Y9, Y12, Y11, Y11
	VPBLENDVB Y9, Y14, Y13, Y13
	VPBLENDVB Y10, Y13, Y11, Y11
	VMOVDQU   Y11, (DI)
	ADDQ      $64, SI
	ADDQ      $32, DI
	SUBQ      $32, CX
	JNE       nearSymbols
	VZEROUPPER
	RET

// PICK sets dst to the numbers, from low or high, of the symbols Y8. The top bits
// of the bytes Y9 say which.
#define PICK(low, high, dst, tmp) \
	VPSHUFB   Y8, low, dst    \
	VPSHUFB   Y8, high, tmp   \
	VPBLENDVB Y9, tmp, dst, dst

// DIVIDE divides the words x by f and leaves the remainder there. recip, 65535/f, gives
// a quotient that is right or one too small; it becomes the quotient.
#define DIVIDE(x, f, recip, tmp) \
	VPMULHUW recip, x, recip \
	VPMULLW  recip, f, tmp   \
	VPSUBW   tmp, x, x       \
	VPSUBW   f, x, tmp       \
	VPMINUW  tmp, x, x       \
	VPCMPEQW tmp, x, tmp     \
	VPSUBW   tmp, recip, recip

// PUT puts those of the bytes x of 16 lanes before the stream whose bits are set in
// the low 16 of set, whose second byte is high: a group of eight, moved to its
// end, is stored with what is in front of it, and there the next is stored.
#define PUT(set, high, x)              \
	MOVBLZX high, CX               \
	MOVBLZX set, R14               \
	VMOVQ   (R9)(R14*8), X9        \
	VMOVHPS 2048(R9)(CX*8), X9, X9 \
	VPSHUFB X9, x, X9              \
	POPCNTL CX, CX                 \
	POPCNTL R14, R14               \
	VMOVHPS X9, -8(SI)             \
	SUBQ    CX, SI                 \
	VMOVQ   X9, -8(SI)             \
	SUBQ    R14, SI

// func encodeRowsAVX2(e *Encoder, syms *uint8, n int, t *Table, pack *groupShuffles) (free int)
TEXT ·encodeRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ           e+0(FP), BX
	MOVQ           syms+8(FP), R11
	MOVQ           n+16(FP), DX
	ADDQ           R11, DX
	MOVQ           t+24(FP), R12
	MOVQ           pack+32(FP), R9
	LEAQ           Encoder_lo(BX), R8
	MOVQ           Encoder_lanes(BX), R10
	SUBQ           $32, R10
	MOVQ           Encoder_buf(BX), R13
	MOVQ           Encoder_free(BX), SI
	ADDQ           R13, SI
	VBROADCASTI128 Table_freq(R12), Y0
	VBROADCASTI128 (Table_freq+16)(R12), Y1
	VBROADCASTI128 Table_start(R12), Y2
	VBROADCASTI128 (Table_start+16)(R12), Y3
	VPCMPEQB       Y15, Y15, Y15
	VPSLLW         $8, Y15, Y15

row:
	CMPQ DX, R11
	JEQ  done
	LEAQ (R8)(R10*1), DI

step:
	SUBQ           $32, DX
	VMOVDQU        (DX), Y8
	VPSLLW         $3, Y8, Y9 // bit 4 of the symbol is on top
	PICK(Y0, Y1, Y10, Y11)    // freq
	VBROADCASTI128 Table_recipL(R12), Y4
	VBROADCASTI128 (Table_recipL+16)(R12), Y5
	PICK(Y4, Y5, Y4, Y5)
	VBROADCASTI128 Table_recipH(R12), Y5
	VBROADCASTI128 (Table_recipH+16)(R12), Y6
	PICK(Y5, Y6, Y5, Y6)
	PICK(Y2, Y3, Y6, Y7)      // start

	// Where hi >= freq, lo is put out; then Y14 is lo, Y12 hi.
	VMOVDQU   (DI), Y13
	VMOVDQU   HI(DI), Y12
	VPMAXUB   Y10, Y12, Y11
	VPCMPEQB  Y11, Y12, Y11
	VPMOVMSKB Y11, AX
	VPBLENDVB Y11, Y12, Y13, Y14
	VPANDN    Y12, Y11, Y12
	VEXTRACTI128 $1, Y13, X8
	RORXL     $16, AX, BX
	PUT(BX, BH, X8)
	PUT(AX, AH, X13)

	// Words, Y13 of the even lanes and Y14 of the odd; as much for freq (Y11,
	// Y10) and recip (Y8, Y4).
	VPSLLW    $8, Y12, Y11
	VPBLENDVB Y15, Y11, Y14, Y13
	VPSRLW    $8, Y14, Y14
	VPBLENDVB Y15, Y12, Y14, Y14
	VPANDN    Y10, Y15, Y11
	VPSRLW    $8, Y10, Y10
	VPSLLW    $8, Y5, Y8
	VPBLENDVB Y15, Y8, Y4, Y8
	VPSRLW    $8, Y4, Y4
	VPBLENDVB Y15, Y5, Y4, Y4
	DIVIDE(Y13, Y11, Y8, Y9)
	DIVIDE(Y14, Y10, Y4, Y9)

	// Quotients are below 256; remainder + start is, too.
	VPSLLW  $8, Y4, Y4
	VPOR    Y8, Y4, Y4
	VPSLLW  $8, Y14, Y14
	VPOR    Y13, Y14, Y14
	VPADDB  Y6, Y14, Y14
	VMOVDQU Y4, HI(DI)
	VMOVDQU Y14, (DI)
	SUBQ    $32, DI
	CMPQ    DI, R8
	JGE     step
	JMP     row

done:
	SUBQ R13, SI
	MOVQ SI, free+40(FP)
	VZEROUPPER
	RET
