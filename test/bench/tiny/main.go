// Command tiny is all that the benchmarks' containers run: it ends at once, or
// when it is told to. It is static and small, so that what is measured is the
// engine and not the program.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "exit" {
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}
