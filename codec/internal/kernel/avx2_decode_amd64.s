//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// What a row works on lies in the frame, at a multiple of 64 bytes: vectors that
// cross a line are slow to read back. From lo to hi, freq and root.
#define HI 256
#define FREQ 512
#define ROOT 768

// The rANS decoder of FORMAT.md, "Decoding", 32 lanes at a time. A row of lanes is
// done in two passes, because in one long pass the processor sees too few lanes
// at once to be busy while it waits for each:
//
//	find   s = the symbol of slot = lo, by halving: see tree
//	       its word is stored, and so are freq[s] and, as lo, slot - start[s]
//	renew  x = freq[s] * hi + lo
//	       where x < 256: x = x << 8 | next byte of the stream, in lane order
//
// Registers, all through a function:
//
//	DI  the next lanes, from 0       R10 lanes
//	R8  lo of lane 0, in the frame   R9  expand
//	DX  words of find's next lanes   R11 words' end
//	SI  stream                       R15 the last place to start a row from
//	R12 end of the list of escapes
//
// A row of L lanes takes at most L bytes, and the eight bytes for a group of
// eight lanes start at most as far in as the group: so where L bytes are left,
// all loads of a row are in the stream.

DATA avx2Sign<>+0(SB)/8, $0x8080808080808080
DATA avx2Sign<>+8(SB)/8, $0x8080808080808080
DATA avx2Sign<>+16(SB)/8, $0x8080808080808080
DATA avx2Sign<>+24(SB)/8, $0x8080808080808080
GLOBL avx2Sign<>(SB), RODATA|NOPTR, $32

DATA avx2Three<>+0(SB)/8, $0x0303030303030303
DATA avx2Three<>+8(SB)/8, $0x0303030303030303
DATA avx2Three<>+16(SB)/8, $0x0303030303030303
DATA avx2Three<>+24(SB)/8, $0x0303030303030303
GLOBL avx2Three<>(SB), RODATA|NOPTR, $32

// SETUP loads the registers that hold for all rows, and the tree in AX.
#define SETUP                                    \
	MOVQ         d+0(FP), BX                 \
	MOVQ         expand+40(FP), R9           \
	LEAQ         frame-864(SP), R8           \
	ADDQ         $63, R8                     \
	ANDQ         $~63, R8                    \
	MOVQ         Decoder_lanes(BX), R10      \
	MOVQ         words_base+8(FP), DX        \
	MOVQ         words_len+16(FP), R11       \
	LEAQ         (DX)(R11*2), R11            \
	MOVQ         Decoder_escaped(BX), R12    \
	MOVQ         (Decoder_escaped+8)(BX), AX \
	LEAQ         (R12)(AX*2), R12            \
	MOVQ         Decoder_stream(BX), SI      \
	MOVQ         (Decoder_stream+8)(BX), R15 \
	ADDQ         SI, R15                     \
	SUBQ         R10, R15                    \
	XORL         DI, DI                      \
states:                                          \
	VMOVDQU      Decoder_lo(BX)(DI*1), Y0    \
	VMOVDQU      Decoder_hi(BX)(DI*1), Y1    \
	VMOVDQU      Y0, (R8)(DI*1)              \
	VMOVDQU      Y1, HI(R8)(DI*1)            \
	ADDQ         $32, DI                     \
	CMPQ         DI, R10                     \
	JNE          states                      \
	MOVQ         t+32(FP), AX

// SLOTS sets Y11 to the slots of 32 lanes, for signed comparison, and Y12 to where
// they are in the tree below root: 3 on the left, 2 on the right.
#define SLOTS(root)                       \
	VMOVDQU  (R8)(DI*1), Y11          \
	VPXOR    avx2Sign<>(SB), Y11, Y11 \
	VPCMPGTB root, Y11, Y12           \
	VPADDB   avx2Three<>(SB), Y12, Y12

// BRANCH goes down a level of the tree.
#define BRANCH                 \
	VPSHUFB  Y12, Y0, Y13  \
	VPCMPGTB Y13, Y11, Y13 \
	VPADDB   Y12, Y12, Y12 \
	VPSUBB   Y13, Y12, Y12

// WORDS stores the words of which low are the low bytes and high the high.
#define WORDS(low, high, tmp)              \
	VPUNPCKLBW  high, low, tmp         \
	VPUNPCKHBW  high, low, high        \
	VPERM2I128  $0x20, high, tmp, low  \
	VPERM2I128  $0x31, high, tmp, high \
	VMOVDQU     low, (DX)              \
	VMOVDQU     high, 32(DX)

// ESCAPES appends the indices of the escapes among the 32 lanes, the bits of AX, to
// the list, in which each element of the batch has room.
#define ESCAPES(label)              \
	MOVQ   DX, BX               \
	SUBQ   words_base+8(FP), BX \
	SHRQ   $1, BX               \
	ADDQ   base+48(FP), BX      \
label:                              \
	TZCNTL AX, CX               \
	ADDL   BX, CX               \
	MOVW   CX, (R12)            \
	ADDQ   $2, R12              \
	BLSRL  AX, AX               \
	JNZ    label

// RENEW is the second pass for 32 lanes. It needs 16 bits for the products: Y10
// are those of the odd lanes, Y12 of the even, and then Y8 is x mod 256 and Y12
// x >> 8. Lanes whose x >> 8 is 0 (Y9) take bytes, a group of eight lanes as many as
// its part of the mask has bits.
#define RENEW                                   \
	VMOVDQU     (R8)(DI*1), Y8              \
	VPAND       FREQ(R8)(DI*1), Y6, Y10 \
	VPAND       HI(R8)(DI*1), Y6, Y11       \
	VPANDN      FREQ(R8)(DI*1), Y6, Y12 \
	VPANDN      HI(R8)(DI*1), Y6, Y13       \
	VPMULHUW    Y10, Y11, Y10               \
	VPMULLW     Y12, Y13, Y12               \
	VPSRLW      $8, Y8, Y11                 \
	VPANDN      Y8, Y6, Y8                  \
	VPADDW      Y11, Y10, Y10               \
	VPADDW      Y8, Y12, Y12                \
	VPSLLW      $8, Y10, Y8                 \
	VPSRLW      $8, Y12, Y11                \
	VPBLENDVB   Y6, Y8, Y12, Y8             \
	VPBLENDVB   Y6, Y10, Y11, Y12           \
	VPCMPEQB    Y7, Y12, Y9                 \
	VPMOVMSKB   Y9, AX                      \
	VPBLENDVB   Y9, Y8, Y12, Y12            \
	VMOVDQU     Y12, HI(R8)(DI*1)           \
	MOVBLZX     AX, CX                      \
	MOVBLZX     AH, BX                      \
	VMOVQ       (SI), X10                   \
	VMOVQ       (R9)(CX*8), X11             \
	VMOVHPS     2048(R9)(BX*8), X11, X11    \
	POPCNTL     CX, CX                      \
	POPCNTL     BX, BX                      \
	VMOVHPS     (SI)(CX*1), X10, X10        \
	ADDQ        CX, BX                      \
	SHRL        $16, AX                     \
	ADDQ        BX, SI                      \
	MOVBLZX     AX, CX                      \
	MOVBLZX     AH, BX                      \
	VMOVQ       (SI), X13                   \
	VMOVQ       (R9)(CX*8), X14             \
	VMOVHPS     2048(R9)(BX*8), X14, X14    \
	POPCNTL     CX, CX                      \
	POPCNTL     AX, AX                      \
	VMOVHPS     (SI)(CX*1), X13, X13        \
	ADDQ        AX, SI                      \
	VPSHUFB     X11, X10, X10               \
	VPSHUFB     X14, X13, X13               \
	VINSERTI128 $1, X13, Y10, Y10           \
	VPBLENDVB   Y9, Y10, Y8, Y8             \
	VMOVDQU     Y8, (R8)(DI*1)

// DONE returns how many words, bytes of the stream and escapes there were.
#define DONE                          \
	SUBQ words_base+8(FP), DX     \
	SHRQ $1, DX                   \
	MOVQ DX, n+56(FP)             \
	MOVQ d+0(FP), BX              \
	XORL DI, DI                   \
back:                                 \
	VMOVDQU (R8)(DI*1), Y0        \
	VMOVDQU HI(R8)(DI*1), Y1      \
	VMOVDQU Y0, Decoder_lo(BX)(DI*1) \
	VMOVDQU Y1, Decoder_hi(BX)(DI*1) \
	ADDQ    $32, DI               \
	CMPQ    DI, R10               \
	JNE     back                  \
	SUBQ Decoder_stream(BX), SI   \
	MOVQ SI, used+64(FP)          \
	SUBQ Decoder_escaped(BX), R12 \
	SHRQ $1, R12                  \
	MOVQ R12, escapes+72(FP)      \
	VZEROUPPER                    \
	RET

// PICK sets dst to the numbers, from even or odd, of the symbols of which Y12 is
// half and Y13 the parity.
#define PICK(even, odd, dst, tmp) \
	VPSHUFB   Y12, even, dst  \
	VPSHUFB   Y12, odd, tmp   \
	VPBLENDVB Y13, tmp, dst, dst

// func decodeWideAVX2(d *Decoder, words []uint16, t *tree, expand *groupShuffles, base int) (n, used, escapes int)
//
// In find, Y0 and Y1 are tree.nodes, Y2 to Y9 freq, start, wlow and whigh, Y10
// escapes. In renew, Y6 are the high bytes of words and Y7 is zero.
TEXT ·decodeWideAVX2(SB), 0, $864-80
	SETUP
	VPBROADCASTB   tree_root(AX), Y15
	VMOVDQU        Y15, ROOT(R8)
	VBROADCASTI128 tree_nodes(AX), Y0
	VBROADCASTI128 (tree_nodes+16)(AX), Y1
	VBROADCASTI128 tree_freq(AX), Y2
	VBROADCASTI128 (tree_freq+16)(AX), Y3
	VBROADCASTI128 tree_start(AX), Y4
	VBROADCASTI128 (tree_start+16)(AX), Y5
	MOVQ           AX, R13
	JMP            wideRow

wideFind:
	SLOTS(ROOT(R8))
	BRANCH
	BRANCH
	BRANCH
	VPSHUFB        Y12, Y1, Y13
	VPCMPGTB       Y13, Y11, Y13
	VPCMPGTB       Y11, Y10, Y14
	VPMOVMSKB      Y14, AX
	PICK(Y4, Y5, Y14, Y15)
	VPSUBB         Y14, Y11, Y11
	VMOVDQU        Y11, (R8)(DI*1)
	PICK(Y2, Y3, Y14, Y15)
	VMOVDQU        Y14, FREQ(R8)(DI*1)
	PICK(Y6, Y7, Y14, Y15)
	PICK(Y8, Y9, Y11, Y15)
	WORDS(Y14, Y11, Y15)
	TESTL          AX, AX
	JNZ            wideEscapes

wideFound:
	ADDQ $64, DX
	ADDQ $32, DI
	CMPQ DI, R10
	JNE  wideFind

	VPCMPEQB Y6, Y6, Y6
	VPSLLW   $8, Y6, Y6
	VPXOR    Y7, Y7, Y7
	XORL     DI, DI

wideRenew:
	RENEW
	ADDQ $32, DI
	CMPQ DI, R10
	JNE  wideRenew

wideRow:
	CMPQ DX, R11
	JEQ  wideDone
	CMPQ SI, R15
	JGT  wideDone
	VBROADCASTI128 tree_wlow(R13), Y6
	VBROADCASTI128 (tree_wlow+16)(R13), Y7
	VBROADCASTI128 tree_whigh(R13), Y8
	VBROADCASTI128 (tree_whigh+16)(R13), Y9
	VPBROADCASTB   tree_escapes(R13), Y10
	XORL           DI, DI
	JMP            wideFind

wideDone:
	DONE

wideEscapes:
	ESCAPES(wideEscape)
	JMP wideFound

// func decodeNarrowAVX2(d *Decoder, words []uint16, t *tree, expand *groupShuffles, base int) (n, used, escapes int)
//
// In find, Y0 to Y4 are tree.nodes, freq, start, wlow and whigh, Y5 escapes; Y6
// and Y7 are those of renew.
TEXT ·decodeNarrowAVX2(SB), 0, $864-80
	SETUP
	VBROADCASTI128 tree_nodes(AX), Y0
	VBROADCASTI128 tree_freq(AX), Y1
	VBROADCASTI128 tree_start(AX), Y2
	VBROADCASTI128 tree_wlow(AX), Y3
	VBROADCASTI128 tree_whigh(AX), Y4
	VPBROADCASTB   tree_escapes(AX), Y5
	VPBROADCASTB   tree_root(AX), Y15
	VPCMPEQB       Y6, Y6, Y6
	VPSLLW         $8, Y6, Y6
	VPXOR          Y7, Y7, Y7
	JMP            narrowRow

narrowFind:
	SLOTS(Y15)
	BRANCH
	BRANCH
	BRANCH
	VPCMPGTB  Y11, Y5, Y14
	VPMOVMSKB Y14, AX
	VPSHUFB   Y12, Y2, Y14
	VPSUBB    Y14, Y11, Y11
	VMOVDQU   Y11, (R8)(DI*1)
	VPSHUFB   Y12, Y1, Y14
	VMOVDQU   Y14, FREQ(R8)(DI*1)
	VPSHUFB   Y12, Y3, Y13
	VPSHUFB   Y12, Y4, Y14
	WORDS(Y13, Y14, Y12)
	TESTL     AX, AX
	JNZ       narrowEscapes

narrowFound:
	ADDQ $64, DX
	ADDQ $32, DI
	CMPQ DI, R10
	JNE  narrowFind
	XORL DI, DI

narrowRenew:
	RENEW
	ADDQ $32, DI
	CMPQ DI, R10
	JNE  narrowRenew

narrowRow:
	XORL DI, DI
	CMPQ DX, R11
	JEQ  narrowDone
	CMPQ SI, R15
	JLE  narrowFind

narrowDone:
	DONE

narrowEscapes:
	ESCAPES(narrowEscape)
	JMP narrowFound
