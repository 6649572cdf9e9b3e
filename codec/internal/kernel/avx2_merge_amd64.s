//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// Merge: FORMAT.md, "Symbol and rest", 16 elements at a time. An element, or the
// upper half of one of 32 bits, is a word of 16: from the top sign, symbol, low
// mantissa bits (see wordShape). Registers, all through a function:
//
//	DI dst   DX words   SI packed plane   BX, R9 byte planes 0 and 1
//	CX elements left    R8 bytes of the packed plane for 16 elements
//	Y0, Y1 unpackAVX2   Y2 scale   Y3 sign   Y4 mant: see mergeArgs
//
// The packed plane is read 16 bytes at a time; mergeAVX2 ends where those would
// not be there.

#define SETUP                                  \
	MOVQ         a+0(FP), AX               \
	MOVQ         mergeArgs_dst(AX), DI     \
	MOVQ         mergeArgs_words(AX), DX   \
	MOVQ         mergeArgs_packed(AX), SI  \
	MOVQ         mergeArgs_p0(AX), BX      \
	MOVQ         mergeArgs_p1(AX), R9      \
	MOVQ         mergeArgs_n(AX), CX       \
	MOVQ         mergeArgs_step(AX), R8    \
	MOVQ         mergeArgs_unpack(AX), R10 \
	VMOVDQU      unpackAVX2_from(R10), Y0  \
	VMOVDQU      unpackAVX2_scale(R10), Y1 \
	VPBROADCASTW mergeArgs_scale(AX), Y2   \
	VPBROADCASTW mergeArgs_sign(AX), Y3    \
	VPBROADCASTW mergeArgs_mant(AX), Y4

// MERGE makes 16 words in out: it moves each rest to the top of a word,
// where its sign belongs, and from there its mantissa bits to their place.
#define MERGE(words, out, tmp)         \
	VBROADCASTI128 (SI), out       \
	VPSHUFB        Y0, out, out    \
	VPMULLW        Y1, out, out    \
	VPMULHUW       Y2, out, tmp    \
	VPAND          Y3, out, out    \
	VPAND          Y4, tmp, tmp    \
	VPOR           words, out, out \
	VPOR           tmp, out, out   \
	ADDQ           R8, SI

// func merge4AVX2(a *mergeArgs)
//
// The words of two elements, each from its top, make a byte.
TEXT ·merge4AVX2(SB), NOSPLIT, $0-8
	SETUP
	MOVL         $0x1001, AX
	VMOVD        AX, X5
	VPBROADCASTW X5, Y5 // 1 and 16 in bytes

merge4:
	VMOVDQU      (DX), Y8
	VMOVDQU      32(DX), Y9
	VPSRLW       $12, Y8, Y8
	VPSRLW       $12, Y9, Y9
	VPACKUSWB    Y9, Y8, Y8 // elements 0-7, 16-23; 8-15, 24-31
	VPMADDUBSW   Y5, Y8, Y8
	VPACKUSWB    Y8, Y8, Y8 // bytes 0-3, 8-11; 4-7, 12-15
	VEXTRACTI128 $1, Y8, X9
	VPUNPCKLDQ   X9, X8, X8
	VMOVDQU      X8, (DI)
	ADDQ         $64, DX
	ADDQ         $16, DI
	SUBQ         $32, CX
	JNE          merge4
	VZEROUPPER
	RET

// func merge8AVX2(a *mergeArgs)
TEXT ·merge8AVX2(SB), NOSPLIT, $0-8
	SETUP

merge8:
	MERGE((DX), Y8, Y9)
	MERGE(32(DX), Y10, Y11)
	VPSRLW    $8, Y8, Y8
	VPSRLW    $8, Y10, Y10
	VPACKUSWB Y10, Y8, Y8
	VPERMQ    $0xd8, Y8, Y8
	VMOVDQU   Y8, (DI)
	ADDQ      $64, DX
	ADDQ      $32, DI
	SUBQ      $32, CX
	JNE       merge8
	VZEROUPPER
	RET

// func mergeWordAVX2(a *mergeArgs)
TEXT ·mergeWordAVX2(SB), NOSPLIT, $0-8
	SETUP

mergeWord:
	MERGE((DX), Y8, Y9)
	MERGE(32(DX), Y10, Y11)
	VMOVDQU Y8, (DI)
	VMOVDQU Y10, 32(DI)
	ADDQ    $64, DX
	ADDQ    $64, DI
	SUBQ    $32, CX
	JNE     mergeWord
	VZEROUPPER
	RET

// func mergePlaneAVX2(a *mergeArgs)
TEXT ·mergePlaneAVX2(SB), NOSPLIT, $0-8
	SETUP

mergePlane:
	MERGE((DX), Y8, Y9)
	MERGE(32(DX), Y10, Y11)
	VPMOVZXBW (BX), Y9
	VPMOVZXBW 16(BX), Y11
	VPOR      Y9, Y8, Y8
	VPOR      Y11, Y10, Y10
	VMOVDQU   Y8, (DI)
	VMOVDQU   Y10, 32(DI)
	ADDQ      $64, DX
	ADDQ      $64, DI
	ADDQ      $32, BX
	SUBQ      $32, CX
	JNE       mergePlane
	VZEROUPPER
	RET

// func merge32AVX2(a *mergeArgs)
TEXT ·merge32AVX2(SB), NOSPLIT, $0-8
	SETUP

merge32:
	MERGE((DX), Y8, Y9)
	VPMOVZXBW    (BX), Y9
	VPMOVZXBW    (R9), Y10
	VPSLLW       $8, Y10, Y10
	VPOR         Y10, Y9, Y9
	VPUNPCKLWD   Y8, Y9, Y10 // elements 0-3, 8-11
	VPUNPCKHWD   Y8, Y9, Y11 // elements 4-7, 12-15
	VMOVDQU      X10, (DI)
	VMOVDQU      X11, 16(DI)
	VEXTRACTI128 $1, Y10, 32(DI)
	VEXTRACTI128 $1, Y11, 48(DI)
	ADDQ         $32, DX
	ADDQ         $64, DI
	ADDQ         $16, BX
	ADDQ         $16, R9
	SUBQ         $16, CX
	JNE          merge32
	VZEROUPPER
	RET

// func copyAVX2(dst, src []byte) (n int)
TEXT ·copyAVX2(SB), NOSPLIT, $0-56
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	MOVQ dst_len+8(FP), DX
	CMPQ DX, CX
	CMOVQLT DX, CX
	XORQ DX, DX
	SUBQ $192, CX
	JLT  copyDone

	// The part of a line in front, and more.
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	MOVQ    DI, DX
	NEGQ    DX
	ANDQ    $63, DX
	ADDQ    $64, CX // the last place to start from

copyLines:
	VMOVDQU  (SI)(DX*1), Y0
	VMOVDQU  32(SI)(DX*1), Y1
	VMOVDQU  64(SI)(DX*1), Y2
	VMOVDQU  96(SI)(DX*1), Y3
	VMOVNTDQ Y0, (DI)(DX*1)
	VMOVNTDQ Y1, 32(DI)(DX*1)
	VMOVNTDQ Y2, 64(DI)(DX*1)
	VMOVNTDQ Y3, 96(DI)(DX*1)
	ADDQ     $128, DX
	CMPQ     DX, CX
	JLE      copyLines

	// Stores past the cache are ordered with no other: whoever learns that dst
	// is written must find it written.
	SFENCE

copyDone:
	MOVQ DX, n+48(FP)
	VZEROUPPER
	RET
