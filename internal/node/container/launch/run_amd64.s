#include "textflag.h"

// func cloneAndRun(h *header) int64
//
// The child shares the parent's memory, its stack included, so it touches
// nothing but registers and the table. Signals stay blocked in it until the
// table itself unblocks them.
//
// header: 0 block, 8 saved, 16 at, 24 first, 32 end, 40 clone, 48 cloneLen
// entry:  0 nr, 8 args[6], 56 result, 64 unless, 72 tolerate[2], 88 into[2]; 104 bytes
TEXT ·cloneAndRun(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ	h+0(FP), R12
	MOVQ	$14, AX			// rt_sigprocmask(SIG_SETMASK, block, saved, 8)
	MOVQ	$2, DI
	LEAQ	0(R12), SI
	LEAQ	8(R12), DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	40(R12), DI
	MOVQ	48(R12), SI
	MOVQ	$435, AX		// clone3
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, R13
	MOVQ	$14, AX			// rt_sigprocmask(SIG_SETMASK, saved, nil, 8)
	MOVQ	$2, DI
	LEAQ	8(R12), SI
	XORL	DX, DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	R13, ret+8(FP)
	RET

child:
	MOVQ	24(R12), R13
	MOVQ	32(R12), BX

next:
	CMPQ	R13, BX
	JCC	stop			// off the end: no attempt to execute worked
	MOVQ	R13, 16(R12)
	MOVQ	64(R13), CX
	TESTQ	CX, CX
	JZ	run
	MOVQ	(CX), AX
	CMPQ	AX, $0xfffffffffffff001
	JCC	run			// the earlier call failed
	ADDQ	$104, R13
	JMP	next

run:
	MOVQ	0(R13), AX
	MOVQ	8(R13), DI
	MOVQ	16(R13), SI
	MOVQ	24(R13), DX
	MOVQ	32(R13), R10
	MOVQ	40(R13), R8
	MOVQ	48(R13), R9
	SYSCALL
	CMPQ	AX, $0xfffffffffffffffc	// -EINTR
	JEQ	run
	MOVQ	AX, 56(R13)
	CMPQ	AX, $0xfffffffffffff001
	JCS	ok
	NEGQ	AX
	CMPQ	AX, $128
	JCC	stop
	MOVQ	AX, CX
	SHRQ	$6, AX
	MOVQ	72(R13)(AX*8), DX
	SHRQ	CX, DX			// by the errno modulo 64
	TESTQ	$1, DX
	JZ	stop
	ADDQ	$104, R13
	JMP	next

ok:
	CMPQ	0(R13), $435
	JNE	store
	TESTQ	AX, AX			// a second clone3: its parent is done
	JNZ	stop

store:
	MOVQ	88(R13), CX
	TESTQ	CX, CX
	JZ	done
	MOVQ	AX, (CX)
	MOVQ	96(R13), CX
	TESTQ	CX, CX
	JZ	done
	MOVQ	AX, (CX)

done:
	ADDQ	$104, R13
	JMP	next

stop:
	MOVQ	$127, DI
	MOVQ	$231, AX		// exit_group
	SYSCALL
	JMP	stop
