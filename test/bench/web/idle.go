package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// perAddress is how many connections one address of ours makes: it has 28,000
// ports for them.
const perAddress = 20_000

// idle opens connections, asks once over each, says how many there are, and
// holds them until its input ends. All are still open then, or it fails.
func idle(ctx context.Context, r request, connections, local int) error {
	conns := make([]net.Conn, connections)
	errs := make([]error, connections)
	next := make(chan int)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			in := bufio.NewReaderSize(nil, 512)
			for i := range next {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(local), byte(1+i/perAddress))}}
				if conns[i], errs[i] = d.DialContext(ctx, "tcp", r.addr); errs[i] == nil {
					in.Reset(conns[i])
					errs[i] = r.ask(conns[i], in)
				}
			}
		})
	}
	for i := range connections {
		next <- i
	}
	close(next)
	all.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, connections, err)
		}
	}
	fmt.Println("holding", connections)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	in := bufio.NewReaderSize(nil, 512)
	for i, c := range conns {
		in.Reset(c)
		if err := r.ask(c, in); err != nil {
			return fmt.Errorf("connection %d of %d, after it was idle: %w", i+1, connections, err)
		}
	}
	fmt.Println("held", connections)
	return nil
}
