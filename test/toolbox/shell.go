package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// shell reads lines with a prompt: `size` tells the terminal's, `exit CODE` ends.
func shell([]string) error {
	fmt.Print("$ ")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Print("$ ") {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "size":
			size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			if err != nil {
				return err
			}
			fmt.Printf("%dx%d\n", size.Col, size.Row)
		case "exit":
			code, err := strconv.Atoi(rest)
			if err != nil {
				return err
			}
			os.Exit(code)
		}
	}
	return nil
}
