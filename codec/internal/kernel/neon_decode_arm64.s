//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The rANS decoder, 16 lanes at a time: FORMAT.md, "Decoding". Operands are in
// Go's order, the destination last.
//
//	V16-V31  symbol of each slot, 256 bytes
//	V8-V9    frequency of each symbol (32)     V10-V11  first slot
//	V12-V13  low byte of its word              V14-V15  high byte
//	V7       64 in each byte
//	V0, V1   states of the lanes, low and high bytes
//	V2       their symbols                     V3-V6    scratch
//
//	R0  Decoder     R1  words, next     R2  stream, next    R3  its end
//	R4  escaped, next                   R5  index of the lanes' first word
//	R6  low bytes   R7  high bytes, of the states, next
//	R8  expansion   R9  its counts      R10 its weights and upper
//	R11 rows left   R12 lanes           R13 lanes left in the row
//	R14-R17 scratch

// Not known to the assembler.
#define UMULL(m, n, d)  WORD $(0x2E20C000 | (m)<<16 | (n)<<5 | (d)) // UMULL  Vd.8H, Vn.8B, Vm.8B
#define UMULL2(m, n, d) WORD $(0x6E20C000 | (m)<<16 | (n)<<5 | (d)) // UMULL2 Vd.8H, Vn.16B, Vm.16B

// func decodeRowsNEON(d *Decoder, t *Table, x *expansion, words []uint16, stream []byte, escaped []uint16, base int) (n, used, found int)
TEXT ·decodeRowsNEON(SB), NOSPLIT, $0-128
	MOVD d+0(FP), R0
	MOVD t+8(FP), R14
	MOVD x+16(FP), R8
	MOVD words_base+24(FP), R1
	MOVD words_len+32(FP), R11
	MOVD stream_base+48(FP), R2
	MOVD stream_len+56(FP), R3
	ADD  R2, R3
	MOVD escaped_base+72(FP), R4
	MOVD base+96(FP), R5
	MOVD Decoder_lanes(R0), R12
	UDIV R12, R11
	ADD  $expansion_counts, R8, R9
	ADD  $expansion_weights, R8, R10

	ADD    $Table_symbol, R14, R15
	VLD1.P 64(R15), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1.P 64(R15), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1.P 64(R15), [V24.B16, V25.B16, V26.B16, V27.B16]
	VLD1   (R15), [V28.B16, V29.B16, V30.B16, V31.B16]
	ADD    $Table_freq, R14, R15
	VLD1   (R15), [V8.B16, V9.B16]
	ADD    $Table_start, R14, R15
	VLD1   (R15), [V10.B16, V11.B16]
	ADD    $Table_wlow, R14, R15
	VLD1   (R15), [V12.B16, V13.B16]
	ADD    $Table_whigh, R14, R15
	VLD1   (R15), [V14.B16, V15.B16]
	VMOVI  $64, V7.B16

row:
	// A row takes at most a byte for each lane. Its last load ends there, too:
	// that for the eight lanes from l on is eight bytes from l or before.
	SUB  R2, R3, R15
	CMP  R12, R15
	BLT  done
	ADD  $Decoder_lo, R0, R6
	ADD  $Decoder_hi, R0, R7
	MOVD R12, R13

lanes:
	VLD1 (R6), [V0.B16]
	VLD1 (R7), [V1.B16]

	// Symbols. A lookup leaves the bytes alone whose index is beyond its 64.
	VTBL V0.B16, [V16.B16, V17.B16, V18.B16, V19.B16], V2.B16
	VSUB V7.B16, V0.B16, V3.B16
	VTBX V3.B16, [V20.B16, V21.B16, V22.B16, V23.B16], V2.B16
	VSUB V7.B16, V3.B16, V3.B16
	VTBX V3.B16, [V24.B16, V25.B16, V26.B16, V27.B16], V2.B16
	VSUB V7.B16, V3.B16, V3.B16
	VTBX V3.B16, [V28.B16, V29.B16, V30.B16, V31.B16], V2.B16

	// State = frequency * high byte + low byte - first slot, of eight lanes in V4
	// and eight in V5; then as bytes again.
	VTBL    V2.B16, [V8.B16, V9.B16], V3.B16
	UMULL(3, 1, 4)
	UMULL2(3, 1, 5)
	VTBL    V2.B16, [V10.B16, V11.B16], V3.B16
	VSUB    V3.B16, V0.B16, V3.B16
	VUADDW  V3.B8, V4.H8, V4.H8
	VUADDW2 V3.B16, V5.H8, V5.H8
	VUZP1   V5.B16, V4.B16, V0.B16
	VUZP2   V5.B16, V4.B16, V1.B16

	VTBL   V2.B16, [V12.B16, V13.B16], V3.B16
	VTBL   V2.B16, [V14.B16, V15.B16], V4.B16
	VZIP1  V4.B16, V3.B16, V5.B16
	VZIP2  V4.B16, V3.B16, V6.B16
	VST1.P [V5.B16, V6.B16], 32(R1)

	// V5: lanes due for a byte. R14: 16 bits for them, then 16 for escapes.
	VLD1  (R10), [V4.B16]
	VEOR  V6.B16, V6.B16, V6.B16
	VCMEQ V6.B16, V1.B16, V5.B16
	VCMEQ V6.B16, V2.B16, V6.B16
	VAND  V4.B16, V5.B16, V3.B16
	VAND  V4.B16, V6.B16, V6.B16
	VADDP V6.B16, V3.B16, V3.B16
	VADDP V3.B16, V3.B16, V3.B16
	VADDP V3.B16, V3.B16, V3.B16
	VMOV  V3.S[0], R14

	// V6: the next bytes of the stream, for eight lanes and eight; V3: which of
	// them each lane takes.
	AND    $255, R14, R15
	UBFX   $8, R14, $8, R16
	ADD    R15<<3, R8, R17
	FMOVD  (R17), F3
	ADD    R16<<3, R8, R17
	VLD1   (R17), V3.D[1]
	FMOVD  (R2), F6
	MOVBU  (R9)(R15), R17
	ADD    R17, R2
	VLD1   (R2), V6.D[1]
	MOVBU  (R9)(R16), R17
	ADD    R17, R2
	ADD    $16, R10, R17
	VLD1   (R17), [V4.B16]
	VORR   V4.B16, V3.B16, V3.B16
	VTBL   V3.B16, [V6.B16], V6.B16
	VBIT   V5.B16, V0.B16, V1.B16
	VBIT   V5.B16, V6.B16, V0.B16
	VST1.P [V0.B16], 16(R6)
	VST1.P [V1.B16], 16(R7)

	LSR $16, R14
	CBNZ R14, escapes

next:
	ADD  $16, R5
	SUBS $16, R13
	BNE  lanes
	SUBS $1, R11
	BNE  row

done:
	MOVD words_base+24(FP), R15
	SUB  R15, R1
	LSR  $1, R1
	MOVD R1, n+104(FP)
	MOVD stream_base+48(FP), R15
	SUB  R15, R2
	MOVD R2, used+112(FP)
	MOVD escaped_base+72(FP), R15
	SUB  R15, R4
	LSR  $1, R4
	MOVD R4, found+120(FP)
	RET

	// A bit of R14 for each of the 16 lanes with an escape, at least one.
escapes:
	RBIT   R14, R15
	CLZ    R15, R15
	ADD    R5, R15
	MOVH.P R15, 2(R4)
	SUB    $1, R14, R15
	ANDS   R15, R14
	BNE    escapes
	B      next
