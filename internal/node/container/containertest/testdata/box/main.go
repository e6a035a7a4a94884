// Box is the program that the suite's containers run: one small behaviour for
// each word.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	switch args := os.Args[1:]; args[0] {
	case "exit":
		os.Exit(number(args[1]))
	case "echo":
		fmt.Println(strings.Join(args[1:], " "))
	case "both":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "print":
		fmt.Print(args[1])
	case "sleep":
		time.Sleep(time.Hour)
	case "graceful": // ends with a code of its own when it is asked to
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		os.Exit(number(args[1]))
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "count": // count LINES [CODE [LATER]]: numbered lines, as fast as they are taken
		if len(args) > 3 {
			later, err := time.ParseDuration(args[3])
			if err != nil {
				panic(err)
			}
			time.Sleep(later)
		}
		w := bufio.NewWriterSize(os.Stdout, 4096)
		for i := range number(args[1]) {
			fmt.Fprintf(w, "line %d\n", i)
		}
		w.Flush()
		if len(args) > 2 {
			os.Exit(number(args[2]))
		}
	case "halves": // a line in two halves, with a second between
		fmt.Print("first ")
		time.Sleep(time.Second)
		fmt.Println("second")
	case "tick": // tick LINES: numbered lines, a millisecond apart
		for i := range number(args[1]) {
			fmt.Printf("line %d\n", i)
			time.Sleep(time.Millisecond)
		}
	case "eat": // eat MEGABYTES
		var all [][]byte
		for range number(args[1]) {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		fmt.Println(len(all))
	case "tty": // tells the terminal's size, now and at each change
		c := make(chan os.Signal, 8)
		signal.Notify(c, syscall.SIGWINCH)
		for {
			w, h, ok := size()
			fmt.Printf("tty %v %dx%d\n", ok, w, h)
			<-c
		}
	case "leave": // leaves a child behind that outlives it
		cmd := exec.Command("/proc/self/exe", "sleep")
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("child", cmd.Process.Pid)
	case "hostname":
		name, _ := os.Hostname()
		fmt.Println(name)
	case "read": // read PATH
		b, err := os.ReadFile(args[1])
		fmt.Printf("%s%v\n", b, err)
	case "link": // link PATH: where a symbolic link leads
		to, err := os.Readlink(args[1])
		fmt.Println(to, err)
	case "tally":
		tally(number(args[1]), number(args[2]))
	case "pair":
		pair()
	case "ring":
		ring()
	case "ask":
		ask()
	default:
		fmt.Fprintln(os.Stderr, "unknown word", args[0])
		os.Exit(2)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func size() (w, h uint16, ok bool) {
	var ws struct{ h, w, x, y uint16 }
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, 1, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&ws)))
	return ws.w, ws.h, e == 0
}
