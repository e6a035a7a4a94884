package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const tallyPort = "127.0.0.1:7000"

// tally MEGABYTES CODE: counts in memory, a line every two milliseconds, and tells the count
// to whoever connects. Asked to end, it does so with CODE if its memory is what
// it was at first, and its file too.
func tally(megabytes, code int) {
	memory := make([]byte, megabytes<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(memory)
	sum := crc32.ChecksumIEEE(memory)
	// A file that has no name any more.
	f, err := os.CreateTemp("/tmp", "tally")
	check(err)
	check(os.Remove(f.Name()))
	fmt.Fprint(f, sum)
	// Files in the container's own filesystem, in what may be a volume, and in
	// shared memory; and one of the image that goes.
	var named []*os.File
	for _, dir := range []string{"/etc", "/tmp", "/dev/shm"} {
		f, err := os.Create(dir + "/tally")
		check(err)
		fmt.Fprint(f, sum)
		named = append(named, f)
	}
	os.Remove("/etc/unwanted")
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // CRIU knows no MPTCP
	listener, err := plain.Listen(context.Background(), "tcp", tallyPort)
	check(err)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	var count atomic.Int64
	go func() {
		for {
			c, err := listener.Accept()
			check(err)
			fmt.Fprintln(c, count.Load())
			c.Close()
		}
	}()
	for {
		select {
		case <-end:
			if now := crc32.ChecksumIEEE(memory); now != sum {
				fmt.Fprintf(os.Stderr, "memory has checksum %d, want %d\n", now, sum)
				os.Exit(99)
			}
			holds(f, sum)
			for _, f := range named {
				holds(f, sum)
				again, err := os.Open(f.Name())
				check(err)
				holds(again, sum)
			}
			os.Exit(code)
		case <-time.After(2 * time.Millisecond):
			fmt.Println("count", count.Add(1))
		}
	}
}

func holds(f *os.File, sum uint32) {
	f.Seek(0, io.SeekStart)
	if text, err := io.ReadAll(f); string(text) != fmt.Sprint(sum) {
		fmt.Fprintf(os.Stderr, "%s holds %q, %v; want %d\n", f.Name(), text, err, sum)
		os.Exit(99)
	}
}

// ask prints what tally tells.
func ask() {
	c, err := net.Dial("tcp", tallyPort)
	check(err)
	io.Copy(os.Stdout, c)
}

// pair counts over a connection to itself, and says when that breaks.
func pair() {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	listener, err := plain.Listen(context.Background(), "tcp", tallyPort)
	check(err)
	near, err := net.Dial("tcp", tallyPort)
	check(err)
	far, err := listener.Accept()
	check(err)
	for i := 1; ; i++ {
		var got [1]byte
		_, err := near.Write([]byte{byte(i)})
		if err == nil {
			_, err = io.ReadFull(far, got[:])
		}
		if err != nil || got[0] != byte(i) {
			fmt.Println("broken")
			time.Sleep(time.Hour)
		}
		fmt.Println("count", i)
		time.Sleep(2 * time.Millisecond)
	}
}

// ring has what nobody can write down, an io_uring, and counts.
func ring() {
	var params [120]byte
	const ioUringSetup = 425
	if _, _, e := syscall.Syscall(ioUringSetup, 8, uintptr(unsafe.Pointer(&params)), 0); e != 0 {
		fmt.Println(e)
		return
	}
	fmt.Println("ready")
	for i := 1; ; i++ {
		fmt.Println("count", i)
		time.Sleep(2 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
}
