package client

import (
	"os"
	"syscall"
)

// number is the signal's number on this system.
func number(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return int(n)
	}
	return int(syscall.SIGTERM)
}
