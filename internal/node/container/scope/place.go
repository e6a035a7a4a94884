package scope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// placeProgram is a program that sleeps until it is killed, in one page of
// memory: there is one for each pod.
//
// It is an ELF file with one segment, of which everything but the code is the
// header.
func placeProgram() []byte {
	const base, header, segment = 0x400000, 64, 56
	le := binary.LittleEndian
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []any{
		uint16(2), uint16(placeMachine), uint32(1), // an executable
		uint64(base + header + segment), uint64(header), uint64(0), // where it begins; where the segment is told
		uint32(0), uint16(header), uint16(segment), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), // to be loaded, readable and executable
		uint64(0), uint64(base), uint64(base), uint64(header + segment + len(placeCode)), uint64(header + segment + len(placeCode)), uint64(0x1000),
	} {
		_ = binary.Write(&b, le, v) // a buffer takes everything
	}
	b.Write(placeCode)
	return b.Bytes()
}

// startPlace starts the program, as a child that outlives us.
func startPlace() (int, error) {
	fd, err := unix.MemfdCreate("sampan-place", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return 0, fmt.Errorf("memory file: %w", err)
	}
	file := os.NewFile(uintptr(fd), "sampan-place")
	defer file.Close()
	if _, err := file.Write(placeProgram()); err != nil {
		return 0, fmt.Errorf("memory file: %w", err)
	}
	// Open for reading: what is open for writing is not executed.
	program, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return 0, fmt.Errorf("memory file: %w", err)
	}
	defer program.Close()
	file.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), []string{"sampan-place"}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{null, null, null}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("keep a place: %w", err)
	}
	// Not one of our own goroutines: it outlives us, and is init's then.
	go func() { _, _ = p.Wait() }()
	return p.Pid, nil
}

// endPlace kills the program.
func endPlace(pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
