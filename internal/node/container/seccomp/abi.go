package seccomp

import (
	"cmp"
	"runtime"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run gen.go

// An abi is a set of system call numbers. The order is that of the columns in
// zz_syscalls.go.
type abi int

const (
	x8664 abi = iota
	x86
	x32
	arm64
	arm
	abis int = iota
)

// absent is the number of a call that an abi does not have.
const absent = -1

// x32Bit marks a call of the x32 ABI, which shares its audit architecture with
// x86-64.
const x32Bit = 0x40000000

// A syscall is a name with its number in each abi.
type syscall struct {
	name string
	nr   [abis]int32
}

// lookup finds a call by name.
func lookup(name string) (*syscall, bool) {
	i, ok := slices.BinarySearchFunc(syscalls[:], name, func(s syscall, name string) int { return cmp.Compare(s.name, name) })
	if !ok {
		return nil, false
	}
	return &syscalls[i], true
}

// audit is the abi's name in struct seccomp_data.
func (a abi) audit() uint32 {
	switch a {
	case x86:
		return unix.AUDIT_ARCH_I386
	case arm64:
		return unix.AUDIT_ARCH_AARCH64
	case arm:
		return unix.AUDIT_ARCH_ARM
	}
	return unix.AUDIT_ARCH_X86_64 // x32 too
}

// wide tells whether the abi's arguments have 64 bits. Of the others only the
// low word is compared: the kernel leaves what it likes in the high one.
func (a abi) wide() bool { return a == x8664 || a == arm64 }

// native is the abi of this machine's own programs.
func native() abi {
	if runtime.GOARCH == "arm64" {
		return arm64
	}
	return x8664
}

// parseArch returns the abi that the OCI specification calls name. known is
// false when there is no such architecture; ours is false when it is one whose
// programs no machine that we build for can run, so that no rule for it could
// ever apply.
func parseArch(name specs.Arch) (a abi, ours, known bool) {
	switch name {
	case specs.ArchX86_64:
		return x8664, true, true
	case specs.ArchX86:
		return x86, true, true
	case specs.ArchX32:
		return x32, true, true
	case specs.ArchAARCH64:
		return arm64, true, true
	case specs.ArchARM:
		return arm, true, true
	case specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32,
		specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64,
		specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB:
		return 0, false, true
	}
	return 0, false, false
}

// multiplexed returns how a 32-bit x86 program may make the call through
// socketcall or ipc, which carry which call it is in their first argument.
// Filters see only that; a rule for the call must hold for this way too.
func multiplexed(name string) (through string, call uint64) {
	if i := slices.Index(socketCalls[:], name); i >= 0 {
		return "socketcall", uint64(i + 1)
	}
	if nr := ipcCall(name); nr != 0 {
		return "ipc", nr
	}
	return "", 0
}

// socketCalls in the order of linux/net.h, from 1.
var socketCalls = [...]string{
	"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto",
	"recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
}

// ipcCall is the call's number in linux/ipc.h, or 0.
func ipcCall(name string) uint64 {
	switch name {
	case "semop":
		return 1
	case "semget":
		return 2
	case "semctl":
		return 3
	case "semtimedop":
		return 4
	case "msgsnd":
		return 11
	case "msgrcv":
		return 12
	case "msgget":
		return 13
	case "msgctl":
		return 14
	case "shmat":
		return 21
	case "shmdt":
		return 22
	case "shmget":
		return 23
	case "shmctl":
		return 24
	}
	return 0
}
