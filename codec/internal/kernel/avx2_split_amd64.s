//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// Split, the inverse of avx2_merge_amd64.s: FORMAT.md, "Symbol and rest", 16
// elements at a time, as words of 16 bits. Registers, all through a function:
//
//	DI src   DX vals   SI packed plane   BX, R9 byte planes 0 and 1
//	CX elements left   R8 bits of a rest to pack, which are bytes for eight elements
//	Y0 to Y4 valScale, val, signScale, sign, mant: see splitArgs
//	Y5 to Y7, X15 pair, align, down, up

#define SETUP                                    \
	MOVQ         a+0(FP), AX                 \
	MOVQ         splitArgs_src(AX), DI       \
	MOVQ         splitArgs_vals(AX), DX      \
	MOVQ         splitArgs_packed(AX), SI    \
	MOVQ         splitArgs_p0(AX), BX        \
	MOVQ         splitArgs_p1(AX), R9        \
	MOVQ         splitArgs_n(AX), CX         \
	MOVQ         splitArgs_bits(AX), R8      \
	VPBROADCASTW splitArgs_valScale(AX), Y0  \
	VPBROADCASTW splitArgs_val(AX), Y1       \
	VPBROADCASTW splitArgs_signScale(AX), Y2 \
	VPBROADCASTW splitArgs_sign(AX), Y3      \
	VPBROADCASTW splitArgs_mant(AX), Y4      \
	VPBROADCASTD splitArgs_pair(AX), Y5      \
	VPBROADCASTQ splitArgs_align(AX), Y6     \
	VPBROADCASTQ splitArgs_down(AX), Y7      \
	VMOVQ        splitArgs_up(AX), X15

// SPLIT stores the values of the words Y8 and leaves their rests there.
#define SPLIT                 \
	VPMULHUW Y0, Y8, Y9   \
	VPMULHUW Y2, Y8, Y10  \
	VPAND    Y1, Y9, Y9   \
	VPAND    Y3, Y10, Y10 \
	VPAND    Y4, Y8, Y8   \
	VMOVDQU  Y9, (DX)     \
	VPOR     Y10, Y8, Y8  \
	ADDQ     $32, DX

// PACK packs the words Y8 of few bits: two to a double word, four to a
// quadword, eight to the lower quadword of each half. What it stores behind them
// the next group replaces.
#define PACK                        \
	VPMADDWD     Y5, Y8, Y8     \
	VPSLLVD      Y6, Y8, Y8     \
	VPSRLVQ      Y7, Y8, Y8     \
	VPSRLDQ      $8, Y8, Y9     \
	VPSLLQ       X15, Y9, Y9    \
	VPOR         Y9, Y8, Y8     \
	VEXTRACTI128 $1, Y8, X9     \
	VMOVQ        X8, (SI)       \
	VMOVQ        X9, (SI)(R8*1) \
	LEAQ         (SI)(R8*2), SI

// PLANE stores the low bytes of the words of vector in, which Y11 masks.
#define PLANE(in, tmp, xtmp, xtmp2, p) \
	VPAND        Y11, in, tmp      \
	VEXTRACTI128 $1, tmp, xtmp2    \
	VPACKUSWB    xtmp2, xtmp, xtmp \
	VMOVDQU      xtmp, (p)         \
	ADDQ         $16, p

// LOWMASK sets Y11 to the low bytes of words.
#define LOWMASK                \
	VPCMPEQB Y11, Y11, Y11 \
	VPSRLW   $8, Y11, Y11

// HALVES loads 16 elements of 32 bits and sets Y8 to their upper halves and Y12 to their lower.
#define HALVES                    \
	VMOVDQU   (DI), Y9        \
	VMOVDQU   32(DI), Y10     \
	VPSRLD    $16, Y9, Y8     \
	VPSRLD    $16, Y10, Y12   \
	VPACKUSDW Y12, Y8, Y8     \
	VPERMQ    $0xd8, Y8, Y8   \
	VPSLLD    $16, Y9, Y9     \
	VPSLLD    $16, Y10, Y10   \
	VPSRLD    $16, Y9, Y9     \
	VPSRLD    $16, Y10, Y10   \
	VPACKUSDW Y10, Y9, Y12    \
	VPERMQ    $0xd8, Y12, Y12 \
	ADDQ      $64, DI

// func split4AVX2(a *splitArgs)
TEXT ·split4AVX2(SB), NOSPLIT, $0-8
	SETUP
	VPCMPEQB Y11, Y11, Y11
	VPSRLW   $12, Y11, Y11 // 15 in words

split4:
	VPMOVZXBW    (DI), Y8
	VPSRLW       $4, Y8, Y9
	VPAND        Y11, Y8, Y8
	VPUNPCKLWD   Y9, Y8, Y10 // elements 0-7, 16-23
	VPUNPCKHWD   Y9, Y8, Y8  // elements 8-15, 24-31
	VMOVDQU      X10, (DX)
	VMOVDQU      X8, 16(DX)
	VEXTRACTI128 $1, Y10, 32(DX)
	VEXTRACTI128 $1, Y8, 48(DX)
	ADDQ         $16, DI
	ADDQ         $64, DX
	SUBQ         $32, CX
	JNE          split4
	VZEROUPPER
	RET

// func split8AVX2(a *splitArgs)
TEXT ·split8AVX2(SB), NOSPLIT, $0-8
	SETUP

split8:
	VPMOVZXBW (DI), Y8
	VPSLLW    $8, Y8, Y8
	SPLIT
	VPSRLW    $8, Y8, Y8
	PACK
	ADDQ      $16, DI
	SUBQ      $16, CX
	JNE       split8
	VZEROUPPER
	RET

// func splitWordAVX2(a *splitArgs)
TEXT ·splitWordAVX2(SB), NOSPLIT, $0-8
	SETUP

splitWord:
	VMOVDQU (DI), Y8
	SPLIT
	PACK
	ADDQ    $32, DI
	SUBQ    $16, CX
	JNE     splitWord
	VZEROUPPER
	RET

// func splitPlaneAVX2(a *splitArgs)
TEXT ·splitPlaneAVX2(SB), NOSPLIT, $0-8
	SETUP
	LOWMASK

splitPlane:
	VMOVDQU (DI), Y8
	SPLIT
	PLANE(Y8, Y12, X12, X13, BX)
	VPSRLW  $8, Y8, Y8
	PACK
	ADDQ    $32, DI
	SUBQ    $16, CX
	JNE     splitPlane
	VZEROUPPER
	RET

// func split32AVX2(a *splitArgs)
TEXT ·split32AVX2(SB), NOSPLIT, $0-8
	SETUP
	LOWMASK

split32:
	HALVES
	SPLIT
	PACK
	PLANE(Y12, Y13, X13, X14, BX)
	VPSRLW $8, Y12, Y12
	PLANE(Y12, Y13, X13, X14, R9)
	SUBQ   $16, CX
	JNE    split32
	VZEROUPPER
	RET

// func split32PlaneAVX2(a *splitArgs)
TEXT ·split32PlaneAVX2(SB), NOSPLIT, $0-8
	SETUP
	LOWMASK

split32Plane:
	HALVES
	SPLIT
	PLANE(Y8, Y13, X13, X14, SI)
	PLANE(Y12, Y13, X13, X14, BX)
	VPSRLW $8, Y12, Y12
	PLANE(Y12, Y13, X13, X14, R9)
	SUBQ   $16, CX
	JNE    split32Plane
	VZEROUPPER
	RET
