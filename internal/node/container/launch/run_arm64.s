#include "textflag.h"

// func cloneAndRun(h *header) int64
//
// See run_amd64.s, which this follows label by label. R19 is the header, R20
// the entry, R21 the end; the kernel changes no register but R0.
TEXT ·cloneAndRun(SB),NOSPLIT|NOFRAME,$0-16
	MOVD	h+0(FP), R19
	MOVD	$2, R0			// rt_sigprocmask(SIG_SETMASK, block, saved, 8)
	MOVD	R19, R1
	ADD	$8, R19, R2
	MOVD	$8, R3
	MOVD	$135, R8
	SVC
	MOVD	40(R19), R0
	MOVD	48(R19), R1
	MOVD	$435, R8		// clone3
	SVC
	CBZ	R0, child
	MOVD	R0, R20
	MOVD	$2, R0			// rt_sigprocmask(SIG_SETMASK, saved, nil, 8)
	ADD	$8, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8
	SVC
	MOVD	R20, ret+8(FP)
	RET

child:
	MOVD	24(R19), R20
	MOVD	32(R19), R21

next:
	CMP	R21, R20
	BHS	stop			// off the end: no attempt to execute worked
	MOVD	R20, 16(R19)
	MOVD	64(R20), R9
	CBZ	R9, run
	MOVD	(R9), R10
	CMN	$4095, R10
	BHS	run			// the earlier call failed
	ADD	$104, R20
	B	next

run:
	MOVD	8(R20), R0
	MOVD	16(R20), R1
	MOVD	24(R20), R2
	MOVD	32(R20), R3
	MOVD	40(R20), R4
	MOVD	48(R20), R5
	MOVD	0(R20), R8
	SVC
	CMN	$4, R0			// -EINTR
	BEQ	run
	MOVD	R0, 56(R20)
	CMN	$4095, R0
	BLO	ok
	NEG	R0, R9
	CMP	$128, R9
	BHS	stop
	LSR	$6, R9, R10
	ADD	$72, R20, R11
	MOVD	(R11)(R10<<3), R12
	LSR	R9, R12, R12		// by the errno modulo 64
	TBZ	$0, R12, stop
	ADD	$104, R20
	B	next

ok:
	MOVD	0(R20), R9
	CMP	$435, R9
	BNE	store
	CBNZ	R0, stop		// a second clone3: its parent is done

store:
	MOVD	88(R20), R9
	CBZ	R9, done
	MOVD	R0, (R9)
	MOVD	96(R20), R9
	CBZ	R9, done
	MOVD	R0, (R9)

done:
	ADD	$104, R20
	B	next

stop:
	MOVD	$127, R0
	MOVD	$94, R8			// exit_group
	SVC
	B	stop
