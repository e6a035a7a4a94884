package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// answer is small, so that what is measured is the way there and back. It says
// by which copy of an app it was given.
const answer = "HTTP/1.1 200 OK\r\nServer: %s\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello, world"

// backend answers until ctx ends, each request after delay. It knows of HTTP only
// where a request without a body ends, and costs the machine next to nothing.
func backend(ctx context.Context, addr string, delay time.Duration) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, answer, name)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go answers(c, text, delay)
	}
}

func answers(c net.Conn, text []byte, delay time.Duration) {
	defer c.Close()
	buf, have := make([]byte, 4096), 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		for {
			end := bytes.Index(buf[:have], []byte("\r\n\r\n"))
			if end < 0 {
				break
			}
			time.Sleep(delay)
			if _, err := c.Write(text); err != nil {
				return
			}
			have = copy(buf, buf[end+4:have])
		}
		if have == len(buf) {
			return // not one of our clients
		}
	}
}
