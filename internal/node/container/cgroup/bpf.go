package cgroup

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// On v2 devices are guarded by a program of the kernel's virtual machine that
// is attached to the group.

// insn is struct bpf_insn.
type insn struct {
	code uint8
	regs uint8 // destination in the low half, source in the high one
	off  int16
	imm  int32
}

// Operations of the programs below (linux/bpf.h); names as its assemblers'.
const (
	ldxw  = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	movk  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	andk  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	rshk  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	jne32 = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	jsetk = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	exit  = unix.BPF_JMP | unix.BPF_EXIT
)

// deviceProgram decides about struct bpf_cgroup_dev_ctx. The last rule for a
// device counts, so it asks them from the last to the first; register 3 holds
// the kinds of access that no rule has allowed yet. The first rule must be
// about all devices.
func deviceProgram(rules []rule) []insn {
	const kind, access, major, minor = 2, 3, 4, 5
	prog := []insn{
		{ldxw, kind | 1<<4, 0, 0}, {andk, kind, 0, 0xffff},
		{ldxw, access | 1<<4, 0, 0}, {rshk, access, 0, 16},
		{ldxw, major | 1<<4, 4, 0},
		{ldxw, minor | 1<<4, 8, 0},
	}
	answer := func(allowed int32) []insn { return []insn{{movk, 0, 0, allowed}, {exit, 0, 0, 0}} }
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		if r.all() {
			allowed := int32(0)
			if r.allow {
				allowed = 1
			}
			return append(prog, answer(allowed)...)
		}
		var then []insn
		if mask := accessMask(r.access); r.allow {
			then = append([]insn{{andk, access, 0, 7 &^ mask}, {jne32, access, 2, 0}}, answer(1)...)
		} else {
			then = append([]insn{{jsetk, access, 1, mask}, {unix.BPF_JMP | unix.BPF_JA, 0, 2, 0}}, answer(0)...)
		}
		var when []insn
		if r.kind != 'a' {
			when = append(when, insn{jne32, kind, 0, map[byte]int32{'b': unix.BPF_DEVCG_DEV_BLOCK, 'c': unix.BPF_DEVCG_DEV_CHAR}[r.kind]})
		}
		if r.major != anyNumber {
			when = append(when, insn{jne32, major, 0, int32(uint32(r.major))})
		}
		if r.minor != anyNumber {
			when = append(when, insn{jne32, minor, 0, int32(uint32(r.minor))})
		}
		for j := range when {
			when[j].off = int16(len(when) - j - 1 + len(then)) // to the next rule
		}
		prog = append(append(prog, when...), then...)
	}
	return append(prog, answer(0)...)
}

func accessMask(access string) (mask int32) {
	for letter, bit := range map[string]int32{"m": unix.BPF_DEVCG_ACC_MKNOD, "r": unix.BPF_DEVCG_ACC_READ, "w": unix.BPF_DEVCG_ACC_WRITE} {
		if strings.Contains(access, letter) {
			mask |= bit
		}
	}
	return mask
}

// attachDevices makes rules the only ones of a group. While they replace
// others, both hold.
func attachDevices(dir string, rules []rule) error {
	group, err := open(dir, unix.O_DIRECTORY|unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(group)
	before, err := attachedPrograms(group)
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range before {
			unix.Close(fd)
		}
	}()
	prog, err := loadProgram(deviceProgram(rules))
	if err != nil {
		return err
	}
	defer unix.Close(prog)
	attach := attachAttr{target: uint32(group), prog: uint32(prog), kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI}
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attach), unsafe.Sizeof(attach)); err != nil {
		return fmt.Errorf("attach the device program: %w", err)
	}
	for _, fd := range before {
		detach := attachAttr{target: uint32(group), prog: uint32(fd), kind: unix.BPF_CGROUP_DEVICE}
		if _, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&detach), unsafe.Sizeof(detach)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("detach the device program before: %w", err)
		}
	}
	return nil
}

// The members of union bpf_attr for each command.
type (
	loadAttr struct {
		kind, count    uint32
		insns, license uint64
		logLevel       uint32
		logSize        uint32
		log            uint64
		kernelVersion  uint32
		flags          uint32
		name           [16]byte
		ifindex        uint32
		attachKind     uint32
	}
	attachAttr struct{ target, prog, kind, flags, replace uint32 }
	queryAttr  struct {
		target, kind, query, attached uint32
		ids                           uint64
		count, _                      uint32
	}
	idAttr struct{ id, next, flags uint32 }
)

func loadProgram(prog []insn) (int, error) {
	license := []byte("Apache-2.0\x00")
	attr := loadAttr{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, attachKind: unix.BPF_CGROUP_DEVICE, count: uint32(len(prog)),
		insns: uint64(uintptr(unsafe.Pointer(&prog[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(prog)
	runtime.KeepAlive(license)
	switch {
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return 0, fmt.Errorf("load a device program (CONFIG_CGROUP_BPF): %w: %w", err, fault.Unsupported)
	case err != nil:
		return 0, fmt.Errorf("load a device program: %w", err)
	}
	return fd, nil
}

// attachedPrograms opens the device programs of a group.
func attachedPrograms(group int) (fds []int, err error) {
	var ids [64]uint32 // the kernel's own limit
	query := queryAttr{target: uint32(group), kind: unix.BPF_CGROUP_DEVICE, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	_, err = bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&query), unsafe.Sizeof(query))
	runtime.KeepAlive(&ids)
	if err != nil {
		return nil, fmt.Errorf("ask for device programs: %w", err)
	}
	for _, id := range ids[:query.count] {
		attr := idAttr{id: id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if errors.Is(err, unix.ENOENT) {
			continue // gone since
		}
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			return nil, fmt.Errorf("open device program %d: %w", id, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// bpf is bpf(2). The kernel asks for another try with EAGAIN when a signal came
// while it verified a program.
func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR, unix.EAGAIN:
		default:
			return 0, errno
		}
	}
}
