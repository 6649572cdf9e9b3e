//go:build !purego

#include "textflag.h"

// Sums of symbols: see Impl.Sum. 32 bytes at a time; lanes of 32 or 64 bits take
// sums that cannot overflow for a chunk.
//
//	SI src   CX bytes left   X1 shift   Y2 mask   Y0, Y5 sums

#define SETUP                         \
	MOVQ         src+0(FP), SI    \
	MOVQ         n+8(FP), CX      \
	VMOVQ        shift+16(FP), X1 \
	VPBROADCASTQ mask+24(FP), Y2  \
	VPXOR        Y0, Y0, Y0       \
	VPXOR        Y5, Y5, Y5

// TOTAL adds the lanes of 32 bits of Y0 and Y5 up.
#define TOTAL                          \
	VPADDD       Y5, Y0, Y0        \
	VEXTRACTI128 $1, Y0, X3        \
	VPADDD       X3, X0, X0        \
	VPSHUFD      $0x4e, X0, X3     \
	VPADDD       X3, X0, X0        \
	VPSHUFD      $0xb1, X0, X3     \
	VPADDD       X3, X0, X0        \
	VMOVD        X0, AX            \
	MOVQ         AX, sum+32(FP)    \
	VZEROUPPER                     \
	RET

// func sum8AVX2(src *byte, n int, shift, mask uint64) (sum uint64)
TEXT ·sum8AVX2(SB), NOSPLIT, $0-40
	SETUP
	VPXOR Y6, Y6, Y6

sum8:
	VMOVDQU (SI), Y3
	VPSRLW  X1, Y3, Y3
	VPAND   Y2, Y3, Y3
	VPSADBW Y6, Y3, Y3
	VPADDD  Y3, Y0, Y0
	ADDQ    $32, SI
	SUBQ    $32, CX
	JNE     sum8
	TOTAL

// func sum16AVX2(src *byte, n int, shift, mask uint64) (sum uint64)
TEXT ·sum16AVX2(SB), NOSPLIT, $0-40
	SETUP
	VPCMPEQW Y6, Y6, Y6
	VPSRLW   $15, Y6, Y6 // 1 in each word

sum16:
	VMOVDQU  (SI), Y3
	VMOVDQU  32(SI), Y4
	VPSRLW   X1, Y3, Y3
	VPSRLW   X1, Y4, Y4
	VPAND    Y2, Y3, Y3
	VPAND    Y2, Y4, Y4
	VPMADDWD Y6, Y3, Y3
	VPMADDWD Y6, Y4, Y4
	VPADDD   Y3, Y0, Y0
	VPADDD   Y4, Y5, Y5
	ADDQ     $64, SI
	SUBQ     $64, CX
	JNE      sum16
	TOTAL

// func sum32AVX2(src *byte, n int, shift, mask uint64) (sum uint64)
TEXT ·sum32AVX2(SB), NOSPLIT, $0-40
	SETUP

sum32:
	VMOVDQU (SI), Y3
	VMOVDQU 32(SI), Y4
	VPSRLD  X1, Y3, Y3
	VPSRLD  X1, Y4, Y4
	VPAND   Y2, Y3, Y3
	VPAND   Y2, Y4, Y4
	VPADDD  Y3, Y0, Y0
	VPADDD  Y4, Y5, Y5
	ADDQ    $64, SI
	SUBQ    $64, CX
	JNE     sum32
	TOTAL
