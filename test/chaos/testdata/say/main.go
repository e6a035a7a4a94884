// Say is what the test's containers run: it writes numbered lines to both of its
// outputs and ends with a code.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// main takes LINES CODE PAUSE.
func main() {
	lines, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	code, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	pause, err := time.ParseDuration(os.Args[3])
	if err != nil {
		panic(err)
	}
	for i := range lines {
		fmt.Fprintf([]*os.File{os.Stdout, os.Stderr}[i%2], "line %d\n", i)
		time.Sleep(pause)
	}
	os.Exit(code)
}
